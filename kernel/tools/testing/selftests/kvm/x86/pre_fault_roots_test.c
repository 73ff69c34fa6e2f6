// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY while another thread deletes memslots, which makes the
 * vCPU's page table root obsolete.
 *
 * Proves that the ioctl returns: with success, or with the error for a memslot
 * that is being deleted.
 *
 * Catches: a fault that KVM retries with an obsolete root (the ioctl does not
 * return until the alarm ends the test).
 */
#include <errno.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define SLOT		10
#define OTHER_SLOT	11
#define GPA		(1ULL << 32)
#define OTHER_GPA	(GPA + SZ_1G)
#define SIZE		SZ_16M
#define OTHER_SIZE	SZ_64K
#define SECONDS		5

static struct kvm_vm *vm;
static bool stop;
static char *mem;
static u64 deleted;

static void guest_code(void)
{
	GUEST_DONE();
}

static void *delete_slots(void *unused)
{
	while (!READ_ONCE(stop)) {
		vm_set_user_memory_region(vm, OTHER_SLOT, 0, OTHER_GPA, OTHER_SIZE, mem);
		vm_set_user_memory_region(vm, OTHER_SLOT, 0, OTHER_GPA, 0, mem);
		deleted++;
		usleep(100);
	}
	return NULL;
}

TEST(returns)
{
	struct kvm_pre_fault_memory range;
	struct kvm_vcpu *vcpu;
	u64 calls = 0, start;
	struct timespec ts;
	pthread_t thread;
	int r;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY));
	mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	vm_set_user_memory_region(vm, SLOT, 0, GPA, SIZE, mem);
	pthread_create(&thread, NULL, delete_slots, NULL);

	clock_gettime(CLOCK_MONOTONIC, &ts);
	start = ts.tv_sec;
	do {
		range = (struct kvm_pre_fault_memory){ .gpa = GPA, .size = SIZE };
		r = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
		TEST_ASSERT(!r || errno == EAGAIN, "KVM_PRE_FAULT_MEMORY: errno %d", errno);
		calls++;
		clock_gettime(CLOCK_MONOTONIC, &ts);
	} while (ts.tv_sec - start < SECONDS);

	WRITE_ONCE(stop, true);
	pthread_join(thread, NULL);
	ksft_print_msg("%lu calls, %lu memslots deleted meanwhile\n", calls, deleted);
	TEST_ASSERT(deleted > 10, "%lu memslots deleted", deleted);
	kvm_vm_free(vm);
	kvm_munmap(mem, SIZE);
}

int main(int argc, char **argv)
{
	return test_harness_run(argc, argv);
}
