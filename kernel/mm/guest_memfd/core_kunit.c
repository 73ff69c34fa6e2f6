// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the states of a page, from its insertion into a file until it
 * is freed to the page allocator.  The owner of the file has no guests.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/guest_memfd.h>
#include <linux/magic.h>
#include <linux/pagemap.h>
#include <linux/pseudo_fs.h>
#include <linux/set_memory.h>
#include <linux/workqueue.h>

#include <trace/events/guest_memfd.h>

#include "alloc.h"
#include "cut.h"
#include "direct_map.h"
#include "kunit.h"
#include "page_state.h"
#include "pool.h"
#include "reference.h"
#include "scrub.h"
#include "teardown.h"

#define PATTERN 0x5a

struct test_inode {
	struct guest_memfd gm;
	struct inode inode;
};

static struct inode *test_alloc_inode(struct super_block *sb)
{
	struct test_inode *ti = kzalloc(sizeof(*ti), GFP_KERNEL);

	if (!ti)
		return NULL;
	inode_init_once(&ti->inode);
	return &ti->inode;
}

static void test_free_inode(struct inode *inode)
{
	kfree(container_of(inode, struct test_inode, inode));
}

static const struct super_operations test_super_operations = {
	.alloc_inode	= test_alloc_inode,
	.free_inode	= test_free_inode,
	.evict_inode	= guest_memfd_evict_inode,
};

static int test_init_fs_context(struct fs_context *fc)
{
	struct pseudo_fs_context *ctx = init_pseudo(fc, GUEST_MEMFD_MAGIC);

	if (!ctx)
		return -ENOMEM;
	ctx->ops = &test_super_operations;
	return 0;
}

static struct file_system_type test_fs = {
	.name		 = "guest_memfd_kunit",
	.init_fs_context = test_init_fs_context,
	.kill_sb	 = kill_anon_super,
};

static const struct address_space_operations test_aops = {
	.dirty_folio	= noop_dirty_folio,
	.migrate_folio	= guest_memfd_migrate_folio,
	.error_remove_folio = guest_memfd_error_folio,
	.free_folio	= guest_memfd_free_folio,
};

/* KUnit runs one test at a time. */
static struct gm_test *current_test;

static void test_invalidate_start(struct guest_memfd *gm, pgoff_t start,
				  pgoff_t end)
{
	current_test->starts++;
	if (gm != current_test->slow)
		return;
	complete(&current_test->slow_started);
	wait_for_completion(&current_test->slow_goes_on);
}

static void test_invalidate_end(struct guest_memfd *gm, pgoff_t start,
				pgoff_t end)
{
	current_test->ends++;
}

static int test_accessible(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			   unsigned int level)
{
	current_test->asked++;
	return current_test->veto;
}

static const struct guest_memfd_operations test_ops = {
	.invalidate_start = test_invalidate_start,
	.invalidate_end	= test_invalidate_end,
	.may_set_access	= test_accessible,
};

/* A restored page must contain no data of the guest. */
static void probe_restore(void *data, unsigned long pfn, unsigned int nr_pages)
{
	struct gm_test *t = data;

	if (t->restored_pfn - pfn >= nr_pages)
		return;
	t->nr_restored++;
	t->restored_dirty = memchr_inv(page_address(pfn_to_page(pfn)), 0,
				       (size_t)nr_pages * PAGE_SIZE);
}

static void probe_hide(void *data, unsigned long pfn, unsigned int nr_pages)
{
	struct gm_test *t = data;

	t->nr_hides++;
	if (nr_pages == BLOCK_PAGES && t->marks) {
		t->marked = pfn_to_page(pfn) + 9;
		SetPageHWPoison(t->marked);
	}
}

struct guest_memfd *gm_test_file(struct kunit *test, u64 flags)
{
	struct gm_test *t = test->priv;
	struct guest_memfd *gm;
	struct inode *inode;

	inode = new_inode(t->mnt->mnt_sb);
	KUNIT_ASSERT_NOT_NULL(test, inode);
	gm = &container_of(inode, struct test_inode, inode)->gm;
	inode->i_mode = S_IFREG;
	/*
	 * The file has one block, and a tail that is populated by single pages.
	 */
	inode->i_size = (TAIL + 16) * PAGE_SIZE;
	guest_memfd_init(gm, inode, &test_aops, &test_ops, flags);
	t->gm = gm;
	return gm;
}

