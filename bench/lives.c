// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs many VMs of one size, a few at once.  Reports how often the library
 * flushes all CPUs for one VM, from its creation until its memory is free
 * again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backing.h"
#include "figures.h"
#include "measure.h"
#include "pool.h"
#include "tiny.h"
#include "vmstat.h"

#define ALIVE		4	/* VMs at once */
#define CLOCK_OFFSET	(BLOCK + 5 * PAGE)

static void begin(struct tiny *t, const struct parameters *p, enum backing backing)
{
	tiny_create(t, backing, p->mib * MIB, 1);
	tiny_clock_on(t, CLOCK_OFFSET);
	/* A write to one byte populates a whole block. */
	tiny_touch(t, BLOCK);
}

static void end(struct tiny *t)
{
	tiny_clock_off(t);
	tiny_destroy(t);
}

void figure_lives(const struct parameters *p)
{
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, rep, p->backings & GUEST_BACKINGS) {
			static struct tiny slot[ALIVE];
			struct vmstat before, v;
			uint64_t flushes, start;
			char parameter[32];

			srandom(1 + rep);
			/* Room for the next VM, and for the last VM's memory. */
			if (b == HIDDEN)
				pool_set(p->mib * MIB, 2 * p->mib * MIB);
			for (unsigned int i = 0; i < ALIVE; i++)
				begin(&slot[i], p, b);
			for (unsigned int i = 0; i < ALIVE; i++) {
				end(&slot[i]);
				begin(&slot[i], p, b);
			}
			before = vmstat_now();
			flushes = library_flushes();
			start = now();
			for (unsigned int i = 0; i < p->vms; i++) {
				struct tiny *t = &slot[random() % ALIVE];

				end(t);
				begin(t, p, b);
			}
			v = vmstat_since(&before);
			snprintf(parameter, sizeof(parameter), "mib=%u", p->mib);
			report("lives-library-flushes", backing_name(b), parameter, rep,
			       (double)(library_flushes() - flushes) / p->vms, "per-VM");
			report("lives-flushes", backing_name(b), parameter, rep,
			       vmstat_flushes(&v, sysconf(_SC_NPROCESSORS_ONLN)) / p->vms,
			       "per-VM");
			report("lives-time", backing_name(b), parameter, rep,
			       (now() - start) / 1e6 / p->vms, "ms-per-VM");
			for (unsigned int i = 0; i < ALIVE; i++)
				end(&slot[i]);
		}
	}
}
