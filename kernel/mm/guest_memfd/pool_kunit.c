// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the pool of hidden, clean blocks.
 *
 * Proves that a block which a file frees is hidden and clean in the next file,
 * that it is uncharged in between, and that this takes no flush; that the pool
 * neither accepts nor hands out a block while a page of it is poisoned or has
 * another reference; that the shrinker neither allocates nor flushes; and that
 * the pool obeys the watermarks, hibernation and memory offlining.
 *
 * Not covered: real memory pressure, cgroups and NUMA policies, which
 * guest_memfd_pool_test.c and guest_memfd_pool_numa_test.c of the selftests
 * test.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/guest_memfd.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/pagemap.h>
#include <linux/set_memory.h>
#include <linux/suspend.h>
#include <linux/vmstat.h>

#include "alloc.h"
#include "cut.h"
#include "direct_map.h"
#include "kunit.h"
#include "page_state.h"
#include "pool.h"
#include "scrub.h"
#include "teardown.h"

/* A high watermark of three blocks, in pages. */
#define THREE_BLOCKS "0,1536"

#define PATTERN 0x5ec2e75ec2e75ec2UL

static struct guest_memfd *new_file(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);

	/* Do not depend on guest_memfd.block_order. */
	gm->block_order = GM_BLOCK_MAX_ORDER;
	return gm;
}

static void close_file(struct gm_test *t)
{
	iput(t->gm->inode);
	t->gm = NULL;
	guest_memfd_block_wait();
}

/*
 * Return: The page at @index of a file with a whole block.  Only the library
 * and the page cache have references to the block.
 */
static struct page *populate(struct kunit *test, struct guest_memfd *gm,
			     pgoff_t index)
{
	struct page *page = gm_test_block_page(test, gm, index);

	put_page(page);
	return page;
}

/*
 * Return: A block of single pages, each with one reference, that one entry of 2
 * MiB maps.
 */
static struct page *new_block(struct kunit *test)
{
	struct page *first;

	first = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN,
			    GM_BLOCK_MAX_ORDER);
	if (!first)
		kunit_skip(test, "no 2 MiB page is available");
	split_page(first, GM_BLOCK_MAX_ORDER);
	direct_map_merge(first, NULL);
	KUNIT_ASSERT_GE(test, gm_test_entry(first), gm_test_whole_entry());
	gm_test_expect_flags(test, first, BLOCK_PAGES);
	return first;
}

/* Return: A block in the state that gm_pool_give() requires. */
static struct page *hidden_block(struct kunit *test)
{
	struct page *first = new_block(test);

	KUNIT_ASSERT_TRUE(test, gm_pool_freeze(first));
	KUNIT_ASSERT_EQ(test, direct_map_hide(first, BLOCK_PAGES), 0);
	return first;
}

/* Undo hidden_block(). */
static void free_block(struct kunit *test, struct page *first)
{
	unsigned int i;

	KUNIT_EXPECT_EQ(test, direct_map_restore(first, BLOCK_PAGES), 0);
	direct_map_merge(first, NULL);
	for (i = 0; i < BLOCK_PAGES; i++) {
		page_ref_unfreeze(first + i, 1);
		__free_page(first + i);
	}
}

static unsigned int count_present(struct page *first)
{
	unsigned int i, nr = 0;

	for (i = 0; i < BLOCK_PAGES; i++)
		nr += kernel_page_present(first + i);
	return nr;
}

static long sum_reclaimable(struct pglist_data *pgdat)
{
	/*
	 * Read the counter itself: node_page_state() returns 0 if it is
	 * negative without the parts of the CPUs.
	 */
	long nr = atomic_long_read(&pgdat->vm_stat[NR_KERNEL_MISC_RECLAIMABLE]);
#ifdef CONFIG_SMP
	int cpu;

	/* Add what each CPU has counted and not added to the counter yet. */
	for_each_online_cpu(cpu)
		nr += per_cpu_ptr(pgdat->per_cpu_nodestats, cpu)->
			vm_node_stat_diff[NR_KERNEL_MISC_RECLAIMABLE];
#endif
	return nr;
}

static unsigned long reclaimable(struct page *page)
{
	long nr, again = sum_reclaimable(page_pgdat(page));

	/* Read again if a CPU has moved its part to the counter meanwhile. */
	do {
		nr = again;
		again = sum_reclaimable(page_pgdat(page));
	} while (again != nr);
	return nr;
}

