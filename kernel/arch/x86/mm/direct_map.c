// SPDX-License-Identifier: GPL-2.0-only
/* What entries the direct map has for a page. */

#include <linux/cc_platform.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/set_memory.h>

#include <asm/pgtable_types.h>

/**
 * set_direct_map_can_merge - has a page an entry that a split can have made?
 * @page: A page, hidden or in the direct map.
 * @huge: An entry of 2 MiB, and not of 4 KiB.
 *
 * With debug_pagealloc every page has an entry of its own from boot on, which
 * stays.
 *
 * Context: May sleep.
 * Return: True if set_direct_map_merge() may make one entry of the next size of this
 * one and its neighbours, once all of them are in the direct map.
 */
bool set_direct_map_can_merge(struct page *page, bool huge)
{
	unsigned long addr = (unsigned long)page_address(page);
	unsigned int level;
	pte_t *pte;

	if (debug_pagealloc_enabled())
		return false;
	/*
	 * On an SNP host a page that is private to a guest needs an entry of 2 MiB at most, and
	 * one alone if its neighbours are not private.  Where it had that already it is not marked.
	 */
	if (!huge && cc_platform_has(CC_ATTR_HOST_SEV_SNP))
		return false;
	scoped_guard(mmap_read_lock, &init_mm) {
		pte = lookup_address(addr, &level);
		if (!pte)
			return false;
		if (huge)
			return level == PG_LEVEL_2M;
		/* Boot makes tables that are no allocated pages. */
		return level == PG_LEVEL_4K && PageTable(virt_to_page(pte));
	}
	return false;
}
