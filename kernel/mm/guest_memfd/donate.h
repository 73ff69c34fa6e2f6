/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_DONATE_H
#define _MM_GUEST_MEMFD_DONATE_H

#include <linux/guest_memfd.h>

#include "page_state.h"

#ifdef CONFIG_GUEST_MEMFD_DONATE
bool gm_block_page_is_donated(struct page *page);
unsigned int gm_folio_nr_donated(struct folio *folio);
void gm_take_donated(struct page *first, unsigned long *which);
void gm_split_donated(struct address_space *mapping, struct folio *folio);
bool gm_range_has_donated(struct guest_memfd *gm, pgoff_t start, pgoff_t end);
int gm_begin_hole(struct guest_memfd *gm, pgoff_t start, pgoff_t end);
void gm_end_hole(struct guest_memfd *gm);

static inline void gm_init_donated(struct guest_memfd *gm)
{
	gm->nr_donated = 0;
	atomic_set(&gm->nr_holes, 0);
}
#else
static inline bool gm_block_page_is_donated(struct page *page)
{
	return false;
}

static inline unsigned int gm_folio_nr_donated(struct folio *folio)
{
	return 0;
}

static inline void gm_take_donated(struct page *first, unsigned long *which)
{
}

static inline void gm_split_donated(struct address_space *mapping, struct folio *folio)
{
}

static inline bool gm_range_has_donated(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	return false;
}

static inline int gm_begin_hole(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	return 0;
}

static inline void gm_end_hole(struct guest_memfd *gm)
{
}

static inline void gm_init_donated(struct guest_memfd *gm)
{
}
#endif

/*
 * Is a page of a NO_DIRECT_MAP file donated?  The caller has the folio locked; or a
 * reference to the page, and then "no" stays true until it is dropped.
 */
static inline bool gm_page_is_donated(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!(gm_folio_state(folio) & GM_PAGE_DONATED))
		return false;
	return !folio_test_large(folio) || gm_block_page_is_donated(page);
}

#endif /* _MM_GUEST_MEMFD_DONATE_H */
