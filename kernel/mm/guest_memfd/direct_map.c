// SPDX-License-Identifier: GPL-2.0-only
/*
 * Remove pages from the kernel's direct map, restore them, and access a page
 * while it is hidden.  No other file of this library changes the direct map,
 * and this file exports nothing to modules.
 */

#include <kunit/static_stub.h>
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/set_memory.h>
#include <linux/sysfs.h>
#include <linux/temp_map.h>

#include <asm/tlbflush.h>

#include <trace/events/guest_memfd.h>

#include "direct_map.h"

/*
 * The architecture sets up the entries of its direct map at boot, and never
 * splits or merges them.
 */
#ifndef set_direct_map_merge
static int set_direct_map_split(struct page *page)
{
	return 0;
}

static bool set_direct_map_can_merge(struct page *page, bool huge)
{
	return false;
}

static void set_direct_map_merge(struct page *page, bool huge,
				 bool (*in_use)(struct page *page))
{
}
#endif

static atomic_long_t nr_hidden_pages;
static atomic_long_t nr_flushes;

/**
 * direct_map_can_hide - can this machine hide single pages?
 *
 * Context: Any.
 * Return: False if the architecture cannot change the direct map page by page,
 * or if the temporary mapping could not be set up at boot.
 */
bool direct_map_can_hide(void)
{
	return temp_map_ready() && can_set_direct_map();
}

static int get_flushes(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%ld\n", atomic_long_read(&nr_flushes));
}

static const struct kernel_param_ops flushes_ops = {
	.get	= get_flushes,
};

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "guest_memfd."
module_param_cb(flushes, &flushes_ops, NULL, 0444);
MODULE_PARM_DESC(flushes, "How often memory was hidden, each with one flush of all CPUs");

/**
 * direct_map_nr_hidden - get the number of hidden pages of the machine
 *
 * Context: Any.
 * Return: The number of pages, memfd_secret's included.
 */
unsigned long direct_map_nr_hidden(void)
{
	return atomic_long_read(&nr_hidden_pages);
}

static int set_present(struct page *page, unsigned int nr_pages, bool present)
{
	/* Some architectures flush in the function for several pages. */
	if (nr_pages > 1)
		return set_direct_map_valid_noflush(page, nr_pages, present);
	if (present)
		return set_direct_map_default_noflush(page);
	return set_direct_map_invalid_noflush(page);
}

/**
 * direct_map_restore - restore hidden pages in the direct map
 * @page: First of @nr_pages contiguous pages, all hidden.
 * @nr_pages: Number of pages.
 *
 * The function cannot fail for all pages of one direct_map_hide(), nor for a
 * page that was restored alone before, because all entries that it changes
 * exist.  Restoring a part of what was hidden as one piece may allocate a page
 * table the first time.  The function does not flush TLBs, because CPUs do not
 * cache absent entries.
 *
 * Context: May sleep.
 * Return: 0, or -ENOMEM if nothing was changed.
 */
int direct_map_restore(struct page *page, unsigned int nr_pages)
{
	int err;

	KUNIT_STATIC_STUB_REDIRECT(direct_map_restore, page, nr_pages);
	err = set_present(page, nr_pages, true);
	if (err)
		return err;
	atomic_long_sub(nr_pages, &nr_hidden_pages);
	trace_guest_memfd_restore(page_to_pfn(page), nr_pages);
	return 0;
}

/**
 * direct_map_split - make sure that hiding a single page does not allocate
 * @page: A page, in the direct map or hidden.
 *
 * Context: May sleep and allocate a page table.  Flushes the TLBs of all CPUs
 * if it splits a large mapping.
 * Return: 0, or -ENOMEM.
 */
int direct_map_split(struct page *page)
{
	KUNIT_STATIC_STUB_REDIRECT(direct_map_split, page);
	return set_direct_map_split(page);
}

