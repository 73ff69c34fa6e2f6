// SPDX-License-Identifier: GPL-2.0-only
/*
 * Temporary mappings that exist on one CPU only.
 *
 * Each CPU has its own mm for them, with its own ASID, which no other CPU loads.
 * temp_map() writes the entries and loads the mm with all exceptions masked;
 * temp_unmap() clears the entries and invalidates them before it loads the
 * task's mm again.
 *
 * The addresses are in the user half (TTBR0), because all CPUs share the page
 * table of the kernel half.  The entries are kernel entries: not accessible from
 * EL0, so that PAN does not apply, and not global.  User space never runs with
 * this mm, so KPTI never uses the user ASID of its pair.
 */

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bitfield.h>
#include <linux/bitops.h>
#include <linux/init.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/mmu_context.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/set_memory.h>
#include <linux/temp_map.h>
#include <linux/uaccess.h>

#include <asm/daifflags.h>
#include <asm/tlbflush.h>

/**
 * struct temp_map_cpu - the temporary mappings of one CPU
 * @mm: The mm that only this CPU loads.
 * @ptep: Entry of the first of TEMP_MAP_PAGES pages at TEMP_MAP_ADDR.  No lock
 *	protects the entries, because only this CPU writes them, with exceptions
 *	masked.
 * @which: Bitmap of the pages that are mapped now.
 * @daif: The exception mask that temp_unmap() restores.
 */
struct temp_map_cpu {
	struct mm_struct *mm;
	pte_t *ptep;
	unsigned long which;
	unsigned long daif;
};

static DEFINE_PER_CPU(struct temp_map_cpu, temp_map_cpu);
static bool ready __ro_after_init;

/**
 * temp_map_ready - can temp_map() be used?
 *
 * Context: Any.
 * Return: False before the initcall, and if the initcall could not allocate
 * memory.
 */
bool temp_map_ready(void)
{
	return ready;
}

/**
 * nmi_uaccess_okay - can an NMI handler access user memory?
 *
 * DAIF does not mask SDEI events, so one can interrupt temp_map().
 *
 * Context: Any.
 * Return: False while this CPU has loaded the mm of its temporary mappings.
 */
bool nmi_uaccess_okay(void)
{
	return !this_cpu_read(temp_map_cpu.which);
}

/*
 * Load @mm: the current task's active_mm or the CPU's own.  With software PAN,
 * uaccess_ttbr0_enable() and the return from exceptions load TTBR0 from
 * thread_info, so update that as well.
 */
static void load_mm(struct mm_struct *mm)
{
	if (mm == &init_mm)
		cpu_set_reserved_ttbr0();
	else
		check_and_switch_context(mm);
	update_saved_ttbr0(current, mm);
}

/**
 * temp_map - map pages on this CPU
 * @first: A page; its struct page is in one array with those of the other
 *	pages.
 * @which: Bit i is set for each page @first + i to map; not 0.
 *
 * Until temp_unmap() all exceptions are masked, and the caller must neither map
 * other pages nor access user memory.
 *
 * Context: Any except interrupt and NMI.
 * Return: The address of @first.  The other pages have the same offsets from it
 * as in memory; an access to a page that is not in @which faults.
 */
void *temp_map(struct page *first, unsigned long which)
{
	/*
	 * Set nG, because without KPTI PAGE_KERNEL is global.  Unlike
	 * PAGE_KERNEL_TAGGED, it does not map the page as tagged memory for MTE.
	 */
	const pgprot_t prot = __pgprot(pgprot_val(PAGE_KERNEL) | PTE_NG);
	struct temp_map_cpu *t;
	unsigned long left, daif;
	pte_t *ptep;

	WARN_ON_ONCE(in_nmi());
	/* local_irq_save() does not mask pseudo-NMIs. */
	daif = local_daif_save();
	pagefault_disable();
	t = this_cpu_ptr(&temp_map_cpu);
	WARN_ON_ONCE(t->which);

	for (left = which, ptep = t->ptep; left; left >>= 1, ptep++, first++) {
		if (left & 1)
			__set_pte(ptep, mk_pte(first, prot));
	}
	t->which = which;
	t->daif = daif;
	/* Make the entries visible to the table walker before the mm is loaded. */
	dsb(ishst);
	load_mm(t->mm);
	if (uaccess_ttbr0_enable())
		post_ttbr_update_workaround();
	return (void *)TEMP_MAP_ADDR;
}

