// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pool: blocks of 2 MiB that are hidden and clean, and belong to no file.
 *
 * Each NUMA node has a list of blocks.  Populating a file takes a block from
 * the list of the node that its policy prefers.  When a file no longer needs a
 * block, the library clears the block and adds it to the list.  Memory that
 * circulates between files therefore needs neither TLB flushes nor changes of
 * the direct map.
 *
 * When the list of a node falls below the low watermark, a worker fills it up
 * to the high watermark.  The worker allocates only while the node has plenty
 * of free memory, and does not reclaim.  Blocks that files release when the list
 * is at the high watermark are freed.
 *
 * Pages of the pool are charged to no cgroup, and their reference counts are
 * frozen at zero.  The shrinker frees blocks when memory is short.  It restores
 * the entries in the direct map as they were removed, one for each block, which
 * needs neither memory nor a flush.  The kernel counts the pool as reclaimable.
 * Free single pages (cut.c) are shrunk, and drained for hibernation, with the
 * pool.
 */

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/nodemask.h>
#include <linux/page-isolation.h>
#include <linux/page_ref.h>
#include <linux/seq_file.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/suspend.h>
#include <linux/sysfs.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "alloc.h"
#include "cut.h"
#include "direct_map.h"
#include "merge.h"
#include "page_state.h"
#include "pool.h"
#include "teardown.h"

/* Number of blocks that the worker hides with one flush. */
#define REFILL_BLOCKS	8

/* Number of such batches in one run of the worker, some 256 MiB. */
#define REFILL_TURNS	16

/*
 * Time for which the worker allocates nothing after the shrinker has freed a
 * block.
 */
#define REFILL_PAUSE	(10 * HZ)

/**
 * struct gm_pool - the blocks of one node
 * @lock: Protects all other fields unless noted otherwise.  No other lock is
 *	taken under it.
 * @blocks: List, by page->lru of their first pages; the block added last is
 *	first.
 * @nr_blocks: Number of blocks in the list.
 * @shrunk: Time, in jiffies, when the shrinker last freed a block.
 * @was_shrunk: True if the shrinker has freed a block.
 * @filling: True while the worker fills the list up to the high watermark; only
 *	the worker uses it.
 * @hits: Number of blocks that were taken.
 * @misses: Number of attempts that found no block.
 * @refilled: Number of blocks that the worker has allocated and hidden.
 * @flushes: Number of flushes of all CPUs that the worker needed for them.
 * @returned: Number of blocks that files released.
 * @freed: Number of blocks that were freed from the pool.
 */
struct gm_pool {
	spinlock_t lock; /* Protects all other fields but @filling. */
	struct list_head blocks;
	unsigned long nr_blocks;
	unsigned long shrunk;
	bool was_shrunk, filling;
	unsigned long hits, misses, refilled, flushes, returned, freed;
};

/*
 * The pool of each node.  NULL if it could not be allocated at boot, or if the
 * machine cannot hide memory.
 */
static struct gm_pool *pools[MAX_NUMNODES] __ro_after_init;

/* An entry, by pfn >> GM_BLOCK_MAX_ORDER, for each block in a list. */
static DEFINE_XARRAY(pool_pfns);

/*
 * Number of hidden pages in all lists, and of those that a task is adding to a
 * list or is freeing from one.
 */
static atomic_long_t nr_pool_pages;

/* Hibernation has begun: no block is added to the pool. */
static bool stopped;

/**
 * struct gm_watermark - number of pages that a node's list should have
 * @value: Number of pages of all nodes together, or percentage of the node's
 *	pages.
 * @percent: True if @value is a percentage.
 */
struct gm_watermark {
	unsigned long value;
	bool percent;
};

/*
 * By default the pool keeps some of the blocks that files release, and the
 * worker allocates none.
 */
static struct gm_watermark low_mark;
static struct gm_watermark high_mark = { .value = 1, .percent = true };

static void pool_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(refill_work, pool_work);

static unsigned long mark_blocks(const struct gm_watermark *mark, int nid)
{
	unsigned long value = READ_ONCE(mark->value);

	/* Without huge pages files have no blocks. */
	if (!gm_can_have_blocks())
		return 0;
	if (READ_ONCE(mark->percent))
		value = mult_frac(node_present_pages(nid), value, 100UL);
	else
		value /= num_node_state(N_MEMORY);
	return value >> GM_BLOCK_MAX_ORDER;
}

