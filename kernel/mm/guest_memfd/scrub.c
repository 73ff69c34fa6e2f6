// SPDX-License-Identifier: GPL-2.0-only
/*
 * What has left its file: it is cleared and given back.
 *
 * The library has a reference to each folio: no put of another holder frees it.  A folio
 * that has left its file waits, hidden, until that reference is the only one.  Then it
 * is cleared through the temporary mapping, and is charged no more.  Pages are cleared
 * before they are restored: former guest memory is never readable through the
 * direct map.
 */

#include <linux/bitmap.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "access.h"
#include "alloc.h"
#include "block.h"
#include "cut.h"
#include "direct_map.h"
#include "frames.h"
#include "limit.h"
#include "page_state.h"
#include "scrub.h"
#include "teardown.h"

/*
 * Folios that have left their file while something held a reference, by folio->lru.
 * Only a worker looks at them, so that they cost no other file anything.
 */
static LIST_HEAD(retry_folios);
/* Of the list, and of the orphans of all files. */
static DEFINE_SPINLOCK(retry_lock);

static void retry(struct work_struct *work);
static DECLARE_DELAYED_WORK(retry_work, retry);

/*
 * A folio that left its file cannot be found any more, so it is free to be
 * cleared once only the library's own reference is left.
 *
 * Return: 1 when it is frozen and cleared, 0 when it has other references, -EHWPOISON.
 */
static int scrub_single(struct folio *folio)
{
	/* memory_failure() keeps a reference to a poisoned page. */
	if (folio_test_hwpoison(folio))
		return -EHWPOISON;
	if (!folio_ref_freeze(folio, 1))
		return 0;
	/* Now this answer is final. */
	if (folio_test_hwpoison(folio)) {
		folio_ref_unfreeze(folio, 1);
		return -EHWPOISON;
	}
	direct_map_zero_hidden(&folio->page);
	folio_ref_unfreeze(folio, 1);
	return 1;
}

/* @held: The limit counts it as held, until it is frozen. */
static bool release_single(struct folio *folio, bool held)
{
	int ret = scrub_single(folio);

	if (ret && held)
		gm_limit_unhold(gm_folio_limit(folio), 1);
	if (ret < 0) {
		gm_cut_lose(&folio->page);
		/* A poisoned page is never used again: the limit does not count it. */
		gm_limit_unreserve(gm_folio_take_limit(folio), 1);
	} else if (ret) {
		gm_free_single(&folio->page);
	}
	return ret;
}

/*
 * A block with poisoned pages: the others become single ones.  The references of
 * the library and of memory_failure() to a poisoned page stay for ever; the second one
 * also keeps debugfs from freeing the page, which is hidden, when it unpoisons it.
 */
static bool release_poisoned(struct folio *folio, unsigned int nr_failed, bool held)
{
	DECLARE_BITMAP(which, GM_BLOCK_PAGES) = {};
	struct page *first = &folio->page;
	struct gm_limit *limit;
	unsigned int i;

	for (i = 0; i < GM_BLOCK_PAGES; i++)
		__assign_bit(i, which, PageHWPoison(first + i));
	/* To cut a block takes memory, which reclaim cannot wait for. */
	if (current->flags & PF_MEMALLOC || gm_cut_prepare(first, which)) {
		folio_ref_unfreeze(folio, 1 + nr_failed);
		return false;
	}
	bitmap_complement(which, which, GM_BLOCK_PAGES);
	limit = gm_folio_take_limit(folio);
	if (held)
		gm_limit_unhold(limit, GM_BLOCK_PAGES);
	direct_map_zero_hidden_large(first, which);
	mem_cgroup_uncharge(folio);
	gm_folio_clear_state(folio);
	gm_forget_failed(first);
	gm_forget_block(folio_pfn(folio));
	gm_dissolve_folio(folio);
	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		if (test_bit(i, which) && gm_cut_give(first + i))
			continue;
		page_ref_unfreeze(first + i, test_bit(i, which) ? 1 : 2);
		if (test_bit(i, which))
			gm_cut_free(first + i, false);
		else
			gm_folio_set_state(page_folio(first + i), GM_PAGE_HIDDEN);
	}
	gm_limit_unreserve(limit, GM_BLOCK_PAGES);
	return true;
}

static bool release_block(struct folio *folio, bool held)
{
	DECLARE_BITMAP(all, GM_BLOCK_PAGES);
	struct page *first = &folio->page;
	unsigned int i, nr_failed = gm_folio_nr_failed(folio, NULL);
	struct gm_limit *limit;

	if (!folio_ref_freeze(folio, 1 + nr_failed))
		return false;
	/* A page that is marked from here on is found by the pool or the allocator. */
	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		if (PageHWPoison(first + i))
			return release_poisoned(folio, nr_failed, held);
	}
	bitmap_fill(all, GM_BLOCK_PAGES);
	limit = gm_folio_take_limit(folio);
	if (held)
		gm_limit_unhold(limit, GM_BLOCK_PAGES);
	direct_map_zero_hidden_large(first, all);
	mem_cgroup_uncharge(folio);
	gm_folio_clear_state(folio);
	/* Noted, and the mark was taken back. */
	if (nr_failed)
		gm_forget_failed(first);
	/* Another file can own the memory from here on. */
	gm_forget_block(folio_pfn(folio));
	gm_dissolve_folio(folio);
	gm_give_block(first);
	gm_limit_unreserve(limit, GM_BLOCK_PAGES);
	return true;
}

