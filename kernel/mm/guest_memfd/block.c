// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks: how the hidden memory of a file is allocated, and how it is freed.
 *
 * A block is a naturally aligned, contiguous part of a file and of physical
 * memory.  It is allocated, cleared and hidden as one unit, which costs one page
 * table entry and one TLB flush, and only then do its pages enter the file, one
 * folio each, at their natural indexes.  Where that cannot be (the tail of a
 * file, no such memory, pages there already) a page is allocated alone.
 *
 * A block holds a reference to each of its pages, and the library one to each
 * single page: no put of another holder frees a page.
 *
 * A page that has left its file waits, hidden, until that reference is the only
 * one.  Then it is cleared through the temporary mapping, and is charged no more.
 * A block whose pages have all left goes to the pool (pool.c), hidden, or is
 * restored and freed.  When a page leaves alone, its block is cut (cut.c), and the
 * page can be used as a single one.  Pages are cleared before they are restored:
 * former guest memory is never readable through the direct map.
 */

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bitmap.h>
#include <linux/cpuset.h>
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/folio_batch.h>
#include <linux/pagemap.h>
#include <linux/page_ref.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/swap.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <trace/events/guest_memfd.h>

#include "../internal.h"
#include "access.h"
#include "block.h"
#include "cut.h"
#include "direct_map.h"
#include "page_state.h"
#include "pool.h"
#include "reference.h"

#define GM_BLOCK_MAX_PAGES	(1U << GM_BLOCK_MAX_ORDER)

/**
 * struct gm_block - one aligned range of a file, and the memory behind it
 * @refs: One of the file, one while there is memory, and those of users.
 * @lock: Of all fields that say no other.  Taken under the invalidate_lock,
 *	never under a folio lock; folio locks are taken under it.
 * @first: First page of the memory, or NULL.
 * @poisoned: A page was found bad: the guest must not get it with the rest.
 * @nr_out: Number of bits set in @out.
 * @nr_idle: Pages that are neither out nor gone; read without the lock.
 * @nr_in_file: Pages in the file; less is written without the lock.
 * @nr_unscrubbed: Pages that it is counted with in a teardown.
 * @teardown_list: In the list of a teardown until it is scrubbed.
 * @retry_list: In retry_blocks while pages wait; of retry_lock.
 * @out: Pages that are in the file or have left it and are not cleared yet.
 * @left: Those of them that have left; set without the lock.
 * @gone: Pages that left the block one by one, or are poisoned.
 */
struct gm_block {
	refcount_t refs;
	struct mutex lock; /* of what says no other */
	struct page *first;
	bool poisoned;
	unsigned int nr_out;
	unsigned int nr_idle;
	atomic_t nr_in_file;
	unsigned int nr_unscrubbed;
	struct list_head teardown_list;
	struct list_head retry_list;
	DECLARE_BITMAP(out, GM_BLOCK_MAX_PAGES);
	DECLARE_BITMAP(left, GM_BLOCK_MAX_PAGES);
	DECLARE_BITMAP(gone, GM_BLOCK_MAX_PAGES);
};

/* Order of the blocks of files that are created from now on. */
static unsigned int block_order = GM_BLOCK_MAX_ORDER;

/* Blocks that have memory, by pfn >> GM_BLOCK_MAX_ORDER. */
static DEFINE_XARRAY(blocks_by_pfn);

/* A value for each page that is hidden by itself, by pfn. */
static DEFINE_XARRAY(lone_pages);

/*
 * Blocks and order-0 pages, the latter by folio->lru, that have left their file
 * while something held a reference.  Only a worker looks at them, so that they
 * cost no other file anything.
 */
static LIST_HEAD(retry_blocks);
static LIST_HEAD(retry_singles);
/* Of both, and of the orphans of all files. */
static DEFINE_SPINLOCK(retry_lock);

static void retry(struct work_struct *work);
static DECLARE_DELAYED_WORK(retry_work, retry);

/**
 * struct gm_teardown - the memory of a closed file that is not cleared yet
 * @list: In teardowns.
 * @blocks: Blocks, each with the reference that the file had.
 * @singles: Order-0 pages, by folio->lru.
 * @memcg: The cgroup that the first of them is charged to, with a reference, or
 *	NULL.  As a rule all pages of a file are charged to one.
 * @nr_waiting: Pages of @blocks and @singles.
 * @nr_in_work: Pages that tasks have taken from it, to clear and free them.
 */
struct gm_teardown {
	struct list_head list;
	struct list_head blocks;
	struct list_head singles;
	struct mem_cgroup *memcg;
	unsigned long nr_waiting;
	unsigned long nr_in_work;
};

/* Those that have pages waiting or in work; each gets its turn. */
static LIST_HEAD(teardowns);
static DEFINE_SPINLOCK(teardown_lock);
/* Pages of all teardowns, waiting or in work. */
static atomic_long_t nr_unscrubbed;
/* Woken when there are fewer of them. */
static DECLARE_WAIT_QUEUE_HEAD(scrub_wait);
static struct shrinker *unscrubbed_shrinker;

/* Few enough to leave CPUs for those who run guests. */
#define MAX_SCRUBBERS 4
static void scrub_teardowns(struct work_struct *work);
static struct work_struct scrub_works[MAX_SCRUBBERS];
struct workqueue_struct *guest_memfd_wq __ro_after_init;

/* Order-0 pages of a teardown that are taken at once. */
#define SINGLES_PER_TURN 64

static void block_put(struct gm_block *block)
{
	if (refcount_dec_and_test(&block->refs))
		kfree(block);
}

/*
 * The caller has a reference to the folio that its block has not taken back, so
 * the block stays.
 *
 * Return: The block, or NULL when the page came alone.
 */
static struct gm_block *folio_block(struct folio *folio)
{
	if (!gm_page_block_order(gm_page_state(folio)))
		return NULL;
	return xa_load(&blocks_by_pfn, folio_pfn(folio) >> GM_BLOCK_MAX_ORDER);
}

/*
 * An order-0 page has no block that leads to its file.  While it is on no list
 * its lru field points to the file, which is valid until the page leaves it.
 */
static void set_single_file(struct folio *folio, struct guest_memfd *gm)
{
	folio->lru.next = (struct list_head *)gm;
}

static struct guest_memfd *single_file(struct folio *folio)
{
	return (struct guest_memfd *)folio->lru.next;
}

static unsigned int page_nr(struct gm_block *block, struct folio *folio)
{
	return folio_pfn(folio) & (GM_BLOCK_MAX_PAGES - 1);
}

/* To be called when the pages of a block have changed hands. */
static void update_idle(struct gm_block *block)
{
	unsigned int nr_idle = 0;

	lockdep_assert_held(&block->lock);
	if (block->first)
		nr_idle = GM_BLOCK_MAX_PAGES - block->nr_out -
			  bitmap_weight(block->gone, GM_BLOCK_MAX_PAGES);
	WRITE_ONCE(block->nr_idle, nr_idle);
}

static struct page *alloc_pages_by_policy(struct guest_memfd *gm, pgoff_t index,
					  gfp_t gfp, unsigned int order)
{
	struct page *page;
#ifdef CONFIG_NUMA
	struct mempolicy *policy;

	policy = mpol_shared_policy_lookup(&gm->policy, index);
	if (policy) {
		page = alloc_pages_mpol(gfp, order, policy, index >> order,
					numa_node_id());
		mpol_cond_put(policy);
		if (page)
			set_page_refcounted(page);
		return page;
	}
#endif
	page = alloc_pages(gfp, order);
	return page;
}

/*
 * Call @take for the nodes that the policy allows, in its order of preference,
 * until it returns a page; with @preferred_only for the first of them.
 *
 * Return: The page or NULL.  With @preferred_only, also NULL for a task's policy that
 * takes the next node each time, and would skip one for a look.
 */
