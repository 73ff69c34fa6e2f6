// SPDX-License-Identifier: GPL-2.0-only
/*
 * A life of memory: populated by touch, given back by close().  What of it the
 * caller pays, and where instructions are counted what the whole machine executes
 * until the memory can be used again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "backing.h"
#include "busy.h"
#include "figures.h"
#include "hardware.h"
#include "measure.h"
#include "pool.h"
#include "tiny.h"

/* Instructions for a page that the first window has room for. */
#define WINDOW_PER_PAGE	8000
#define MAX_WINDOWS	6
#define REST_US		500000
#define NOT_REPORTED	(~0U)

static void set_policy(int policy)
{
	struct sched_param param = { .sched_priority = policy == SCHED_FIFO };

	if (sched_setscheduler(0, policy, &param))
		die(errno, "sched_setscheduler");
}

static bool counts_instructions(void)
{
	return !strcmp(now_unit(), "instructions");
}

/* Executes @instructions, rounded down to an even number, which it returns. */
static uint64_t spin(uint64_t instructions)
{
	uint64_t rounds = instructions / 2;

	hardware_loop(rounds);
	return rounds * 2;
}

struct cost {
	uint64_t populate, own, all;
};

/*
 * Counts what the machine executes from the first touch until the end of a window
 * in which this thread does nothing but spin, with the policy SCHED_IDLE: a worker
 * that has something to do preempts it.  The CPU is never idle meanwhile, so the
 * clock does not jump; what the loop executes is known, and subtracted.  A worker
 * does not preempt the caller before close() has returned, as the caller has
 * SCHED_FIFO; what it executes then is the caller's own.
 *
 * Without @r: what the machine executes in such a window at rest, for its timer.
 */
static void count_window(struct region *r, uint64_t window, struct cost *cost)
{
	uint64_t start;

	set_policy(SCHED_FIFO);
	start = now();
	if (r) {
		region_touch(r, PAGE);
		cost->populate = now() - start;
		region_close(r);
	}
	cost->own = now() - start;
	/* The worker may run before this returns, which is why one clock spans both. */
	set_policy(SCHED_IDLE);
	window = spin(window);
	cost->all = now() - start - window;
	set_policy(SCHED_OTHER);
}

/* Returns false if the memory was not back at the end of @window. */
static bool count_cycle(struct region *r, uint64_t window, struct cost *cost)
{
	struct cost rest;
	uint64_t had;

	/* Longer than any delay after which a worker starts. */
	usleep(REST_US);
	had = free_memory() + pool_size();
	count_window(NULL, window, &rest);
	count_window(r, window, cost);
	cost->all -= rest.all;
	return free_memory() + pool_size() + r->size / 32 >= had;
}

static void time_cycle(struct region *r, struct cost *cost)
{
	uint64_t start = now();

	region_touch(r, PAGE);
	cost->populate = now() - start;
	region_close(r);
	cost->own = now() - start;
}

static void per_page(const char *figure, enum backing backing, enum pool pool, unsigned int rep,
		     double cost, uint64_t size)
{
	if (rep != NOT_REPORTED)
		report(figure, backing_name(backing), pool_name(pool), rep, cost / (size / PAGE),
		       now_unit());
}

static void cycle(const struct parameters *p, enum backing backing, enum pool pool,
		  unsigned int rep)
{
	uint64_t size = p->mib * MIB, window = size / PAGE * WINDOW_PER_PAGE;
	bool counts = counts_instructions(), back = true;
	unsigned int windows = 0;
	struct region r;
	struct cost cost;

	do {
		if (backing_has_blocks(backing))
			pool_prepare(pool, size);
		if (windows++ == MAX_WINDOWS)
			die(0, "%s memory is not free after %llu instructions",
			    backing_name(backing), (unsigned long long)window);
		region_create(&r, backing, size);
		if (counts)
			back = count_cycle(&r, window, &cost);
		else
			time_cycle(&r, &cost);
		region_destroy(&r);
		window *= 2;
	} while (!back);
	per_page("cycle-populate", backing, pool, rep, cost.populate, size);
	per_page("cycle-own", backing, pool, rep, cost.own, size);
	if (!counts)
		return;
	per_page("cycle-all", backing, pool, rep, cost.all, size);
	per_page("cycle-after-close", backing, pool, rep, (double)cost.all - cost.own, size);
}

static void by_guest(const struct parameters *p, enum backing backing, enum pool pool,
		     unsigned int rep)
{
	uint64_t start;
	struct tiny t;

	if (backing_has_blocks(backing))
		pool_prepare(pool, p->mib * MIB);
	tiny_create(&t, backing, p->mib * MIB, 1);
	start = now();
	tiny_touch(&t, PAGE);
	per_page("cycle-guest", backing, pool, rep, now() - start, p->mib * MIB);
	tiny_destroy(&t);
}

/* The other backings are measured beside each state of the pool, as time drifts. */
static void each(const struct parameters *p, unsigned int set,
		 void (*measure)(const struct parameters *p, enum backing backing, enum pool pool,
				 unsigned int rep))
{
	busy_pin(0);
	/* Once for nothing: the first use of memory is slow, the emulator allocates it. */
	if (!counts_instructions())
		for_each_backing(b, 0, set)
			measure(p, b, POOL_EMPTY, NOT_REPORTED);
	for (unsigned int rep = 0; rep < p->reps; rep++)
		for (enum pool pool = 0; pool < NR_POOLS; pool++)
			for_each_backing(b, rep, set)
				measure(p, b, pool, rep);
}

void figure_cycle(const struct parameters *p)
{
	each(p, p->backings, cycle);
}

/*
 * What KVM does for a guest's first access to each block, a read, without the guest:
 * it can be counted where no guest can run.
 */
static void by_slot(const struct parameters *p, enum backing backing, enum pool pool,
		    unsigned int rep)
{
	uint64_t start;
	struct tiny t;

	if (backing_has_blocks(backing))
		pool_prepare(pool, p->mib * MIB);
	tiny_create(&t, backing, p->mib * MIB, 1);
	start = now();
	tiny_pre_fault(&t);
	per_page("slot-populate", backing, pool, rep, now() - start, p->mib * MIB);
	tiny_destroy(&t);
}

void figure_slot(const struct parameters *p)
{
	each(p, p->backings & GUEST_BACKINGS, by_slot);
}

void figure_cycle_guest(const struct parameters *p)
{
	each(p, p->backings & GUEST_BACKINGS, by_guest);
}
