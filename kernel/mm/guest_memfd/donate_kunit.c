// SPDX-License-Identifier: GPL-2.0-only
/*
 * Donated pages, without a hypervisor: what the library refuses, and where the
 * reference of each donation goes.
 */

#include <kunit/test.h>
#include <linux/guest_memfd.h>
#include <linux/pagemap.h>
#include <linux/set_memory.h>

#include "block.h"
#include "donate.h"
#include "kunit.h"
#include "page_state.h"
#include "teardown.h"

static struct guest_memfd *new_file(struct kunit *test, u64 flags)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP | flags);

	gm->block_order = GM_BLOCK_MAX_ORDER;
	return gm;
}

/* As an owner does it. */
static int donate(struct guest_memfd *gm, pgoff_t index, struct page **page)
{
	struct address_space *mapping = gm->inode->i_mapping;
	struct folio *folio;
	int err;

	filemap_invalidate_lock_shared(mapping);
	folio = guest_memfd_grab_folio(gm, index);
	if (IS_ERR(folio)) {
		filemap_invalidate_unlock_shared(mapping);
		return PTR_ERR(folio);
	}
	*page = folio_file_page(folio, index);
	err = guest_memfd_donate(*page);
	folio_unlock(folio);
	folio_put(folio);
	filemap_invalidate_unlock_shared(mapping);
	return err;
}

static int set_level(struct guest_memfd *gm, pgoff_t start, pgoff_t end, unsigned int level)
{
	pgoff_t ignored;

	return guest_memfd_set_access(gm, start, end, level, &ignored);
}

/* A page is donated, and @other of the same file is not. */
static void check_refused(struct kunit *test, struct guest_memfd *gm, pgoff_t index,
			  struct page *other)
{
	u64 old = 0, new = 1;
	struct page *page;
	int refs;

	KUNIT_ASSERT_EQ(test, donate(gm, index, &page), 0);
	refs = page_count(page);
	KUNIT_EXPECT_EQ(test, gm_page_state(page), GM_PAGE_HIDDEN | GM_PAGE_DONATED);
	KUNIT_EXPECT_EQ(test, gm_page_state(other), GM_PAGE_HIDDEN);
	KUNIT_EXPECT_EQ(test, gm->nr_donated, 1);
	KUNIT_EXPECT_EQ(test, donate(gm, index, &page), -EEXIST);

	KUNIT_EXPECT_EQ(test, guest_memfd_read_page(page, 0, &old, sizeof(old)), -EFAULT);
	KUNIT_EXPECT_EQ(test, guest_memfd_write_page(page, 0, &new, sizeof(new)), -EFAULT);
	KUNIT_EXPECT_EQ(test, guest_memfd_cmpxchg_page(page, 0, &old, &new, sizeof(new)), -EFAULT);
	KUNIT_EXPECT_EQ(test, guest_memfd_read_page(other, 0, &old, sizeof(old)), 0);
	lock_page(page);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), -EFAULT);
	unlock_page(page);

	KUNIT_EXPECT_EQ(test, set_level(gm, index, index + 1, GUEST_MEMFD_ACCESS_USER), -EPERM);
	KUNIT_EXPECT_EQ(test, set_level(gm, 0, TAIL + 16, GUEST_MEMFD_ACCESS_KERNEL), -EPERM);
	KUNIT_EXPECT_EQ(test, guest_memfd_punch_hole(gm, index, index + 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, guest_memfd_punch_hole(gm, 0, TAIL + 16), -EBUSY);
	KUNIT_EXPECT_EQ(test, guest_memfd_access_level(gm, index), GUEST_MEMFD_ACCESS_NONE);
	KUNIT_EXPECT_EQ(test, page_count(page), refs);
	KUNIT_EXPECT_EQ(test, gm_page_state(page), GM_PAGE_HIDDEN | GM_PAGE_DONATED);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));

	KUNIT_EXPECT_FALSE(test, guest_memfd_end_donation(other));
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(page));
	KUNIT_EXPECT_FALSE(test, guest_memfd_end_donation(page));
	KUNIT_EXPECT_EQ(test, page_count(page), refs - 1);
	KUNIT_EXPECT_EQ(test, gm_page_state(page), GM_PAGE_HIDDEN);
	KUNIT_EXPECT_EQ(test, gm->nr_donated, 0);
	KUNIT_EXPECT_EQ(test, guest_memfd_write_page(page, 0, &new, sizeof(new)), 0);
	KUNIT_EXPECT_EQ(test, set_level(gm, index, index + 1, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	KUNIT_EXPECT_EQ(test, guest_memfd_punch_hole(gm, index, index + 1), 0);
}

static void test_refused_single(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test, 0);
	struct page *other = gm_test_grab(test, gm, TAIL + 4);

	unlock_page(other);
	put_page(other);
	check_refused(test, gm, TAIL + 3, other);
}

static void test_refused_block(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test, 0);
	struct page *other = gm_test_block_page(test, gm, 8);

	put_page(other);
	check_refused(test, gm, 7, other);
}

