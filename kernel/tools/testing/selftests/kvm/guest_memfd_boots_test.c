// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many guests, one after the other: the host keeps nothing of them.
 *
 * Each of -n VMs (50) has -m MiB (64) of hidden memory, touches all of it from
 * inside the guest, and ends.  The first round may cost the host some memory
 * permanently: the page tables of the direct map that it splits.  From then on
 * the free memory, the slabs and the direct map do not change.
 *
 * Catches: a page that is not freed, or not restored (free, absent), a folio, a
 * direct-map reference, a VM or a file that is leaked (free, slab).
 */
#include <linux/sizes.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_util.h"
#include "test_util.h"

/* By how many pages the free memory may differ after all rounds. */
#define SLACK_FREE	(SZ_4M / GMEM_PAGE)
#define SLACK_SLAB	(SZ_1M / GMEM_PAGE)

struct state {
	u64 free;
	u64 slab;
	u64 direct_map_kb;
	u64 splits;
};

static void look(struct state *s)
{
	s->free = gmem_free_pages();
	s->slab = gmem_vmstat("nr_slab_unreclaimable") + gmem_vmstat("nr_slab_reclaimable");
	s->direct_map_kb = gmem_meminfo("DirectMap4k") + gmem_meminfo("DirectMap2M") +
			   gmem_meminfo("DirectMap1G");
	s->splits = gmem_vmstat("direct_map_level2_splits") +
		    gmem_vmstat("direct_map_level3_splits");
}

static void show(const char *when, const struct state *s)
{
	ksft_print_msg("%s: %lu pages free, %lu of slabs, direct map %lu kB, %lu splits\n", when,
		       s->free, s->slab, s->direct_map_kb, s->splits);
}

/* Guest: write enough words of each page for gmem_scan() to find it. */
static u64 guest_touch(u64 gva, u64 size, u64 seed)
{
	volatile u64 *w;
	u64 at, j;

	for (at = 0; at < size; at += GMEM_PAGE) {
		w = (void *)(gva + at);
		for (j = 0; j < 4; j++)
			w[j] = gmem_word(seed, j);
	}
	return 0;
}

static void boot(size_t size, u64 seed)
{
	struct gmem_vm g;

	gmem_vm_create(&g, 1, size, gmem_test_flags());
	gmem_guest_call(g.vcpus[0], guest_touch, GMEM_GVA, size, seed);
	gmem_assert_counts(g.fd, size / GMEM_PAGE, 0);
	gmem_vm_destroy(&g);
}

/* Pages are freed at once, but some objects wait for a grace period. */
static void settle(struct state *now, const struct state *first)
{
	int i;

	for (i = 0; i < 50; i++) {
		look(now);
		if (now->free + SLACK_FREE >= first->free &&
		    now->slab <= first->slab + SLACK_SLAB)
			break;
		usleep(100000);
	}
}

int main(int argc, char *argv[])
{
	struct state before, first, now;
	int rounds = 50, mib = 64, opt, i, kmsg;
	u64 absent, seed, found;

	while ((opt = getopt(argc, argv, "n:m:h")) != -1) {
		if (opt == 'n') {
			rounds = atoi_positive("Rounds", optarg);
		} else if (opt == 'm') {
			mib = atoi_positive("MiB", optarg);
		} else {
			printf("usage: %s [-n ROUNDS] [-m MIB]\n", argv[0]);
			return opt == 'h' ? 0 : KSFT_FAIL;
		}
	}

	gmem_require();
	ksft_print_header();
	ksft_set_plan(4);
	gmem_kmsg_open(&kmsg);
	seed = gmem_new_seed();

	look(&before);
	show("before", &before);
	boot((size_t)mib * SZ_1M, seed);
	settle(&first, &before);
	show("after 1", &first);
	for (i = 2; i <= rounds; i++) {
		boot((size_t)mib * SZ_1M, seed);
		if (i == 2 || i == rounds / 2) {
			char when[32];

			look(&now);
			snprintf(when, sizeof(when), "after %d", i);
			show(when, &now);
		}
	}
	settle(&now, &first);
	show("at the end", &now);

	ksft_test_result(now.free + SLACK_FREE >= first.free,
			 "free memory: %ld pages less than after the first of %d guests\n",
			 (long)(first.free - now.free), rounds);
	ksft_test_result(now.slab <= first.slab + SLACK_SLAB, "slabs: %ld pages more\n",
			 (long)(now.slab - first.slab));
	absent = gmem_absent_total();
	ksft_test_result(absent == gmem_absent_before() &&
			 now.direct_map_kb == before.direct_map_kb,
			 "the direct map: %lu pages absent before, %lu after\n",
			 gmem_absent_before(), absent);
	found = gmem_scan(seed, NULL);
	ksft_test_result(gmem_plain() || !found, "%lu pages of the guests in all RAM\n", found);

	gmem_assert_nothing_left(&kmsg);
	ksft_finished();
}
