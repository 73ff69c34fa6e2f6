// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taking pages out of the kernel's direct map, giving them back, and reaching
 * one of them for an instant while it is out.  Nobody else in this library
 * edits the direct map, and nothing here is exported to modules.
 */

#include <kunit/static_stub.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/set_memory.h>
#include <linux/vmalloc.h>

#include <asm/tlbflush.h>

#define CREATE_TRACE_POINTS
#include <trace/events/guest_memfd.h>

#include "direct_map.h"

static atomic_long_t nr_hidden_pages;

/*
 * Uses of the temporary mappings, and how many of them a flush of all CPUs has
 * followed.  See direct_map_hide().
 */
static atomic_long_t temp_uses;
static atomic_long_t temp_uses_flushed;

/* The page table entry behind each CPU's temporary mapping. */
static DEFINE_PER_CPU(pte_t *, temp_ptep);
static struct vm_struct *temp_area __ro_after_init;

/* The same for a whole large page, where the architecture has such mappings. */
static DEFINE_PER_CPU(pmd_t *, temp_pmdp);
static unsigned long temp_large_base __ro_after_init;
static atomic_long_t temp_large_uses;
static atomic_long_t temp_large_uses_flushed;

/**
 * direct_map_can_hide - can single pages leave the direct map on this machine?
 *
 * Context: Any.
 * Return: False where the architecture cannot change the direct map page by
 * page, or where the temporary mapping could not be set up at boot.
 */
bool direct_map_can_hide(void)
{
	return temp_area && can_set_direct_map();
}

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

/* From this on, or where there are gaps, page by page is the slower way. */
#define FLUSH_ALL_PAGES 64

static void flush_all(void)
{
	long uses = atomic_long_read(&temp_uses);
	long large_uses = atomic_long_read(&temp_large_uses);

	flush_tlb_all();
	atomic_long_set(&temp_uses_flushed, uses);
	atomic_long_set(&temp_large_uses_flushed, large_uses);
}

/**
 * direct_map_flush_temp - make former temporary mappings useless on all CPUs
 *
 * A CPU that speculates through the address of another CPU's temporary mapping
 * may have cached the entry, and only the mapping's own CPU has flushed it.
 * That does not matter until there are secrets in the page again: to be called
 * before it is used again without a direct_map_hide().
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs if a mapping was used since
 * the last time.
 */
