/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_FILE_H
#define _MM_GUEST_MEMFD_FILE_H

#include <linux/guest_memfd.h>

static inline struct guest_memfd *gm_of_mapping(const struct address_space *mapping)
{
	return mapping->host->i_private;
}

/*
 * Invalidate whole blocks.  A guest fault beside the range may be about to map
 * a block as a whole, and must notice the invalidation.
 */
static inline void gm_invalidate_start(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	unsigned long nr = 1UL << gm->block_order;

	gm->ops->invalidate_start(gm, round_down(start, nr), round_up(end, nr));
}

static inline void gm_invalidate_end(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	unsigned long nr = 1UL << gm->block_order;

	gm->ops->invalidate_end(gm, round_down(start, nr), round_up(end, nr));
}

/*
 * Unmap a folio that stays in its file.  unmap_mapping_folio() would also
 * remove userfaultfd's markers, so userfaultfd would miss later writes.
 */
static inline void gm_unmap_folio(struct folio *folio)
{
	unmap_mapping_pages(folio->mapping, folio->index, folio_nr_pages(folio), false);
}

/*
 * How often a split sleeps to wait for short-lived references, up to a
 * millisecond each time.
 */
#define GM_SPLIT_SLEEPS	100

bool gm_get_user(struct guest_memfd *gm);
void gm_put_user(struct guest_memfd *gm);
void gm_wait_for_users(struct guest_memfd *gm);

#endif /* _MM_GUEST_MEMFD_FILE_H */