static unsigned int count_charged(struct page *first)
{
	unsigned int i, nr = 0;

	for (i = 0; i < BLOCK_PAGES; i++)
		nr += folio_memcg_charged(page_folio(first + i));
	return nr;
}

static void expect_references(struct kunit *test, struct page *first, int count)
{
	unsigned int i;

	for (i = 0; i < BLOCK_PAGES; i++) {
		KUNIT_EXPECT_EQ_MSG(test, page_count(first + i), count,
				    "page %u", i);
		if (page_count(first + i) != count)
			return;
	}
}

static bool is_zero(struct page *first)
{
	unsigned int i, offset;
	u64 words[8];

	for (i = 0; i < BLOCK_PAGES; i++) {
		for (offset = 0; offset < PAGE_SIZE; offset += sizeof(words)) {
			if (direct_map_read_hidden(first + i, offset, words,
						   sizeof(words)) ||
			    memchr_inv(words, 0, sizeof(words)))
				return false;
		}
	}
	return true;
}

static void test_circulates(struct kunit *test)
{
	unsigned int charged = mem_cgroup_disabled() ? 0 : BLOCK_PAGES;
	struct gm_test *t = test->priv;
	unsigned long before;
	u64 word = PATTERN;
	struct page *first;
	unsigned int i;

	gm_test_set_pool(test, THREE_BLOCKS);
	/* Free single pages of an earlier test, which count as well. */
	gm_test_drain();
	first = populate(test, new_file(test), 0);
	before = reclaimable(first);
	KUNIT_EXPECT_EQ(test, count_charged(first), charged);
	for (i = 0; i < BLOCK_PAGES; i++)
		KUNIT_EXPECT_EQ(test, guest_memfd_write_page(first + i, 8 * i, &word,
							     sizeof(word)), 0);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 1);
	t->restored_pfn = page_to_pfn(first);
	close_file(t);

	KUNIT_EXPECT_EQ(test, gm_pool_wait(page_to_nid(first)), 1);
	KUNIT_EXPECT_TRUE(test, gm_pool_owns_pfn(page_to_pfn(first) + 511));
	KUNIT_EXPECT_FALSE(test, gm_pool_owns_pfn(page_to_pfn(first) + 512));
	KUNIT_EXPECT_TRUE(test, guest_memfd_owns_pfn(page_to_pfn(first)));
	KUNIT_EXPECT_EQ(test, count_present(first), 0);
	KUNIT_EXPECT_EQ(test, count_charged(first), 0);
	KUNIT_EXPECT_EQ(test, reclaimable(first), before + BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, is_zero(first));
	expect_references(test, first, 0);

	KUNIT_EXPECT_PTR_EQ(test, populate(test, new_file(test), 5), first + 5);
	KUNIT_EXPECT_EQ(test, gm_pool_wait(page_to_nid(first)), 0);
	KUNIT_EXPECT_FALSE(test, gm_pool_owns_pfn(page_to_pfn(first)));
	KUNIT_EXPECT_TRUE(test, guest_memfd_owns_pfn(page_to_pfn(first)));
	KUNIT_EXPECT_EQ(test, count_present(first), 0);
	KUNIT_EXPECT_EQ(test, count_charged(first), charged);
	KUNIT_EXPECT_EQ(test, reclaimable(first), before);
	KUNIT_EXPECT_TRUE(test, is_zero(first));
	/* References of the page cache and of the library. */
	expect_references(test, first, BLOCK_PAGES + 1);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 1);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 0);
}

/*
 * A file that another task populates at the moment at which a block is added to
 * the pool.
 */
static struct {
	struct kunit *test;
	struct guest_memfd *gm;
	struct folio *folio;
	struct completion done;
} taker;

static int populate_taker(void *unused)
{
	struct address_space *mapping = taker.gm->inode->i_mapping;

	filemap_invalidate_lock_shared(mapping);
	taker.folio = guest_memfd_grab_folio(taker.gm, 0);
	filemap_invalidate_unlock_shared(mapping);
	if (!IS_ERR(taker.folio)) {
		folio_unlock(taker.folio);
		folio_put(taker.folio);
	}
	complete(&taker.done);
	return 0;
}