struct page *gm_test_grab(struct kunit *test, struct guest_memfd *gm,
			  pgoff_t index)
{
	struct folio *folio;

	filemap_invalidate_lock_shared(gm->inode->i_mapping);
	folio = guest_memfd_grab_folio(gm, index);
	filemap_invalidate_unlock_shared(gm->inode->i_mapping);
	KUNIT_ASSERT_FALSE(test, IS_ERR(folio));
	return folio_file_page(folio, index);
}

int gm_test_get(struct page *page)
{
	struct address_space *mapping = page_folio(page)->mapping;
	int err;

	if (!mapping)
		return guest_memfd_get_direct_map(page);
	unlock_page(page);
	filemap_invalidate_lock_shared(mapping);
	lock_page(page);
	err = guest_memfd_get_direct_map(page);
	filemap_invalidate_unlock_shared(mapping);
	return err;
}

static void truncate_all(struct guest_memfd *gm)
{
	truncate_inode_pages(gm->inode->i_mapping, 0);
}

static struct page *no_single(struct guest_memfd *gm, pgoff_t index, bool preferred_only)
{
	return NULL;
}

void gm_test_use_singles(struct kunit *test)
{
	kunit_deactivate_static_stub(test, gm_take_single);
}

void gm_test_drain(void)
{
	int nid;

	guest_memfd_block_wait();
	for_each_node_state(nid, N_MEMORY)
		gm_cut_shrink(nid, ULONG_MAX);
	guest_memfd_block_wait();
}

unsigned long gm_test_nr_hidden(void)
{
	return direct_map_nr_hidden() - gm_pool_unsaved_pages();
}

void gm_test_set_pool(struct kunit *test, const char *value)
{
	int nid;

	KUNIT_EXPECT_EQ(test, gm_pool_set(value, NULL), 0);
	for_each_node_state(nid, N_MEMORY)
		gm_pool_wait(nid);
	gm_cut_flush();
}

int gm_test_init(struct kunit *test)
{
	struct gm_test *t;

	if (!guest_memfd_can_hide())
		kunit_skip(test, "the direct map cannot be changed here");

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	if (!t)
		return -ENOMEM;
	t->mnt = kern_mount(&test_fs);
	if (IS_ERR(t->mnt))
		return PTR_ERR(t->mnt);
	/* The parameter's get function prints to a page. */
	t->former_pool = (char *)get_zeroed_page(GFP_KERNEL);
	if (!t->former_pool) {
		kern_unmount(t->mnt);
		return -ENOMEM;
	}
	gm_pool_get(t->former_pool, NULL);
	gm_test_set_pool(test, "0");
	t->hidden_before = gm_test_nr_hidden();
	test->priv = t;
	current_test = t;
	kunit_activate_static_stub(test, gm_take_single, no_single);
	register_trace_guest_memfd_restore(probe_restore, t);
	register_trace_guest_memfd_hide(probe_hide, t);
	return 0;
}

void gm_test_exit(struct kunit *test)
{
	struct gm_test *t = test->priv;

	if (!t)
		return;
	if (t->gm)
		iput(t->gm->inode);
	guest_memfd_block_wait();
	gm_test_set_pool(test, "0");
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
	/*
	 * Other files may exist; their pages can have own words and references.
	 */
	if (!guest_memfd_active()) {
		KUNIT_EXPECT_TRUE(test, gm_page_no_own_words());
		KUNIT_EXPECT_TRUE(test, gm_references_none_left());
	}
	gm_test_set_pool(test, t->former_pool);
	free_page((unsigned long)t->former_pool);
	unregister_trace_guest_memfd_restore(probe_restore, t);
	unregister_trace_guest_memfd_hide(probe_hide, t);
	tracepoint_synchronize_unregister();
	kern_unmount(t->mnt);
	rcu_barrier();
}

static void test_hidden_once(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct page *page, *again;

	page = gm_test_grab(test, gm, TAIL + 3);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	KUNIT_EXPECT_TRUE(test, PageUptodate(page));
	KUNIT_EXPECT_FALSE(test, PageLRU(page));
	KUNIT_EXPECT_EQ(test, gm_page_state(page), GM_PAGE_HIDDEN);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + 1);
	unlock_page(page);

	again = gm_test_grab(test, gm, TAIL + 3);
	KUNIT_EXPECT_PTR_EQ(test, again, page);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 1);
	unlock_page(page);
	put_page(page);
	put_page(page);
}

static void test_grab_keeps_shares(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct page *page = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	unlock_page(page);
	put_page(page);

	/*
	 * A fault on a page with a direct-map reference must not hide the page
	 * while the reference is in use.
	 */
	page = gm_test_grab(test, gm, TAIL);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	unlock_page(page);
	put_page(page);
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
}

