/* SPDX-License-Identifier: GPL-2.0-only */
/* The figures of the benchmark; each function is one command of the program. */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "backing.h"

/* The words KEY=NUMBER of the command line, and the backings. */
struct parameters {
	unsigned int mib;	/* size of the memory, or its maximum */
	unsigned int slow;	/* the same for order-0 backings; 0: use mib */
	unsigned int reps;	/* repetitions */
	unsigned int busy;	/* other CPUs in a loop of system calls */
	unsigned int vcpus;	/* maximum number of vCPUs */
	unsigned int vms;	/* number of VMs, or its maximum */
	unsigned int count;	/* number of short operations */
	unsigned int tails;	/* also measure memory that ends within a block */
	unsigned int backings;	/* BACKING_BIT()s */
};

/* Iterates over the set, beginning with another backing in each repetition. */
#define for_each_backing(b, rep, set)							\
	for (unsigned int b##_i = 0, b; b##_i < NR_BACKINGS; b##_i++)			\
		if (b = (b##_i + (rep)) % NR_BACKINGS, (set) & BACKING_BIT(b))

/* Returns the size of a region in bytes. */
static inline uint64_t figure_size(const struct parameters *p, enum backing backing)
{
	bool slow = p->slow && (backing == HIDDEN_0 || backing == SECRET);

	return (slow ? p->slow : p->mib) * MIB;
}

void figure_population(const struct parameters *p);
void figure_guest(const struct parameters *p);
void figure_counts(const struct parameters *p);
void figure_slot(const struct parameters *p);
void figure_walk(const struct parameters *p);
void figure_walk_turns(const struct parameters *p);
void figure_clock(const struct parameters *p);
void figure_nested(const struct parameters *p);
void figure_access(const struct parameters *p);
void figure_translate(const struct parameters *p);
void figure_memory(const struct parameters *p);
void figure_memory_whole(const struct parameters *p);
void figure_cycle(const struct parameters *p);
void figure_cycle_guest(const struct parameters *p);
void figure_vms(const struct parameters *p);
void figure_lives(const struct parameters *p);
void figure_broken(const struct parameters *p);
void figure_holes(const struct parameters *p);
void figure_growth_size(const struct parameters *p);
void figure_growth_vcpus(const struct parameters *p);
void figure_growth_vms(const struct parameters *p);

#endif
