/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HALT_H
#define HALT_H

#include <stdbool.h>
#include <stdint.h>

#define HALT_TICK_MS	1000

struct vm;

/*
 * Detects a guest that will never run again.  Since KVM emulates the interrupt
 * controller, KVM_RUN does not return while a vCPU is halted.  The VMM
 * therefore interrupts KVM_RUN and asks each vCPU whether it can ever run
 * again.
 */
struct halt {
	uint64_t cpu_time;	/* CPU time of all vCPU threads at the last tick, ns */
	bool asked;
	unsigned int confirmed;
};

/*
 * Must be called about every HALT_TICK_MS.  Returns whether no vCPU can ever
 * run again.
 */
bool halt_tick(struct halt *halt, struct vm *vm);

#endif