static void test_share_count(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_grab(test, gm, TAIL);
	int i;

	for (i = 1; i <= 8; i++) {
		KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
		KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
		KUNIT_EXPECT_EQ(test, gm_page_count(gm_page_state(page)), i);
	}
	unlock_page(page);
	/*
	 * References of the page cache, the library, eight direct-map
	 * references and this test.
	 */
	KUNIT_EXPECT_EQ(test, page_count(page), 11);
	for (i = 7; i > 0; i--) {
		guest_memfd_put_direct_map(page);
		KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	}
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	KUNIT_EXPECT_EQ(test, gm_page_state(page), GM_PAGE_HIDDEN);
	KUNIT_EXPECT_EQ(test, page_count(page), 3);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 2);
	put_page(page);
}

static void test_share_overflow(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct page *page = gm_test_grab(test, gm, TAIL);
	unsigned long one;

	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	one = gm_page_state(page);
	gm_page_set_state(page, one | GM_PAGE_COUNT_MASK);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), -EOVERFLOW);
	KUNIT_EXPECT_EQ(test, gm_page_count(gm_page_state(page)),
			GM_PAGE_COUNT_MAX);
	gm_page_set_state(page, one);
	unlock_page(page);
	guest_memfd_put_direct_map(page);
	put_page(page);
}

static void test_scrubbed_before_restore(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	memset(page_address(page), PATTERN, PAGE_SIZE);
	unlock_page(page);
	guest_memfd_put_direct_map(page);
	t->restored_pfn = page_to_pfn(page);
	put_page(page);

	truncate_all(gm);
	guest_memfd_block_reap(t->gm);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
}

static void test_reference_delays_reuse(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_grab(test, gm, TAIL);

	t->restored_pfn = page_to_pfn(page);
	unlock_page(page);
	truncate_all(gm);
	guest_memfd_block_reap(t->gm);
	/*
	 * The page was truncated, but this test has a reference: still hidden.
	 */
	KUNIT_EXPECT_EQ(test, t->nr_restored, 0);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));

	put_page(page);
	guest_memfd_block_wait();
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
}

static void test_share_survives_truncation(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_grab(test, gm, TAIL);
	struct page *next;

	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	memset(page_address(page), PATTERN, PAGE_SIZE);
	unlock_page(page);
	put_page(page);

	truncate_all(gm);
	guest_memfd_block_reap(t->gm);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	KUNIT_EXPECT_NULL(test, memchr_inv(page_address(page), PATTERN,
					   PAGE_SIZE));

	/* The next fault populates the index with another page. */
	next = gm_test_grab(test, gm, TAIL);
	KUNIT_EXPECT_PTR_NE(test, next, page);
	unlock_page(next);
	put_page(next);

	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	t->restored_pfn = page_to_pfn(page);
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
}

static void test_no_reference_after_truncation(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct page *page = gm_test_grab(test, gm, TAIL);

	unlock_page(page);
	truncate_all(gm);
	lock_page(page);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), -ESTALE);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	unlock_page(page);
	put_page(page);
}

static void test_share_outlives_file(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	unlock_page(page);
	put_page(page);
	t->gm = NULL;
	iput(gm->inode);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));

	t->restored_pfn = page_to_pfn(page);
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
}

/*
 * fdinfo counts the referenced pages of the file, but not those that were
 * removed from it.
 */
static void test_referenced_is_counted(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct page *page = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 1);
	unlock_page(page);
	put_page(page);
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 1);
	guest_memfd_punch_hole(gm, TAIL, TAIL + 2);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
}

static bool gup_allowed(struct guest_memfd *gm, struct page *page, bool hidden)
{
	return guest_memfd_gup_allowed(page_folio(page), gm->inode->i_mapping, hidden);
}

static void test_gup(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct page *page = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_FALSE(test, gup_allowed(gm, page, false));
	KUNIT_EXPECT_TRUE(test, gup_allowed(gm, page, true));
	/* The mapping of memfd_secret() is not inaccessible. */
	clear_bit(AS_INACCESSIBLE, &gm->inode->i_mapping->flags);
	KUNIT_EXPECT_FALSE(test, gup_allowed(gm, page, true));
	mapping_set_inaccessible(gm->inode->i_mapping);
	/*
	 * A direct-map reference is for the kernel's own use: GUP still refuses
	 * the page.
	 */
	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	KUNIT_EXPECT_FALSE(test, gup_allowed(gm, page, false));
	unlock_page(page);
	guest_memfd_put_direct_map(page);

	/*
	 * GUP-fast may have a reference after truncation, when the folio has no
	 * mapping.
	 */
	truncate_all(gm);
	KUNIT_EXPECT_FALSE(test, gup_allowed(gm, page, false));
	put_page(page);
}

