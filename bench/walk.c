// SPDX-License-Identifier: GPL-2.0-only
/* Measures how KVM maps guest memory, and the cost of the guest's accesses. */
#include <stdio.h>
#include <unistd.h>

#include "backing.h"
#include "figures.h"
#include "guest.h"
#include "measure.h"
#include "pool.h"
#include "tiny.h"
#include "vmstat.h"

static void walk(const struct parameters *p, enum backing backing, unsigned int rep)
{
	const char *name = backing_name(backing);
	struct guest_stats before, after;
	uint64_t start;
	struct vmstat flushes;
	char parameter[32];
	struct tiny t;

	if (backing_has_blocks(backing))
		pool_prepare(POOL_WARM, p->mib * MIB);
	snprintf(parameter, sizeof(parameter), "mib=%u", p->mib);
	tiny_create(&t, backing, p->mib * MIB, 1);
	guest_read_stats(&t, &before);
	flushes = vmstat_now();
	tiny_touch(&t, PAGE);
	flushes = vmstat_since(&flushes);
	report("guest-flushes", name, parameter, rep,
	       vmstat_flushes(&flushes, sysconf(_SC_NPROCESSORS_ONLN)), "times");
	guest_read_stats(&t, &after);
	report("guest-faults", name, parameter, rep, after.faults - before.faults, "times");
	report("guest-exits", name, parameter, rep, after.exits - before.exits, "times");
	report("guest-maps-4k", name, parameter, rep, after.maps_4k, "entries");
	report("guest-maps-2m", name, parameter, rep, after.maps_2m, "entries");
	start = now();
	tiny_walk(&t, p->count);
	report("guest-walk", name, parameter, rep, (double)(now() - start) / p->count, now_unit());
	tiny_destroy(&t);
}

/*
 * All guests exist at once and walk in turn, so that drift in time cancels out.
 */
void figure_walk_turns(const struct parameters *p)
{
	static struct tiny guest[NR_BACKINGS];
	char parameter[32];

	snprintf(parameter, sizeof(parameter), "mib=%u", p->mib);
	for_each_backing(b, 0, p->backings & GUEST_BACKINGS) {
		tiny_create(&guest[b], b, p->mib * MIB, 1);
		tiny_touch(&guest[b], PAGE);
		tiny_walk(&guest[b], p->count);
	}
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, rep, p->backings & GUEST_BACKINGS) {
			uint64_t start = now();

			tiny_walk(&guest[b], p->count);
			report("guest-walk-turns", backing_name(b), parameter, rep,
			       (double)(now() - start) / p->count, now_unit());
		}
	}
	for_each_backing(b, 0, p->backings & GUEST_BACKINGS)
		tiny_destroy(&guest[b]);
}

void figure_walk(const struct parameters *p)
{
	for (unsigned int rep = 0; rep < p->reps; rep++)
		for_each_backing(b, rep, p->backings & GUEST_BACKINGS)
			walk(p, b, rep);
}
