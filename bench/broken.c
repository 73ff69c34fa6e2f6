// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs VMs of many sizes, at most 2 GiB at once, on a host with much more
 * memory. Reports how many 1 GiB mappings of the direct map are broken while
 * they run, and how many are still broken after the kernel has freed all memory
 * of the VMs.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backing.h"
#include "dmap.h"
#include "figures.h"
#include "measure.h"
#include "pool.h"
#include "tiny.h"

#define GIB		(1UL << 30)
#define MAX_GIB		64
#define ALIVE		32		/* maximum number of VMs at once */
#define AT_ONCE		(2 * GIB)	/* maximum of their memory */
#define SETTLE_MS	10000

struct map {
	bool whole[MAX_GIB];	/* whether one entry maps this GiB */
	uint64_t hidden;	/* bytes of RAM that are not mapped */
};

static void read_map(struct map *m)
{
	struct pttally sum;
	struct dmap d;

	dmap_read(&d);
	for (uint64_t gib = 0; gib < MAX_GIB; gib++) {
		sum = (struct pttally){ 0 };
		ptdump_tally(&d.pt, &d.ram, gib * GIB, (gib + 1) * GIB, &sum);
		m->whole[gib] = sum.bytes[PT_1G] == GIB;
	}
	sum = (struct pttally){ 0 };
	dmap_tally(&d, &sum);
	m->hidden = sum.bytes[PT_NONE];
	dmap_free(&d);
}

/* Returns how many GiB were whole in @before and are not in @m. */
static unsigned int broken(const struct map *before, const struct map *m)
{
	unsigned int n = 0;

	for (unsigned int gib = 0; gib < MAX_GIB; gib++)
		n += before->whole[gib] && !m->whole[gib];
	return n;
}

/* Clears the GiB in @ever that are not whole now. */
static void look(struct map *ever)
{
	struct map m;

	read_map(&m);
	for (unsigned int gib = 0; gib < MAX_GIB; gib++)
		ever->whole[gib] &= m.whole[gib];
	if (m.hidden > ever->hidden)
		ever->hidden = m.hidden;
}

static void settle(const struct map *before, struct map *m)
{
	for (unsigned int ms = 0; ms < SETTLE_MS; ms += 200) {
		read_map(m);
		if (!broken(before, m) && m->hidden <= before->hidden)
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 200 * 1000 * 1000 }, NULL);
	}
}

struct vms {
	struct tiny vm[ALIVE];
	unsigned int nr;
	uint64_t bytes;
};

static void end_one(struct vms *vms, unsigned int at)
{
	vms->bytes -= vms->vm[at].memory.size;
	tiny_destroy(&vms->vm[at]);
	vms->vm[at] = vms->vm[--vms->nr];
}

static void begin_one(struct vms *vms, enum backing backing, uint64_t size)
{
	struct tiny *t = &vms->vm[vms->nr++];

	vms->bytes += size;
	tiny_create(t, backing, size, 1);
	tiny_clock_on(t, random() % (size / PAGE) * PAGE);
	/* A write to one byte populates a whole block. */
	tiny_touch(t, BLOCK);
	if (random() % 2)
		tiny_clock_off(t);
}

static void live(const struct parameters *p, enum backing backing, struct map *ever)
{
	static struct vms vms;

	for (unsigned int i = 0; i < p->vms; i++) {
		uint64_t size = (4 + random() % (p->mib / 2 - 3)) * BLOCK;

		while (vms.nr == ALIVE || vms.bytes + size > AT_ONCE)
			end_one(&vms, random() % vms.nr);
		begin_one(&vms, backing, size);
		look(ever);
	}
	while (vms.nr)
		end_one(&vms, random() % vms.nr);
}

void figure_broken(const struct parameters *p)
{
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, 0, p->backings & GUEST_BACKINGS) {
			struct map before, ever, after;
			unsigned int at_boot = 0, most;
			uint64_t peak;

			srandom(1 + rep);
			read_map(&before);
			for (unsigned int gib = 0; gib < MAX_GIB; gib++)
				at_boot += before.whole[gib];
			if (!at_boot)
				die(0, "no 1 GiB mapping to break");
			ever = before;
			live(p, b, &ever);
			/* The blocks in the pool are hidden as well. */
			if (b == HIDDEN)
				pool_prepare(POOL_EMPTY, 0);
			settle(&before, &after);
			most = broken(&before, &ever);
			peak = ever.hidden - before.hidden;
			report("broken-whole", backing_name(b), "at-first", rep, at_boot, "GiB");
			report("broken-hidden", backing_name(b), "peak", rep, (double)peak / GIB,
			       "GiB");
			report("broken-1g", backing_name(b), "ever", rep, most, "mappings");
			report("broken-1g", backing_name(b), "beyond-peak", rep,
			       (double)most - (peak + GIB - 1) / GIB, "mappings");
			report("broken-1g", backing_name(b), "after", rep,
			       broken(&before, &after), "mappings");
		}
	}
}