void direct_map_flush_temp(void)
{
	long uses = atomic_long_read(&temp_uses);
	unsigned long start = (unsigned long)temp_area->addr;

	if (atomic_long_read(&temp_large_uses_flushed) <
	    atomic_long_read(&temp_large_uses)) {
		flush_all();
		return;
	}
	if (atomic_long_read(&temp_uses_flushed) >= uses)
		return;
	flush_tlb_kernel_range(start, start + temp_area->size);
	/* May set it back, if others flush as well: then one flush too many. */
	atomic_long_set(&temp_uses_flushed, uses);
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
 * @page: A page that is in the direct map.
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
 * @page: A page that is restored, and its neighbours as well, and nobody uses.
 *
 * Undoes the split that restoring a part of a large mapping made.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs when something was merged.
 */
void direct_map_merge(struct page *page)
{
	set_direct_map_merge(page);
}

/**
 * direct_map_hide_ranges - take several ranges out of the direct map at once
 * @first: First pages of the ranges, which nobody else uses.
 * @nr_ranges: Number of ranges.
 * @nr_pages: Number of contiguous pages of each.
 *
 * When this returns no CPU has a way to the hidden pages through the direct
 * map, a former temporary mapping or one of vmalloc()'s, neither in the page
 * table nor in a TLB.  All ranges together take one flush.
 *
 * Context: May sleep and allocate page tables.  Interrupts on: it flushes the
 * TLBs of all CPUs.
 * Return: How many ranges are hidden, from the first on; for the others there
 * was no memory, and they are mapped as before.
 */
unsigned int direct_map_hide_ranges(struct page *const *first,
				    unsigned int nr_ranges,
				    unsigned int nr_pages)
{
	unsigned int i, done;

	KUNIT_STATIC_STUB_REDIRECT(direct_map_hide_ranges, first, nr_ranges,
				   nr_pages);
	for (done = 0; done < nr_ranges; done++) {
		if (!set_present(first[done], nr_pages, false))
			continue;
		/* Some of a range may be out already: those needed no split. */
		WARN_ON_ONCE(set_present(first[done], nr_pages, true));
		break;
	}
	if (!done)
		return 0;

	if (done > 1 || nr_pages >= FLUSH_ALL_PAGES) {
		flush_all();
	} else {
		unsigned long addr = (unsigned long)page_address(first[0]);

		flush_tlb_kernel_range(addr, addr + nr_pages * PAGE_SIZE);
		direct_map_flush_temp();
		/* vfree() frees pages first, and flushes their addresses later. */
		vm_unmap_aliases();
	}
	atomic_long_add(done * nr_pages, &nr_hidden_pages);
	for (i = 0; i < done; i++)
		trace_guest_memfd_hide(page_to_pfn(first[i]), nr_pages);
	return done;
}

/**
 * direct_map_hide - take pages out of the direct map
 * @page: First of @nr_pages contiguous pages that nobody else uses.
 * @nr_pages: Number of pages.
 *
 * Context: As direct_map_hide_ranges().
 * Return: 0, or -ENOMEM with the direct map as it was.
 */
int direct_map_hide(struct page *page, unsigned int nr_pages)
{
	return direct_map_hide_ranges(&page, 1, nr_pages) ? 0 : -ENOMEM;
}

/* One entry maps all of @size. */
static void temp_flush(unsigned long addr, unsigned long size)
{
#ifdef CONFIG_X86
	/* No other CPU uses this address: no interrupt to them now. */
	flush_tlb_one_kernel(addr);
#else
	flush_tlb_kernel_range(addr, addr + size);
#endif
}

static unsigned long temp_addr(int cpu)
{
	/* Every other page stays a hole, so that an overrun faults. */
	return (unsigned long)temp_area->addr + 2UL * cpu * PAGE_SIZE;
}

/**
 * direct_map_temp_map - map a hidden page on this CPU for a moment
 * @page: The page.
 *
 * Until direct_map_temp_unmap() preemption is off, and this CPU can map no other
 * page in this way.
 *
 * Context: Process context, also with interrupts off.
 * Return: Its address, for this CPU only.
 */
void *direct_map_temp_map(struct page *page)
{
	int cpu = get_cpu();
	unsigned long addr = temp_addr(cpu);
	pte_t *ptep = __this_cpu_read(temp_ptep);

	WARN_ON_ONCE(in_interrupt() || !pte_none(ptep_get(ptep)));
	set_pte_at(&init_mm, addr, ptep, mk_pte(page, PAGE_KERNEL));
	flush_cache_vmap(addr, addr + PAGE_SIZE);
	return (void *)addr;
}

/**
 * direct_map_temp_unmap - undo direct_map_temp_map()
 * @vaddr: What it returned.
 */
void direct_map_temp_unmap(void *vaddr)
{
	unsigned long addr = (unsigned long)vaddr;

	pte_clear(&init_mm, addr, __this_cpu_read(temp_ptep));
	/* The page may have another owner as soon as the caller goes on. */
	temp_flush(addr, PAGE_SIZE);
	atomic_long_inc(&temp_uses);
	put_cpu();
}

/**
 * direct_map_zero_hidden - clear a hidden page without restoring it
 * @page: A hidden page that nobody else can write to.
 *
 * Context: Process context; does not sleep.
 */
void direct_map_zero_hidden(struct page *page)
{
	void *vaddr = direct_map_temp_map(page);

	clear_page(vaddr);
	direct_map_temp_unmap(vaddr);
}

/* So many are cleared before others get the CPU. */
#define TEMP_LARGE_CHUNK 64

/**
 * direct_map_zero_hidden_large - clear what is left in a large page
 * @first: First of the pages that a PMD maps: all are hidden, none is poisoned,
 *	and nobody has a secret in those that are not to be cleared.
 * @which: Which of the pages to clear.
 *
 * While this goes on the whole large page can be reached by the CPU it runs on.
 *
 * Context: May sleep.
 */
void direct_map_zero_hidden_large(struct page *first,
				  const unsigned long *which)
{
	unsigned int start, i;

	for (start = 0; start < PTRS_PER_PTE; start += TEMP_LARGE_CHUNK) {
		unsigned int end = min(start + TEMP_LARGE_CHUNK,
				       (unsigned int)PTRS_PER_PTE);
		unsigned long addr;
		bool mapped;
		pmd_t *pmdp;
		int cpu;

		i = find_next_bit(which, end, start);
		if (i >= end)
			continue;

		cpu = get_cpu();
		pmdp = __this_cpu_read(temp_pmdp);
		addr = temp_large_base + (unsigned long)cpu * PMD_SIZE;
		mapped = pmdp && pmd_set_huge(pmdp, page_to_phys(first),
					      PAGE_KERNEL);
		if (mapped)
			flush_cache_vmap(addr, addr + PMD_SIZE);
		for (; i < end; i = find_next_bit(which, end, i + 1)) {
			if (mapped)
				clear_page((void *)(addr + i * PAGE_SIZE));
			else
				direct_map_zero_hidden(first + i);
		}
		if (mapped) {
			pmd_clear_huge(pmdp);
			temp_flush(addr, PMD_SIZE);
			atomic_long_inc(&temp_large_uses);
		}
		put_cpu();
		cond_resched();
	}
}

static int __init note_temp_pte(pte_t *ptep, unsigned long addr, void *unused)
{
	unsigned long nr = (addr - (unsigned long)temp_area->addr) >> PAGE_SHIFT;

	if (!(nr & 1) && cpu_possible(nr / 2))
		per_cpu(temp_ptep, nr / 2) = ptep;
	return 0;
}

static pmd_t *__init large_pmd(unsigned long addr)
{
	p4d_t *p4d = p4d_alloc(&init_mm, pgd_offset_k(addr), addr);
	pud_t *pud = p4d ? pud_alloc(&init_mm, p4d, addr) : NULL;

	return pud ? pmd_alloc(&init_mm, pud, addr) : NULL;
}

/* Without it pages are cleared one by one. */
static void __init large_init(void)
{
	struct vm_struct *area;
	int cpu;

	if (!arch_vmap_pmd_supported(PAGE_KERNEL))
		return;
	/* One more, for the alignment. */
	area = get_vm_area((nr_cpu_ids + 1) * PMD_SIZE, VM_MAP);
	if (!area)
		return;
	temp_large_base = ALIGN((unsigned long)area->addr, PMD_SIZE);
	for_each_possible_cpu(cpu)
		per_cpu(temp_pmdp, cpu) =
			large_pmd(temp_large_base + (unsigned long)cpu * PMD_SIZE);
}

static int __init direct_map_init(void)
{
	unsigned long size = 2UL * nr_cpu_ids * PAGE_SIZE;
	int err;

	if (!can_set_direct_map())
		return 0;
	temp_area = get_vm_area(size, VM_MAP);
	if (!temp_area)
		return -ENOMEM;
	err = apply_to_page_range(&init_mm, (unsigned long)temp_area->addr,
				  size, note_temp_pte, NULL);
	if (err) {
		free_vm_area(temp_area);
		temp_area = NULL;
		return err;
	}
	large_init();
	return 0;
}
core_initcall(direct_map_init);
