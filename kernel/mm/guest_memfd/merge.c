// SPDX-License-Identifier: GPL-2.0-only
/*
 * Large mappings of the direct map, when the memory of files is back.
 *
 * To hide a page the kernel splits a mapping of 2 MiB: the task that frees the last such
 * page has it merged at once, unless it is in reclaim.  To hide a block the kernel splits
 * a mapping of 1 GiB: a worker merges what is left of both kinds a second after memory was
 * restored.  A GiB becomes one entry where all of it is in the direct map and no file has
 * memory there; arm64's groups of contiguous entries, which can be split again without an
 * allocation, are merged beside memory of files as well.  The tasks that free memory do not
 * merge a GiB, as the next file would hide a block there at once.
 */

#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "direct_map.h"
#include "frames.h"
#include "merge.h"
#include "page_state.h"

/* Memory that was restored rests for so long before it is merged. */
#define MERGE_DELAY	HZ

/* What one entry of the next level maps. */
#define HUGE_ORDER	(PUD_SHIFT - PAGE_SHIFT)

/* Reclaim does not need it: the merge waits for memory hotplug, and may take long. */
static struct workqueue_struct *merge_wq __ro_after_init;

/* A value for each GiB in which memory was restored, by pfn >> HUGE_ORDER. */
static DEFINE_XARRAY(restored);

static bool block_in_use(struct page *page)
{
	unsigned long pfn = round_down(page_to_pfn(page), GM_BLOCK_PAGES);

	return gm_files_use(pfn, pfn + GM_BLOCK_PAGES - 1);
}

/**
 * gm_merge_block - have one entry in the direct map for 2 MiB again
 * @page: A page of these 2 MiB, which need not be the caller's.
 *
 * A page of a file that is visible at the moment must not need memory for a split when
 * its last direct-map reference is put: so nothing is merged while files have one there.
 * Memory for a file is hidden, noted as the file's, and may be restored only then, so the
 * merge sees the note, or an entry that is not present.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs if it merges.
 */
void gm_merge_block(struct page *page)
{
	if (!block_in_use(page))
		direct_map_merge(page, block_in_use);
}

static bool huge_in_use(struct page *page)
{
	unsigned long pfn = round_down(page_to_pfn(page), 1UL << HUGE_ORDER);

	return gm_files_use(pfn, pfn + (1UL << HUGE_ORDER) - 1);
}

/* Hotplug may remove a part of the GiB, and then needs the table. */
static bool partly_offline(struct page *page)
{
	return true;
}

/* Blocks that reclaim has freed still have small entries. */
static void merge_huge(unsigned long pfn)
{
	struct page *page, *last = NULL;
	bool complete = true;
	unsigned long i;

	for (i = 0; i < 1UL << HUGE_ORDER; i += GM_BLOCK_PAGES) {
		page = pfn_to_online_page(pfn + i);
		if (page) {
			gm_merge_block(page);
			last = page;
		} else {
			complete = false;
		}
		cond_resched();
	}
	if (last)
		direct_map_merge_huge(last, complete ? huge_in_use : partly_offline);
}

static void merge_work(struct work_struct *work)
{
	unsigned long key;
	void *entry;

	xa_for_each(&restored, key, entry) {
		xa_erase(&restored, key);
		get_online_mems();
		merge_huge(key << HUGE_ORDER);
		put_online_mems();
		cond_resched();
	}
}

static DECLARE_DELAYED_WORK(merger, merge_work);

/**
 * gm_merge_later - have a mapping of 1 GiB around memory that was restored
 * @page: A page that is for the allocator.
 *
 * Context: Any but interrupt.  If there is no memory for a note, the mapping stays as it
 * is until other memory there is restored.
 */
void gm_merge_later(struct page *page)
{
	unsigned long key = page_to_pfn(page) >> HUGE_ORDER;

	if (!merge_wq || !direct_map_merges())
		return;
	if (!xa_load(&restored, key) &&
	    xa_err(xa_store(&restored, key, xa_mk_value(0),
			    GFP_NOWAIT | __GFP_NOMEMALLOC | __GFP_NOWARN)))
		return;
	queue_delayed_work(merge_wq, &merger, MERGE_DELAY);
}

static int __init merge_init(void)
{
	merge_wq = alloc_workqueue("guest_memfd_merge", WQ_UNBOUND | WQ_FREEZABLE, 1);
	return merge_wq ? 0 : -ENOMEM;
}
core_initcall(merge_init);
