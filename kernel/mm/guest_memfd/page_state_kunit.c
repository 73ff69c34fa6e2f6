// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the words of a block's pages: which pages have an own word,
 * and which word, references and contents each page has after the block was
 * split.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/guest_memfd.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/pagemap.h>
#include <linux/set_memory.h>

#include "block.h"
#include "cut.h"
#include "direct_map.h"
#include "kunit.h"
#include "page_state.h"
#include "reference.h"
#include "teardown.h"

#define LAST (GM_BLOCK_PAGES - 1)

static struct guest_memfd *new_file(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);

	/* Do not depend on guest_memfd.block_order. */
	gm->block_order = GM_BLOCK_MAX_ORDER;
	return gm;
}

/*
 * Return: The first page of a block of the file.  Only the library and the page
 * cache have references to the block.
 */
static struct page *new_block(struct kunit *test, struct guest_memfd *gm)
{
	struct page *first = gm_test_block_page(test, gm, 0);

	put_page(first);
	return first;
}

static void get(struct kunit *test, struct page *page)
{
	lock_page(page);
	KUNIT_ASSERT_EQ(test, gm_test_get(page), 0);
	unlock_page(page);
}

static void set_word(struct kunit *test, struct page *page, unsigned long state)
{
	KUNIT_ASSERT_EQ(test, gm_page_reserve_word(page), 0);
	gm_page_set_state(page, state);
}

static void test_own_words(struct kunit *test)
{
	static const unsigned int with[] = { 0, 3, 4, 200, LAST };
	struct page *first = new_block(test, new_file(test));
	struct folio *folio = page_folio(first);
	unsigned int i, n = 0, nr = ARRAY_SIZE(with);
	unsigned long state;

	folio_lock(folio);
	KUNIT_EXPECT_FALSE(test, gm_folio_has_own_words(folio));
	KUNIT_EXPECT_FALSE(test, gm_folio_next_word(folio, &n, &state));
	KUNIT_EXPECT_EQ(test, gm_folio_nr_referenced(folio), 0);
	for (i = 0; i < nr; i++)
		set_word(test, first + with[i], (i + 1) * GM_PAGE_COUNT_ONE);
	KUNIT_EXPECT_TRUE(test, gm_folio_has_own_words(folio));
	KUNIT_EXPECT_EQ(test, gm_folio_nr_referenced(folio), nr);
	KUNIT_EXPECT_EQ(test, gm_folio_references(folio), nr * (nr + 1) / 2);
	KUNIT_EXPECT_EQ(test, gm_folio_state(folio), GM_PAGE_HIDDEN | GM_PAGE_OWN_WORDS);
	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		bool own = n < nr && i == with[n];

		state = own ? ++n * GM_PAGE_COUNT_ONE : GM_PAGE_HIDDEN;
		KUNIT_EXPECT_EQ_MSG(test, gm_page_state(first + i), state, "page %u", i);
	}

	/*
	 * The iterator finds each own word once and in order, from any page on.
	 */
	i = 0;
	for (n = 0; gm_folio_next_word(folio, &n, &state); n++) {
		KUNIT_ASSERT_LT(test, i, nr);
		KUNIT_EXPECT_EQ(test, n, with[i]);
		KUNIT_EXPECT_EQ(test, state, ++i * GM_PAGE_COUNT_ONE);
	}
	KUNIT_EXPECT_EQ(test, i, nr);
	n = 5;
	KUNIT_EXPECT_TRUE(test, gm_folio_next_word(folio, &n, &state));
	KUNIT_EXPECT_EQ(test, n, 200);
	n = GM_BLOCK_PAGES;
	KUNIT_EXPECT_FALSE(test, gm_folio_next_word(folio, &n, &state));

	/*
	 * An own word is deleted when it equals the common word, and the flag
	 * is cleared with the last own word.
	 */
	for (i = 0; i < nr; i++) {
		KUNIT_EXPECT_TRUE(test, gm_folio_has_own_words(folio));
		gm_page_set_state(first + with[i], GM_PAGE_HIDDEN);
		KUNIT_EXPECT_EQ(test, gm_page_state(first + with[i]), GM_PAGE_HIDDEN);
		KUNIT_EXPECT_EQ(test, gm_folio_nr_referenced(folio), nr - 1 - i);
	}
	KUNIT_EXPECT_EQ(test, gm_folio_state(folio), GM_PAGE_HIDDEN);
	folio_unlock(folio);
	KUNIT_EXPECT_TRUE(test, gm_page_no_own_words());
}

