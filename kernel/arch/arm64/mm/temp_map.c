// SPDX-License-Identifier: GPL-2.0-only
/*
 * Temporary mappings that exist on one CPU only.
 *
 * Each CPU has an mm of its own for them, with an ASID of its own, which no other CPU
 * ever loads.  A page is mapped there, used with all exceptions masked, unmapped and
 * invalidated before the CPU returns to the mm that it had loaded.
 *
 * The address is in the user's half, as the other half is one page table for all CPUs.
 * The entries are the kernel's all the same: user space never runs with this mm, PAN does
 * not apply to them, and they are not global.  With KPTI the kernel's half of the
 * pair of ASIDs is the only one that is ever used.
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
 * @ptep: Entry of the first of TEMP_MAP_PAGES pages at TEMP_MAP_ADDR; no lock,
 *	because only this CPU writes them, with exceptions masked.
 * @which: Bits of the pages that are mapped now.
 * @daif: What temp_unmap() restores.
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
 * Return: False before its initcall and where that found no memory.
 */
bool temp_map_ready(void)
{
	return ready;
}

/**
 * nmi_uaccess_okay - is the mm of the current task the one that is loaded?
 *
 * The firmware delivers SDEI events whatever PSTATE masks.
 *
 * Context: Any.
 * Return: False while this CPU has its temporary mappings loaded.
 */
bool nmi_uaccess_okay(void)
{
	return !this_cpu_read(temp_map_cpu.which);
}

/*
 * Load the page table of @mm, which is the current task's active_mm or this CPU's own.  Where
 * software emulates PAN, exceptions restore what thread_info says, and the table
 * is loaded only where user memory is accessed.
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
 * @first: A page, with its struct page in an array with those of @which.
 * @which: Bit i is set for each page @first + i to map; not 0.
 *
 * Until temp_unmap() exceptions are masked, this CPU cannot map other pages, and the user's
 * memory cannot be accessed.
 *
 * Context: Any but interrupt and NMI.
 * Return: The address of @first; the other pages are where they are relative to
 * it, and what is not in @which faults.
 */
void *temp_map(struct page *first, unsigned long which)
{
	/* Not global, as PAGE_KERNEL is without KPTI; and without tags. */
	const pgprot_t prot = __pgprot(pgprot_val(PAGE_KERNEL) | PTE_NG);
	struct temp_map_cpu *t;
	unsigned long left, daif;
	pte_t *ptep;

	WARN_ON_ONCE(in_nmi());
	/* Interrupts off would let pseudo-NMIs in. */
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
	/* The walks of this CPU see the entries, which were not valid before. */
	dsb(ishst);
	load_mm(t->mm);
	if (uaccess_ttbr0_enable())
		post_ttbr_update_workaround();
	return (void *)TEMP_MAP_ADDR;
}

/* What TLBI takes for an address in the address space of an ASID. */
static u64 tlbi_operand(unsigned long addr, unsigned long asid)
{
	return FIELD_PREP(GENMASK_ULL(63, 48), asid) | FIELD_PREP(GENMASK_ULL(43, 0), addr >> 12);
}

/*
 * Remove the pages of @which from this CPU's TLB, while the mm is loaded.  One TLBI for
 * one page; for more, one for the ASID, as little else that it has is worth keeping.
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
 * When this returns no TLB has an entry for the pages: the invalidation removes those of
 * this CPU and this ASID, and no other had them, as the mm is loaded on this CPU only and from
 * temp_map() until now.  Exceptions stay masked until the former mm is loaded.
 *
 * Context: As temp_map(), whose mask this restores.
 */
void temp_unmap(void)
{
	struct temp_map_cpu *t = this_cpu_ptr(&temp_map_cpu);
	unsigned long left, which = t->which, daif = t->daif;
	pte_t *ptep = t->ptep;

	/* All accesses come before the entries are cleared. */
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
	spinlock_t *ptl; /* of the page table */
	pte_t *ptep;

	if (!mm)
		return -ENOMEM;
	/* Allocates the page tables, of which none is ever freed. */
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
	/* VA_BITS is what the CPU may lack. */
	BUILD_BUG_ON(TEMP_MAP_ADDR + TEMP_MAP_PAGES * PAGE_SIZE > BIT(VA_BITS_MIN));
	if (!can_set_direct_map())
		return 0;
	/* Pages of the CPUs before one that fails stay allocated. */
	for_each_possible_cpu(cpu) {
		err = temp_map_init_cpu(cpu);
		if (err)
			return err;
	}
	ready = true;
	return 0;
}
core_initcall(temp_map_init);