static void test_plain_file(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, 0);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	KUNIT_EXPECT_FALSE(test, PageUptodate(page));
	KUNIT_EXPECT_TRUE(test, gup_allowed(gm, page, false));
	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	unlock_page(page);
	put_page(page);
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 0);
}

static void test_poisoned_page_stays_out(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_grab(test, gm, TAIL);

	t->restored_pfn = page_to_pfn(page);
	SetPageHWPoison(page);
	unlock_page(page);
	/*
	 * This test's reference stands for the one that memory_failure() keeps.
	 */
	truncate_all(gm);
	guest_memfd_block_reap(t->gm);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 0);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	KUNIT_EXPECT_EQ(test, page_count(page), 2);
	/* No worker retries to free the page. */
	KUNIT_EXPECT_TRUE(test, list_empty(&page->lru));

	/* No other code restores the page, so the test does. */
	put_page(page);
	ClearPageHWPoison(page);
	gm_folio_clear_state(page_folio(page));
	KUNIT_EXPECT_EQ(test, direct_map_restore(page, 1), 0);
	put_page(page);
}

static void test_memory_failure(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_grab(test, gm, TAIL);

	unlock_page(page);
	folio_put(guest_memfd_memory_failure(page));
	KUNIT_EXPECT_EQ(test, t->starts, 1);
	KUNIT_EXPECT_EQ(test, t->ends, 1);
	truncate_all(gm);
	/*
	 * The page was truncated, so there is no guest to invalidate.  The call
	 * must be harmless.
	 */
	folio_put(guest_memfd_memory_failure(page));
	KUNIT_EXPECT_EQ(test, t->starts, 1);
	put_page(page);
}

struct slow_work {
	struct work_struct work;
	struct completion done;
	struct page *poison;
	struct inode *put;
};

static void slow_work_fn(struct work_struct *work)
{
	struct slow_work *slow = container_of(work, struct slow_work, work);

	if (slow->poison)
		folio_put(guest_memfd_memory_failure(slow->poison));
	else
		iput(slow->put);
	complete(&slow->done);
}

static void slow_start(struct slow_work *slow)
{
	INIT_WORK_ONSTACK(&slow->work, slow_work_fn);
	init_completion(&slow->done);
	queue_work(system_dfl_wq, &slow->work);
}

static bool slow_is_over(struct slow_work *slow, unsigned int ms)
{
	return wait_for_completion_timeout(&slow->done, msecs_to_jiffies(ms));
}

/*
 * An owner that takes long to invalidate one file must not delay memory
 * failures in other files.
 */
static void test_poison_delays_own_file_only(struct kunit *test)
{
	u64 flags = GM_FILE_NO_DIRECT_MAP;
	struct slow_work poison = {}, evict = {}, other = {};
	struct guest_memfd *gm = gm_test_file(test, flags);
	struct gm_test *t = test->priv;
	struct page *page;

	page = gm_test_grab(test, gm, TAIL);
	unlock_page(page);
	other.put = gm_test_file(test, flags)->inode;
	t->gm = NULL;

	init_completion(&t->slow_started);
	init_completion(&t->slow_goes_on);
	t->slow = gm;
	poison.poison = page;
	slow_start(&poison);
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&t->slow_started, 60 * HZ));

	slow_start(&other);
	KUNIT_EXPECT_TRUE(test, slow_is_over(&other, 60000));
	evict.put = gm->inode;
	slow_start(&evict);
	KUNIT_EXPECT_FALSE(test, slow_is_over(&evict, 100));

	complete_all(&t->slow_goes_on);
	flush_work(&other.work);
	flush_work(&poison.work);
	put_page(page);
	KUNIT_EXPECT_TRUE(test, slow_is_over(&evict, 60000));
	flush_work(&evict.work);
	destroy_work_on_stack(&poison.work);
	destroy_work_on_stack(&other.work);
	destroy_work_on_stack(&evict.work);
}

