// SPDX-License-Identifier: GPL-2.0-only
/*
 * The share count of one page: rights to use it through the direct map.
 *
 * Each share has a reference to the page.  The first restores the direct map
 * entry, the last hides the page again.
 */

#include <linux/guest_memfd.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include <trace/events/guest_memfd.h>

#include "direct_map.h"
#include "page_state.h"
#include "reference.h"

/**
 * struct gm_left - the pages that left one file and are still referenced
 * @refs: One of the file, one for each such page: a page can outlive its file.
 * @pages: The number of such pages.
 */
struct gm_left {
	refcount_t refs;
	atomic_long_t pages;
};

/*
 * The struct gm_left of each page with GM_PAGE_LEFT, by pfn.  Truncation clears
 * folio->mapping, so that the last put has no other way to the file's counter.
 */
static DEFINE_XARRAY(left_pages);

static void left_put(struct gm_left *left)
{
	if (refcount_dec_and_test(&left->refs))
		kfree(left);
}

static struct gm_left *file_left(struct guest_memfd *gm)
{
	struct gm_left *left = gm->left;

	if (!left) {
		left = kzalloc_obj(*left, GFP_KERNEL | __GFP_NOFAIL);
		refcount_set(&left->refs, 1);
		/* Pairs with the smp_load_acquire() in gm_references_left(). */
		smp_store_release(&gm->left, left);
	}
	return left;
}

/**
 * gm_references_leave - count the referenced pages of a range that leaves a file
 * @gm: The memory of a NO_DIRECT_MAP file, its invalidate_lock held for writing.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * Truncation of the range must follow.  Puts may run meanwhile, gets cannot.
 *
 * Context: May sleep.  Cannot fail, as a hole cannot: the allocations, a few
 * bytes for each page with a reference, are repeated until they succeed.
 */
void gm_references_leave(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct xarray *pages = &gm->inode->i_mapping->i_pages;
	struct gm_left *left;
	struct folio *folio;
	pgoff_t index = start;

	lockdep_assert_held_write(&gm->inode->i_mapping->invalidate_lock);
	if (end <= start)
		return;
	for (folio = xa_find(pages, &index, end - 1, GM_TAG_REFERENCED); folio;
	     folio = xa_find_after(pages, &index, end - 1, GM_TAG_REFERENCED)) {
		unsigned long state;

		left = file_left(gm);
		folio_lock(folio);
		state = gm_page_state(folio);
		if (gm_page_count(state) && !(state & GM_PAGE_LEFT)) {
			refcount_inc(&left->refs);
			atomic_long_inc(&left->pages);
			WARN_ON_ONCE(xa_err(xa_store(&left_pages, folio_pfn(folio), left,
						     GFP_KERNEL | __GFP_NOFAIL)));
			gm_page_set_state(folio, state | GM_PAGE_LEFT);
		}
		folio_unlock(folio);
		cond_resched();
	}
}

/* The last reference to a page with GM_PAGE_LEFT has ended. */
static void end_left(struct folio *folio)
{
	struct gm_left *left = xa_erase(&left_pages, folio_pfn(folio));

	if (WARN_ON_ONCE(!left))
		return;
	atomic_long_dec(&left->pages);
	left_put(left);
}

/**
 * gm_references_left - how many pages left a file and are still referenced
 * @gm: The file's memory.
 *
 * Context: Any.
 * Return: The number of pages.
 */
unsigned long gm_references_left(struct guest_memfd *gm)
{
	struct gm_left *left = smp_load_acquire(&gm->left);

	return left ? atomic_long_read(&left->pages) : 0;
}

/**
 * gm_references_destroy - free what counts the references of a file
 * @gm: The file's memory; all pages have left it.
 */
void gm_references_destroy(struct guest_memfd *gm)
{
	if (gm->left)
		left_put(gm->left);
	gm->left = NULL;
}

/**
 * gm_tag_referenced - have a page counted, or not, among the shared ones of its file
 * @folio: A locked folio; nothing is done if it is in no file.
 * @shared: Does it have a share?
 *
 * The tag is in the mapping, so that a page takes its part of the count with it
 * when it leaves the file.
 */