/* Return: The high watermark of the node, in blocks. */
VISIBLE_IF_KUNIT unsigned long gm_pool_high(int nid)
{
	KUNIT_STATIC_STUB_REDIRECT(gm_pool_high, nid);
	return mark_blocks(&high_mark, nid);
}

static bool is_poisoned(struct page *first)
{
	unsigned int i;

	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		if (PageHWPoison(first + i))
			return true;
	}
	return false;
}

static void unfreeze(struct page *first, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		page_ref_unfreeze(first + i, 1);
}

/**
 * gm_pool_freeze - freeze the reference counts of a block's pages
 * @first: The first page of the block.  The pages are single ones, each with
 *	one reference of the caller.
 *
 * A file uses the pages as fresh memory, so no other task may have a reference
 * to one of them, not even a short-lived one.
 *
 * Context: Any.
 * Return: False if another task has a reference; then nothing is changed.
 */
bool gm_pool_freeze(struct page *first)
{
	unsigned int i;

	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		if (!page_ref_freeze(first + i, 1)) {
			unfreeze(first, i);
			return false;
		}
	}
	return true;
}

/*
 * Clear the flags that the last file has set, because the page allocator does
 * not see the page.
 */
static void clear_flags(struct page *first)
{
	unsigned int i;

	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		VM_WARN_ON_ONCE_PAGE(page_ref_count(first + i), first + i);
		VM_WARN_ON_ONCE_PAGE(first[i].mapping, first + i);
		VM_WARN_ON_ONCE_PAGE(page_private(first + i), first + i);
		/*
		 * Modify atomically: memory_failure() can mark the page at any
		 * time.
		 */
		if (first[i].flags.f & PAGE_FLAGS_CHECK_AT_PREP)
			set_mask_bits(&first[i].flags.f, PAGE_FLAGS_CHECK_AT_PREP, 0);
	}
}

/* Blocks with a poisoned page, by page->lru of their first pages. */
static LIST_HEAD(bad_blocks);
static DEFINE_SPINLOCK(bad_lock);

/**
 * gm_pool_set_bad - make the worker free a block that has a poisoned page
 * @first: First page of the block, as for gm_pool_give().
 *
 * Context: Any but interrupt.
 * Return: False if no page is poisoned; then the caller still owns the block.
 */
bool gm_pool_set_bad(struct page *first)
{
	if (!is_poisoned(first))
		return false;
	unfreeze(first, GM_BLOCK_PAGES);
	/* Leave the block to the worker: restoring a part of it allocates. */
	spin_lock(&bad_lock);
	list_add_tail(&first->lru, &bad_blocks);
	spin_unlock(&bad_lock);
	/* Run the worker now, even if it pauses. */
	mod_delayed_work(guest_memfd_wq, &refill_work, 0);
	return true;
}

/* Free a block that is in the state that gm_pool_give() requires. */
static void free_block(struct page *first)
{
	if (gm_pool_set_bad(first))
		return;
	unfreeze(first, GM_BLOCK_PAGES);
	/*
	 * Restore the block as it was hidden: by one entry, or by the entries
	 * of an earlier split.  This allocates nothing.
	 */
	if (WARN_ON_ONCE(direct_map_restore(first, GM_BLOCK_PAGES)))
		return;
	gm_merge_later(first);
	gm_free_pages_of_block(first);
}

/*
 * Free all pages of a block except the poisoned ones, which stay hidden and are
 * not freed.
 *
 * Return: False if the block's entry could not be split for lack of memory;
 * then nothing was changed.
 */
static bool free_bad_block(struct page *first)
{
	DECLARE_BITMAP(bad, GM_BLOCK_PAGES) = {};
	bool split = false;
	unsigned int i;

	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		if (PageHWPoison(first + i)) {
			__set_bit(i, bad);
			continue;
		}
		if (direct_map_restore(first + i, 1)) {
			/*
			 * Restoring the first page has split the entry for all
			 * pages.
			 */
			WARN_ON_ONCE(split);
			return split;
		}
		split = true;
		__free_page(first + i);
	}
	/*
	 * The second reference prevents debugfs from freeing the page when it
	 * unpoisons it.
	 */
	for_each_set_bit(i, bad, GM_BLOCK_PAGES)
		get_page(first + i);
	return true;
}

