/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest without a kernel: its vCPUs are in 64-bit mode with all memory mapped
 * one to one by 2 MiB entries, and run one small function at a time. What its
 * memory costs is then all that it costs. guest.h has what depends on the architecture.
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

/* All of these end the program when they fail. */
void tiny_create(struct tiny *t, enum backing backing, uint64_t size, unsigned int nr_vcpus);
void tiny_destroy(struct tiny *t);

/* Write to each page; every vCPU to its part, at the same time. */
void tiny_touch(struct tiny *t, uint64_t step);

/* Map all of the memory for the guest by KVM_PRE_FAULT_MEMORY, which populates it. */
void tiny_pre_fault(struct tiny *t);

/* On vCPU 0: @count reads from anywhere in memory, whose size is a power of two. */
void tiny_walk(struct tiny *t, uint64_t count);

/* Put vCPU 0's kvm-clock into memory at @offset, or take it away; KVM/arm64 has none. */
void tiny_clock_on(struct tiny *t, uint64_t offset);
void tiny_clock_off(struct tiny *t);

/*
 * On vCPU 0: @count times into a nested guest and back, with the VMCB in memory.
 * Only where tiny_can_nest(), and on x86.
 */
bool tiny_can_nest(void);
void tiny_nested(struct tiny *t, uint64_t count);

#endif
