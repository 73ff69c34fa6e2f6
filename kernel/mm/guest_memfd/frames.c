// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which page frames are the library's.
 *
 * A hidden page is of a block in a file, of a block that is cut into single pages (cut.c),
 * of the pool (pool.c), or is hidden by itself.  frames.c keeps the first and the last
 * kind, until the page goes to the pool, to a cut block, or to the allocator, and answers
 * for all of them.
 */

#include <linux/xarray.h>

#include "../internal.h"
#include "cut.h"
#include "frames.h"
#include "page_state.h"
#include "pool.h"

/* A value for each block in a file, or that has left its own, by pfn >> GM_BLOCK_MAX_ORDER. */
static DEFINE_XARRAY(blocks_by_pfn);

/* A value for each page that is hidden by itself, by pfn. */
static DEFINE_XARRAY(lone_pages);

/**
 * gm_add_block - note that a block is for a file
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
 * gm_forget_block - note that no file has a block any more
 * @pfn: Its first page frame.
 *
 * Context: Any but interrupt.
 */
void gm_forget_block(unsigned long pfn)
{
	xa_erase(&blocks_by_pfn, pfn >> GM_BLOCK_MAX_ORDER);
}

/**
 * gm_add_lone - note that a page is hidden by itself
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
 * gm_forget_lone - a page is not to be freed as one that was hidden by itself
 * @page: A page that may have been.
 *
 * Context: Any but interrupt.
 * Return: True if it was hidden by itself.
 */
bool gm_forget_lone(struct page *page)
{
	return xa_erase(&lone_pages, page_to_pfn(page));
}

/**
 * gm_lone_uses - is a page hidden by itself in a range?
 * @first: First page frame.
 * @last: The last one.
 *
 * Context: Any.  The answer may be old.
 * Return: True if there is one.
 */
bool gm_lone_uses(unsigned long first, unsigned long last)
{
	return xa_find(&lone_pages, &first, last, XA_PRESENT);
}

/**
 * gm_block_uses - is a block of a file in a range?
 * @first: First page frame.
 * @last: The last one.
 *
 * Context: Any.  The answer may be old.
 * Return: True if there is one.
 */
bool gm_block_uses(unsigned long first, unsigned long last)
{
	unsigned long key = first >> GM_BLOCK_MAX_ORDER;

	return xa_find(&blocks_by_pfn, &key, last >> GM_BLOCK_MAX_ORDER, XA_PRESENT);
}

/**
 * gm_files_use - has any file, or a cut block, memory in a range?
 * @first: First page frame of whole blocks.
 * @last: The last one.
 *
 * Context: Any.  The answer may be old.
 * Return: True if there is any.
 */
bool gm_files_use(unsigned long first, unsigned long last)
{
	return gm_lone_uses(first, last) || gm_block_uses(first, last) ||
	       gm_cut_uses(first, last);
}

/**
 * guest_memfd_owns_pfn - is this page the library's?
 * @pfn: Any page frame number.
 *
 * Finds the pages of NO_DIRECT_MAP files, pages that have left their file and
 * are not freed yet, the pages of the pool, and free single ones.
 *
 * Context: Any.  The answer can change unless the caller holds a reference to
 * the page.
 * Return: True for such a page.
 */
bool guest_memfd_owns_pfn(unsigned long pfn)
{
	return gm_lone_uses(pfn, pfn) || gm_pool_owns_pfn(pfn) ||
	       gm_cut_owns_pfn(pfn) || gm_block_uses(pfn, pfn);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_owns_pfn, "kvm");
