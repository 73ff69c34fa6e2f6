/* SPDX-License-Identifier: GPL-2.0-only */
/* The instructions and the counters of arm64 that the benchmark uses. */
#ifndef BENCH_HARDWARE_H
#define BENCH_HARDWARE_H

#include <stdint.h>

#include "backing.h"
#include "vmstat.h"

/* Returns a clock that advances with each instruction under QEMU's -icount. */
static inline uint64_t hardware_ticks(void)
{
	uint64_t ticks;

	asm volatile("isb\n mrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
	return ticks;
}

/* Executes two instructions for each round and few others. */
static inline void hardware_loop(uint64_t rounds)
{
	asm volatile("1: subs %0, %0, #1\n b.ne 1b" : "+r"(rounds) : : "cc");
}

/* Clears a page as the kernel does, by DC ZVA. */
static inline void hardware_clear_page(char *page)
{
	uint64_t zero_block;

	/* The value is log2 of the block size in words of 4 bytes. */
	asm("mrs %0, dczid_el0" : "=r"(zero_block));
	for (char *at = page; at < page + PAGE; at += 4UL << (zero_block & 15))
		asm volatile("dc zva, %0" : : "r"(at) : "memory");
}

/*
 * Returns how often all CPUs have flushed. On arm64 only the CPU that executes
 * the broadcast TLBI counts it. The number includes flushes of processes.
 */
static inline double hardware_flushes(const struct vmstat *v, unsigned int cpus)
{
	(void)cpus;
	return v->value[TLB_REMOTE];
}

/* KVM/arm64 has no kvm-clock, no nested guests on hidden memory, and no KVM_TRANSLATE. */
#define HARDWARE_FIGURES

#endif
