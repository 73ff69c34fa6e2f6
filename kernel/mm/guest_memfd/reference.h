/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_REFERENCE_H
#define _MM_GUEST_MEMFD_REFERENCE_H

#include <linux/mm_types.h>

struct folio *gm_get_folio_of(struct page *page);
struct folio *gm_lock_page(struct page *page);
int gm_get_direct_map(struct page *page);
int gm_put_direct_map(struct page *page);
void gm_get_direct_map_restored(struct page *page);
void gm_put_direct_map_hidden(struct page *page);
void gm_raise_folio(struct folio *folio);
void gm_lower_folio(struct folio *folio);
bool gm_is_free_orphan(struct folio *folio);
struct folio;
struct guest_memfd;

void gm_references_leave(struct guest_memfd *gm, pgoff_t start, pgoff_t end);
unsigned long gm_references_left(struct guest_memfd *gm);
void gm_references_destroy(struct guest_memfd *gm);
bool gm_put_lazily(struct page *page);
void gm_references_drain(struct guest_memfd *gm, pgoff_t start, pgoff_t end);
unsigned long gm_references_pending(struct guest_memfd *gm);
void gm_tag_referenced(struct folio *folio, unsigned int nr);
void gm_untag_referenced(struct folio *folio, unsigned int nr);
void gm_untag_range(struct address_space *mapping, pgoff_t start, pgoff_t end);
#if IS_ENABLED(CONFIG_KUNIT)
bool gm_references_none_left(void);
#endif

#endif /* _MM_GUEST_MEMFD_REFERENCE_H */
