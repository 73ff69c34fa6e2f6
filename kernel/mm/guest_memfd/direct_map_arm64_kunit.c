// SPDX-License-Identifier: GPL-2.0-only
/* KUnit tests of the linear map's entries and temporary mappings on arm64. */

#include <kunit/test.h>
#include <linux/guest_memfd.h>
#include <linux/mmap_lock.h>
#include <linux/pgalloc.h>
#include <linux/set_memory.h>
#include <linux/temp_map.h>
#include <linux/vmstat.h>

#include <asm/fixmap.h>
#include <asm/tlbflush.h>

#include "direct_map.h"
#include "kunit.h"

/*
 * Return: The entry that maps @addr in the page table at @pgd.  @size receives
 * its size.
 */
static u64 lookup(pgd_t *pgd, unsigned long addr, unsigned long *size)
{
	p4d_t *p4dp;
	pud_t *pudp;
	pmd_t *pmdp;

	*size = PGDIR_SIZE;
	pgd = pgd_offset_pgd(pgd, addr);
	if (!pgd_present(pgdp_get(pgd)))
		return 0;
	p4dp = p4d_offset(pgd, addr);
	if (!p4d_present(p4dp_get(p4dp)))
		return 0;
	pudp = pud_offset(p4dp, addr);
	*size = PUD_SIZE;
	if (!pud_present(pudp_get(pudp)) || pud_leaf(pudp_get(pudp)))
		return pud_val(pudp_get(pudp));
	pmdp = pmd_offset(pudp, addr);
	*size = PMD_SIZE;
	if (!pmd_present(pmdp_get(pmdp)) || pmd_leaf(pmdp_get(pmdp)))
		return pmd_val(pmdp_get(pmdp));
	*size = PAGE_SIZE;
	return pte_val(__ptep_get(pte_offset_kernel(pmdp, addr)));
}

/* Return: The entry that maps the page, including the pfn. */
static u64 entry_of(struct page *page, unsigned long *size)
{
	guard(mmap_read_lock)(&init_mm);
	return lookup(init_mm.pgd, (unsigned long)page_address(page), size);
}

unsigned long gm_test_flags(struct page *page, unsigned long *size)
{
	u64 entry = entry_of(page, size);

	return pgprot_val(pte_pgprot(__pte(entry & ~(PTE_CONT | PTE_TYPE_MASK)))) |
	       ((entry & PTE_VALID) ? PTE_TYPE_PAGE : 0);
}

/* The linear map has the memory type that MTE's tags need. */
unsigned long gm_test_boot_flags(void)
{
	return pgprot_val(pgprot_tagged(PAGE_KERNEL));
}

void gm_test_temp_entries(unsigned int *entries, unsigned int *present)
{
	u64 ttbr = read_sysreg(ttbr0_el1) & ~(TTBRx_EL1_ASID_MASK | TTBRx_EL1_CnP);
	pgd_t *pgd = phys_to_virt(ttbr);
	unsigned int i;

	for (i = 0; i < TEMP_MAP_PAGES; i++) {
		unsigned long size;
		u64 entry = lookup(pgd, TEMP_MAP_ADDR + i * PAGE_SIZE, &size);

		*entries += size == PAGE_SIZE;
		*present += entry & PTE_VALID;
	}
}

void gm_test_temp_flush(void)
{
	local_flush_tlb_all();
}

#ifdef CONFIG_DEBUG_TLBFLUSH
const enum vm_event_item gm_test_flush_events[] = { NR_TLB_REMOTE_FLUSH };
const unsigned int gm_test_nr_flush_events = ARRAY_SIZE(gm_test_flush_events);

/*
 * Hiding one page that has an entry of its own takes one broadcast.  Another
 * task may flush concurrently, so try several times.
 */
