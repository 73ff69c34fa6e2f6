// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entries of the linear map: splits that are undone.
 *
 * On a CPU with level 3 of FEAT_BBM the linear map has blocks of 1 GiB and 2 MiB, and
 * groups of 16 blocks or pages with the contiguous bit.  A change of less than
 * that splits it.  A merge makes the large entry again, once all that it covered is alike.
 *
 * Who excludes whom:
 *	- A split holds pgtable_split_lock (arch/arm64/mm/mmu.c); so does a merge.
 *	- A change of entries looks at their size and writes them under kernel_leaf_lock, without
 *	  sleeping; a merge reads and replaces them under it, and a split takes a group apart under
 *	  it.  So nobody writes into a table that a merge has replaced, or writes one entry of a
 *	  group that has been made, or of which a split has done a part.
 *	- Who reads entries without a lock, as kernel_page_present() does, is in an RCU
 *	  read section: a table that was replaced is freed after a grace period.
 *	- ptdump holds the mmap lock of init_mm for writing, and a merge for reading.
 *	- KFENCE and debug_pagealloc change entries in any context, and take none of these
 *	  locks.  No merge has pages of KFENCE; with debug_pagealloc there are no
 *	  large entries.
 */

#include <linux/cpufeature.h>
#include <linux/kfence.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mutex.h>
#include <linux/pgalloc.h>
#include <linux/rcupdate.h>
#include <linux/set_memory.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>

#include <asm/mmu.h>
#include <asm/tlbflush.h>

/**
 * arch_can_hide_guest_memory - does nothing need guest memory in the linear map?
 *
 * Without FWB and DIC the kernel maintains caches by the address in the linear map when it
 * maps a page into a guest, or into user space to be executed.  FWB implies IDC.
 *
 * Context: Any, once the CPUs of boot are up.
 * Return: True where no cache maintenance is needed.
 */
bool arch_can_hide_guest_memory(void)
{
	return cpus_have_final_cap(ARM64_HAS_STAGE2_FWB) &&
	       cpus_have_final_cap(ARM64_HAS_CACHE_DIC);
}

/**
 * set_direct_map_merges - can the size of an entry change while it is in use?
 *
 * Context: Any.
 * Return: True where the linear map has blocks, which are split and merged.
 */
bool set_direct_map_merges(void)
{
	return system_supports_bbml3() && !debug_pagealloc_enabled();
}

/*
 * leaf_size - how much memory shares the entry, or the group of entries, of an address
 * @addr: An address that the kernel's page table has an entry for.
 *
 * Return: The size in bytes; PAGE_SIZE also where there is no entry.
 */
static unsigned long leaf_size(unsigned long addr)
{
	pgd_t *pgdp = pgd_offset_k(addr);
	p4d_t *p4dp;
	pud_t *pudp, pud;
	pmd_t *pmdp, pmd;

	if (!pgd_present(pgdp_get(pgdp)))
		return PAGE_SIZE;
	p4dp = p4d_offset(pgdp, addr);
	if (!p4d_present(p4dp_get(p4dp)))
		return PAGE_SIZE;
	pudp = pud_offset(p4dp, addr);
	pud = pudp_get(pudp);
	if (!pud_present(pud))
		return PAGE_SIZE;
	if (pud_leaf(pud))
		return PUD_SIZE;
	pmdp = pmd_offset(pudp, addr);
	pmd = pmdp_get(pmdp);
	if (!pmd_present(pmd))
		return PAGE_SIZE;
	if (pmd_leaf(pmd))
		return pmd_cont(pmd) ? CONT_PMD_SIZE : PMD_SIZE;
	return pte_cont(__ptep_get(pte_offset_kernel(pmdp, addr))) ? CONT_PTE_SIZE : PAGE_SIZE;
}

/* Does an entry, or a group, have memory on both sides of @addr? */
static bool spans(unsigned long addr)
{
	return !IS_ALIGNED(addr, leaf_size(addr));
}

