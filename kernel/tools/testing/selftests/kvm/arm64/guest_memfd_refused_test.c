// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KVM/arm64 refuses for hidden guest memory, and at level NONE.
 *
 * Proves that a VM has either nested guests or hidden memory, whichever it gets
 * first, because KVM maps a page of a guest hypervisor in the fixmap without a
 * direct-map reference; and that the VMM learns the page when a vCPU faults on
 * a plain memslot over memory at level NONE.  guest_memfd_protected_test.c
 * tests what protected VMs are refused.
 *
 * Catches: an order of the calls that gets both, a refusal that leaves a
 * memslot or a vCPU half created, and a KVM_RUN that fails without
 * KVM_EXIT_MEMORY_FAULT.
 *
 * Needs kvm-arm.mode=nested for nested guests.
 */
#include <errno.h>
#include <linux/guest_memfd.h>
#include <linux/sizes.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define SIZE		SZ_2M
#define PLAIN_FLAGS	(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)
#define HIDDEN_FLAGS	(PLAIN_FLAGS | GUEST_MEMFD_FLAG_NO_DIRECT_MAP)

FIXTURE(refused) {
	struct gmem_vm g;
	struct kvm_vm *vm;
	char *mem;
	int kmsg;
	int fd;
};

FIXTURE_SETUP(refused)
{
	memset(self, 0, sizeof(*self));
	self->fd = -1;
	gmem_kmsg_open(&self->kmsg);
}

FIXTURE_TEARDOWN(refused)
{
	gmem_vm_destroy(&self->g);
	if (self->vm)
		kvm_vm_free(self->vm);
	if (self->mem)
		kvm_munmap(self->mem, SIZE);
	if (self->fd >= 0)
		kvm_close(self->fd);
	gmem_assert_all_back();
	gmem_assert_nothing_left(&self->kmsg);
}

/* Adds a memslot over a new file; returns 0 or the errno. */
static int add_slot(struct _test_data_refused *self, u64 flags)
{
	int r;

	self->fd = vm_create_guest_memfd(self->vm, SIZE, flags);
	self->mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd);
	WRITE_ONCE(*self->mem, 1);
	r = __vm_set_user_memory_region2(self->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA,
					 SIZE, self->mem, self->fd, 0);
	return r ? errno : 0;
}

static void drop_file(struct _test_data_refused *self)
{
	kvm_munmap(self->mem, SIZE);
	kvm_close(self->fd);
	self->mem = NULL;
	self->fd = -1;
}

static int init_vcpu(struct kvm_vcpu *vcpu, bool nested)
{
	struct kvm_vcpu_init init;

	kvm_get_default_vcpu_target(vcpu->vm, &init);
	if (nested)
		init.features[0] |= BIT(KVM_ARM_VCPU_HAS_EL2);
	return __vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init) ? errno : 0;
}

TEST_F(refused, nested_after)
{
	struct kvm_vcpu *vcpu;

	if (!kvm_check_cap(KVM_CAP_ARM_EL2))
		SKIP(return, "no nested guests on this host");
	self->vm = vm_create_barebones();
	TEST_ASSERT_EQ(add_slot(self, HIDDEN_FLAGS), 0);
	vcpu = __vm_vcpu_add(self->vm, 0);
	TEST_ASSERT_EQ(init_vcpu(vcpu, true), EINVAL);
	/* The vCPU keeps none of the refused features. */
	TEST_ASSERT_EQ(init_vcpu(vcpu, false), 0);
}

TEST_F(refused, nested_before)
{
	struct kvm_vcpu *vcpu;

	if (!kvm_check_cap(KVM_CAP_ARM_EL2))
		SKIP(return, "no nested guests on this host");
	self->vm = vm_create_barebones();
	vcpu = __vm_vcpu_add(self->vm, 0);
	TEST_ASSERT_EQ(init_vcpu(vcpu, true), 0);
	TEST_ASSERT_EQ(add_slot(self, HIDDEN_FLAGS), EINVAL);
	drop_file(self);
	/*
	 * The gfns are free, and KVM accepts memory there that is not hidden.
	 */
	TEST_ASSERT_EQ(add_slot(self, PLAIN_FLAGS), 0);
}

/* KVM refuses nothing, because the memslot is not hidden. */
TEST_F(refused, nested_plain)
{
	struct kvm_vcpu *vcpu;

	if (!kvm_check_cap(KVM_CAP_ARM_EL2))
		SKIP(return, "no nested guests on this host");
	self->vm = vm_create_barebones();
	TEST_ASSERT_EQ(add_slot(self, PLAIN_FLAGS), 0);
	vcpu = __vm_vcpu_add(self->vm, 0);
	TEST_ASSERT_EQ(init_vcpu(vcpu, true), 0);
}

/* The vCPU needs a page that KVM cannot get. */
static void assert_memory_fault(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	TEST_ASSERT(_vcpu_run(vcpu) == -1 && errno == EFAULT, "errno %d", errno);
	TEST_ASSERT_EQ(vcpu->run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	TEST_ASSERT_EQ(vcpu->run->memory_fault.gpa, gpa);
	TEST_ASSERT_EQ(vcpu->run->memory_fault.size, GMEM_PAGE);
}

/* A plain memslot over memory at level NONE, then over an unmapped address. */
TEST_F(refused, plain_none)
{
	struct gmem_vm *g = &self->g;
	u64 page = 3 * GMEM_PAGE;
	struct kvm_vcpu *vcpu;
	void *mem;

	gmem_vm_create_bare(g, 1, SIZE, 0);
	vcpu = g->vcpus[0];
	g->fd = vm_create_guest_memfd(g->vm, SIZE, HIDDEN_FLAGS);
	g->mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
	vm_set_user_memory_region(g->vm, GMEM_SLOT, 0, GMEM_GPA, SIZE, g->mem);
	virt_map(g->vm, GMEM_GVA, GMEM_GPA, SIZE / g->vm->page_size);

	gmem_guest_call(vcpu, gmem_guest_fill, GMEM_GVA + page, GMEM_PAGE, 1);
	gmem_set_access(g->fd, 0, SIZE, GUEST_MEMFD_ACCESS_NONE);
	gmem_guest_post(vcpu, gmem_guest_fill, GMEM_GVA + page, GMEM_PAGE, 2);
	assert_memory_fault(vcpu, GMEM_GPA + page);

	gmem_set_access(g->fd, 0, SIZE, GUEST_MEMFD_ACCESS_USER);
	kvm_munmap(g->mem, SIZE);
	assert_memory_fault(vcpu, GMEM_GPA + page);

	/* With a mapping the guest continues. */
	mem = mmap(g->mem, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, g->fd, 0);
	TEST_ASSERT(mem == g->mem, "mmap: errno %d", errno);
	TEST_ASSERT(!_vcpu_run(vcpu), "errno %d", errno);
	gmem_assert_filled(g->mem + page, GMEM_PAGE, 2);
}

int main(int argc, char *argv[])
{
	gmem_require();
	return test_harness_run(argc, argv);
}
