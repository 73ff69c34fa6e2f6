// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access levels: what a change does to pages that are there, that come later,
 * and that somebody holds.
 */

#include <kunit/test.h>
#include <linux/guest_memfd.h>
#include <linux/pagemap.h>

#include "access.h"
#include "block.h"
#include "direct_map.h"
#include "kunit.h"
#include "page_state.h"

#define NR_PAGES (TAIL + 16)

/* Level KERNEL's share, and leave to pin. */
static bool at_kernel(struct folio *folio)
{
	unsigned long state = gm_page_state(folio);

	return gm_test_present(folio) && gm_page_count(state) == 1 &&
	       (state & GUEST_MEMFD_PAGE_PINNABLE);
}

static struct guest_memfd *sealed_file(struct kunit *test)
{
	return gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
}

/* Bring a page into the file; it stays there. */
static struct folio *page_of(struct kunit *test, struct guest_memfd *gm,
			     pgoff_t index)
{
	struct folio *folio = gm_test_grab(test, gm, index);

	folio_unlock(folio);
	folio_put(folio);
	return folio;
}

static int set(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
	       unsigned int level)
{
	pgoff_t ignored;

	return guest_memfd_set_access(gm, start, end, level, &ignored);
}

/* How many of the first block's pages are as level KERNEL wants them. */
static unsigned int count_at_kernel(struct kunit *test, struct guest_memfd *gm)
{
	unsigned int nr = 0;
	pgoff_t i;

	for (i = 0; i < BLOCK_PAGES; i++)
		nr += at_kernel(page_of(test, gm, i));
	return nr;
}

static void truncate_all(struct guest_memfd *gm)
{
	truncate_inode_pages(gm->inode->i_mapping, 0);
}

static void test_level_of_pages(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	pgoff_t first, last;

	KUNIT_EXPECT_EQ(test, guest_memfd_access_level(gm, 0),
			GUEST_MEMFD_ACCESS_NONE);
	KUNIT_EXPECT_EQ(test, set(gm, 4, 8, GUEST_MEMFD_ACCESS_USER), 0);
	KUNIT_EXPECT_EQ(test, set(gm, 8, 12, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, set(gm, 2, 4, GUEST_MEMFD_ACCESS_USER), 0);

	/* Neighbours that are alike are one run. */
	KUNIT_EXPECT_EQ(test, guest_memfd_access_run(gm, 5, &first, &last),
			GUEST_MEMFD_ACCESS_USER);
	KUNIT_EXPECT_EQ(test, first, 2);
	KUNIT_EXPECT_EQ(test, last, 7);
	KUNIT_EXPECT_EQ(test, set(gm, 8, 12, GUEST_MEMFD_ACCESS_USER), 0);
	guest_memfd_access_run(gm, 3, &first, &last);
	KUNIT_EXPECT_EQ(test, first, 2);
	KUNIT_EXPECT_EQ(test, last, 11);

	/* The first level takes no memory. */
	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_NONE), 0);
	KUNIT_EXPECT_TRUE(test, mtree_empty(&gm->levels));
	KUNIT_EXPECT_EQ(test, gm->inode->i_mapping->nrpages, 0);
}

static void test_block_up_and_down(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	struct folio *folio = page_of(test, gm, 7);
	unsigned int hides = t->nr_hides;
	unsigned long *word;

	KUNIT_EXPECT_EQ(test, set(gm, 0, BLOCK_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(), t->hidden_before);
	word = folio_address(folio);
	*word = 0x1234;

	KUNIT_EXPECT_EQ(test, set(gm, 0, BLOCK_PAGES, GUEST_MEMFD_ACCESS_NONE), 0);
	KUNIT_EXPECT_EQ(test, t->nr_hides, hides + 1);
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(),
			t->hidden_before + BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, gm_page_state(folio),
			gm_page_fresh(GM_BLOCK_MAX_ORDER));
	/* The block's, and the page cache's. */
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);

	KUNIT_EXPECT_EQ(test, set(gm, 7, 8, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, *word, 0x1234);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), 1);
}

static void test_part_down(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;

	page_of(test, gm, 0);
	KUNIT_EXPECT_EQ(test, set(gm, 0, BLOCK_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, set(gm, 3, 10, GUEST_MEMFD_ACCESS_USER), 0);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES - 7);
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(), t->hidden_before + 7);
	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES);
}

/* Pages that come to a range at KERNEL, a whole block and one alone. */
static void test_absent(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, gm->inode->i_mapping->nrpages, 0);
	KUNIT_EXPECT_TRUE(test, at_kernel(page_of(test, gm, TAIL)));
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(), t->hidden_before);
	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_NONE), 0);
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(),
			t->hidden_before + BLOCK_PAGES + 1);
}

/* A block of which only a part is at KERNEL when it comes. */
static void test_absent_part(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, set(gm, 1, 4, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), 3);
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(),
			t->hidden_before + BLOCK_PAGES - 3);
}