static pud_t *lookup_pud(unsigned long addr)
{
	pgd_t *pgdp = pgd_offset_k(addr);
	p4d_t *p4dp;
	pud_t *pudp;

	if (!pgd_present(pgdp_get(pgdp)))
		return NULL;
	p4dp = p4d_offset(pgdp, addr);
	if (!p4d_present(p4dp_get(p4dp)))
		return NULL;
	pudp = pud_offset(p4dp, addr);
	return pud_present(pudp_get(pudp)) ? pudp : NULL;
}

/* The entry of 2 MiB around @addr, or what stands for a table; NULL in a larger block. */
static pmd_t *lookup_pmd(unsigned long addr)
{
	pud_t *pudp = lookup_pud(addr);
	pmd_t *pmdp;

	if (!pudp || pud_leaf(pudp_get(pudp)))
		return NULL;
	pmdp = pmd_offset(pudp, addr);
	return pmd_present(pmdp_get(pmdp)) ? pmdp : NULL;
}

/* Let each entry of the group around @addr be one alone.  Takes no memory. */
static void take_group_apart(unsigned long addr)
{
	pmd_t *pmdp = lookup_pmd(addr);
	unsigned int i;
	pte_t *ptep;

	lockdep_assert_held(&kernel_leaf_lock);
	if (pmd_leaf(pmdp_get(pmdp))) {
		pmdp = PTR_ALIGN_DOWN(pmdp, sizeof(*pmdp) * CONT_PMDS);
		for (i = 0; i < CONT_PMDS; i++, pmdp++)
			set_pmd(pmdp, pmd_mknoncont(pmdp_get(pmdp)));
		return;
	}
	ptep = pte_offset_kernel(pmdp, addr);
	ptep = PTR_ALIGN_DOWN(ptep, sizeof(*ptep) * CONT_PTES);
	for (i = 0; i < CONT_PTES; i++, ptep++)
		__set_pte(ptep, pte_mknoncont(__ptep_get(ptep)));
}

/**
 * direct_map_begin_change - give a range entries alone, and keep them so
 * @start: Address of the range, on a page boundary.
 * @end: Its end.
 * @locked: Set to whether a lock is held, for direct_map_end_change().
 *
 * Context: May sleep before it returns, and allocate page tables, where the linear map has
 * blocks.  The caller must not sleep before direct_map_end_change().
 * Return: 0, or as split_kernel_leaf_mapping(), without the lock.
 */
int direct_map_begin_change(unsigned long start, unsigned long end, bool *locked)
{
	unsigned long split, size;
	int err;

	*locked = set_direct_map_merges() && !is_kfence_address((void *)start);
	if (!*locked)
		return split_kernel_leaf_mapping(start, end);

	spin_lock(&kernel_leaf_lock);
	while (spans(start) || spans(end)) {
		split = spans(start) ? start : end;
		size = leaf_size(split);
		/* Reclaim may be here, on behalf of who allocates a table with the mutex held. */
		if (size == CONT_PTE_SIZE ||
		    (size == CONT_PMD_SIZE && IS_ALIGNED(split, PMD_SIZE))) {
			take_group_apart(split);
			continue;
		}
		spin_unlock(&kernel_leaf_lock);
		err = split_kernel_leaf_mapping(start, end);
		if (err)
			return err;
		if (size == PUD_SIZE)
			count_vm_event(DIRECT_MAP_LEVEL3_SPLIT);
		if (!IS_ALIGNED(split, PMD_SIZE))
			count_vm_event(DIRECT_MAP_LEVEL2_SPLIT);
		spin_lock(&kernel_leaf_lock);
	}
	return 0;
}

/**
 * direct_map_end_change - let others make large entries of a range again
 * @locked: What direct_map_begin_change() has set.
 *
 * Context: That of the caller of direct_map_begin_change().
 */
void direct_map_end_change(bool locked)
{
	if (locked)
		spin_unlock(&kernel_leaf_lock);
}

/**
 * set_direct_map_split - give a page an entry of its own, with what it has now
 * @page: A page in the linear map, present or not.
 *
 * Context: May sleep and allocate page tables.
 * Return: 0, or -ENOMEM.
 */