static void test_active(struct kunit *test)
{
	struct gm_test *t = test->priv;
	struct page *page;

	if (guest_memfd_active())
		kunit_skip(test, "others use hidden memory just now");
	gm_test_file(test, 0);
	KUNIT_EXPECT_FALSE(test, guest_memfd_active());
	iput(t->gm->inode);
	gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	KUNIT_EXPECT_TRUE(test, guest_memfd_active());
	iput(t->gm->inode);
	t->gm = NULL;
	KUNIT_EXPECT_FALSE(test, guest_memfd_active());

	/*
	 * A worker has not cleared the memory of the closed file yet, so the
	 * kernel cannot save it.
	 */
	page = gm_test_grab(test, gm_test_file(test, GM_FILE_NO_DIRECT_MAP), 0);
	unlock_page(page);
	iput(t->gm->inode);
	t->gm = NULL;
	guest_memfd_block_wait();
	KUNIT_EXPECT_TRUE(test, guest_memfd_active());
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	put_page(page);
	guest_memfd_block_wait();
	KUNIT_EXPECT_FALSE(test, guest_memfd_active());
}

static struct guest_memfd *new_block_file(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);

	/* Do not depend on guest_memfd.block_order. */
	gm->block_order = GM_BLOCK_MAX_ORDER;
	return gm;
}

struct page *gm_test_block_page(struct kunit *test, struct guest_memfd *gm,
				pgoff_t index)
{
	struct page *page = gm_test_grab(test, gm, index);

	unlock_page(page);
	if (!guest_memfd_max_order(gm, index)) {
		put_page(page);
		kunit_skip(test, "no 2 MiB page is available");
	}
	return page;
}

static void punch(struct guest_memfd *gm, pgoff_t index)
{
	guest_memfd_punch_hole(gm, index, index + 1);
}

static void expect_counts(struct kunit *test, struct guest_memfd *gm,
			  unsigned long blocks, unsigned long in_file)
{
	KUNIT_EXPECT_EQ(test, atomic_long_read(&gm->nr_blocks), blocks);
	KUNIT_EXPECT_EQ(test, gm->inode->i_mapping->nrpages, in_file);
}

static void test_block_hidden_as_one(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_block_page(test, gm, 5);
	unsigned long size = gm_test_entry(page);
	struct folio *folio = page_folio(page);

	KUNIT_EXPECT_EQ(test, t->nr_hides, 1);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	KUNIT_EXPECT_EQ(test, page_to_pfn(page) % BLOCK_PAGES, 5);
	KUNIT_EXPECT_EQ(test, folio_order(folio), GM_BLOCK_MAX_ORDER);
	KUNIT_EXPECT_EQ(test, folio->index, 0);
	KUNIT_EXPECT_PTR_EQ(test, folio_page(folio, 5), page);
	KUNIT_EXPECT_EQ(test, gm_page_state(page), GM_PAGE_HIDDEN);
	/* References of the page cache, the library and this test. */
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), BLOCK_PAGES + 2);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(),
			t->hidden_before + BLOCK_PAGES);
	expect_counts(test, gm, 1, BLOCK_PAGES);
	/* The memory may have been mapped by 4 KiB entries before. */
	if (size != PMD_SIZE)
		kunit_info(test, "mapped by entries of %lu KiB", size / SZ_1K);
	put_page(page);

	truncate_all(gm);
	guest_memfd_block_reap(gm);
	expect_counts(test, gm, 0, 0);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
}

/* A hole splits the block.  The split neither hides nor restores a page. */
static void test_block_page_comes_back(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_block_page(test, gm, 7), *again;

	gm_test_use_singles(test);
	put_page(page);
	punch(gm, 7);
	KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 8), 0);
	expect_counts(test, gm, 0, BLOCK_PAGES - 1);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	KUNIT_EXPECT_TRUE(test, gm_cut_owns_pfn(page_to_pfn(page)));
	/* The page is free, and charged to no cgroup. */
	KUNIT_EXPECT_EQ(test, page_count(page), 0);
	KUNIT_EXPECT_FALSE(test, folio_memcg_charged(page_folio(page)));
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(),
			t->hidden_before + BLOCK_PAGES - 1);

	/*
	 * The file allocates a single page, of this block or of one with fewer
	 * free pages.
	 */
	again = gm_test_grab(test, gm, 7);
	KUNIT_EXPECT_FALSE(test, PageCompound(again));
	KUNIT_EXPECT_EQ(test, gm_page_state(again), GM_PAGE_HIDDEN);
	KUNIT_EXPECT_TRUE(test, gm_cut_owns_pfn(page_to_pfn(again)));
	KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 8), 0);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 1);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 0);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(),
			t->hidden_before + BLOCK_PAGES);
	unlock_page(again);
	put_page(again);
}

