// SPDX-License-Identifier: GPL-2.0-only
/*
 * The states of a page, from the moment it enters a file to the moment it is
 * back in the allocator, driven by an owner that has no guests.
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

#include "block.h"
#include "cut.h"
#include "direct_map.h"
#include "kunit.h"
#include "page_state.h"
#include "pool.h"

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

/* One test runs at a time. */
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

/* A restored page must hold nothing of what the guest left in it. */
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
	/* A block and a tail, whose pages come alone. */
	inode->i_size = (TAIL + 16) * PAGE_SIZE;
	guest_memfd_init(gm, inode, &test_aops, &test_ops, flags);
	t->gm = gm;
	return gm;
}

struct folio *gm_test_grab(struct kunit *test, struct guest_memfd *gm,
			   pgoff_t index)
{
	struct folio *folio;

	filemap_invalidate_lock_shared(gm->inode->i_mapping);
	folio = guest_memfd_grab_folio(gm, index);
	filemap_invalidate_unlock_shared(gm->inode->i_mapping);
	KUNIT_ASSERT_FALSE(test, IS_ERR(folio));
	return folio;
}

int gm_test_get(struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	int err;

	if (!mapping)
		return guest_memfd_get_direct_map(folio);
	folio_unlock(folio);
	filemap_invalidate_lock_shared(mapping);
	folio_lock(folio);
	err = guest_memfd_get_direct_map(folio);
	filemap_invalidate_unlock_shared(mapping);
	return err;
}

bool gm_test_present(struct folio *folio)
{
	return kernel_page_present(&folio->page);
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
	/* The parameter's file prints to a page. */
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
	struct folio *folio, *again;

	folio = gm_test_grab(test, gm, TAIL + 3);
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
	KUNIT_EXPECT_TRUE(test, folio_test_uptodate(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_lru(folio));
	KUNIT_EXPECT_EQ(test, gm_page_state(folio), gm_page_fresh(0));
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + 1);
	folio_unlock(folio);

	again = gm_test_grab(test, gm, TAIL + 3);
	KUNIT_EXPECT_PTR_EQ(test, again, folio);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 1);
	folio_unlock(folio);
	folio_put(folio);
	folio_put(folio);
}

static void test_grab_keeps_shares(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct folio *folio = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	folio_unlock(folio);
	folio_put(folio);

	/* Faulting on a shared page must not hide it under its user. */
	folio = gm_test_grab(test, gm, TAIL);
	KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
	folio_unlock(folio);
	folio_put(folio);
	guest_memfd_put_direct_map(folio);
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
}

static void test_share_count(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct folio *folio = gm_test_grab(test, gm, TAIL);
	int i;

	for (i = 1; i <= 8; i++) {
		KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
		KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
		KUNIT_EXPECT_EQ(test, gm_page_count(gm_page_state(folio)), i);
	}
	folio_unlock(folio);
	/* Page cache, block, eight direct-map references, and ours. */
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 11);
	for (i = 7; i > 0; i--) {
		guest_memfd_put_direct_map(folio);
		KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
	}
	guest_memfd_put_direct_map(folio);
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
	KUNIT_EXPECT_EQ(test, gm_page_state(folio), gm_page_fresh(0));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 3);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 2);
	folio_put(folio);
}

static void test_share_overflow(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct folio *folio = gm_test_grab(test, gm, TAIL);
	unsigned long one;

	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	one = gm_page_state(folio);
	gm_page_set_state(folio, one | GM_PAGE_COUNT_MASK);
	KUNIT_EXPECT_EQ(test, gm_test_get(folio), -EOVERFLOW);
	KUNIT_EXPECT_EQ(test, gm_page_count(gm_page_state(folio)),
			GM_PAGE_COUNT_MAX);
	gm_page_set_state(folio, one);
	folio_unlock(folio);
	guest_memfd_put_direct_map(folio);
	folio_put(folio);
}

static void test_scrubbed_before_restore(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct folio *folio = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	memset(page_address(&folio->page), PATTERN, PAGE_SIZE);
	folio_unlock(folio);
	guest_memfd_put_direct_map(folio);
	t->restored_pfn = folio_pfn(folio);
	folio_put(folio);

	truncate_all(gm);
	guest_memfd_block_reap(t->gm, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
}

static void test_reference_delays_reuse(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct folio *folio = gm_test_grab(test, gm, TAIL);

	t->restored_pfn = folio_pfn(folio);
	folio_unlock(folio);
	truncate_all(gm);
	guest_memfd_block_reap(t->gm, 0, ULONG_MAX);
	/* Out of the file, but not out of our hands: still hidden. */
	KUNIT_EXPECT_EQ(test, t->nr_restored, 0);
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio));

	folio_put(folio);
	guest_memfd_block_wait();
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
}

