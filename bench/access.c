// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cost of raising the access level to KERNEL and lowering it again, for a
 * whole block and for one page of another block.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "backing.h"
#include "figures.h"
#include "guestmem.h"
#include "measure.h"
#include "vmstat.h"

static void set(const struct region *r, uint64_t offset, uint64_t size, uint32_t level)
{
	int err = guestmem_set_access(r->fd, offset, size, level, NULL);

	if (err)
		die(-err, "SET_ACCESS");
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/*
 * Changes the level to KERNEL and back @n times.  Reports the median of the
 * flushes, because other code flushes now and then as well.
 */
static void toggle(const struct parameters *p, const struct region *r, uint64_t offset,
		   uint64_t size, unsigned int n, const char *when, unsigned int rep)
{
	const char *name = backing_name(r->backing);
	struct vmstat all = vmstat_now(), v;
	double *flushes = calloc(n, sizeof(*flushes));
	uint64_t start, cost = 0;

	if (!flushes)
		die(ENOMEM, "access");
	for (unsigned int i = 0; i < n; i++) {
		struct vmstat before = vmstat_now();

		start = now();
		set(r, offset, size, GUESTMEM_ACCESS_KERNEL);
		set(r, offset, size, GUESTMEM_ACCESS_USER);
		cost += now() - start;
		v = vmstat_since(&before);
		flushes[i] = vmstat_flushes(&v, sysconf(_SC_NPROCESSORS_ONLN));
	}
	v = vmstat_since(&all);
	qsort(flushes, n, sizeof(*flushes), compare);
	report("access-toggle", name, when, rep, (double)cost / n, now_unit());
	/* The counters mean nothing on a host with one CPU. */
	if (p->vcpus) {
		report("access-flushes", name, when, rep, flushes[n / 2], "per-toggle");
		report("access-splits", name, when, rep,
		       (double)(v.value[SPLITS_2M] + v.value[SPLITS_1G]) / n, "per-toggle");
	}
	free(flushes);
}

void figure_access(const struct parameters *p)
{
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, rep, p->backings) {
			uint32_t level;
			uint64_t size;
			struct region r;

			if (!backing_is_guest_memfd(b))
				continue;
			region_create(&r, b, p->mib * MIB);
			if (guestmem_get_access(r.fd, 0, &level, &size)) {
				note("this kernel has no access levels");
				region_destroy(&r);
				return;
			}
			/* The kernel would have to unmap a user mapping. */
			region_fallocate(&r);
			toggle(p, &r, BLOCK, BLOCK, p->count, "block", rep);
			toggle(p, &r, 2 * BLOCK, PAGE, 1, "first-page", rep);
			toggle(p, &r, 2 * BLOCK, PAGE, p->count, "page", rep);
			region_destroy(&r);
		}
	}
}
