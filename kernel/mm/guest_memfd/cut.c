// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks of 2 MiB that are cut: the library uses their pages one by one.
 *
 * A file needs single pages for its tail, for instance, or for a hole that is
 * populated again.  The library takes them from blocks that are cut already, if
 * there are any, so that many small files use few blocks and the direct map
 * keeps its large entries.  Single pages of a block return to it here when the
 * library has cleared them.
 *
 * Each page of a cut block is free (hidden, clean, charged to no cgroup, with
 * its reference count frozen at zero), gone (freed to the page allocator, or
 * poisoned), or in use.  Cutting a block splits its entry in the direct map.
 * The split allocates, so that nothing has to be allocated later: the shrinker,
 * for instance, can restore the pages one by one, and the last put of a
 * direct-map reference can hide a page again.
 *
 * A worker restores and frees a block that has no page in use any more, and
 * merges its entries.  If the pool is on, each node keeps one such block.
 */

#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/page-isolation.h>
#include <linux/page_ref.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "cut.h"
#include "direct_map.h"
#include "merge.h"
#include "page_state.h"
#include "pool.h"
#include "teardown.h"

/* Number of pages of a block that the shrinker restores at once. */
#define SHRINK_PAGES	64U

/**
 * struct gm_cut - a block that is cut
 * @first: Its first page.
 * @list: Entry in one of the node's lists by the number of free pages, or in
 *	its list of complete blocks, or in no list.
 * @nr_free: Number of bits set in @free.
 * @nr_gone: Number of bits set in @gone.
 * @busy: True while a task restores pages that are marked gone already.  The
 *	task has removed the block from the lists.
 * @free: Bitmap of the pages that can be taken.
 * @gone: Bitmap of the pages that were freed to the page allocator or are
 *	poisoned.
 */
struct gm_cut {
	struct page *first;
	struct list_head list;
	unsigned int nr_free;
	unsigned int nr_gone;
	bool busy;
	DECLARE_BITMAP(free, GM_BLOCK_PAGES);
	DECLARE_BITMAP(gone, GM_BLOCK_PAGES);
};

/*
 * The lists hold blocks by the binary logarithm of the number of free pages: 1,
 * 2 and 3, 4 to 7, ..., 512.
 */
#define NR_LISTS	(GM_BLOCK_MAX_ORDER + 1)

/**
 * struct gm_cuts - the cut blocks of a node
 * @lock: Protects all other fields, the blocks, and their removal from
 *	cuts_by_pfn.
 * @lists: Blocks that have free pages.
 * @complete: Blocks that the worker must free.
 * @nr_free: Number of free pages of all blocks.
 */
struct gm_cuts {
	spinlock_t lock; /* Protects all other fields, and the blocks. */
	struct list_head lists[NR_LISTS];
	struct list_head complete;
	unsigned long nr_free;
};

static struct gm_cuts *cuts[MAX_NUMNODES] __ro_after_init;

/*
 * Number of pages of all nodes that are free, or that a task has taken to free
 * them to the page allocator and has not restored yet.
 */
static atomic_long_t nr_hidden_free;

/* The struct gm_cut of each cut block, by pfn >> GM_BLOCK_MAX_ORDER. */
static DEFINE_XARRAY(cuts_by_pfn);

static void free_complete(struct work_struct *work);
static DECLARE_WORK(complete_work, free_complete);

static unsigned long key_of(const struct page *page)
{
	return page_to_pfn(page) >> GM_BLOCK_MAX_ORDER;
}

static unsigned int nr_of(const struct page *page)
{
	return page_to_pfn(page) & (GM_BLOCK_PAGES - 1);
}

/*
 * Return: The block that contains the page, with its node's lock held; or NULL.
 */
static struct gm_cut *lock_cut(struct page *page, struct gm_cuts **node)
{
	struct gm_cut *cut;

	*node = cuts[page_to_nid(page)];
	if (!*node)
		return NULL;
	spin_lock(&(*node)->lock);
	cut = xa_load(&cuts_by_pfn, key_of(page));
	if (!cut)
		spin_unlock(&(*node)->lock);
	return cut;
}

/*
 * Move a block to the list that matches its new numbers of free and gone pages.
 */
