// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of direct-map references that are put lazily, and of references
 * to truncated pages.
 */

#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/guest_memfd.h>
#include <linux/pagemap.h>
#include <linux/set_memory.h>

#include "direct_map.h"
#include "kunit.h"
#include "page_state.h"
#include "reference.h"
#include "teardown.h"

#define QUEUE_MAX 16

static struct guest_memfd *lazy_file(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct guest_memfd_put_queue *queue = guest_memfd_put_queue_alloc();

	KUNIT_ASSERT_NOT_NULL(test, queue);
	guest_memfd_set_put_queue(gm, queue);
	/* The file has a reference to the queue. */
	guest_memfd_put_queue_free(queue);
	return gm;
}

/* Populate a page, and take a direct-map reference to it. */
static struct page *get(struct kunit *test, struct guest_memfd *gm, pgoff_t index)
{
	struct page *page = gm_test_grab(test, gm, index);

	KUNIT_ASSERT_EQ(test, gm_test_get(page), 0);
	unlock_page(page);
	put_page(page);
	return page;
}

static void test_revived(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	struct gm_test *t = test->priv;
	struct page *page = get(test, gm, TAIL);
	unsigned long state = gm_page_state(page);
	unsigned int i, hides = t->nr_hides;
	int refs = page_count(page);

	for (i = 0; i < 1000; i++) {
		guest_memfd_put_direct_map(page);
		if (!i) {
			KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
			KUNIT_EXPECT_EQ(test, gm_page_state(page), state | GM_PAGE_LAZY);
			KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 1);
		}
		get(test, gm, TAIL);
	}
	KUNIT_EXPECT_EQ(test, gm_page_state(page), state);
	KUNIT_EXPECT_EQ(test, page_count(page), refs);
	KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 0);
	KUNIT_EXPECT_LT(test, t->nr_hides - hides, 10);
	guest_memfd_put_direct_map(page);
}

static void test_due(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	struct page *page[3];
	unsigned int i;

	for (i = 0; i < 3; i++)
		page[i] = get(test, gm, TAIL + i);
	/* One page has a second reference, so its put is not the last one. */
	get(test, gm, TAIL);
	for (i = 0; i < 3; i++)
		guest_memfd_put_direct_map(page[i]);
	KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 2);
	msleep(200);
	KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 0);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page[0]));
	KUNIT_EXPECT_EQ(test, gm_page_state(page[1]), GM_PAGE_HIDDEN);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page[1]));
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page[2]));
	guest_memfd_put_direct_map(page[0]);
}

/*
 * A reference was put lazily after a change to KERNEL began: the level's
 * reference replaces it.
 */
static void test_raised(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	struct page *page = get(test, gm, 5), *first = page - 5;
	struct folio *folio = page_folio(page);
	int refs = page_count(page) - 1;

	guest_memfd_put_direct_map(page);
	KUNIT_ASSERT_EQ(test, gm_references_pending(gm), 1);
	folio_lock(folio);
	KUNIT_EXPECT_EQ(test, direct_map_restore(first, 5), 0);
	KUNIT_EXPECT_EQ(test, direct_map_restore(page + 1, BLOCK_PAGES - 6), 0);
	gm_raise_folio(folio);
	folio_unlock(folio);
	KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 0);
	KUNIT_EXPECT_EQ(test, gm_folio_state(folio), GM_PAGE_LEVEL | GM_PAGE_COUNT_ONE);
	KUNIT_EXPECT_EQ(test, gm_page_state(page), GM_PAGE_LEVEL | GM_PAGE_COUNT_ONE);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, page_count(page), refs + 1);
	msleep(200);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));

	folio_lock(folio);
	KUNIT_EXPECT_EQ(test, direct_map_hide(first, BLOCK_PAGES), 0);
	gm_lower_folio(folio);
	folio_unlock(folio);
	folio_put(folio);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
	KUNIT_EXPECT_EQ(test, page_count(page), refs);
}

static void test_bounded(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	unsigned long most = 0;
	unsigned int i;

	/* Use pages of a block, because the tail has only 16 pages. */
	for (i = 0; i < 3 * QUEUE_MAX; i++) {
		guest_memfd_put_direct_map(get(test, gm, i));
		most = max(most, gm_references_pending(gm));
	}
	KUNIT_EXPECT_LE(test, most, QUEUE_MAX);
	KUNIT_EXPECT_GT(test, most, 1);
}

