// SPDX-License-Identifier: GPL-2.0-only
#include <asm/kvm_para.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch.h"
#include "cpuid.h"
#include "hypercall.h"
#include "ioport.h"
#include "layout.h"
#include "message.h"
#include "registers.h"
#include "status.h"
#include "vm.h"

#define RFLAGS_IF	(1u << 9)

static int set_cpuid(struct vcpu *vcpu)
{
	bool deadline = ioctl(vcpu->vm->kvm_fd, KVM_CHECK_EXTENSION,
			      KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	struct cpuid cpuid;
	int ret;

	ret = cpuid_read(&cpuid, vcpu->vm->kvm_fd);
	if (ret)
		return ret;
	cpuid_set_vcpu(&cpuid, vcpu->id, vcpu->vm->nr_cpus, deadline);
	if (vcpu->vm->memory.kind == MEMORY_GUEST_CONTROLLED)
		cpuid_add_features(&cpuid, 1u << KVM_FEATURE_HC_MAP_GPA_RANGE);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid.head))
		return fail(STATUS_ERROR, "cannot set the CPUID of vCPU %u: %s", vcpu->id,
			    strerror(errno));
	return 0;
}

int arch_init_vcpu(struct vcpu *vcpu)
{
	int ret = set_cpuid(vcpu);

	if (ret)
		return ret;
	ret = registers_set_firmware(vcpu->fd);
	if (ret)
		return fail(STATUS_ERROR, "cannot set the registers of vCPU %u: %s", vcpu->id,
			    strerror(-ret));
	return 0;
}

int arch_set_start(const struct vcpu *vcpu, const struct start *start)
{
	return registers_set_entry(vcpu->fd, start->entry, start->description);
}

/*
 * A CPU that has halted with interrupts disabled waits for an NMI, and a CPU
 * that the guest never started waits for another CPU.  If all CPUs wait like
 * this, none ever runs again.
 */
static enum vcpu_answer look(const struct vcpu *vcpu)
{
	struct kvm_mp_state state;
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &state) || ioctl(vcpu->fd, KVM_GET_REGS, &regs))
		return VCPU_ALIVE;
	switch (state.mp_state) {
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
		return VCPU_STOPPED;
	case KVM_MP_STATE_HALTED:
		return regs.rflags & RFLAGS_IF ? VCPU_ALIVE : VCPU_STOPPED;
	}
	return VCPU_ALIVE;
}

void arch_look(struct vcpu *vcpu)
{
	atomic_store(&vcpu->answer, look(vcpu));
}

unsigned long long arch_pc(const struct vcpu *vcpu)
{
	struct kvm_regs regs = { 0 };

	ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	return regs.rip;
}

static void mmio_exit(struct vm *vm, struct kvm_run *run)
{
	uint64_t addr = run->mmio.phys_addr;

	if (vm->disk && addr >= LAYOUT_DISK && addr < LAYOUT_DISK + LAYOUT_DISK_SIZE)
		disk_exit(vm->disk, addr - LAYOUT_DISK, run);
	else if (!run->mmio.is_write)	/* no device answers; writes are ignored */
		memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
}

bool arch_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		ioport_exit(vcpu->vm, run);
		return true;
	case KVM_EXIT_MMIO:
		mmio_exit(vcpu->vm, run);
		return true;
	case KVM_EXIT_HYPERCALL:
		hypercall_exit(vcpu->vm, run);
		return true;
	case KVM_EXIT_SHUTDOWN:
		vm_end(vcpu->vm, ENDING_TRIPLE_FAULT);
		return true;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	}
	return false;
}