static void update_list(struct gm_cuts *node, struct gm_cut *cut)
{
	unsigned int list = NR_LISTS;

	lockdep_assert_held(&node->lock);
	if (cut->busy)
		return;
	list_del_init(&cut->list);
	if (cut->nr_free + cut->nr_gone < GM_BLOCK_PAGES) {
		if (cut->nr_free)
			list = ilog2(cut->nr_free);
	} else if (!cut->nr_gone && list_empty(&node->lists[NR_LISTS - 1]) &&
		   gm_pool_is_on(page_to_nid(cut->first))) {
		list = NR_LISTS - 1;
	} else {
		/*
		 * Remove the block from cuts_by_pfn before the worker runs: the
		 * page allocator may have all of its pages by then, and may
		 * allocate them for a file as a block.
		 */
		xa_erase(&cuts_by_pfn, key_of(cut->first));
		list_add_tail(&cut->list, &node->complete);
		queue_work(guest_memfd_wq, &complete_work);
		return;
	}
	if (list < NR_LISTS)
		list_add(&cut->list, &node->lists[list]);
}

static void count_free(struct gm_cuts *node, struct gm_cut *cut, int nr)
{
	lockdep_assert_held(&node->lock);
	cut->nr_free += nr;
	node->nr_free += nr;
	mod_node_page_state(page_pgdat(cut->first), NR_KERNEL_MISC_RECLAIMABLE, nr);
}

/**
 * gm_cut_prepare - cut a block some of whose pages may be in use
 * @first: First page of the block, which is hidden as a whole or split already.
 * @gone: Bitmap of the pages that were freed to the page allocator or are
 *	poisoned.
 *
 * The caller ensures that the block cannot be freed meanwhile.  After the
 * function has returned 0, gm_cut_give() finds the block, and refuses its pages
 * only for the other reasons that it names.
 *
 * Context: May sleep and allocate.  Flushes the TLBs of all CPUs if it splits
 * the block's entry.
 * Return: 0, also if the block is cut already; or -ENOMEM.
 */
int gm_cut_prepare(struct page *first, const unsigned long *gone)
{
	struct gm_cuts *node = cuts[page_to_nid(first)];
	struct gm_cut *cut, *other;
	int err;

	if (!node)
		return -ENOMEM;
	if (xa_load(&cuts_by_pfn, key_of(first)))
		return 0;
	cut = kzalloc_obj(*cut, GFP_KERNEL);
	if (!cut)
		return -ENOMEM;
	cut->first = first;
	INIT_LIST_HEAD(&cut->list);
	bitmap_copy(cut->gone, gone, GM_BLOCK_PAGES);
	cut->nr_gone = bitmap_weight(gone, GM_BLOCK_PAGES);
	err = direct_map_split(first);
	if (!err) {
		other = xa_cmpxchg(&cuts_by_pfn, key_of(first), NULL, cut,
				   GFP_KERNEL);
		if (!other)
			return 0;
		err = xa_err(other);
	}
	kfree(cut);
	return err;
}

/**
 * gm_cut_is_cut - is a block cut?
 * @first: Its first page.
 *
 * Context: Any.  The caller ensures that the block cannot be freed meanwhile.
 * Return: True if gm_cut_prepare() would have nothing to do.
 */
bool gm_cut_is_cut(struct page *first)
{
	return xa_load(&cuts_by_pfn, key_of(first));
}

/**
 * gm_cut_block - cut a block that belongs to no file, and take its first page
 * @first: The first page of the block.  The pages are hidden, clean and charged
 *	to no cgroup, have no state, and their reference counts are frozen.
 *
 * Context: As gm_cut_prepare().
 * Return: True if the caller can use @first as a single page, which has one
 * reference now; false if the caller still owns the block.
 */
bool gm_cut_block(struct page *first)
{
	DECLARE_BITMAP(none, GM_BLOCK_PAGES) = {};
	unsigned int i;

	if (gm_cut_prepare(first, none))
		return false;
	for (i = 1; i < GM_BLOCK_PAGES; i++) {
		if (gm_cut_give(first + i))
			continue;
		page_ref_unfreeze(first + i, 1);
		gm_cut_free(first + i, false);
	}
	page_ref_unfreeze(first, 1);
	return true;
}

/**
 * gm_cut_forget - undo gm_cut_prepare()
 * @first: First page of a block, none of whose pages was passed to
 *	gm_cut_give().
 *
 * Context: Any but interrupt.
 */
void gm_cut_forget(struct page *first)
{
	struct gm_cuts *node;
	struct gm_cut *cut = lock_cut(first, &node);

	if (!cut)
		return;
	WARN_ON_ONCE(cut->nr_free || cut->nr_gone || cut->busy);
	list_del(&cut->list);
	xa_erase(&cuts_by_pfn, key_of(first));
	spin_unlock(&node->lock);
	kfree(cut);
}

static struct page *take_one(struct gm_cuts *node, struct gm_cut *cut)
{
	struct page *page = NULL;
	unsigned int i;