/* A reserved entry that is not used is no own word. */
static void test_reserved_word(struct kunit *test)
{
	struct page *first = new_block(test, new_file(test));
	struct folio *folio = page_folio(first);
	unsigned long state;
	unsigned int n = 0;

	folio_lock(folio);
	set_word(test, first + 7, GM_PAGE_COUNT_ONE);
	KUNIT_EXPECT_EQ(test, gm_page_reserve_word(first + 5), 0);
	KUNIT_EXPECT_EQ(test, gm_page_state(first + 5), GM_PAGE_HIDDEN);
	KUNIT_EXPECT_EQ(test, gm_folio_nr_referenced(folio), 1);
	KUNIT_EXPECT_TRUE(test, gm_folio_next_word(folio, &n, &state));
	KUNIT_EXPECT_EQ(test, n, 7);
	gm_page_set_state(first + 5, GM_PAGE_HIDDEN);
	KUNIT_EXPECT_TRUE(test, gm_folio_has_own_words(folio));
	gm_page_set_state(first + 7, GM_PAGE_HIDDEN);
	KUNIT_EXPECT_FALSE(test, gm_folio_has_own_words(folio));
	folio_unlock(folio);
	KUNIT_EXPECT_TRUE(test, gm_page_no_own_words());
}

/*
 * Pretend that the restore of a page fails: then no own word is stored and no
 * reference is taken.
 */
static int no_restore(struct page *page, unsigned int nr_pages)
{
	return -ENOMEM;
}

static int no_split(struct page *page)
{
	return -ENOMEM;
}

static void test_get_fails(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test);
	struct page *page = new_block(test, gm) + 5;
	int refs = page_count(page);
	pgoff_t ignored;

	kunit_activate_static_stub(test, direct_map_restore, no_restore);
	lock_page(page);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), -ENOMEM);
	unlock_page(page);
	kunit_deactivate_static_stub(test, direct_map_restore);
	KUNIT_EXPECT_EQ(test, gm_folio_state(page_folio(page)), GM_PAGE_HIDDEN);
	KUNIT_EXPECT_TRUE(test, gm_page_no_own_words());
	KUNIT_EXPECT_EQ(test, page_count(page), refs);

	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 0, GM_BLOCK_PAGES,
						     GUEST_MEMFD_ACCESS_KERNEL, &ignored), 0);
	refs = page_count(page);
	kunit_activate_static_stub(test, direct_map_split, no_split);
	lock_page(page);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), -ENOMEM);
	unlock_page(page);
	kunit_deactivate_static_stub(test, direct_map_split);
	KUNIT_EXPECT_EQ(test, gm_folio_state(page_folio(page)), GM_PAGE_AT_KERNEL);
	KUNIT_EXPECT_TRUE(test, gm_page_no_own_words());
	KUNIT_EXPECT_EQ(test, page_count(page), refs);
}

static void test_change_bits(struct kunit *test)
{
	struct page *first = new_block(test, new_file(test));
	const unsigned long level = GM_PAGE_LEVEL | GM_PAGE_COUNT_ONE;
	struct folio *folio = page_folio(first);

	folio_lock(folio);
	gm_folio_set_state(folio, level);
	set_word(test, first + 5, level + GM_PAGE_COUNT_ONE);
	set_word(test, first + LAST, level + 2 * GM_PAGE_COUNT_ONE);
	KUNIT_EXPECT_EQ(test, gm_folio_nr_referenced(folio), GM_BLOCK_PAGES);
	/* All pages of a block share the reference of level KERNEL. */
	KUNIT_EXPECT_EQ(test, gm_folio_references(folio), 1 + 1 + 2);
	gm_folio_change_bits(folio, GUEST_MEMFD_PAGE_PINNABLE, 0);
	KUNIT_EXPECT_EQ(test, gm_page_state(first), GM_PAGE_AT_KERNEL);
	KUNIT_EXPECT_EQ(test, gm_page_state(first + 5), GM_PAGE_AT_KERNEL + GM_PAGE_COUNT_ONE);
	KUNIT_EXPECT_EQ(test, gm_page_state(first + LAST),
			GM_PAGE_AT_KERNEL + 2 * GM_PAGE_COUNT_ONE);
	gm_folio_change_bits(folio, 0, GUEST_MEMFD_PAGE_PINNABLE);
	KUNIT_EXPECT_EQ(test, gm_page_state(first + 4), level);
	KUNIT_EXPECT_EQ(test, gm_page_state(first + 5), level + GM_PAGE_COUNT_ONE);
	KUNIT_EXPECT_TRUE(test, gm_folio_has_own_words(folio));

	/*
	 * A flag of the folio is part of each page's state, and stays when the
	 * last own word is deleted.
	 */
	gm_folio_set_state(folio, gm_folio_state(folio) | GM_PAGE_ORPHAN);
	KUNIT_EXPECT_EQ(test, gm_page_state(first + 5),
			level + GM_PAGE_COUNT_ONE + GM_PAGE_ORPHAN);
	gm_page_set_state(first + 5, level | GM_PAGE_ORPHAN);
	gm_page_set_state(first + LAST, level);
	KUNIT_EXPECT_EQ(test, gm_folio_state(folio), level | GM_PAGE_ORPHAN);
	gm_folio_set_state(folio, GM_PAGE_HIDDEN);
	folio_unlock(folio);
}

