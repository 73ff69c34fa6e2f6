/* SPDX-License-Identifier: GPL-2.0-only */
/* What can be measured; each function is one command of the program. */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "backing.h"

/* From the words KEY=NUMBER of the command line, but for the backings. */
struct parameters {
	unsigned int mib;	/* of memory, or the most of it */
	unsigned int slow;	/* the same for backings that go page by page; 0: as the others */
	unsigned int reps;	/* repetitions */
	unsigned int busy;	/* other CPUs in a loop of system calls */
	unsigned int vcpus;	/* the most of them */
	unsigned int vms;	/* as many, or at most as many */
	unsigned int count;	/* of short operations */
	unsigned int tails;	/* memory that ends within a block, too */
	unsigned int backings;	/* BACKING_BIT()s */
};

/* For every repetition every backing of the set in turn, beginning with another each time. */
#define for_each_backing(b, rep, set)							\
	for (unsigned int b##_i = 0, b; b##_i < NR_BACKINGS; b##_i++)			\
		if (b = (b##_i + (rep)) % NR_BACKINGS, (set) & BACKING_BIT(b))

/* Of a piece of that memory, in bytes. */
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
