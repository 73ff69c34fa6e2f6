// SPDX-License-Identifier: GPL-2.0-only
/* Tests the conversions of memory that a guest may request. */
#define _GNU_SOURCE	/* memfd_create() */
#include <linux/kvm_para.h>

#include "access_model.h"
#include "hypercall.h"
#include "memory.h"
#include "tap.h"
#include "vm.h"

#define PAGE		MODEL_PAGE
#define PAGES		64
#define SHARED		KVM_MAP_GPA_RANGE_DECRYPTED
#define PRIVATE		KVM_MAP_GPA_RANGE_ENCRYPTED

static struct vm vm;

/* Returns the result that the guest gets. */
static int64_t ask(uint64_t gpa, uint64_t pages, uint64_t attributes)
{
	static struct kvm_run run;

	memset(&run, 0x55, sizeof(run));
	run.exit_reason = KVM_EXIT_HYPERCALL;
	run.hypercall.nr = KVM_HC_MAP_GPA_RANGE;
	run.hypercall.args[0] = gpa;
	run.hypercall.args[1] = pages;
	run.hypercall.args[2] = attributes;
	hypercall_exit(&vm, &run);
	return run.hypercall.ret;
}

static void reset(void)
{
	model_reset(PAGES);
	memset(model.level, GUESTMEM_ACCESS_KERNEL, PAGES);
	atomic_store(&vm.conversions.granted, 0);
	atomic_store(&vm.conversions.refused, 0);
}

static void test_granted(void)
{
	reset();
	ok(!ask(2 * PAGE, 3, PRIVATE) && model_all_at(2, 3, GUESTMEM_ACCESS_NONE) &&
	   model_all_at(0, 2, GUESTMEM_ACCESS_KERNEL) &&
	   model_all_at(5, PAGES - 5, GUESTMEM_ACCESS_KERNEL), "to private: level NONE");
	ok(!ask(3 * PAGE, 1, SHARED) && model.level[2] == GUESTMEM_ACCESS_NONE &&
	   model.level[3] == GUESTMEM_ACCESS_KERNEL, "a part of it back: level KERNEL");
	ok(!ask(0, PAGES, PRIVATE | KVM_MAP_GPA_RANGE_PAGE_SZ_2M) &&
	   model_all_at(0, PAGES, GUESTMEM_ACCESS_NONE), "everything, by preference in 2 MiB pages");
	ok(!ask(0, PAGES, SHARED | KVM_MAP_GPA_RANGE_PAGE_SZ_1G) &&
	   model_all_at(0, PAGES, GUESTMEM_ACCESS_KERNEL), "everything back");
	ok(vm.conversions.granted == 4 && !vm.conversions.refused, "they are counted");
}

static void test_bad(void)
{
	reset();
	ok(ask(1, 1, PRIVATE) == -KVM_EINVAL, "within a page");
	ok(ask(0, 0, PRIVATE) == -KVM_EINVAL, "no pages");
	ok(ask(0, PAGES + 1, PRIVATE) == -KVM_EINVAL, "beyond the end");
	ok(ask(PAGES * PAGE, 1, PRIVATE) == -KVM_EINVAL, "no memory");
	ok(ask(PAGE, UINT64_MAX / PAGE + 1, PRIVATE) == -KVM_EINVAL, "a length that overflows");
	ok(ask(UINT64_MAX - PAGE + 1, 2, PRIVATE) == -KVM_EINVAL, "an address that wraps");
	ok(ask(0, 1, PRIVATE | 3) == -KVM_EINVAL, "an unknown page size");
	ok(ask(0, 1, PRIVATE | 1 << 5) == -KVM_EINVAL, "an unknown attribute");
	ok(ask(0, 1, PRIVATE | 1ULL << 63) == -KVM_EINVAL, "another");
	ok(!model.tries && model_all_at(0, PAGES, GUESTMEM_ACCESS_KERNEL), "nothing was tried");
	ok(!vm.conversions.granted && vm.conversions.refused == 9, "they are counted");
}

/* The first memslot does not end where the second begins in the guest's memory. */
static void test_hole(void)
{
	struct memory small = vm.memory;

	vm.memory.size = MEMORY_LOW_MAX + 4 * PAGE;
	model_reset(0);
	ok(ask(MEMORY_LOW_MAX - PAGE, 2, PRIVATE) == -KVM_EINVAL, "into the hole");
	ok(ask(MEMORY_HIGH_BASE - PAGE, 2, PRIVATE) == -KVM_EINVAL, "out of the hole");
	ok(!model.tries, "nothing was tried");
	vm.memory = small;
}

static void test_held(void)
{
	reset();
	model.held_page = 3;
	model.held_tries = 1;
	ok(!ask(0, PAGES, PRIVATE), "a page that is released soon");
	reset();
	model.held_page = 3;
	model.held_tries = 1 << 30;
	ok(ask(0, PAGES, PRIVATE) == -EAGAIN &&
	   model_all_at(0, PAGES, GUESTMEM_ACCESS_KERNEL), "one that is not: ask again");
	reset();
	model.poisoned_page = 3;
	ok(ask(0, PAGES, PRIVATE) == -KVM_EINVAL, "a poisoned page");
	ok(vm.conversions.refused == 1, "it is counted");
}

static void test_others(void)
{
	struct kvm_run run = { .hypercall.nr = KVM_HC_SEND_IPI };

	hypercall_exit(&vm, &run);
	ok((int64_t)run.hypercall.ret == -KVM_ENOSYS, "another hypercall");
	vm.memory.kind = MEMORY_HIDDEN;
	reset();
	ok(ask(0, 1, PRIVATE) == -KVM_ENOSYS && !model.tries, "memory that is not the guest's to control");
}

int main(void)
{
	vm.memory = (struct memory){
		.kind = MEMORY_GUEST_CONTROLLED, .size = PAGES * PAGE,
		.fd = memfd_create("hypercall_test", 0),
	};
	ok(vm.memory.fd >= 0, "a file");
	test_granted();
	test_bad();
	test_hole();
	test_held();
	test_others();
	close(vm.memory.fd);
	return done_testing();
}
