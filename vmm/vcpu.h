/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VCPU_H
#define VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "machine.h"

struct vm;

/* Whether a vCPU can ever run again by itself, as it found on request. */
enum vcpu_answer { VCPU_NOT_ASKED, VCPU_ASKED, VCPU_ALIVE, VCPU_STOPPED };

struct vcpu {
	struct vm *vm;
	unsigned int id;	/* by which the interrupt controller knows it too */
	int fd;
	struct kvm_run *run;
	size_t run_size;
	pthread_t thread;
	atomic_int answer;	/* enum vcpu_answer */
	atomic_bool tell;	/* what it is at, see arch_say_state() */
	atomic_ullong exits;
	struct arch_vcpu arch;
};

/* Let vcpu_kick() interrupt KVM_RUN in this process; call once, before any thread. */
void vcpu_init_kick(void);

/* These return 0, or an exit status after a message. */
int vcpu_create(struct vcpu *vcpu, struct vm *vm, unsigned int id);
int vcpu_start(struct vcpu *vcpu);

/* Make the thread leave KVM_RUN and look at vm->ending and the requests in vcpu. */
void vcpu_kick(struct vcpu *vcpu);

/* Wait for a started thread of a VM that is ending. */
void vcpu_join(struct vcpu *vcpu);
void vcpu_destroy(struct vcpu *vcpu);

#endif
