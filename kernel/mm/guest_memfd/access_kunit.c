// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of access levels: what a change of level does to pages that are
 * present, to pages that are populated later, and to pages that have other
 * references.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/guest_memfd.h>
#include <linux/pagemap.h>
#include <linux/set_memory.h>

#include <trace/events/guest_memfd.h>

#include "access.h"
#include "direct_map.h"
#include "kunit.h"
#include "page_state.h"
#include "scrub.h"
#include "teardown.h"

#define NR_PAGES (TAIL + 16)

/* Does a page carry the reference of level KERNEL, and is it PINNABLE? */
static bool at_kernel(struct page *page)
{
	unsigned long state = gm_page_state(page);

	return kernel_page_present(page) && gm_page_count(state) == 1 &&
	       (state & GUEST_MEMFD_PAGE_PINNABLE);
}

static struct guest_memfd *sealed_file(struct kunit *test)
{
	return gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
}

/* Populate a page.  The file keeps it. */
static struct page *page_of(struct kunit *test, struct guest_memfd *gm,
			    pgoff_t index)
{
	struct page *page = gm_test_grab(test, gm, index);

	unlock_page(page);
	put_page(page);
	return page;
}

static int set(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
	       unsigned int level)
{
	pgoff_t ignored;

	return guest_memfd_set_access(gm, start, end, level, &ignored);
}

static bool is_block(struct guest_memfd *gm)
{
	return guest_memfd_max_order(gm, 0) == GM_BLOCK_MAX_ORDER;
}

/*
 * Return: The number of pages of the first block in the state that level KERNEL
 * requires.
 */
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

	/* Neighbouring ranges of the same level form one run. */
	KUNIT_EXPECT_EQ(test, guest_memfd_access_run(gm, 5, &first, &last),
			GUEST_MEMFD_ACCESS_USER);
	KUNIT_EXPECT_EQ(test, first, 2);
	KUNIT_EXPECT_EQ(test, last, 7);
	KUNIT_EXPECT_EQ(test, set(gm, 8, 12, GUEST_MEMFD_ACCESS_USER), 0);
	guest_memfd_access_run(gm, 3, &first, &last);
	KUNIT_EXPECT_EQ(test, first, 2);
	KUNIT_EXPECT_EQ(test, last, 11);

	/* The tree has no entry for the initial level. */
	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_NONE), 0);
	KUNIT_EXPECT_TRUE(test, mtree_empty(&gm->levels));
	KUNIT_EXPECT_EQ(test, gm->inode->i_mapping->nrpages, 0);
}

static void test_block_up_and_down(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	struct page *page = page_of(test, gm, 7);
	unsigned int hides = t->nr_hides;
	unsigned long *word;

	KUNIT_EXPECT_EQ(test, set(gm, 0, BLOCK_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, BLOCK_PAGES);
	/* References of the page cache, the library and level KERNEL. */
	KUNIT_EXPECT_EQ(test, page_count(page), BLOCK_PAGES + 2);
	word = page_address(page);
	*word = 0x1234;

	KUNIT_EXPECT_EQ(test, set(gm, 0, BLOCK_PAGES, GUEST_MEMFD_ACCESS_NONE), 0);
	KUNIT_EXPECT_EQ(test, t->nr_hides, hides + 1);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(),
			t->hidden_before + BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
	KUNIT_EXPECT_EQ(test, gm_page_state(page), GM_PAGE_HIDDEN);
	KUNIT_EXPECT_EQ(test, page_count(page), BLOCK_PAGES + 1);
	KUNIT_EXPECT_TRUE(test, is_block(gm));

	/* A change of level of a part splits the block. */
	KUNIT_EXPECT_EQ(test, set(gm, 7, 8, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_FALSE(test, is_block(gm));
	KUNIT_EXPECT_EQ(test, page_count(page), 3);
	KUNIT_EXPECT_EQ(test, page_count(page + 1), 2);
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
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + 7);
	KUNIT_EXPECT_FALSE(test, is_block(gm));
	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES);
}

/*
 * Populate pages in a range that is at KERNEL already: a whole block and a
 * single page.
 */
static void test_absent(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, gm->inode->i_mapping->nrpages, 0);
	KUNIT_EXPECT_TRUE(test, at_kernel(page_of(test, gm, TAIL)));
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_NONE), 0);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(),
			t->hidden_before + BLOCK_PAGES + 1);
}