/*
 * Return: False when this is to be tried again, as the folio has other references.  Those
 * are short ones, or pins of a folio that was at KERNEL: one with a direct-map reference is
 * no orphan.
 */
static bool release(struct folio *folio, bool held)
{
	bool poisoned = !folio_test_large(folio) && folio_test_hwpoison(folio);

	/* Its hypervisor is never asked for it: it stays the guest's, and the library's. */
	if (poisoned && gm_folio_state(folio) & GM_PAGE_DONATED) {
		if (!held)
			gm_limit_hold(gm_folio_limit(folio), 1);
		return true;
	}
	/* A poisoned page stays as it is. */
	if (gm_folio_state(folio) & GUEST_MEMFD_PAGE_PINNABLE && !poisoned) {
		int ret = guest_memfd_access_end(folio, held);

		/* The last put of another reference gives it back. */
		if (ret <= 0)
			return !ret;
	}
	return folio_test_large(folio) ? release_block(folio, held) :
					 release_single(folio, held);
}

static void retry_later(struct folio *folio, bool held)
{
	if (!held)
		gm_limit_hold(gm_folio_limit(folio), folio_nr_pages(folio));
	spin_lock(&retry_lock);
	list_add_tail(&folio->lru, &retry_folios);
	spin_unlock(&retry_lock);
	queue_delayed_work(guest_memfd_wq, &retry_work, HZ / 10);
}

/**
 * gm_reap - take back folios that have left their file
 * @folios: A list of the caller's own, by folio->lru.
 *
 * A worker tries again what is held.
 *
 * Context: May sleep.  Not with a folio lock held.
 * Return: How many pages are of use to others now.
 */
unsigned long gm_reap(struct list_head *folios)
{
	unsigned long n, nr = 0;
	struct folio *folio;

	while (!list_empty(folios)) {
		folio = list_first_entry(folios, struct folio, lru);
		n = folio_nr_pages(folio);
		/* Off the list first: it is another owner's field when freed. */
		list_del_init(&folio->lru);
		if (release(folio, false))
			nr += n;
		else
			retry_later(folio, false);
		cond_resched();
	}
	return nr;
}

static void retry(struct work_struct *work)
{
	struct folio *folio;
	LIST_HEAD(folios);

	spin_lock(&retry_lock);
	list_splice_init(&retry_folios, &folios);
	spin_unlock(&retry_lock);
	while (!list_empty(&folios)) {
		folio = list_first_entry(&folios, struct folio, lru);
		list_del_init(&folio->lru);
		if (!release(folio, true))
			retry_later(folio, true);
		cond_resched();
	}
}

/**
 * guest_memfd_block_orphan - the folio has left its file for good
 * @folio: A locked folio that is in no file any more, or just on its way out;
 *	it may have other references, those to the direct map among them.
 *
 * A later guest_memfd_block_reap() frees a hidden folio, and one with the reference
 * of level KERNEL; guest_memfd_block_release() frees any other.
 *
 * Context: Any but interrupt.
 */
void guest_memfd_block_orphan(struct folio *folio)
{
	unsigned long state = gm_folio_state(folio);
	struct guest_memfd *gm = gm_folio_file(folio);

	VM_WARN_ON_ONCE_FOLIO(folio_test_lru(folio), folio);
	if (folio_test_large(folio))
		atomic_long_dec(&gm->nr_blocks);
	/* Before the put of a reference can free it, which takes the folio lock. */
	gm_folio_set_limit(folio, gm->limit);
	gm_limit_leave(gm->limit, folio_nr_pages(folio));
	/* The put of another direct-map reference, or the end of a donation, frees it. */
	if (!(state & GUEST_MEMFD_PAGE_PINNABLE) &&
	    (state & (GM_PAGE_OWN_WORDS | GM_PAGE_DONATED) || !(state & GM_PAGE_HIDDEN))) {
		gm_limit_hold(gm->limit, folio_nr_pages(folio));
		return;
	}
	spin_lock(&retry_lock);
	list_add_tail(&folio->lru, &gm->orphans);
	spin_unlock(&retry_lock);
}

/**
 * guest_memfd_block_release - free one folio, now or by the retry worker
 * @folio: A hidden folio that is in no file and on no list, with no reference
 *	of the caller's.
 * @held: Its limit counts it as held.
 *
 * Context: May sleep.  Not with the folio lock held.
 */
void guest_memfd_block_release(struct folio *folio, bool held)
{
	if (!release(folio, held))
		retry_later(folio, held);
}

/**
 * guest_memfd_block_reap - give back what has left a file and is not held
 * @gm: The file's memory.
 *
 * A worker tries again what is held.
 *
 * Context: May sleep.  Not with a folio lock held.
 */
void guest_memfd_block_reap(struct guest_memfd *gm)
{
	LIST_HEAD(folios);

	gm_take_orphans(gm, &folios);
	gm_reap(&folios);
}

/**
 * gm_take_orphans - take what has left a file and is to be given back
 * @gm: The file's memory.
 * @folios: The list to add it to, by folio->lru.
 *
 * Context: Any but interrupt.
 */
void gm_take_orphans(struct guest_memfd *gm, struct list_head *folios)
{
	spin_lock(&retry_lock);
	list_splice_init(&gm->orphans, folios);
	spin_unlock(&retry_lock);
}

/**
 * gm_scrub_flush - try again now what others held
 *
 * Context: May sleep.  For tests.
 */
void gm_scrub_flush(void)
{
	flush_delayed_work(&retry_work);
}
