// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest access that user space has made impossible, in a VM whose local APIC
 * is in the kernel and whose guest accepts interrupts, so that KVM may handle
 * the page fault asynchronously.
 *
 * Proves that KVM_RUN returns EFAULT for memory beyond the end of its file,
 * without a mapping, and without permission, that KVM_EXIT_MEMORY_FAULT reports
 * the address, and that the access completes when the memory is accessible
 * again.
 *
 * Catches: an error of get_user_pages() that KVM mistakes for "needs I/O"
 * (end_of_file: the vCPU spins until its alarm ends the test), an exit without
 * a reason (reason).  Unmodified Linux 7.3.4 fails these two, and passes the
 * others.
 *
 * Not covered: page faults that do wait for I/O.
 */
#include <errno.h>
#include <linux/sizes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define SLOT	10
#define GPA	(1ULL << 32)
#define SIZE	SZ_64K
#define PAGE	4096UL
#define VALUE	0x123456789abcdefULL

static void guest_code(u64 gva)
{
	/* The CPU still blocks interrupts during the instruction after sti. */
	asm volatile("sti; nop");
	for (;;)
		GUEST_SYNC(READ_ONCE(*(u64 *)gva));
}

FIXTURE(fault) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	char *mem;
	int fd;
};

FIXTURE_SETUP(fault)
{
	self->fd = kvm_memfd_alloc(SIZE, false);
	self->mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd);
	self->vm = __vm_create_with_one_vcpu(&self->vcpu, SIZE / PAGE, guest_code);
	vm_set_user_memory_region(self->vm, SLOT, 0, GPA, SIZE, self->mem);
	virt_map(self->vm, GPA, GPA, SIZE / PAGE);
	vcpu_args_set(self->vcpu, 1, GPA + PAGE);
	*(u64 *)(self->mem + PAGE) = VALUE;
}

FIXTURE_TEARDOWN(fault)
{
	kvm_vm_free(self->vm);
	kvm_munmap(self->mem, SIZE);
	close(self->fd);
}

#define FAULT_TEST(name) TEST_F_TIMEOUT(fault, name, 20)

static void assert_fault(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	int r;

	run->exit_reason = 0;
	r = _vcpu_run(vcpu);
	TEST_ASSERT(r == -1 && errno == EFAULT, "KVM_RUN: %d, errno %d", r, errno);
}

static void assert_value(struct kvm_vcpu *vcpu, u64 value)
{
	struct ucall uc;

	vcpu_run(vcpu);
	TEST_ASSERT_EQ(get_ucall(vcpu, &uc), UCALL_SYNC);
	TEST_ASSERT_EQ(uc.args[1], value);
}

FAULT_TEST(end_of_file)
{
	TEST_ASSERT(!ftruncate(self->fd, PAGE), "ftruncate");
	assert_fault(self->vcpu);
	TEST_ASSERT(!ftruncate(self->fd, SIZE), "ftruncate");
	*(u64 *)(self->mem + PAGE) = VALUE + 1;
	assert_value(self->vcpu, VALUE + 1);
}

FAULT_TEST(not_mapped)
{
	void *mem;

	kvm_munmap(self->mem + PAGE, PAGE);
	assert_fault(self->vcpu);
	mem = mmap(self->mem + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		   self->fd, PAGE);
	TEST_ASSERT(mem == self->mem + PAGE, "mmap");
	assert_value(self->vcpu, VALUE);
}

FAULT_TEST(not_readable)
{
	TEST_ASSERT(!mprotect(self->mem + PAGE, PAGE, PROT_NONE), "mprotect");
	assert_fault(self->vcpu);
	TEST_ASSERT(!mprotect(self->mem + PAGE, PAGE, PROT_READ | PROT_WRITE), "mprotect");
	assert_value(self->vcpu, VALUE);
}

FAULT_TEST(reason)
{
	struct kvm_run *run = self->vcpu->run;

	kvm_munmap(self->mem + PAGE, PAGE);
	assert_fault(self->vcpu);
	TEST_ASSERT_EQ(run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	TEST_ASSERT_EQ(run->memory_fault.gpa, GPA + PAGE);
	TEST_ASSERT_EQ(run->memory_fault.size, PAGE);
	TEST_ASSERT_EQ(run->memory_fault.flags, 0);
}

int main(int argc, char **argv)
{
	return test_harness_run(argc, argv);
}