int set_direct_map_split(struct page *page)
{
	unsigned long addr = (unsigned long)page_address(page);
	bool locked;
	int err;

	err = direct_map_begin_change(addr, addr + PAGE_SIZE, &locked);
	if (!err)
		direct_map_end_change(locked);
	return err;
}

/* A table that boot has made is no allocated page, and stays. */
static bool was_split(void *table)
{
	return PageTable(virt_to_page(table));
}

/**
 * set_direct_map_can_merge - has a page an entry that a split can have made?
 * @page: A page, hidden or in the linear map.
 * @huge: An entry of 2 MiB, and not of 4 KiB.
 *
 * Context: Any.
 * Return: True if set_direct_map_merge() may make a larger entry of this one and its
 * neighbours, once all of them are in the linear map.
 */
bool set_direct_map_can_merge(struct page *page, bool huge)
{
	unsigned long addr = (unsigned long)page_address(page);
	pmd_t *pmdp;

	if (!set_direct_map_merges())
		return false;
	guard(rcu)();
	pmdp = lookup_pmd(addr);
	if (!pmdp)
		return false;
	if (huge)
		return pmd_leaf(pmdp_get(pmdp));
	return !pmd_leaf(pmdp_get(pmdp)) && was_split(pte_offset_kernel(pmdp, addr));
}

/* Entries of pages that follow each other in memory, and differ in nothing else than CONT. */
static bool ptes_alike(pte_t *ptep, unsigned int nr)
{
	const pteval_t mask = ~(pteval_t)PTE_CONT;
	pte_t first = __ptep_get(ptep);
	unsigned int i;

	if (!pte_valid(first))
		return false;
	for (i = 1; i < nr; i++) {
		pte_t expected = pfn_pte(pte_pfn(first) + i, pte_pgprot(first));

		if ((pte_val(__ptep_get(ptep + i)) & mask) != (pte_val(expected) & mask))
			return false;
	}
	return true;
}

static bool pmds_alike(pmd_t *pmdp, unsigned int nr)
{
	const pmdval_t mask = ~(pmdval_t)PMD_SECT_CONT;
	pmd_t first = pmdp_get(pmdp);
	unsigned int i;

	if (!pmd_valid(first) || !pmd_leaf(first))
		return false;
	for (i = 1; i < nr; i++) {
		pmd_t expected = pfn_pmd(pmd_pfn(first) + i * PTRS_PER_PTE, pmd_pgprot(first));

		if ((pmd_val(pmdp_get(pmdp + i)) & mask) != (pmd_val(expected) & mask))
			return false;
	}
	return true;
}

/* KFENCE changes its entries in any context, without a lock. */
static bool has_kfence(pte_t *ptep, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (is_kfence_address(pfn_to_kaddr(pte_pfn(__ptep_get(ptep + i)))))
			return true;
	}
	return false;
}

/* Set CONT in each group of a table that can have it.  Return: Was anything changed? */
static bool merge_ptes(pte_t *table)
{
	unsigned int i, group;
	bool changed = false;

	for (group = 0; group < PTRS_PER_PTE; group += CONT_PTES) {
		pte_t *ptep = table + group;

		if (pte_cont(__ptep_get(ptep)) ||
		    !IS_ALIGNED(pte_pfn(__ptep_get(ptep)), CONT_PTES) ||
		    !ptes_alike(ptep, CONT_PTES) || has_kfence(ptep, CONT_PTES))
			continue;
		for (i = 0; i < CONT_PTES; i++)
			__set_pte(ptep + i, pte_mkcont(__ptep_get(ptep + i)));
		changed = true;
	}
	return changed;
}

static bool merge_pmds(pmd_t *table)
{
	unsigned int i, group;
	bool changed = false;

	for (group = 0; group < PTRS_PER_PMD; group += CONT_PMDS) {
		pmd_t *pmdp = table + group;

		if (!pmd_leaf(pmdp_get(pmdp)) || pmd_cont(pmdp_get(pmdp)) ||
		    !IS_ALIGNED(pmd_pfn(pmdp_get(pmdp)), CONT_PMD_SIZE / PAGE_SIZE) ||
		    !pmds_alike(pmdp, CONT_PMDS))
			continue;
		for (i = 0; i < CONT_PMDS; i++)
			set_pmd(pmdp + i, pmd_mkcont(pmdp_get(pmdp + i)));
		changed = true;
	}
	return changed;
}

