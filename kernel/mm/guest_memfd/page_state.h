/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_PAGE_STATE_H
#define _MM_GUEST_MEMFD_PAGE_STATE_H

/*
 * The state of one page of a NO_DIRECT_MAP file, in folio->private.
 *
 * The folio lock protects the word while the page is in a file or has direct-map
 * references; the lock of the page's block protects it otherwise, and the task
 * that allocates or frees a page needs no lock.  GUP reads the word without a
 * lock.  The word is set before the page is added to its file and cleared when
 * the page is freed.  In between either HIDDEN is set or the number of
 * direct-map references is above zero, never both, so the word is never zero.
 * A page of a plain file has no such word.
 */

#include <linux/bits.h>
#include <linux/guest_memfd.h>
#include <linux/mmdebug.h>

/* No direct map entry, and no stale TLB entry on any CPU. */
#define GM_PAGE_HIDDEN		BIT(0)
/* BIT(1) is GUEST_MEMFD_PAGE_PINNABLE. */
/* Has left its file: the last put of a direct-map reference frees it. */
#define GM_PAGE_ORPHAN		BIT(2)
/* The order of the block that the page is of, 0 for a single page. */
#define GM_PAGE_ORDER_SHIFT	3
#define GM_PAGE_ORDER_MASK	GENMASK(6, GM_PAGE_ORDER_SHIFT)
/* The count includes the reference of level KERNEL; PINNABLE implies it. */
#define GM_PAGE_LEVEL		BIT(7)

/* 2 MiB with pages of 4 KiB. */
#define GM_BLOCK_MAX_ORDER	9

/* Counted by its file among the pages that left it and are still referenced. */
#define GM_PAGE_LEFT		BIT(8)

/* The only reference was put and is to be dropped soon: it is in a queue. */
#define GM_PAGE_LAZY		BIT(9)

/* The number of direct-map references, above the flags. */
#define GM_PAGE_COUNT_SHIFT	10
#define GM_PAGE_COUNT_MASK	GENMASK(47, GM_PAGE_COUNT_SHIFT)
#define GM_PAGE_COUNT_ONE	BIT(GM_PAGE_COUNT_SHIFT)
#define GM_PAGE_COUNT_MAX	(GM_PAGE_COUNT_MASK >> GM_PAGE_COUNT_SHIFT)

/* Tag of pages with a direct-map reference in the mapping; nothing is written back here. */
#define GM_TAG_REFERENCED		PAGECACHE_TAG_TOWRITE

/* Are the pages of this file out of the direct map? */
static inline bool gm_hides(const struct guest_memfd *gm)
{
	return gm->flags & GM_FILE_NO_DIRECT_MAP;
}

static inline unsigned long gm_page_state(const struct folio *folio)
{
	return (unsigned long)READ_ONCE(folio->private);
}

static inline unsigned long gm_page_count(unsigned long state)
{
	return (state & GM_PAGE_COUNT_MASK) >> GM_PAGE_COUNT_SHIFT;
}

static inline unsigned int gm_page_block_order(unsigned long state)
{
	return (state & GM_PAGE_ORDER_MASK) >> GM_PAGE_ORDER_SHIFT;
}

/* Is this folio of a guest_memfd one of a NO_DIRECT_MAP file, or was it? */
static inline bool gm_page_has_state(const struct folio *folio)
{
	return gm_page_state(folio);
}

/* The state of a page that was just hidden, or cleared while it was hidden. */
static inline unsigned long gm_page_fresh(unsigned int block_order)
{
	return GM_PAGE_HIDDEN |
	       (unsigned long)block_order << GM_PAGE_ORDER_SHIFT;
}

static inline bool gm_page_state_valid(unsigned long state)
{
	bool hidden = state & GM_PAGE_HIDDEN;
	bool level = state & GM_PAGE_LEVEL;

	return hidden == !gm_page_count(state) && !(hidden && level) &&
	       (level || !(state & GUEST_MEMFD_PAGE_PINNABLE));
}

static inline void gm_page_set_state(struct folio *folio, unsigned long state)
{
	VM_WARN_ON_ONCE_FOLIO(!gm_page_state_valid(state), folio);
	WRITE_ONCE(folio->private, (void *)state);
}

/* The page is about to be freed. */
static inline void gm_page_clear_state(struct folio *folio)
{
	WRITE_ONCE(folio->private, NULL);
}

#endif /* _MM_GUEST_MEMFD_PAGE_STATE_H */