static bool give_and_take(struct page *first)
{
	kunit_deactivate_static_stub(taker.test, gm_pool_give);
	KUNIT_EXPECT_TRUE(taker.test, gm_pool_give(first));
	/* Populate by another task, which waits for no lock of this one. */
	if (!IS_ERR(kthread_run(populate_taker, NULL, "gm_kunit_taker")))
		wait_for_completion(&taker.done);
	return true;
}

/* The next file owns the block as soon as the former file has freed it. */
static void test_taken_at_once(struct kunit *test)
{
	struct guest_memfd *former = new_file(test), *next;
	struct gm_test *t = test->priv;
	struct page *first;

	gm_test_set_pool(test, THREE_BLOCKS);
	first = populate(test, former, 0);
	next = new_file(test);
	taker.test = test;
	taker.gm = next;
	taker.folio = NULL;
	init_completion(&taker.done);
	kunit_activate_static_stub(test, gm_pool_give, give_and_take);
	truncate_inode_pages(former->inode->i_mapping, 0);
	guest_memfd_block_reap(former);
	iput(former->inode);

	KUNIT_EXPECT_PTR_EQ(test, taker.folio, (struct folio *)first);
	KUNIT_EXPECT_TRUE(test, guest_memfd_owns_pfn(page_to_pfn(first)));
	/* A hole of one page cuts the block, and the page returns to it. */
	guest_memfd_punch_hole(next, 0, 1);
	KUNIT_EXPECT_TRUE(test, gm_cut_owns_pfn(page_to_pfn(first)));
	KUNIT_EXPECT_EQ(test, page_ref_count(first), 0);
	close_file(t);
	/* The node keeps the block as a cut one. */
	KUNIT_EXPECT_EQ(test, gm_pool_wait(page_to_nid(first)), 0);
	KUNIT_EXPECT_EQ(test, gm_cut_count(page_to_nid(first)), BLOCK_PAGES);
}

static void test_foreign_reference(struct kunit *test)
{
	struct page *first = new_block(test);

	gm_test_set_pool(test, THREE_BLOCKS);
	get_page(first + 5);
	KUNIT_EXPECT_FALSE(test, gm_pool_freeze(first));
	KUNIT_EXPECT_EQ(test, page_ref_count(first + 5), 2);
	put_page(first + 5);
	/*
	 * gm_pool_freeze() has unfrozen the pages before the one with another
	 * reference.
	 */
	expect_references(test, first, 1);

	KUNIT_ASSERT_TRUE(test, gm_pool_freeze(first));
	expect_references(test, first, 0);
	KUNIT_ASSERT_EQ(test, direct_map_hide(first, BLOCK_PAGES), 0);
	KUNIT_EXPECT_TRUE(test, gm_pool_give(first));
	KUNIT_EXPECT_FALSE(test, get_page_unless_zero(first + 5));
	KUNIT_EXPECT_PTR_EQ(test, gm_pool_take(page_to_nid(first)), first);
	expect_references(test, first, 0);
	free_block(test, first);
}

/* The last put of another reference adds a truncated block to the pool. */
static void test_held_block(struct kunit *test)
{
	struct gm_test *t = test->priv;
	struct page *page;

	gm_test_set_pool(test, THREE_BLOCKS);
	page = gm_test_block_page(test, new_file(test), 5);
	close_file(t);
	KUNIT_EXPECT_EQ(test, gm_pool_wait(page_to_nid(page)), 0);
	KUNIT_EXPECT_TRUE(test, PageTail(page));
	KUNIT_EXPECT_EQ(test, page_count(page), 2);
	KUNIT_EXPECT_EQ(test, count_present(page - 5), 0);
	put_page(page);
	guest_memfd_block_wait();
	KUNIT_EXPECT_EQ(test, gm_pool_wait(page_to_nid(page)), 1);
	expect_references(test, page - 5, 0);
}

/*
 * Expect the state of a page that the page allocator, or the next owner, relies
 * on.
 */
static void expect_plain(struct kunit *test, struct page *page, unsigned int i)
{
	unsigned long flags = page->flags.f;

	KUNIT_EXPECT_EQ_MSG(test, flags & PAGE_FLAGS_CHECK_AT_PREP, 0, "page %u", i);
	KUNIT_EXPECT_FALSE_MSG(test, PageCompound(page), "page %u", i);
	KUNIT_EXPECT_NULL_MSG(test, page->mapping, "page %u", i);
	KUNIT_EXPECT_EQ_MSG(test, page_private(page), 0, "page %u", i);
	KUNIT_EXPECT_EQ_MSG(test, atomic_read(&page->_mapcount), -1, "page %u", i);
}