/* Return: False if the caller must retry later. */
static bool free_bad_blocks(void)
{
	struct page *first;
	LIST_HEAD(blocks);

	spin_lock(&bad_lock);
	list_splice_init(&bad_blocks, &blocks);
	spin_unlock(&bad_lock);
	while (!list_empty(&blocks)) {
		first = list_first_entry(&blocks, struct page, lru);
		list_del(&first->lru);
		if (free_bad_block(first))
			continue;
		list_add(&first->lru, &blocks);
		spin_lock(&bad_lock);
		list_splice(&blocks, &bad_blocks);
		spin_unlock(&bad_lock);
		return false;
	}
	return true;
}

static void count_reclaimable(int nid, long nr_blocks)
{
	mod_node_page_state(NODE_DATA(nid), NR_KERNEL_MISC_RECLAIMABLE,
			    nr_blocks * GM_BLOCK_PAGES);
}

/* The caller holds the pool's lock. */
static struct page *remove_first(struct gm_pool *pool)
{
	struct page *first;

	lockdep_assert_held(&pool->lock);
	first = list_first_entry_or_null(&pool->blocks, struct page, lru);
	if (first) {
		list_del(&first->lru);
		pool->nr_blocks--;
	}
	return first;
}

/* Account for a block that the caller has removed from its list. */
static void leave_pool(int nid, struct page *first)
{
	xa_erase(&pool_pfns, page_to_pfn(first) >> GM_BLOCK_MAX_ORDER);
	count_reclaimable(nid, -1);
}

/*
 * Add a block to the list of a node, unless the list has @limit blocks.  @first
 * is as for free_block().
 *
 * Return: False if the block was not added and the caller still owns it.
 */
static bool enter_pool(struct gm_pool *pool, int nid, struct page *first,
		       unsigned long limit)
{
	unsigned long key = page_to_pfn(first) >> GM_BLOCK_MAX_ORDER;

	if (READ_ONCE(pool->nr_blocks) >= limit || READ_ONCE(stopped) ||
	    is_poisoned(first))
		return false;
	if (xa_err(xa_store(&pool_pfns, key, xa_mk_value(0),
			    GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)))
		return false;
	clear_flags(first);
	count_reclaimable(nid, 1);
	spin_lock(&pool->lock);
	/*
	 * drain_all() and offline_notify() take the lock after @stopped was set
	 * or the memory was isolated.  Either they find the block in the list
	 * and free it, or this check fails and the block is not added.
	 */
	if (pool->nr_blocks < limit && !stopped && !is_migrate_isolate_page(first)) {
		list_add(&first->lru, &pool->blocks);
		pool->nr_blocks++;
		spin_unlock(&pool->lock);
		return true;
	}
	spin_unlock(&pool->lock);
	leave_pool(nid, first);
	return false;
}

/**
 * gm_pool_take - take a block from the pool
 * @nid: The node of the block.
 *
 * Context: May sleep.
 * Return: The first of 1 << GM_BLOCK_MAX_ORDER contiguous pages, naturally
 * aligned.  They are hidden, clean and charged to no cgroup, have no state, and
 * their reference counts are frozen.  NULL if the pool has no block.
 */
struct page *gm_pool_take(int nid)
{
	struct gm_pool *pool = pools[nid];
	struct page *first;
	bool refill;

	if (!pool)
		return NULL;
	do {
		spin_lock(&pool->lock);
		first = remove_first(pool);
		if (first)
			pool->hits++;
		else
			pool->misses++;
		refill = pool->nr_blocks < mark_blocks(&low_mark, nid);
		spin_unlock(&pool->lock);
		if (refill)
			queue_delayed_work(guest_memfd_wq, &refill_work, 0);
		if (!first)
			return NULL;
		leave_pool(nid, first);
		atomic_long_sub(GM_BLOCK_PAGES, &nr_pool_pages);
		/*
		 * A page may have been poisoned in the pool, and the block may
		 * be about to go offline.
		 */
		if (!is_poisoned(first) && !is_migrate_isolate_page(first))
			return first;
		free_block(first);
	} while (true);
}

