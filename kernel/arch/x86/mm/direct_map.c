// SPDX-License-Identifier: GPL-2.0-only
/* The sizes of the direct map's entries. */

#include <linux/cc_platform.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/set_memory.h>

#include <asm/pgtable_types.h>

/**
 * set_direct_map_can_merge - can a split have created the entry of a page?
 * @page: A page, hidden or in the direct map.
 * @huge: Ask for an entry of 2 MiB instead of one of 4 KiB.
 *
 * With debug_pagealloc the direct map is mapped by pages from boot on, and the
 * kernel never merges them.
 *
 * Context: May sleep.
 * Return: True if set_direct_map_merge() may replace this entry and its
 * neighbours by one of the next size, once all of them are in the direct map.
 */
bool set_direct_map_can_merge(struct page *page, bool huge)
{
	unsigned long addr = (unsigned long)page_address(page);
	unsigned int level;
	pte_t *pte;

	if (debug_pagealloc_enabled())
		return false;
	/*
	 * On an SNP host a page that is private to a guest needs an entry of 2
	 * MiB at most, and an entry of its own if its neighbours are not
	 * private.  If the entry was that small already, SNP records nothing,
	 * so never merge entries of 4 KiB there.
	 */
	if (!huge && cc_platform_has(CC_ATTR_HOST_SEV_SNP))
		return false;
	scoped_guard(mmap_read_lock, &init_mm) {
		pte = lookup_address(addr, &level);
		if (!pte)
			return false;
		if (huge)
			return level == PG_LEVEL_2M;
		/*
		 * Tables that boot created have no ptdesc and cannot be freed.
		 */
		return level == PG_LEVEL_4K && PageTable(virt_to_page(pte));
	}
	return false;
}