/* What prevents a donation. */
static void test_not_donated(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test, GM_FILE_INIT_ACCESS);
	struct page *page = gm_test_block_page(test, gm, 7);

	put_page(page);
	KUNIT_EXPECT_EQ(test, donate(gm, 7, &page), -EPERM);
	KUNIT_ASSERT_EQ(test, set_level(gm, 0, TAIL, GUEST_MEMFD_ACCESS_NONE), 0);

	/* An access under way has a reference. */
	get_page(page);
	KUNIT_EXPECT_EQ(test, donate(gm, 7, &page), -EAGAIN);
	KUNIT_EXPECT_EQ(test, donate(gm, 8, &page), -EAGAIN);
	page = gm_test_grab(test, gm, 7);
	put_page(page);
	put_page(page);
	unlock_page(page);

	/* A direct-map reference. */
	lock_page(page);
	KUNIT_ASSERT_EQ(test, gm_test_get(page), 0);
	unlock_page(page);
	KUNIT_EXPECT_EQ(test, donate(gm, 7, &page), -EAGAIN);
	/* It does not prevent that of another page of the block. */
	KUNIT_EXPECT_EQ(test, donate(gm, 8, &page), 0);
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(page));
	guest_memfd_put_direct_map(page - 1);

	/* A change of level, or a hole, that is under way. */
	gm->change_start = 7;
	gm->change_end = 8;
	KUNIT_EXPECT_EQ(test, donate(gm, 7, &page), -EAGAIN);
	KUNIT_EXPECT_EQ(test, donate(gm, 8, &page), 0);
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(page));
	gm->change_start = 0;
	gm->change_end = 0;
	KUNIT_EXPECT_EQ(test, gm_begin_hole(gm, 100, 101), 0);
	KUNIT_EXPECT_EQ(test, donate(gm, 7, &page), -EAGAIN);
	gm_end_hole(gm);
	KUNIT_EXPECT_EQ(test, donate(gm, 7, &page), 0);
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(page));
}

/* Each page takes its bit and its reference along. */
static void test_split(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test, 0);
	struct page *page, *first = gm_test_block_page(test, gm, 0);
	unsigned int i;
	int refs;

	put_page(first);
	refs = page_count(first);
	for (i = 0; i < BLOCK_PAGES; i += 3)
		KUNIT_ASSERT_EQ(test, donate(gm, i, &page), 0);
	KUNIT_EXPECT_EQ(test, page_count(first), refs + 171);
	KUNIT_EXPECT_EQ(test, gm->nr_donated, 171);

	KUNIT_EXPECT_EQ(test, set_level(gm, 1, 2, GUEST_MEMFD_ACCESS_USER), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&gm->nr_blocks), 0);
	KUNIT_EXPECT_EQ(test, gm->nr_donated, 171);
	for (i = 0; i < BLOCK_PAGES; i++) {
		bool is = !(i % 3);

		KUNIT_EXPECT_EQ(test, page_count(first + i), is ? 3 : 2);
		KUNIT_EXPECT_EQ(test, gm_page_state(first + i),
				GM_PAGE_HIDDEN | (is ? GM_PAGE_DONATED : 0));
		KUNIT_EXPECT_EQ(test, guest_memfd_punch_hole(gm, i, i + 1), is ? -EBUSY : 0);
	}
	for (i = 0; i < BLOCK_PAGES; i += 3) {
		KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(first + i));
		KUNIT_EXPECT_EQ(test, page_count(first + i), 2);
	}
	KUNIT_EXPECT_EQ(test, gm->nr_donated, 0);
	KUNIT_EXPECT_EQ(test, guest_memfd_punch_hole(gm, 0, BLOCK_PAGES), 0);
}

/* Pages that left their file stay hidden, with what is in them, until the donation ends. */
static void test_left(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test, 0);
	struct gm_test *t = test->priv;
	struct page *a, *b, *single;
	const u64 secret = 1;

	a = gm_test_block_page(test, gm, 7);
	put_page(a);
	KUNIT_EXPECT_EQ(test, guest_memfd_write_page(a, 0, &secret, sizeof(secret)), 0);
	KUNIT_ASSERT_EQ(test, donate(gm, 7, &a), 0);
	KUNIT_ASSERT_EQ(test, donate(gm, 9, &b), 0);
	KUNIT_ASSERT_EQ(test, donate(gm, TAIL + 2, &single), 0);
	t->gm = NULL;
	iput(gm->inode);
	guest_memfd_block_wait();
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + BLOCK_PAGES + 1);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(a));

	t->restored_pfn = page_to_pfn(single);
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(single));
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(b));
	KUNIT_EXPECT_FALSE(test, kernel_page_present(b));
	t->restored_pfn = page_to_pfn(a);
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(a));
	guest_memfd_block_wait();
	KUNIT_EXPECT_EQ(test, t->nr_restored, 2);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
}

static struct kunit_case donate_cases[] = {
	KUNIT_CASE(test_refused_single),
	KUNIT_CASE(test_refused_block),
	KUNIT_CASE(test_not_donated),
	KUNIT_CASE(test_split),
	KUNIT_CASE(test_left),
	{}
};

static struct kunit_suite donate_suite = {
	.name = "guest_memfd_donate",
	.init = gm_test_init,
	.exit = gm_test_exit,
	.test_cases = donate_cases,
};

kunit_test_suite(donate_suite);
