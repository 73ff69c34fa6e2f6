// SPDX-License-Identifier: GPL-2.0-only
/*
 * Large mappings of the direct map, when the memory of files is back.
 *
 * To hide a block the kernel splits a mapping of 1 GiB into mappings of 2 MiB.  A worker
 * merges them a second after memory was restored, where all of the GiB is in the direct
 * map and no file has memory there.  The tasks that free memory do not merge: they
 * may be in reclaim, and the next file would hide a block there at once.
 */

#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "block.h"
#include "direct_map.h"
#include "merge.h"
#include "page_state.h"
#include "teardown.h"

/* Memory that was restored rests for so long before it is merged. */
#define MERGE_DELAY	HZ

/* What one entry of the next level maps. */
#define HUGE_ORDER	(PUD_SHIFT - PAGE_SHIFT)

/* By pfn >> HUGE_ORDER: a page frame there that was restored, as a value. */
static DEFINE_XARRAY(restored);

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
		if (guest_memfd_block_uses(pfn, pfn + (1UL << HUGE_ORDER) - 1))
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