static void test_one_flush(struct kunit *test)
{
	/* These arrays are too large for the stack. */
	static unsigned long before[NR_VM_EVENT_ITEMS], after[NR_VM_EVENT_ITEMS];
	struct page *page = gm_test_new_pages(test, 0);
	unsigned int tries;

	KUNIT_EXPECT_EQ(test, direct_map_hide(page, 1), 0);
	for (tries = 0; tries < 10; tries++) {
		KUNIT_EXPECT_EQ(test, direct_map_restore(page, 1), 0);
		all_vm_events(before);
		KUNIT_EXPECT_EQ(test, direct_map_hide(page, 1), 0);
		all_vm_events(after);
		if (after[NR_TLB_REMOTE_FLUSH] == before[NR_TLB_REMOTE_FLUSH] + 1)
			break;
	}
	KUNIT_EXPECT_LT(test, tries, 10);
	KUNIT_EXPECT_EQ(test, direct_map_restore(page, 1), 0);
	__free_page(page);
}
#else
/* A kernel without this option does not count flushes. */
const enum vm_event_item gm_test_flush_events[] = {};
const unsigned int gm_test_nr_flush_events;

static void test_one_flush(struct kunit *test)
{
	kunit_skip(test, "the kernel counts no flushes");
}
#endif

/* The kernel maps nothing below the linear map. */
unsigned int gm_test_ranges(struct gm_test_range *ranges)
{
	ranges[0] = (struct gm_test_range){ MODULES_VADDR, MODULES_END };
	ranges[1] = (struct gm_test_range){ VMALLOC_START, VMALLOC_END };
	ranges[2] = (struct gm_test_range){ FIXADDR_TOT_START, FIXADDR_TOP };
	return 3;
}

static bool is_cont(struct page *page, unsigned long *size)
{
	return entry_of(page, size) & PTE_CONT;
}

/* Return: The number of groups of 64 KiB in the block. */
static unsigned int count_groups(struct page *page)
{
	unsigned int i, nr = 0;
	unsigned long size;

	for (i = 0; i < BLOCK_PAGES; i += CONT_PTES)
		nr += is_cont(page + i, &size) && size == PAGE_SIZE;
	return nr;
}

/*
 * Hiding a page splits its group, and a merge after the restore sets CONT
 * again.
 */
static void test_groups_of_pages(struct kunit *test)
{
	const unsigned int nr = BLOCK_PAGES / CONT_PTES;
	struct page *page;

	if (!direct_map_merges())
		kunit_skip(test, "the linear map is of pages");
	page = gm_test_new_pages(test, GM_BLOCK_MAX_ORDER);
	direct_map_merge(page, NULL);
	KUNIT_ASSERT_GE(test, gm_test_entry(page), PMD_SIZE);

	KUNIT_EXPECT_EQ(test, direct_map_hide(page + 5 * CONT_PTES + 3, 1), 0);
	KUNIT_EXPECT_EQ(test, count_groups(page), nr - 1);
	KUNIT_EXPECT_EQ(test, direct_map_hide(page + 9 * CONT_PTES, CONT_PTES), 0);
	KUNIT_EXPECT_EQ(test, count_groups(page), nr - 1);
	/* Each split group has a hidden page, so the merge changes nothing. */
	direct_map_merge(page, NULL);
	KUNIT_EXPECT_EQ(test, gm_test_entry(page), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, count_groups(page), nr - 1);
	/*
	 * The merge restores a group although the block still has hidden pages.
	 */
	KUNIT_EXPECT_EQ(test, direct_map_restore(page + 5 * CONT_PTES + 3, 1), 0);
	direct_map_merge(page, NULL);
	KUNIT_EXPECT_EQ(test, gm_test_entry(page), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, count_groups(page), nr);

	KUNIT_EXPECT_EQ(test, direct_map_restore(page + 9 * CONT_PTES, CONT_PTES), 0);
	direct_map_merge(page, NULL);
	KUNIT_EXPECT_GE(test, gm_test_entry(page), PMD_SIZE);
	gm_test_expect_flags(test, page, BLOCK_PAGES);
	__free_pages(page, GM_BLOCK_MAX_ORDER);
}

static bool in_use(struct page *page)
{
	return true;
}

