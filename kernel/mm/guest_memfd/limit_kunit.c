// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the limit on the memory of a mount's files.
 *
 * Proves that the reserved pages never exceed the limit; that a reservation
 * ends when the memory has been scrubbed, and not when it is removed from its
 * file, whether as a block, as single pages of a block that was split, or after
 * a failed insertion; that a task which finds no room waits for memory that is
 * freed soon, but waits only once for memory that is held; and that a limit is
 * freed with the last of its mount and its reservations.
 *
 * Not covered: what user space sees of it, which guest_memfd_fs_limit_test.c
 * tests.
 */

#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/guest_memfd.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "alloc.h"
#include "block.h"
#include "direct_map.h"
#include "kunit.h"
#include "limit.h"
#include "page_state.h"
#include "pool.h"
#include "scrub.h"
#include "teardown.h"

/* Create a file, of one block and a tail, that has the limit of a mount. */
static struct guest_memfd *new_file(struct kunit *test, struct gm_limit *limit)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);

	gm->block_order = GM_BLOCK_MAX_ORDER;
	gm->limit = limit;
	return gm;
}

static struct gm_limit *new_limit(struct kunit *test, unsigned long max)
{
	struct gm_limit *limit = gm_limit_alloc(max);

	KUNIT_ASSERT_NOT_NULL(test, limit);
	return limit;
}

static void close_file(struct kunit *test)
{
	struct gm_test *t = test->priv;

	iput(t->gm->inode);
	t->gm = NULL;
}

static void expect(struct kunit *test, struct gm_limit *limit, unsigned long used,
		   unsigned long outside)
{
	struct gm_limit_info info;

	gm_limit_read(limit, &info);
	KUNIT_EXPECT_EQ(test, info.used, used);
	KUNIT_EXPECT_EQ(test, info.outside, outside);
}

static int populate(struct guest_memfd *gm, pgoff_t index)
{
	int err;

	filemap_invalidate_lock_shared(gm->inode->i_mapping);
	err = guest_memfd_block_populate(gm, index);
	filemap_invalidate_unlock_shared(gm->inode->i_mapping);
	return err;
}

static bool is_block(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio = xa_load(&gm->inode->i_mapping->i_pages, index);

	return folio && folio_test_large(folio);
}

/*
 * Skip the test if no block can be allocated: other memory may use all blocks
 * of the direct map.
 */
static void populate_block(struct kunit *test, struct guest_memfd *gm)
{
	KUNIT_ASSERT_EQ(test, populate(gm, 3), 0);
	if (!is_block(gm, 3))
		kunit_skip(test, "no 2 MiB page is available");
}

static void test_reserve(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, 1000);

	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 3, 300), 3);
	expect(test, limit, 900, 900);
	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 3, 101), 0);
	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 3, 50), 2);
	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 1, 1), 0);
	gm_limit_enter(limit, 600);
	expect(test, limit, 1000, 400);
	gm_limit_leave(limit, 100);
	expect(test, limit, 1000, 500);
	gm_limit_unreserve(limit, 500);
	expect(test, limit, 500, 0);
	KUNIT_EXPECT_TRUE(test, gm_limit_could_have(limit, 500));
	KUNIT_EXPECT_FALSE(test, gm_limit_could_have(limit, 501));
	gm_limit_leave(limit, 500);
	KUNIT_EXPECT_TRUE(test, gm_limit_could_have(limit, 1000));
	KUNIT_EXPECT_FALSE(test, gm_limit_could_have(limit, 1001));
	gm_limit_unreserve(limit, 500);
	expect(test, limit, 0, 0);
	gm_limit_put(limit);

	/* Without a limit there is always room. */
	KUNIT_EXPECT_EQ(test, gm_limit_reserve(NULL, 8, 512), 8);
	KUNIT_EXPECT_TRUE(test, gm_limit_could_have(NULL, ULONG_MAX));
	KUNIT_EXPECT_FALSE(test, gm_limit_should_wait(NULL));
	gm_limit_unreserve(NULL, 8);
}