/* Return: The table that a block has replaced, or NULL. */
static pte_t *collapse_pmd(pmd_t *pmdp)
{
	pte_t *table = pte_offset_kernel(pmdp, 0);
	pte_t pte = __ptep_get(table);
	pgprot_t prot;

	if (!was_split(table) || !IS_ALIGNED(pte_pfn(pte), PTRS_PER_PTE) ||
	    !ptes_alike(table, PTRS_PER_PTE) || has_kfence(table, PTRS_PER_PTE))
		return NULL;
	prot = __pgprot(pgprot_val(pte_pgprot(pte)) & ~(PTE_CONT | PTE_TYPE_MASK));
	set_pmd(pmdp, pfn_pmd(pte_pfn(pte), __pgprot(pgprot_val(prot) | PMD_TYPE_SECT)));
	count_vm_event(DIRECT_MAP_LEVEL2_COLLAPSE);
	return table;
}

static pmd_t *collapse_pud(pud_t *pudp)
{
	pmd_t *table = pmd_offset(pudp, 0);
	pmd_t pmd = pmdp_get(table);
	pgprot_t prot;

	/* Memory that was hot-added may go by less than 1 GiB. */
	if (!early_section(__pfn_to_section(pmd_pfn(pmd))))
		return NULL;
	if (!pud_sect_supported() || !was_split(table) ||
	    !IS_ALIGNED(pmd_pfn(pmd), PUD_SIZE / PAGE_SIZE) || !pmds_alike(table, PTRS_PER_PMD))
		return NULL;
	prot = __pgprot(pgprot_val(pmd_pgprot(pmd)) & ~(PTE_CONT | PTE_TYPE_MASK));
	set_pud(pudp, pfn_pud(pmd_pfn(pmd), __pgprot(pgprot_val(prot) | PUD_TYPE_SECT)));
	count_vm_event(DIRECT_MAP_LEVEL3_COLLAPSE);
	return table;
}

static void free_table(struct rcu_head *head)
{
	struct ptdesc *table = container_of(head, struct ptdesc, pt_rcu_head);

	pagetable_dtor_free(table);
}

/**
 * set_direct_map_merge - undo splits of large entries around a page
 * @page: A page in the linear map.
 * @huge: Those of 1 GiB and of groups of blocks; else those of 2 MiB and of groups of pages.
 * @in_use: May entries around the page have to be changed without an allocation?  Then
 *	no table is replaced.  NULL if not.  Groups need none.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs if anything was merged.
 */
void set_direct_map_merge(struct page *page, bool huge, bool (*in_use)(struct page *page))
{
	unsigned long addr = (unsigned long)page_address(page);
	bool changed = false, keep;
	void *table = NULL;
	pud_t *pudp;
	pmd_t *pmdp;

	if (!set_direct_map_merges())
		return;
	guard(mmap_read_lock)(&init_mm);
	guard(mutex)(&pgtable_split_lock);
	scoped_guard(spinlock, &kernel_leaf_lock) {
		pmdp = lookup_pmd(addr);
		if (!pmdp)
			return;
		keep = in_use && in_use(page);
		if (huge) {
			pudp = lookup_pud(addr);
			if (!keep)
				table = collapse_pud(pudp);
			if (!table)
				changed = merge_pmds(pmd_offset(pudp, 0));
		} else if (!pmd_leaf(pmdp_get(pmdp))) {
			if (!keep)
				table = collapse_pmd(pmdp);
			if (!table)
				changed = merge_ptes(pte_offset_kernel(pmdp, 0));
		}
	}
	if (!table && !changed)
		return;
	/* All CPUs, and what they have of the table itself. */
	flush_tlb_all();
	if (table)
		call_rcu(&virt_to_ptdesc(table)->pt_rcu_head, free_table);
}
