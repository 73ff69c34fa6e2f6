// SPDX-License-Identifier: GPL-2.0-only
/*
 * The entries of the direct map: what hiding clears, restoring sets, and how
 * TLBs are flushed in between.
 */

#include <kunit/test.h>
#include <linux/guest_memfd.h>
#include <linux/pagemap.h>
#include <linux/set_memory.h>
#include <linux/vmstat.h>

#include "block.h"
#include "direct_map.h"
#include "kunit.h"
#include "page_state.h"

/* The entry that maps a page, as an entry of 4 KiB, without its frame. */
static unsigned long flags_of(struct page *page, unsigned int *level)
{
	unsigned long flags;
	pte_t *pte;

	guard(mmap_read_lock)(&init_mm);
	pte = lookup_address((unsigned long)page_address(page), level);
	flags = pte_val(*pte) & PTE_FLAGS_MASK;
	return *level == PG_LEVEL_4K ? flags : flags & ~_PAGE_PSE;
}

static void expect_flags(struct kunit *test, struct page *page, unsigned int nr)
{
	unsigned long want = pgprot_val(PAGE_KERNEL);
	unsigned int i, level;

	for (i = 0; i < nr; i++) {
		unsigned long flags = flags_of(page + i, &level);

		KUNIT_EXPECT_EQ_MSG(test, flags, want,
				    "page %u of %u, level %u", i, nr, level);
		if (flags != want)
			return;
	}
}

/* Pages that no test before this one has hidden may still be what it left. */
static struct page *new_pages(struct kunit *test, unsigned int order)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, order);

	if (!page)
		kunit_skip(test, "no memory of order %u", order);
	expect_flags(test, page, 1 << order);
	return page;
}

static void hide_and_restore(struct kunit *test, unsigned int order)
{
	struct page *page = new_pages(test, order);

	KUNIT_EXPECT_EQ(test, direct_map_hide(page, 1 << order), 0);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	KUNIT_EXPECT_EQ(test, direct_map_restore(page, 1 << order), 0);
	expect_flags(test, page, 1 << order);
	__free_pages(page, order);
}

static void test_flags_page(struct kunit *test)
{
	hide_and_restore(test, 0);
}

static void test_flags_range(struct kunit *test)
{
	hide_and_restore(test, 4);
}

static void test_flags_block(struct kunit *test)
{
	hide_and_restore(test, GM_BLOCK_MAX_ORDER);
}

/* The first page restored alone splits the block while it is hidden. */
static void test_flags_after_split(struct kunit *test)
{
	struct page *page = new_pages(test, GM_BLOCK_MAX_ORDER);
	unsigned int before, level;

	flags_of(page, &before);
	KUNIT_EXPECT_EQ(test, direct_map_hide(page, BLOCK_PAGES), 0);
	KUNIT_EXPECT_EQ(test, direct_map_restore(page + 7, 1), 0);
	expect_flags(test, page + 7, 1);
	KUNIT_EXPECT_EQ(test, direct_map_hide(page + 7, 1), 0);
	KUNIT_EXPECT_EQ(test, direct_map_restore(page, BLOCK_PAGES), 0);
	expect_flags(test, page, BLOCK_PAGES);
	direct_map_merge(page);
	expect_flags(test, page, BLOCK_PAGES);
	flags_of(page, &level);
	KUNIT_EXPECT_EQ(test, level, before);
	__free_pages(page, GM_BLOCK_MAX_ORDER);
}

/* A page, and the block it is of, with a direct-map reference and without. */
static void flags_of_file(struct kunit *test, pgoff_t index, unsigned int level)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	unsigned int nr = index < TAIL ? BLOCK_PAGES : 1;
	struct folio *folio;
	struct page *page;
	pgoff_t error;

	/* Whatever guest_memfd.block_order is. */
	gm->block_order = GM_BLOCK_MAX_ORDER;
	folio = gm_test_grab(test, gm, index);
	folio_unlock(folio);
	page = &folio->page - (index & (nr - 1));
	if (nr > 1 && !guest_memfd_max_order(gm, index)) {
		folio_put(folio);
		kunit_skip(test, "no 2 MiB page to be had");
	}
	if (level) {
		KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, index & ~(nr - 1UL),
							     (index & ~(nr - 1UL)) + nr,
							     level, &error), 0);
		if (level == GUEST_MEMFD_ACCESS_KERNEL)
			expect_flags(test, page, nr);
		else
			KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
	}
	folio_lock(folio);
	KUNIT_EXPECT_EQ(test, gm_test_share(folio), 0);
	expect_flags(test, &folio->page, 1);
	folio_unlock(folio);
	guest_memfd_put_direct_map(folio);
	folio_put(folio);

	t->gm = NULL;
	iput(gm->inode);
	guest_memfd_block_reap(NULL, 0, 0);
	expect_flags(test, page, nr);
}

