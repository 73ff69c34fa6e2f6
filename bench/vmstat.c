// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hardware.h"
#include "measure.h"
#include "vmstat.h"

#define LIBRARY_FLUSHES "/sys/module/guest_memfd/parameters/flushes"

static const char * const keys[NR_VMSTATS] = {
	[SPLITS_2M] = "direct_map_level2_splits",
	[SPLITS_1G] = "direct_map_level3_splits",
	[COLLAPSES_2M] = "direct_map_level2_collapses",
	[COLLAPSES_1G] = "direct_map_level3_collapses",
	[TLB_REMOTE] = "nr_tlb_remote_flush",
	[TLB_RECEIVED] = "nr_tlb_remote_flush_received",
	[TLB_ALL] = "nr_tlb_local_flush_all",
	[TLB_ONE] = "nr_tlb_local_flush_one",
};

static const char * const names[NR_VMSTATS] = {
	[SPLITS_2M] = "splits-2m", [SPLITS_1G] = "splits-1g",
	[COLLAPSES_2M] = "collapses-2m", [COLLAPSES_1G] = "collapses-1g",
	[TLB_REMOTE] = "tlb-remote", [TLB_RECEIVED] = "tlb-received",
	[TLB_ALL] = "tlb-local-all", [TLB_ONE] = "tlb-local-one",
};

const char *vmstat_name(unsigned int nr)
{
	return names[nr];
}

static unsigned int find(const char *word, size_t len)
{
	unsigned int nr = 0;

	while (nr < NR_VMSTATS && (strlen(keys[nr]) != len || memcmp(keys[nr], word, len)))
		nr++;
	return nr;
}

int vmstat_parse(const char *text, struct vmstat *v, const char **missing)
{
	unsigned int seen = 0;

	while (*text) {
		size_t len = strcspn(text, " \n");
		unsigned int nr = find(text, len);

		if (nr < NR_VMSTATS && text[len] == ' ') {
			v->value[nr] = strtoull(text + len, NULL, 10);
			seen |= 1U << nr;
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	for (unsigned int nr = 0; nr < NR_VMSTATS; nr++) {
		if (!(seen & 1U << nr)) {
			*missing = keys[nr];
			return -1;
		}
	}
	return 0;
}

struct vmstat vmstat_now(void)
{
	FILE *f = fopen("/proc/vmstat", "re");
	static char text[65536];
	const char *missing;
	struct vmstat v;
	size_t n;

	if (!f)
		die(errno, "/proc/vmstat");
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	if (vmstat_parse(text, &v, &missing))
		die(0, "/proc/vmstat has no %s", missing);
	return v;
}

struct vmstat vmstat_since(const struct vmstat *before)
{
	struct vmstat v = vmstat_now();

	for (unsigned int nr = 0; nr < NR_VMSTATS; nr++)
		v.value[nr] -= before->value[nr];
	return v;
}

uint64_t library_flushes(void)
{
	FILE *f = fopen(LIBRARY_FLUSHES, "re");
	unsigned long long n;

	if (!f || fscanf(f, "%llu", &n) != 1)
		die(errno, LIBRARY_FLUSHES);
	fclose(f);
	return n;
}

double vmstat_flushes(const struct vmstat *v, unsigned int cpus)
{
	return hardware_flushes(v, cpus);
}