/* Populate a block of which only a part is at KERNEL. */
static void test_absent_part(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, set(gm, 1, 4, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), 3);
	KUNIT_EXPECT_FALSE(test, is_block(gm));
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(),
			t->hidden_before + BLOCK_PAGES - 3);
}

/* A page has another reference: the change fails and changes nothing. */
static void test_held(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	pgoff_t error_index = 0;
	struct page *page;

	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	page_of(test, gm, 0);
	page = page_of(test, gm, TAIL + 2);
	get_page(page);

	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 0, NR_PAGES,
						     GUEST_MEMFD_ACCESS_USER,
						     &error_index), -EAGAIN);
	KUNIT_EXPECT_EQ(test, error_index, TAIL + 2);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, at_kernel(page));
	KUNIT_EXPECT_EQ(test, guest_memfd_access_level(gm, 0),
			GUEST_MEMFD_ACCESS_KERNEL);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);

	put_page(page);
	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_USER), 0);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(),
			t->hidden_before + BLOCK_PAGES + 1);
}

/*
 * A block with another reference can neither be split nor lowered from KERNEL,
 * but it can be raised as a whole.
 */
static void test_held_block(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	struct page *page = page_of(test, gm, 30);
	pgoff_t at = 0;

	get_page(page);
	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 5, NR_PAGES,
						     GUEST_MEMFD_ACCESS_KERNEL, &at), -EAGAIN);
	KUNIT_EXPECT_EQ(test, at, 5);
	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 0, 5,
						     GUEST_MEMFD_ACCESS_KERNEL, &at), -EAGAIN);
	KUNIT_EXPECT_EQ(test, at, 0);
	KUNIT_EXPECT_TRUE(test, is_block(gm));
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), 0);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + BLOCK_PAGES);

	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 0, NR_PAGES,
						     GUEST_MEMFD_ACCESS_NONE, &at), -EAGAIN);
	KUNIT_EXPECT_EQ(test, at, 0);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, is_block(gm));
	put_page(page);
	KUNIT_EXPECT_EQ(test, set(gm, 5, 6, GUEST_MEMFD_ACCESS_NONE), 0);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES - 1);
}

/*
 * A change of level of a block with direct-map references to some of its pages
 * leaves the block whole.
 */
static void test_shared_in_block(struct kunit *test)
{
	static const unsigned int shared[] = { 0, 5, 6, BLOCK_PAGES - 1 };
	const unsigned int nr = ARRAY_SIZE(shared);
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	struct page *page, *first = page_of(test, gm, 0);
	unsigned int i;

	for (i = 0; i < nr; i++) {
		page = gm_test_grab(test, gm, shared[i]);
		KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
		unlock_page(page);
		put_page(page);
	}
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, nr);
	KUNIT_EXPECT_EQ(test, page_count(first), BLOCK_PAGES + 1 + nr);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + BLOCK_PAGES - nr);

	KUNIT_EXPECT_EQ(test, set(gm, 0, BLOCK_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, page_count(first), BLOCK_PAGES + 2 + nr);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES - nr);
	KUNIT_EXPECT_EQ(test, gm_page_count(gm_page_state(first + 5)), 2);
	KUNIT_EXPECT_TRUE(test, gm_page_state(first + 5) & GUEST_MEMFD_PAGE_PINNABLE);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
	/*
	 * Dropping a reference at KERNEL makes the page's word equal to the
	 * common word.
	 */
	guest_memfd_put_direct_map(first + 6);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), BLOCK_PAGES - nr + 1);

	KUNIT_EXPECT_EQ(test, set(gm, 0, BLOCK_PAGES, GUEST_MEMFD_ACCESS_NONE), 0);
	KUNIT_EXPECT_TRUE(test, is_block(gm));
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, nr - 1);
	KUNIT_EXPECT_EQ(test, page_count(first), BLOCK_PAGES + nr);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + BLOCK_PAGES - nr + 1);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(first + 5));
	KUNIT_EXPECT_FALSE(test, kernel_page_present(first + 6));
	for (i = 0; i < nr; i++) {
		if (shared[i] != 6)
			guest_memfd_put_direct_map(first + shared[i]);
		KUNIT_EXPECT_FALSE(test, kernel_page_present(first + shared[i]));
	}
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
	KUNIT_EXPECT_FALSE(test, gm_folio_has_own_words(page_folio(first)));
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + BLOCK_PAGES);
}