/* Write a different value to each page, to identify its contents. */
static void mark_pages(struct kunit *test, struct page *first)
{
	unsigned long i;

	for (i = 0; i < GM_BLOCK_PAGES; i++)
		KUNIT_EXPECT_EQ(test, guest_memfd_write_page(first + i, 8 * i, &i, sizeof(i)), 0);
}

/*
 * Return: The number of pages that have lost their contents or their place in
 * the file, or that are not proper single pages.  @nr_refs is the number of
 * references to each page, without those of direct-map references.
 */
static unsigned int count_wrong(struct guest_memfd *gm, struct page *first, unsigned int nr_refs)
{
	struct address_space *mapping = gm->inode->i_mapping;
	unsigned int wrong = 0;
	unsigned long i, found;

	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		struct folio *folio = page_folio(first + i);
		unsigned int count = gm_page_count(gm_page_state(first + i));
		bool bad = folio_test_large(folio) || &folio->page != first + i;

		bad |= folio->index != i || folio->mapping != mapping;
		bad |= xa_load(&mapping->i_pages, i) != folio;
		bad |= folio_test_locked(folio) || !folio_test_uptodate(folio);
		bad |= folio_ref_count(folio) != nr_refs + count;
		bad |= kernel_page_present(first + i) != (count > 0);
		bad |= xa_get_mark(&mapping->i_pages, i, GM_TAG_REFERENCED) != (count > 0);
		bad |= folio_memcg_charged(folio) == mem_cgroup_disabled();
		bad |= guest_memfd_read_page(first + i, 8 * i, &found, sizeof(found)) ||
		       found != i;
		wrong += bad;
	}
	return wrong;
}

static void test_split(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test);
	struct gm_test *t = test->priv;
	struct page *first = new_block(test, gm);
	unsigned int i, wrong = 0;

	mark_pages(test, first);
	get(test, first);
	get(test, first);
	get(test, first + 7);
	get(test, first + LAST);
	KUNIT_EXPECT_EQ(test, page_count(first), GM_BLOCK_PAGES + 1 + 4);
	KUNIT_EXPECT_TRUE(test, folio_test_large(page_folio(first)));

	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, 100), 0);
	KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 0), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&gm->nr_blocks), 0);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 3);
	KUNIT_EXPECT_EQ(test, gm->inode->i_mapping->nrpages, GM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + GM_BLOCK_PAGES - 3);
	KUNIT_EXPECT_TRUE(test, gm_page_no_own_words());
	/* References of the page cache and of the library. */
	KUNIT_EXPECT_EQ(test, count_wrong(gm, first, 2), 0);
	KUNIT_EXPECT_EQ(test, gm_page_state(first), 2 * GM_PAGE_COUNT_ONE);
	KUNIT_EXPECT_EQ(test, gm_page_state(first + 7), GM_PAGE_COUNT_ONE);
	KUNIT_EXPECT_EQ(test, gm_page_state(first + LAST), GM_PAGE_COUNT_ONE);
	for (i = 1; i < LAST; i++)
		wrong += i != 7 && gm_page_state(first + i) != GM_PAGE_HIDDEN;
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_TRUE(test, guest_memfd_owns_pfn(page_to_pfn(first + 100)));
	KUNIT_EXPECT_TRUE(test, gm_cut_is_cut(first));

	guest_memfd_put_direct_map(first);
	guest_memfd_put_direct_map(first);
	guest_memfd_put_direct_map(first + 7);
	guest_memfd_put_direct_map(first + LAST);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + GM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, count_wrong(gm, first, 2), 0);
	/* The block is split already. */
	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, 101), 0);
	KUNIT_EXPECT_EQ(test, count_wrong(gm, first, 2), 0);
}

