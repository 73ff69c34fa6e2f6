// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the direct map's entries: restoring a page puts back exactly
 * the entry that hiding removed, and no other kernel address translates to a
 * hidden page.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/guest_memfd.h>
#include <linux/kthread.h>
#include <linux/pagemap.h>
#include <linux/pagewalk.h>
#include <linux/set_memory.h>
#include <linux/temp_map.h>
#include <linux/uaccess.h>

#include "block.h"
#include "direct_map.h"
#include "kunit.h"
#include "page_state.h"
#include "teardown.h"

unsigned long gm_test_entry(struct page *page)
{
	unsigned long size;

	gm_test_flags(page, &size);
	return size;
}

unsigned long gm_test_whole_entry(void)
{
	return direct_map_merges() ? PMD_SIZE : PAGE_SIZE;
}

void gm_test_expect_flags(struct kunit *test, struct page *page, unsigned int nr)
{
	unsigned long want = gm_test_boot_flags(), size;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		unsigned long flags = gm_test_flags(page + i, &size);

		KUNIT_EXPECT_EQ_MSG(test, flags, want,
				    "page %u of %u, in an entry of %lu", i, nr, size);
		if (flags != want)
			return;
	}
}

/*
 * Allocate pages, and expect that their entries have the flags of boot: an
 * earlier test may have hidden and restored these pages.
 */
struct page *gm_test_new_pages(struct kunit *test, unsigned int order)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, order);

	if (!page)
		kunit_skip(test, "no memory of order %u", order);
	gm_test_expect_flags(test, page, 1 << order);
	return page;
}

static void hide_and_restore(struct kunit *test, unsigned int order)
{
	struct page *page = gm_test_new_pages(test, order);

	KUNIT_EXPECT_EQ(test, direct_map_hide(page, 1 << order), 0);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	KUNIT_EXPECT_EQ(test, direct_map_restore(page, 1 << order), 0);
	gm_test_expect_flags(test, page, 1 << order);
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

/* Restoring the first page alone splits the entry of the hidden block. */
static void test_flags_after_split(struct kunit *test)
{
	struct page *page = gm_test_new_pages(test, GM_BLOCK_MAX_ORDER);
	unsigned long before;

	direct_map_merge(page, NULL);
	before = gm_test_entry(page);
	KUNIT_EXPECT_EQ(test, direct_map_hide(page, BLOCK_PAGES), 0);
	KUNIT_EXPECT_EQ(test, direct_map_restore(page + 7, 1), 0);
	gm_test_expect_flags(test, page + 7, 1);
	KUNIT_EXPECT_EQ(test, direct_map_hide(page + 7, 1), 0);
	KUNIT_EXPECT_EQ(test, direct_map_restore(page, BLOCK_PAGES), 0);
	gm_test_expect_flags(test, page, BLOCK_PAGES);
	direct_map_merge(page, NULL);
	gm_test_expect_flags(test, page, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, gm_test_entry(page), before);
	__free_pages(page, GM_BLOCK_MAX_ORDER);
}

/* Wait until a worker has cleared and freed the pages of a closed file. */
static void wait_until_freed(struct page *page)
{
	unsigned int tries;

	for (tries = 0; tries < 500; tries++) {
		if (kernel_page_present(page) &&
		    !guest_memfd_owns_pfn(page_to_pfn(page)))
			break;
		msleep(20);
	}
	/* The worker may still be processing the pages that follow. */
	guest_memfd_block_wait();
}

/*
 * Check the entries of a page and of its block, with and without a direct-map
 * reference.
 */
static void flags_of_file(struct kunit *test, pgoff_t index, unsigned int level)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	unsigned int nr = index < TAIL ? BLOCK_PAGES : 1;
	struct page *page, *first;
	pgoff_t error;

	/* Do not depend on guest_memfd.block_order. */
	gm->block_order = GM_BLOCK_MAX_ORDER;
	if (nr > 1) {
		page = gm_test_block_page(test, gm, index);
	} else {
		page = gm_test_grab(test, gm, index);
		unlock_page(page);
	}
	first = page - (index & (nr - 1));
	if (level) {
		KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, index & ~(nr - 1UL),
							     (index & ~(nr - 1UL)) + nr,
							     level, &error), 0);
		if (level == GUEST_MEMFD_ACCESS_KERNEL)
			gm_test_expect_flags(test, first, nr);
		else
			KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	}
	lock_page(page);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	gm_test_expect_flags(test, page, 1);
	unlock_page(page);
	guest_memfd_put_direct_map(page);
	put_page(page);

	t->gm = NULL;
	iput(gm->inode);
	wait_until_freed(first);
	gm_test_expect_flags(test, first, nr);
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