/*
 * A block is one folio in a file, and single pages in the pool, several times.
 */
static void test_make_and_dissolve(struct kunit *test)
{
	struct gm_test *t = test->priv;
	unsigned int i, round, failed;
	struct page *first = NULL;

	gm_test_set_pool(test, THREE_BLOCKS);
	for (round = 0; round < 3; round++) {
		struct guest_memfd *gm = new_file(test);
		struct page *page = gm_test_block_page(test, gm, 9);
		struct folio *folio = page_folio(page);

		if (first)
			KUNIT_EXPECT_PTR_EQ(test, &folio->page, first);
		first = &folio->page;
		KUNIT_EXPECT_EQ(test, folio_order(folio), GM_BLOCK_MAX_ORDER);
		KUNIT_EXPECT_TRUE(test, folio_test_large_rmappable(folio));
		KUNIT_EXPECT_TRUE(test, folio_test_uptodate(folio));
		KUNIT_EXPECT_FALSE(test, folio_test_has_hwpoisoned(folio));
		KUNIT_EXPECT_FALSE(test, folio_test_partially_mapped(folio));
		KUNIT_EXPECT_FALSE(test, folio_test_dirty(folio));
		KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
		KUNIT_EXPECT_FALSE(test, folio_maybe_dma_pinned(folio));
		KUNIT_EXPECT_EQ(test, folio_large_mapcount(folio), 0);
		KUNIT_EXPECT_EQ(test, folio_entire_mapcount(folio), 0);
		for (i = 1; i < BLOCK_PAGES; i++) {
			if (!PageTail(first + i) || page_ref_count(first + i))
				break;
		}
		KUNIT_EXPECT_EQ(test, i, BLOCK_PAGES);
		/*
		 * Set what mmap(), a write and memory_failure() set in a folio.
		 */
		folio_set_dirty(folio);
		folio_set_referenced(folio);
		folio_set_has_hwpoisoned(folio);
		folio_set_partially_mapped(folio);
		put_page(page);
		close_file(t);

		KUNIT_ASSERT_EQ(test, gm_pool_wait(page_to_nid(first)), 1);
		failed = 0;
		for (i = 0; i < BLOCK_PAGES && !failed; i++) {
			expect_plain(test, first + i, i);
			failed = test->status == KUNIT_FAILURE;
		}
		expect_references(test, first, 0);
	}
	/* The page allocator reports no page in a wrong state. */
	KUNIT_EXPECT_EQ(test, gm_pool_shrink(page_to_nid(first), 1), 1);
}

static struct page *given;
static unsigned long second_flags;

static bool look_and_refuse(struct page *first)
{
	given = first;
	second_flags = first[1].flags.f & PAGE_FLAGS_SECOND;
	return false;
}

/*
 * As above with a pool that accepts no block: the block is freed.  The page
 * allocator checks the flags only in some configurations, so the test checks
 * them.
 */
static void test_dissolve_and_free(struct kunit *test)
{
	struct guest_memfd *gm = new_file(test);
	struct page *page = gm_test_block_page(test, gm, 9);
	struct page *first = page - 9;

	folio_set_dirty(page_folio(page));
	folio_set_has_hwpoisoned(page_folio(page));
	folio_set_partially_mapped(page_folio(page));
	put_page(page);
	given = NULL;
	kunit_activate_static_stub(test, gm_pool_give, look_and_refuse);
	truncate_inode_pages(gm->inode->i_mapping, 0);
	guest_memfd_block_reap(gm);
	kunit_deactivate_static_stub(test, gm_pool_give);
	KUNIT_EXPECT_PTR_EQ(test, given, first);
	KUNIT_EXPECT_EQ(test, second_flags, 0);
	KUNIT_EXPECT_EQ(test, count_present(first), BLOCK_PAGES);
	KUNIT_EXPECT_FALSE(test, guest_memfd_owns_pfn(page_to_pfn(first)));
	gm_test_expect_flags(test, first, BLOCK_PAGES);
}