	/*
	 * The block is about to go offline.  The drain that follows will free
	 * its pages.
	 */
	if (is_migrate_isolate_page(cut->first))
		return NULL;
	while (!page && cut->nr_free) {
		i = find_first_bit(cut->free, GM_BLOCK_PAGES);
		__clear_bit(i, cut->free);
		count_free(node, cut, -1);
		atomic_long_dec(&nr_hidden_free);
		if (PageHWPoison(cut->first + i)) {
			__set_bit(i, cut->gone);
			cut->nr_gone++;
		} else {
			page = cut->first + i;
		}
	}
	update_list(node, cut);
	return page;
}

/**
 * gm_cut_take - take a single page
 * @nid: The node of the page.
 *
 * The function takes the page from a block that has few free pages, so that
 * other blocks become complete.
 *
 * Context: Any but interrupt.
 * Return: A page that is hidden, clean and charged to no cgroup, and has one
 * reference and no state; or NULL.
 */
struct page *gm_cut_take(int nid)
{
	struct gm_cuts *node = cuts[nid];
	struct gm_cut *cut, *next;
	struct page *page = NULL;
	unsigned int list;

	if (!node)
		return NULL;
	spin_lock(&node->lock);
	for (list = 0; !page && list < NR_LISTS; list++) {
		list_for_each_entry_safe(cut, next, &node->lists[list], list) {
			page = take_one(node, cut);
			if (page)
				break;
		}
	}
	spin_unlock(&node->lock);
	if (page)
		page_ref_unfreeze(page, 1);
	return page;
}

/**
 * gm_cut_give - add a page to the free pages of its cut block
 * @page: A page that is hidden, clean and charged to no cgroup, has no state,
 *	and whose reference count is frozen at zero.
 *
 * Context: Any but interrupt.
 * Return: False if the caller still owns the page and must call gm_cut_free(),
 * because the page's block is not cut, its memory is about to go offline, the
 * machine is about to hibernate, or the caller is in reclaim, which needs
 * memory now.
 */
bool gm_cut_give(struct page *page)
{
	unsigned int i = nr_of(page);
	struct gm_cuts *node;
	struct gm_cut *cut;

	if (current->flags & PF_MEMALLOC)
		return false;
	cut = lock_cut(page, &node);
	if (!cut)
		return false;
	/*
	 * A drain takes the lock after hibernation has set @stopped or the
	 * memory was isolated: see enter_pool().
	 */
	if (test_bit(i, cut->gone) || gm_pool_is_stopped() ||
	    is_migrate_isolate_page(page)) {
		spin_unlock(&node->lock);
		return false;
	}
	/*
	 * Clear these flags here, because the page allocator does not see the
	 * page.
	 */
	set_mask_bits(&page->flags.f, PAGE_FLAGS_CHECK_AT_PREP, 0);
	WARN_ON_ONCE(__test_and_set_bit(i, cut->free));
	count_free(node, cut, 1);
	atomic_long_inc(&nr_hidden_free);
	update_list(node, cut);
	spin_unlock(&node->lock);
	return true;
}

/**
 * gm_cut_lose - mark a page as gone
 * @page: A page in use, of any block.  It is poisoned, or the caller frees it
 *	to the page allocator.
 *
 * Context: Any but interrupt.
 * Return: True if the block was cut and all its other pages are gone, too.
 */
bool gm_cut_lose(struct page *page)
{
	struct gm_cuts *node;
	struct gm_cut *cut = lock_cut(page, &node);
	bool last = false;

	if (!cut)
		return false;
	if (!__test_and_set_bit(nr_of(page), cut->gone)) {
		last = ++cut->nr_gone == GM_BLOCK_PAGES && !cut->busy;
		update_list(node, cut);
	}
	spin_unlock(&node->lock);
	return last;
}

/**
 * gm_cut_free - free a page to the page allocator
 * @page: A page of any block, or of none.  It is hidden and clean, and has no
 *	state.  The caller has the only reference to it.
 * @merge: Merge the entries of its 2 MiB again, if no file has memory there.
 *
 * Context: May sleep.  Allocates only if the page belongs to a block that is
 * neither cut nor split.
 */
void gm_cut_free(struct page *page, bool merge)
{
	/* A page that was poisoned after it was cleared stays hidden. */
	bool restored = !PageHWPoison(page) &&
			!WARN_ON_ONCE(direct_map_restore(page, 1));

	/*
	 * Call gm_cut_lose() after the restore, because a worker may merge the
	 * block's entries at once.  Do not merge in reclaim, which may hold
	 * locks that merging takes.
	 */
	merge |= gm_cut_lose(page) && !(current->flags & PF_MEMALLOC);
	/*
	 * A page that cannot be restored must not reach the page allocator.
	 * Its second reference prevents debugfs from freeing it when it
	 * unpoisons the page.
	 */
	if (!restored) {
		get_page(page);
		return;
	}
	/*
	 * Merge before put_page(): this task's reference prevents offlining of
	 * the page.
	 */
	if (merge)
		gm_merge_block(page);
	gm_merge_later(page);
	put_page(page);
}

