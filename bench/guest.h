/* SPDX-License-Identifier: GPL-2.0-only */
/* The parts of the tiny guest that x86/guest.c and arm64/guest.c implement. */
#ifndef BENCH_GUEST_H
#define BENCH_GUEST_H

#include <stdint.h>

struct tiny;

/* Memory at guest address 0, for page tables and code. */
#define FIRMWARE_SIZE	(64UL << 10)

enum guest_function {
	GUEST_TOUCH,	/* write one byte in each @c bytes from @a to @b */
	GUEST_WALK,	/* read @c times at @a plus a random number & @b */
};

/* All these functions end the program if they fail. */
void guest_write_firmware(char *memory);
void guest_init_vcpu(struct tiny *t, unsigned int id);
/* Runs the function on the vCPU and returns when the guest has finished it. */
void guest_call(struct tiny *t, unsigned int id, enum guest_function function, uint64_t a,
		uint64_t b, uint64_t c);
/* Repeats KVM_RUN until it succeeds. */
void guest_run(struct tiny *t, unsigned int id);

/* The first two are totals; the others describe the guest's memory now. */
struct guest_stats {
	uint64_t faults;	/* faults of vCPU 0 that KVM has handled */
	uint64_t exits;		/* exits of vCPU 0 */
	uint64_t maps_4k;	/* entries in KVM's page tables for the guest */
	uint64_t maps_2m;
};

void guest_read_stats(const struct tiny *t, struct guest_stats *stats);

#endif