static struct page *take_by_policy(struct guest_memfd *gm, pgoff_t index, gfp_t gfp,
				   bool preferred_only, struct page *(*take)(int nid))
{
	struct page *page = NULL;
#ifdef CONFIG_NUMA
	pgoff_t ilx = index >> GM_BLOCK_MAX_ORDER;
	int nid = numa_node_id(), last = NUMA_NO_NODE;
	nodemask_t *nodemask = NULL;
	struct mempolicy *policy, *shared;
	struct zoneref *z;
	struct zone *zone;

	shared = mpol_shared_policy_lookup(&gm->policy, index);
	policy = shared ?: get_task_policy(current);
	if (shared || (policy->mode != MPOL_INTERLEAVE &&
		       policy->mode != MPOL_WEIGHTED_INTERLEAVE)) {
		nodemask = policy_nodemask(gfp, policy, ilx, &nid);
	} else {
		if (preferred_only)
			return NULL;
		nodemask = &policy->nodes;
	}
	for_each_zone_zonelist_nodemask(zone, z, node_zonelist(nid, gfp),
					gfp_zone(gfp), nodemask) {
		if (zone_to_nid(zone) == last || !cpuset_zone_allowed(zone, gfp))
			continue;
		last = zone_to_nid(zone);
		page = take(last);
		if (page || preferred_only)
			break;
	}
	mpol_cond_put(shared);
#else
	page = take(numa_node_id());
#endif
	return page;
}

static bool charge(struct page *first, unsigned int nr, gfp_t gfp)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (mem_cgroup_charge(page_folio(first + i), NULL, gfp))
			return false;
	}
	return true;
}

/*
 * A reference that a task took for an instant may remain.  Its put frees the page
 * then, and finds no charge.
 */
static void uncharge(struct page *first, unsigned int nr)
{
	struct folio_batch batch;
	unsigned int i;

	folio_batch_init(&batch);
	for (i = 0; i < nr; i++) {
		if (folio_batch_add(&batch, page_folio(first + i)) && i < nr - 1)
			continue;
		mem_cgroup_uncharge_folios(&batch);
		folio_batch_reinit(&batch);
	}
}

/* So many pages are freed as one piece. */
#define FREE_PAGES 64U

/*
 * In large pieces: page by page the allocator would queue and merge each of them.
 * Not in one, as it looks for poison in all pages of a piece before it frees the
 * first.
 */
static void free_pages_of(struct page *first, unsigned int nr)
{
	unsigned int i, n;

	uncharge(first, nr);
	for (i = 0; i < nr; i += n) {
		n = min(nr - i, FREE_PAGES);
		__free_contig_range(page_to_pfn(first + i), n);
	}
}

static void set_fresh(struct page *first, unsigned int order)
{
	unsigned int i;

	for (i = 0; i < 1U << order; i++) {
		struct folio *folio = page_folio(first + i);

		/* memory_failure() can mark a page of the pool at the same time. */
		folio_mark_uptodate(folio);
		gm_page_set_state(folio, gm_page_fresh(order));
	}
}

/*
 * Hide what alloc_blocks() gave, with one flush for all of it.  What cannot be
 * hidden is freed, and its place in @first set to NULL.
 *
 * Return: How many are hidden and up to date, from the first on.
 */
static unsigned int hide_fresh(struct page **first, unsigned int nr_ranges,
			       unsigned int order)
{
	unsigned int n, done, nr = 1U << order;

	done = direct_map_hide_ranges(first, nr_ranges, nr);
	for (n = 0; n < done; n++)
		set_fresh(first[n], order);
	for (; n < nr_ranges; n++) {
		free_pages_of(first[n], nr);
		first[n] = NULL;
	}
	return done;
}

/* Free a hidden block that was never used, and so is still clean. */
static void free_fresh(struct page *first)
{
	unsigned int i;

	for (i = 0; i < GM_BLOCK_MAX_PAGES; i++)
		gm_page_clear_state(page_folio(first + i));
	uncharge(first, GM_BLOCK_MAX_PAGES);
	if (gm_pool_give(first))
		return;
	/* A page that cannot be restored must not reach the allocator. */
	if (WARN_ON_ONCE(direct_map_restore(first, GM_BLOCK_MAX_PAGES)))
		return;
	/* An attempt to cut it may have split its entry. */
	direct_map_merge(first);
	free_pages_of(first, GM_BLOCK_MAX_PAGES);
}

/*
 * Return: How many blocks of the pool are in @memory, charged, from @index on; -ENOMEM when
 * the first cannot be charged.
 */
static int take_from_pool(struct guest_memfd *gm, pgoff_t index, gfp_t gfp,
			  struct page **memory, unsigned int nr_blocks)
{
	struct page *first;
	unsigned int n;

	for (n = 0; n < nr_blocks; n++, index += GM_BLOCK_MAX_PAGES) {
		first = take_by_policy(gm, index, gfp, true, gm_pool_take);
		if (!first)
			break;
		set_fresh(first, GM_BLOCK_MAX_ORDER);
		if (!charge(first, GM_BLOCK_MAX_PAGES, gfp)) {
			free_fresh(first);
			return n ?: -ENOMEM;
		}
		memory[n] = first;
	}
	return n;
}

/* As take_from_pool(), of blocks from the allocator: cleared, and not hidden yet. */
static int alloc_blocks(struct guest_memfd *gm, pgoff_t index, gfp_t gfp,
			struct page **memory, unsigned int nr_blocks)
{
	struct page *first;
	unsigned int n;

	for (n = 0; n < nr_blocks; n++, index += GM_BLOCK_MAX_PAGES) {
		first = alloc_pages_by_policy(gm, index, gfp | __GFP_ZERO,
					      GM_BLOCK_MAX_ORDER);
		if (!first)
			break;
		split_page(first, GM_BLOCK_MAX_ORDER);
		if (!charge(first, GM_BLOCK_MAX_PAGES, gfp)) {
			free_pages_of(first, GM_BLOCK_MAX_PAGES);
			return n ?: -ENOMEM;
		}
		memory[n] = first;
	}
	return n;
}

static int add_to_file(struct guest_memfd *gm, struct folio *folio,
		       pgoff_t index)
{
	struct address_space *mapping = gm->inode->i_mapping;
	int err;

	folio_lock(folio);
	err = __filemap_add_folio(mapping, folio, index,
				  mapping_gfp_mask(mapping), NULL);
	if (!err && gm_page_count(gm_page_state(folio)))
		gm_tag_referenced(folio, true);
	folio_unlock(folio);
	return err;
}

/*
 * The bits that a page populated at @index has: those of level KERNEL, or only
 * its direct-map reference while the range changes its level, or none.
 */
static unsigned long level_bits(struct guest_memfd *gm, pgoff_t index)
{
	pgoff_t ignored;
	bool pinnable;

	if (!guest_memfd_access_carries(gm, index, &ignored, &ignored, &pinnable))
		return 0;
	return GM_PAGE_LEVEL | (pinnable ? GUEST_MEMFD_PAGE_PINNABLE : 0);
}

/*
 * Take level KERNEL's reference of @folio, which is hidden, clean and in no file
 * yet, and set @bits.  With @restored its direct map entry is present already.
 */
static int begin_kernel(struct folio *folio, unsigned long bits, bool restored)
{
	int err = 0;

	folio_lock(folio);
	if (restored)
		gm_get_direct_map_restored(folio);
	else
		err = gm_get_direct_map(folio);
	if (!err)
		gm_page_set_state(folio, gm_page_state(folio) | bits);
	folio_unlock(folio);
	return err;
}

/*
 * After begin_kernel(), of a page that does not enter the file.  The direct map
 * keeps it: to hide it again may fail, and it is clean.
 */
static void undo_kernel(struct folio *folio)
{
	trace_guest_memfd_put(folio_pfn(folio), 0);
	gm_page_clear_state(folio);
	gm_cut_lose(&folio->page);
	folio_put(folio);
}

/*
 * Return: True if the page was hidden by itself.  It counts as the caller's, and as no
 * lone one, then.
 */