static void test_poisoned_before(struct kunit *test)
{
	struct page *first = hidden_block(test);

	gm_test_set_pool(test, THREE_BLOCKS);
	SetPageHWPoison(first + 9);
	KUNIT_EXPECT_FALSE(test, gm_pool_give(first));
	expect_references(test, first, 0);
	ClearPageHWPoison(first + 9);
	free_block(test, first);
}

/* Expect that all pages but page 9 were freed, and free page 9. */
static void expect_bad_block(struct kunit *test, struct page *first)
{
	struct gm_test *t = test->priv;
	unsigned int i, nr_free = 0;

	gm_pool_wait(page_to_nid(first));
	KUNIT_EXPECT_EQ(test, count_present(first), BLOCK_PAGES - 1);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(first + 9));
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(), t->hidden_before + 1);
	KUNIT_EXPECT_EQ(test, page_ref_count(first + 9), 2);
	gm_test_expect_flags(test, first, 9);
	gm_test_expect_flags(test, first + 10, BLOCK_PAGES - 10);
	KUNIT_EXPECT_FALSE(test, gm_pool_owns_pfn(page_to_pfn(first)));

	for (i = 0; i < BLOCK_PAGES; i++)
		nr_free += !page_ref_count(first + i);
	/* Other tasks may have allocated some of the pages. */
	KUNIT_EXPECT_GT(test, nr_free, BLOCK_PAGES / 2);

	ClearPageHWPoison(first + 9);
	KUNIT_EXPECT_EQ(test, direct_map_restore(first + 9, 1), 0);
	direct_map_merge(first, NULL);
	gm_test_expect_flags(test, first, BLOCK_PAGES);
	put_page(first + 9);
	__free_page(first + 9);
}

/* Mark a page poisoned while its block is being freed. */
static void test_poisoned_then_freed(struct kunit *test)
{
	struct page *bad = hidden_block(test);

	gm_test_set_pool(test, "0");
	SetPageHWPoison(bad + 9);
	gm_give_block(bad);
	expect_bad_block(test, bad);
}

static void test_poisoned_then_taken(struct kunit *test)
{
	struct page *bad = hidden_block(test), *good = hidden_block(test);
	int nid = page_to_nid(bad);

	gm_test_set_pool(test, THREE_BLOCKS);
	KUNIT_EXPECT_TRUE(test, gm_pool_give(good));
	KUNIT_EXPECT_TRUE(test, gm_pool_give(bad));
	SetPageHWPoison(bad + 9);
	KUNIT_EXPECT_PTR_EQ(test, gm_pool_take(nid), good);
	KUNIT_EXPECT_NULL(test, gm_pool_take(nid));
	free_block(test, good);
	expect_bad_block(test, bad);
}

static void test_poisoned_then_shrunk(struct kunit *test)
{
	struct page *bad = hidden_block(test);

	gm_test_set_pool(test, THREE_BLOCKS);
	KUNIT_EXPECT_TRUE(test, gm_pool_give(bad));
	SetPageHWPoison(bad + 9);
	KUNIT_EXPECT_EQ(test, gm_pool_shrink(page_to_nid(bad), 1), 1);
	expect_bad_block(test, bad);
}

/*
 * Set the watermark to 0 and run the worker, then return the former watermark.
 */
static unsigned long high_is_lowered(int nid)
{
	struct kunit *test = kunit_get_current_test();
	unsigned long high;

	kunit_deactivate_static_stub(test, gm_pool_high);
	high = gm_pool_high(nid);
	gm_test_set_pool(test, "0");
	return high;
}

static void test_given_late(struct kunit *test)
{
	struct page *first = hidden_block(test);

	gm_test_set_pool(test, THREE_BLOCKS);
	kunit_activate_static_stub(test, gm_pool_high, high_is_lowered);
	KUNIT_EXPECT_TRUE(test, gm_pool_give(first));
	KUNIT_EXPECT_EQ(test, gm_pool_wait(page_to_nid(first)), 0);
	KUNIT_EXPECT_FALSE(test, gm_pool_owns_pfn(page_to_pfn(first)));
}