#define SECRET 0x5ec2e75ec2e75ec2UL

/* A CPU that reads the address at which another CPU maps a hidden page. */
struct poll {
	unsigned long addr;
	unsigned long looks;
	unsigned long seen;
};

static int poll_address(void *data)
{
	struct poll *poll = data;
	u64 word;

	while (!kthread_should_stop()) {
		void *addr = (void *)READ_ONCE(poll->addr);

		if (addr && !copy_from_kernel_nofault(&word, addr, sizeof(word)) &&
		    word == SECRET)
			WRITE_ONCE(poll->seen, poll->seen + 1);
		WRITE_ONCE(poll->looks, poll->looks + 1);
		if (!(poll->looks % 1024))
			cond_resched();
	}
	return 0;
}

struct task_struct *gm_test_on_other_cpu(struct kunit *test, int (*fn)(void *), void *data)
{
	unsigned int cpu = cpumask_any_but(cpu_online_mask, smp_processor_id());
	struct task_struct *task;

	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "one CPU only");
	task = kthread_create_on_cpu(fn, data, cpu, "gm_kunit/%u");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wake_up_process(task);
	return task;
}

static bool looked(struct poll *poll, unsigned long more)
{
	unsigned long until = READ_ONCE(poll->looks) + more;
	unsigned long spins;

	for (spins = 0; spins < 500000000UL; spins++) {
		if (READ_ONCE(poll->looks) >= until)
			return true;
		cpu_relax();
	}
	return false;
}

/*
 * KASAN has no shadow for the address if it is in the user half of the address
 * space.
 */
static noinline __no_sanitize_address void store(u64 *vaddr, u64 value)
{
	*vaddr = value;
}

static void test_poll_temporary_address(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct page *page = gm_test_grab(test, gm, TAIL);
	struct task_struct *task;
	struct poll poll = {};
	unsigned long during;
	bool went_on;
	u64 *vaddr;

	unlock_page(page);
	migrate_disable();
	task = gm_test_on_other_cpu(test, poll_address, &poll);
	KUNIT_EXPECT_TRUE(test, looked(&poll, 1));

	vaddr = temp_map(page, BIT(0));
	store(vaddr, SECRET);
	WRITE_ONCE(poll.addr, (unsigned long)vaddr);
	went_on = looked(&poll, 1000);
	during = READ_ONCE(poll.seen);
	temp_unmap();
	WRITE_ONCE(poll.seen, 0);

	KUNIT_EXPECT_TRUE(test, went_on);
	KUNIT_EXPECT_TRUE(test, looked(&poll, 10000));
	kthread_stop(task);
	migrate_enable();
	KUNIT_EXPECT_EQ_MSG(test, during, 0, "another CPU read the hidden page");
	KUNIT_EXPECT_EQ_MSG(test, poll.seen, 0,
			    "another CPU read it after it was unmapped");
	put_page(page);
}

/* Records what temp_unmap() does before it leaves the temporary mm. */
struct invalidation {
	unsigned long which;
	unsigned int calls;
	unsigned int entries;
	unsigned int present;
};