/**
 * gm_cut_uses - is a block in a range cut?
 * @first: First page frame of whole blocks.
 * @last: Last page frame.
 *
 * Context: Any.  The result may be stale.
 * Return: True if there is such a block.
 */
bool gm_cut_uses(unsigned long first, unsigned long last)
{
	unsigned long key = first >> GM_BLOCK_MAX_ORDER;

	return xa_find(&cuts_by_pfn, &key, last >> GM_BLOCK_MAX_ORDER, XA_PRESENT);
}

/**
 * gm_cut_owns_pfn - does a page belong to a cut block?
 * @pfn: Any page frame number of memory.
 *
 * Context: Any but interrupt.
 * Return: True for a page that is free or in use.
 */
bool gm_cut_owns_pfn(unsigned long pfn)
{
	struct gm_cuts *node;
	struct gm_cut *cut;
	bool owned;

	/* Most pages belong to no cut block: check that without the lock. */
	if (!xa_load(&cuts_by_pfn, pfn >> GM_BLOCK_MAX_ORDER))
		return false;
	cut = lock_cut(pfn_to_page(pfn), &node);
	if (!cut)
		return false;
	owned = !test_bit(pfn & (GM_BLOCK_PAGES - 1), cut->gone);
	spin_unlock(&node->lock);
	return owned;
}

/**
 * gm_cut_count - count the free pages of a node
 * @nid: The node.
 *
 * Context: Any.
 * Return: The number of pages.
 */
unsigned long gm_cut_count(int nid)
{
	return cuts[nid] ? READ_ONCE(cuts[nid]->nr_free) : 0;
}

/*
 * Restore pages and free them to the page allocator.  The function allocates
 * nothing, because the pages have entries of their own.  With @merge no file
 * has pages of the block any more.
 *
 * Return: The number of pages that were freed.
 */
static unsigned int restore_and_free(struct page *first, unsigned long *which, bool merge)
{
	unsigned int i, start, end, nr = 0, nr_all = bitmap_weight(which, GM_BLOCK_PAGES);

	for_each_set_bit(i, which, GM_BLOCK_PAGES) {
		/* A poisoned page stays hidden and is not freed. */
		if (PageHWPoison(first + i))
			__clear_bit(i, which);
	}
	for_each_set_bitrange(start, end, which, GM_BLOCK_PAGES) {
		if (WARN_ON_ONCE(direct_map_restore(first + start, end - start)))
			bitmap_clear(which, start, end - start);
	}
	/*
	 * Files may have allocated other pages of the block as fresh memory.
	 * The block cannot go offline while this task holds one of its pages.
	 * If the task holds none, the worker merges the block later.
	 */
	if (merge && !bitmap_empty(which, GM_BLOCK_PAGES))
		gm_merge_block(first);
	for_each_set_bit(i, which, GM_BLOCK_PAGES) {
		page_ref_unfreeze(first + i, 1);
		__free_page(first + i);
		nr++;
	}
	gm_merge_later(first);
	atomic_long_sub(nr_all, &nr_hidden_free);
	return nr;
}

/*
 * Take up to @nr_pages free pages of a block, which the caller frees to the
 * page allocator, and set their bits in @which.  Select a block that has many
 * free pages, so that few blocks are partly freed.
 *
 * Return: The block, which is on no list now, or NULL.
 */
static struct gm_cut *take_many(struct gm_cuts *node, unsigned long nr_pages,
				unsigned long *which)
{
	struct gm_cut *cut = NULL;
	unsigned int i, nr = 0;
	int list;

	lockdep_assert_held(&node->lock);
	bitmap_zero(which, GM_BLOCK_PAGES);
	for (list = NR_LISTS - 1; !cut && list >= 0; list--)
		cut = list_first_entry_or_null(&node->lists[list], struct gm_cut,
					       list);
	if (!cut) {
		list_for_each_entry(cut, &node->complete, list) {
			if (cut->nr_free)
				break;
		}
		if (list_entry_is_head(cut, &node->complete, list))
			return NULL;
	}
	/* Free a block without a page in use in one piece. */
	if (cut->nr_free + cut->nr_gone == GM_BLOCK_PAGES)
		nr_pages = GM_BLOCK_PAGES;
	for_each_set_bit(i, cut->free, GM_BLOCK_PAGES) {
		if (nr == nr_pages)
			break;
		__set_bit(i, which);
		nr++;
	}
	bitmap_andnot(cut->free, cut->free, which, GM_BLOCK_PAGES);
	bitmap_or(cut->gone, cut->gone, which, GM_BLOCK_PAGES);
	count_free(node, cut, -(int)nr);
	cut->nr_gone += nr;
	list_del_init(&cut->list);
	return cut;
}