/**
 * direct_map_merge - merge the entries around a page into a large one
 * @page: A page in the range of the large mapping; it may be hidden.
 * @in_use: Callback that returns true if memory around the page must be hidden
 *	later without an allocation.  Then the function merges nothing that only
 *	an allocation could split again.  It calls @in_use under a spinlock that
 *	every change of an entry takes.  NULL if the caller knows that there is
 *	no such memory.
 *
 * If possible, the function undoes the split that restoring a part of a large
 * mapping made.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs if it merges something.
 */
void direct_map_merge(struct page *page, bool (*in_use)(struct page *page))
{
	if (set_direct_map_can_merge(page, false))
		set_direct_map_merge(page, false, in_use);
}

/**
 * direct_map_merge_huge - merge large entries around a page into a larger one
 * @page: A page in the range of the mapping; it may be hidden.
 * @in_use: As for direct_map_merge(), for all memory in that range.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs if it merges something.
 */
void direct_map_merge_huge(struct page *page, bool (*in_use)(struct page *page))
{
	if (set_direct_map_can_merge(page, true))
		set_direct_map_merge(page, true, in_use);
}

/**
 * direct_map_is_split - does a page have an entry of its own after a split?
 * @page: A page, hidden or not.
 *
 * Context: May sleep.
 * Return: True if direct_map_merge() could merge the page's entry once the page
 * and its neighbours are restored.
 */
bool direct_map_is_split(struct page *page)
{
	return set_direct_map_can_merge(page, false);
}

/**
 * direct_map_hide_ranges - remove several ranges from the direct map at once
 * @ranges: Ranges of pages that no other task uses through the direct map.
 * @nr_ranges: Number of ranges.
 *
 * When this function returns, no CPU has a translation of the hidden pages
 * through the direct map or another kernel address, in any PCID.  All ranges
 * together take one flush.
 *
 * Context: May sleep and allocate page tables.  Interrupts must be enabled,
 * because the function flushes the TLBs of all CPUs.
 * Return: The number of ranges, from the first on, that are hidden.  The others
 * could not be hidden because an allocation failed; their mappings are
 * unchanged.
 */
unsigned int direct_map_hide_ranges(const struct gm_range *ranges,
				    unsigned int nr_ranges)
{
	unsigned long nr_pages = 0;
	unsigned int i, done;

	KUNIT_STATIC_STUB_REDIRECT(direct_map_hide_ranges, ranges, nr_ranges);
	for (done = 0; done < nr_ranges; done++) {
		if (!set_present(ranges[done].first, ranges[done].nr, false)) {
			nr_pages += ranges[done].nr;
			continue;
		}
		/*
		 * The call may have removed some pages at the start of the
		 * range, for which it needed no split.
		 */
		WARN_ON_ONCE(!kernel_page_present(ranges[done].first) &&
			     set_present(ranges[done].first, ranges[done].nr, true));
		break;
	}
	if (!done)
		return 0;

	/*
	 * One flush for any number of pages, however they were mapped.  On x86,
	 * flush_tlb_all() makes every CPU, lazy ones included, drop its global
	 * entries and those of all kernel and user PCIDs (__flush_tlb_all()),
	 * or broadcasts an INVLPGB that does.  flush_tlb_kernel_range() would
	 * use INVLPG for a few pages (flush_tlb_one_kernel()).  INVLPG removes
	 * non-global entries of the current PCID only, and with PTI off
	 * flush_tlb_one_kernel() assumes that kernel entries are global.
	 * Whether a page is hidden must not depend on that.
	 *
	 * The flush also covers TLB entries of former mappings of these pages
	 * at other addresses: vunmap() and vm_unmap_ram() clear the page table
	 * entries before the pages are freed and delay only the flush, so no
	 * vm_unmap_aliases() is needed.  A temporary mapping leaves no TLB
	 * entry behind.
	 *
	 * On s390 flush_tlb_all() does nothing, because changing the direct map
	 * flushes there.
	 */
	flush_tlb_all();
	atomic_long_inc(&nr_flushes);
	atomic_long_add(nr_pages, &nr_hidden_pages);
	for (i = 0; i < done; i++)
		trace_guest_memfd_hide(page_to_pfn(ranges[i].first), ranges[i].nr);
	return done;
}