static void note_invalidation(unsigned long which)
{
	struct invalidation *inv = kunit_get_current_test()->priv;

	inv->calls++;
	inv->which = which;
	gm_test_temp_entries(&inv->entries, &inv->present);
	gm_test_temp_flush();
}

/*
 * QEMU has no PCIDs and ASIDs, and Bochs drops all PCIDs on a write to CR3, so
 * no emulator shows a stale TLB entry.  Check instead that temp_unmap()
 * invalidates the TLB entries of all pages, after it has cleared their page
 * table entries and while the mm is loaded.
 */
static void test_invalidate(struct kunit *test)
{
	static const unsigned long which[] = { BIT(0), BIT(0) | BIT(41), BIT(63), ~0UL };
	struct page *page = gm_test_new_pages(test, 6);
	void *former = test->priv;
	struct invalidation inv;
	unsigned int i;

	kunit_activate_static_stub(test, temp_map_invalidate, note_invalidation);
	for (i = 0; i < ARRAY_SIZE(which); i++) {
		inv = (struct invalidation){};
		test->priv = &inv;
		temp_map(page, which[i]);
		temp_unmap();
		test->priv = former;
		KUNIT_EXPECT_EQ(test, inv.calls, 1);
		KUNIT_EXPECT_EQ(test, inv.which, which[i]);
		KUNIT_EXPECT_EQ(test, inv.present, 0);
		KUNIT_EXPECT_EQ(test, inv.entries, TEMP_MAP_PAGES);
	}
	kunit_deactivate_static_stub(test, temp_map_invalidate);
	__free_pages(page, 6);
}

/*
 * Entries of init_mm, outside the direct map, that map pages of hidden files.
 */
struct search {
	unsigned long first;
	unsigned long found;
};

static void look_at(struct search *s, unsigned long addr, unsigned long pfn,
		    unsigned long nr)
{
	for (; nr; nr--, pfn++) {
		if (!guest_memfd_owns_pfn(pfn))
			continue;
		if (!s->found++)
			s->first = addr;
	}
}

static int look_at_pte(pte_t *pte, unsigned long addr, unsigned long next,
		       struct mm_walk *walk)
{
	pte_t entry = ptep_get(pte);

	if (pte_present(entry))
		look_at(walk->private, addr, pte_pfn(entry), 1);
	return 0;
}

static int look_at_pmd(pmd_t *pmd, unsigned long addr, unsigned long next,
		       struct mm_walk *walk)
{
	pmd_t entry = pmdp_get(pmd);

	if (pmd_leaf(entry)) {
		look_at(walk->private, addr, pmd_pfn(entry), PTRS_PER_PMD);
		walk->action = ACTION_CONTINUE;
	}
	return 0;
}

static const struct mm_walk_ops search_ops = {
	.pmd_entry = look_at_pmd,
	.pte_entry = look_at_pte,
	.walk_lock = PGWALK_RDLOCK,
};

static void search(struct search *s)
{
	struct gm_test_range ranges[GM_TEST_MAX_RANGES];
	unsigned int i, nr = gm_test_ranges(ranges);

	guard(mmap_read_lock)(&init_mm);
	for (i = 0; i < nr; i++)
		walk_kernel_page_table_range(ranges[i].start, ranges[i].end, &search_ops,
					     NULL, s);
}

#define NR_ACCESSES	100000
#define NR_BLOCKS	20

/* With KASAN each search takes long, because it includes the shadow. */
#define MIN_SEARCHES	(IS_ENABLED(CONFIG_KASAN) ? 2 : 100)

struct accesses {
	struct guest_memfd *gm;
	struct page *page;
	unsigned int wrong;
	bool searched, done;
};

static void access_page(struct accesses *a, unsigned int i)
{
	unsigned int offset = i % 512 * sizeof(u64);
	u64 value = i, found = 0;

	if (guest_memfd_write_page(a->page, offset, &value, sizeof(value)) ||
	    guest_memfd_cmpxchg_page(a->page, offset, &value, &found,
				     sizeof(value)) ||
	    guest_memfd_read_page(a->page, offset, &found, sizeof(found)) ||
	    found)
		a->wrong++;
}