static bool forget_lone(struct page *page)
{
	return xa_erase(&lone_pages, page_to_pfn(page));
}

/* Give a page to the allocator that is hidden, clean, and has one reference. */
static void free_to_allocator(struct page *page)
{
	bool lone = forget_lone(page);

	gm_cut_free(page);
	/* Others of the same 2 MiB may have kept its entries from being merged. */
	if (lone && !(current->flags & PF_MEMALLOC))
		guest_memfd_block_merge(page);
}

/*
 * Free a page that no block of the file has: it is hidden, clean, and has one
 * reference and perhaps others that end in an instant.
 */
static void free_single(struct page *page)
{
	gm_page_clear_state(page_folio(page));
	if (page_ref_freeze(page, 1)) {
		mem_cgroup_uncharge(page_folio(page));
		if (gm_cut_give(page))
			return;
		page_ref_unfreeze(page, 1);
	}
	free_to_allocator(page);
}

/* Return: A block that no task is charged for, without reclaim, or NULL. */
static struct page *new_block_of_node(int nid)
{
	gfp_t gfp = (GFP_HIGHUSER & ~__GFP_DIRECT_RECLAIM) | __GFP_THISNODE |
		    __GFP_NOWARN | __GFP_ZERO;
	struct page *first = alloc_pages_node(nid, gfp, GM_BLOCK_MAX_ORDER);

	if (!first)
		return NULL;
	split_page(first, GM_BLOCK_MAX_ORDER);
	if (direct_map_hide_ranges(&first, 1, GM_BLOCK_MAX_PAGES))
		return first;
	free_pages_of(first, GM_BLOCK_MAX_PAGES);
	return NULL;
}

/* Return: A hidden page that no task is charged for, of a block that is cut, or NULL. */
static struct page *single_of_node(int nid)
{
	struct page *page = gm_cut_take(nid);

	if (page)
		return page;
	page = gm_pool_take(nid) ?: new_block_of_node(nid);
	if (!page || gm_cut_block(page))
		return page;
	free_fresh(page);
	return NULL;
}

/*
 * Return: A page of a block that is cut, hidden and charged; NULL; or ERR_PTR(-ENOMEM)
 * when there is one, but it cannot be charged.
 */
VISIBLE_IF_KUNIT struct page *gm_take_single(struct guest_memfd *gm,
					     pgoff_t index, bool preferred_only)
{
	gfp_t gfp = mapping_gfp_mask(gm->inode->i_mapping);
	struct page *page;

	KUNIT_STATIC_STUB_REDIRECT(gm_take_single, gm, index, preferred_only);
	if (!gm->block_order)
		return NULL;
	page = take_by_policy(gm, index, gfp, preferred_only, single_of_node);
	if (!page)
		return NULL;
	set_fresh(page, 0);
	if (charge(page, 1, gfp))
		return page;
	free_single(page);
	return ERR_PTR(-ENOMEM);
}

/* Hide a cleared page by itself, and charge it.  Return: As gm_take_single(). */
static struct page *make_lone(struct guest_memfd *gm, struct page *page)
{
	if (!charge(page, 1, mapping_gfp_mask(gm->inode->i_mapping))) {
		put_page(page);
		return ERR_PTR(-ENOMEM);
	}
	if (!hide_fresh(&page, 1, 0))
		return NULL;
	if (!xa_err(xa_store(&lone_pages, page_to_pfn(page), xa_mk_value(0),
			     GFP_KERNEL)))
		return page;
	free_single(page);
	guest_memfd_block_merge(page);
	return NULL;
}

/* Return: A cleared page of the node, without reclaim, or NULL. */
static struct page *page_of_node(int nid)
{
	gfp_t gfp = (GFP_HIGHUSER & ~__GFP_DIRECT_RECLAIM) | __GFP_THISNODE |
		    __GFP_NOWARN | __GFP_ZERO;

	return alloc_pages_node(nid, gfp, 0);
}

/*
 * With several nodes a page of the preferred one comes first, even if it is hidden by
 * itself and so splits the direct map; then a page of a block of any node.
 *
 * Return: A page that is hidden and charged, or ERR_PTR(-ENOMEM).
 */
static struct page *get_single(struct guest_memfd *gm, pgoff_t index)
{
	gfp_t gfp = mapping_gfp_mask(gm->inode->i_mapping);
	struct page *page;

	page = gm_take_single(gm, index, true);
	if (!page && gm->block_order && nr_online_nodes > 1) {
		page = take_by_policy(gm, index, gfp, true, page_of_node);
		if (page)
			page = make_lone(gm, page);
		if (!page)
			page = gm_take_single(gm, index, false);
	}
	if (page)
		return page;
	page = alloc_pages_by_policy(gm, index, gfp | __GFP_ZERO, 0);
	if (page)
		page = make_lone(gm, page);
	return page ?: ERR_PTR(-ENOMEM);
}

/* An order-0 page: for files without blocks, and where no block fits. */
static int populate_single(struct guest_memfd *gm, pgoff_t index)
{
	unsigned long bits = level_bits(gm, index);
	struct page *page;
	int err;

	/* Hide a page at KERNEL too, so that hiding it later cannot fail. */
	page = get_single(gm, index);
	if (IS_ERR(page))
		return PTR_ERR(page);

	set_single_file(page_folio(page), gm);
	err = bits ? begin_kernel(page_folio(page), bits, false) : 0;
	if (err) {
		free_single(page);
		return err;
	}
	err = add_to_file(gm, page_folio(page), index);
	if (!err)
		return 0;
	if (bits) {
		undo_kernel(page_folio(page));
		bool lone = forget_lone(page);

		put_page(page);
		if (lone)
			guest_memfd_block_merge(page);
	} else {
		free_single(page);
	}
	return err == -EEXIST ? 0 : err;
}

/* Return: The block of a part of the file, with or without memory. */
static struct gm_block *file_block(struct guest_memfd *gm, pgoff_t index)
{
	unsigned long key = index >> gm->block_order;
	struct gm_block *block, *other;

	block = xa_load(&gm->blocks, key);
	if (block)
		return block;

	block = kzalloc_obj(*block, GFP_KERNEL_ACCOUNT);
	if (!block)
		return ERR_PTR(-ENOMEM);
	refcount_set(&block->refs, 1);
	mutex_init(&block->lock);
	INIT_LIST_HEAD(&block->teardown_list);
	INIT_LIST_HEAD(&block->retry_list);

	other = xa_cmpxchg(&gm->blocks, key, NULL, block, GFP_KERNEL_ACCOUNT);
	if (!other)
		return block;
	kfree(block);
	return xa_is_err(other) ? ERR_PTR(xa_err(other)) : other;
}

/* The pages of a block enter the file where nothing is yet, or not at all. */
static bool range_is_free(struct guest_memfd *gm, pgoff_t start, unsigned int nr)
{
	unsigned long index = start;

	if (start + nr > i_size_read(gm->inode) >> PAGE_SHIFT)
		return false;
	return !xa_find(&gm->inode->i_mapping->i_pages, &index, start + nr - 1,
			XA_PRESENT);
}

/* So many blocks are hidden with one flush. */
#define BLOCKS_PER_FLUSH 8

static unsigned long scrub_some(struct mem_cgroup *memcg, bool reclaim,
				unsigned long *nr_freed);

/*
 * Memory for the blocks of a range, as far as they need any and there is some.
 *
 * Return: For how many blocks, from that of @index on, @memory is set.
 */
static int alloc_memory(struct guest_memfd *gm, pgoff_t index, pgoff_t end,
			struct page **memory)
{
	/* A block is worth a try, but a page alone will do as well. */
	gfp_t gfp = mapping_gfp_mask(gm->inode->i_mapping) | __GFP_NORETRY |
		    __GFP_NOWARN;
	unsigned int nr_blocks = 0, order = gm->block_order;
	unsigned long ignored;
	pgoff_t first = round_down(index, 1UL << order), start = first;
	int n;