/*
 * A direct-map reference, for instance of a KVM cache, does not delay a change,
 * and keeps the page in the direct map.
 */
static void test_shared_besides(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	struct page *page;

	KUNIT_EXPECT_EQ(test, set(gm, 0, BLOCK_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	page = gm_test_grab(test, gm, 5);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	unlock_page(page);
	put_page(page);

	KUNIT_EXPECT_EQ(test, set(gm, 5, 6, GUEST_MEMFD_ACCESS_NONE), 0);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	KUNIT_EXPECT_FALSE(test, gm_page_state(page) & GUEST_MEMFD_PAGE_PINNABLE);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
	/* The other pages of the block are in the direct map. */
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + 1);
}

/*
 * A pinned page at KERNEL is truncated: it stays in the direct map until it is
 * unpinned.  Then it is cleared and freed.
 */
static void leave_pinned(struct kunit *test, pgoff_t index, bool shared)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	struct page *page;

	KUNIT_EXPECT_EQ(test, set(gm, 0, NR_PAGES, GUEST_MEMFD_ACCESS_KERNEL), 0);
	page = gm_test_grab(test, gm, index);
	if (shared)
		KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	unlock_page(page);
	memset(page_address(page), 0x5a, PAGE_SIZE);
	t->restored_pfn = page_to_pfn(page);

	truncate_all(gm);
	guest_memfd_block_reap(gm);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	KUNIT_EXPECT_EQ(test, *(u8 *)page_address(page), 0x5a);
	KUNIT_EXPECT_TRUE(test, gm_page_state(page) & GUEST_MEMFD_PAGE_PINNABLE);

	put_page(page);
	guest_memfd_block_wait();
	if (shared) {
		KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
		KUNIT_EXPECT_FALSE(test, gm_page_state(page) &
					 GUEST_MEMFD_PAGE_PINNABLE);
		KUNIT_EXPECT_EQ(test, t->nr_restored, 0);
		guest_memfd_put_direct_map(page);
	}
	gm_test_drain();
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
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

/*
 * The library refuses to change a part of a block to which another task has a
 * reference.
 */
static void test_part_of_held_block(struct kunit *test)
{
	static const unsigned int levels[] = {
		GUEST_MEMFD_ACCESS_KERNEL, GUEST_MEMFD_ACCESS_NONE
	};
	struct guest_memfd *gm = sealed_file(test);
	struct page *page = page_of(test, gm, 200);
	pgoff_t error_index;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, set(gm, 0, BLOCK_PAGES, GUEST_MEMFD_ACCESS_USER), 0);
	get_page(page);
	for (i = 0; i < ARRAY_SIZE(levels); i++) {
		error_index = NR_PAGES;
		KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 3, 9, levels[i], &error_index),
				-EAGAIN);
		KUNIT_EXPECT_EQ(test, error_index, 3);
		KUNIT_EXPECT_TRUE(test, is_block(gm));
		KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), 0);
	}
	put_page(page);
	KUNIT_EXPECT_EQ(test, set(gm, 3, 9, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_FALSE(test, is_block(gm));
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), 6);
}

