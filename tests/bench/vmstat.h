/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel counts of its direct map and its TLBs. */
#ifndef BENCH_VMSTAT_H
#define BENCH_VMSTAT_H

#include <stdint.h>

enum {
	SPLITS_2M,
	SPLITS_1G,
	COLLAPSES_2M,
	COLLAPSES_1G,
	TLB_REMOTE,	/* flushes asked of other CPUs */
	TLB_RECEIVED,	/* by each CPU: everything, or a process's range, on request */
	TLB_ALL,	/* by each CPU: everything of a process */
	TLB_ONE,	/* by each CPU: single pages */
	NR_VMSTATS
};

struct vmstat {
	uint64_t value[NR_VMSTATS];
};

const char *vmstat_name(unsigned int nr);

/* 0, or -1 and in @missing the name of a counter that is not in the text. */
int vmstat_parse(const char *text, struct vmstat *v, const char **missing);

/* What was counted since; ends the program when it cannot be read. */
struct vmstat vmstat_now(void);
struct vmstat vmstat_since(const struct vmstat *before);

/* How often the kernel's library flushed all CPUs to hide memory, since boot. */
uint64_t library_flushes(void);

/* How often all @cpus CPUs have flushed; see hardware_flushes(). */
double vmstat_flushes(const struct vmstat *v, unsigned int cpus);

#endif