static void test_resize(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, 100);
	struct gm_limit_info info;

	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 60, 1), 60);
	KUNIT_EXPECT_FALSE(test, gm_limit_resize(limit, 59));
	gm_limit_read(limit, &info);
	KUNIT_EXPECT_EQ(test, info.max, 100);
	KUNIT_EXPECT_TRUE(test, gm_limit_resize(limit, 60));
	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 1, 1), 0);
	KUNIT_EXPECT_TRUE(test, gm_limit_resize(limit, 61));
	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 1, 1), 1);
	gm_limit_unreserve(limit, 61);
	gm_limit_put(limit);
}

static void test_outlives_mount(struct kunit *test)
{
	unsigned int before = gm_limit_count();
	struct gm_limit *limit = new_limit(test, 100);

	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 5, 1), 5);
	gm_limit_put(limit);
	KUNIT_EXPECT_EQ(test, gm_limit_count(), before + 1);
	gm_limit_unreserve(limit, 4);
	KUNIT_EXPECT_EQ(test, gm_limit_count(), before + 1);
	gm_limit_unreserve(limit, 1);
	KUNIT_EXPECT_EQ(test, gm_limit_count(), before);

	limit = new_limit(test, 100);
	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 5, 1), 5);
	gm_limit_unreserve(limit, 5);
	KUNIT_EXPECT_EQ(test, gm_limit_count(), before + 1);
	gm_limit_put(limit);
	KUNIT_EXPECT_EQ(test, gm_limit_count(), before);
}

static unsigned int ms_of_wait(struct gm_limit *limit, unsigned long nr, bool *room)
{
	unsigned long start = jiffies;

	*room = !gm_limit_wait(limit, nr, TASK_KILLABLE);
	return jiffies_to_msecs(jiffies - start);
}

/* Reserve a block that was removed from a file and is held. */
static void reserve_held(struct kunit *test, struct gm_limit *limit)
{
	KUNIT_ASSERT_EQ(test, gm_limit_reserve(limit, 1, BLOCK_PAGES), 1);
	gm_limit_enter(limit, BLOCK_PAGES);
	gm_limit_leave(limit, BLOCK_PAGES);
	gm_limit_hold(limit, BLOCK_PAGES);
}

static void test_wait_gives_up(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES);
	unsigned int ms;
	bool room;

	reserve_held(test, limit);
	KUNIT_EXPECT_TRUE(test, gm_limit_should_wait(limit));
	KUNIT_EXPECT_TRUE(test, gm_limit_could_have(limit, BLOCK_PAGES));
	ms = ms_of_wait(limit, BLOCK_PAGES, &room);
	KUNIT_EXPECT_FALSE(test, room);
	KUNIT_EXPECT_GE(test, ms, 900);
	KUNIT_EXPECT_LE(test, ms, 5000);
	/* The next task does not wait again. */
	KUNIT_EXPECT_FALSE(test, gm_limit_should_wait(limit));
	KUNIT_EXPECT_FALSE(test, gm_limit_could_have(limit, 1));
	ms = ms_of_wait(limit, 1, &room);
	KUNIT_EXPECT_FALSE(test, room);
	KUNIT_EXPECT_LE(test, ms, 500);
	/* One held page is freed after all, so the others may be freed, too. */
	gm_limit_unhold(limit, 1);
	KUNIT_EXPECT_TRUE(test, gm_limit_could_have(limit, BLOCK_PAGES));
	gm_limit_unreserve(limit, 1);
	KUNIT_EXPECT_TRUE(test, gm_limit_should_wait(limit));
	/* A task that needs a page does not wait for a block. */
	ms = ms_of_wait(limit, 1, &room);
	KUNIT_EXPECT_TRUE(test, room);
	KUNIT_EXPECT_LE(test, ms, 500);
	gm_limit_unhold(limit, BLOCK_PAGES - 1);
	gm_limit_unreserve(limit, BLOCK_PAGES - 1);
	/*
	 * There is room for some pages but not for a block, and no page is
	 * outside, so the task does not wait.
	 */
	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 2, 1), 2);
	gm_limit_enter(limit, 2);
	ms = ms_of_wait(limit, BLOCK_PAGES, &room);
	KUNIT_EXPECT_TRUE(test, room);
	KUNIT_EXPECT_LE(test, ms, 500);
	gm_limit_leave(limit, 2);
	gm_limit_unreserve(limit, 2);
	gm_limit_put(limit);
}