/**
 * gm_pool_give - add a block to the pool
 * @first: The first of 1 << GM_BLOCK_MAX_ORDER contiguous pages, naturally
 *	aligned.  They are hidden, clean, charged to no cgroup and in no file,
 *	have no state, and their reference counts are frozen.
 *
 * Context: May sleep and allocate.  Not in reclaim.
 * Return: False if the caller still owns the block, for instance because the
 * pool has enough blocks, a page is poisoned, or the direct map has an entry for
 * each of the block's pages.
 */
bool gm_pool_give(struct page *first)
{
	int nid = page_to_nid(first);
	struct gm_pool *pool = pools[nid];

	KUNIT_STATIC_STUB_REDIRECT(gm_pool_give, first);
	/*
	 * The entries of a split block can only be merged after a restore, so
	 * do not keep such a block.
	 */
	if (!pool || direct_map_is_split(first))
		return false;
	atomic_long_add(GM_BLOCK_PAGES, &nr_pool_pages);
	if (!enter_pool(pool, nid, first, gm_pool_high(nid))) {
		atomic_long_sub(GM_BLOCK_PAGES, &nr_pool_pages);
		return false;
	}
	spin_lock(&pool->lock);
	pool->returned++;
	spin_unlock(&pool->lock);
	/*
	 * gm_pool_set() may have lowered the watermark after this function has
	 * read it, and the worker may have run before the block was added:
	 * queue the worker again.  Pairs with the barrier in mod_delayed_work()
	 * after gm_pool_set() has stored the watermark.
	 */
	smp_mb();
	if (READ_ONCE(pool->nr_blocks) > gm_pool_high(nid))
		mod_delayed_work(guest_memfd_wq, &refill_work, 0);
	return true;
}

/**
 * gm_pool_owns_pfn - does a page belong to the pool?
 * @pfn: Any page frame number.
 *
 * Context: Any.
 * Return: True for such a page.
 */
bool gm_pool_owns_pfn(unsigned long pfn)
{
	return xa_load(&pool_pfns, pfn >> GM_BLOCK_MAX_ORDER);
}

/**
 * gm_pool_is_on - does a node keep blocks that files release?
 * @nid: The node.
 *
 * Context: Any.
 * Return: True if its high watermark permits at least one block.
 */
bool gm_pool_is_on(int nid)
{
	return gm_pool_high(nid);
}

/**
 * gm_pool_is_stopped - is the machine about to hibernate?
 *
 * Context: Any.
 * Return: True while hidden pages that belong to no file must be freed to the
 * page allocator.
 */
bool gm_pool_is_stopped(void)
{
	return READ_ONCE(stopped);
}

/**
 * gm_pool_unsaved_pages - count hidden pages that do not prevent hibernation
 *
 * Context: Any.
 * Return: The number of the pool's pages and of free single pages, or 0 once
 * hibernation has begun.  The pages that have not been freed by then are
 * hidden, and a hibernation image cannot contain them.
 */
unsigned long gm_pool_unsaved_pages(void)
{
	if (READ_ONCE(stopped))
		return 0;
	return atomic_long_read(&nr_pool_pages) + gm_cut_nr_hidden();
}

/**
 * gm_pool_shrink - free blocks of the pool
 * @nid: The node.
 * @nr_blocks: The maximum number of blocks to free.
 *
 * Context: May sleep; does not allocate and does not flush.
 * Return: The number of blocks that were freed.
 */
unsigned long gm_pool_shrink(int nid, unsigned long nr_blocks)
{
	struct gm_pool *pool = pools[nid];
	struct page *first;
	unsigned long nr;

	if (!pool)
		return 0;
	for (nr = 0; nr < nr_blocks; nr++) {
		spin_lock(&pool->lock);
		first = remove_first(pool);
		if (first)
			pool->freed++;
		spin_unlock(&pool->lock);
		if (!first)
			break;
		leave_pool(nid, first);
		free_block(first);
		atomic_long_sub(GM_BLOCK_PAGES, &nr_pool_pages);
		cond_resched();
	}
	return nr;
}

static unsigned long count_pool(struct shrinker *shrinker,
				struct shrink_control *sc)
{
	struct gm_pool *pool = pools[sc->nid];
	unsigned long nr = gm_cut_count(sc->nid);

	if (pool)
		nr += READ_ONCE(pool->nr_blocks) * GM_BLOCK_PAGES;
	return nr ?: SHRINK_EMPTY;
}