static void test_poisoned(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct page *page = page_of(test, gm, TAIL + 1);
	pgoff_t error_index = 0;

	page_of(test, gm, 0);
	SetPageHWPoison(page);
	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 0, NR_PAGES,
						     GUEST_MEMFD_ACCESS_KERNEL,
						     &error_index), -EHWPOISON);
	KUNIT_EXPECT_EQ(test, error_index, TAIL + 1);
	ClearPageHWPoison(page);
	KUNIT_EXPECT_EQ(test, count_at_kernel(test, gm), 0);
	KUNIT_EXPECT_EQ(test, gm_page_state(page), GM_PAGE_HIDDEN);
}

/*
 * The library asks the owner about requests of user space, but not about the
 * owner's own changes.
 */
static void test_veto(struct kunit *test)
{
	struct guest_memfd *gm = sealed_file(test);
	struct gm_test *t = test->priv;
	pgoff_t ignored;

	t->veto = -EPERM;
	KUNIT_EXPECT_EQ(test, guest_memfd_access_change(gm, 0, 1,
							GUEST_MEMFD_ACCESS_USER,
							true, NULL, &ignored), -EPERM);
	KUNIT_EXPECT_EQ(test, t->asked, 1);
	KUNIT_EXPECT_EQ(test, guest_memfd_access_level(gm, 0),
			GUEST_MEMFD_ACCESS_NONE);
	KUNIT_EXPECT_EQ(test, set(gm, 0, 1, GUEST_MEMFD_ACCESS_USER), 0);
	KUNIT_EXPECT_EQ(test, t->asked, 1);
}

/*
 * A mishap in a change of level, and the step at which it happens: a page is
 * poisoned, or from then on allocations of page tables fail, or both.  The
 * steps are the start of the change, the begin and the end of each edit of the
 * direct map, and one in EVENTS_PER_STEP of the puts and gets of single pages.
 */
#define EVENTS_PER_STEP 800
#define UNDO_PAGES	(2 * BLOCK_PAGES + 16)

static struct {
	unsigned int step, at, events;
	/*
	 * Number of edits that failed.  Undo retries a failed edit, but should
	 * not need to.
	 */
	unsigned int refused;
	struct page *poison;
	bool armed, may_fail, fail;
	/* The page that is populated at that step, and its state then. */
	struct guest_memfd *populate;
	struct page *populated;
	unsigned long populated_state;
} mishap;

/* Poison a page as memory_failure() does, which keeps a reference. */
static void poison(struct page *page)
{
	struct folio *folio = page_folio(page);

	SetPageHWPoison(page);
	folio_get(folio);
	if (folio_test_large(folio))
		gm_page_set_failed(page, GFP_ATOMIC);
}

static void unpoison(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!PageHWPoison(page))
		return;
	ClearPageHWPoison(page);
	if (folio_test_large(folio)) {
		folio_clear_has_hwpoisoned(folio);
		gm_forget_failed(&folio->page);
	}
	folio_put(folio);
}

static void mishap_step(void)
{
	if (!mishap.armed || mishap.step++ != mishap.at)
		return;
	if (mishap.poison)
		poison(mishap.poison);
	mishap.fail = mishap.may_fail;
	if (mishap.populate) {
		mishap.populated = page_of(kunit_get_current_test(),
					   mishap.populate, 2 * BLOCK_PAGES);
		mishap.populated_state = gm_page_state(mishap.populated);
	}
}

static void mishap_event(void *unused, unsigned long pfn, unsigned int nr_pages,
			 unsigned long count)
{
	if (++mishap.events % EVENTS_PER_STEP == 0)
		mishap_step();
}

/*
 * Refuse only the first edit that needs a page table.  A change should need
 * none after that.
 */
static bool refuse(void)
{
	if (mishap.refused++)
		mishap.fail = false;
	return mishap.fail;
}

/* Does an edit of these pages split a large mapping? */
static bool would_split(struct page *page, unsigned int nr_pages)
{
	unsigned long size = gm_test_entry(page);

	return size != PAGE_SIZE && !(size == PMD_SIZE && nr_pages == PTRS_PER_PMD);
}

