/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_GUEST_MEMFD_MM_H
#define _LINUX_GUEST_MEMFD_MM_H

/*
 * What the rest of mm must know of memory outside the direct map.  Owners of
 * such memory include <linux/guest_memfd.h> instead.
 */

#include <linux/bits.h>
#include <linux/pagemap.h>

/* In folio->private of a page at level KERNEL: the kernel may pin the page. */
#define GUEST_MEMFD_PAGE_PINNABLE	BIT(1)

/*
 * May get_user_pages() hand out @folio?  @mapping is that of the folio, or of
 * the VMA that maps it.  @hidden says that the caller called
 * get_user_pages_no_direct_map(), which also hands out guest_memfd folios that
 * have no entry in the direct map.  Folios of memfd_secret() have no private
 * data, and their mapping is not inaccessible: no caller gets those.
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

/* May a GUP that has found @folio in the page tables of @vma take a reference? */
static inline bool guest_memfd_follow_allowed(const struct folio *folio,
					      const struct vm_area_struct *vma,
					      bool hidden)
{
	return !vma->vm_file ||
	       guest_memfd_gup_allowed(folio, vma->vm_file->f_mapping, hidden);
}

/**
 * get_user_pages_no_direct_map - get user pages that may have no direct map entry
 * @start: The first user address.
 * @nr_pages: How many pages.
 * @gup_flags: FOLL_* flags that get_user_pages_unlocked() accepts.
 * @fast_only: Only use page table entries that are present, and do not sleep.
 * @pages: Where to store the pages.
 *
 * This is get_user_pages_unlocked(), or get_user_pages_fast_only(), for a caller
 * that maps the pages into a guest and does not use them through the direct map.
 * It also returns guest_memfd pages whose range is at
 * GUEST_MEMFD_ACCESS_USER, which every other way into GUP refuses.  The
 * caller drops the references after it has mapped the pages, because a change
 * of the access level waits for them, and MMU notifiers tell it when it must
 * unmap them.
 *
 * Context: Process context; may sleep unless @fast_only.
 * Return: The number of pages, each with a reference for the caller; or an error
 * as get_user_pages_unlocked() returns.
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
