// SPDX-License-Identifier: GPL-2.0-only
/*
 * Large mappings of the direct map, when the memory of files is back.
 *
 * To hide a page the kernel splits a mapping of 2 MiB: whoever frees the last such page has
 * it merged at once.  To hide a block it splits a mapping of 1 GiB: a worker merges these
 * a second after memory was restored, where all of the GiB is in the direct map and no
 * file has memory there.  The tasks that free memory do not merge a GiB: they may be in
 * reclaim, and the next file would hide a block there at once.
 */

#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "cut.h"
#include "direct_map.h"
#include "frames.h"
#include "merge.h"
#include "page_state.h"
#include "teardown.h"

/* Memory that was restored rests for so long before it is merged. */
#define MERGE_DELAY	HZ

/* What one entry of the next level maps. */
#define HUGE_ORDER	(PUD_SHIFT - PAGE_SHIFT)

/* By pfn >> HUGE_ORDER: a page frame there that was restored, as a value. */
static DEFINE_XARRAY(restored);

/**
 * gm_merge_block - have one entry in the direct map for 2 MiB again
 * @page: A page of these 2 MiB, which need not be the caller's.
 *
 * A page of a file that is visible at the moment must not need memory for a split when
 * its last direct-map reference is put: so nothing is merged while files have one there.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs if it merges.
 */
void gm_merge_block(struct page *page)
{
	unsigned long pfn = round_down(page_to_pfn(page), GM_BLOCK_PAGES);

	if (!gm_lone_uses(pfn, pfn + GM_BLOCK_PAGES - 1) && !gm_block_uses(pfn, pfn) &&
	    !gm_cut_is_cut(pfn_to_page(pfn)))
		direct_map_merge(page);
}

static void merge_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(merger, merge_work);

static void merge_work(struct work_struct *work)
{
	unsigned long key, pfn;
	struct page *page;
	void *entry;

	xa_for_each(&restored, key, entry) {
		xa_erase(&restored, key);
		pfn = key << HUGE_ORDER;
		/* What is in use there may have to be hidden without an allocation. */
		if (gm_files_use(pfn, pfn + (1UL << HUGE_ORDER) - 1))
			continue;
		get_online_mems();
		page = pfn_to_online_page(xa_to_value(entry));
		if (page)
			direct_map_merge_huge(page);
		put_online_mems();
		cond_resched();
	}
}

/**
 * gm_merge_later - have a mapping of 1 GiB around memory that was restored
 * @page: A page that is for the allocator.
 *
 * Context: Any but interrupt.  If there is no memory for a note, the mapping stays as it
 * is until other memory there is restored.
 */
void gm_merge_later(struct page *page)
{
	unsigned long pfn = page_to_pfn(page), key = pfn >> HUGE_ORDER;

	if (!direct_map_merges())
		return;
	if (!xa_load(&restored, key) &&
	    xa_err(xa_store(&restored, key, xa_mk_value(pfn),
			    GFP_NOWAIT | __GFP_NOMEMALLOC | __GFP_NOWARN)))
		return;
	queue_delayed_work(guest_memfd_wq, &merger, MERGE_DELAY);
}

/**
 * gm_merge_wait - merge now what was restored
 *
 * Context: May sleep.  For tests.
 */
void gm_merge_wait(void)
{
	flush_delayed_work(&merger);
}
