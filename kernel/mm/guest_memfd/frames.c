// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records of the page frames that belong to the library.
 *
 * A hidden page belongs to a block in a file, to a block that is cut into
 * single pages (cut.c), or to the pool (pool.c), or it is hidden by itself.
 * frames.c records the blocks in files and the pages that are hidden by
 * themselves, until they are moved to the pool, to a cut block or to the page
 * allocator.  Its functions answer for all four kinds.
 */

#include <linux/xarray.h>

#include "../internal.h"
#include "cut.h"
#include "frames.h"
#include "page_state.h"
#include "pool.h"

/*
 * An entry, by pfn >> GM_BLOCK_MAX_ORDER, for each block that is in a file or
 * was removed from its file.
 */
static DEFINE_XARRAY(blocks_by_pfn);

/* An entry, by pfn, for each page that is hidden by itself. */
static DEFINE_XARRAY(lone_pages);

/**
 * gm_add_block - record that a block belongs to a file
 * @pfn: Its first page frame.
 *
 * Context: May sleep.
 * Return: 0, or -ENOMEM.
 */
int gm_add_block(unsigned long pfn)
{
	return xa_err(xa_store(&blocks_by_pfn, pfn >> GM_BLOCK_MAX_ORDER, xa_mk_value(0),
			       GFP_KERNEL));
}

/**
 * gm_forget_block - delete the record that a block belongs to a file
 * @pfn: Its first page frame.
 *
 * Context: Any but interrupt.
 */
void gm_forget_block(unsigned long pfn)
{
	xa_erase(&blocks_by_pfn, pfn >> GM_BLOCK_MAX_ORDER);
}

/**
 * gm_add_lone - record that a page is hidden by itself
 * @page: The page.
 *
 * Context: May sleep.
 * Return: 0, or -ENOMEM.
 */
int gm_add_lone(struct page *page)
{
	return xa_err(xa_store(&lone_pages, page_to_pfn(page), xa_mk_value(0), GFP_KERNEL));
}

/**
 * gm_forget_lone - delete the record that a page is hidden by itself
 * @page: A page that may have such a record.
 *
 * Context: Any but interrupt.
 * Return: True if the page had a record.
 */
bool gm_forget_lone(struct page *page)
{
	return xa_erase(&lone_pages, page_to_pfn(page));
}

/**
 * gm_lone_uses - is a page in a range hidden by itself?
 * @first: First page frame.
 * @last: Last page frame.
 *
 * Context: Any.  The result may be stale.
 * Return: True if there is such a page.
 */
bool gm_lone_uses(unsigned long first, unsigned long last)
{
	return xa_find(&lone_pages, &first, last, XA_PRESENT);
}

/**
 * gm_block_uses - does a block in a range belong to a file?
 * @first: First page frame.
 * @last: Last page frame.
 *
 * Context: Any.  The result may be stale.
 * Return: True if there is such a block.
 */
bool gm_block_uses(unsigned long first, unsigned long last)
{
	unsigned long key = first >> GM_BLOCK_MAX_ORDER;

	return xa_find(&blocks_by_pfn, &key, last >> GM_BLOCK_MAX_ORDER, XA_PRESENT);
}

/**
 * gm_files_use - does a file or a cut block have memory in a range?
 * @first: First page frame of whole blocks.
 * @last: Last page frame.
 *
 * Context: Any.  The result may be stale.
 * Return: True if there is such memory.
 */
bool gm_files_use(unsigned long first, unsigned long last)
{
	return gm_lone_uses(first, last) || gm_block_uses(first, last) ||
	       gm_cut_uses(first, last);
}

/**
 * guest_memfd_owns_pfn - does a page frame belong to the library?
 * @pfn: Any page frame number.
 *
 * The function returns true for pages of NO_DIRECT_MAP files, for pages that
 * were removed from such a file and are not freed yet, for pages of the pool,
 * and for free single pages.
 *
 * Context: Any but interrupt.  The result can change unless the caller has a
 * reference to the page.
 * Return: True for such a page.
 */
bool guest_memfd_owns_pfn(unsigned long pfn)
{
	return gm_lone_uses(pfn, pfn) || gm_pool_owns_pfn(pfn) ||
	       gm_cut_owns_pfn(pfn) || gm_block_uses(pfn, pfn);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_owns_pfn, "kvm");