static void test_split_at_kernel(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test);
	struct gm_test *t = test->priv;
	struct page *first = new_block(test, gm);
	unsigned int i, wrong = 0;
	pgoff_t ignored;

	mark_pages(test, first);
	get(test, first + 9);
	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 0, GM_BLOCK_PAGES,
						     GUEST_MEMFD_ACCESS_KERNEL, &ignored), 0);
	get(test, first + 20);
	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, 1), 0);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, GM_BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, count_wrong(gm, first, 2), 0);
	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		unsigned long more = i == 9 || i == 20 ? GM_PAGE_COUNT_ONE : 0;

		wrong += gm_page_state(first + i) != GM_PAGE_AT_KERNEL + more;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	guest_memfd_put_direct_map(first + 9);
	guest_memfd_put_direct_map(first + 20);
	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, 0, GM_BLOCK_PAGES,
						     GUEST_MEMFD_ACCESS_NONE, &ignored), 0);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
	KUNIT_EXPECT_EQ(test, count_wrong(gm, first, 2), 0);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + GM_BLOCK_PAGES);
}

/*
 * memory_failure() has a reference to the block, and to the single page after
 * the split.
 */
static void test_split_poisoned(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test);
	struct page *first = new_block(test, gm);

	SetPageHWPoison(first + 9);
	get_page(first + 9);
	/*
	 * The reference may belong to any task, until the failure is recorded.
	 */
	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, 1), -EAGAIN);
	gm_page_set_failed(first + 9, GFP_KERNEL);
	/* memory_failure() has no reference to this page yet. */
	SetPageHWPoison(first + 11);
	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, 1), 0);
	KUNIT_EXPECT_TRUE(test, PageHWPoison(first + 9));
	KUNIT_EXPECT_EQ(test, page_count(first + 11), 2);
	ClearPageHWPoison(first + 11);
	KUNIT_EXPECT_FALSE(test, PageHWPoison(first));
	KUNIT_EXPECT_FALSE(test, PageHWPoison(first + 1));
	KUNIT_EXPECT_EQ(test, page_count(first), 2);
	KUNIT_EXPECT_EQ(test, page_count(first + 9), 3);
	ClearPageHWPoison(first + 9);
	put_page(first + 9);
}

/*
 * split_folio() knows neither the own words nor the library's references, so it
 * must fail.
 */
static void test_others_do_not_split(struct kunit *test)
{
	struct page *first = new_block(test, new_file(test));
	struct folio *folio = page_folio(first);

	folio_lock(folio);
	KUNIT_EXPECT_EQ(test, folio_check_splittable(folio, 0, SPLIT_TYPE_UNIFORM), -EBUSY);
	KUNIT_EXPECT_EQ(test, split_folio(folio), -EBUSY);
	folio_unlock(folio);
	KUNIT_EXPECT_EQ(test, folio_order(folio), GM_BLOCK_MAX_ORDER);
}

static void test_nothing_to_split(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test);
	struct page *first;

	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, 5), 0);
	KUNIT_EXPECT_EQ(test, gm->inode->i_mapping->nrpages, 0);
	first = new_block(test, gm);
	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, 0), 0);
	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, GM_BLOCK_PAGES), 0);
	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, GM_BLOCK_PAGES + 3), 0);
	KUNIT_EXPECT_TRUE(test, folio_test_large(page_folio(first)));
}

/* A state that a failed split must not change. */
struct snapshot {
	unsigned long state, state_9, hidden, refs;
};

static struct snapshot look(struct page *first)
{
	return (struct snapshot) {
		.state = gm_page_state(first),
		.state_9 = gm_page_state(first + 9),
		.hidden = gm_test_nr_hidden(),
		.refs = page_count(first),
	};
}

static void expect_whole(struct kunit *test, struct guest_memfd *gm, struct page *first,
			 const struct snapshot *before)
{
	struct snapshot now = look(first);
	struct folio *folio = page_folio(first);

	KUNIT_EXPECT_MEMEQ(test, &now, before, sizeof(now));
	KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 0), GM_BLOCK_MAX_ORDER);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&gm->nr_blocks), 1);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 1);
	KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
	KUNIT_EXPECT_FALSE(test, gm_cut_is_cut(first));
	KUNIT_EXPECT_TRUE(test, kernel_page_present(first + 9));
	KUNIT_EXPECT_FALSE(test, kernel_page_present(first + 8));
	KUNIT_EXPECT_PTR_EQ(test, xa_load(&gm->inode->i_mapping->i_pages, LAST), folio);
}

