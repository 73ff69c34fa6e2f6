/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest without a kernel: its vCPUs are in 64-bit mode, map all memory one to
 * one by 2 MiB entries, and run one small function at a time. Its cost is
 * therefore the cost of its memory. guest.h declares the parts that depend on
 * the architecture.
 */
#ifndef BENCH_TINY_H
#define BENCH_TINY_H

#include <stdbool.h>
#include <stdint.h>

#include "backing.h"

#define TINY_MAX_VCPUS	16
#define TINY_BASE	(1UL << 30)	/* guest address of its memory */
#define TINY_MAX_SIZE	(3UL << 30)

struct tiny_vcpu {
	int fd;
	struct kvm_run *run;
};

struct tiny {
	struct region memory;
	void *firmware;
	unsigned int nr_vcpus;
	struct tiny_vcpu vcpu[TINY_MAX_VCPUS];
};

/* All these functions end the program if they fail. */
void tiny_create(struct tiny *t, enum backing backing, uint64_t size, unsigned int nr_vcpus);
void tiny_destroy(struct tiny *t);

/*
 * Writes once in every @step bytes; each vCPU writes to its part, in parallel.
 */
void tiny_touch(struct tiny *t, uint64_t step);

/* Maps and populates all memory of the guest by KVM_PRE_FAULT_MEMORY. */
void tiny_pre_fault(struct tiny *t);

/* Reads @count times at random on vCPU 0; the size must be a power of two. */
void tiny_walk(struct tiny *t, uint64_t count);

/*
 * Turn vCPU 0's kvm-clock, at @offset in memory, on and off; no-ops on arm64.
 */
void tiny_clock_on(struct tiny *t, uint64_t offset);
void tiny_clock_off(struct tiny *t);

/*
 * tiny_nested() enters and leaves a nested guest @count times on vCPU 0, with the
 * VMCB in memory. It needs x86, and tiny_can_nest() to return true.
 */
bool tiny_can_nest(void);
void tiny_nested(struct tiny *t, uint64_t count);

#endif
