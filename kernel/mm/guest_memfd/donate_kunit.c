// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of donated pages, without a hypervisor: what the library refuses,
 * and what happens to the reference of each donation.
 */

#include <kunit/test.h>
#include <linux/guest_memfd.h>
#include <linux/pagemap.h>
#include <linux/set_memory.h>
#include <linux/workqueue.h>

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

/* Donate a page as an owner does. */
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

/*
 * Expect that the library refuses accesses to a donated page, and allows them
 * to @other, a page of the same file that is not donated.
 */
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

/* Check each condition that prevents a donation. */
static void test_not_donated(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test, GM_FILE_INIT_ACCESS);
	struct page *page = gm_test_block_page(test, gm, 7);

	put_page(page);
	KUNIT_EXPECT_EQ(test, donate(gm, 7, &page), -EPERM);
	KUNIT_ASSERT_EQ(test, set_level(gm, 0, TAIL, GUEST_MEMFD_ACCESS_NONE), 0);

	/* An access in progress has a reference. */
	get_page(page);
	KUNIT_EXPECT_EQ(test, donate(gm, 7, &page), -EAGAIN);
	KUNIT_EXPECT_EQ(test, donate(gm, 8, &page), -EAGAIN);
	page = gm_test_grab(test, gm, 7);
	put_page(page);
	put_page(page);
	unlock_page(page);

	/* A direct-map reference prevents the donation of its page. */
	lock_page(page);
	KUNIT_ASSERT_EQ(test, gm_test_get(page), 0);
	unlock_page(page);
	KUNIT_EXPECT_EQ(test, donate(gm, 7, &page), -EAGAIN);
	/* It does not prevent the donation of another page of the block. */
	KUNIT_EXPECT_EQ(test, donate(gm, 8, &page), 0);
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(page));
	guest_memfd_put_direct_map(page - 1);

	/* A change of level or a hole punch is in progress. */
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

/*
 * Splitting a block moves the bit and the reference of each donation to its
 * page.
 */
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

/*
 * Donated pages that are truncated stay hidden, with their contents, until the
 * donation ends.
 */
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

/*
 * The test's hypervisor: what it finds when the library calls it, and its
 * answer.
 */
struct commit {
	struct guest_memfd *gm;
	struct page *page;
	pgoff_t index;
	unsigned int calls, level;
	unsigned long state;
	bool present;
	int ret;
};

static int do_commit(void *arg)
{
	struct commit *commit = arg;

	commit->calls++;
	commit->level = guest_memfd_access_level(commit->gm, commit->index);
	commit->state = gm_page_state(commit->page);
	commit->present = kernel_page_present(commit->page);
	return commit->ret;
}

static int request(struct commit *commit, bool share)
{
	return guest_memfd_guest_request(commit->gm, commit->index, share, do_commit, commit);
}

static void check_page(struct kunit *test, struct commit *commit, unsigned long state,
		       unsigned int level)
{
	bool shared = state & GM_PAGE_SHARED;

	KUNIT_EXPECT_EQ(test, gm_page_state(commit->page), state);
	KUNIT_EXPECT_EQ(test, guest_memfd_access_level(commit->gm, commit->index), level);
	KUNIT_EXPECT_EQ(test, commit->gm->nr_shared, shared ? 1 : 0);
	KUNIT_EXPECT_EQ(test, commit->gm->nr_donated, shared ? 1 : 2);
	KUNIT_EXPECT_EQ(test, commit->gm->change_end, 0);
	KUNIT_EXPECT_EQ(test, guest_memfd_punch_hole(commit->gm, commit->index, commit->index + 1),
			-EBUSY);
}