static void test_split_fails(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test);
	struct page *first = new_block(test, gm);
	struct snapshot before;

	mark_pages(test, first);
	get(test, first + 9);
	before = look(first);
	kunit_activate_static_stub(test, direct_map_split, no_split);
	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, 5), -ENOMEM);
	kunit_deactivate_static_stub(test, direct_map_split);
	expect_whole(test, gm, first, &before);

	get_page(first + LAST);
	before = look(first);
	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, 5), -EAGAIN);
	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, LAST), -EAGAIN);
	expect_whole(test, gm, first, &before);
	put_page(first + LAST);

	KUNIT_EXPECT_EQ(test, guest_memfd_block_split(gm, 5), 0);
	KUNIT_EXPECT_EQ(test, count_wrong(gm, first, 2), 0);
	guest_memfd_put_direct_map(first + 9);
}

/*
 * A task that locks the folio of its page while another task splits the folio.
 */
struct locker {
	struct page *page;
	unsigned int wrong, blocks, singles;
};

static int lock_and_look(void *data)
{
	struct locker *l = data;

	while (!kthread_should_stop()) {
		struct folio *folio = gm_lock_page(l->page);

		if (page_folio(l->page) != folio || !folio_test_locked(folio) ||
		    gm_page_count(gm_page_state(l->page)) != 1)
			l->wrong++;
		if (folio_test_large(folio))
			WRITE_ONCE(l->blocks, l->blocks + 1);
		else
			WRITE_ONCE(l->singles, l->singles + 1);
		folio_unlock(folio);
		/*
		 * The task has a reference to the block while it waits for the
		 * lock.
		 */
		usleep_range(10, 50);
	}
	return 0;
}

/*
 * Return: False if the counter has not increased by more than 10 within two
 * seconds.
 */
static bool counts(unsigned int *count)
{
	unsigned int tries, seen = READ_ONCE(*count);

	for (tries = 0; tries < 2000; tries++) {
		if (READ_ONCE(*count) - seen > 10)
			return true;
		usleep_range(500, 1000);
	}
	return false;
}

static void test_lock_page(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test);
	unsigned int round, tries;
	struct task_struct *task;
	int err;

	for (round = 0; round < 20; round++) {
		struct locker locker = { .page = new_block(test, gm) + 1 + 25 * round };
		int refs;

		get(test, locker.page);
		refs = page_count(locker.page);
		KUNIT_EXPECT_PTR_EQ(test, gm_lock_page(locker.page), page_folio(locker.page));
		KUNIT_EXPECT_TRUE(test, PageTail(locker.page));
		KUNIT_EXPECT_EQ(test, page_count(locker.page), refs);
		unlock_page(locker.page);

		task = kthread_run(lock_and_look, &locker, "gm_kunit_locker");
		KUNIT_ASSERT_FALSE(test, IS_ERR(task));
		KUNIT_EXPECT_TRUE(test, counts(&locker.blocks));
		for (tries = 0; (err = guest_memfd_block_split(gm, 7)) && tries < 1000; tries++)
			usleep_range(10, 200);
		KUNIT_EXPECT_EQ(test, err, 0);
		KUNIT_EXPECT_TRUE(test, counts(&locker.singles));
		kthread_stop(task);
		KUNIT_EXPECT_EQ(test, locker.wrong, 0);
		KUNIT_EXPECT_EQ(test, page_count(locker.page), 3);
		guest_memfd_put_direct_map(locker.page);
		guest_memfd_punch_hole(gm, 0, GM_BLOCK_PAGES);
		guest_memfd_block_wait();
	}
}

static struct kunit_case page_state_cases[] = {
	KUNIT_CASE(test_own_words),
	KUNIT_CASE(test_reserved_word),
	KUNIT_CASE(test_get_fails),
	KUNIT_CASE(test_change_bits),
	KUNIT_CASE(test_split),
	KUNIT_CASE(test_split_at_kernel),
	KUNIT_CASE(test_split_poisoned),
	KUNIT_CASE(test_others_do_not_split),
	KUNIT_CASE(test_nothing_to_split),
	KUNIT_CASE(test_split_fails),
	KUNIT_CASE(test_lock_page),
	{}
};

static struct kunit_suite page_state_suite = {
	.name = "guest_memfd_page_state",
	.init = gm_test_init,
	.exit = gm_test_exit,
	.test_cases = page_state_cases,
};

kunit_test_suite(page_state_suite);

MODULE_DESCRIPTION("KUnit tests of the words of a block's pages");
MODULE_LICENSE("GPL");
