/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_GUEST_MEMFD_MM_H
#define _LINUX_GUEST_MEMFD_MM_H

/*
 * What the memory management core needs to know about memory outside the direct
 * map.  Owners of such memory include <linux/guest_memfd.h> instead.
 */

#include <linux/bits.h>
#include <linux/pagemap.h>

/* In folio->private of a page at level KERNEL: GUP may return the page. */
#define GUEST_MEMFD_PAGE_PINNABLE	BIT(1)

/*
 * May GUP return @folio?  @mapping is the mapping of the folio, or of the file
 * of the VMA that maps it.  @hidden is true if the caller called
 * get_user_pages_no_direct_map(), which also returns guest_memfd folios that
 * have no entry in the direct map.  Folios of memfd_secret() have no private
 * data and their mapping is not inaccessible, so GUP refuses them for every
 * caller.
 */
static inline bool guest_memfd_gup_allowed(const struct folio *folio,
					   const struct address_space *mapping,
					   bool hidden)
{
	return !mapping_no_direct_map(mapping) ||
	       (hidden && mapping_inaccessible(mapping)) ||
	       ((unsigned long)READ_ONCE(folio->private) &
		GUEST_MEMFD_PAGE_PINNABLE);
}

/*
 * May GUP take a reference to @folio, which it has found in the page tables of
 * @vma?
 */
static inline bool guest_memfd_follow_allowed(const struct folio *folio,
					      const struct vm_area_struct *vma,
					      bool hidden)
{
	return !vma->vm_file ||
	       guest_memfd_gup_allowed(folio, vma->vm_file->f_mapping, hidden);
}

/**
 * get_user_pages_no_direct_map - get user pages that may be hidden
 * @start: The first user address.
 * @nr_pages: Number of pages.
 * @gup_flags: FOLL_* flags that get_user_pages_unlocked() accepts.
 * @fast_only: Use only page table entries that are present, and do not sleep.
 * @pages: Array that receives the pages.
 *
 * This is get_user_pages_unlocked(), or get_user_pages_fast_only(), for a
 * caller that maps the pages into a guest and does not access them through the
 * direct map.  It also returns guest_memfd pages at level
 * GUEST_MEMFD_ACCESS_USER, which every other GUP function refuses.  The caller
 * must drop the references once it has mapped the pages, because lowering from
 * KERNEL and splitting a block wait for them.  MMU notifiers tell the caller
 * when it must unmap the pages.
 *
 * Context: Process context; may sleep unless @fast_only.
 * Return: The number of pages, each with a reference that the caller must drop;
 * or an error as from get_user_pages_unlocked().
 */
long get_user_pages_no_direct_map(unsigned long start, int nr_pages,
				  unsigned int gup_flags, bool fast_only,
				  struct page **pages);

/* Does this VMA map a guest_memfd whose pages may be hidden? */
static inline bool vma_is_guest_memfd_hidden(const struct vm_area_struct *vma)
{
	const struct address_space *mapping =
		vma->vm_file ? vma->vm_file->f_mapping : NULL;

	return mapping && mapping_inaccessible(mapping) &&
	       mapping_no_direct_map(mapping);
}

#ifdef CONFIG_GUEST_MEMFD
bool guest_memfd_active(void);
bool guest_memfd_owns_pfn(unsigned long pfn);
struct folio *guest_memfd_memory_failure(struct page *page);
#else
static inline bool guest_memfd_active(void) { return false; }
static inline bool guest_memfd_owns_pfn(unsigned long pfn) { return false; }
static inline struct folio *guest_memfd_memory_failure(struct page *page) { return NULL; }
#endif

#endif /* _LINUX_GUEST_MEMFD_MM_H */