	/* Asked again under the block's lock. */
	while (nr_blocks < BLOCKS_PER_FLUSH && start < end &&
	       range_is_free(gm, start, 1U << order)) {
		start += 1UL << order;
		nr_blocks++;
	}
	do {
		n = take_from_pool(gm, first, gfp, memory, nr_blocks);
		if (n > 0)
			return n;
		if (!n)
			n = alloc_blocks(gm, first, gfp, memory, nr_blocks);
		/* Reclaim does not try hard for a block: clear what waits for it. */
	} while (!n && nr_blocks && scrub_some(NULL, true, &ignored));
	return n > 0 ? hide_fresh(memory, n, order) : 0;
}

static bool give_memory(struct gm_block *block, struct page *first)
{
	unsigned long key = page_to_pfn(first) >> GM_BLOCK_MAX_ORDER;

	if (xa_err(xa_store(&blocks_by_pfn, key, block,
			    GFP_KERNEL)))
		return false;
	refcount_inc(&block->refs);
	block->first = first;
	return true;
}

/*
 * Free the page at @index of the block: it has no other reference, is clean, and is
 * in the direct map already.
 */
static void let_go(struct gm_block *block, pgoff_t index)
{
	unsigned int i = index & (GM_BLOCK_MAX_PAGES - 1);

	gm_page_clear_state(page_folio(block->first + i));
	__set_bit(i, block->gone);
	gm_cut_lose(block->first + i);
	put_page(block->first + i);
}

/* @restored: It is in the direct map already, with all of its block. */
static int populate_from_block(struct guest_memfd *gm, struct gm_block *block,
			       pgoff_t index, bool restored)
{
	unsigned int i = index & (GM_BLOCK_MAX_PAGES - 1);
	struct folio *folio = page_folio(block->first + i);
	unsigned long bits = level_bits(gm, index);
	int err;

	if (bits) {
		err = begin_kernel(folio, bits, restored);
		if (err)
			return err;
	}
	err = add_to_file(gm, folio, index);
	if (err && bits) {
		undo_kernel(folio);
		let_go(block, index);
	}
	if (err)
		return err;
	__set_bit(i, block->out);
	block->nr_out++;
	/* One that went bad before it had a mapping to be found by. */
	if (PageHWPoison(block->first + i))
		WRITE_ONCE(block->poisoned, true);
	/* Whoever sees the block whole sees that as well. */
	smp_mb__before_atomic();
	atomic_inc(&block->nr_in_file);
	return 0;
}

static bool is_idle(struct gm_block *block, unsigned int i)
{
	return block->first && !test_bit(i, block->out) &&
	       !test_bit(i, block->gone) && !PageHWPoison(block->first + i);
}

static bool release_memory(struct gm_block *block);
static bool give_idle(struct gm_block *block);
static void retry_later(struct gm_block *block);

/**
 * guest_memfd_block_init - choose the order of a new file's blocks
 * @gm: The memory of a file whose pages are hidden.
 */
void guest_memfd_block_init(struct guest_memfd *gm)
{
	gm->block_order = READ_ONCE(block_order);
}

/*
 * @memory: For the block, hidden, or to be allocated; NULL after that has failed.
 * Memory that is there afterwards was not taken.
 */
static int populate_block(struct guest_memfd *gm, pgoff_t index,
			  struct page **memory)
{
	bool fresh = false, restored = false, ignored;
	pgoff_t start, other, first, last;
	struct gm_block *block;
	unsigned int nr;
	int err = 0;

	block = file_block(gm, index);
	if (IS_ERR(block))
		return PTR_ERR(block);
	nr = GM_BLOCK_MAX_PAGES;
	start = round_down(index, nr);

	mutex_lock(&block->lock);
	if (xa_load(&gm->inode->i_mapping->i_pages, index))
		goto out;

	/* Others who want the block wait here, and need none then. */
	if (!block->first && range_is_free(gm, start, nr) &&
	    memory && (*memory || alloc_memory(gm, start, start + 1, memory)) &&
	    give_memory(block, *memory)) {
		*memory = NULL;
		fresh = true;
		/* All of it at KERNEL: it is restored as it was hidden. */
		if (guest_memfd_access_carries(gm, start, &first, &last,
					       &ignored) &&
		    last >= start + nr - 1)
			restored = !WARN_ON_ONCE(direct_map_restore(block->first,
								    nr));
	}
	if (is_idle(block, index - start))
		err = populate_from_block(gm, block, index, restored);
	else
		err = populate_single(gm, index);

	/* The others are welcome, not wanted: what fails stays idle. */
	for (other = start; fresh && !err && other < start + nr; other++) {
		if (other != index &&
		    populate_from_block(gm, block, other, restored))
			break;
	}
	/* Not so what the kernel can see. */
	for (other = start; restored && other < start + nr; other++) {
		if (!test_bit(other - start, block->out) &&
		    !test_bit(other - start, block->gone))
			let_go(block, other);
	}
	if (block->first && !(block->nr_out ? give_idle(block) :
				      release_memory(block)))
		retry_later(block);
	update_idle(block);
out:
	mutex_unlock(&block->lock);
	return err;
}

/**
 * guest_memfd_block_populate - put a hidden page into a file
 * @gm: The file's memory; the invalidate_lock is held.
 * @index: Where in the file, in pages, below its size.
 *
 * The first time in a block's range the whole block enters the file: its memory
 * is taken in any case, and so the guest can have it in one mapping.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs when memory is allocated.
 * Return: 0 when there is, or just was, a page at the index; or -ENOMEM.
 */
int guest_memfd_block_populate(struct guest_memfd *gm, pgoff_t index)
{
	struct page *memory = NULL;
	int err;

	if (xa_load(&gm->inode->i_mapping->i_pages, index))
		return 0;
	if (!gm->block_order)
		return populate_single(gm, index);
	err = populate_block(gm, index, &memory);
	if (memory)
		free_fresh(memory);
	return err;
}

/**
 * guest_memfd_block_populate_range - put hidden pages into a file, many at once
 * @gm: The file's memory; the invalidate_lock is not held.
 * @index: Where in the file, in pages, below its size.
 * @end: Index after the last page that is wanted, not above the size.
 *
 * There is, or just was, a page at @index then, and perhaps at some that follow.
 * Memory is allocated, cleared and hidden, all with one flush, before the
 * invalidate_lock is taken.  The lock is held for one block at a time, as a
 * writer that waits for it blocks the faults of every vCPU.
 *
 * Context: May sleep; takes the invalidate_lock.  Flushes the TLBs of all CPUs
 * when memory is allocated.
 * Return: 0, or -ENOMEM.
 */
int guest_memfd_block_populate_range(struct guest_memfd *gm, pgoff_t index,
				     pgoff_t end)
{
	struct address_space *mapping = gm->inode->i_mapping;
	struct page *memory[BLOCKS_PER_FLUSH] = {};
	unsigned long nr = 1UL << gm->block_order;
	unsigned int n, nr_blocks = 0;
	int err, ret = 0;

	if (gm->block_order)
		nr_blocks = alloc_memory(gm, index, end, memory);
	for (n = 0; n < max(nr_blocks, 1U); n++) {
		filemap_invalidate_lock_shared(mapping);
		if (xa_load(&mapping->i_pages, index))
			err = 0;
		else if (gm->block_order)
			err = populate_block(gm, index,
					     nr_blocks ? &memory[n] : NULL);
		else
			err = populate_single(gm, index);
		filemap_invalidate_unlock_shared(mapping);
		if (err) {
			/* A later block is tried again when it is the first. */
			ret = n ? 0 : err;
			break;
		}
		index = round_down(index, nr) + nr;
	}
	for (n = 0; n < BLOCKS_PER_FLUSH; n++) {
		if (memory[n])
			free_fresh(memory[n]);
	}
	return ret;
}

