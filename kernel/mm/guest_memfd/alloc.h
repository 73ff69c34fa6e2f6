/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_ALLOC_H
#define _MM_GUEST_MEMFD_ALLOC_H

#include <linux/guest_memfd.h>

/* Number of blocks that are hidden with one flush. */
#define GM_BLOCKS_PER_FLUSH 8

int gm_get_blocks(struct guest_memfd *gm, pgoff_t start,
		  struct folio **folios, unsigned int nr_blocks);
void gm_free_fresh(struct folio *folio);
void gm_dissolve_folio(struct folio *folio);
void gm_free_pages_of_block(struct page *first);
void gm_give_block(struct page *first);
struct page *gm_get_single(struct guest_memfd *gm, pgoff_t index);
void gm_free_single(struct page *page);
#if IS_ENABLED(CONFIG_KUNIT)
struct page *gm_take_single(struct guest_memfd *gm, pgoff_t index,
			    bool preferred_only);
#endif

#endif /* _MM_GUEST_MEMFD_ALLOC_H */
