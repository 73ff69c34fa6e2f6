// SPDX-License-Identifier: GPL-2.0-only
/*
 * Temporary mappings for architectures without CONFIG_TEMP_MAP_MM.
 *
 * Each CPU has one page of address space in init_mm, so any CPU can translate
 * the address while a page is mapped there, by speculation for example.
 * temp_unmap() therefore flushes the TLBs of all CPUs, if the architecture's
 * flush_tlb_kernel_range() does.
 */

#include <linux/cacheflush.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/set_memory.h>
#include <linux/temp_map.h>
#include <linux/vmalloc.h>

#include <asm/tlbflush.h>

/* The page table entry of each CPU's page. */
static DEFINE_PER_CPU(pte_t *, temp_ptep);
static struct vm_struct *temp_area __ro_after_init;

/**
 * temp_map_ready - was the address space for temp_map() allocated?
 *
 * Context: Any.
 * Return: False before the initcall, and if the initcall could not allocate
 * memory.
 */
bool temp_map_ready(void)
{
	return temp_area;
}

static unsigned long temp_addr(int cpu)
{
	/* Every other page is unmapped, so that an overrun faults. */
	return (unsigned long)temp_area->addr + 2UL * cpu * PAGE_SIZE;
}

/**
 * temp_map - map a page for this CPU
 * @first: The page.
 * @which: BIT(0).
 *
 * The function disables preemption until temp_unmap(), and this CPU can map no
 * other page meanwhile.
 *
 * Context: Any but interrupt.
 * Return: The address of the mapping.
 */
void *temp_map(struct page *first, unsigned long which)
{
	int cpu = get_cpu();
	unsigned long addr = temp_addr(cpu);
	pte_t *ptep = __this_cpu_read(temp_ptep);

	WARN_ON_ONCE(in_interrupt() || !pte_none(ptep_get(ptep)));
	set_pte_at(&init_mm, addr, ptep, mk_pte(first, PAGE_KERNEL));
	flush_cache_vmap(addr, addr + PAGE_SIZE);
	return (void *)addr;
}

/**
 * temp_unmap - undo temp_map()
 *
 * Context: Any but interrupt; interrupts must be enabled.
 */
void temp_unmap(void)
{
	unsigned long addr = temp_addr(smp_processor_id());

	pte_clear(&init_mm, addr, __this_cpu_read(temp_ptep));
	flush_tlb_kernel_range(addr, addr + PAGE_SIZE);
	put_cpu();
}

static int __init note_temp_pte(pte_t *ptep, unsigned long addr, void *unused)
{
	unsigned long nr = (addr - (unsigned long)temp_area->addr) >> PAGE_SHIFT;

	if (!(nr & 1) && cpu_possible(nr / 2))
		per_cpu(temp_ptep, nr / 2) = ptep;
	return 0;
}

static int __init temp_map_init(void)
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
core_initcall(temp_map_init);