/*
 * A task waits for pages that are not held, but only for a limited time.  For a
 * second after that no task waits for a block, while a task that needs a page
 * does.
 */
static void test_wait_for_coming(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES);
	unsigned int ms;
	bool room;

	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 1, BLOCK_PAGES - 1), 1);
	KUNIT_EXPECT_TRUE(test, gm_limit_should_wait(limit));
	ms = ms_of_wait(limit, BLOCK_PAGES, &room);
	KUNIT_EXPECT_TRUE(test, room);
	KUNIT_EXPECT_GE(test, ms, 9000);
	KUNIT_EXPECT_LE(test, ms, 20000);
	KUNIT_EXPECT_FALSE(test, gm_limit_should_wait(limit));
	KUNIT_EXPECT_TRUE(test, gm_limit_could_have(limit, BLOCK_PAGES));
	msleep(1500);
	KUNIT_EXPECT_TRUE(test, gm_limit_should_wait(limit));
	gm_limit_enter(limit, BLOCK_PAGES - 1);
	KUNIT_EXPECT_FALSE(test, gm_limit_should_wait(limit));
	gm_limit_leave(limit, BLOCK_PAGES - 1);
	gm_limit_unreserve(limit, BLOCK_PAGES - 1);
	gm_limit_put(limit);
}

static void test_wait_ends_with_signal(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES);

	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 1, BLOCK_PAGES), 1);
	/*
	 * Pretend that a signal is pending, which the test's thread need not
	 * handle.
	 */
	set_thread_flag(TIF_SIGPENDING);
	KUNIT_EXPECT_EQ(test, gm_limit_wait(limit, 1, TASK_INTERRUPTIBLE), -EINTR);
	clear_thread_flag(TIF_SIGPENDING);
	gm_limit_unreserve(limit, BLOCK_PAGES);
	gm_limit_put(limit);
}

struct later {
	struct delayed_work work;
	struct gm_limit *limit;
	unsigned int left;
};

/*
 * Free a piece each 600 ms.  Together the pieces take longer than a task waits
 * for held pages.
 */
static void come_back_later(struct work_struct *work)
{
	struct later *later = container_of(to_delayed_work(work), struct later, work);

	gm_limit_unhold(later->limit, BLOCK_PAGES / 4);
	gm_limit_unreserve(later->limit, BLOCK_PAGES / 4);
	if (--later->left)
		schedule_delayed_work(&later->work, 3 * HZ / 5);
}

static void test_wait_for_progress(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES);
	struct later later = { .limit = limit, .left = 4 };
	unsigned int ms;
	bool room;

	INIT_DELAYED_WORK_ONSTACK(&later.work, come_back_later);
	reserve_held(test, limit);
	schedule_delayed_work(&later.work, 3 * HZ / 5);
	ms = ms_of_wait(limit, BLOCK_PAGES, &room);
	KUNIT_EXPECT_TRUE(test, room);
	/*
	 * The task waited for all four pieces, because only then a block fits.
	 */
	KUNIT_EXPECT_GE(test, ms, 2000);
	flush_delayed_work(&later.work);
	destroy_delayed_work_on_stack(&later.work);
	expect(test, limit, 0, 0);
	gm_limit_put(limit);
}

/* Let another task take the block first, and then free some of the pages. */
static void take_block(struct work_struct *work)
{
	struct later *later = container_of(to_delayed_work(work), struct later, work);

	if (later->left--) {
		gm_limit_enter(later->limit, BLOCK_PAGES);
		schedule_delayed_work(&later->work, HZ / 2);
	} else {
		gm_limit_unreserve(later->limit, 50);
	}
}

