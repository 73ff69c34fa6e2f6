// SPDX-License-Identifier: GPL-2.0-only
/* How a guest's memory is mapped for it, and what that means for its accesses. */
#include <stdio.h>
#include <unistd.h>

#include "backing.h"
#include "figures.h"
#include "kvmstats.h"
#include "measure.h"
#include "pool.h"
#include "tiny.h"
#include "vmstat.h"

static const struct {
	const char *figure, *stat;
} vcpu_stats[] = {
	{ "guest-faults", "pf_taken" },
	{ "guest-exits", "exits" },
}, vm_stats[] = {
	{ "guest-maps-4k", "pages_4k" },
	{ "guest-maps-2m", "pages_2m" },
};

static void walk(const struct parameters *p, enum backing backing, unsigned int rep)
{
	const char *name = backing_name(backing);
	uint64_t before[2], start;
	struct vmstat flushes;
	char parameter[32];
	struct tiny t;

	if (backing_has_blocks(backing))
		pool_prepare(POOL_WARM, p->mib * MIB);
	snprintf(parameter, sizeof(parameter), "mib=%u", p->mib);
	tiny_create(&t, backing, p->mib * MIB, 1);
	for (unsigned int i = 0; i < 2; i++)
		before[i] = kvmstat(t.vcpu[0].fd, vcpu_stats[i].stat);
	flushes = vmstat_now();
	tiny_touch(&t, PAGE);
	flushes = vmstat_since(&flushes);
	report("guest-flushes", name, parameter, rep,
	       vmstat_flushes(&flushes, sysconf(_SC_NPROCESSORS_ONLN)), "times");
	for (unsigned int i = 0; i < 2; i++)
		report(vcpu_stats[i].figure, name, parameter, rep,
		       kvmstat(t.vcpu[0].fd, vcpu_stats[i].stat) - before[i], "times");
	for (unsigned int i = 0; i < 2; i++)
		report(vm_stats[i].figure, name, parameter, rep,
		       kvmstat(t.memory.vm, vm_stats[i].stat), "entries");
	start = now();
	tiny_walk(&t, p->count);
	report("guest-walk", name, parameter, rep, (double)(now() - start) / p->count, now_unit());
	tiny_destroy(&t);
}

/* All guests exist at once and walk in turn: a machine's drift in time is no difference. */
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