/* Write a pattern to a page that is not locked. */
static void write_pattern(struct kunit *test, struct page *page)
{
	lock_page(page);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	memset(page_address(page), PATTERN, PAGE_SIZE);
	unlock_page(page);
	guest_memfd_put_direct_map(page);
}

/* Does every byte of a page that may be hidden have this value? */
static bool is_filled(struct page *page, u8 value)
{
	static u8 buf[PAGE_SIZE];

	return !guest_memfd_read_page(page, 0, buf, PAGE_SIZE) &&
	       !memchr_inv(buf, value, PAGE_SIZE);
}

static void test_block_page_is_scrubbed(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct page *page = gm_test_block_page(test, gm, 7), *again;
	pgoff_t i;

	write_pattern(test, page);
	put_page(page);
	punch(gm, 7);
	expect_counts(test, gm, 0, BLOCK_PAGES - 1);

	/*
	 * Earlier tests may have left free pages, which the library takes
	 * first.
	 */
	gm_test_use_singles(test);
	for (i = 0; i < 16; i++) {
		again = gm_test_grab(test, gm, i ? TAIL + i - 1 : 7);
		KUNIT_EXPECT_EQ(test, gm_test_get(again), 0);
		KUNIT_EXPECT_NULL(test, memchr_inv(page_address(again), 0, PAGE_SIZE));
		unlock_page(again);
		guest_memfd_put_direct_map(again);
		put_page(again);
	}
}

/* The file is closed: the library clears the block as one, in several steps. */
static void test_block_is_scrubbed(struct kunit *test)
{
	static const pgoff_t dirty[] = { 0, 1, 63, 64, 300, BLOCK_PAGES - 1 };
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct page *first;
	unsigned int i;

	first = gm_test_block_page(test, gm, 0);
	for (i = 0; i < ARRAY_SIZE(dirty); i++) {
		write_pattern(test, first + dirty[i]);
		/* The direct-map references have not split the block. */
		KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 0), GM_BLOCK_MAX_ORDER);
	}
	put_page(first);
	t->restored_pfn = page_to_pfn(first + dirty[i - 1]);
	t->nr_restored = 0;
	truncate_all(gm);
	guest_memfd_block_reap(gm);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
}

static void test_block_page_is_held(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct page *page = gm_test_block_page(test, gm, 7), *other;

	put_page(page);
	punch(gm, 8);
	get_page(page);
	punch(gm, 7);
	/* The next fault populates the index with another single page. */
	other = gm_test_grab(test, gm, 7);
	KUNIT_EXPECT_PTR_NE(test, other, page);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(other));
	KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 7), 0);
	expect_counts(test, gm, 0, BLOCK_PAGES - 1);
	unlock_page(other);
	put_page(other);

	/* References of the library and of this test. */
	KUNIT_EXPECT_EQ(test, page_count(page), 2);
	put_page(page);
	guest_memfd_block_wait();
	expect_counts(test, gm, 0, BLOCK_PAGES - 1);
	KUNIT_EXPECT_EQ(test, page_count(page), 0);
}

/*
 * A hole punch cannot fail.  It clears the pages of a block that cannot be
 * split, and the pages stay in the file.
 */
static void test_block_hole_is_held(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_block_page(test, gm, 7);
	struct page *first = page - 7;
	unsigned int i, starts;

	for (i = 6; i < 11; i++)
		write_pattern(test, first + i);
	starts = t->starts;
	guest_memfd_punch_hole(gm, 7, 10);
	KUNIT_EXPECT_GT(test, t->starts, starts);
	KUNIT_EXPECT_EQ(test, t->starts, t->ends);
	expect_counts(test, gm, 1, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 7), GM_BLOCK_MAX_ORDER);
	for (i = 6; i < 11; i++) {
		bool punched = i >= 7 && i < 10;

		KUNIT_EXPECT_TRUE_MSG(test, is_filled(first + i, punched ? 0 : PATTERN),
				      "page %u", i);
	}
	put_page(page);

	guest_memfd_punch_hole(gm, 7, 10);
	expect_counts(test, gm, 0, BLOCK_PAGES - 3);
	KUNIT_EXPECT_TRUE(test, is_filled(first + 6, PATTERN));
	KUNIT_EXPECT_TRUE(test, is_filled(first + 10, PATTERN));
}