/* Memory is short: make the worker allocate nothing for a while. */
static void pause_refill(int nid)
{
	struct gm_pool *pool = pools[nid];

	if (!pool)
		return;
	spin_lock(&pool->lock);
	pool->shrunk = jiffies;
	pool->was_shrunk = true;
	spin_unlock(&pool->lock);
	/* Run the worker after the pause even if no file needs a block. */
	queue_delayed_work(guest_memfd_wq, &refill_work, REFILL_PAUSE + 1);
}

static unsigned long scan_pool(struct shrinker *shrinker,
			       struct shrink_control *sc)
{
	unsigned long nr;

	nr = gm_pool_shrink(sc->nid, DIV_ROUND_UP(sc->nr_to_scan, GM_BLOCK_PAGES));
	if (nr)
		pause_refill(sc->nid);
	nr *= GM_BLOCK_PAGES;
	/* Free single pages last, because that leaves blocks partly freed. */
	if (nr < sc->nr_to_scan)
		nr += gm_cut_shrink(sc->nid, sc->nr_to_scan - nr);
	if (!nr)
		return SHRINK_STOP;
	sc->nr_scanned = nr;
	/*
	 * Reclaim does not see these pages, as they are not slab pages: report
	 * them.
	 */
	mm_account_reclaimed_pages(nr);
	return nr;
}

/* Does the node have enough free memory to spare a few blocks? */
static bool is_plenty(int nid)
{
	pg_data_t *pgdat = NODE_DATA(nid);
	unsigned long nr_free = 0, nr_kept = 0;
	enum zone_type i;

	for (i = 0; i < MAX_NR_ZONES; i++) {
		struct zone *zone = pgdat->node_zones + i;

		if (!managed_zone(zone))
			continue;
		nr_free += zone_page_state(zone, NR_FREE_PAGES);
		nr_kept += 2 * high_wmark_pages(zone);
	}
	/*
	 * The reserves of zones can be small, so keep a part of the node as
	 * well.
	 */
	nr_kept += node_present_pages(nid) / 32;
	return nr_free > nr_kept + REFILL_BLOCKS * GM_BLOCK_PAGES;
}

/*
 * Allocate and hide up to REFILL_BLOCKS blocks with one flush.
 *
 * Return: The number of blocks added to the node's list.
 */
static unsigned int refill_some(struct gm_pool *pool, int nid,
				unsigned long limit)
{
	/*
	 * Do not allocate from movable zones: hidden memory cannot be migrated.
	 */
	gfp_t gfp = (GFP_HIGHUSER & ~__GFP_RECLAIM) | __GFP_THISNODE |
		    __GFP_NOMEMALLOC | __GFP_NOWARN | __GFP_ZERO;
	unsigned int i, hidden, n = 0, nr_added = 0;
	struct gm_range ranges[REFILL_BLOCKS];
	struct page *first;

	while (n < REFILL_BLOCKS && pool->nr_blocks + n < limit &&
	       is_plenty(nid)) {
		first = alloc_pages_node(nid, gfp, GM_BLOCK_MAX_ORDER);
		if (!first)
			break;
		split_page(first, GM_BLOCK_MAX_ORDER);
		if (!gm_pool_freeze(first)) {
			gm_free_pages_of_block(first);
			break;
		}
		/*
		 * Merge the entries of the block first: gm_pool_give() refuses
		 * a block that has an entry for each of its pages.
		 */
		direct_map_merge(first, NULL);
		ranges[n++] = (struct gm_range){ first, GM_BLOCK_PAGES };
		cond_resched();
	}
	if (!n)
		return 0;
	atomic_long_add(n * GM_BLOCK_PAGES, &nr_pool_pages);
	hidden = direct_map_hide_ranges(ranges, n);
	for (i = 0; i < n; i++) {
		first = ranges[i].first;
		if (i >= hidden) {
			unfreeze(first, GM_BLOCK_PAGES);
			gm_free_pages_of_block(first);
		} else if (enter_pool(pool, nid, first, limit)) {
			nr_added++;
		} else {
			free_block(first);
		}
	}
	atomic_long_sub((n - nr_added) * GM_BLOCK_PAGES, &nr_pool_pages);
	spin_lock(&pool->lock);
	pool->flushes += !!hidden;
	pool->refilled += nr_added;
	spin_unlock(&pool->lock);
	return nr_added;
}

