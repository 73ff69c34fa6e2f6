/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_BLOCK_H
#define _MM_GUEST_MEMFD_BLOCK_H

#include <linux/guest_memfd.h>

/*
 * Truncation clears folio->mapping before it calls free_folio(), so the library
 * stores the file in the folio's lru field.  The field is valid until the folio
 * is removed from the file, while the folio is on no list.
 */
static inline void gm_set_file(struct folio *folio, struct guest_memfd *gm)
{
	folio->lru.next = (struct list_head *)gm;
}

static inline struct guest_memfd *gm_folio_file(struct folio *folio)
{
	return (struct guest_memfd *)folio->lru.next;
}

void guest_memfd_block_init(struct guest_memfd *gm);
int guest_memfd_block_populate(struct guest_memfd *gm, pgoff_t index);
int guest_memfd_block_populate_range(struct guest_memfd *gm, pgoff_t index,
				     pgoff_t end);
int guest_memfd_block_split(struct guest_memfd *gm, pgoff_t index);

#endif /* _MM_GUEST_MEMFD_BLOCK_H */