/* The guest shares a page of a block, and ends the sharing from each level. */
static void test_share(struct kunit *test)
{
	const unsigned long alone = GM_PAGE_HIDDEN | GM_PAGE_DONATED;
	const unsigned long shared = alone | GM_PAGE_SHARED;
	struct guest_memfd *gm = new_file(test, 0);
	struct commit commit = { .gm = gm, .index = 7 };
	unsigned int level;
	struct page *next;
	u64 word = 1;

	KUNIT_EXPECT_EQ(test, request(&commit, true), -EPERM);
	KUNIT_ASSERT_EQ(test, donate(gm, 7, &commit.page), 0);
	KUNIT_ASSERT_EQ(test, donate(gm, 8, &next), 0);
	KUNIT_EXPECT_EQ(test, request(&commit, false), -EPERM);
	KUNIT_EXPECT_EQ(test, commit.calls, 0);

	/* The hypervisor refuses: only the block is split. */
	commit.ret = -EINVAL;
	KUNIT_EXPECT_EQ(test, request(&commit, true), -EINVAL);
	KUNIT_EXPECT_EQ(test, commit.calls, 1);
	check_page(test, &commit, alone, GUEST_MEMFD_ACCESS_NONE);

	for (level = GUEST_MEMFD_ACCESS_NONE; level <= GUEST_MEMFD_ACCESS_KERNEL; level++) {
		bool kernel = level == GUEST_MEMFD_ACCESS_KERNEL;
		unsigned long state = kernel ? (shared & ~GM_PAGE_HIDDEN) | GM_PAGE_AT_KERNEL :
					       shared;

		commit.ret = 0;
		KUNIT_ASSERT_EQ(test, request(&commit, true), 0);
		KUNIT_EXPECT_EQ(test, commit.level, GUEST_MEMFD_ACCESS_NONE);
		KUNIT_EXPECT_EQ(test, commit.state, alone);
		check_page(test, &commit, shared, GUEST_MEMFD_ACCESS_USER);
		KUNIT_EXPECT_EQ(test, guest_memfd_write_page(commit.page, 0, &word, 8), 0);
		KUNIT_EXPECT_EQ(test, guest_memfd_write_page(next, 0, &word, 8), -EFAULT);
		KUNIT_EXPECT_EQ(test, request(&commit, true), -EPERM);
		KUNIT_ASSERT_EQ(test, set_level(gm, 7, 8, level), 0);
		check_page(test, &commit, state, level);

		/* An access in progress has a reference. */
		commit.calls = 0;
		get_page(commit.page);
		KUNIT_EXPECT_EQ(test, request(&commit, false), -EAGAIN);
		put_page(commit.page);
		KUNIT_EXPECT_EQ(test, commit.calls, 0);
		check_page(test, &commit, state, level);
		KUNIT_EXPECT_EQ(test, kernel_page_present(commit.page), kernel);

		commit.ret = -EINVAL;
		KUNIT_EXPECT_EQ(test, request(&commit, false), -EINVAL);
		check_page(test, &commit, state, level);
		KUNIT_EXPECT_EQ(test, kernel_page_present(commit.page), kernel);

		commit.ret = 0;
		KUNIT_EXPECT_EQ(test, request(&commit, false), 0);
		KUNIT_EXPECT_EQ(test, commit.state, alone);
		KUNIT_EXPECT_FALSE(test, commit.present);
		check_page(test, &commit, alone, GUEST_MEMFD_ACCESS_NONE);
		KUNIT_EXPECT_EQ(test, page_count(commit.page), 3);
		KUNIT_EXPECT_EQ(test, guest_memfd_read_page(commit.page, 0, &word, 8), -EFAULT);
	}

	/* The hypervisor returns the page while the guest shares it. */
	KUNIT_ASSERT_EQ(test, request(&commit, true), 0);
	KUNIT_ASSERT_EQ(test, set_level(gm, 7, 8, GUEST_MEMFD_ACCESS_KERNEL), 0);
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(commit.page));
	KUNIT_EXPECT_EQ(test, gm_page_state(commit.page), GM_PAGE_AT_KERNEL);
	KUNIT_EXPECT_EQ(test, gm->nr_shared, 0);
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(next));
	KUNIT_EXPECT_EQ(test, gm->nr_donated, 0);
	KUNIT_EXPECT_EQ(test, guest_memfd_punch_hole(gm, 0, BLOCK_PAGES), 0);
}

struct short_reference {
	struct delayed_work work;
	struct page *page;
};

static void end_reference(struct work_struct *work)
{
	put_page(container_of(work, struct short_reference, work.work)->page);
}

/* The library waits for a short-lived reference to be dropped. */
static void test_share_waits(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test, 0);
	struct commit commit = { .gm = gm, .index = 7 };
	struct short_reference reference;

	KUNIT_ASSERT_EQ(test, donate(gm, 7, &commit.page), 0);
	KUNIT_ASSERT_EQ(test, request(&commit, true), 0);
	INIT_DELAYED_WORK_ONSTACK(&reference.work, end_reference);
	reference.page = commit.page;
	get_page(commit.page);
	schedule_delayed_work(&reference.work, msecs_to_jiffies(10));
	KUNIT_EXPECT_EQ(test, request(&commit, false), 0);
	KUNIT_EXPECT_EQ(test, commit.calls, 2);
	flush_delayed_work(&reference.work);
	destroy_delayed_work_on_stack(&reference.work);
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(commit.page));
}

/* A direct-map reference prevents the guest from ending the sharing. */
static void test_share_referenced(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test, 0);
	struct commit commit = { .gm = gm, .index = TAIL + 1 };

	KUNIT_ASSERT_EQ(test, donate(gm, TAIL + 1, &commit.page), 0);
	KUNIT_ASSERT_EQ(test, request(&commit, true), 0);
	lock_page(commit.page);
	KUNIT_ASSERT_EQ(test, gm_test_get(commit.page), 0);
	unlock_page(commit.page);
	commit.calls = 0;
	KUNIT_EXPECT_EQ(test, request(&commit, false), -EAGAIN);
	KUNIT_EXPECT_EQ(test, commit.calls, 0);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(commit.page));
	guest_memfd_put_direct_map(commit.page);
	KUNIT_EXPECT_EQ(test, request(&commit, false), 0);
	KUNIT_EXPECT_FALSE(test, commit.present);
	KUNIT_EXPECT_TRUE(test, guest_memfd_end_donation(commit.page));
}

/* An owner undoes a donation because its hypervisor refuses the page. */
static void test_undo(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test, 0);
	struct page *page;
	int refs;

	KUNIT_ASSERT_EQ(test, donate(gm, 7, &page), 0);
	refs = page_count(page);
	lock_page(page);
	guest_memfd_undo_donation(page);
	unlock_page(page);
	KUNIT_EXPECT_EQ(test, page_count(page), refs - 1);
	KUNIT_EXPECT_EQ(test, gm_page_state(page), GM_PAGE_HIDDEN);
	KUNIT_EXPECT_EQ(test, gm->nr_donated, 0);
	KUNIT_EXPECT_FALSE(test, guest_memfd_end_donation(page));
}

static struct kunit_case donate_cases[] = {
	KUNIT_CASE(test_refused_single),
	KUNIT_CASE(test_refused_block),
	KUNIT_CASE(test_not_donated),
	KUNIT_CASE(test_split),
	KUNIT_CASE(test_left),
	KUNIT_CASE(test_share),
	KUNIT_CASE(test_share_waits),
	KUNIT_CASE(test_share_referenced),
	KUNIT_CASE(test_undo),
	{}
};

static struct kunit_suite donate_suite = {
	.name = "guest_memfd_donate",
	.init = gm_test_init,
	.exit = gm_test_exit,
	.test_cases = donate_cases,
};

kunit_test_suite(donate_suite);
