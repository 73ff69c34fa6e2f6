/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What each architecture implements in its own folder; machine.h, of which there
 * is one in each folder too, has its constants.  The rest of the VMM calls these
 * and knows nothing else of an architecture.
 */
#ifndef ARCH_H
#define ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "machine.h"
#include "payload.h"
#include "vcpu.h"

struct vm;

/* How the first vCPU starts; the others wait until the guest starts them. */
struct start {
	uint64_t entry;
	uint64_t description;	/* guest address of what describes the machine */
};

/*
 * Each returns NULL, or why the kernel cannot be booted.  arch_check_kernel()
 * tells what the file alone shows, before there is a VM.  arch_load() puts the
 * payload into guest memory, with a description of the machine.
 */
const char *arch_check_kernel(const struct blob *kernel);
const char *arch_load(const struct vm *vm, const struct payload *payload, struct start *start);

/*
 * Stages of vm_create(): the VM itself, whose file descriptor is vm->fd and which
 * is a protected one if vm->protected says so, its
 * devices before it has vCPUs, each vCPU, and devices that need to know all vCPUs.
 * Each returns 0, or an exit status after a message.
 */
int arch_create_vm(struct vm *vm, uint64_t memory_size);
int arch_create_devices(struct vm *vm);
int arch_init_vcpu(struct vcpu *vcpu);
int arch_finish_devices(struct vm *vm);

/* Let the guest ask for conversions of MEMORY_GUEST_CONTROLLED; returns as those above. */
int arch_enable_conversions(struct vm *vm);

/* Return: 0, or -errno. */
int arch_set_start(const struct vcpu *vcpu, const struct start *start);

void arch_serial_interrupt(struct vm *vm, bool level);
void arch_disk_interrupt(struct vm *vm, bool level);

/*
 * The rest is called from the vCPU's own thread, outside KVM_RUN.
 *
 * arch_exit() serves an exit that only this architecture has, or returns false.
 */
bool arch_exit(struct vcpu *vcpu);

/* Answer whether the vCPU can ever run again: see halt.h. */
void arch_look(struct vcpu *vcpu);

/* Write to stderr its registers, its interrupts and its timer. */
void arch_say_state(const struct vcpu *vcpu);

/* The program counter, which is MACHINE_PC by name; 0 if KVM does not tell. */
unsigned long long arch_pc(const struct vcpu *vcpu);

#endif
