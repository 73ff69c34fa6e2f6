// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch.h"
#include "message.h"

#define APIC_PPR		0x0a0
#define APIC_ISR		0x100
#define APIC_IRR		0x200
#define APIC_TIMER		0x320
#define APIC_INITIAL_COUNT	0x380
#define APIC_CURRENT_COUNT	0x390

#define MSR_TSC			0x10
#define MSR_TSC_DEADLINE	0x6e0

static const char *const mp_states[] = {
	[KVM_MP_STATE_RUNNABLE] = "runnable",
	[KVM_MP_STATE_UNINITIALIZED] = "never started",
	[KVM_MP_STATE_INIT_RECEIVED] = "waits for SIPI",
	[KVM_MP_STATE_HALTED] = "halted",
	[KVM_MP_STATE_SIPI_RECEIVED] = "being started",
};

static uint32_t apic_read(const struct kvm_lapic_state *apic, unsigned int at)
{
	uint32_t value;

	memcpy(&value, apic->regs + at, sizeof(value));
	return value;
}

/* Prints the vectors in one of the APIC's 256-bit registers to @text. */
static const char *vectors(char *text, size_t size, const struct kvm_lapic_state *apic,
			   unsigned int at)
{
	size_t used = 0;

	strcpy(text, " none");
	for (unsigned int vector = 0; vector < 256 && used + 6 < size; vector++)
		if (apic_read(apic, at + vector / 32 * 16) & 1u << vector % 32)
			used += sprintf(text + used, " 0x%02x", vector);
	return text;
}

static void say_apic(const struct vcpu *vcpu)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} msrs = {
		.head.nmsrs = 2,
		.entries = { { .index = MSR_TSC }, { .index = MSR_TSC_DEADLINE } },
	};
	struct kvm_lapic_state apic;
	char in_service[256], requested[256];

	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &apic))
		return;
	say("vCPU %u: interrupts in service%s, requested%s, PPR 0x%02x", vcpu->id,
	    vectors(in_service, sizeof(in_service), &apic, APIC_ISR),
	    vectors(requested, sizeof(requested), &apic, APIC_IRR), apic_read(&apic, APIC_PPR));
	if (ioctl(vcpu->fd, KVM_GET_MSRS, &msrs) != 2)
		return;
	say("vCPU %u: timer 0x%x, count %u of %u, TSC %llu, deadline %llu", vcpu->id,
	    apic_read(&apic, APIC_TIMER), apic_read(&apic, APIC_CURRENT_COUNT),
	    apic_read(&apic, APIC_INITIAL_COUNT), msrs.entries[0].data, msrs.entries[1].data);
}

void arch_say_state(const struct vcpu *vcpu)
{
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp = { 0 };
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp) || ioctl(vcpu->fd, KVM_GET_REGS, &regs) ||
	    ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events)) {
		say("vCPU %u: cannot read its state", vcpu->id);
		return;
	}
	say("vCPU %u: %s, rip 0x%llx, rsp 0x%llx, rflags 0x%llx", vcpu->id,
	    mp.mp_state < sizeof(mp_states) / sizeof(mp_states[0]) && mp_states[mp.mp_state] ?
	    mp_states[mp.mp_state] : "in another state", regs.rip, regs.rsp, regs.rflags);
	if (events.exception.injected || events.exception.pending || events.interrupt.injected ||
	    events.nmi.injected || events.nmi.pending)
		say("vCPU %u: exception %u%s%s, interrupt 0x%02x%s, NMI%s%s", vcpu->id,
		    events.exception.nr, events.exception.injected ? " injected" : "",
		    events.exception.pending ? " pending" : "", events.interrupt.nr,
		    events.interrupt.injected ? " injected" : "",
		    events.nmi.injected ? " injected" : "", events.nmi.pending ? " pending" : "");
	say_apic(vcpu);
}