static void pool_work(struct work_struct *work)
{
	unsigned long low, high, nr_blocks, delay = REFILL_PAUSE;
	bool again = !free_bad_blocks();
	unsigned int i;
	struct gm_pool *pool;
	int nid;

	for_each_node_state(nid, N_MEMORY) {
		pool = pools[nid];
		if (!pool)
			continue;
		low = mark_blocks(&low_mark, nid);
		high = mark_blocks(&high_mark, nid);
		nr_blocks = READ_ONCE(pool->nr_blocks);
		if (nr_blocks > high)
			gm_pool_shrink(nid, nr_blocks - high);
		if (!high)
			gm_cut_trim(nid);
		if (nr_blocks < low)
			pool->filling = true;
		if (!low || READ_ONCE(stopped))
			pool->filling = false;
		if (!pool->filling)
			continue;
		again = true;
		if (pool->was_shrunk &&
		    !time_after(jiffies, pool->shrunk + REFILL_PAUSE))
			continue;
		/*
		 * Limit the length of a run, because the freezer of tasks waits
		 * for a running work item.
		 */
		for (i = 0; i < REFILL_TURNS; i++) {
			if (!refill_some(pool, nid, high))
				break;
			cond_resched();
		}
		if (i == REFILL_TURNS)
			delay = 0;
		else
			pool->filling = READ_ONCE(pool->nr_blocks) < low;
	}
	if (again)
		queue_delayed_work(guest_memfd_wq, &refill_work, delay);
}

static unsigned long drain(int nid)
{
	return gm_pool_shrink(nid, ULONG_MAX) * GM_BLOCK_PAGES +
	       gm_cut_shrink(nid, ULONG_MAX);
}

/**
 * gm_pool_relieve - free all blocks of the pool and all free single pages
 *
 * Context: May sleep; does not allocate and does not flush.
 * Return: The number of pages that were freed.
 */
unsigned long gm_pool_relieve(void)
{
	unsigned long nr = 0;
	int nid;

	for_each_node_state(nid, N_MEMORY) {
		nr += drain(nid);
		pause_refill(nid);
	}
	return nr;
}

static void drain_all(void)
{
	int nid;

	for_each_node_state(nid, N_MEMORY)
		drain(nid);
	/* Wait for blocks that became complete earlier. */
	gm_cut_flush();
}

/*
 * A hibernation image cannot contain pages that the kernel cannot read: free
 * all of them before hibernation.
 */
