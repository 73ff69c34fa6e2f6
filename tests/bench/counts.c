// SPDX-License-Identifier: GPL-2.0-only
/* What populating memory and giving it back does to the direct map and the TLBs. */
#include <unistd.h>

#include "backing.h"
#include "figures.h"
#include "measure.h"
#include "vmstat.h"

static void report_counts(const struct parameters *p, enum backing backing, const char *when,
			  unsigned int rep, const struct vmstat *v)
{
	double per_gib = 1024.0 * MIB / figure_size(p, backing);

	report("flushes", backing_name(backing), when, rep,
	       vmstat_flushes(v, sysconf(_SC_NPROCESSORS_ONLN)) * per_gib, "per-GiB");
	for (unsigned int nr = 0; nr < NR_VMSTATS; nr++)
		report(vmstat_name(nr), backing_name(backing), when, rep,
		       (double)v->value[nr] * per_gib, "per-GiB");
}

void figure_counts(const struct parameters *p)
{
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, 0, p->backings) {
			struct vmstat before, v;
			struct region r;

			region_create(&r, b, figure_size(p, b));
			before = vmstat_now();
			region_touch(&r, PAGE);
			v = vmstat_since(&before);
			report_counts(p, b, "populate", rep, &v);
			region_close(&r);
			v = vmstat_since(&before);
			report_counts(p, b, "populate+teardown", rep, &v);
			region_destroy(&r);
		}
	}
}
