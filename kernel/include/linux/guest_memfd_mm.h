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
 * the VMA that maps it.  Folios of memfd_secret() have no private data.
 */
static inline bool guest_memfd_gup_allowed(const struct folio *folio,
					   const struct address_space *mapping)
{
	return !mapping_no_direct_map(mapping) ||
	       ((unsigned long)READ_ONCE(folio->private) &
		GUEST_MEMFD_PAGE_PINNABLE);
}

/* May a GUP that has found @folio in the page tables of @vma take a reference? */
static inline bool guest_memfd_follow_allowed(const struct folio *folio,
					      const struct vm_area_struct *vma)
{
	return !vma->vm_file ||
	       guest_memfd_gup_allowed(folio, vma->vm_file->f_mapping);
}

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