/* Access hidden pages in every way that the library has. */
static void access_all_ways(struct accesses *a)
{
	struct address_space *mapping = a->gm->inode->i_mapping;
	unsigned int i;

	for (i = 0; i < NR_ACCESSES; i++) {
		access_page(a, i);
		if (i % 1024)
			continue;
		/* Make the library scrub one page. */
		guest_memfd_punch_hole(a->gm, 0, 1);
		filemap_invalidate_lock_shared(mapping);
		if (guest_memfd_block_populate(a->gm, 0))
			a->wrong++;
		filemap_invalidate_unlock_shared(mapping);
		cond_resched();
	}
	for (i = 0; i < NR_BLOCKS; i++) {
		/* Make the library clear a whole block. */
		guest_memfd_punch_hole(a->gm, 0, BLOCK_PAGES);
		filemap_invalidate_lock_shared(mapping);
		if (guest_memfd_block_populate(a->gm, 0))
			a->wrong++;
		filemap_invalidate_unlock_shared(mapping);
		cond_resched();
	}
}

static int make_accesses(void *data)
{
	struct accesses *a = data;

	do {
		access_all_ways(a);
	} while (!READ_ONCE(a->searched));
	/* Pairs with the smp_load_acquire() in test_no_other_address(). */
	smp_store_release(&a->done, true);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static void test_no_other_address(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct accesses a = { .gm = gm };
	struct task_struct *task;
	unsigned int searches = 0;
	struct search s = {};

	gm->block_order = GM_BLOCK_MAX_ORDER;
	a.page = gm_test_grab(test, gm, 0);
	unlock_page(a.page);
	put_page(a.page);
	a.page = gm_test_grab(test, gm, TAIL);
	unlock_page(a.page);

	task = gm_test_on_other_cpu(test, make_accesses, &a);
	do {
		search(&s);
		if (++searches == MIN_SEARCHES)
			WRITE_ONCE(a.searched, true);
		cond_resched();
		/* Pairs with the smp_store_release() in make_accesses(). */
	} while (!smp_load_acquire(&a.done));
	kthread_stop(task);

	KUNIT_EXPECT_EQ(test, a.wrong, 0);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(a.page));
	KUNIT_EXPECT_EQ_MSG(test, s.found, 0, "first at 0x%lx, in %u searches",
			    s.first, searches);
	put_page(a.page);
}