/* Return: The operand of TLBI for @addr in the address space of @asid. */
static u64 tlbi_operand(unsigned long addr, unsigned long asid)
{
	return FIELD_PREP(GENMASK_ULL(63, 48), asid) | FIELD_PREP(GENMASK_ULL(43, 0), addr >> 12);
}

/*
 * Remove the pages of @which from this CPU's TLB while the mm is loaded: one TLBI
 * by address for one page, one TLBI by ASID for several.
 */
VISIBLE_IF_KUNIT void temp_map_invalidate(unsigned long which)
{
	unsigned long asid = ASID(this_cpu_ptr(&temp_map_cpu)->mm);

	KUNIT_STATIC_STUB_REDIRECT(temp_map_invalidate, which);
	dsb(nshst);
	if (is_power_of_2(which))
		__tlbi(vale1, tlbi_operand(TEMP_MAP_ADDR + __ffs(which) * PAGE_SIZE, asid));
	else
		__tlbi(aside1, tlbi_operand(0, asid));
	dsb(nsh);
	isb();
}

/**
 * temp_unmap - undo temp_map()
 *
 * When this returns no TLB has an entry for the pages: only this CPU loads the
 * mm, and it has removed the entries of this ASID.  Exceptions stay masked until
 * the task's mm is loaded again.
 *
 * Context: As temp_map(); restores the exception mask.
 */
void temp_unmap(void)
{
	struct temp_map_cpu *t = this_cpu_ptr(&temp_map_cpu);
	unsigned long left, which = t->which, daif = t->daif;
	pte_t *ptep = t->ptep;

	/* Order the accesses before clearing the entries. */
	barrier();
	for (left = which; left; left >>= 1, ptep++) {
		if (left & 1)
			__set_pte(ptep, __pte(0));
	}
	temp_map_invalidate(which);
	uaccess_ttbr0_disable();
	load_mm(current->active_mm);
	t->which = 0;
	pagefault_enable();
	local_daif_restore(daif);
}

static int __init temp_map_init_cpu(unsigned int cpu)
{
	struct temp_map_cpu *t = per_cpu_ptr(&temp_map_cpu, cpu);
	struct mm_struct *mm = mm_alloc();
	spinlock_t *ptl; /* Protects the page table. */
	pte_t *ptep;

	if (!mm)
		return -ENOMEM;
	/* Allocate the page tables; they are never freed. */
	ptep = get_locked_pte(mm, TEMP_MAP_ADDR, &ptl);
	if (!ptep)
		return -ENOMEM;
	pte_unmap_unlock(ptep, ptl);
	t->mm = mm;
	t->ptep = ptep;
	return 0;
}

static int __init temp_map_init(void)
{
	unsigned int cpu;
	int err;

	BUILD_BUG_ON(TEMP_MAP_PAGES > BITS_PER_LONG || TEMP_MAP_PAGES > PTRS_PER_PTE);
	BUILD_BUG_ON(!IS_ALIGNED(TEMP_MAP_ADDR, TEMP_MAP_PAGES * PAGE_SIZE));
	/*
	 * VA_BITS_MIN instead of VA_BITS, because the CPU may not support
	 * 52-bit addresses.
	 */
	BUILD_BUG_ON(TEMP_MAP_ADDR + TEMP_MAP_PAGES * PAGE_SIZE > BIT(VA_BITS_MIN));
	if (!can_set_direct_map())
		return 0;
	/* On failure, keep the page tables that are allocated already. */
	for_each_possible_cpu(cpu) {
		err = temp_map_init_cpu(cpu);
		if (err)
			return err;
	}
	ready = true;
	return 0;
}
core_initcall(temp_map_init);