/* Somebody holds a page: nothing changes. */
static void test_held(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	pgoff_t error_index = 0;
	struct folio *folio;

	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	page_of(test, gm, 0);
	folio = page_of(test, gm, TAIL + 2);
	folio_get(folio);

	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 0, NR_PAGES,
						     GUEST_MEMFD_ACCESS_USER,
						     &error_index), -EAGAIN);
	KUNIT_EXPECT_EQ(test, error_index, TAIL + 2);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, at_kernel(folio));
	KUNIT_EXPECT_EQ(test, guest_memfd_access_level(gm, 0),
			GUEST_MEMFD_ACCESS_KERNEL);
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(), t->hidden_before);

	folio_put(folio);
	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_USER), 0);
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(),
			t->hidden_before + BLOCK_PAGES + 1);
}

/* The share of a KVM cache is no reason to wait, and keeps the page visible. */
static void test_shared_besides(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	struct folio *folio;

	KUNIT_EXPECT_EQ(test, set(gm, 0, BLOCK_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	folio = gm_test_grab(test, gm, 5);
	KUNIT_EXPECT_EQ(test, gm_test_share(folio), 0);
	folio_unlock(folio);
	folio_put(folio);

	KUNIT_EXPECT_EQ(test, set(gm, 5, 6, GUEST_MEMFD_ACCESS_NONE), 0);
	KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
	KUNIT_EXPECT_FALSE(test, gm_page_state(folio) & GUEST_MEMFD_PAGE_PINNABLE);
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(), t->hidden_before);
	/* The rest of its block is in the direct map. */
	guest_memfd_put_direct_map(folio);
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(), t->hidden_before + 1);
}

/* It leaves its file pinned: visible until the pin goes, then cleared and freed. */
static void leave_pinned(struct kunit *test, pgoff_t index, bool shared)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	struct folio *folio;

	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	folio = gm_test_grab(test, gm, index);
	if (shared)
		KUNIT_EXPECT_EQ(test, gm_test_share(folio), 0);
	folio_unlock(folio);
	memset(folio_address(folio), 0x5a, PAGE_SIZE);
	t->restored_pfn = folio_pfn(folio);

	truncate_all(gm);
	guest_memfd_block_reap(gm, 0, NR_PAGES);
	KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
	KUNIT_EXPECT_EQ(test, *(u8 *)folio_address(folio), 0x5a);
	KUNIT_EXPECT_TRUE(test, gm_page_state(folio) & GUEST_MEMFD_PAGE_PINNABLE);

	folio_put(folio);
	guest_memfd_block_wait();
	if (shared) {
		KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
		KUNIT_EXPECT_FALSE(test, gm_page_state(folio) &
					 GUEST_MEMFD_PAGE_PINNABLE);
		KUNIT_EXPECT_EQ(test, t->nr_restored, 0);
		guest_memfd_put_direct_map(folio);
	}
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(), t->hidden_before);
}

static void test_leaves_pinned(struct kunit *test)
{
	leave_pinned(test, 9, false);
}

static void test_leaves_pinned_alone(struct kunit *test)
{
	leave_pinned(test, TAIL + 9, false);
}

static void test_leaves_pinned_and_shared(struct kunit *test)
{
	leave_pinned(test, 9, true);
}

static void test_poisoned(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct folio *folio = page_of(test, gm, TAIL + 1);
	pgoff_t error_index = 0;

	page_of(test, gm, 0);
	folio_set_hwpoison(folio);
	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 0, NR_PAGES,
						     GUEST_MEMFD_ACCESS_KERNEL,
						     &error_index), -EHWPOISON);
	KUNIT_EXPECT_EQ(test, error_index, TAIL + 1);
	folio_clear_hwpoison(folio);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), 0);
	KUNIT_EXPECT_EQ(test, gm_page_state(folio), gm_page_fresh(0));
}

/* Of what user space wants the owner is asked, not of what it does itself. */
static void test_veto(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	pgoff_t ignored;

	t->veto = -EPERM;
	KUNIT_EXPECT_EQ(test, guest_memfd_access_change(gm, 0, 1,
							GUEST_MEMFD_ACCESS_USER,
							true, &ignored), -EPERM);
	KUNIT_EXPECT_EQ(test, t->asked, 1);
	KUNIT_EXPECT_EQ(test, guest_memfd_access_level(gm, 0),
			GUEST_MEMFD_ACCESS_NONE);
	KUNIT_EXPECT_EQ(test, set(gm, 0, 1, GUEST_MEMFD_ACCESS_USER), 0);
	KUNIT_EXPECT_EQ(test, t->asked, 1);
}

static struct kunit_case access_cases[] = {
	KUNIT_CASE(test_level_of_pages),
	KUNIT_CASE(test_block_up_and_down),
	KUNIT_CASE(test_part_down),
	KUNIT_CASE(test_absent),
	KUNIT_CASE(test_absent_part),
	KUNIT_CASE(test_held),
	KUNIT_CASE(test_shared_besides),
	KUNIT_CASE(test_leaves_pinned),
	KUNIT_CASE(test_leaves_pinned_alone),
	KUNIT_CASE(test_leaves_pinned_and_shared),
	KUNIT_CASE(test_poisoned),
	KUNIT_CASE(test_veto),
	{}
};

static struct kunit_suite access_suite = {
	.name		= "guest_memfd_access",
	.init		= gm_test_init,
	.exit		= gm_test_exit,
	.test_cases	= access_cases,
};

kunit_test_suite(access_suite);
