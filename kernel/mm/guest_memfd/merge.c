// SPDX-License-Identifier: GPL-2.0-only
/*
 * Merging of direct map entries after the memory of files was restored.
 *
 * To hide a single page, the kernel splits a 2 MiB entry.  The task that frees
 * the last such page merges the entry again at once, unless the task is in
 * reclaim.  To hide a block, the kernel splits a 1 GiB entry.  A worker merges
 * what remains of both kinds one second after memory was restored.  It merges a
 * GiB into one entry if all of it is in the direct map and no file has memory
 * there.  It merges arm64's groups of contiguous entries even beside memory of
 * files, because splitting them again needs no allocation.  The tasks that free
 * memory do not merge a GiB, because the next file would hide a block there at
 * once.
 */

#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "direct_map.h"
#include "frames.h"
#include "merge.h"
#include "page_state.h"

/* Delay between the restore of memory and the merge. */
#define MERGE_DELAY	HZ

/* Order of the range that an entry of the next level maps. */
#define HUGE_ORDER	(PUD_SHIFT - PAGE_SHIFT)

/*
 * This workqueue needs no WQ_MEM_RECLAIM: reclaim does not need a merge, and
 * the merge waits for memory hotplug and may take long.
 */
static struct workqueue_struct *merge_wq __ro_after_init;

/* An entry, by pfn >> HUGE_ORDER, for each GiB in which memory was restored. */
static DEFINE_XARRAY(restored);

static bool block_in_use(struct page *page)
{
	unsigned long pfn = round_down(page_to_pfn(page), GM_BLOCK_PAGES);

	return gm_files_use(pfn, pfn + GM_BLOCK_PAGES - 1);
}

/**
 * gm_merge_block - merge the direct map entries of 2 MiB again
 * @page: A page of these 2 MiB, to which the caller need not have a reference.
 *
 * The last put of a direct-map reference to a page of a file must not allocate,
 * so the function merges nothing while files have memory in the 2 MiB.  The
 * library hides memory for a file, records it as the file's (frames.c), and
 * only then may restore it.  The merge therefore finds the record, or an entry
 * that is not present.
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

/*
 * Hotplug may remove a part of the GiB, which needs the page table: treat the
 * GiB as in use.
 */
static bool partly_offline(struct page *page)
{
	return true;
}

/* Reclaim frees blocks without merging their entries: merge them here. */
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
 * gm_merge_later - schedule a merge of the GiB around memory that was restored
 * @page: A page that is about to be freed to the page allocator.
 *
 * Context: Any but interrupt.  If the allocation of a record fails, the entries
 * stay split until other memory of the GiB is restored.
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
