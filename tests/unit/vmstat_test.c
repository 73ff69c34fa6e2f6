// SPDX-License-Identifier: GPL-2.0-only
/* Tests how the benchmark reads flush and split counters from /proc/vmstat. */
#include <string.h>

#include "tap.h"
#include "vmstat.h"

static const char usual[] =
	"nr_free_pages 1000\n"
	"nr_tlb_remote_flush 11\n"
	"nr_tlb_remote_flush_received 44\n"
	"nr_tlb_local_flush_all 3\n"
	"nr_tlb_local_flush_one 8\n"
	"direct_map_level2_splits 5\n"
	"direct_map_level3_splits 2\n"
	"direct_map_level2_collapses 4\n"
	"direct_map_level3_collapses 1\n";

int main(void)
{
	const char *missing = NULL;
	char text[sizeof(usual)];
	struct vmstat v = { 0 };

	ok(!vmstat_parse(usual, &v, &missing), "the usual");
	ok(v.value[TLB_REMOTE] == 11 && v.value[TLB_RECEIVED] == 44 && v.value[TLB_ALL] == 3 &&
	   v.value[TLB_ONE] == 8, "the TLB's, though one name begins like another");
	ok(v.value[SPLITS_2M] == 5 && v.value[SPLITS_1G] == 2 && v.value[COLLAPSES_2M] == 4 &&
	   v.value[COLLAPSES_1G] == 1, "the direct map's");
	ok(vmstat_flushes(&v, 4) == 13, "flushes by four CPUs");
	ok(vmstat_parse("nr_free_pages 1\n", &v, &missing) == -1 &&
	   !strcmp(missing, "direct_map_level2_splits"), "none there");
	strcpy(text, usual);
	strstr(text, "flush_one")[0] = 'F';
	ok(vmstat_parse(text, &v, &missing) == -1 && !strcmp(missing, "nr_tlb_local_flush_one"),
	   "one missing");
	ok(vmstat_parse("", &v, &missing) == -1, "empty");
	return done_testing();
}
