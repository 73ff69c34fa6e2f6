// SPDX-License-Identifier: GPL-2.0-only
/*
 * Splitting entries of the linear map, and merging them again.
 *
 * On a CPU with level 3 of FEAT_BBM the linear map consists of blocks of 1 GiB
 * and 2 MiB, and of groups of 16 blocks or pages that have the contiguous bit
 * set.  Changing a smaller range splits the block or the group that contains
 * it.  A merge restores the block or the group once all its entries agree.
 *
 * Locking:
 *	- Splits and merges hold pgtable_split_lock (arch/arm64/mm/mmu.c).
 *	- A task that changes entries checks their size and writes them under
 *	  kernel_leaf_lock, without sleeping.  Merges replace entries, and splits
 *	  clear the contiguous bits of a group, under the same lock.  So no task
 *	  writes to a table that a merge has replaced, or changes an entry while
 *	  other entries of its group still have the contiguous bit.
 *	- Lockless readers such as kernel_page_present() run in an RCU read-side
 *	  critical section.  A merge frees the table that it has replaced after a
 *	  grace period.
 *	- ptdump holds the mmap lock of init_mm for writing, merges hold it for
 *	  reading.
 *	- KFENCE and debug_pagealloc change entries in any context and take none
 *	  of these locks.  Merges skip ranges that contain pages of KFENCE; with
 *	  debug_pagealloc the linear map is mapped by pages from boot on.
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
 * arch_can_hide_guest_memory - can KVM use guest memory outside the linear map?
 *
 * Without FWB and DIC, the kernel maintains the caches through the linear map
 * when it maps a page into a guest, or into user space for execution.  FWB
 * implies IDC.
 *
 * Context: Any, after the boot CPUs are online.
 * Return: True where mapping a page needs no cache maintenance.
 */
bool arch_can_hide_guest_memory(void)
{
	return cpus_have_final_cap(ARM64_HAS_STAGE2_FWB) &&
	       cpus_have_final_cap(ARM64_HAS_CACHE_DIC);
}

/**
 * set_direct_map_merges - does the kernel split and merge the linear map?
 *
 * Without can_set_direct_map() split_kernel_leaf_mapping() splits nothing.
 *
 * Context: Any.
 * Return: True where the linear map consists of blocks that can be split while
 * they are in use.
 */
bool set_direct_map_merges(void)
{
	return system_supports_bbml3() && !debug_pagealloc_enabled() && can_set_direct_map();
}

/*
 * Return: The size of the entry or of the group of entries that maps @addr;
 * PAGE_SIZE where no entry does.
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

/* Is @addr inside an entry or a group, and not at its start? */
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

/* Return: The PUD for @addr if it is a table, or NULL. */
static pud_t *lookup_pud_table(unsigned long addr)
{
	pud_t *pudp = lookup_pud(addr);

	return pudp && !pud_leaf(pudp_get(pudp)) ? pudp : NULL;
}

/* Return: The PMD for @addr, a block or a table; NULL if a block of 1 GiB maps it. */
static pmd_t *lookup_pmd(unsigned long addr)
{
	pud_t *pudp = lookup_pud_table(addr);
	pmd_t *pmdp;

	if (!pudp)
		return NULL;
	pmdp = pmd_offset(pudp, addr);
	return pmd_present(pmdp_get(pmdp)) ? pmdp : NULL;
}

/*
 * Clear the contiguous bits of the group around @addr, without an allocation.
 */
static void split_group(unsigned long addr)
{
	pmd_t *pmdp = lookup_pmd(addr);

	lockdep_assert_held(&kernel_leaf_lock);
	if (pmd_leaf(pmdp_get(pmdp)))
		split_contpmd(pmdp);
	else
		split_contpte(pte_offset_kernel(pmdp, addr));
}

/**
 * direct_map_begin_change - split the entries at both ends of a range
 * @start: Start of the range, page aligned.
 * @end: End of the range, page aligned.
 * @locked: Set to whether kernel_leaf_lock is held; for
 *	direct_map_end_change().
 *
 * Until direct_map_end_change() no merge changes the entries of the range.
 *
 * Context: Where the linear map consists of blocks, this function may sleep and
 * allocate page tables before it takes kernel_leaf_lock.  The caller must not
 * sleep until direct_map_end_change().
 * Return: 0; or the error of split_kernel_leaf_mapping(), without the lock.
 */
int direct_map_begin_change(unsigned long start, unsigned long end, bool *locked)
{
	unsigned long addr, size;
	int err;

	*locked = set_direct_map_merges() && !is_kfence_address((void *)start);
	if (!*locked)
		return split_kernel_leaf_mapping(start, end);

	spin_lock(&kernel_leaf_lock);
	while (spans(start) || spans(end)) {
		addr = spans(start) ? start : end;
		size = leaf_size(addr);
		/*
		 * A split that allocates a table can enter reclaim with
		 * pgtable_split_lock held, and reclaim restores free pages of
		 * cut blocks.  Splitting a group must not need that mutex.
		 */
		if (size == CONT_PTE_SIZE ||
		    (size == CONT_PMD_SIZE && IS_ALIGNED(addr, PMD_SIZE))) {
			split_group(addr);
			continue;
		}
		spin_unlock(&kernel_leaf_lock);
		err = split_kernel_leaf_mapping(start, end);
		if (err)
			return err;
		spin_lock(&kernel_leaf_lock);
	}
	return 0;
}

/**
 * direct_map_end_change - end a change of entries
 * @locked: As set by direct_map_begin_change().
 *
 * Context: As after direct_map_begin_change().
 */