static void test_block_merged_again(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_block_page(test, gm, 9);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		lock_page(page);
		KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
		KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
		/* The neighbouring page stays hidden, and the block whole. */
		KUNIT_EXPECT_FALSE(test, kernel_page_present(page + 1));
		expect_counts(test, gm, 1, BLOCK_PAGES);
		unlock_page(page);
		guest_memfd_put_direct_map(page);
		KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	}
	KUNIT_EXPECT_EQ(test, gm_test_entry(page), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 4);
	put_page(page);
	truncate_all(gm);
	guest_memfd_block_reap(gm);
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	KUNIT_EXPECT_GE(test, gm_test_entry(page), gm_test_whole_entry());
}

/*
 * A block that is truncated while one of its pages has a direct-map reference
 * stays whole until the last put.
 */
static void test_block_shared_outlives_file(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_block_page(test, gm, 9);

	write_pattern(test, page);
	write_pattern(test, page + 1);
	lock_page(page);
	KUNIT_EXPECT_EQ(test, gm_test_get(page), 0);
	unlock_page(page);
	put_page(page);
	t->gm = NULL;
	iput(gm->inode);
	guest_memfd_block_wait();

	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + BLOCK_PAGES - 1);
	KUNIT_EXPECT_TRUE(test, guest_memfd_owns_pfn(page_to_pfn(page) + 1));
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page));
	KUNIT_EXPECT_EQ(test, *(u8 *)page_address(page), PATTERN);
	/* References of the library and of the direct-map reference. */
	KUNIT_EXPECT_EQ(test, page_count(page), 2);
	t->restored_pfn = page_to_pfn(page + 1);
	guest_memfd_put_direct_map(page);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
	KUNIT_EXPECT_FALSE(test, guest_memfd_owns_pfn(page_to_pfn(page)));
}

static void test_block_not_over_pages(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct page *page;

	/* Populate a single page, as if no block could be allocated. */
	gm->block_order = 0;
	page = gm_test_grab(test, gm, 3);
	unlock_page(page);
	put_page(page);
	gm->block_order = GM_BLOCK_MAX_ORDER;

	page = gm_test_grab(test, gm, 4);
	unlock_page(page);
	put_page(page);
	expect_counts(test, gm, 0, 2);
}

/*
 * The library frees a single page of a block before the rest of the block.  Its
 * direct map entries are merged afterwards.
 */
static void test_block_shrinks(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct page *page = gm_test_block_page(test, gm, 1);
	struct page *first = page - 1;
	int nid = page_to_nid(page);
	unsigned long free;
	pgoff_t i;

	put_page(page);
	for (i = 16; i < 32; i++)
		punch(gm, i);
	expect_counts(test, gm, 0, BLOCK_PAGES - 16);
	KUNIT_EXPECT_GE(test, gm_cut_count(nid), 16);

	free = gm_cut_count(nid);
	KUNIT_EXPECT_EQ(test, gm_cut_shrink(nid, ULONG_MAX), free);
	KUNIT_EXPECT_EQ(test, gm_cut_count(nid), 0);
	for (i = 0; i < 48; i++) {
		bool gone = i >= 16 && i < 32;

		KUNIT_EXPECT_EQ(test, kernel_page_present(first + i), gone);
		KUNIT_EXPECT_EQ(test, gm_cut_owns_pfn(page_to_pfn(first + i)), !gone);
	}

	truncate_all(gm);
	guest_memfd_block_reap(gm);
	guest_memfd_block_wait();
	expect_counts(test, gm, 0, 0);
	KUNIT_EXPECT_FALSE(test, gm_cut_owns_pfn(page_to_pfn(first)));
	KUNIT_EXPECT_TRUE(test, kernel_page_present(first));
	KUNIT_EXPECT_GE(test, gm_test_entry(first), gm_test_whole_entry());
}

/*
 * memory_failure() marks a page of a block that is about to be inserted into a
 * file.
 */
static void test_block_marked_on_its_way(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct page *page;

	t->marks = true;
	page = gm_test_grab(test, gm, 9);
	t->marks = false;
	KUNIT_EXPECT_NOT_NULL(test, t->marked);
	KUNIT_EXPECT_FALSE(test, PageCompound(page));
	KUNIT_EXPECT_PTR_NE(test, page, t->marked);
	unlock_page(page);
	put_page(page);
	expect_counts(test, gm, 0, 1);
	/* The other pages were freed, and the marked page stays hidden. */
	gm_pool_wait(page_to_nid(t->marked));
	KUNIT_EXPECT_FALSE(test, PageCompound(t->marked));
	KUNIT_EXPECT_FALSE(test, kernel_page_present(t->marked));
	KUNIT_EXPECT_TRUE(test, kernel_page_present(t->marked + 1));
	KUNIT_EXPECT_EQ(test, page_count(t->marked), 2);
	KUNIT_EXPECT_FALSE(test, guest_memfd_owns_pfn(page_to_pfn(t->marked)));
	ClearPageHWPoison(t->marked);
	KUNIT_EXPECT_EQ(test, direct_map_restore(t->marked, 1), 0);
	put_page(t->marked);
	__free_page(t->marked);
}