/**
 * gm_cut_nr_hidden - count hidden pages that are free or are being freed
 *
 * Context: Any.
 * Return: The number of pages of all nodes.
 */
unsigned long gm_cut_nr_hidden(void)
{
	return atomic_long_read(&nr_hidden_free);
}

/**
 * gm_cut_shrink - free unused pages of cut blocks to the page allocator
 * @nid: The node.
 * @nr_pages: The number of pages to free.  The function may free a few more.
 *
 * Context: May sleep; does not allocate and does not flush.
 * Return: The number of pages that were freed.
 */
unsigned long gm_cut_shrink(int nid, unsigned long nr_pages)
{
	struct gm_cuts *node = cuts[nid];
	DECLARE_BITMAP(which, GM_BLOCK_PAGES);
	unsigned long nr_freed = 0;
	struct gm_cut *cut;
	bool last;

	while (node && nr_freed < nr_pages) {
		spin_lock(&node->lock);
		cut = take_many(node, min(SHRINK_PAGES, nr_pages - nr_freed), which);
		if (!cut) {
			spin_unlock(&node->lock);
			break;
		}
		/*
		 * Remove the block as update_list() does.  A complete block was
		 * removed already.
		 */
		last = cut->nr_gone == GM_BLOCK_PAGES;
		if (last && xa_load(&cuts_by_pfn, key_of(cut->first)) == cut)
			xa_erase(&cuts_by_pfn, key_of(cut->first));
		cut->busy = true;
		spin_unlock(&node->lock);

		nr_freed += restore_and_free(cut->first, which, false);

		spin_lock(&node->lock);
		cut->busy = false;
		if (last) {
			/* Have the worker merge the block's entries. */
			list_add_tail(&cut->list, &node->complete);
			queue_work(guest_memfd_wq, &complete_work);
		} else {
			update_list(node, cut);
		}
		spin_unlock(&node->lock);
		cond_resched();
	}
	return nr_freed;
}

static struct gm_cut *next_complete(struct gm_cuts *node)
{
	struct gm_cut *cut;

	spin_lock(&node->lock);
	cut = list_first_entry_or_null(&node->complete, struct gm_cut, list);
	if (cut) {
		list_del(&cut->list);
		count_free(node, cut, -(int)cut->nr_free);
	}
	spin_unlock(&node->lock);
	return cut;
}

static void free_complete(struct work_struct *work)
{
	struct gm_cut *cut;
	int nid;

	for_each_node_state(nid, N_MEMORY) {
		while (cuts[nid] && (cut = next_complete(cuts[nid]))) {
			restore_and_free(cut->first, cut->free, true);
			kfree(cut);
			cond_resched();
		}
	}
}

/**
 * gm_cut_trim - free the block that a node keeps without a page in use
 * @nid: The node, whose pool was just turned off.
 *
 * Context: Any but interrupt.
 */
void gm_cut_trim(int nid)
{
	struct gm_cuts *node = cuts[nid];
	struct gm_cut *cut;

	if (!node)
		return;
	spin_lock(&node->lock);
	cut = list_first_entry_or_null(&node->lists[NR_LISTS - 1], struct gm_cut,
				       list);
	if (cut)
		update_list(node, cut);
	spin_unlock(&node->lock);
}

/**
 * gm_cut_flush - wait until the worker has freed all complete blocks
 *
 * Context: May sleep.
 */
void gm_cut_flush(void)
{
	flush_work(&complete_work);
}

static int __init cut_init(void)
{
	unsigned int list;
	int nid;

	/* Allocate for all nodes, because a node may receive memory later. */
	for_each_node(nid) {
		struct gm_cuts *node = kzalloc_obj(*node, GFP_KERNEL);

		if (!node)
			return -ENOMEM;
		spin_lock_init(&node->lock);
		for (list = 0; list < NR_LISTS; list++)
			INIT_LIST_HEAD(&node->lists[list]);
		INIT_LIST_HEAD(&node->complete);
		cuts[nid] = node;
	}
	return 0;
}
core_initcall(cut_init);