/* Does one entry map the whole block of this page? */
static bool covers_block(struct page *page)
{
	return gm_test_entry(page) != PAGE_SIZE;
}

static int failing_restore(struct page *page, unsigned int nr_pages)
{
	struct kunit *test = kunit_get_current_test();
	int err = -ENOMEM;

	mishap_step();
	if (!mishap.fail || !would_split(page, nr_pages) || !refuse()) {
		kunit_deactivate_static_stub(test, direct_map_restore);
		err = direct_map_restore(page, nr_pages);
		kunit_activate_static_stub(test, direct_map_restore,
					   failing_restore);
	}
	mishap_step();
	return err;
}

static unsigned int failing_hide(const struct gm_range *ranges, unsigned int nr_ranges)
{
	struct kunit *test = kunit_get_current_test();
	unsigned int n;

	mishap_step();
	for (n = 0; n < nr_ranges; n++) {
		if (mishap.fail && would_split(ranges[n].first, ranges[n].nr) &&
		    refuse())
			break;
	}
	kunit_deactivate_static_stub(test, direct_map_hide_ranges);
	if (n)
		n = direct_map_hide_ranges(ranges, n);
	kunit_activate_static_stub(test, direct_map_hide_ranges, failing_hide);
	mishap_step();
	return n;
}

static int failing_split(struct page *page)
{
	struct kunit *test = kunit_get_current_test();
	int err = -ENOMEM;

	mishap_step();
	if (!mishap.fail || !covers_block(page) || !refuse()) {
		kunit_deactivate_static_stub(test, direct_map_split);
		err = direct_map_split(page);
		kunit_activate_static_stub(test, direct_map_split, failing_split);
	}
	mishap_step();
	return err;
}

static void be_failing(struct kunit *test, bool on)
{
	mishap.armed = on;
	if (on) {
		kunit_activate_static_stub(test, direct_map_restore, failing_restore);
		kunit_activate_static_stub(test, direct_map_hide_ranges, failing_hide);
		kunit_activate_static_stub(test, direct_map_split, failing_split);
	} else {
		kunit_deactivate_static_stub(test, direct_map_restore);
		kunit_deactivate_static_stub(test, direct_map_hide_ranges);
		kunit_deactivate_static_stub(test, direct_map_split);
	}
}

/*
 * Make one change with one mishap.  Whatever the mishap, either all pages have
 * the new level afterwards or all pages have their former state.  @halves: half
 * of the first block is at USER, and the rest of the file at @from.
 *
 * Return: False if the change had no such step.
 */
static bool change_with_mishap(struct kunit *test, struct guest_memfd *gm,
			       struct page **pages, pgoff_t start, pgoff_t end,
			       unsigned int from, unsigned int to, bool halves,
			       unsigned long *before)
{
	unsigned int wrong = 0;
	pgoff_t i, ignored;
	int err;

	KUNIT_ASSERT_EQ(test, set(gm, 0, UNDO_PAGES, from), 0);
	if (halves)
		KUNIT_ASSERT_EQ(test, set(gm, BLOCK_PAGES / 2, BLOCK_PAGES,
					  GUEST_MEMFD_ACCESS_USER), 0);
	for (i = 0; i < UNDO_PAGES; i++)
		before[i] = gm_page_state(pages[i]);

	mishap.step = 0;
	mishap.events = 0;
	mishap.refused = 0;
	mishap.fail = false;
	be_failing(test, true);
	mishap_step();
	err = guest_memfd_set_access(gm, start, end, to, &ignored);
	be_failing(test, false);
	if (mishap.poison)
		unpoison(mishap.poison);

	for (i = 0; i < UNDO_PAGES; i++) {
		unsigned long state = gm_page_state(pages[i]);
		bool hidden = state & GM_PAGE_HIDDEN;

		wrong += hidden == kernel_page_present(pages[i]);
		if (err || i < start || i >= end)
			wrong += state != before[i];
		else if (to == GUEST_MEMFD_ACCESS_KERNEL)
			wrong += !at_kernel(pages[i]);
		else
			wrong += !hidden;
	}
	wrong += guest_memfd_access_level(gm, start) != (err ? from : to);
	wrong += mishap.refused > 1;
	KUNIT_EXPECT_EQ_MSG(test, wrong, 0,
			    "[%lu, %lu) from %u to %u, step %u, poison %d, failure %d: error %d",
			    start, end, from, to, mishap.at, !!mishap.poison,
			    mishap.may_fail, err);
	return mishap.step > mishap.at && !wrong;
}