static void test_share_survives_truncation(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct folio *folio = gm_test_grab(test, gm, TAIL);
	struct folio *next;

	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	memset(page_address(&folio->page), PATTERN, PAGE_SIZE);
	folio_unlock(folio);
	folio_put(folio);

	truncate_all(gm);
	guest_memfd_block_reap(t->gm, 0, ULONG_MAX);
	KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
	KUNIT_EXPECT_NULL(test, memchr_inv(page_address(&folio->page), PATTERN,
					   PAGE_SIZE));

	/* The file gets another page for the same place. */
	next = gm_test_grab(test, gm, TAIL);
	KUNIT_EXPECT_PTR_NE(test, next, folio);
	folio_unlock(next);
	folio_put(next);

	guest_memfd_put_direct_map(folio);
	KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
	t->restored_pfn = folio_pfn(folio);
	guest_memfd_put_direct_map(folio);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
}

static void test_no_share_after_truncation(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct folio *folio = gm_test_grab(test, gm, TAIL);

	folio_unlock(folio);
	truncate_all(gm);
	folio_lock(folio);
	KUNIT_EXPECT_EQ(test, gm_test_get(folio), -ESTALE);
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
	folio_unlock(folio);
	folio_put(folio);
}

static void test_share_outlives_file(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct folio *folio = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	folio_unlock(folio);
	folio_put(folio);
	t->gm = NULL;
	iput(gm->inode);
	KUNIT_EXPECT_TRUE(test, gm_test_present(folio));

	t->restored_pfn = folio_pfn(folio);
	guest_memfd_put_direct_map(folio);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
}

/* fdinfo counts the referenced pages of the file, not those that left it. */
static void test_referenced_is_counted(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct folio *folio = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 1);
	folio_unlock(folio);
	folio_put(folio);
	guest_memfd_put_direct_map(folio);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 1);
	guest_memfd_punch_hole(gm, TAIL, TAIL + 2);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
	guest_memfd_put_direct_map(folio);
	KUNIT_EXPECT_EQ(test, gm->nr_referenced, 0);
}

static void test_gup(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct folio *folio = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_FALSE(test, guest_memfd_gup_allowed(folio, gm->inode->i_mapping));
	/* A direct-map reference is the kernel's own: it allows no pin. */
	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	KUNIT_EXPECT_FALSE(test, guest_memfd_gup_allowed(folio, gm->inode->i_mapping));
	folio_unlock(folio);
	guest_memfd_put_direct_map(folio);

	/* GUP-fast may hold it after that, without a mapping. */
	truncate_all(gm);
	KUNIT_EXPECT_FALSE(test, guest_memfd_gup_allowed(folio, gm->inode->i_mapping));
	folio_put(folio);
}

static void test_plain_file(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, 0);
	struct gm_test *t = test->priv;
	struct folio *folio = gm_test_grab(test, gm, TAIL);

	KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(folio));
	KUNIT_EXPECT_TRUE(test, guest_memfd_gup_allowed(folio, gm->inode->i_mapping));
	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	folio_unlock(folio);
	folio_put(folio);
	guest_memfd_put_direct_map(folio);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 0);
}

static void test_poisoned_page_stays_out(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct folio *folio = gm_test_grab(test, gm, TAIL);

	t->restored_pfn = folio_pfn(folio);
	folio_set_hwpoison(folio);
	folio_unlock(folio);
	/* Our reference is the one that memory_failure() keeps. */
	truncate_all(gm);
	guest_memfd_block_reap(t->gm, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 0);
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	/* And nothing polls for it. */
	KUNIT_EXPECT_TRUE(test, list_empty(&folio->lru));

	/* The test restores it itself: no other code will. */
	folio_put(folio);
	folio_clear_hwpoison(folio);
	gm_page_clear_state(folio);
	KUNIT_EXPECT_EQ(test, direct_map_restore(&folio->page, 1), 0);
	folio_put(folio);
}

static void test_memory_failure(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct gm_test *t = test->priv;
	struct folio *folio = gm_test_grab(test, gm, TAIL);

	folio_unlock(folio);
	guest_memfd_memory_failure(folio);
	KUNIT_EXPECT_EQ(test, t->starts, 1);
	KUNIT_EXPECT_EQ(test, t->ends, 1);
	truncate_all(gm);
	/* Too late to tell a guest: nothing to do, and nothing to break. */
	guest_memfd_memory_failure(folio);
	KUNIT_EXPECT_EQ(test, t->starts, 1);
	folio_put(folio);
}