/**
 * direct_map_hide - remove pages from the direct map
 * @page: First of @nr_pages contiguous pages that no other task uses through
 *	the direct map.
 * @nr_pages: Number of pages.
 *
 * Context: As direct_map_hide_ranges().
 * Return: 0, or -ENOMEM if the direct map is unchanged.
 */
int direct_map_hide(struct page *page, unsigned int nr_pages)
{
	const struct gm_range range = { .first = page, .nr = nr_pages };

	return direct_map_hide_ranges(&range, 1) ? 0 : -ENOMEM;
}

/**
 * direct_map_read_hidden - read from a page that may be hidden
 * @page: The page.
 * @offset: Offset in the page, in bytes.
 * @to: Kernel buffer to copy to.
 * @len: Number of bytes, up to the end of the page.
 *
 * Context: Any but interrupt; does not sleep.
 * Return: The number of bytes that were not copied because of a machine check.
 */
unsigned long direct_map_read_hidden(struct page *page, unsigned int offset,
				     void *to, unsigned int len)
{
	unsigned long left;

	left = temp_copy(to, temp_map(page, BIT(0)) + offset, len);
	temp_unmap();
	return left;
}

/**
 * direct_map_write_hidden - write to a page that may be hidden
 * @page: The page.
 * @offset: Offset in the page, in bytes.
 * @from: Kernel buffer to copy from.
 * @len: Number of bytes, up to the end of the page.
 *
 * Context: Any but interrupt; does not sleep.
 * Return: The number of bytes that were not copied because of a machine check.
 */
unsigned long direct_map_write_hidden(struct page *page, unsigned int offset,
				      const void *from, unsigned int len)
{
	unsigned long left;

	left = temp_copy(temp_map(page, BIT(0)) + offset, from, len);
	temp_unmap();
	return left;
}

/**
 * direct_map_cmpxchg_hidden - compare and exchange in a page that may be hidden
 * @page: The page.
 * @offset: Offset in the page, in bytes, aligned to @size.
 * @old: The expected value; receives the value that was found.
 * @new: The value to store.
 * @size: 1, 2, 4 or 8 bytes.
 *
 * Context: Any but interrupt; does not sleep.
 * Return: As temp_cmpxchg().
 */
int direct_map_cmpxchg_hidden(struct page *page, unsigned int offset, void *old,
			      const void *new, unsigned int size)
{
	int ret;

	ret = temp_cmpxchg(temp_map(page, BIT(0)) + offset, old, new, size);
	temp_unmap();
	return ret;
}

static void zero_hidden(struct page *first, unsigned long which)
{
	void *vaddr = temp_map(first, which);

	for (; which; which >>= 1, vaddr += PAGE_SIZE) {
		if (which & 1)
			clear_page(vaddr);
	}
	temp_unmap();
}

/**
 * direct_map_zero_hidden - clear a hidden page without restoring it
 * @page: A hidden page that no other CPU can write to.
 *
 * Context: Any but interrupt; does not sleep.
 */
void direct_map_zero_hidden(struct page *page)
{
	zero_hidden(page, BIT(0));
}

/**
 * direct_map_zero_hidden_large - clear pages of a block
 * @first: First of PTRS_PER_PTE contiguous pages.
 * @which: A bit for each page to clear.  These pages are hidden and not
 *	poisoned, and no other CPU can write to them.
 *
 * The function maps only pages of @which, at most TEMP_MAP_PAGES at a time.
 *
 * Context: May sleep.
 */
void direct_map_zero_hidden_large(struct page *first, const unsigned long *which)
{
	unsigned int start;

	for (start = 0; start < PTRS_PER_PTE; start += TEMP_MAP_PAGES) {
		unsigned long chunk = bitmap_read(which, start, TEMP_MAP_PAGES);

		if (!chunk)
			continue;
		zero_hidden(first + start, chunk);
		cond_resched();
	}
}
