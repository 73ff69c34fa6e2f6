/* SPDX-License-Identifier: GPL-2.0-only */
/* The parts of the tiny guest that depend on the architecture: x86/guest.c, arm64/guest.c. */
#ifndef BENCH_GUEST_H
#define BENCH_GUEST_H

#include <stdint.h>

struct tiny;

/* Memory at guest address 0, for page tables and code. */
#define FIRMWARE_SIZE	(64UL << 10)

enum guest_function {
	GUEST_TOUCH,	/* write a byte at each @c bytes from @a to @b */
	GUEST_WALK,	/* @c reads at @a plus a random number of which @b is the mask */
};

/* All of these end the program when they fail. */
void guest_write_firmware(char *memory);
void guest_init_vcpu(struct tiny *t, unsigned int id);
/* Run the function on the vCPU, and return when the guest is done with it. */
void guest_call(struct tiny *t, unsigned int id, enum guest_function function, uint64_t a,
		uint64_t b, uint64_t c);
/* KVM_RUN until it succeeds. */
void guest_run(struct tiny *t, unsigned int id);

/* The first two only count up; the others are of now, and of the guest's memory. */
struct guest_stats {
	uint64_t faults;	/* that KVM has handled for vCPU 0 */
	uint64_t exits;		/* of vCPU 0 */
	uint64_t maps_4k;	/* entries of the guest's page tables in KVM */
	uint64_t maps_2m;
};

void guest_read_stats(const struct tiny *t, struct guest_stats *stats);

#endif