/**
 * guest_memfd_block_is_whole - may a guest map the block of an index at once?
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 *
 * Context: Any.  The answer is good until the next invalidation of the range.
 * Return: True when all of the block's pages are in the file, each in its place,
 * and none is poisoned.
 */
bool guest_memfd_block_is_whole(struct guest_memfd *gm, pgoff_t index)
{
	struct gm_block *block;

	if (!gm->block_order)
		return false;
	block = xa_load(&gm->blocks, index >> gm->block_order);
	/* The count first: see populate_from_block(). */
	return block &&
	       atomic_read_acquire(&block->nr_in_file) == GM_BLOCK_MAX_PAGES &&
	       !READ_ONCE(block->poisoned);
}

/* Never touched again: it stays hidden, and out of the allocator. */
static void keep_out(struct gm_block *block, unsigned int i)
{
	clear_bit(i, block->left);
	__clear_bit(i, block->out);
	block->nr_out--;
	__set_bit(i, block->gone);
	gm_cut_lose(block->first + i);
}

/*
 * A page that left its file cannot be found any more, so it is free to be
 * cleared once only the library's own reference is left.
 *
 * Return: 1 when no reference can be taken until unfreeze_orphan(), 0 when the
 * page has other references, -EHWPOISON.
 */
static int freeze_orphan(struct folio *folio)
{
	/* memory_failure() keeps a reference to a poisoned page. */
	if (folio_test_hwpoison(folio))
		return -EHWPOISON;
	if (!folio_ref_freeze(folio, 1))
		return 0;
	/* Now this answer is final. */
	if (folio_test_hwpoison(folio)) {
		folio_ref_unfreeze(folio, 1);
		return -EHWPOISON;
	}
	return 1;
}

static void unfreeze_orphan(struct folio *folio)
{
	folio_ref_unfreeze(folio, 1);
}

/* Return: As freeze_orphan(); with 1 the page is cleared. */
static int scrub(struct folio *folio)
{
	int ret = freeze_orphan(folio);

	if (ret == 1) {
		direct_map_zero_hidden(&folio->page);
		unfreeze_orphan(folio);
	}
	return ret;
}

/* A page that has left the file, and is cleared. */
static void make_idle(struct gm_block *block, unsigned int i)
{
	gm_page_set_state(page_folio(block->first + i),
			  gm_page_fresh(GM_BLOCK_MAX_ORDER));
	clear_bit(i, block->left);
	__clear_bit(i, block->out);
	block->nr_out--;
}

/*
 * When the last pages leave a block together, they can be cleared many at a time: no
 * guest has a page of the block any more, and no other owner.  They all become idle, or none
 * does: where one has another reference or is poisoned.
 */
static void scrub_whole(struct gm_block *block)
{
	unsigned int i, end, nr = GM_BLOCK_MAX_PAGES;

	lockdep_assert_held(&block->lock);
	if (bitmap_empty(block->left, nr) ||
	    !bitmap_equal(block->left, block->out, nr))
		return;

	for (end = 0; end < nr; end++) {
		if (test_bit(end, block->left) &&
		    freeze_orphan(page_folio(block->first + end)) != 1)
			break;
	}
	if (end == nr)
		direct_map_zero_hidden_large(block->first, block->left);
	for_each_set_bit(i, block->left, end) {
		unfreeze_orphan(page_folio(block->first + i));
		if (end == nr)
			make_idle(block, i);
	}
}

/*
 * All pages of the block are idle and hidden.  Restore and free them, or give them
 * to the pool.
 */
static void release_whole(struct gm_block *block)
{
	struct page *first = block->first;
	unsigned int i, nr = GM_BLOCK_MAX_PAGES;

	/* Another file can own the memory, and store its block, from here on. */
	xa_erase(&blocks_by_pfn,
		 page_to_pfn(first) >> GM_BLOCK_MAX_ORDER);

	for (i = 0; i < nr; i++)
		gm_page_clear_state(page_folio(first + i));
	gm_cut_forget(first);
	/* Reclaim has more use for the memory, and may run under locks that merging takes. */
	if (!(current->flags & PF_MEMALLOC)) {
		uncharge(first, nr);
		if (gm_pool_give(first))
			return;
	}
	/* As it was hidden: this edits what is there already. */
	if (WARN_ON_ONCE(direct_map_restore(first, nr)))
		return;
	if (!(current->flags & PF_MEMALLOC))
		direct_map_merge(first);
	free_pages_of(first, nr);
}

/* To cut a block takes memory, which reclaim cannot wait for. */
static bool can_cut(struct gm_block *block)
{
	return gm_cut_is_cut(block->first) ||
	       (!(current->flags & PF_MEMALLOC) &&
		!gm_cut_prepare(block->first, block->gone));
}

/* The page is idle, of a block that is cut, and its reference count is frozen. */
static void give_page(struct gm_block *block, unsigned int i)
{
	struct page *page = block->first + i;

	gm_page_clear_state(page_folio(page));
	mem_cgroup_uncharge(page_folio(page));
	if (gm_cut_give(page))
		return;
	page_ref_unfreeze(page, 1);
	gm_cut_free(page);
}

/*
 * Idle pages leave the block while others are out: they can be used elsewhere, and
 * nothing that is idle is charged.
 *
 * Return: False when it has to be tried again.
 */
static bool give_idle(struct gm_block *block)
{
	unsigned int i, nr = GM_BLOCK_MAX_PAGES;
	bool done = true;

	lockdep_assert_held(&block->lock);
	if (block->nr_out + bitmap_weight(block->gone, nr) == nr)
		return true;
	if (!can_cut(block))
		return false;
	for (i = 0; i < nr; i++) {
		if (!is_idle(block, i))
			continue;
		if (page_ref_freeze(block->first + i, 1)) {
			__set_bit(i, block->gone);
			give_page(block, i);
		} else {
			done = false;
		}
	}
	return done;
}

/*
 * All pages of the block are idle or gone, and some are gone.  The others leave
 * together: with the last of them the block's memory can be freed by another task.
 *
 * Return: False when it has to be tried again.
 */
static bool give_all(struct gm_block *block)
{
	unsigned int i, end, nr = GM_BLOCK_MAX_PAGES;
	struct page *first = block->first;

	if (bitmap_full(block->gone, nr)) {
		/* Another block may have the memory, and the place, already. */
		xa_cmpxchg(&blocks_by_pfn,
			   page_to_pfn(first) >> GM_BLOCK_MAX_ORDER, block, NULL,
			   GFP_KERNEL);
		return true;
	}
	if (!can_cut(block))
		return false;
	for (end = 0; end < nr; end++) {
		if (!test_bit(end, block->gone) &&
		    !page_ref_freeze(first + end, 1))
			break;
	}
	if (end < nr) {
		for_each_clear_bit(i, block->gone, end)
			page_ref_unfreeze(first + i, 1);
		return false;
	}
	xa_erase(&blocks_by_pfn,
		 page_to_pfn(first) >> GM_BLOCK_MAX_ORDER);
	for_each_clear_bit(i, block->gone, nr)
		give_page(block, i);
	return true;
}

/*
 * No page of the block is out: free its memory.
 *
 * Return: False when it has to be tried again.
 */
static bool release_memory(struct gm_block *block)
{
	unsigned int i, nr = GM_BLOCK_MAX_PAGES;
	struct page *first = block->first;

	lockdep_assert_held(&block->lock);
	for (i = 0; i < nr; i++) {
		if (PageHWPoison(first + i) && !test_and_set_bit(i, block->gone))
			gm_cut_lose(first + i);
	}

	if (bitmap_empty(block->gone, nr))
		release_whole(block);
	else if (!give_all(block))
		return false;
	block->first = NULL;
	block->poisoned = false;
	bitmap_zero(block->gone, nr);
	block_put(block);
	return true;
}

static void retry_later(struct gm_block *block)
{
	spin_lock(&retry_lock);
	if (list_empty(&block->retry_list)) {
		refcount_inc(&block->refs);
		list_add_tail(&block->retry_list, &retry_blocks);
	}
	spin_unlock(&retry_lock);
	queue_delayed_work(guest_memfd_wq, &retry_work, HZ / 10);
}