VISIBLE_IF_KUNIT int gm_pool_hibernation(struct notifier_block *nb,
					 unsigned long action, void *unused)
{
	switch (action) {
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		WRITE_ONCE(stopped, true);
		cancel_delayed_work_sync(&refill_work);
		drain_all();
		break;
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		WRITE_ONCE(stopped, false);
		queue_delayed_work(guest_memfd_wq, &refill_work, 0);
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block hibernation_notifier = {
	.notifier_call = gm_pool_hibernation,
};

#ifdef CONFIG_MEMORY_HOTPLUG
/*
 * Memory that is about to go offline is isolated already, so what is freed here
 * is not allocated again.
 */
static int offline_notify(struct notifier_block *nb, unsigned long action,
			  void *arg)
{
	struct memory_notify *range = arg;

	switch (action) {
	case MEM_GOING_OFFLINE:
		drain(page_to_nid(pfn_to_page(range->start_pfn)));
		break;
	case MEM_OFFLINE:
	case MEM_CANCEL_OFFLINE:
	case MEM_ONLINE:
		/*
		 * A list may be below its low watermark now, or the node may
		 * have another watermark.
		 */
		queue_delayed_work(guest_memfd_wq, &refill_work, 0);
		break;
	}
	return NOTIFY_OK;
}
#endif

#if IS_ENABLED(CONFIG_KUNIT)
/* Return: The number of blocks in the node's list when the worker is idle. */
unsigned long gm_pool_wait(int nid)
{
	flush_delayed_work(&refill_work);
	return READ_ONCE(pools[nid]->nr_blocks);
}
#endif

static int pool_show(struct seq_file *m, void *unused)
{
	struct gm_pool *pool, copy;
	int nid;

	for_each_node_state(nid, N_MEMORY) {
		pool = pools[nid];
		if (!pool)
			continue;
		spin_lock(&pool->lock);
		copy = *pool;
		spin_unlock(&pool->lock);
		seq_printf(m, "node %d\n", nid);
		seq_printf(m, "single %lu\n", gm_cut_count(nid));
		seq_printf(m, "blocks %lu\nlow %lu\nhigh %lu\n", copy.nr_blocks,
			   mark_blocks(&low_mark, nid),
			   mark_blocks(&high_mark, nid));
		seq_printf(m, "hits %lu\nmisses %lu\n", copy.hits, copy.misses);
		seq_printf(m, "refilled %lu\nflushes %lu\n", copy.refilled,
			   copy.flushes);
		seq_printf(m, "returned %lu\nfreed %lu\n", copy.returned,
			   copy.freed);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(pool);

static int __init pool_init(void)
{
	struct shrinker *shrinker;
	int nid;

	if (!direct_map_can_hide())
		return 0;
	/* The library hides no memory if it cannot free what files leave. */
	if (!guest_memfd_block_ready())
		return -ENOMEM;
	shrinker = shrinker_alloc(SHRINKER_NUMA_AWARE, "guest_memfd-pool");
	/* Without the pool, blocks of closed files are freed. */
	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = count_pool;
	shrinker->scan_objects = scan_pool;
	shrinker->batch = GM_BLOCK_PAGES;
	/* Allocate for all nodes, because a node may receive memory later. */
	for_each_node(nid) {
		struct gm_pool *pool = kzalloc_obj(*pool, GFP_KERNEL);

		/* A node without a pool frees its blocks. */
		if (!pool)
			continue;
		spin_lock_init(&pool->lock);
		INIT_LIST_HEAD(&pool->blocks);
		pools[nid] = pool;
	}
	shrinker_register(shrinker);
	register_pm_notifier(&hibernation_notifier);
#ifdef CONFIG_MEMORY_HOTPLUG
	hotplug_memory_notifier(offline_notify, DEFAULT_CALLBACK_PRI);
#endif
	debugfs_create_file("pool", 0400, debugfs_create_dir("guest_memfd", NULL),
			    NULL, &pool_fops);
	queue_delayed_work(guest_memfd_wq, &refill_work, 0);
	return 0;
}
subsys_initcall(pool_init);

static int parse_mark(char *text, struct gm_watermark *mark)
{
	size_t len;
	int err;

	text = strim(text);
	len = strlen(text);
	mark->percent = len && text[len - 1] == '%';
	if (mark->percent)
		text[len - 1] = '\0';
	err = kstrtoul(text, 10, &mark->value);
	if (!err && mark->value > (mark->percent ? 50 : LONG_MAX))
		err = -ERANGE;
	return err;
}

/* Parse "LOW,HIGH", each in pages or with a % sign; one number sets both. */
VISIBLE_IF_KUNIT int gm_pool_set(const char *val, const struct kernel_param *kp)
{
	struct gm_watermark low, high;
	char buffer[64], *comma;
	int err;

	if (strscpy(buffer, val) < 0)
		return -EINVAL;
	comma = strchr(buffer, ',');
	if (comma)
		*comma = '\0';
	err = parse_mark(buffer, &low);
	if (err)
		return err;
	high = low;
	if (comma)
		err = parse_mark(comma + 1, &high);
	if (err)
		return err;
	/* Pages and a percentage can only be compared for one node. */
	if (low.percent == high.percent && low.value > high.value)
		return -EINVAL;
	WRITE_ONCE(low_mark.percent, low.percent);
	WRITE_ONCE(low_mark.value, low.value);
	WRITE_ONCE(high_mark.percent, high.percent);
	WRITE_ONCE(high_mark.value, high.value);
	/*
	 * Before initcalls there is no workqueue; pool_init() queues the
	 * worker.
	 */
	if (guest_memfd_wq)
		mod_delayed_work(guest_memfd_wq, &refill_work, 0);
	return 0;
}

VISIBLE_IF_KUNIT int gm_pool_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%lu%s,%lu%s\n", low_mark.value,
			  low_mark.percent ? "%" : "", high_mark.value,
			  high_mark.percent ? "%" : "");
}

static const struct kernel_param_ops pool_ops = {
	.set	= gm_pool_set,
	.get	= gm_pool_get,
};

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "guest_memfd."
module_param_cb(pool, &pool_ops, NULL, 0644);
MODULE_PARM_DESC(pool,
		 "LOW,HIGH: blocks kept hidden for files, in pages or per cent of each node (0,1%)");