/*
 * The library frees a block that it does not insert, while another task has a
 * reference to it.
 */
static void test_block_fresh_and_held(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct folio *folio = NULL;

	KUNIT_ASSERT_EQ(test, gm_get_blocks(gm, 0, &folio, 1), 1);
	folio_get(folio);
	gm_free_fresh(folio);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(&folio->page));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	folio_put(folio);
	guest_memfd_block_wait();
	KUNIT_EXPECT_TRUE(test, kernel_page_present(&folio->page));
}

static void test_block_poisoned_page(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct page *page = gm_test_block_page(test, gm, 2);

	/*
	 * This test's reference stands for the one that memory_failure() keeps.
	 */
	SetPageHWPoison(page);
	folio_put(guest_memfd_memory_failure(page));
	KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 3), 0);
	KUNIT_EXPECT_EQ(test, t->starts, 1);
	truncate_all(gm);
	guest_memfd_block_reap(gm);
	guest_memfd_block_wait();
	gm_test_drain();
	/* All other pages were freed. */
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + 1);
	KUNIT_EXPECT_FALSE(test, kernel_page_present(page));
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page - 1));
	KUNIT_EXPECT_TRUE(test, kernel_page_present(page + 1));
	KUNIT_EXPECT_FALSE(test, PageCompound(page));
	/* References of memory_failure() and of the library. */
	KUNIT_EXPECT_EQ(test, page_count(page), 2);
	KUNIT_EXPECT_FALSE(test, guest_memfd_owns_pfn(page_to_pfn(page)));
	expect_counts(test, gm, 0, 0);

	/* No other code restores the page, so the test does. */
	ClearPageHWPoison(page);
	gm_folio_clear_state(page_folio(page));
	KUNIT_EXPECT_EQ(test, direct_map_restore(page, 1), 0);
	put_page(page);
	put_page(page);
}

static struct kunit_case gm_test_cases[] = {
	KUNIT_CASE(test_hidden_once),
	KUNIT_CASE(test_grab_keeps_shares),
	KUNIT_CASE(test_share_count),
	KUNIT_CASE(test_share_overflow),
	KUNIT_CASE(test_scrubbed_before_restore),
	KUNIT_CASE(test_reference_delays_reuse),
	KUNIT_CASE(test_share_survives_truncation),
	KUNIT_CASE(test_no_reference_after_truncation),
	KUNIT_CASE(test_share_outlives_file),
	KUNIT_CASE(test_referenced_is_counted),
	KUNIT_CASE(test_gup),
	KUNIT_CASE(test_plain_file),
	KUNIT_CASE(test_poisoned_page_stays_out),
	KUNIT_CASE(test_memory_failure),
	KUNIT_CASE(test_poison_delays_own_file_only),
	KUNIT_CASE(test_active),
	KUNIT_CASE(test_block_hidden_as_one),
	KUNIT_CASE(test_block_page_comes_back),
	KUNIT_CASE(test_block_page_is_scrubbed),
	KUNIT_CASE(test_block_is_scrubbed),
	KUNIT_CASE(test_block_page_is_held),
	KUNIT_CASE(test_block_hole_is_held),
	KUNIT_CASE(test_block_merged_again),
	KUNIT_CASE(test_block_shared_outlives_file),
	KUNIT_CASE(test_block_not_over_pages),
	KUNIT_CASE(test_block_shrinks),
	KUNIT_CASE(test_block_poisoned_page),
	KUNIT_CASE(test_block_marked_on_its_way),
	KUNIT_CASE(test_block_fresh_and_held),
	{}
};

static struct kunit_suite gm_test_suite = {
	.name = "guest_memfd",
	.init = gm_test_init,
	.exit = gm_test_exit,
	.test_cases = gm_test_cases,
};

kunit_test_suite(gm_test_suite);

MODULE_DESCRIPTION("KUnit tests of guest_memfd page states");
MODULE_LICENSE("GPL");