static void test_block_is_taken(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES + 100);
	struct later later = { .limit = limit, .left = 1 };
	unsigned int ms;
	bool room;

	INIT_DELAYED_WORK_ONSTACK(&later.work, take_block);
	KUNIT_EXPECT_EQ(test, gm_limit_reserve(limit, 1, BLOCK_PAGES + 100), 1);
	schedule_delayed_work(&later.work, HZ / 2);
	ms = ms_of_wait(limit, BLOCK_PAGES, &room);
	KUNIT_EXPECT_TRUE(test, room);
	KUNIT_EXPECT_GE(test, ms, 800);
	flush_delayed_work(&later.work);
	destroy_delayed_work_on_stack(&later.work);
	expect(test, limit, BLOCK_PAGES + 50, 50);
	gm_limit_leave(limit, BLOCK_PAGES);
	gm_limit_unreserve(limit, BLOCK_PAGES + 50);
	gm_limit_put(limit);
}

static void test_block(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, 2 * BLOCK_PAGES);
	struct guest_memfd *gm = new_file(test, limit);
	struct page *page;

	populate_block(test, gm);
	expect(test, limit, BLOCK_PAGES, 0);
	/* The page is present already, so it needs no reservation. */
	KUNIT_EXPECT_EQ(test, populate(gm, 4), 0);
	expect(test, limit, BLOCK_PAGES, 0);

	/* A reference to a page of the block prevents the scrub. */
	page = guest_memfd_get_page(gm, 3);
	KUNIT_ASSERT_NOT_NULL(test, page);
	close_file(test);
	guest_memfd_block_wait();
	expect(test, limit, BLOCK_PAGES, BLOCK_PAGES);
	put_page(page);
	guest_memfd_block_wait();
	expect(test, limit, 0, 0);
	gm_limit_put(limit);
}

static void test_hole(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES);
	struct guest_memfd *gm = new_file(test, limit);

	gm_test_use_singles(test);
	populate_block(test, gm);
	/* The hole splits the block.  Each of its pages stays reserved. */
	guest_memfd_punch_hole(gm, 10, 20);
	guest_memfd_block_wait();
	expect(test, limit, BLOCK_PAGES - 10, 0);
	KUNIT_EXPECT_EQ(test, populate(gm, 12), 0);
	expect(test, limit, BLOCK_PAGES - 9, 0);
	guest_memfd_punch_hole(gm, 0, BLOCK_PAGES);
	guest_memfd_block_wait();
	expect(test, limit, 0, 0);
	populate_block(test, gm);
	guest_memfd_punch_hole(gm, 0, BLOCK_PAGES);
	expect(test, limit, 0, 0);
	close_file(test);
	gm_test_drain();
	gm_limit_put(limit);
}

static void test_single(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, 3);
	struct guest_memfd *gm = new_file(test, limit);

	/* No block fits, so the file is populated by single pages. */
	KUNIT_EXPECT_EQ(test, populate(gm, 0), 0);
	KUNIT_EXPECT_FALSE(test, is_block(gm, 0));
	KUNIT_EXPECT_EQ(test, populate(gm, 1), 0);
	KUNIT_EXPECT_EQ(test, populate(gm, TAIL), 0);
	expect(test, limit, 3, 0);
	KUNIT_EXPECT_EQ(test, populate(gm, 2), -ENOSPC);
	KUNIT_EXPECT_EQ(test, populate(gm, TAIL + 1), -ENOSPC);
	expect(test, limit, 3, 0);
	guest_memfd_punch_hole(gm, 1, 2);
	expect(test, limit, 2, 0);
	KUNIT_EXPECT_EQ(test, populate(gm, TAIL + 1), 0);
	close_file(test);
	guest_memfd_block_wait();
	expect(test, limit, 0, 0);
	gm_limit_put(limit);
}

/*
 * A fault waits for memory that is being scrubbed before it uses single pages
 * instead of a block.
 */
