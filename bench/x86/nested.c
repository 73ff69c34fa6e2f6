// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cost of KVM's accesses to the VMCB of a guest that runs a nested guest:
 * round trips to the nested guest and back by VMMCALL. On AMD only.
 */
#include <unistd.h>

#include "backing.h"
#include "figures.h"
#include "measure.h"
#include "tiny.h"
#include "vmstat.h"

static void round_trips(struct tiny *t, unsigned int n, const char *when, unsigned int rep)
{
	const char *name = backing_name(t->memory.backing);
	struct vmstat before = vmstat_now(), v;
	uint64_t flushes = library_flushes(), start = now(), cost;

	tiny_nested(t, n);
	cost = now() - start;
	v = vmstat_since(&before);
	report("nested-round-trip", name, when, rep, (double)cost / n, now_unit());
	report("nested-flushes", name, when, rep,
	       vmstat_flushes(&v, sysconf(_SC_NPROCESSORS_ONLN)) / n, "per-trip");
	report("nested-library-flushes", name, when, rep,
	       (double)(library_flushes() - flushes) / n, "per-trip");
}

void figure_nested(const struct parameters *p)
{
	/* No guest can run where instructions are counted. */
	if (!p->vcpus || !tiny_can_nest()) {
		note("nested: no nested SVM here");
		return;
	}
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, rep, p->backings & GUEST_BACKINGS) {
			struct tiny t;

			tiny_create(&t, b, p->mib * MIB, 1);
			region_touch(&t.memory, PAGE);
			round_trips(&t, 1, "first", rep);
			round_trips(&t, p->count, "after", rep);
			tiny_destroy(&t);
		}
	}
}
