// SPDX-License-Identifier: GPL-2.0-only
/*
 * Temporary mappings that exist on one CPU only.
 *
 * Each CPU has its own mm for them, which no other CPU ever loads.  temp_map()
 * maps pages there with interrupts disabled; temp_unmap() unmaps and
 * invalidates them before the CPU returns to the mm that it had loaded.
 *
 * The address is that of the LDT remap: a slot of the top-level page table in
 * the kernel half that is private to each mm (with PTI, arch/x86/kernel/ldt.c
 * fills it in the mm of a process).  In init_mm and in the user page table of
 * PTI the slot is empty.  An address in the user half would need lass_stac()
 * around each access, and the kernel's copy routines could not be called.
 */

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bitops.h>
#include <linux/cpufeature.h>
#include <linux/init.h>
#include <linux/irqflags.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/mmu_context.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/set_memory.h>
#include <linux/temp_map.h>

#include <asm/paravirt.h>
#include <asm/tlbflush.h>

/**
 * struct temp_map_cpu - the temporary mappings of one CPU
 * @mm: The mm that only this CPU loads.
 * @ptep: Entry of the first of TEMP_MAP_PAGES pages at LDT_BASE_ADDR.  No lock
 *	protects the entries, because only this CPU writes them, with interrupts
 *	disabled.
 * @which: Bitmap of the pages that are mapped now.
 * @prev: The mm that temp_unmap() loads again.
 * @irq_flags: The interrupt state that temp_unmap() restores.
 */
struct temp_map_cpu {
	struct mm_struct *mm;
	pte_t *ptep;
	unsigned long which;
	struct mm_struct *prev;
	unsigned long irq_flags;
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
 * temp_map - map pages on this CPU
 * @first: A page; its struct page is in one array with those of the other
 *	pages.
 * @which: Bit i is set for each page @first + i to map; not 0.
 *
 * Until temp_unmap() interrupts are disabled, and this CPU cannot map other
 * pages.
 *
 * Context: Any except NMI and a hard interrupt that has interrupted temp_map().
 * Return: The address of @first.  The other pages have the same offsets from it
 * as in memory; an access to a page that is not in @which faults.
 */
void *temp_map(struct page *first, unsigned long which)
{
	/*
	 * The entries must not be global, because a write to CR3 does not
	 * invalidate global entries, and other mms use the slot for something
	 * else.
	 */
	const pgprot_t prot = __pgprot(pgprot_val(PAGE_KERNEL) & ~_PAGE_GLOBAL);
	unsigned long flags, left;
	struct temp_map_cpu *t;
	pte_t *ptep;

	WARN_ON_ONCE(in_nmi());
	local_irq_save(flags);
	t = this_cpu_ptr(&temp_map_cpu);
	WARN_ON_ONCE(t->which);

	for (left = which, ptep = t->ptep; left; left >>= 1, ptep++, first++) {
		if (left & 1)
			set_pte(ptep, mk_pte(first, prot));
	}
	t->which = which;
	t->irq_flags = flags;
	/*
	 * This writes CR3 and is a compiler barrier, so the page walker sees
	 * the new entries.
	 */
	t->prev = use_temporary_mm(t->mm);
	return (void *)LDT_BASE_ADDR;
}

/*
 * Remove the pages of @which from this CPU's TLB while the mm is loaded:
 * entries that stay in the TLB under its PCID become usable again when the mm
 * is loaded the next time.
 *
 * For one page, use INVLPG.  For more, write CR3 once: little else that the TLB
 * holds for this PCID is worth keeping.  Without PCIDs, unuse_temporary_mm()
 * flushes the entries, because it loads the CR3 of another mm.
 */
VISIBLE_IF_KUNIT void temp_map_invalidate(unsigned long which)
{
	KUNIT_STATIC_STUB_REDIRECT(temp_map_invalidate, which);
	if (!cpu_feature_enabled(X86_FEATURE_PCID))
		return;
	if (is_power_of_2(which))
		flush_tlb_one_user(LDT_BASE_ADDR + __ffs(which) * PAGE_SIZE);
	else
		flush_tlb_local();
}

/**
 * temp_unmap - undo temp_map()
 *
 * When this returns, no TLB of any CPU has an entry for the pages: the mm was
 * loaded on this CPU only, and only since temp_map(), so no PCID but the loaded
 * one has such entries, and the flush removes those.  Interrupts stay disabled
 * until the former mm is loaded.
 *
 * Context: As temp_map(), whose interrupt state this restores.
 */
void temp_unmap(void)
{
	struct temp_map_cpu *t = this_cpu_ptr(&temp_map_cpu);
	unsigned long left, which = t->which, addr = LDT_BASE_ADDR;
	pte_t *ptep = t->ptep;

	/* Order all accesses before clearing the entries. */
	barrier();
	for (left = which; left; left >>= 1, ptep++, addr += PAGE_SIZE) {
		if (left & 1)
			pte_clear(t->mm, addr, ptep);
	}
	temp_map_invalidate(which);
	t->which = 0;
	unuse_temporary_mm(t->prev);
	local_irq_restore(t->irq_flags);
}

static int __init temp_map_init_cpu(unsigned int cpu)
{
	struct temp_map_cpu *t = per_cpu_ptr(&temp_map_cpu, cpu);
	struct mm_struct *mm = mm_alloc();
	spinlock_t *ptl; /* Protects the page table. */
	pte_t *ptep;

	if (!mm)
		return -ENOMEM;
	/* Xen PV guests need the top level to be pinned. */
	paravirt_enter_mmap(mm);
	/*
	 * Make switch_mm() and TLB flushes accept that no CPU is in its
	 * mm_cpumask().
	 */
	set_notrack_mm(mm);
	/* Allocate the page tables; they are never freed. */
	ptep = get_locked_pte(mm, LDT_BASE_ADDR, &ptl);
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

	BUILD_BUG_ON(TEMP_MAP_PAGES > BITS_PER_LONG);
	if (!can_set_direct_map())
		return 0;
	/* On failure, keep the mms that are allocated already. */
	for_each_possible_cpu(cpu) {
		err = temp_map_init_cpu(cpu);
		if (err)
			return err;
	}
	ready = true;
	return 0;
}
core_initcall(temp_map_init);
