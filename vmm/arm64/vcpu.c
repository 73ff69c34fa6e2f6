// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch.h"
#include "layout.h"
#include "message.h"
#include "registers.h"
#include "status.h"
#include "vm.h"

/* Bits of PSTATE that mask all kinds of interrupts, and ordinary interrupts. */
#define PSTATE_DAIF	0x3c0u
#define PSTATE_I	0x80u

/* KVM_RUN of a parked CPU returns only for kicks, at most this often. */
#define PARKED_EXITS	4

/*
 * If the host's CPU has generic pointer authentication, pKVM reports it to a
 * protected guest, so the guest must be able to set its keys.
 */
static void add_pointer_authentication(const struct vm *vm, struct kvm_vcpu_init *init)
{
	if (ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PTRAUTH_ADDRESS) > 0 &&
	    ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PTRAUTH_GENERIC) > 0)
		init->features[0] |= 1u << KVM_ARM_VCPU_PTRAUTH_ADDRESS |
				     1u << KVM_ARM_VCPU_PTRAUTH_GENERIC;
}

int arch_init_vcpu(struct vcpu *vcpu)
{
	struct kvm_vcpu_init init;

	if (ioctl(vcpu->vm->fd, KVM_ARM_PREFERRED_TARGET, &init))
		return fail(STATUS_ERROR, "KVM offers no CPU type for guests: %s", strerror(errno));
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	if (vcpu->vm->protected)
		add_pointer_authentication(vcpu->vm, &init);
	if (vcpu->id)	/* the guest starts the others by PSCI */
		init.features[0] |= 1u << KVM_ARM_VCPU_POWER_OFF;
	if (ioctl(vcpu->fd, KVM_ARM_VCPU_INIT, &init))
		return fail(STATUS_ERROR, "cannot set the registers of vCPU %u: %s", vcpu->id,
			    strerror(errno));
	return 0;
}

int arch_set_start(const struct vcpu *vcpu, const struct start *start)
{
	return registers_set_entry(vcpu->fd, start->entry, start->description);
}

static void answer(struct vcpu *vcpu, bool stopped)
{
	atomic_store(&vcpu->answer, stopped ? VCPU_STOPPED : VCPU_ALIVE);
}

/* Returns whether the next KVM_RUN executes one instruction and returns. */
static bool set_stepping(struct vcpu *vcpu, bool on)
{
	struct kvm_guest_debug debug = {
		.control = on ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP : 0,
	};

	vcpu->arch.stepping = !ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug) && on;
	return vcpu->arch.stepping;
}

/*
 * Decides whether the vCPU is stopped.  A CPU that is off waits for another CPU
 * to start it.  In a halted Linux guest all CPUs but one wait with every kind
 * of interrupt masked, and the last one executes a branch to itself with
 * ordinary interrupts masked.  An idle CPU also waits with ordinary interrupts
 * masked, but a single step takes it to another instruction.  A debugger that
 * polls the serial port stays at one instruction with all interrupts masked,
 * but it causes exits.
 */
void arch_look(struct vcpu *vcpu)
{
	struct kvm_mp_state state;
	uint64_t pc, pstate;
	unsigned long long exits = atomic_load(&vcpu->exits);
	bool busy;

	if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &state) ||
	    registers_get(vcpu->fd, CORE_REGISTER(regs.pc), &pc) ||
	    registers_get(vcpu->fd, CORE_REGISTER(regs.pstate), &pstate)) {
		answer(vcpu, false);
		return;
	}
	busy = pc != vcpu->arch.last_pc || exits - vcpu->arch.last_exits > PARKED_EXITS;
	vcpu->arch.last_pc = pc;
	vcpu->arch.last_exits = exits;
	if (state.mp_state == KVM_MP_STATE_STOPPED)
		answer(vcpu, true);
	else if (busy || !(pstate & PSTATE_I))
		answer(vcpu, false);
	else if ((pstate & PSTATE_DAIF) == PSTATE_DAIF)
		answer(vcpu, true);
	else if (!set_stepping(vcpu, true))
		answer(vcpu, false);
	/* Otherwise stepped() answers. */
}

static void stepped(struct vcpu *vcpu)
{
	set_stepping(vcpu, false);
	answer(vcpu, arch_pc(vcpu) == vcpu->arch.last_pc);
}

unsigned long long arch_pc(const struct vcpu *vcpu)
{
	uint64_t pc = 0;

	registers_get(vcpu->fd, CORE_REGISTER(regs.pc), &pc);
	return pc;
}

/* An access of several bytes is one access to each of that many registers. */
static void serial_exit(struct vm *vm, struct kvm_run *run)
{
	for (uint32_t i = 0; i < run->mmio.len; i++) {
		unsigned int reg = run->mmio.phys_addr - LAYOUT_SERIAL + i;

		if (run->mmio.is_write)
			serial_write(&vm->serial, reg, run->mmio.data[i]);
		else
			run->mmio.data[i] = serial_read(&vm->serial, reg);
	}
}

static void mmio_exit(struct vm *vm, struct kvm_run *run)
{
	uint64_t addr = run->mmio.phys_addr;

	if (addr - LAYOUT_SERIAL < LAYOUT_SERIAL_SIZE)
		serial_exit(vm, run);
	else if (vm->disk && addr - LAYOUT_DISK < LAYOUT_DISK_SIZE)
		disk_exit(vm->disk, addr - LAYOUT_DISK, run);
	else if (!run->mmio.is_write)	/* no device answers */
		memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
}

bool arch_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		mmio_exit(vcpu->vm, run);
		return true;
	case KVM_EXIT_DEBUG:
		if (!vcpu->arch.stepping)
			return false;
		stepped(vcpu);
		return true;
	}
	return false;
}