static void test_split(struct kunit *test)
{
	struct page *first = hidden_block(test);

	gm_test_set_pool(test, THREE_BLOCKS);
	KUNIT_EXPECT_EQ(test, direct_map_restore(first + 3, 1), 0);
	KUNIT_EXPECT_EQ(test, direct_map_hide(first + 3, 1), 0);
	KUNIT_EXPECT_EQ(test, gm_test_entry(first), PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, gm_pool_give(first));
	expect_references(test, first, 0);
	free_block(test, first);
	KUNIT_EXPECT_GE(test, gm_test_entry(first), gm_test_whole_entry());
}

static unsigned long sum_events(const unsigned long *events, bool flushes)
{
	unsigned long sum = 0;
	unsigned int i;

	if (flushes) {
		for (i = 0; i < gm_test_nr_flush_events; i++)
			sum += events[gm_test_flush_events[i]];
	} else {
		for (i = 0; i < MAX_NR_ZONES; i++)
			sum += events[PGALLOC_NORMAL - ZONE_NORMAL + i];
	}
	return sum;
}

/* The entry of a block exists, so restoring it allocates nothing. */
static void test_shrink(struct kunit *test)
{
	/* These arrays are too large for the stack. */
	static unsigned long before[NR_VM_EVENT_ITEMS], after[NR_VM_EVENT_ITEMS];
	unsigned int i, tries, nr_quiet = 0;
	struct page *first[3];
	int nid = 0;

	/*
	 * Another task may allocate or flush concurrently, so try several
	 * times.
	 */
	for (tries = 0; tries < 20 && !nr_quiet; tries++) {
		gm_test_set_pool(test, THREE_BLOCKS);
		for (i = 0; i < ARRAY_SIZE(first); i++) {
			first[i] = hidden_block(test);
			nid = page_to_nid(first[i]);
			KUNIT_ASSERT_TRUE(test, gm_pool_give(first[i]));
		}
		all_vm_events(before);
		KUNIT_EXPECT_EQ(test, gm_pool_shrink(nid, 2), 2);
		KUNIT_EXPECT_EQ(test, gm_pool_shrink(nid, 2), 1);
		all_vm_events(after);
		KUNIT_EXPECT_EQ(test, gm_pool_shrink(nid, 2), 0);
		for (i = 0; i < ARRAY_SIZE(first); i++) {
			gm_test_expect_flags(test, first[i], BLOCK_PAGES);
			KUNIT_EXPECT_GE(test, gm_test_entry(first[i]), gm_test_whole_entry());
			KUNIT_EXPECT_FALSE(test, gm_pool_owns_pfn(page_to_pfn(first[i])));
		}
		nr_quiet += sum_events(before, true) == sum_events(after, true) &&
			    sum_events(before, false) == sum_events(after, false);
	}
	KUNIT_EXPECT_EQ(test, nr_quiet, 1);
}

static void test_high_mark(struct kunit *test)
{
	struct page *first[4];
	unsigned int i;
	int nid = 0;

	gm_test_set_pool(test, THREE_BLOCKS);
	for (i = 0; i < ARRAY_SIZE(first); i++) {
		first[i] = hidden_block(test);
		nid = page_to_nid(first[i]);
		KUNIT_EXPECT_EQ(test, gm_pool_give(first[i]), i < 3);
	}
	expect_references(test, first[3], 0);
	free_block(test, first[3]);
	KUNIT_EXPECT_EQ(test, gm_pool_wait(nid), 3);
	gm_test_set_pool(test, "0,1024");
	KUNIT_EXPECT_EQ(test, gm_pool_wait(nid), 2);
	gm_test_set_pool(test, "0");
	KUNIT_EXPECT_EQ(test, gm_pool_wait(nid), 0);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, count_present(first[i]), BLOCK_PAGES);
}

static void test_low_mark(struct kunit *test)
{
	struct gm_test *t = test->priv;
	struct page *first[3];
	unsigned int i;
	int nid = first_memory_node;

	gm_test_set_pool(test, "1024,1536");
	/* The worker pauses for 10 s after the shrinker has freed a block. */
	for (i = 0; i < 12 && gm_pool_wait(nid) < 3; i++)
		msleep(1000);
	KUNIT_EXPECT_EQ(test, gm_pool_wait(nid), 3);
	KUNIT_EXPECT_EQ(test, direct_map_nr_hidden(),
			t->hidden_before + 3 * BLOCK_PAGES);
	for (i = 0; i < 3; i++) {
		first[i] = gm_pool_take(nid);
		KUNIT_ASSERT_NOT_NULL(test, first[i]);
		KUNIT_EXPECT_EQ(test, count_present(first[i]), 0);
		KUNIT_EXPECT_TRUE(test, is_zero(first[i]));
		expect_references(test, first[i], 0);
		/* Two blocks are not below the low watermark, one block is. */
		KUNIT_EXPECT_EQ(test, gm_pool_wait(nid), i == 1 ? 3 : 2);
		KUNIT_EXPECT_FALSE(test, gm_pool_owns_pfn(page_to_pfn(first[i])));
	}
	gm_test_set_pool(test, "0");
	for (i = 0; i < 3; i++)
		free_block(test, first[i]);
}