void direct_map_end_change(bool locked)
{
	if (locked)
		spin_unlock(&kernel_leaf_lock);
}

/**
 * set_direct_map_split - map a page of the linear map by its own entry
 * @page: The page, hidden or present.
 *
 * The flags of the entry do not change.
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

/* Tables that boot allocated from memblock have no ptdesc and cannot be freed. */
static bool was_split(void *table)
{
	return PageTable(virt_to_page(table));
}

/**
 * set_direct_map_can_merge - can a split have created the entry of a page?
 * @page: A page, hidden or present.
 * @huge: Ask for the entries of 2 MiB around the page instead of those of 4 KiB.
 *
 * Context: Any.
 * Return: True if set_direct_map_merge() can replace these entries by a larger one
 * once all of them are present.
 */
bool set_direct_map_can_merge(struct page *page, bool huge)
{
	unsigned long addr = (unsigned long)page_address(page);
	pmd_t *pmdp;

	if (!set_direct_map_merges())
		return false;
	guard(rcu)();
	if (huge)
		return lookup_pud_table(addr);
	pmdp = lookup_pmd(addr);
	return pmdp && !pmd_leaf(pmdp_get(pmdp)) && was_split(pte_offset_kernel(pmdp, addr));
}

/* Do the entries map consecutive pages with the same flags, the contiguous bit aside? */
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

/* KFENCE changes its entries in any context without a lock. */
static bool has_kfence(pte_t *ptep, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (is_kfence_address(pfn_to_kaddr(pte_pfn(__ptep_get(ptep + i)))))
			return true;
	}
	return false;
}

/*
 * Set the contiguous bit in each group of @table that allows it.  The TLBs may
 * keep smaller entries of the group, which stay valid.
 */
static void merge_ptes(pte_t *table)
{
	unsigned int i, group;

	for (group = 0; group < PTRS_PER_PTE; group += CONT_PTES) {
		pte_t *ptep = table + group;

		if (pte_cont(__ptep_get(ptep)) ||
		    !IS_ALIGNED(pte_pfn(__ptep_get(ptep)), CONT_PTES) ||
		    !ptes_alike(ptep, CONT_PTES) || has_kfence(ptep, CONT_PTES))
			continue;
		for (i = 0; i < CONT_PTES; i++)
			__set_pte(ptep + i, pte_mkcont(__ptep_get(ptep + i)));
	}
}

static void merge_pmds(pmd_t *table)
{
	unsigned int i, group;

	for (group = 0; group < PTRS_PER_PMD; group += CONT_PMDS) {
		pmd_t *pmdp = table + group;

		if (!pmd_leaf(pmdp_get(pmdp)) || pmd_cont(pmdp_get(pmdp)) ||
		    !IS_ALIGNED(pmd_pfn(pmdp_get(pmdp)), CONT_PMD_SIZE / PAGE_SIZE) ||
		    !pmds_alike(pmdp, CONT_PMDS))
			continue;
		for (i = 0; i < CONT_PMDS; i++)
			set_pmd(pmdp + i, pmd_mkcont(pmdp_get(pmdp + i)));
	}
}

/* Return: The table that the merge has replaced by a block, or NULL. */
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

	if (!pud_sect_supported() || !was_split(table) ||
	    !IS_ALIGNED(pmd_pfn(pmd), PUD_SIZE / PAGE_SIZE) || !pmds_alike(table, PTRS_PER_PMD))
		return NULL;
	/*
	 * Memory hotplug cannot offline a part of an entry, and hot-added
	 * memory is offlined in parts smaller than 1 GiB.
	 */
	if (!early_section(__pfn_to_section(pmd_pfn(pmd))))
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
 * set_direct_map_merge - merge the entries around a page
 * @page: A page of the memory that the merged entry is to map.
 * @huge: Merge to 1 GiB and to groups of blocks; otherwise to 2 MiB and to
 *	groups of pages.
 * @in_use: Returns true if a file may need to change entries around the page
 *	without an allocation; the merge then keeps the table and only sets
 *	contiguous bits, which can be cleared without an allocation.  NULL means
 *	no.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs if it has replaced a table.
 */
void set_direct_map_merge(struct page *page, bool huge, bool (*in_use)(struct page *page))
{
	unsigned long addr = (unsigned long)page_address(page);
	bool keep;
	void *table = NULL;
	pud_t *pudp;
	pmd_t *pmdp;

	if (!set_direct_map_merges())
		return;
	guard(mmap_read_lock)(&init_mm);
	guard(mutex)(&pgtable_split_lock);
	scoped_guard(spinlock, &kernel_leaf_lock) {
		keep = in_use && in_use(page);
		if (huge) {
			pudp = lookup_pud_table(addr);
			if (!pudp)
				return;
			if (!keep)
				table = collapse_pud(pudp);
			if (!table)
				merge_pmds(pmd_offset(pudp, 0));
		} else {
			pmdp = lookup_pmd(addr);
			if (!pmdp || pmd_leaf(pmdp_get(pmdp)))
				return;
			if (!keep)
				table = collapse_pmd(pmdp);
			if (!table)
				merge_ptes(pte_offset_kernel(pmdp, 0));
		}
	}
	if (!table)
		return;
	/*
	 * This also removes the address of the table from the walk caches of
	 * all CPUs.
	 */
	flush_tlb_all();
	call_rcu(&virt_to_ptdesc(table)->pt_rcu_head, free_table);
}