/*
 * Has a trial split the large mapping of a block, so that the next trial needs
 * another block?
 */
static bool is_split(struct page **pages)
{
	return !pages[0] || !covers_block(pages[0]) ||
	       !covers_block(pages[BLOCK_PAGES]);
}

static void test_undo(struct kunit *test)
{
	/*
	 * Whole blocks, order-0 pages, and ranges that begin or end inside a
	 * block.
	 */
	static const pgoff_t ranges[][2] = {
		{ 0, 2 * BLOCK_PAGES }, { 2 * BLOCK_PAGES, UNDO_PAGES },
		{ 0, BLOCK_PAGES + 100 }, { 7, UNDO_PAGES },
	};
	static const struct {
		unsigned int from, to;
		bool halves;
	} levels[] = {
		{ GUEST_MEMFD_ACCESS_NONE, GUEST_MEMFD_ACCESS_KERNEL, true },
		{ GUEST_MEMFD_ACCESS_NONE, GUEST_MEMFD_ACCESS_KERNEL },
		{ GUEST_MEMFD_ACCESS_KERNEL, GUEST_MEMFD_ACCESS_NONE },
		{ GUEST_MEMFD_ACCESS_KERNEL, GUEST_MEMFD_ACCESS_USER },
	};
	struct guest_memfd *gm = sealed_file(test);
	/*
	 * With KASAN a trial takes a second, so skip steps and victims.  A
	 * kernel without KASAN makes all trials.
	 */
	const bool slow = IS_ENABLED(CONFIG_KASAN);
	const unsigned int pace = slow ? 5 : 1;
	unsigned int r, l, p, trials = 0;
	bool few;
	struct page **pages;
	unsigned long *before;
	pgoff_t i;

	pages = kunit_kcalloc(test, UNDO_PAGES, sizeof(*pages), GFP_KERNEL);
	before = kunit_kcalloc(test, UNDO_PAGES, sizeof(*before), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pages);
	KUNIT_ASSERT_NOT_NULL(test, before);
	gm->inode->i_size = UNDO_PAGES * PAGE_SIZE;
	register_trace_guest_memfd_get(mishap_event, NULL);
	register_trace_guest_memfd_put(mishap_event, NULL);

	for (r = 0; r < ARRAY_SIZE(ranges) * ARRAY_SIZE(levels); r++) {
		pgoff_t start = ranges[r / ARRAY_SIZE(levels)][0];
		pgoff_t end = ranges[r / ARRAY_SIZE(levels)][1];

		l = r % ARRAY_SIZE(levels);
		/*
		 * A range with two halves of a block, and more pages after
		 * them.
		 */
		if (levels[l].halves && r >= ARRAY_SIZE(levels))
			continue;
		/*
		 * A change of a part of a block needs new blocks for each
		 * trial.
		 */
		few = slow || levels[l].halves || r >= 2 * ARRAY_SIZE(levels);
		/*
		 * With halves, choose only a victim after them: the change
		 * fails after it has raised the halves.
		 */
		for (p = levels[l].halves ? 4 : 0; p < 7; p += few ? 3 : 1) {
			pgoff_t victim[] = { start, (start + end) / 2, end - 1 };

			mishap.may_fail = p % 2 == 0;
			mishap.at = 0;
			do {
				/*
				 * Allocate blocks whose large mappings are not
				 * split.
				 */
				if (is_split(pages)) {
					truncate_all(gm);
					guest_memfd_block_reap(gm);
					for (i = 0; i < UNDO_PAGES; i++)
						pages[i] = page_of(test, gm, i);
				}
				mishap.poison = NULL;
				if (p < 6)
					mishap.poison = pages[victim[p / 2]];
				trials++;
				cond_resched();
			} while (change_with_mishap(test, gm, pages, start, end,
						    levels[l].from, levels[l].to,
						    levels[l].halves, before) &&
				 (mishap.at += pace));
		}
	}
	kunit_info(test, "%u changes with a mishap\n", trials);
	KUNIT_EXPECT_GT(test, trials, slow ? 40 : 200);
	unregister_trace_guest_memfd_get(mishap_event, NULL);
	unregister_trace_guest_memfd_put(mishap_event, NULL);
	tracepoint_synchronize_unregister();
}

