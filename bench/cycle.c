// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cost of populating memory by touch and freeing it by close(): the
 * caller's own, and, where the benchmark counts instructions, that of the whole
 * machine until the kernel can allocate the memory again.
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

/* The first window is long enough for so many instructions per page. */
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

/*
 * Executes @instructions rounded down to an even number; returns that number.
 */
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
 * Counts the instructions that the machine executes from the first touch until
 * the end of a window.  In the window this thread spins with the policy
 * SCHED_IDLE, so that runnable workers preempt it.  The CPU is never idle, so
 * the clock does not jump.  The instructions of the loop are known and
 * subtracted.  Until close() has returned, the thread has the policy
 * SCHED_FIFO, so no worker preempts it and all instructions are the caller's
 * own.
 *
 * With @r NULL, counts the instructions of the timer in such a window without
 * load.
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
	/* The worker may run before this returns, so the clock is not restarted. */
	set_policy(SCHED_IDLE);
	window = spin(window);
	cost->all = now() - start - window;
	set_policy(SCHED_OTHER);
}

/* Returns false if the memory was not free at the end of @window. */
static bool count_cycle(struct region *r, uint64_t window, struct cost *cost)
{
	struct cost rest;
	uint64_t had;

	/* Wait longer than the delay of any delayed work. */
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

/*
 * Measures the other backings beside each state of the pool, because time
 * drifts.
 */
static void each(const struct parameters *p, unsigned int set,
		 void (*measure)(const struct parameters *p, enum backing backing, enum pool pool,
				 unsigned int rep))
{
	busy_pin(0);
	/*
	 * Discard the first measurement: at the first use the emulator
	 * allocates the memory.
	 */
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
 * Measures KVM's work for the first read access of a guest to each block,
 * without running the guest, since no guest can run where instructions are
 * counted.
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