static void test_flags_reference(struct kunit *test)
{
	flags_of_file(test, TAIL + 1, GUEST_MEMFD_ACCESS_NONE);
}

static void test_flags_reference_block(struct kunit *test)
{
	flags_of_file(test, 9, GUEST_MEMFD_ACCESS_NONE);
}

static void test_flags_user(struct kunit *test)
{
	flags_of_file(test, TAIL + 1, GUEST_MEMFD_ACCESS_USER);
}

static void test_flags_user_block(struct kunit *test)
{
	flags_of_file(test, 9, GUEST_MEMFD_ACCESS_USER);
}

static void test_flags_kernel(struct kunit *test)
{
	flags_of_file(test, TAIL + 1, GUEST_MEMFD_ACCESS_KERNEL);
}

static void test_flags_kernel_block(struct kunit *test)
{
	flags_of_file(test, 9, GUEST_MEMFD_ACCESS_KERNEL);
}

/*
 * Hiding one page, whose entry is there already, is one flush_tlb_all() and
 * nothing else.  Something else in the kernel may flush at the same time.
 */
static void test_one_flush(struct kunit *test)
{
	/* Too large for the stack. */
	static unsigned long before[NR_VM_EVENT_ITEMS], after[NR_VM_EVENT_ITEMS];
	struct page *page = new_pages(test, 0);
	unsigned int tries;

	if (cpu_feature_enabled(X86_FEATURE_INVLPGB))
		kunit_skip(test, "no CPU is interrupted here");
	KUNIT_EXPECT_EQ(test, direct_map_hide(page, 1), 0);
	for (tries = 0; tries < 10; tries++) {
		KUNIT_EXPECT_EQ(test, direct_map_restore(page, 1), 0);
		all_vm_events(before);
		KUNIT_EXPECT_EQ(test, direct_map_hide(page, 1), 0);
		all_vm_events(after);
		if (after[NR_TLB_REMOTE_FLUSH] == before[NR_TLB_REMOTE_FLUSH] + 1 &&
		    after[NR_TLB_REMOTE_FLUSH_RECEIVED] ==
		    before[NR_TLB_REMOTE_FLUSH_RECEIVED] + num_online_cpus() &&
		    after[NR_TLB_LOCAL_FLUSH_ONE] == before[NR_TLB_LOCAL_FLUSH_ONE] &&
		    after[NR_TLB_LOCAL_FLUSH_ALL] == before[NR_TLB_LOCAL_FLUSH_ALL])
			break;
	}
	KUNIT_EXPECT_LT(test, tries, 10);
	KUNIT_EXPECT_EQ(test, direct_map_restore(page, 1), 0);
	__free_page(page);
}

static struct kunit_case direct_map_test_cases[] = {
	KUNIT_CASE(test_flags_page),
	KUNIT_CASE(test_flags_range),
	KUNIT_CASE(test_flags_block),
	KUNIT_CASE(test_flags_after_split),
	KUNIT_CASE(test_flags_reference),
	KUNIT_CASE(test_flags_reference_block),
	KUNIT_CASE(test_flags_user),
	KUNIT_CASE(test_flags_user_block),
	KUNIT_CASE(test_flags_kernel),
	KUNIT_CASE(test_flags_kernel_block),
	KUNIT_CASE(test_one_flush),
	{}
};

static struct kunit_suite direct_map_test_suite = {
	.name = "guest_memfd_direct_map",
	.init = gm_test_init,
	.exit = gm_test_exit,
	.test_cases = direct_map_test_cases,
};

kunit_test_suite(direct_map_test_suite);

MODULE_DESCRIPTION("KUnit tests of the direct map's entries of hidden memory");
MODULE_LICENSE("GPL");