/*
 * Pages at KERNEL that had other references when they left the file.  One with
 * direct-map references beside the level's leaves block->left: the last put of
 * those sets its bit again.
 */
static void end_kernel(struct gm_block *block)
{
	unsigned int i, nr = GM_BLOCK_MAX_PAGES;

	for_each_set_bit(i, block->left, nr) {
		struct folio *folio = page_folio(block->first + i);

		if (!(gm_page_state(folio) & GUEST_MEMFD_PAGE_PINNABLE))
			continue;
		clear_bit(i, block->left);
		if (guest_memfd_access_end(folio))
			set_bit(i, block->left);
	}
}

/* Ending the level KERNEL takes folio locks, and may allocate. */
static bool left_at_kernel(struct gm_block *block)
{
	unsigned int i;

	for_each_set_bit(i, block->left, GM_BLOCK_MAX_PAGES) {
		if (gm_page_state(page_folio(block->first + i)) &
		    GUEST_MEMFD_PAGE_PINNABLE)
			return true;
	}
	return false;
}

/* Take back the pages that have left the file; the block is locked. */
static void reap_locked_block(struct gm_block *block)
{
	unsigned int i, nr = GM_BLOCK_MAX_PAGES;
	bool done = true;

	lockdep_assert_held(&block->lock);
	end_kernel(block);
	scrub_whole(block);
	for_each_set_bit(i, block->left, nr) {
		int ret = scrub(page_folio(block->first + i));

		if (ret < 0)
			keep_out(block, i);
		else if (ret)
			make_idle(block, i);
		else
			done = false;
		cond_resched();
	}
	if (block->first)
		done &= block->nr_out ? give_idle(block) : release_memory(block);
	update_idle(block);
	if (!done)
		retry_later(block);
}

/* The caller has a reference. */
static void reap_block(struct gm_block *block)
{
	mutex_lock(&block->lock);
	reap_locked_block(block);
	mutex_unlock(&block->lock);
}

/*
 * Return: False when the page has other references.  Those are short ones, or pins
 * of a page that was at KERNEL: a page with a direct-map reference is no orphan.
 */
static bool release_single(struct folio *folio)
{
	int ret;

	if (gm_page_state(folio) & GUEST_MEMFD_PAGE_PINNABLE &&
	    !guest_memfd_access_end(folio))
		return true;
	ret = scrub(folio);
	if (ret < 0)
		gm_cut_lose(&folio->page);
	else if (ret)
		free_single(&folio->page);
	return ret;
}

static void retry_single_later(struct folio *folio)
{
	spin_lock(&retry_lock);
	list_add_tail(&folio->lru, &retry_singles);
	spin_unlock(&retry_lock);
	queue_delayed_work(guest_memfd_wq, &retry_work, HZ / 10);
}

/*
 * Take back the pages of a list of the caller's own.
 *
 * Return: How many are of use to others now.
 */
static unsigned long reap_singles(struct list_head *singles)
{
	unsigned long nr = 0;
	struct folio *folio;

	while (!list_empty(singles)) {
		folio = list_first_entry(singles, struct folio, lru);
		/* Off the list first: it is another owner's field when freed. */
		list_del_init(&folio->lru);
		if (release_single(folio))
			nr++;
		else
			retry_single_later(folio);
		cond_resched();
	}
	return nr;
}

static void reap_orphans(struct guest_memfd *gm)
{
	LIST_HEAD(singles);

	spin_lock(&retry_lock);
	list_splice_init(&gm->orphans, &singles);
	spin_unlock(&retry_lock);
	reap_singles(&singles);
}

/**
 * guest_memfd_block_orphan - the page has left its file for good
 * @folio: A locked folio that is in no file any more, or just on its way out;
 *	it may have other references, those to the direct map among them.
 *
 * A later guest_memfd_block_reap() frees a hidden page, and one with the reference
 * of level KERNEL; guest_memfd_block_release() frees any other.
 *
 * Context: Any but interrupt.
 */
void guest_memfd_block_orphan(struct folio *folio)
{
	bool reap = gm_page_state(folio) & (GM_PAGE_HIDDEN |
					    GUEST_MEMFD_PAGE_PINNABLE);
	struct gm_block *block = folio_block(folio);
	struct guest_memfd *gm;

	VM_WARN_ON_ONCE_FOLIO(folio_test_lru(folio), folio);
	if (block) {
		atomic_dec(&block->nr_in_file);
		if (reap)
			set_bit(page_nr(block, folio), block->left);
	} else if (reap) {
		gm = single_file(folio);
		spin_lock(&retry_lock);
		list_add_tail(&folio->lru, &gm->orphans);
		spin_unlock(&retry_lock);
	}
}

/**
 * guest_memfd_block_release - free one page, now or by the retry worker
 * @folio: A hidden folio that is in no file and on no list, with no reference
 *	of the caller's.
 *
 * Context: May sleep.  Not with the folio lock held.
 */
void guest_memfd_block_release(struct folio *folio)
{
	struct gm_block *block = folio_block(folio);

	if (block) {
		/* With the bit set another task may free the page and its block. */
		refcount_inc(&block->refs);
		set_bit(page_nr(block, folio), block->left);
		reap_block(block);
		block_put(block);
	} else if (!release_single(folio)) {
		retry_single_later(folio);
	}
}

/**
 * guest_memfd_block_poisoned - keep guests from mapping a page with its block
 * @folio: A poisoned folio that the caller has a reference to.
 *
 * Context: Any.  An invalidation of the block's range must follow.
 */
void guest_memfd_block_poisoned(struct folio *folio)
{
	struct gm_block *block = folio_block(folio);

	if (block)
		WRITE_ONCE(block->poisoned, true);
}

static void retry(struct work_struct *work)
{
	struct gm_block *block;
	LIST_HEAD(singles);
	LIST_HEAD(batch);

	spin_lock(&retry_lock);
	list_splice_init(&retry_singles, &singles);
	spin_unlock(&retry_lock);
	reap_singles(&singles);

	spin_lock(&retry_lock);
	list_splice_init(&retry_blocks, &batch);
	while (!list_empty(&batch)) {
		block = list_first_entry(&batch, struct gm_block, retry_list);
		list_del_init(&block->retry_list);
		spin_unlock(&retry_lock);
		reap_block(block);
		block_put(block);
		cond_resched();
		spin_lock(&retry_lock);
	}
	spin_unlock(&retry_lock);
}

/**
 * guest_memfd_block_merge - have one entry in the direct map for 2 MiB again
 * @page: A page of these 2 MiB, which need not be the caller's.
 *
 * A page of a file that is visible at the moment must not need memory for a split when
 * its last direct-map reference is put: so nothing is merged while files have one there.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs if it merges.
 */
void guest_memfd_block_merge(struct page *page)
{
	unsigned long pfn = round_down(page_to_pfn(page), GM_BLOCK_MAX_PAGES);
	unsigned long lone = pfn;

	if (!xa_find(&lone_pages, &lone, pfn + GM_BLOCK_MAX_PAGES - 1, XA_PRESENT) &&
	    !xa_load(&blocks_by_pfn, pfn >> GM_BLOCK_MAX_ORDER) &&
	    !gm_cut_is_cut(pfn_to_page(pfn)))
		direct_map_merge(page);
}

/**
 * guest_memfd_owns_pfn - is this page the library's?
 * @pfn: Any page frame number.
 *
 * Finds the pages of NO_DIRECT_MAP files, pages that have left their file and
 * are not freed yet, the pages of the pool, and free single ones.
 *
 * Context: Any.  The answer can change unless the caller holds a reference to
 * the page.
 * Return: True for such a page.
 */
