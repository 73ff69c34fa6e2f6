/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HALT_H
#define HALT_H

#include <stdbool.h>
#include <stdint.h>

#define HALT_TICK_MS	1000

struct vm;

/*
 * Notices a guest that halted for good.  With the interrupt controller in the
 * kernel a halted vCPU just never comes back from KVM_RUN, so the VMM has to ask.
 */
struct halt {
	uint64_t cpu_time;	/* of all vCPU threads at the last tick, ns */
	bool asked;
	unsigned int confirmed;
};

/* Call about every HALT_TICK_MS.  Return: whether no vCPU can ever run again. */
bool halt_tick(struct halt *halt, struct vm *vm);

#endif