static void test_marks_are_checked(struct kunit *test)
{
	static const struct {
		const char *value;
		int err;
	} bad[] = {
		{ "", -EINVAL }, { "x", -EINVAL }, { "1,", -EINVAL },
		{ "1,2,3", -EINVAL }, { "2,1", -EINVAL }, { "3%,2%", -EINVAL },
		{ "%", -EINVAL }, { "-1", -EINVAL }, { "51%", -ERANGE },
		{ "0,51%", -ERANGE }, { "9223372036854775808", -ERANGE },
		{ "18446744073709551616", -ERANGE },
	};
	char *text = (char *)get_zeroed_page(GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, text);
	gm_test_set_pool(test, THREE_BLOCKS);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		KUNIT_EXPECT_EQ_MSG(test, gm_pool_set(bad[i].value, NULL), bad[i].err,
				    "\"%s\"", bad[i].value);
		gm_pool_get(text, NULL);
		KUNIT_EXPECT_STREQ(test, text, THREE_BLOCKS "\n");
	}
	free_page((unsigned long)text);
}

static void test_hibernation(struct kunit *test)
{
	struct page *first = hidden_block(test), *held = hidden_block(test);
	int nid = page_to_nid(first);
	bool active;

	gm_test_set_pool(test, THREE_BLOCKS);
	KUNIT_EXPECT_TRUE(test, gm_pool_give(held));
	active = guest_memfd_active();
	KUNIT_EXPECT_TRUE_MSG(test, active, "a hidden page is in no pool");
	KUNIT_EXPECT_TRUE(test, gm_pool_give(first));
	KUNIT_EXPECT_FALSE(test, guest_memfd_active());
	KUNIT_EXPECT_EQ(test, gm_pool_unsaved_pages(), 2 * BLOCK_PAGES);

	held = gm_pool_take(nid);
	KUNIT_ASSERT_NOT_NULL(test, held);
	first = gm_pool_take(nid);
	KUNIT_ASSERT_NOT_NULL(test, first);
	KUNIT_EXPECT_TRUE(test, gm_pool_give(first));
	gm_pool_hibernation(NULL, PM_HIBERNATION_PREPARE, NULL);
	KUNIT_EXPECT_EQ(test, gm_pool_wait(nid), 0);
	KUNIT_EXPECT_EQ(test, count_present(first), BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, gm_pool_unsaved_pages(), 0);
	/* Neither files nor the worker add blocks to the pool meanwhile. */
	KUNIT_EXPECT_FALSE(test, gm_pool_give(held));
	expect_references(test, held, 0);
	gm_test_set_pool(test, "512,1536");
	KUNIT_EXPECT_EQ(test, gm_pool_wait(nid), 0);
	KUNIT_EXPECT_TRUE(test, guest_memfd_active());

	gm_test_set_pool(test, THREE_BLOCKS);
	gm_pool_hibernation(NULL, PM_POST_HIBERNATION, NULL);
	KUNIT_EXPECT_TRUE(test, gm_pool_give(held));
	KUNIT_EXPECT_EQ(test, gm_pool_wait(nid), 1);
}

/*
 * Hibernation drains free single pages like blocks, and no page becomes free
 * meanwhile.
 */