bool guest_memfd_owns_pfn(unsigned long pfn)
{
	bool owned = xa_load(&lone_pages, pfn) || gm_pool_owns_pfn(pfn) ||
		     gm_cut_owns_pfn(pfn);
	struct gm_block *block;

	if (owned)
		return true;
	/* A block leaves the array, under its lock, before it is freed. */
	xa_lock(&blocks_by_pfn);
	block = xa_load(&blocks_by_pfn, pfn >> GM_BLOCK_MAX_ORDER);
	owned = block && !test_bit(pfn % GM_BLOCK_MAX_PAGES, block->gone);
	xa_unlock(&blocks_by_pfn);
	return owned;
}

/**
 * guest_memfd_block_reap - give back what has left a file and is not held
 * @gm: The file's memory.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * A worker tries again what is held.
 *
 * Context: May sleep.  Not with a folio lock held.
 */
void guest_memfd_block_reap(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct gm_block *block;
	unsigned long key;

	reap_orphans(gm);
	if (end <= start)
		return;
	xa_for_each_range(&gm->blocks, key, block, start >> gm->block_order,
			  (end - 1) >> gm->block_order) {
		reap_block(block);
		cond_resched();
	}
}

/*
 * Clear and free a block of a teardown.
 *
 * @reclaim: The caller may hold any lock that is held while memory is allocated.
 *
 * Return: False when the worker has to do it.
 */
static bool scrub_block(struct gm_block *block, bool reclaim,
			unsigned long *nr_freed)
{
	if (!reclaim) {
		mutex_lock(&block->lock);
	} else if (!mutex_trylock(&block->lock)) {
		return false;
	} else if (left_at_kernel(block)) {
		mutex_unlock(&block->lock);
		return false;
	}
	reap_locked_block(block);
	/* What others refer to waits for the retry worker. */
	if (!block->first)
		*nr_freed += block->nr_unscrubbed;
	mutex_unlock(&block->lock);
	return true;
}

/* Return: True when the worker has to clear one of the pages. */
static bool need_worker(struct list_head *singles)
{
	struct folio *folio;

	list_for_each_entry(folio, singles, lru) {
		if (gm_page_state(folio) & GUEST_MEMFD_PAGE_PINNABLE)
			return true;
	}
	return false;
}

/*
 * A cgroup that was removed is not reclaimed any more, but its pages count in
 * those above it.
 *
 * Return: True when the file's pages count in @memcg, or when that is NULL.
 */
static bool counts_in(const struct gm_teardown *teardown,
		      struct mem_cgroup *memcg)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *above;

	if (!memcg)
		return true;
	for (above = teardown->memcg; above; above = parent_mem_cgroup(above)) {
		if (above == memcg)
			return true;
	}
	return false;
#else
	return true;
#endif
}

/* Have the reclaim of the cgroups, and the global one, find pages of the file. */
static void show_to_reclaim(struct gm_teardown *teardown)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg;
	int nid;

	lockdep_assert_held(&teardown_lock);
	for (memcg = teardown->memcg; memcg; memcg = parent_mem_cgroup(memcg)) {
		for_each_node_state(nid, N_MEMORY)
			set_shrinker_bit(memcg, nid, unscrubbed_shrinker->id);
	}
#endif
}

static struct gm_teardown *next_teardown(struct mem_cgroup *memcg)
{
	struct gm_teardown *teardown;

	list_for_each_entry(teardown, &teardowns, list) {
		if (teardown->nr_waiting && counts_in(teardown, memcg))
			return teardown;
	}
	return NULL;
}

static void free_teardown(struct gm_teardown *teardown)
{
	mem_cgroup_put(teardown->memcg);
	kfree(teardown);
}

/*
 * Clear and free a block, or some order-0 pages, of a closed file.
 *
 * @memcg: Only of files whose pages count in it, or NULL.
 * @reclaim: As for scrub_block().
 * @nr_freed: Where to add the number of pages that are of use to others now.
 *
 * Return: How many pages are done with; 0 when there is nothing to do.
 */
static unsigned long scrub_some(struct mem_cgroup *memcg, bool reclaim,
				unsigned long *nr_freed)
{
	struct gm_teardown *teardown;
	struct folio *folio, *next;
	bool over, again = false;
	struct gm_block *block;
	unsigned long nr = 0;
	LIST_HEAD(singles);

	spin_lock(&teardown_lock);
	teardown = next_teardown(memcg);
	if (!teardown) {
		spin_unlock(&teardown_lock);
		return 0;
	}
	block = list_first_entry_or_null(&teardown->blocks, struct gm_block,
					 teardown_list);
	if (block) {
		list_del_init(&block->teardown_list);
		nr = block->nr_unscrubbed;
	} else {
		list_for_each_entry_safe(folio, next, &teardown->singles, lru) {
			list_move_tail(&folio->lru, &singles);
			if (++nr == SINGLES_PER_TURN)
				break;
		}
	}
	teardown->nr_waiting -= nr;
	teardown->nr_in_work += nr;
	/* In turn, so that a small file does not wait for a large one. */
	list_move_tail(&teardown->list, &teardowns);
	spin_unlock(&teardown_lock);

	if (block)
		again = !scrub_block(block, reclaim, nr_freed);
	else if (reclaim && need_worker(&singles))
		again = true;
	else
		*nr_freed += reap_singles(&singles);
	if (block && !again)
		block_put(block);

	spin_lock(&teardown_lock);
	teardown->nr_in_work -= nr;
	if (again) {
		if (block)
			list_add_tail(&block->teardown_list, &teardown->blocks);
		list_splice_tail(&singles, &teardown->singles);
		teardown->nr_waiting += nr;
		/* Reclaim may have counted no pages meanwhile. */
		show_to_reclaim(teardown);
	}
	over = !teardown->nr_in_work && !teardown->nr_waiting;
	if (over)
		list_del(&teardown->list);
	spin_unlock(&teardown_lock);

	if (again) {
		/* The worker may have seen an empty list meanwhile. */
		queue_work(guest_memfd_wq, &scrub_works[0]);
		return 0;
	}
	atomic_long_sub(nr, &nr_unscrubbed);
	if (wq_has_sleeper(&scrub_wait))
		wake_up_all(&scrub_wait);
	if (over)
		free_teardown(teardown);
	return nr;
}

static void scrub_teardowns(struct work_struct *work)
{
	unsigned long ignored;

	while (scrub_some(NULL, false, &ignored))
		cond_resched();
}

/* Workers for so many pages of closed files; two can be at work with 2 CPUs. */
static void start_scrubbers(unsigned long nr)
{
	unsigned long i, want = DIV_ROUND_UP(nr, 64UL << GM_BLOCK_MAX_ORDER);

	want = min3(want, (unsigned long)MAX_SCRUBBERS,
		    DIV_ROUND_UP((unsigned long)num_online_cpus(), 2));
	for (i = 0; i < want; i++)
		queue_work(guest_memfd_wq, &scrub_works[i]);
}

/* A page that has memory of the block, or NULL. */
static struct page *some_page(struct gm_block *block)
{
	unsigned int i, nr = GM_BLOCK_MAX_PAGES;

	lockdep_assert_held(&block->lock);
	i = find_first_zero_bit(block->gone, nr);
	return block->first && i < nr ? block->first + i : NULL;
}

static void add_to_teardown(struct gm_teardown *teardown, struct gm_block *block)
{
	struct page *page;

	mutex_lock(&block->lock);
	page = some_page(block);
	block->nr_unscrubbed = GM_BLOCK_MAX_PAGES -
			       bitmap_weight(block->gone, GM_BLOCK_MAX_PAGES);
	if (page && !teardown->memcg)
		teardown->memcg = get_mem_cgroup_from_folio(page_folio(page));
	mutex_unlock(&block->lock);
	if (!page) {
		block_put(block);
		return;
	}
	teardown->nr_waiting += block->nr_unscrubbed;
	list_add_tail(&block->teardown_list, &teardown->blocks);
}