struct slow_work {
	struct work_struct work;
	struct completion done;
	struct folio *poison;
	struct inode *put;
};

static void slow_work_fn(struct work_struct *work)
{
	struct slow_work *slow = container_of(work, struct slow_work, work);

	if (slow->poison)
		guest_memfd_memory_failure(slow->poison);
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

/* An owner that takes long to invalidate one file does not hold up others. */
static void test_poison_delays_own_file_only(struct kunit *test)
{
	u64 flags = GM_FILE_NO_DIRECT_MAP;
	struct slow_work poison = {}, evict = {}, other = {};
	struct guest_memfd *gm = gm_test_file(test, flags);
	struct gm_test *t = test->priv;
	struct folio *folio;

	folio = gm_test_grab(test, gm, TAIL);
	folio_unlock(folio);
	other.put = gm_test_file(test, flags)->inode;
	t->gm = NULL;

	init_completion(&t->slow_started);
	init_completion(&t->slow_goes_on);
	t->slow = gm;
	poison.poison = folio;
	slow_start(&poison);
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&t->slow_started, HZ));

	slow_start(&other);
	KUNIT_EXPECT_TRUE(test, slow_is_over(&other, 1000));
	evict.put = gm->inode;
	slow_start(&evict);
	KUNIT_EXPECT_FALSE(test, slow_is_over(&evict, 100));

	complete_all(&t->slow_goes_on);
	flush_work(&other.work);
	flush_work(&poison.work);
	folio_put(folio);
	KUNIT_EXPECT_TRUE(test, slow_is_over(&evict, 1000));
	flush_work(&evict.work);
	destroy_work_on_stack(&poison.work);
	destroy_work_on_stack(&other.work);
	destroy_work_on_stack(&evict.work);
}

static void test_active(struct kunit *test)
{
	struct gm_test *t = test->priv;
	struct folio *folio;

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

	/* Closed, and not cleared yet: the kernel cannot save it. */
	folio = gm_test_grab(test, gm_test_file(test, GM_FILE_NO_DIRECT_MAP), 0);
	folio_unlock(folio);
	iput(t->gm->inode);
	t->gm = NULL;
	guest_memfd_block_wait();
	KUNIT_EXPECT_TRUE(test, guest_memfd_active());
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
	folio_put(folio);
	guest_memfd_block_wait();
	KUNIT_EXPECT_FALSE(test, guest_memfd_active());
}

/* Level of the direct map's entry for a page, as lookup_address() has it. */
static unsigned int map_level(struct folio *folio)
{
	unsigned int level = 0;

	lookup_address((unsigned long)folio_address(folio), &level);
	return level;
}

static struct guest_memfd *new_block_file(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);

	/* Whatever guest_memfd.block_order is. */
	gm->block_order = GM_BLOCK_MAX_ORDER;
	return gm;
}

/* A page of a whole block, unlocked, with a reference. */
static struct folio *grab_of_block(struct kunit *test, struct guest_memfd *gm,
				   pgoff_t index)
{
	struct folio *folio = gm_test_grab(test, gm, index);

	folio_unlock(folio);
	if (!guest_memfd_max_order(gm, index)) {
		folio_put(folio);
		kunit_skip(test, "no 2 MiB page to be had");
	}
	return folio;
}

static void punch(struct guest_memfd *gm, pgoff_t index)
{
	loff_t pos = (loff_t)index << PAGE_SHIFT;

	truncate_inode_pages_range(gm->inode->i_mapping, pos,
				   pos + PAGE_SIZE - 1);
}

static void expect_counts(struct kunit *test, struct guest_memfd *gm,
			  unsigned long blocks, unsigned long in_file,
			  unsigned long idle)
{
	struct gm_block_counts counts;

	guest_memfd_block_count(gm, &counts);
	KUNIT_EXPECT_EQ(test, counts.blocks, blocks);
	KUNIT_EXPECT_EQ(test, counts.in_file, in_file);
	KUNIT_EXPECT_EQ(test, counts.idle, idle);
}