static void test_waits_for_block(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES + 8);
	struct guest_memfd *gm = new_file(test, limit);
	struct page *page;

	populate_block(test, gm);
	page = guest_memfd_get_page(gm, 3);
	KUNIT_ASSERT_NOT_NULL(test, page);
	close_file(test);
	gm = new_file(test, limit);
	KUNIT_EXPECT_EQ(test, populate(gm, 3), -EAGAIN);
	/* The tail of the file never is a block. */
	KUNIT_EXPECT_EQ(test, populate(gm, TAIL), 0);
	put_page(page);
	KUNIT_EXPECT_EQ(test, gm_limit_wait(limit, BLOCK_PAGES, TASK_KILLABLE), 0);
	KUNIT_EXPECT_EQ(test, populate(gm, 3), 0);
	KUNIT_EXPECT_TRUE(test, is_block(gm, 3));
	expect(test, limit, BLOCK_PAGES + 1, 0);
	close_file(test);
	guest_memfd_block_wait();
	expect(test, limit, 0, 0);
	gm_limit_put(limit);
}

/* A new block to which another task has a reference is held, and not leaked. */
static void test_fresh_held(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES);
	struct guest_memfd *gm = new_file(test, limit);
	struct folio *folio = NULL;

	if (gm_get_blocks(gm, 0, &folio, 1) != 1)
		kunit_skip(test, "no 2 MiB page is available");
	expect(test, limit, BLOCK_PAGES, BLOCK_PAGES);
	folio_get(folio);
	gm_free_fresh(folio);
	expect(test, limit, BLOCK_PAGES, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, gm_limit_wait(limit, 1, TASK_KILLABLE), -ENOSPC);
	folio_put(folio);
	gm_scrub_flush();
	expect(test, limit, 0, 0);
	close_file(test);
	gm_limit_put(limit);
}

/* As above, but the other task keeps its reference. */
static void test_single_after_all(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES + 8);
	struct guest_memfd *gm = new_file(test, limit);
	struct page *page;

	populate_block(test, gm);
	page = guest_memfd_get_page(gm, 3);
	KUNIT_ASSERT_NOT_NULL(test, page);
	close_file(test);
	gm = new_file(test, limit);
	KUNIT_EXPECT_EQ(test, populate(gm, 3), -EAGAIN);
	KUNIT_EXPECT_EQ(test, gm_limit_wait(limit, BLOCK_PAGES, TASK_KILLABLE), 0);
	KUNIT_EXPECT_EQ(test, populate(gm, 3), 0);
	KUNIT_EXPECT_FALSE(test, is_block(gm, 3));
	expect(test, limit, BLOCK_PAGES + 1, BLOCK_PAGES);
	put_page(page);
	close_file(test);
	guest_memfd_block_wait();
	expect(test, limit, 0, 0);
	gm_limit_put(limit);
}

/* No other code restores the page, so the test does. */
static void free_poisoned(struct kunit *test, struct page *page)
{
	ClearPageHWPoison(page);
	KUNIT_EXPECT_EQ(test, direct_map_restore(page, 1), 0);
	put_page(page);
	put_page(page);
}

/*
 * The library frees a block that is marked poisoned before it is inserted, and
 * uses a single page instead.
 */
static void test_marked(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES);
	struct guest_memfd *gm = new_file(test, limit);
	struct gm_test *t = test->priv;
	int err;

	t->marks = true;
	err = populate(gm, 3);
	t->marks = false;
	/*
	 * There is room for the page only after the block's reservation has
	 * ended.
	 */
	KUNIT_EXPECT_EQ(test, err, -ENOSPC);
	KUNIT_ASSERT_NOT_NULL(test, t->marked);
	expect(test, limit, 0, 0);
	KUNIT_EXPECT_EQ(test, gm_limit_wait(limit, BLOCK_PAGES, TASK_KILLABLE), 0);
	KUNIT_EXPECT_EQ(test, populate(gm, 3), 0);
	gm_pool_wait(page_to_nid(t->marked));
	free_poisoned(test, t->marked);
	close_file(test);
	gm_test_drain();
	expect(test, limit, 0, 0);
	gm_limit_put(limit);
}

/*
 * A poisoned page stays hidden forever, but the limit of the mount does not
 * count it.
 */