/*
 * A page that a fault populates while its range changes the level carries the
 * level's reference and is not PINNABLE.  After the change it has the same
 * state as the rest of the range.
 */
static void change_and_populate(struct kunit *test, unsigned int from,
				unsigned int to)
{
	const unsigned long bits = GM_PAGE_LEVEL | GUEST_MEMFD_PAGE_PINNABLE;
	struct guest_memfd *gm = sealed_file(test);
	int err;

	gm->inode->i_size = UNDO_PAGES * PAGE_SIZE;
	KUNIT_ASSERT_EQ(test, set(gm, 0, UNDO_PAGES, from), 0);
	/*
	 * The mishap populates the other page after the change has passed its
	 * index.
	 */
	page_of(test, gm, UNDO_PAGES - 1);

	memset(&mishap, 0, sizeof(mishap));
	mishap.at = 1;
	mishap.populate = gm;
	be_failing(test, true);
	err = set(gm, 0, UNDO_PAGES, to);
	be_failing(test, false);
	mishap.populate = NULL;

	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_ASSERT_NOT_NULL(test, mishap.populated);
	KUNIT_EXPECT_EQ(test, mishap.populated_state & bits, GM_PAGE_LEVEL);
	if (to == GUEST_MEMFD_ACCESS_KERNEL) {
		KUNIT_EXPECT_TRUE(test, at_kernel(mishap.populated));
	} else {
		KUNIT_EXPECT_FALSE(test, kernel_page_present(mishap.populated));
		KUNIT_EXPECT_EQ(test, gm_page_state(mishap.populated),
				GM_PAGE_HIDDEN);
	}
	KUNIT_EXPECT_EQ(test, gm->change_end, 0);
}

static void test_populate_raise(struct kunit *test)
{
	change_and_populate(test, GUEST_MEMFD_ACCESS_NONE,
			    GUEST_MEMFD_ACCESS_KERNEL);
}

static void test_populate_lower(struct kunit *test)
{
	change_and_populate(test, GUEST_MEMFD_ACCESS_KERNEL,
			    GUEST_MEMFD_ACCESS_NONE);
}

static struct kunit_case access_cases[] = {
	KUNIT_CASE(test_level_of_pages),
	KUNIT_CASE(test_block_up_and_down),
	KUNIT_CASE(test_part_down),
	KUNIT_CASE(test_absent),
	KUNIT_CASE(test_absent_part),
	KUNIT_CASE(test_held),
	KUNIT_CASE(test_held_block),
	KUNIT_CASE(test_shared_besides),
	KUNIT_CASE(test_shared_in_block),
	KUNIT_CASE(test_leaves_pinned),
	KUNIT_CASE(test_leaves_pinned_alone),
	KUNIT_CASE(test_leaves_pinned_and_shared),
	KUNIT_CASE(test_part_of_held_block),
	KUNIT_CASE(test_poisoned),
	KUNIT_CASE_SLOW(test_undo),
	KUNIT_CASE(test_populate_raise),
	KUNIT_CASE(test_populate_lower),
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
