/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The functions that each architecture implements in its own folder.  The rest
 * of the VMM calls these and nothing else in that folder.  Each folder also has
 * a machine.h with the constants of its architecture.
 */
#ifndef ARCH_H
#define ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "machine.h"
#include "payload.h"
#include "vcpu.h"

struct vm;

/* The start of the first vCPU; the guest starts the other vCPUs. */
struct start {
	uint64_t entry;
	uint64_t description;	/* guest address of the machine's description */
};

/*
 * Each returns NULL, or the reason why the VMM cannot boot the kernel.
 * arch_check_kernel() checks the file before the VM is created.  arch_load()
 * copies the payload and a description of the machine to guest memory.
 */
const char *arch_check_kernel(const struct blob *kernel);
const char *arch_load(const struct vm *vm, const struct payload *payload, struct start *start);

/*
 * The stages of vm_create().  arch_create_vm() creates the VM, a protected one
 * if vm->protected is set, and stores its file descriptor in vm->fd.
 * arch_create_devices() creates the devices that must exist before the vCPUs,
 * arch_init_vcpu() initialises each vCPU, and arch_finish_devices() creates the
 * devices that need all vCPUs.  Each returns 0, or prints a message and returns
 * an exit status.
 */
int arch_create_vm(struct vm *vm, uint64_t memory_size);
int arch_create_devices(struct vm *vm);
int arch_init_vcpu(struct vcpu *vcpu);
int arch_finish_devices(struct vm *vm);

/*
 * Enables the hypercall of MEMORY_GUEST_CONTROLLED.  Returns the same values.
 */
int arch_enable_conversions(struct vm *vm);

/* Returns 0, or -errno. */
int arch_set_start(const struct vcpu *vcpu, const struct start *start);

void arch_serial_interrupt(struct vm *vm, bool level);
void arch_disk_interrupt(struct vm *vm, bool level);

/*
 * The vCPU's own thread calls the following functions, outside KVM_RUN.
 *
 * arch_exit() handles an exit that only this architecture has.  It returns
 * false for any other exit.
 */
bool arch_exit(struct vcpu *vcpu);

/* Sets vcpu->answer to whether the vCPU can ever run again: see halt.h. */
void arch_look(struct vcpu *vcpu);

/* Prints the vCPU's registers, interrupts and timer to stderr. */
void arch_say_state(const struct vcpu *vcpu);

/* Returns the program counter, called MACHINE_PC, or 0 if KVM fails. */
unsigned long long arch_pc(const struct vcpu *vcpu);

#endif
