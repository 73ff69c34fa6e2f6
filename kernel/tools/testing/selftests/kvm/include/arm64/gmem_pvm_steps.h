/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_GMEM_PVM_STEPS_H
#define SELFTEST_KVM_GMEM_PVM_STEPS_H

/*
 * A protected guest that executes the steps of a test one at a time, and
 * accesses of the test to memory that may be donated.  One file of a test
 * includes this.
 */

#include <setjmp.h>
#include <signal.h>

#include "gmem_pvm.h"

/* Hypercalls of a protected guest, and their return values. */
#define MEM_SHARE	0xc6000003
#define MEM_UNSHARE	0xc6000004
#define SUCCESS		0
#define INVALID		((u64)-3)

/* The other operations of the guest. */
#define OP_WRITE	1
#define OP_READ		2

/*
 * Loads a step (x19: operation, x1: address, x21: value) from the page at x0,
 * and stores the result there.
 */
asm(".pushsection .rodata\n"
	".balign 8\n"
	".global gmem_pvm_steps_start\n"
	"gmem_pvm_steps_start:\n"
	"	mov	x20, x0\n"
	"1:	ldr	x19, [x20]\n"
	"	ldr	x1, [x20, #8]\n"
	"	ldr	x21, [x20, #16]\n"
	"	cmp	x19, #1\n"
	"	b.ne	2f\n"
	"	str	x21, [x1]\n"
	"	mov	x0, xzr\n"
	"	b	4f\n"
	"2:	cmp	x19, #2\n"
	"	b.ne	3f\n"
	"	ldr	x0, [x1]\n"
	"	b	4f\n"
	"3:	mov	x0, x19\n"
	"	mov	x2, x21\n"
	"	mov	x3, xzr\n"
	"	hvc	#0\n"
	"4:	str	x0, [x20, #24]\n"
	"	b	1b\n"
	".global gmem_pvm_steps_end\n"
	"gmem_pvm_steps_end:\n"
	".popsection\n");
extern const char gmem_pvm_steps_start[], gmem_pvm_steps_end[];

static inline void gmem_pvm_create_stepper(struct gmem_pvm *p, int nr_vcpus)
{
	static const u64 args[5] = { GMEM_PVM_MMIO };

	gmem_pvm_create_guest(p, nr_vcpus, args, gmem_pvm_steps_start, gmem_pvm_steps_end);
}

/*
 * Run one step of the guest.  Return: 0 with *@result, or the errno of KVM_RUN.
 */
static inline int gmem_pvm_try_step(struct gmem_pvm *p, int vcpu, u64 op, u64 offset, u64 value,
				    u64 *result)
{
	const u64 words[] = { op, GMEM_GPA + offset, value };
	struct kvm_run *run = p->run[vcpu];
	u64 n;

	for (;;) {
		if (ioctl(p->vcpu[vcpu], KVM_RUN, NULL)) {
			/*
			 * The kernel interrupted the thread for other work,
			 * such as io_uring's.
			 */
			if (errno == EINTR)
				continue;
			return errno;
		}
		TEST_ASSERT(run->exit_reason == KVM_EXIT_MMIO, "exit reason %u", run->exit_reason);
		n = (run->mmio.phys_addr - GMEM_PVM_MMIO) / sizeof(u64);
		if (run->mmio.is_write) {
			TEST_ASSERT_EQ(n, ARRAY_SIZE(words));
			memcpy(result, run->mmio.data, sizeof(*result));
			return 0;
		}
		TEST_ASSERT(n < ARRAY_SIZE(words), "MMIO at 0x%llx", run->mmio.phys_addr);
		memcpy(run->mmio.data, &words[n], sizeof(u64));
	}
}

static inline u64 gmem_pvm_step(struct gmem_pvm *p, u64 op, u64 offset, u64 value)
{
	u64 result = 0;
	int err = gmem_pvm_try_step(p, 0, op, offset, value, &result);

	TEST_ASSERT(!err, "KVM_RUN: errno %d, exit reason %u", err, p->run[0]->exit_reason);
	return result;
}

static __thread sigjmp_buf gmem_pvm_sigbus_jmp;

static void gmem_pvm_on_sigbus(int sig)
{
	siglongjmp(gmem_pvm_sigbus_jmp, 1);
}

/* Return: False if the process cannot access the page. */
static inline bool gmem_pvm_host_access(volatile u64 *addr, bool write, u64 *value)
{
	if (sigsetjmp(gmem_pvm_sigbus_jmp, 1))
		return false;
	if (write)
		*addr = *value;
	else
		*value = *addr;
	return true;
}

static inline void gmem_pvm_catch_sigbus(void)
{
	struct sigaction action = { .sa_handler = gmem_pvm_on_sigbus };

	TEST_ASSERT(!sigaction(SIGBUS, &action, NULL), "sigaction: errno %d", errno);
}

static inline bool gmem_pvm_host_can_read(struct gmem_pvm *p, u64 offset)
{
	u64 value;

	return gmem_pvm_host_access((u64 *)(p->mem + offset), false, &value);
}

#endif /* SELFTEST_KVM_GMEM_PVM_STEPS_H */
