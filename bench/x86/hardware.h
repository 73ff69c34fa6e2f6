/* SPDX-License-Identifier: GPL-2.0-only */
/* The instructions and the counters of x86 that the benchmark uses. */
#ifndef BENCH_HARDWARE_H
#define BENCH_HARDWARE_H

#include <stdbool.h>
#include <stdint.h>
#include <x86intrin.h>

#include "backing.h"
#include "procfs.h"
#include "vmstat.h"

/* Returns a clock that advances with each instruction under QEMU's -icount. */
static inline uint64_t hardware_ticks(void)
{
	return __rdtsc();
}

/* Executes two instructions for each round and few others. */
static inline void hardware_loop(uint64_t rounds)
{
	asm volatile("1: dec %0\n jnz 1b" : "+r"(rounds) : : "cc");
}

/* Clears a page as the kernel does: by REP STOSB if fast, else REP STOSQ. */
static inline void hardware_clear_page(char *page)
{
	bool bytes = procfs_cpu_has("erms");
	uint64_t count = bytes ? PAGE : PAGE / 8;

	if (bytes)
		asm volatile("rep stosb" : "+c"(count), "+D"(page) : "a"(0) : "memory");
	else
		asm volatile("rep stosq" : "+c"(count), "+D"(page) : "a"(0) : "memory");
}

/*
 * Returns how often all @cpus CPUs have flushed. A flush of kernel addresses
 * runs on all CPUs, and each CPU counts it either as received or once for every
 * page. A page that a single CPU flushes counts as 1 / @cpus.
 */
static inline double hardware_flushes(const struct vmstat *v, unsigned int cpus)
{
	return (double)(v->value[TLB_RECEIVED] + v->value[TLB_ONE]) / cpus;
}

#define HARDWARE_FIGURES									\
	{ "clock", figure_clock, "direct-map references to a page, by kvm-clock" },	\
	{ "nested", figure_nested, "round trips into a nested guest, by VMMCALL" },	\
	{ "translate", figure_translate, "KVM's own read of guest memory, by its walk of page tables" },

#endif