/* Access a page at each level, and in a file whose memory is not hidden. */
static void read_and_write(struct kunit *test, struct page *page)
{
	static const unsigned int lens[] = { 0, 1, 2, 3, 4, 7, 8, 9, 100, 511 };
	u8 *buf = kunit_kzalloc(test, 2 * PAGE_SIZE, GFP_KERNEL);
	u8 *want = buf + PAGE_SIZE;
	unsigned int i, j, shift;
	unsigned long flags;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	for (i = 0; i < PAGE_SIZE; i++)
		want[i] = i * 7 + 1;
	KUNIT_EXPECT_EQ(test, guest_memfd_write_page(page, 0, want, PAGE_SIZE), 0);
	local_save_flags(flags);
	KUNIT_EXPECT_FALSE(test, irqs_disabled_flags(flags));
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		for (shift = 0; shift < 9; shift++) {
			unsigned int at = PAGE_SIZE - 520 + shift;

			memset(buf, 0, PAGE_SIZE);
			KUNIT_EXPECT_EQ(test, guest_memfd_read_page(page, at, buf, lens[i]),
					0);
			KUNIT_EXPECT_EQ(test, memcmp(buf, want + at, lens[i]), 0);
			KUNIT_EXPECT_EQ(test, buf[lens[i]], 0);
			for (j = 0; j < lens[i]; j++) {
				buf[j] = ~want[at + j];
				want[at + j] = buf[j];
			}
			KUNIT_EXPECT_EQ(test, guest_memfd_write_page(page, at, buf, lens[i]),
					0);
		}
	}
	KUNIT_EXPECT_EQ(test, guest_memfd_read_page(page, 0, buf, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, memcmp(buf, want, PAGE_SIZE), 0);

	for (i = 1; i <= 8; i *= 2) {
		u64 old = 0x1111111111111111, new = 0x2222222222222222, now = 0;

		KUNIT_EXPECT_EQ(test, guest_memfd_write_page(page, 64, &old, 8), 0);
		KUNIT_EXPECT_EQ(test, guest_memfd_cmpxchg_page(page, 64, &old, &new, i), 0);
		KUNIT_EXPECT_EQ(test, guest_memfd_read_page(page, 64, &now, 8), 0);
		KUNIT_EXPECT_EQ(test, memcmp(&now, &new, i), 0);
		KUNIT_EXPECT_EQ(test, memcmp((u8 *)&now + i, (u8 *)&old + i, 8 - i), 0);
		/*
		 * The expected value is wrong: the function writes nothing and
		 * stores the value found to @old.
		 */
		KUNIT_EXPECT_EQ(test, guest_memfd_cmpxchg_page(page, 64, &old, &new, i), 1);
		KUNIT_EXPECT_EQ(test, memcmp(&old, &new, i), 0);
	}
}

static void test_read_and_write(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct page *page = gm_test_grab(test, gm, TAIL);

	unlock_page(page);
	read_and_write(test, page);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	lock_page(page);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	unlock_page(page);
	read_and_write(test, page);
	guest_memfd_put_direct_map(page);
	put_page(page);
}

static void test_read_and_write_plain(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, 0);
	struct page *page = gm_test_grab(test, gm, TAIL);

	unlock_page(page);
	read_and_write(test, page);
	put_page(page);
}

/*
 * An access beyond the mapped page faults.  fixup_exception() handles this
 * fault like a recoverable machine check, or like an access that pKVM refuses.
 */
static void test_fault_in_access(struct kunit *test)
{
	static const unsigned int lens[] = { 1, 4, 7, 8, 64, 100 };
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	u8 buf[128];
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, page);
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		memset(buf, 1, sizeof(buf));
		KUNIT_EXPECT_EQ(test, direct_map_read_hidden(page, PAGE_SIZE, buf, lens[i]),
				lens[i]);
		KUNIT_EXPECT_EQ(test, direct_map_write_hidden(page, PAGE_SIZE, buf, lens[i]),
				lens[i]);
		KUNIT_EXPECT_FALSE(test, irqs_disabled());
	}
	/* The first 16 bytes of the access are mapped. */
	KUNIT_EXPECT_EQ(test, direct_map_read_hidden(page, PAGE_SIZE - 16, buf, 24), 8);
	KUNIT_EXPECT_NULL(test, memchr_inv(buf, 0, 16));
	for (i = 1; i <= 8; i *= 2) {
		u64 old = 5, new = 6;

		KUNIT_EXPECT_EQ(test, direct_map_cmpxchg_hidden(page, PAGE_SIZE, &old, &new, i),
				-EFAULT);
		KUNIT_EXPECT_EQ(test, old, 5);
		KUNIT_EXPECT_FALSE(test, irqs_disabled());
	}
	/* The temporary mapping can be used again afterwards. */
	KUNIT_EXPECT_EQ(test, direct_map_read_hidden(page, 0, buf, 8), 0);
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
	KUNIT_CASE(test_invalidate),
	KUNIT_CASE_SLOW(test_poll_temporary_address),
	KUNIT_CASE_SLOW(test_no_other_address),
	KUNIT_CASE(test_read_and_write),
	KUNIT_CASE(test_read_and_write_plain),
	KUNIT_CASE(test_fault_in_access),
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
