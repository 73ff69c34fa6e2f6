// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taking pages out of the kernel's direct map, giving them back, and reaching
 * one of them for an instant while it is out.  Nobody else in this library
 * edits the direct map, and nothing here is exported to modules.
 */

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

/*
 * A CPU that speculates through the address of another CPU's temporary mapping
 * may have cached the entry, and only the mapping's own CPU has flushed it.
 * That does not matter until the page is to be hidden again.
 */
static void flush_temp_mappings(void)
{
	long uses = atomic_long_read(&temp_uses);
	unsigned long start = (unsigned long)temp_area->addr;

	if (atomic_long_read(&temp_uses_flushed) >= uses)
		return;
	flush_tlb_kernel_range(start, start + temp_area->size);
	/* May set it back, if others flush as well: then one flush too many. */
	atomic_long_set(&temp_uses_flushed, uses);
}

/**
 * direct_map_restore - put hidden pages back into the direct map
 * @page: First of @nr_pages contiguous pages, all hidden.
 * @nr_pages: As many as the matching direct_map_hide(), or fewer: but then
 *	the page table was split before, by the operation that wants fewer.
 *
 * Needs no memory, because what had to be split was split when the pages were
 * hidden; and no TLB flush, because absent entries are not cached.
 *
 * Context: May sleep.
 * Return: 0, or an error that should be impossible.  The pages must then not
 * be given to anybody.
 */
int direct_map_restore(struct page *page, unsigned int nr_pages)
{
	int err = set_present(page, nr_pages, true);

	if (WARN_ON_ONCE(err))
		return err;
	atomic_long_sub(nr_pages, &nr_hidden_pages);
	trace_restore(page_to_pfn(page), nr_pages);
	return 0;
}

/**
 * direct_map_hide - take pages out of the direct map
 * @page: First of @nr_pages contiguous pages that nobody else uses.
 * @nr_pages: Number of pages.
 *
 * When this returns 0 no CPU has a way to the pages through the direct map or a
 * former temporary mapping, neither in the page table nor in a TLB.
 *
 * Context: May sleep and allocate page tables.  Interrupts on: it flushes the
 * TLBs of all CPUs.
 * Return: 0, or -ENOMEM with the direct map as it was.
 */
int direct_map_hide(struct page *page, unsigned int nr_pages)
{
	unsigned long addr = (unsigned long)page_address(page);
	int err;

	err = set_present(page, nr_pages, false);
	if (err) {
		/* Some of a range may be out already: those needed no split. */
		WARN_ON_ONCE(set_present(page, nr_pages, true));
		return err;
	}
	flush_tlb_kernel_range(addr, addr + nr_pages * PAGE_SIZE);
	flush_temp_mappings();
	atomic_long_add(nr_pages, &nr_hidden_pages);
	trace_hide(page_to_pfn(page), nr_pages);
	return 0;
}

static void temp_flush(unsigned long addr)
{
#ifdef CONFIG_X86
	/* No other CPU uses this address: no interrupt to them now. */
	flush_tlb_one_kernel(addr);
#else
	flush_tlb_kernel_range(addr, addr + PAGE_SIZE);
#endif
}

static unsigned long temp_addr(int cpu)
{
	/* Every other page stays a hole, so that an overrun faults. */
	return (unsigned long)temp_area->addr + 2UL * cpu * PAGE_SIZE;
}

/*
 * The mapping belongs to this CPU from here to temp_unmap(): preemption is
 * off in between, and interrupt handlers do not use it.
 */
static void *temp_map(struct page *page)
{
	int cpu = get_cpu();
	unsigned long addr = temp_addr(cpu);
	pte_t *ptep = __this_cpu_read(temp_ptep);

	WARN_ON_ONCE(in_interrupt() || !pte_none(ptep_get(ptep)));
	set_pte_at(&init_mm, addr, ptep, mk_pte(page, PAGE_KERNEL));
	return (void *)addr;
}

static void temp_unmap(void *vaddr)
{
	unsigned long addr = (unsigned long)vaddr;

	pte_clear(&init_mm, addr, __this_cpu_read(temp_ptep));
	/* The page may have another owner as soon as the caller goes on. */
	temp_flush(addr);
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
	void *vaddr = temp_map(page);

	clear_page(vaddr);
	temp_unmap(vaddr);
}

static int __init note_temp_pte(pte_t *ptep, unsigned long addr, void *unused)
{
	unsigned long nr = (addr - (unsigned long)temp_area->addr) >> PAGE_SHIFT;

	if (!(nr & 1) && cpu_possible(nr / 2))
		per_cpu(temp_ptep, nr / 2) = ptep;
	return 0;
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
	}
	return err;
}
core_initcall(direct_map_init);
