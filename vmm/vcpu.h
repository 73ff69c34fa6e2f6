/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VCPU_H
#define VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "machine.h"

struct vm;

/*
 * Whether a vCPU can ever run again by itself; its thread answers on request.
 */
enum vcpu_answer { VCPU_NOT_ASKED, VCPU_ASKED, VCPU_ALIVE, VCPU_STOPPED };

struct vcpu {
	struct vm *vm;
	unsigned int id;	/* also its number for the interrupt controller */
	int fd;
	struct kvm_run *run;
	size_t run_size;
	pthread_t thread;
	atomic_int answer;	/* enum vcpu_answer */
	atomic_bool say_state;	/* request to call arch_say_state() */
	atomic_ullong exits;
	struct arch_vcpu arch;
};

/*
 * Installs the signal of vcpu_kick(); must be called before any thread exists.
 */
void vcpu_init_kick(void);

/* These return 0, or print a message and return an exit status. */
int vcpu_create(struct vcpu *vcpu, struct vm *vm, unsigned int id);
int vcpu_start(struct vcpu *vcpu);

/* Interrupts KVM_RUN, so that the thread checks vm->ending and its requests. */
void vcpu_kick(struct vcpu *vcpu);

/* Waits for the thread; the VM must be ending. */
void vcpu_join(struct vcpu *vcpu);
void vcpu_destroy(struct vcpu *vcpu);

#endif