/* Hiding a block splits a group of blocks, or a block of 1 GiB. */
static void test_groups_of_blocks(struct kunit *test)
{
	unsigned long size, before;
	struct page *page;
	bool group;

	if (!direct_map_merges())
		kunit_skip(test, "the linear map is of pages");
	page = gm_test_new_pages(test, GM_BLOCK_MAX_ORDER);
	direct_map_merge(page, NULL);
	direct_map_merge_huge(page, NULL);
	group = is_cont(page, &before);
	KUNIT_ASSERT_GE(test, before, PMD_SIZE);
	if (before == PMD_SIZE && !group)
		kunit_skip(test, "its neighbours are not alike");

	KUNIT_EXPECT_EQ(test, direct_map_hide(page, BLOCK_PAGES), 0);
	KUNIT_EXPECT_FALSE(test, is_cont(page, &size));
	KUNIT_EXPECT_EQ(test, size, PMD_SIZE);
	direct_map_merge_huge(page, NULL);
	KUNIT_EXPECT_FALSE(test, is_cont(page, &size));
	KUNIT_EXPECT_EQ(test, size, PMD_SIZE);

	KUNIT_EXPECT_EQ(test, direct_map_restore(page, BLOCK_PAGES), 0);
	/*
	 * If a file uses memory there, the merge sets CONT but keeps the page
	 * table.
	 */
	direct_map_merge_huge(page, in_use);
	KUNIT_EXPECT_TRUE(test, is_cont(page, &size));
	KUNIT_EXPECT_EQ(test, size, PMD_SIZE);
	direct_map_merge_huge(page, NULL);
	KUNIT_EXPECT_EQ(test, is_cont(page, &size), group);
	KUNIT_EXPECT_EQ(test, size, before);
	gm_test_expect_flags(test, page, BLOCK_PAGES);
	__free_pages(page, GM_BLOCK_MAX_ORDER);
}

/* /proc/vmstat counts splits and merges as on x86. */
static void test_counters(struct kunit *test)
{
	/* These arrays are too large for the stack. */
	static unsigned long before[NR_VM_EVENT_ITEMS], after[NR_VM_EVENT_ITEMS];
	struct page *page;

	if (!direct_map_merges())
		kunit_skip(test, "the linear map is of pages");
	page = gm_test_new_pages(test, GM_BLOCK_MAX_ORDER);
	direct_map_merge(page, NULL);
	all_vm_events(before);
	KUNIT_EXPECT_EQ(test, direct_map_hide(page + 1, 1), 0);
	KUNIT_EXPECT_EQ(test, direct_map_hide(page + 40, 2), 0);
	KUNIT_EXPECT_EQ(test, direct_map_restore(page + 1, 1), 0);
	KUNIT_EXPECT_EQ(test, direct_map_restore(page + 40, 2), 0);
	all_vm_events(after);
	KUNIT_EXPECT_EQ(test, after[DIRECT_MAP_LEVEL2_SPLIT] - before[DIRECT_MAP_LEVEL2_SPLIT], 1);
	KUNIT_EXPECT_EQ(test, after[DIRECT_MAP_LEVEL2_COLLAPSE],
			before[DIRECT_MAP_LEVEL2_COLLAPSE]);
	direct_map_merge(page, NULL);
	all_vm_events(after);
	KUNIT_EXPECT_EQ(test, after[DIRECT_MAP_LEVEL2_COLLAPSE] -
			before[DIRECT_MAP_LEVEL2_COLLAPSE], 1);
	__free_pages(page, GM_BLOCK_MAX_ORDER);
}

static struct kunit_case direct_map_arm64_test_cases[] = {
	KUNIT_CASE(test_groups_of_pages),
	KUNIT_CASE(test_groups_of_blocks),
	KUNIT_CASE(test_counters),
	KUNIT_CASE(test_one_flush),
	{}
};

static struct kunit_suite direct_map_arm64_test_suite = {
	.name = "guest_memfd_direct_map_arm64",
	.init = gm_test_init,
	.exit = gm_test_exit,
	.test_cases = direct_map_arm64_test_cases,
};

kunit_test_suite(direct_map_arm64_test_suite);

MODULE_DESCRIPTION("KUnit tests of hidden memory on arm64");
MODULE_LICENSE("GPL");
