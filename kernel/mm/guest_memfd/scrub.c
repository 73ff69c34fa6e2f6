// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clearing and freeing of folios that were removed from their file.
 *
 * The library has a reference to each folio, so no other task's put frees it.
 * A folio that was removed from its file stays hidden until the library's
 * reference is the only one.  Then the library clears it through the temporary
 * mapping and uncharges it.  It clears pages before it restores them, so the
 * contents of former guest memory are never readable through the direct map.
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
 * Folios, by folio->lru, that were removed from their file while a task or a
 * device had a reference to them.  Only a worker processes this list, so these
 * folios do not delay other files.
 */
static LIST_HEAD(retry_folios);
/* Protects retry_folios, and the orphans of all files. */
static DEFINE_SPINLOCK(retry_lock);

static void retry(struct work_struct *work);
static DECLARE_DELAYED_WORK(retry_work, retry);

/*
 * Clear a single page that was removed from its file.  No lookup finds its
 * folio, but memory_failure() or a walker of page frames may still take a
 * reference, so freeze the count.
 *
 * Return: 1 if the page is frozen and cleared; 0 if it has other references; or
 * -EHWPOISON.
 */
static int scrub_single(struct folio *folio)
{
	/* memory_failure() keeps a reference to a page that it has poisoned. */
	if (folio_test_hwpoison(folio))
		return -EHWPOISON;
	if (!folio_ref_freeze(folio, 1))
		return 0;
	/*
	 * Check again: memory_failure() cannot take a reference while the page
	 * is frozen.
	 */
	if (folio_test_hwpoison(folio)) {
		folio_ref_unfreeze(folio, 1);
		return -EHWPOISON;
	}
	direct_map_zero_hidden(&folio->page);
	folio_ref_unfreeze(folio, 1);
	return 1;
}

/*
 * @held: True if the limit counts the page as held.  The function ends that
 *	once it has frozen the page.
 */
static bool release_single(struct folio *folio, bool held)
{
	int ret = scrub_single(folio);

	if (ret && held)
		gm_limit_unhold(gm_folio_limit(folio), 1);
	if (ret < 0) {
		gm_cut_lose(&folio->page);
		/*
		 * A poisoned page is never used again, so the limit need not
		 * count it.
		 */
		gm_limit_unreserve(gm_folio_take_limit(folio), 1);
	} else if (ret) {
		gm_free_single(&folio->page);
	}
	return ret;
}

/*
 * Free a block with poisoned pages by cutting it into single pages.  The
 * library and memory_failure() never drop their references to a poisoned page.
 * The second reference also prevents debugfs from freeing the page, which is
 * hidden, when it unpoisons the page.
 */
static bool release_poisoned(struct folio *folio, unsigned int nr_failed, bool held)
{
	DECLARE_BITMAP(which, GM_BLOCK_PAGES) = {};
	struct page *first = &folio->page;
	struct gm_limit *limit;
	unsigned int i;

	for (i = 0; i < GM_BLOCK_PAGES; i++)
		__assign_bit(i, which, PageHWPoison(first + i));
	/* Cutting a block allocates, which reclaim cannot wait for. */
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
	/*
	 * The pool or the allocator finds pages that memory_failure() marks
	 * after this check.
	 */
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
	/*
	 * memory_failure() was recorded, but the poison mark was removed since
	 * then.
	 */
	if (nr_failed)
		gm_forget_failed(first);
	/* Another file may own the memory after this. */
	gm_forget_block(folio_pfn(folio));
	gm_dissolve_folio(folio);
	gm_give_block(first);
	gm_limit_unreserve(limit, GM_BLOCK_PAGES);
	return true;
}

/*
 * Clear and free a folio.  @held is as for release_single().
 *
 * Return: False if the caller must retry, because there is no memory to split
 * or hide a part of the block, or because the folio has other references.
 * These are short-lived, or they are pins of a folio that was at KERNEL: a
 * folio with another direct-map reference is not on a list of orphans.
 */
static bool release(struct folio *folio, bool held)
{
	bool poisoned = !folio_test_large(folio) && folio_test_hwpoison(folio);

	/*
	 * The library never asks the hypervisor to return a poisoned page.  The
	 * page stays donated, and the library keeps it.
	 */
	if (poisoned && gm_folio_state(folio) & GM_PAGE_DONATED) {
		if (!held)
			gm_limit_hold(gm_folio_limit(folio), 1);
		return true;
	}
	/* A poisoned page at KERNEL stays in the direct map. */
	if (gm_folio_state(folio) & GUEST_MEMFD_PAGE_PINNABLE && !poisoned) {
		int ret = guest_memfd_access_end(folio, held);

		/*
		 * The last put of another direct-map reference frees the folio.
		 */
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
 * gm_reap - clear and free folios that were removed from their file
 * @folios: A list, by folio->lru, that only the caller uses.
 *
 * A worker retries folios that have other references.
 *
 * Context: May sleep.  The caller must not hold a folio lock.
 * Return: The number of pages that the function has freed.
 */
unsigned long gm_reap(struct list_head *folios)
{
	unsigned long n, nr = 0;
	struct folio *folio;

	while (!list_empty(folios)) {
		folio = list_first_entry(folios, struct folio, lru);
		n = folio_nr_pages(folio);
		/*
		 * Remove the folio from the list first: its lru field belongs
		 * to the next owner once the folio is freed.
		 */
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
 * guest_memfd_block_orphan - handle the removal of a folio from its file
 * @folio: A locked folio that is in no file any more, or is just being removed.
 *	It may have other references, direct-map references among them.
 *
 * A later guest_memfd_block_reap() frees a hidden folio and a folio with level
 * KERNEL's reference.  guest_memfd_block_release() frees any other folio.
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
	/*
	 * Set the limit before the put of a direct-map reference can free the
	 * folio.  The put waits for the folio lock.
	 */
	gm_folio_set_limit(folio, gm->limit);
	gm_limit_leave(gm->limit, folio_nr_pages(folio));
	/*
	 * The last put of another direct-map reference, or the end of the
	 * donation, frees the folio.
	 */
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
 * guest_memfd_block_release - clear and free one folio, now or later
 * @folio: A hidden folio that is in no file and on no list.  The caller has no
 *	reference to it.
 * @held: True if the folio's limit counts it as held.
 *
 * If the folio has other references, a worker retries.
 *
 * Context: May sleep.  The caller must not hold the folio lock.
 */
void guest_memfd_block_release(struct folio *folio, bool held)
{
	if (!release(folio, held))
		retry_later(folio, held);
}

/**
 * guest_memfd_block_reap - clear and free the orphans of a file
 * @gm: The file's memory.
 *
 * A worker retries folios that have other references.
 *
 * Context: May sleep.  The caller must not hold a folio lock.
 */
void guest_memfd_block_reap(struct guest_memfd *gm)
{
	LIST_HEAD(folios);

	gm_take_orphans(gm, &folios);
	gm_reap(&folios);
}

/**
 * gm_take_orphans - move the orphans of a file to a list
 * @gm: The file's memory.
 * @folios: The list that receives them, by folio->lru.
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
 * gm_scrub_flush - run the retry worker now and wait for it
 *
 * Context: May sleep.  For tests.
 */
void gm_scrub_flush(void)
{
	flush_delayed_work(&retry_work);
}
