// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "arch.h"
#include "message.h"
#include "registers.h"

#define PSTATE_SP_EL1	0x5u	/* EL1 uses SP_EL1 */
#define PSTATE_MODE	0xfu

static const char *mp_state(const struct vcpu *vcpu)
{
	struct kvm_mp_state state;

	if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &state))
		return "in an unknown state";
	switch (state.mp_state) {
	case KVM_MP_STATE_RUNNABLE:
		return "runnable";
	case KVM_MP_STATE_STOPPED:
		return "powered off";
	}
	return "in another state";
}

static void say_interrupts(const struct vcpu *vcpu)
{
	uint64_t control, count, deadline;
	struct kvm_vcpu_events events;

	if (!ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) && events.exception.serror_pending)
		say("vCPU %u: SError pending", vcpu->id);
	if (registers_get(vcpu->fd, KVM_REG_ARM_TIMER_CTL, &control) ||
	    registers_get(vcpu->fd, KVM_REG_ARM_TIMER_CNT, &count) ||
	    registers_get(vcpu->fd, KVM_REG_ARM_TIMER_CVAL, &deadline))
		return;
	say("vCPU %u: timer 0x%llx, count %llu, deadline %llu", vcpu->id,
	    (unsigned long long)control, (unsigned long long)count, (unsigned long long)deadline);
}

void arch_say_state(const struct vcpu *vcpu)
{
	uint64_t pc, sp, pstate;

	if (registers_get(vcpu->fd, CORE_REGISTER(regs.pc), &pc) ||
	    registers_get(vcpu->fd, CORE_REGISTER(regs.pstate), &pstate) ||
	    registers_get(vcpu->fd, (pstate & PSTATE_MODE) == PSTATE_SP_EL1 ?
			  CORE_REGISTER(sp_el1) : CORE_REGISTER(regs.sp), &sp)) {
		say("vCPU %u: cannot read its state", vcpu->id);
		return;
	}
	say("vCPU %u: %s, pc 0x%llx, sp 0x%llx, pstate 0x%llx", vcpu->id, mp_state(vcpu),
	    (unsigned long long)pc, (unsigned long long)sp, (unsigned long long)pstate);
	say_interrupts(vcpu);
}
