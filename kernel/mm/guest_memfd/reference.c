// SPDX-License-Identifier: GPL-2.0-only
/*
 * The share count of one page: rights to use it through the direct map.
 *
 * Each share has a reference to the page.  The first restores the direct map
 * entry, the last hides the page again.
 */

#include <linux/mm.h>
#include <linux/pagemap.h>

#include <trace/events/guest_memfd.h>

#include "direct_map.h"
#include "page_state.h"
#include "reference.h"

/* With the lock of the mapping's i_pages held. */
static void set_tag(struct address_space *mapping, pgoff_t index, bool referenced)
{
	struct guest_memfd *gm = mapping->host->i_private;

	if (xa_get_mark(&mapping->i_pages, index, GM_TAG_REFERENCED) == referenced)
		return;
	if (referenced) {
		__xa_set_mark(&mapping->i_pages, index, GM_TAG_REFERENCED);
		WRITE_ONCE(gm->nr_referenced, gm->nr_referenced + 1);
	} else {
		__xa_clear_mark(&mapping->i_pages, index, GM_TAG_REFERENCED);
		WRITE_ONCE(gm->nr_referenced, gm->nr_referenced - 1);
	}
}

/**
 * gm_tag_referenced - count a page, or not, among the referenced ones of its file
 * @folio: A locked folio; nothing is done if it is in no file.
 * @referenced: Does it have a direct-map reference?
 *
 * The tag says whether the page is in the file's count.
 */
void gm_tag_referenced(struct folio *folio, bool referenced)
{
	struct address_space *mapping = folio->mapping;

	if (!mapping)
		return;
	xa_lock_irq(&mapping->i_pages);
	set_tag(mapping, folio->index, referenced);
	xa_unlock_irq(&mapping->i_pages);
}

/**
 * gm_untag_range - stop counting pages that are about to leave their file
 * @mapping: The file's mapping; its invalidate_lock is held exclusively.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * Truncation removes the tag with the page, but does not know the count.  No
 * reference can be taken before the page has left, as that needs the
 * invalidate_lock; one that is put finds no tag.
 */
void gm_untag_range(struct address_space *mapping, pgoff_t start, pgoff_t end)
{
	struct xarray *pages = &mapping->i_pages;
	unsigned long index = start;

	while (xa_find(pages, &index, end - 1, GM_TAG_REFERENCED)) {
		xa_lock_irq(pages);
		set_tag(mapping, index, false);
		xa_unlock_irq(pages);
		if (index++ == end - 1)
			break;
	}
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
	if (state & GM_PAGE_LEVEL) {
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

	state = (state | GM_PAGE_HIDDEN) - GM_PAGE_COUNT_ONE;
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