static void test_block_hidden_as_one(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct folio *folio = grab_of_block(test, gm, 5);
	unsigned int level = map_level(folio);

	KUNIT_EXPECT_EQ(test, t->nr_hides, 1);
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
	KUNIT_EXPECT_EQ(test, folio_pfn(folio) % BLOCK_PAGES, 5);
	KUNIT_EXPECT_EQ(test, folio->index, 5);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 3);
	KUNIT_EXPECT_EQ(test, gm->inode->i_mapping->nrpages, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(),
			t->hidden_before + BLOCK_PAGES);
	expect_counts(test, gm, 1, BLOCK_PAGES, 0);
	/* The memory may have been mapped by 4 KiB already. */
	if (level != PG_LEVEL_2M)
		kunit_info(test, "mapped by entries of level %u", level);
	folio_put(folio);

	truncate_all(gm);
	guest_memfd_block_reap(gm, 0, ULONG_MAX);
	expect_counts(test, gm, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
}

static void test_block_page_comes_back(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct folio *folio = grab_of_block(test, gm, 7), *again;

	gm_test_use_singles(test);
	folio_put(folio);
	punch(gm, 7);
	KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 8), 0);
	guest_memfd_block_reap(gm, 7, 8);
	expect_counts(test, gm, 1, BLOCK_PAGES - 1, 0);
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
	KUNIT_EXPECT_TRUE(test, gm_cut_owns_pfn(folio_pfn(folio)));
	/* Free, and charged to no cgroup. */
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 0);
	KUNIT_EXPECT_FALSE(test, folio_memcg_charged(folio));
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(),
			t->hidden_before + BLOCK_PAGES - 1);

	/* A single page, of this block or of one with fewer free pages. */
	again = gm_test_grab(test, gm, 7);
	KUNIT_EXPECT_EQ(test, gm_page_state(again), gm_page_fresh(0));
	KUNIT_EXPECT_TRUE(test, gm_cut_owns_pfn(folio_pfn(again)));
	KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 8), 0);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 1);
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(),
			t->hidden_before + BLOCK_PAGES);
	folio_unlock(again);
	folio_put(again);
}

static void test_block_page_is_scrubbed(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct folio *folio = grab_of_block(test, gm, 7), *again;
	pgoff_t i;

	folio_lock(folio);
	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	memset(folio_address(folio), PATTERN, PAGE_SIZE);
	folio_unlock(folio);
	guest_memfd_put_direct_map(folio);
	folio_put(folio);
	punch(gm, 7);
	guest_memfd_block_reap(gm, 7, 8);

	/* Others may have left free pages, which are taken first. */
	gm_test_use_singles(test);
	for (i = 0; i < 16; i++) {
		again = gm_test_grab(test, gm, i ? TAIL + i - 1 : 7);
		KUNIT_EXPECT_EQ(test, gm_test_get(again), 0);
		KUNIT_EXPECT_NULL(test, memchr_inv(folio_address(again), 0, PAGE_SIZE));
		folio_unlock(again);
		guest_memfd_put_direct_map(again);
		folio_put(again);
	}
}

/* The whole file goes: the block is cleared as one, in several steps. */
static void test_block_is_scrubbed(struct kunit *test)
{
	static const pgoff_t dirty[] = { 0, 1, 63, 64, 300, BLOCK_PAGES - 1 };
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct folio *folio;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(dirty); i++) {
		folio = i ? gm_test_grab(test, gm, dirty[i]) : grab_of_block(test, gm, 0);
		if (!i)
			folio_lock(folio);
		KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
		memset(folio_address(folio), PATTERN, PAGE_SIZE);
		folio_unlock(folio);
		guest_memfd_put_direct_map(folio);
		t->restored_pfn = folio_pfn(folio);
		folio_put(folio);
	}
	t->nr_restored = 0;
	truncate_all(gm);
	guest_memfd_block_reap(gm, 0, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
}

static void test_block_page_is_held(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct folio *folio = grab_of_block(test, gm, 7), *other;

	punch(gm, 7);
	guest_memfd_block_reap(gm, 7, 8);
	/* The file gets a page that came alone for the place. */
	other = gm_test_grab(test, gm, 7);
	KUNIT_EXPECT_PTR_NE(test, other, folio);
	KUNIT_EXPECT_FALSE(test, gm_test_present(other));
	KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 7), 0);
	expect_counts(test, gm, 1, BLOCK_PAGES - 1, 0);
	folio_unlock(other);
	folio_put(other);

	KUNIT_EXPECT_NE(test, folio_ref_count(folio), 0);
	folio_put(folio);
	guest_memfd_block_reap(gm, 7, 8);
	expect_counts(test, gm, 1, BLOCK_PAGES - 1, 0);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 0);
}