static void test_hibernation_singles(struct kunit *test)
{
	struct page *first = hidden_block(test);
	int nid = page_to_nid(first);
	unsigned long free;

	gm_test_set_pool(test, THREE_BLOCKS);
	free = gm_cut_count(nid);
	KUNIT_ASSERT_TRUE(test, gm_cut_block(first));
	KUNIT_EXPECT_EQ(test, gm_cut_count(nid), free + BLOCK_PAGES - 1);
	gm_pool_hibernation(NULL, PM_HIBERNATION_PREPARE, NULL);
	KUNIT_EXPECT_EQ(test, gm_cut_count(nid), 0);
	KUNIT_EXPECT_EQ(test, count_present(first), BLOCK_PAGES - 1);

	KUNIT_ASSERT_TRUE(test, page_ref_freeze(first, 1));
	KUNIT_EXPECT_FALSE(test, gm_cut_give(first));
	page_ref_unfreeze(first, 1);
	gm_cut_free(first, false);
	KUNIT_EXPECT_EQ(test, gm_cut_count(nid), 0);
	KUNIT_EXPECT_EQ(test, count_present(first), BLOCK_PAGES);
	gm_cut_flush();
	KUNIT_EXPECT_GE(test, gm_test_entry(first), gm_test_whole_entry());
	gm_pool_hibernation(NULL, PM_POST_HIBERNATION, NULL);
}

#ifdef CONFIG_MEMORY_ISOLATION
/*
 * Isolate memory as memory offlining does before it asks the pool to free its
 * blocks.
 */
static void test_isolated(struct kunit *test)
{
	struct page *first = hidden_block(test), *other = hidden_block(test);
	unsigned long pfn = page_to_pfn(first), other_pfn = page_to_pfn(other);
	int nid = page_to_nid(first);

	gm_test_set_pool(test, THREE_BLOCKS);
	KUNIT_ASSERT_EQ(test, pageblock_order, GM_BLOCK_MAX_ORDER);
	/*
	 * The pages have a frozen reference count, so they do not look
	 * unmovable.
	 */
	KUNIT_ASSERT_EQ(test, start_isolate_page_range(other_pfn, other_pfn + BLOCK_PAGES,
						       PB_ISOLATE_MODE_MEM_OFFLINE), 0);
	KUNIT_EXPECT_TRUE(test, gm_pool_give(first));
	KUNIT_ASSERT_EQ_MSG(test,
			    start_isolate_page_range(pfn, pfn + BLOCK_PAGES,
						     PB_ISOLATE_MODE_MEM_OFFLINE), 0,
			    "the pool's pages look unmovable");
	KUNIT_EXPECT_FALSE(test, gm_pool_give(other));
	expect_references(test, other, 0);
	/* The pool frees its block instead of handing it out. */
	KUNIT_EXPECT_NULL(test, gm_pool_take(nid));
	KUNIT_EXPECT_EQ(test, gm_pool_wait(nid), 0);
	KUNIT_EXPECT_EQ(test, count_present(first), BLOCK_PAGES);
	undo_isolate_page_range(pfn, pfn + BLOCK_PAGES);
	undo_isolate_page_range(other_pfn, other_pfn + BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, gm_pool_give(other));
}
#else
static void test_isolated(struct kunit *test)
{
	kunit_skip(test, "no memory is isolated here");
}
#endif

static struct kunit_case pool_test_cases[] = {
	KUNIT_CASE(test_circulates),
	KUNIT_CASE(test_taken_at_once),
	KUNIT_CASE(test_foreign_reference),
	KUNIT_CASE(test_held_block),
	KUNIT_CASE(test_make_and_dissolve),
	KUNIT_CASE(test_dissolve_and_free),
	KUNIT_CASE(test_poisoned_before),
	KUNIT_CASE(test_poisoned_then_freed),
	KUNIT_CASE(test_poisoned_then_taken),
	KUNIT_CASE(test_poisoned_then_shrunk),
	KUNIT_CASE(test_given_late),
	KUNIT_CASE(test_split),
	KUNIT_CASE(test_shrink),
	KUNIT_CASE(test_high_mark),
	KUNIT_CASE(test_low_mark),
	KUNIT_CASE(test_marks_are_checked),
	KUNIT_CASE(test_hibernation),
	KUNIT_CASE(test_hibernation_singles),
	KUNIT_CASE(test_isolated),
	{}
};

static struct kunit_suite pool_test_suite = {
	.name = "guest_memfd_pool",
	.init = gm_test_init,
	.exit = gm_test_exit,
	.test_cases = pool_test_cases,
};

kunit_test_suite(pool_test_suite);

MODULE_DESCRIPTION("KUnit tests of the pool of hidden blocks");
MODULE_LICENSE("GPL");