/**
 * guest_memfd_block_destroy - have the memory of a file cleared and freed
 * @gm: The file's memory; all pages have left the file.
 *
 * A worker does it, so that closing a file does not take as long as clearing it.
 * Until then the pages stay hidden and charged.  Reclaim helps the worker.
 *
 * Context: May sleep.
 */
void guest_memfd_block_destroy(struct guest_memfd *gm)
{
	struct gm_teardown *teardown;
	struct gm_block *block;
	struct folio *folio;
	unsigned long key, nr;

	teardown = kzalloc_obj(*teardown, GFP_KERNEL);
	if (!teardown) {
		guest_memfd_block_reap(gm, 0, ULONG_MAX);
		xa_for_each(&gm->blocks, key, block)
			block_put(block);
		xa_destroy(&gm->blocks);
		return;
	}
	INIT_LIST_HEAD(&teardown->blocks);
	INIT_LIST_HEAD(&teardown->singles);
	spin_lock(&retry_lock);
	list_splice_init(&gm->orphans, &teardown->singles);
	spin_unlock(&retry_lock);
	list_for_each_entry(folio, &teardown->singles, lru) {
		if (!teardown->nr_waiting++)
			teardown->memcg = get_mem_cgroup_from_folio(folio);
		cond_resched();
	}
	xa_for_each(&gm->blocks, key, block) {
		add_to_teardown(teardown, block);
		cond_resched();
	}
	xa_destroy(&gm->blocks);
	nr = teardown->nr_waiting;
	if (!nr) {
		free_teardown(teardown);
		return;
	}

	atomic_long_add(nr, &nr_unscrubbed);
	spin_lock(&teardown_lock);
	list_add_tail(&teardown->list, &teardowns);
	show_to_reclaim(teardown);
	spin_unlock(&teardown_lock);
	start_scrubbers(nr);
}

/**
 * guest_memfd_block_wait - wait until the memory of closed files is freed
 *
 * Only what is held remains after it.
 *
 * Context: May sleep.  For tests.
 */
void guest_memfd_block_wait(void)
{
	unsigned int i;

	scrub_teardowns(NULL);
	for (i = 0; i < MAX_SCRUBBERS; i++)
		flush_work(&scrub_works[i]);
	flush_delayed_work(&retry_work);
	gm_cut_flush();
}

/* So long direct reclaim waits for pages that others are clearing. */
#define SCRUB_WAIT	(HZ / 10)

/*
 * All that is left of the closed files is in the hands of others, who will have freed it
 * in an instant: no process must be killed for lack of memory meanwhile.
 *
 * Return: How many pages are done with.
 */
static unsigned long wait_for_scrubbers(void)
{
	long now, before = atomic_long_read(&nr_unscrubbed);

	/* A worker may be the one that is waited for. */
	if (!before || current->flags & (PF_KSWAPD | PF_WQ_WORKER))
		return 0;
	wait_event_timeout(scrub_wait, atomic_long_read(&nr_unscrubbed) < before,
			   SCRUB_WAIT);
	now = atomic_long_read(&nr_unscrubbed);
	return now < before ? before - now : 0;
}

static unsigned long scrub_for_reclaim(struct mem_cgroup *memcg, unsigned long nr)
{
	unsigned long freed = 0;

	while (freed < nr && scrub_some(memcg, true, &freed))
		;
	if (!freed)
		freed = wait_for_scrubbers();
	/* They are no slab pages: reclaim has to be told of its progress. */
	mm_account_reclaimed_pages(freed);
	return freed;
}

/* NULL for the global reclaim, which takes everything. */
static struct mem_cgroup *reclaiming_memcg(struct shrink_control *sc)
{
	return sc->memcg && !mem_cgroup_is_root(sc->memcg) ? sc->memcg : NULL;
}

/* So many pages of closed files are cleared before a process would be killed. */
#define OOM_PAGES (8UL << GM_BLOCK_MAX_ORDER)

/*
 * The kernel gives up on reclaim by the number of free pages and of those on LRU lists, even
 * when shrinkers free many, and kills a process.  What no process uses is freed before.
 */
static int free_before_oom(struct notifier_block *nb, unsigned long unused,
			   void *data)
{
	unsigned long *nr_freed = data;
	/* The caller may hold any lock that is held while memory is allocated. */
	unsigned int flags = memalloc_noreclaim_save();

	*nr_freed += gm_pool_relieve();
	/* The next attempt frees more: no process is killed while anything is left. */
	if (!*nr_freed)
		*nr_freed += scrub_for_reclaim(NULL, OOM_PAGES);
	memalloc_noreclaim_restore(flags);
	return NOTIFY_OK;
}

static struct notifier_block oom_notifier = {
	.notifier_call = free_before_oom,
};

static unsigned long count_unscrubbed(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	struct mem_cgroup *memcg = reclaiming_memcg(sc);
	struct gm_teardown *teardown;
	unsigned long nr = 0;

	spin_lock(&teardown_lock);
	list_for_each_entry(teardown, &teardowns, list) {
		if (counts_in(teardown, memcg))
			nr += teardown->nr_waiting + teardown->nr_in_work;
	}
	spin_unlock(&teardown_lock);
	return nr ?: SHRINK_EMPTY;
}

static unsigned long scan_unscrubbed(struct shrinker *shrinker,
				     struct shrink_control *sc)
{
	return scrub_for_reclaim(reclaiming_memcg(sc), sc->nr_to_scan) ?:
	       SHRINK_STOP;
}

/**
 * guest_memfd_block_count - count the blocks of a file
 * @gm: The file's memory.
 * @counts: Where to put the numbers.
 *
 * Context: May sleep; the numbers may change while they are read.
 */
void guest_memfd_block_count(struct guest_memfd *gm,
			     struct gm_block_counts *counts)
{
	struct gm_block *block;
	unsigned long key;

	memset(counts, 0, sizeof(*counts));
	xa_for_each(&gm->blocks, key, block) {
		counts->blocks += !!READ_ONCE(block->first);
		counts->in_file += atomic_read(&block->nr_in_file);
		counts->idle += READ_ONCE(block->nr_idle);
		cond_resched();
	}
}

static bool ready __ro_after_init;

/**
 * guest_memfd_block_ready - could what blocks need be allocated at boot?
 *
 * Context: Any.
 * Return: False before the initcall, and where it found no memory.
 */
bool guest_memfd_block_ready(void)
{
	return ready;
}

static int __init block_init(void)
{
	unsigned int i;

	unscrubbed_shrinker = shrinker_alloc(SHRINKER_MEMCG_AWARE | SHRINKER_NONSLAB,
					     "guest_memfd-unscrubbed");
	guest_memfd_wq = alloc_workqueue("guest_memfd", WQ_UNBOUND |
					 WQ_MEM_RECLAIM | WQ_FREEZABLE,
					 MAX_SCRUBBERS + 3);
	for (i = 0; i < MAX_SCRUBBERS; i++)
		INIT_WORK(&scrub_works[i], scrub_teardowns);

	/* Without them no file is hidden: see guest_memfd_block_ready(). */
	if (!unscrubbed_shrinker || !guest_memfd_wq)
		return -ENOMEM;
	unscrubbed_shrinker->count_objects = count_unscrubbed;
	unscrubbed_shrinker->scan_objects = scan_unscrubbed;
	shrinker_register(unscrubbed_shrinker);
	ready = true;
	return register_oom_notifier(&oom_notifier);
}
core_initcall(block_init);

static int set_block_order(const char *val, const struct kernel_param *kp)
{
	unsigned int order;
	int err = kstrtouint(val, 0, &order);

	if (err)
		return err;
	if (order && order != GM_BLOCK_MAX_ORDER)
		return -EINVAL;
	return param_set_uint(val, kp);
}

static const struct kernel_param_ops block_order_ops = {
	.set	= set_block_order,
	.get	= param_get_uint,
};

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "guest_memfd."
module_param_cb(block_order, &block_order_ops, &block_order, 0644);
MODULE_PARM_DESC(block_order,
		 "Order of the blocks that hidden memory is allocated in (9, or 0: page by page)");