static void test_block_merged_again(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct folio *folio = grab_of_block(test, gm, 9);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		folio_lock(folio);
		KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
		KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
		folio_unlock(folio);
		guest_memfd_put_direct_map(folio);
		KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
	}
	KUNIT_EXPECT_EQ(test, map_level(folio), PG_LEVEL_4K);
	KUNIT_EXPECT_EQ(test, t->nr_hides, 4);
	folio_put(folio);
	truncate_all(gm);
	guest_memfd_block_reap(gm, 0, ULONG_MAX);
	KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
	KUNIT_EXPECT_GE(test, map_level(folio), PG_LEVEL_2M);
}

static void test_block_shared_outlives_file(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct folio *folio = grab_of_block(test, gm, 9);

	folio_lock(folio);
	KUNIT_EXPECT_EQ(test, gm_test_get(folio), 0);
	memset(folio_address(folio), PATTERN, PAGE_SIZE);
	folio_unlock(folio);
	folio_put(folio);
	t->gm = NULL;
	iput(gm->inode);
	guest_memfd_block_wait();

	/* Its other pages are free, and hidden. */
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
	KUNIT_EXPECT_TRUE(test, gm_cut_owns_pfn(folio_pfn(folio) + 1));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio_next(folio)), 0);
	t->restored_pfn = folio_pfn(folio);
	guest_memfd_put_direct_map(folio);
	gm_test_drain();
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
}

static void test_block_not_over_pages(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct folio *folio;

	/* As if there had been no memory for a block at the first time. */
	gm->block_order = 0;
	folio = gm_test_grab(test, gm, 3);
	folio_unlock(folio);
	folio_put(folio);
	gm->block_order = GM_BLOCK_MAX_ORDER;

	folio = gm_test_grab(test, gm, 4);
	folio_unlock(folio);
	folio_put(folio);
	expect_counts(test, gm, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, gm->inode->i_mapping->nrpages, 2);
}

/* What leaves a block alone is freed before the block, and its entries merge after it. */
static void test_block_shrinks(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct folio *folio = grab_of_block(test, gm, 1);
	struct page *first = &folio->page - 1;
	int nid = folio_nid(folio);
	unsigned long free;
	pgoff_t i;

	folio_put(folio);
	for (i = 16; i < 32; i++)
		punch(gm, i);
	guest_memfd_block_reap(gm, 0, TAIL);
	expect_counts(test, gm, 1, BLOCK_PAGES - 16, 0);
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
	guest_memfd_block_reap(gm, 0, ULONG_MAX);
	guest_memfd_block_wait();
	expect_counts(test, gm, 0, 0, 0);
	KUNIT_EXPECT_FALSE(test, gm_cut_owns_pfn(page_to_pfn(first)));
	KUNIT_EXPECT_TRUE(test, kernel_page_present(first));
	KUNIT_EXPECT_GE(test, map_level(page_folio(first)), PG_LEVEL_2M);
}

static void test_block_poisoned_page(struct kunit *test)
{
	struct guest_memfd *gm = new_block_file(test);
	struct gm_test *t = test->priv;
	struct folio *folio = grab_of_block(test, gm, 2);

	/* Our reference is the one that memory_failure() keeps. */
	folio_set_hwpoison(folio);
	guest_memfd_memory_failure(folio);
	KUNIT_EXPECT_EQ(test, guest_memfd_max_order(gm, 3), 0);
	KUNIT_EXPECT_EQ(test, t->starts, 1);
	truncate_all(gm);
	guest_memfd_block_reap(gm, 0, ULONG_MAX);
	guest_memfd_block_wait();
	/* All others are free. */
	KUNIT_EXPECT_EQ(test, gm_test_nr_hidden(), t->hidden_before + 1);
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	expect_counts(test, gm, 0, 0, 0);

	/* The test restores it itself: no other code will. */
	folio_put(folio);
	folio_clear_hwpoison(folio);
	gm_page_clear_state(folio);
	KUNIT_EXPECT_EQ(test, direct_map_restore(&folio->page, 1), 0);
	folio_put(folio);
}

static struct kunit_case gm_test_cases[] = {
	KUNIT_CASE(test_hidden_once),
	KUNIT_CASE(test_grab_keeps_shares),
	KUNIT_CASE(test_share_count),
	KUNIT_CASE(test_share_overflow),
	KUNIT_CASE(test_scrubbed_before_restore),
	KUNIT_CASE(test_reference_delays_reuse),
	KUNIT_CASE(test_share_survives_truncation),
	KUNIT_CASE(test_no_share_after_truncation),
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
	KUNIT_CASE(test_block_merged_again),
	KUNIT_CASE(test_block_shared_outlives_file),
	KUNIT_CASE(test_block_not_over_pages),
	KUNIT_CASE(test_block_shrinks),
	KUNIT_CASE(test_block_poisoned_page),
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