static void test_poisoned(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES + 2);
	struct guest_memfd *gm = new_file(test, limit);
	struct page *page, *single;

	populate_block(test, gm);
	KUNIT_EXPECT_EQ(test, populate(gm, TAIL), 0);
	/*
	 * This test's references stand for those that memory_failure() keeps.
	 */
	page = guest_memfd_get_page(gm, 3);
	single = guest_memfd_get_page(gm, TAIL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_NOT_NULL(test, single);
	SetPageHWPoison(page);
	SetPageHWPoison(single);
	folio_put(guest_memfd_memory_failure(page));
	folio_put(guest_memfd_memory_failure(single));
	expect(test, limit, BLOCK_PAGES + 1, 0);
	close_file(test);
	gm_test_drain();
	expect(test, limit, 0, 0);
	gm_folio_clear_state(page_folio(page));
	gm_folio_clear_state(page_folio(single));
	free_poisoned(test, page);
	free_poisoned(test, single);
	gm_limit_put(limit);
}

/* As above, in a block that cannot be split. */
static void test_poisoned_block(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES);
	struct guest_memfd *gm = new_file(test, limit);
	struct page *page, *held;

	populate_block(test, gm);
	page = guest_memfd_get_page(gm, 3);
	held = guest_memfd_get_page(gm, 5);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_NOT_NULL(test, held);
	SetPageHWPoison(page);
	folio_put(guest_memfd_memory_failure(page));
	KUNIT_EXPECT_TRUE(test, is_block(gm, 3));
	close_file(test);
	put_page(held);
	gm_test_drain();
	expect(test, limit, 0, 0);
	gm_folio_clear_state(page_folio(page));
	free_poisoned(test, page);
	gm_limit_put(limit);
}

/*
 * At level KERNEL, where pages have a direct-map reference when they are
 * inserted into the file.
 */
static void test_kernel(struct kunit *test)
{
	struct gm_limit *limit = new_limit(test, BLOCK_PAGES + 2);
	struct guest_memfd *gm = new_file(test, limit);
	pgoff_t ignored;

	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 0, TAIL + 16,
						     GUEST_MEMFD_ACCESS_KERNEL, &ignored), 0);
	populate_block(test, gm);
	KUNIT_EXPECT_EQ(test, populate(gm, TAIL), 0);
	KUNIT_EXPECT_EQ(test, populate(gm, TAIL + 1), 0);
	KUNIT_EXPECT_EQ(test, populate(gm, TAIL + 2), -ENOSPC);
	expect(test, limit, BLOCK_PAGES + 2, 0);
	close_file(test);
	guest_memfd_block_wait();
	expect(test, limit, 0, 0);
	gm_limit_put(limit);
}

static struct kunit_case limit_cases[] = {
	KUNIT_CASE(test_reserve),
	KUNIT_CASE(test_resize),
	KUNIT_CASE(test_outlives_mount),
	KUNIT_CASE_SLOW(test_wait_gives_up),
	KUNIT_CASE_SLOW(test_wait_for_coming),
	KUNIT_CASE(test_wait_ends_with_signal),
	KUNIT_CASE_SLOW(test_wait_for_progress),
	KUNIT_CASE_SLOW(test_block_is_taken),
	KUNIT_CASE(test_block),
	KUNIT_CASE(test_hole),
	KUNIT_CASE(test_single),
	KUNIT_CASE(test_waits_for_block),
	KUNIT_CASE_SLOW(test_fresh_held),
	KUNIT_CASE_SLOW(test_single_after_all),
	KUNIT_CASE(test_marked),
	KUNIT_CASE(test_poisoned),
	KUNIT_CASE(test_poisoned_block),
	KUNIT_CASE(test_kernel),
	{}
};

static struct kunit_suite limit_suite = {
	.name = "guest_memfd_limit",
	.init = gm_test_init,
	.exit = gm_test_exit,
	.test_cases = limit_cases,
};

kunit_test_suite(limit_suite);

MODULE_DESCRIPTION("KUnit tests of the limit on a mount's memory");
MODULE_LICENSE("GPL");
