/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_REFERENCE_H
#define _MM_GUEST_MEMFD_REFERENCE_H

#include <linux/mm_types.h>

int gm_get_direct_map(struct folio *folio);
int gm_put_direct_map(struct folio *folio);
void gm_get_direct_map_restored(struct folio *folio);
void gm_put_direct_map_hidden(struct folio *folio);
struct folio;
struct guest_memfd;

void gm_references_leave(struct guest_memfd *gm, pgoff_t start, pgoff_t end);
unsigned long gm_references_left(struct guest_memfd *gm);
void gm_references_destroy(struct guest_memfd *gm);
bool gm_put_lazily(struct folio *folio);
void gm_references_drain(struct guest_memfd *gm, pgoff_t start, pgoff_t end);
unsigned long gm_references_pending(struct guest_memfd *gm);
void gm_tag_referenced(struct folio *folio, bool referenced);
void gm_untag_range(struct address_space *mapping, pgoff_t start, pgoff_t end);

#endif /* _MM_GUEST_MEMFD_REFERENCE_H */