static void test_drained(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	struct page *lowered = get(test, gm, TAIL), *punched = get(test, gm, TAIL + 1);
	struct gm_test *t = test->priv;
	pgoff_t ignored;

	t->restored_pfn = page_to_pfn(punched);
	guest_memfd_put_direct_map(lowered);
	guest_memfd_put_direct_map(punched);
	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, TAIL, TAIL + 1,
						     GUEST_MEMFD_ACCESS_USER, &ignored), 0);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(lowered));
	guest_memfd_punch_hole(gm, TAIL + 1, TAIL + 2);
	KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 0);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
}

/* The last put of a truncated page scrubs and frees the page at once. */
static void test_left(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	struct page *page = get(test, gm, TAIL), *kept = get(test, gm, TAIL + 1);
	struct gm_test *t = test->priv;

	t->restored_pfn = page_to_pfn(page);
	get(test, gm, TAIL);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 0);
	guest_memfd_punch_hole(gm, TAIL, TAIL + 2);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 2);
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 2);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 1);
	KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 0);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);

	/* The other page outlives its file. */
	iput(gm->inode);
	t->gm = NULL;
	KUNIT_EXPECT_TRUE(test, kernel_page_present(kept));
	guest_memfd_put_direct_map(kept);
}

/*
 * A block at KERNEL is truncated while it is pinned and one of its pages has a
 * direct-map reference.  Either of the two can be dropped first.
 */
static void leave_block(struct kunit *test, bool pin_first)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct page *page;
	pgoff_t ignored;

	gm->block_order = GM_BLOCK_MAX_ORDER;
	page = gm_test_block_page(test, gm, 9);
	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 0, BLOCK_PAGES,
						     GUEST_MEMFD_ACCESS_KERNEL, &ignored), 0);
	get(test, gm, 9);
	guest_memfd_punch_hole(gm, 0, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page + 1));
	t->restored_pfn = page_to_pfn(page);
	if (pin_first) {
		put_page(page);
		guest_memfd_block_wait();
		KUNIT_EXPECT_EQ(test, gm_references_left(gm), 1);
		KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
		KUNIT_EXPECT_FALSE(test, kernel_page_present(page + 1));
		KUNIT_EXPECT_EQ(test, t->nr_restored, 0);
		guest_memfd_put_direct_map(page);
	} else {
		guest_memfd_put_direct_map(page);
		KUNIT_EXPECT_EQ(test, gm_references_left(gm), BLOCK_PAGES);
		KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
		KUNIT_EXPECT_FALSE(test, gm_folio_has_own_words(page_folio(page)));
		put_page(page);
		guest_memfd_block_wait();
	}
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 0);
	KUNIT_EXPECT_TRUE(test, gm_references_none_left());
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
}

static void test_left_block_reference_last(struct kunit *test)
{
	leave_block(test, true);
}

static void test_left_block_pin_last(struct kunit *test)
{
	leave_block(test, false);
}

/* Truncate a block below KERNEL with direct-map references to two pages. */
static void test_left_block_hidden(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	struct gm_test *t = test->priv;
	struct page *page;

	gm->block_order = GM_BLOCK_MAX_ORDER;
	page = gm_test_block_page(test, gm, 9);
	put_page(page);
	get(test, gm, 9);
	get(test, gm, 10);
	guest_memfd_punch_hole(gm, 0, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 2);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + BLOCK_PAGES - 2);
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 1);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page + 1));
	t->restored_pfn = page_to_pfn(page);
	guest_memfd_put_direct_map(page + 1);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 0);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
}

static struct kunit_case reference_cases[] = {
	KUNIT_CASE(test_revived),
	KUNIT_CASE(test_due),
	KUNIT_CASE(test_raised),
	KUNIT_CASE(test_bounded),
	KUNIT_CASE(test_drained),
	KUNIT_CASE(test_left),
	KUNIT_CASE(test_left_block_reference_last),
	KUNIT_CASE(test_left_block_pin_last),
	KUNIT_CASE(test_left_block_hidden),
	{}
};

static struct kunit_suite reference_suite = {
	.name = "guest_memfd_reference",
	.init = gm_test_init,
	.exit = gm_test_exit,
	.test_cases = reference_cases,
};

kunit_test_suite(reference_suite);
