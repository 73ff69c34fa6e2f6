// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measures the memory that the host uses for a guest beyond the guest's memory.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backing.h"
#include "figures.h"
#include "measure.h"
#include "pool.h"
#include "procfs.h"
#include "tiny.h"
#include "vmstat.h"

#define NOISE_KIB	64

/* Returns the sum of some lines of /proc/meminfo, in KiB. */
static uint64_t meminfo(const char * const *names)
{
	unsigned long long kib, sum = 0;
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128], name[64];

	if (!f)
		die(errno, "/proc/meminfo");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63[^:]: %llu kB", name, &kib) != 2)
			continue;
		for (unsigned int i = 0; names[i]; i++)
			sum += strcmp(name, names[i]) ? 0 : kib;
	}
	fclose(f);
	return sum;
}

static uint64_t free_kib_now(void)
{
	/* Add the per-CPU differences, up to some hundred pages per CPU. */
	procfs_write("/proc/sys/vm/stat_refresh", "1");
	return (free_memory() + pool_size()) / 1024;
}

/*
 * Waits until workers have freed closed memory and the free memory is stable,
 * and returns it.  It includes the per-CPU lists, which may have huge pages,
 * and the pool.
 */
static uint64_t free_kib(void)
{
	uint64_t last = 0, kib = free_kib_now();

	for (int i = 0; i < 50 && (kib > last ? kib - last : last - kib) > NOISE_KIB; i++) {
		usleep(200000);
		last = kib;
		kib = free_kib_now();
	}
	return kib;
}

/*
 * Returns the memory that the kernel uses to manage memory: page tables of
 * processes, guests and the direct map, and slab objects.
 */
static uint64_t overhead_kib(void)
{
	static const char * const names[] = {
		"PageTables", "SecPageTables", "Slab", "KernelStack", "Percpu", NULL
	};
	struct vmstat v = vmstat_now();

	return meminfo(names) + PAGE / 1024 * (v.value[SPLITS_2M] + v.value[SPLITS_1G] -
					       v.value[COLLAPSES_2M] - v.value[COLLAPSES_1G]);
}

/*
 * Returns by how many KiB @measured grows while a guest exists that has touched
 * a page in every @step bytes.
 */
static double grown_kib(const struct parameters *p, enum backing backing, uint64_t step,
			uint64_t (*measured)(void))
{
	struct tiny t;
	uint64_t before;
	double kib;

	backing_return_huge_pages();
	before = measured();
	tiny_create(&t, backing, p->mib * MIB, 1);
	tiny_touch(&t, step);
	kib = (double)measured() - (double)before;
	tiny_destroy(&t);
	return kib;
}

/*
 * Measures all memory that the kernel needs for a guest of whole blocks: by how
 * much free memory shrinks beyond the size of the guest.
 */
void figure_memory_whole(const struct parameters *p)
{
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, rep, p->backings & GUEST_BACKINGS) {
			double kib;

			if (backing_has_blocks(b))
				pool_prepare(POOL_EMPTY, 0);
			kib = -grown_kib(p, b, PAGE, free_kib) - p->mib * 1024.0;
			report("memory-whole", backing_name(b), "all-touched", rep,
			       kib * 1024 / p->mib, "KiB-per-GiB");
		}
	}
}

void figure_memory(const struct parameters *p)
{
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, rep, p->backings & GUEST_BACKINGS) {
			report("memory-beyond", backing_name(b), "all-touched", rep,
			       grown_kib(p, b, PAGE, overhead_kib) / p->mib, "KiB-per-MiB");
			report("memory-sparse", backing_name(b), "page-in-2-MiB", rep,
			       -grown_kib(p, b, BLOCK, free_kib) / (p->mib / 2),
			       "KiB-per-page");
		}
	}
}
