// SPDX-License-Identifier: GPL-2.0-only
/*
 * Creates, runs and destroys many VMs in random order, some with their
 * kvm-clock on, and reports by which entries the direct map maps RAM before and
 * after.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "backing.h"
#include "dmap.h"
#include "figures.h"
#include "measure.h"
#include "pool.h"
#include "tiny.h"

#define ALIVE		8	/* maximum number of VMs at once */
#define SETTLE_MS	5000
/* The maximum size of the pool while the VMs run. */
#define POOL_BYTES	(64 * MIB)

static const char * const level_figure[PT_LEVELS] = {
	[PT_NONE] = "map-none", [PT_4K] = "map-4k", [PT_2M] = "map-2m", [PT_1G] = "map-1g",
};

static void read_direct_map(struct pttally *sum)
{
	struct dmap d;

	dmap_read(&d);
	dmap_tally(&d, sum);
	dmap_free(&d);
}

static void report_direct_map(enum backing backing, const char *when, unsigned int rep,
			      const struct pttally *sum)
{
	for (unsigned int level = 0; level < PT_LEVELS; level++)
		report(level_figure[level], backing_name(backing), when, rep,
		       (double)(sum->bytes[level] / PAGE), "pages");
}

/* Waits until workers have freed the memory and restored the direct map. */
static void settle(struct pttally *sum, const struct pttally *before)
{
	for (int ms = 0; ms < SETTLE_MS; ms += 100) {
		read_direct_map(sum);
		if (sum->bytes[PT_NONE] <= before->bytes[PT_NONE] &&
		    sum->bytes[PT_4K] <= before->bytes[PT_4K])
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
	}
}

static void destroy(struct tiny *slot, bool *used)
{
	if (*used)
		tiny_destroy(slot);
	*used = false;
}

static void live(struct tiny *t, enum backing backing, const struct parameters *p)
{
	uint64_t blocks = 4 + random() % (p->mib / 2 - 3), size = blocks * BLOCK;

	if (p->tails && random() % 2)
		size += (1 + random() % 511) * PAGE;
	tiny_create(t, backing, size, 1);
	tiny_clock_on(t, random() % (size / PAGE) * PAGE);
	tiny_touch(t, PAGE);
	if (random() % 2)
		tiny_clock_off(t);
}

void figure_vms(const struct parameters *p)
{
	const char *when[2] = { "before", "after" };

	if (p->tails)
		when[0] = "before,tails", when[1] = "after,tails";
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, 0, p->backings & GUEST_BACKINGS) {
			static struct tiny slot[ALIVE];
			bool used[ALIVE] = { false };
			struct pttally before, after;
			uint64_t start;

			/* Run the same VMs in the same order for each backing. */
			srandom(1 + rep);
			/* The VMs reuse blocks; the pool is empty at each look. */
			pool_prepare(POOL_EMPTY, 0);
			read_direct_map(&before);
			pool_set(0, POOL_BYTES);
			report_direct_map(b, when[0], rep, &before);
			start = now();
			for (unsigned int i = 0; i < p->vms; i++) {
				unsigned int at = random() % ALIVE;

				destroy(&slot[at], &used[at]);
				live(&slot[at], b, p);
				used[at] = true;
			}
			for (unsigned int at = 0; at < ALIVE; at++)
				destroy(&slot[at], &used[at]);
			report("vms-time", backing_name(b), when[1], rep,
			       (now() - start) / 1e6 / p->vms, "ms-per-VM");
			pool_prepare(POOL_EMPTY, 0);
			settle(&after, &before);
			report_direct_map(b, when[1], rep, &after);
		}
	}
}