void gm_tag_referenced(struct folio *folio, bool shared)
{
	struct address_space *mapping = folio->mapping;

	if (!mapping)
		return;
	xa_lock_irq(&mapping->i_pages);
	if (shared)
		__xa_set_mark(&mapping->i_pages, folio->index, GM_TAG_REFERENCED);
	else
		__xa_clear_mark(&mapping->i_pages, folio->index, GM_TAG_REFERENCED);
	xa_unlock_irq(&mapping->i_pages);
}

/**
 * gm_get_direct_map_restored - the first share of a page, whose entry is there already
 * @folio: A locked hidden folio whose direct map entry was just restored.
 */
void gm_get_direct_map_restored(struct folio *folio)
{
	unsigned long state = gm_page_state(folio);

	state = (state & ~GM_PAGE_HIDDEN) + GM_PAGE_COUNT_ONE;
	gm_page_set_state(folio, state);
	gm_tag_referenced(folio, true);
	trace_guest_memfd_get(folio_pfn(folio), gm_page_count(state));
	folio_get(folio);
}

/**
 * gm_get_direct_map - take a share
 * @folio: A locked folio of a NO_DIRECT_MAP file.
 *
 * Return: 0, -EOVERFLOW, or -ENOMEM: the first share of a block splits a large
 * mapping, and so may any of a page that came to level KERNEL with its block.
 */
int gm_get_direct_map(struct folio *folio)
{
	unsigned long state = gm_page_state(folio);
	int err;

	if (gm_page_count(state) == GM_PAGE_COUNT_MAX)
		return -EOVERFLOW;
	if (state & GM_PAGE_HIDDEN) {
		err = direct_map_restore(&folio->page, 1);
		if (!err)
			gm_get_direct_map_restored(folio);
		return err;
	}
	/* It may have come back with its whole block, and go alone. */
	if (state & GUEST_MEMFD_PAGE_PINNABLE) {
		err = direct_map_split(&folio->page);
		if (err)
			return err;
	}

	state += GM_PAGE_COUNT_ONE;
	gm_page_set_state(folio, state);
	trace_guest_memfd_get(folio_pfn(folio), gm_page_count(state));
	folio_get(folio);
	return 0;
}

/**
 * gm_put_direct_map_hidden - the last unshare of a page, whose entry has gone already
 * @folio: A locked folio with one share that was just hidden.
 *
 * The share's reference is left to the caller.
 */
void gm_put_direct_map_hidden(struct folio *folio)
{
	unsigned long state = gm_page_state(folio);

	if (state & GM_PAGE_LEFT)
		end_left(folio);
	state = ((state & ~GM_PAGE_LEFT) | GM_PAGE_HIDDEN) - GM_PAGE_COUNT_ONE;
	gm_page_set_state(folio, state);
	gm_tag_referenced(folio, false);
	trace_guest_memfd_put(folio_pfn(folio), gm_page_count(state));
}

/**
 * gm_put_direct_map - drop a share
 * @folio: A locked folio with a share of the caller's.
 *
 * Hiding a page that shares of its own made visible cannot fail: the first one
 * split the large mapping.  Of a block that came to level KERNEL as a whole, a
 * single page can fail.  The share's reference is left to the caller.
 *
 * Return: 1 when it was the last share and the page is hidden now, 0 when there
 * are others, or -ENOMEM with nothing changed.
 */
int gm_put_direct_map(struct folio *folio)
{
	unsigned long state = gm_page_state(folio);

	if (gm_page_count(state) == 1) {
		if (direct_map_hide(&folio->page, 1))
			return -ENOMEM;
		gm_put_direct_map_hidden(folio);
		return 1;
	}

	state -= GM_PAGE_COUNT_ONE;
	gm_page_set_state(folio, state);
	trace_guest_memfd_put(folio_pfn(folio), gm_page_count(state));
	return 0;
}
