/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's counters of direct-map splits and TLB flushes. */
#ifndef BENCH_VMSTAT_H
#define BENCH_VMSTAT_H

#include <stdint.h>

enum {
	SPLITS_2M,
	SPLITS_1G,
	COLLAPSES_2M,
	COLLAPSES_1G,
	TLB_REMOTE,	/* flushes that a CPU requested from others */
	TLB_RECEIVED,	/* by each CPU: on request, everything or a range */
	TLB_ALL,	/* by each CPU: all entries of a process */
	TLB_ONE,	/* by each CPU: single pages */
	NR_VMSTATS
};

struct vmstat {
	uint64_t value[NR_VMSTATS];
};

const char *vmstat_name(unsigned int nr);

/* Returns 0, or -1 with the name of a missing counter in @missing. */
int vmstat_parse(const char *text, struct vmstat *v, const char **missing);

/*
 * Return the counters now, and the growth since; end the program if they fail.
 */
struct vmstat vmstat_now(void);
struct vmstat vmstat_since(const struct vmstat *before);

/*
 * Returns how often the library has flushed all CPUs to hide memory since boot.
 */
uint64_t library_flushes(void);

/* Returns how often all @cpus CPUs have flushed; see hardware_flushes(). */
double vmstat_flushes(const struct vmstat *v, unsigned int cpus);

#endif
