// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts direct-map splits and TLB flushes when memory is populated and freed.
 */
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backing.h"
#include "figures.h"
#include "measure.h"
#include "pool.h"
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

static uint64_t user_faults(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage))
		die(errno, "getrusage");
	return usage.ru_minflt + usage.ru_majflt;
}

static void count(const struct parameters *p, enum backing backing, const char *populated,
		  const char *freed, unsigned int rep)
{
	struct vmstat before, v;
	struct region r;
	uint64_t faults;

	region_create(&r, backing, figure_size(p, backing));
	before = vmstat_now();
	faults = user_faults();
	region_touch(&r, PAGE);
	faults = user_faults() - faults;
	v = vmstat_since(&before);
	report_counts(p, backing, populated, rep, &v);
	report("user-faults", backing_name(backing), populated, rep,
	       faults * (1024.0 * MIB / r.size), "per-GiB");
	region_close(&r);
	v = vmstat_since(&before);
	report_counts(p, backing, freed, rep, &v);
	region_destroy(&r);
}

void figure_counts(const struct parameters *p)
{
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, 0, p->backings) {
			if (backing_has_blocks(b)) {
				pool_prepare(POOL_WARM, figure_size(p, b));
				count(p, b, "populate-warm", "populate+teardown-warm", rep);
				pool_prepare(POOL_EMPTY, 0);
			}
			count(p, b, "populate", "populate+teardown", rep);
		}
	}
}
