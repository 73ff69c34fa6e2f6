// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taking pages out of the kernel's direct map, restoring them, and accessing
 * one of them while it is hidden.  No other file of this library edits the
 * direct map, and nothing here is exported to modules.
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

/* Where the architecture makes its entries once and for all. */
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
 * direct_map_can_hide - can single pages leave the direct map on this machine?
 *
 * Context: Any.
 * Return: False where the architecture cannot change the direct map page by
 * page, or where the temporary mapping could not be set up at boot.
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
 * direct_map_nr_hidden - how many pages of the machine are hidden now
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
	/* Some architectures flush in the call for several pages. */
	if (nr_pages > 1)
		return set_direct_map_valid_noflush(page, nr_pages, present);
	if (present)
		return set_direct_map_default_noflush(page);
	return set_direct_map_invalid_noflush(page);
}

/**
 * direct_map_restore - put hidden pages back into the direct map
 * @page: First of @nr_pages contiguous pages, all hidden.
 * @nr_pages: Number of pages.
 *
 * Cannot fail for the pages of one direct_map_hide() together, or for a page
 * that was restored before: all entries it edits are there.  A part of what was
 * hidden as one may need a page table page, the first time.  No TLB flush:
 * absent entries are not cached.
 *
 * Context: May sleep.
 * Return: 0, or -ENOMEM with nothing changed.
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
 * direct_map_split - make sure that a page can be hidden alone
 * @page: A page, in the direct map or hidden.
 *
 * Context: May sleep and allocate a page table.  Flushes the TLBs of all CPUs
 * when a large mapping was split.
 * Return: 0, or -ENOMEM.
 */
int direct_map_split(struct page *page)
{
	KUNIT_STATIC_STUB_REDIRECT(direct_map_split, page);
	return set_direct_map_split(page);
}

/**
 * direct_map_merge - use a large mapping again around a page, where possible
 * @page: A page of the memory that the mapping is to have; it may be hidden.
 * @in_use: Is memory around the page in use that has to be hidden without an allocation?
 *	Then nothing is merged that only an allocation can split.  Asked under a spinlock
 *	that each change of an entry takes.  NULL if the caller knows that there is none.
 *
 * Undoes the split that restoring a part of a large mapping made.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs when something was merged.
 */
void direct_map_merge(struct page *page, bool (*in_use)(struct page *page))
{
	if (set_direct_map_can_merge(page, false))
		set_direct_map_merge(page, false, in_use);
}

/**
 * direct_map_merge_huge - use a mapping of the next level around a large one, where possible
 * @page: A page of the memory that the mapping is to have; it may be hidden.
 * @in_use: As for direct_map_merge(), of all memory that the mapping is to have.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs when something was merged.
 */
void direct_map_merge_huge(struct page *page, bool (*in_use)(struct page *page))
{
	if (set_direct_map_can_merge(page, true))
		set_direct_map_merge(page, true, in_use);
}

/**
 * direct_map_is_split - has a page an entry alone that was part of a large one?
 * @page: A page, hidden or not.
 *
 * Context: May sleep.
 * Return: True where direct_map_merge() would have something to do, once the page and
 * its neighbours are restored.
 */
bool direct_map_is_split(struct page *page)
{
	return set_direct_map_can_merge(page, false);
}

/**
 * direct_map_hide_ranges - take several ranges out of the direct map at once
 * @ranges: Of pages that have no other users.
 * @nr_ranges: Number of ranges.
 *
 * When this returns, no CPU has a translation of the hidden pages through the
 * direct map or another kernel address, in no PCID.  All ranges together take
 * one flush.
 *
 * Context: May sleep and allocate page tables.  Interrupts on: it flushes the
 * TLBs of all CPUs.
 * Return: How many ranges are hidden, from the first on; for the others there
 * was no memory, and they are mapped as before.
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
		/* Some of a range may be out already, from its start on: those needed no split. */
		WARN_ON_ONCE(!kernel_page_present(ranges[done].first) &&
			     set_present(ranges[done].first, ranges[done].nr, true));
		break;
	}
	if (!done)
		return 0;

	/*
	 * One flush for any number of pages, however they were mapped.  On x86,
	 * flush_tlb_all() has every CPU, lazy ones included, drop its global
	 * entries and those of all PCIDs of kernel and user
	 * (__flush_tlb_all()), or broadcasts an INVLPGB that does.
	 * flush_tlb_kernel_range() would use INVLPG for a few pages
	 * (flush_tlb_one_kernel()), which removes non-global entries of the
	 * current PCID only, and with PTI off it takes kernel entries for
	 * global: what is hidden must not depend on that.
	 *
	 * It also covers what other mappings of these pages left in the TLBs:
	 * vunmap() and vm_unmap_ram() clear the entries before the pages are
	 * freed and delay only the flush, so vm_unmap_aliases() is not needed.
	 * A temporary mapping leaves nothing.
	 *
	 * On s390 it does nothing: there, editing the direct map flushes.
	 */
	flush_tlb_all();
	atomic_long_inc(&nr_flushes);
	atomic_long_add(nr_pages, &nr_hidden_pages);
	for (i = 0; i < done; i++)
		trace_guest_memfd_hide(page_to_pfn(ranges[i].first), ranges[i].nr);
	return done;
}

/**
 * direct_map_hide - take pages out of the direct map
 * @page: First of @nr_pages contiguous pages that have no other users.
 * @nr_pages: Number of pages.
 *
 * Context: As direct_map_hide_ranges().
 * Return: 0, or -ENOMEM with the direct map as it was.
 */
int direct_map_hide(struct page *page, unsigned int nr_pages)
{
	const struct gm_range range = { .first = page, .nr = nr_pages };

	return direct_map_hide_ranges(&range, 1) ? 0 : -ENOMEM;
}

/**
 * direct_map_read_hidden - read from a page that may be hidden
 * @page: The page.
 * @offset: Where in the page.
 * @to: Kernel buffer.
 * @len: Number of bytes, up to the end of the page.
 *
 * Context: Any but interrupt; does not sleep.
 * Return: Number of bytes not copied because of a machine check.
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
 * @offset: Where in the page.
 * @from: Kernel buffer.
 * @len: Number of bytes, up to the end of the page.
 *
 * Context: Any but interrupt; does not sleep.
 * Return: Number of bytes not copied because of a machine check.
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
 * @offset: Where in the page, aligned to @size.
 * @old: What must be there; gets what was there.
 * @new: What to put there.
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
 * direct_map_zero_hidden_large - clear pages of a large page
 * @first: First of PTRS_PER_PTE contiguous pages.
 * @which: Which of the pages to clear: they are hidden and not poisoned, and no
 *	other CPU can write to them.
 *
 * Only pages of @which are mapped, at most TEMP_MAP_PAGES at a time.
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
