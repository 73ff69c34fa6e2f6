// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the hidden memory of a file is allocated, and how it is freed.
 *
 * A block is 2 MiB of memory, naturally aligned in the file and in physical memory,
 * and one large folio: one entry of the page cache, one charge, one entry in
 * each page table.  It comes from the pool (pool.c), or is allocated, cleared and hidden.
 * Where there is no such memory, or where a file cannot have a block (its tail, a part
 * that has pages already, or more than one access level), it gets single pages (cut.c).
 *
 * What concerns a part of a block for good, a hole or another level, splits the block into
 * single pages.  A direct-map reference to a page does not.
 *
 * The library has a reference to each folio: no put of another holder frees it.  A folio
 * that has left its file waits, hidden, until that reference is the only one.  Then it
 * is cleared through the temporary mapping, and is charged no more.  A block goes to
 * the pool, hidden, or is restored and freed; a page goes to the block that it was cut from.
 * Pages are cleared before they are restored: former guest memory is never readable
 * through the direct map.
 */

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bitmap.h>
#include <linux/cpuset.h>
#include <linux/gfp.h>
#include <linux/hash.h>
#include <linux/huge_mm.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/pagemap.h>
#include <linux/page_owner.h>
#include <linux/page_ref.h>
#include <linux/pgalloc_tag.h>
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
#include "merge.h"
#include "page_state.h"
#include "pool.h"
#include "reference.h"

/*
 * Order of the blocks of files that are created from now on: GM_BLOCK_MAX_ORDER, or 0.  Without
 * huge pages the kernel neither splits a large folio nor maps one as a whole.
 */
static unsigned int block_order = gm_can_have_blocks() ? GM_BLOCK_MAX_ORDER : 0;

/* Blocks in files, and such as have left theirs, by pfn >> GM_BLOCK_MAX_ORDER. */
static DEFINE_XARRAY(blocks_by_pfn);

/* A value for each page that is hidden by itself, by pfn. */
static DEFINE_XARRAY(lone_pages);

/*
 * Folios that have left their file while something held a reference, by folio->lru.
 * Only a worker looks at them, so that they cost no other file anything.
 */
static LIST_HEAD(retry_folios);
/* Of the list, and of the orphans of all files. */
static DEFINE_SPINLOCK(retry_lock);

static void retry(struct work_struct *work);
static DECLARE_DELAYED_WORK(retry_work, retry);

/**
 * struct gm_teardown - the memory of a closed file that is not cleared yet
 * @list: In teardowns.
 * @folios: By folio->lru.
 * @memcg: The cgroup that the first of them is charged to, with a reference, or
 *	NULL.  As a rule all pages of a file are charged to one.
 * @nr_waiting: Pages of @folios.
 * @nr_in_work: Pages that tasks have taken from it, to clear and free them.
 */
struct gm_teardown {
	struct list_head list;
	struct list_head folios;
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

/* Single pages of a teardown that are taken at once. */
#define SINGLES_PER_TURN 64

/*
 * Truncation clears folio->mapping before the file is told.  While a folio is on no list
 * its lru field points to the file, which is valid until the folio leaves it.
 */
static void set_file(struct folio *folio, struct guest_memfd *gm)
{
	folio->lru.next = (struct list_head *)gm;
}

static struct guest_memfd *folio_file(struct folio *folio)
{
	return (struct guest_memfd *)folio->lru.next;
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

/* So many blocks are hidden with one flush. */
#define BLOCKS_PER_FLUSH 8

/* So many pages are freed as one piece. */
#define FREE_PAGES 64U

/*
 * Free a block whose pages' reference counts are frozen.  In large pieces: page by page
 * the allocator would queue and merge each of them.  Not in one, as it looks for poison in
 * all pages of a piece before it frees the first.
 */
static void free_pages_of_block(struct page *first)
{
	unsigned int i;

	for (i = 0; i < GM_BLOCK_PAGES; i++)
		page_ref_unfreeze(first + i, 1);
	for (i = 0; i < GM_BLOCK_PAGES; i += FREE_PAGES)
		__free_contig_range(page_to_pfn(first + i), FREE_PAGES);
}

/*
 * Give a block away that is hidden, clean, and charged to no cgroup; its pages are single
 * ones, and their reference counts frozen.
 */
static void give_block(struct page *first)
{
	/* Reclaim has more use for the memory, and may run under locks that merging takes. */
	const bool reclaim = current->flags & PF_MEMALLOC;

	if (!reclaim && gm_pool_give(first))
		return;
	/* A block that cannot be restored must not reach the allocator. */
	if (WARN_ON_ONCE(direct_map_restore(first, GM_BLOCK_PAGES)))
		return;
	if (!reclaim)
		direct_map_merge(first);
	gm_merge_later(first);
	free_pages_of_block(first);
}

/* Make one folio of the pages of a block, whose reference counts are frozen. */
static struct folio *make_folio(struct page *first)
{
	struct folio *folio = (struct folio *)first;

	prep_compound_page(first, GM_BLOCK_MAX_ORDER);
	folio_set_large_rmappable(folio);
	page_ref_unfreeze(first, 1);
	return folio;
}

/* Undo make_folio(); the folio is charged to no cgroup, and its reference count frozen. */
static void dissolve_folio(struct folio *folio)
{
	struct page *first = &folio->page;
	unsigned int i;

	split_page_owner(first, GM_BLOCK_MAX_ORDER, 0);
	pgalloc_tag_split(folio, GM_BLOCK_MAX_ORDER, 0);
	folio_reset_order(folio);
	set_mask_bits(&first[1].flags.f, PAGE_FLAGS_SECOND, 0);
	for (i = 1; i < GM_BLOCK_PAGES; i++) {
		clear_compound_head(first + i);
		first[i].mapping = NULL;
		set_page_private(first + i, 0);
	}
	ClearPageHead(first);
}

/*
 * Free a hidden block that was in no file, and so is still clean.
 *
 * Another task may have a reference for an instant.  Its put frees the folio then.
 */
static void free_fresh(struct folio *folio)
{
	gm_folio_clear_state(folio);
	if (folio_ref_freeze(folio, 1)) {
		mem_cgroup_uncharge(folio);
		dissolve_folio(folio);
		give_block(&folio->page);
	} else if (!WARN_ON_ONCE(direct_map_restore(&folio->page, GM_BLOCK_PAGES))) {
		folio_put(folio);
	}
}

static void set_fresh(struct folio *folio)
{
	/* memory_failure() can mark a page of the pool at the same time. */
	folio_mark_uptodate(folio);
	gm_folio_set_state(folio, GM_PAGE_HIDDEN);
}

/*
 * Return: How many blocks of the pool are in @folios, charged, from @index on; -ENOMEM when
 * the first cannot be charged.
 */
static int take_from_pool(struct guest_memfd *gm, pgoff_t index, gfp_t gfp,
			  struct folio **folios, unsigned int nr_blocks)
{
	struct page *first;
	unsigned int n;

	for (n = 0; n < nr_blocks; n++, index += GM_BLOCK_PAGES) {
		first = take_by_policy(gm, index, gfp, true, gm_pool_take);
		if (!first)
			break;
		folios[n] = make_folio(first);
		set_fresh(folios[n]);
		if (mem_cgroup_charge(folios[n], NULL, gfp)) {
			free_fresh(folios[n]);
			folios[n] = NULL;
			return n ?: -ENOMEM;
		}
	}
	return n;
}

/* As take_from_pool(), of blocks from the allocator: cleared, and not hidden yet. */
static int alloc_blocks(struct guest_memfd *gm, pgoff_t index, gfp_t gfp,
			struct folio **folios, unsigned int nr_blocks)
{
	struct folio *folio;
	struct page *page;
	unsigned int n;

	for (n = 0; n < nr_blocks; n++, index += GM_BLOCK_PAGES) {
		page = alloc_pages_by_policy(gm, index, gfp | __GFP_COMP | __GFP_ZERO,
					     GM_BLOCK_MAX_ORDER);
		if (!page)
			break;
		folio = page_rmappable_folio(page);
		if (mem_cgroup_charge(folio, NULL, gfp)) {
			folio_put(folio);
			return n ?: -ENOMEM;
		}
		folios[n] = folio;
	}
	return n;
}

/*
 * Hide what alloc_blocks() gave, with one flush for all of it.  What cannot be
 * hidden is freed, and its place in @folios set to NULL.
 *
 * Return: How many are hidden and up to date, from the first on.
 */
static unsigned int hide_blocks(struct folio **folios, unsigned int nr_blocks)
{
	struct gm_range ranges[BLOCKS_PER_FLUSH];
	unsigned int n, done;

	for (n = 0; n < nr_blocks; n++)
		ranges[n] = (struct gm_range){ &folios[n]->page, GM_BLOCK_PAGES };
	done = direct_map_hide_ranges(ranges, nr_blocks);
	for (n = 0; n < nr_blocks; n++) {
		if (n < done) {
			set_fresh(folios[n]);
		} else {
			folio_put(folios[n]);
			folios[n] = NULL;
		}
	}
	return done;
}

static int add_to_file(struct guest_memfd *gm, struct folio *folio,
		       pgoff_t index)
{
	struct address_space *mapping = gm->inode->i_mapping;
	int err;

	set_file(folio, gm);
	folio_lock(folio);
	err = __filemap_add_folio(mapping, folio, index,
				  mapping_gfp_mask(mapping), NULL);
	if (!err)
		gm_tag_referenced(folio, gm_folio_nr_referenced(folio));
	folio_unlock(folio);
	return err;
}

/*
 * The bits that a folio populated at @index has: those of level KERNEL, or only
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
 * yet, and set @bits.
 */
static int begin_kernel(struct folio *folio, unsigned long bits)
{
	int err;

	folio_lock(folio);
	err = direct_map_restore(&folio->page, folio_nr_pages(folio));
	if (!err) {
		gm_raise_folio(folio);
		gm_folio_change_bits(folio, bits, 0);
	}
	folio_unlock(folio);
	return err;
}

/*
 * After begin_kernel(), of a folio that does not enter the file.  The direct map
 * keeps it: to hide it again may fail, and it is clean.
 */
static void undo_kernel(struct folio *folio)
{
	trace_guest_memfd_put(folio_pfn(folio), folio_nr_pages(folio), 0);
	gm_folio_clear_state(folio);
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
 * Free a single page: it is hidden, clean, and has one reference and perhaps others that end
 * in an instant.
 */
static void free_single(struct page *page)
{
	gm_folio_clear_state(page_folio(page));
	if (page_ref_freeze(page, 1)) {
		mem_cgroup_uncharge(page_folio(page));
		if (gm_cut_give(page))
			return;
		page_ref_unfreeze(page, 1);
	}
	free_to_allocator(page);
}

/*
 * Return: A hidden block that no task is charged for, without reclaim, or NULL.  Its pages
 * are single ones, and their reference counts frozen.
 */
static struct page *new_block_of_node(int nid)
{
	gfp_t gfp = (GFP_HIGHUSER & ~__GFP_DIRECT_RECLAIM) | __GFP_THISNODE |
		    __GFP_NOWARN | __GFP_ZERO;
	struct page *first = alloc_pages_node(nid, gfp, GM_BLOCK_MAX_ORDER);

	if (!first)
		return NULL;
	split_page(first, GM_BLOCK_MAX_ORDER);
	if (!gm_pool_freeze(first)) {
		__free_contig_range(page_to_pfn(first), GM_BLOCK_PAGES);
		return NULL;
	}
	if (!direct_map_hide(first, GM_BLOCK_PAGES))
		return first;
	free_pages_of_block(first);
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
	give_block(page);
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
	set_fresh(page_folio(page));
	if (!mem_cgroup_charge(page_folio(page), NULL, gfp))
		return page;
	free_single(page);
	return ERR_PTR(-ENOMEM);
}

/* Hide a cleared page by itself, and charge it.  Return: As gm_take_single(). */
static struct page *make_lone(struct guest_memfd *gm, struct page *page)
{
	if (mem_cgroup_charge(page_folio(page), NULL,
			      mapping_gfp_mask(gm->inode->i_mapping))) {
		put_page(page);
		return ERR_PTR(-ENOMEM);
	}
	if (direct_map_hide(page, 1)) {
		put_page(page);
		return NULL;
	}
	set_fresh(page_folio(page));
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

/* A single page: for files without blocks, and where no block fits. */
static int populate_single(struct guest_memfd *gm, pgoff_t index)
{
	unsigned long bits = level_bits(gm, index);
	struct folio *folio;
	struct page *page;
	int err;

	/* Hide a page at KERNEL too, so that hiding it later cannot fail. */
	page = get_single(gm, index);
	if (IS_ERR(page))
		return PTR_ERR(page);
	folio = page_folio(page);

	err = bits ? begin_kernel(folio, bits) : 0;
	if (err) {
		free_single(page);
		return err;
	}
	err = add_to_file(gm, folio, index);
	if (!err)
		return 0;
	if (bits) {
		bool lone = forget_lone(page);

		gm_cut_lose(page);
		undo_kernel(folio);
		put_page(page);
		if (lone)
			guest_memfd_block_merge(page);
	} else {
		free_single(page);
	}
	return err == -EEXIST ? 0 : err;
}

/* Can a block enter the file at @start?  It has one level, and nothing is there yet. */
static bool block_fits(struct guest_memfd *gm, pgoff_t start)
{
	pgoff_t first, last, index = start, end = start + GM_BLOCK_PAGES;
	bool ignored;

	if (end > i_size_read(gm->inode) >> PAGE_SHIFT ||
	    xa_find(&gm->inode->i_mapping->i_pages, &index, end - 1, XA_PRESENT))
		return false;
	guest_memfd_access_carries(gm, start, &first, &last, &ignored);
	return last >= end - 1;
}

static unsigned long scrub_some(struct mem_cgroup *memcg, bool reclaim,
				unsigned long *nr_freed);

/*
 * Blocks for a range, as far as it needs any and there are some.
 *
 * Return: For how many blocks, from @start on, @folios is set.
 */
static unsigned int get_blocks(struct guest_memfd *gm, pgoff_t start,
			       struct folio **folios, unsigned int nr_blocks)
{
	/* A block is worth a try, but a page alone will do as well. */
	gfp_t gfp = mapping_gfp_mask(gm->inode->i_mapping) | __GFP_NORETRY |
		    __GFP_NOWARN;
	unsigned long ignored;
	int n;

	if (!nr_blocks)
		return 0;
	do {
		n = take_from_pool(gm, start, gfp, folios, nr_blocks);
		if (n > 0)
			return n;
		if (!n)
			n = alloc_blocks(gm, start, gfp, folios, nr_blocks);
		/* Reclaim does not try hard for a block: clear what waits for it. */
	} while (!n && scrub_some(NULL, true, &ignored));
	return n > 0 ? hide_blocks(folios, n) : 0;
}

/*
 * Put a block into the file; it is the file's then.
 *
 * Return: 0, or an error when it is still the caller's; -EALREADY when it was freed.
 */
static int add_block(struct guest_memfd *gm, pgoff_t start, struct folio *folio)
{
	unsigned long key = folio_pfn(folio) >> GM_BLOCK_MAX_ORDER;
	unsigned long bits = level_bits(gm, start);
	int err;

	err = xa_err(xa_store(&blocks_by_pfn, key, xa_mk_value(0), GFP_KERNEL));
	if (err)
		return err;
	err = bits ? begin_kernel(folio, bits) : 0;
	if (!err) {
		atomic_long_inc(&gm->nr_blocks);
		err = add_to_file(gm, folio, start);
		if (!err)
			return 0;
		atomic_long_dec(&gm->nr_blocks);
	} else {
		bits = 0;
	}
	xa_erase(&blocks_by_pfn, key);
	if (!bits)
		return err;
	undo_kernel(folio);
	folio_put(folio);
	return -EALREADY;
}

static struct mutex *populate_lock(struct guest_memfd *gm, pgoff_t start)
{
	return gm->populate_locks + hash_long(start >> GM_BLOCK_MAX_ORDER,
					      ilog2(GM_POPULATE_LOCKS));
}

/*
 * Populate the block of @index, or only the page.  *@folio is a hidden block for it, or NULL;
 * with @alloc one is allocated then.  The file takes it, or it stays in *@folio.
 */
static int populate_block(struct guest_memfd *gm, pgoff_t index,
			  struct folio **folio, bool alloc)
{
	pgoff_t start = round_down(index, GM_BLOCK_PAGES);
	struct mutex *lock = populate_lock(gm, start);
	int err = 0;

	mutex_lock(lock);
	if (xa_load(&gm->inode->i_mapping->i_pages, index))
		goto out;
	if (block_fits(gm, start) &&
	    (*folio || (alloc && get_blocks(gm, start, folio, 1)))) {
		err = add_block(gm, start, *folio);
		if (!err || err == -EALREADY)
			*folio = NULL;
		if (!err)
			goto out;
	}
	err = populate_single(gm, index);
out:
	mutex_unlock(lock);
	return err;
}

/**
 * guest_memfd_block_init - choose the order of a new file's blocks
 * @gm: The memory of a file whose pages are hidden.
 */
void guest_memfd_block_init(struct guest_memfd *gm)
{
	unsigned int i;

	gm->block_order = READ_ONCE(block_order);
	for (i = 0; i < GM_POPULATE_LOCKS; i++)
		mutex_init(&gm->populate_locks[i]);
}

/**
 * guest_memfd_block_populate - put a hidden page into a file
 * @gm: The file's memory; the invalidate_lock is held.
 * @index: Where in the file, in pages, below its size.
 *
 * Where the file can have a block, the whole block enters it.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs when memory is allocated.
 * Return: 0 when there is, or just was, a page at the index; or -ENOMEM.
 */
int guest_memfd_block_populate(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio = NULL;
	int err;

	if (xa_load(&gm->inode->i_mapping->i_pages, index))
		return 0;
	if (!gm->block_order)
		return populate_single(gm, index);
	err = populate_block(gm, index, &folio, true);
	if (folio)
		free_fresh(folio);
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
	pgoff_t next, start = round_down(index, GM_BLOCK_PAGES);
	struct folio *folios[BLOCKS_PER_FLUSH] = {};
	unsigned int n, nr_blocks = 0;
	int err, ret = 0;

	if (gm->block_order) {
		/* Asked again under the lock of the block. */
		filemap_invalidate_lock_shared(mapping);
		for (next = start; nr_blocks < BLOCKS_PER_FLUSH && next < end &&
		     block_fits(gm, next); next += GM_BLOCK_PAGES)
			nr_blocks++;
		filemap_invalidate_unlock_shared(mapping);
		nr_blocks = get_blocks(gm, start, folios, nr_blocks);
	}
	for (n = 0; n < max(nr_blocks, 1U); n++) {
		filemap_invalidate_lock_shared(mapping);
		if (xa_load(&mapping->i_pages, index))
			err = 0;
		else if (gm->block_order)
			err = populate_block(gm, index, &folios[n], false);
		else
			err = populate_single(gm, index);
		filemap_invalidate_unlock_shared(mapping);
		if (err) {
			/* A later block is tried again when it is the first. */
			ret = n ? 0 : err;
			break;
		}
		index = round_down(index, GM_BLOCK_PAGES) + GM_BLOCK_PAGES;
	}
	for (n = 0; n < BLOCKS_PER_FLUSH; n++) {
		if (folios[n])
			free_fresh(folios[n]);
	}
	return ret;
}

/* So often a split looks whether others have references to the block. */
#define SPLIT_TRIES 64

/*
 * The folio is locked, a block, and unmapped from user space.  Guests can keep their mapping.
 *
 * Return: 0, each page is a locked folio then; -ENOMEM or -EAGAIN, nothing changed.
 */
static int split_locked(struct guest_memfd *gm, struct folio *folio)
{
	DECLARE_BITMAP(none, GM_BLOCK_PAGES) = {};
	DECLARE_BITMAP(bad, GM_BLOCK_PAGES) = {};
	struct address_space *mapping = folio->mapping;
	struct page *first = &folio->page;
	unsigned long common = gm_folio_state(folio);
	unsigned int i, nr_held, tries = SPLIT_TRIES;
	int err;

	if (!gm_can_have_blocks())
		return -EINVAL;
	nr_held = gm_folio_references(folio) + gm_folio_poisoned(folio, bad);
	while (folio_ref_count(folio) != GM_BLOCK_PAGES + 1 + nr_held) {
		if (!--tries)
			return -EAGAIN;
		cpu_relax();
	}
	err = gm_cut_prepare(first, none);
	if (err)
		return err;
	err = folio_split_hidden(folio, nr_held);
	if (err) {
		gm_cut_forget(first);
		return err;
	}
	gm_folio_distribute_words(first, common);
	xa_lock_irq(&mapping->i_pages);
	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		set_file(page_folio(first + i), gm);
		if (!gm_page_count(gm_folio_state(page_folio(first + i))))
			__xa_clear_mark(&mapping->i_pages, first[i].__folio_index,
					GM_TAG_REFERENCED);
		if (test_bit(i, bad))
			page_ref_inc(first + i);
	}
	xa_unlock_irq(&mapping->i_pages);
	atomic_long_dec(&gm->nr_blocks);
	xa_erase(&blocks_by_pfn, page_to_pfn(first) >> GM_BLOCK_MAX_ORDER);
	return 0;
}

/**
 * guest_memfd_block_split - make sure that no block has pages on both sides of an index
 * @gm: The memory of a NO_DIRECT_MAP file, whose pages cannot leave it meanwhile.
 * @index: Index in the file, in pages.
 *
 * guest_memfd_access_split() keeps user faults from adding references meanwhile.
 *
 * Context: May sleep and allocate; takes the folio lock.
 * Return: 0; -ENOMEM; or -EAGAIN if there are other references to the block.
 */
int guest_memfd_block_split(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio;
	struct page *first;
	unsigned int i;
	int err = 0;

	if (IS_ALIGNED(index, GM_BLOCK_PAGES))
		return 0;
	folio = filemap_lock_folio(gm->inode->i_mapping, index);
	if (IS_ERR(folio))
		return 0;
	/* The page cache has one, and the lock keeps it there. */
	folio_put(folio);
	if (!folio_test_large(folio)) {
		folio_unlock(folio);
		return 0;
	}
	if (folio_mapped(folio))
		unmap_mapping_folio(folio);
	first = &folio->page;
	err = split_locked(gm, folio);
	for (i = 0; i < (err ? 1 : GM_BLOCK_PAGES); i++)
		folio_unlock(page_folio(first + i));
	return err;
}

/*
 * A folio that left its file cannot be found any more, so it is free to be
 * cleared once only the library's own reference is left.
 *
 * Return: 1 when it is frozen and cleared, 0 when it has other references, -EHWPOISON.
 */
static int scrub_single(struct folio *folio)
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
	direct_map_zero_hidden(&folio->page);
	folio_ref_unfreeze(folio, 1);
	return 1;
}

static bool release_single(struct folio *folio)
{
	int ret = scrub_single(folio);

	if (ret < 0)
		gm_cut_lose(&folio->page);
	else if (ret)
		free_single(&folio->page);
	return ret;
}

/*
 * A block with poisoned pages: the others become single ones.  The references of
 * the library and of memory_failure() to a poisoned page stay for ever; the second one
 * also keeps debugfs from freeing the page, which is hidden, when it unpoisons it.
 */
static bool release_poisoned(struct folio *folio, unsigned int nr_bad)
{
	DECLARE_BITMAP(which, GM_BLOCK_PAGES) = {};
	struct page *first = &folio->page;
	unsigned int i;

	for (i = 0; i < GM_BLOCK_PAGES; i++)
		__assign_bit(i, which, PageHWPoison(first + i));
	/* To cut a block takes memory, which reclaim cannot wait for. */
	if (current->flags & PF_MEMALLOC || gm_cut_prepare(first, which)) {
		folio_ref_unfreeze(folio, 1 + nr_bad);
		return false;
	}
	bitmap_complement(which, which, GM_BLOCK_PAGES);
	direct_map_zero_hidden_large(first, which);
	mem_cgroup_uncharge(folio);
	gm_folio_clear_state(folio);
	xa_erase(&blocks_by_pfn, folio_pfn(folio) >> GM_BLOCK_MAX_ORDER);
	dissolve_folio(folio);
	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		if (test_bit(i, which) && gm_cut_give(first + i))
			continue;
		page_ref_unfreeze(first + i, test_bit(i, which) ? 1 : 2);
		if (test_bit(i, which))
			gm_cut_free(first + i);
		else
			gm_folio_set_state(page_folio(first + i), GM_PAGE_HIDDEN);
	}
	return true;
}

static bool release_block(struct folio *folio)
{
	DECLARE_BITMAP(all, GM_BLOCK_PAGES);
	struct page *first = &folio->page;
	unsigned int i, nr_bad = gm_folio_poisoned(folio, NULL);

	if (!folio_ref_freeze(folio, 1 + nr_bad))
		return false;
	/* A page that is marked from here on is found by the pool or the allocator. */
	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		if (PageHWPoison(first + i))
			return release_poisoned(folio, nr_bad);
	}
	bitmap_fill(all, GM_BLOCK_PAGES);
	direct_map_zero_hidden_large(first, all);
	mem_cgroup_uncharge(folio);
	gm_folio_clear_state(folio);
	/* Another file can own the memory from here on. */
	xa_erase(&blocks_by_pfn, folio_pfn(folio) >> GM_BLOCK_MAX_ORDER);
	dissolve_folio(folio);
	give_block(first);
	return true;
}

/*
 * Return: False when the folio has other references.  Those are short ones, or pins
 * of a folio that was at KERNEL: one with a direct-map reference is no orphan.
 */
static bool release(struct folio *folio)
{
	/* A poisoned page stays as it is. */
	if (gm_folio_state(folio) & GUEST_MEMFD_PAGE_PINNABLE &&
	    (folio_test_large(folio) || !folio_test_hwpoison(folio))) {
		int ret = guest_memfd_access_end(folio);

		/* The last put of another reference gives it back. */
		if (ret <= 0)
			return !ret;
	}
	return folio_test_large(folio) ? release_block(folio) : release_single(folio);
}

static void retry_later(struct folio *folio)
{
	spin_lock(&retry_lock);
	list_add_tail(&folio->lru, &retry_folios);
	spin_unlock(&retry_lock);
	queue_delayed_work(guest_memfd_wq, &retry_work, HZ / 10);
}

/*
 * Take back the folios of a list of the caller's own.
 *
 * Return: How many pages are of use to others now.
 */
static unsigned long reap(struct list_head *folios)
{
	unsigned long n, nr = 0;
	struct folio *folio;

	while (!list_empty(folios)) {
		folio = list_first_entry(folios, struct folio, lru);
		n = folio_nr_pages(folio);
		/* Off the list first: it is another owner's field when freed. */
		list_del_init(&folio->lru);
		if (release(folio))
			nr += n;
		else
			retry_later(folio);
		cond_resched();
	}
	return nr;
}

static void retry(struct work_struct *work)
{
	LIST_HEAD(folios);

	spin_lock(&retry_lock);
	list_splice_init(&retry_folios, &folios);
	spin_unlock(&retry_lock);
	reap(&folios);
}

/**
 * guest_memfd_block_orphan - the folio has left its file for good
 * @folio: A locked folio that is in no file any more, or just on its way out;
 *	it may have other references, those to the direct map among them.
 *
 * A later guest_memfd_block_reap() frees a hidden folio, and one with the reference
 * of level KERNEL; guest_memfd_block_release() frees any other.
 *
 * Context: Any but interrupt.
 */
void guest_memfd_block_orphan(struct folio *folio)
{
	unsigned long state = gm_folio_state(folio);
	struct guest_memfd *gm = folio_file(folio);

	VM_WARN_ON_ONCE_FOLIO(folio_test_lru(folio), folio);
	if (folio_test_large(folio))
		atomic_long_dec(&gm->nr_blocks);
	/* The put of another direct-map reference frees it. */
	if (!(state & GUEST_MEMFD_PAGE_PINNABLE) &&
	    (state & GM_PAGE_OWN_WORDS || !(state & GM_PAGE_HIDDEN)))
		return;
	spin_lock(&retry_lock);
	list_add_tail(&folio->lru, &gm->orphans);
	spin_unlock(&retry_lock);
}

/**
 * guest_memfd_block_release - free one folio, now or by the retry worker
 * @folio: A hidden folio that is in no file and on no list, with no reference
 *	of the caller's.
 *
 * Context: May sleep.  Not with the folio lock held.
 */
void guest_memfd_block_release(struct folio *folio)
{
	if (!release(folio))
		retry_later(folio);
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
	unsigned long pfn = round_down(page_to_pfn(page), GM_BLOCK_PAGES);
	unsigned long lone = pfn;

	if (!xa_find(&lone_pages, &lone, pfn + GM_BLOCK_PAGES - 1, XA_PRESENT) &&
	    !xa_load(&blocks_by_pfn, pfn >> GM_BLOCK_MAX_ORDER) &&
	    !gm_cut_is_cut(pfn_to_page(pfn)))
		direct_map_merge(page);
}

/**
 * guest_memfd_block_uses - has any file, or a cut block, memory in a range?
 * @first: First page frame of whole blocks.
 * @last: The last one.
 *
 * Context: Any.  The answer may be old.
 * Return: True if there is any.
 */
bool guest_memfd_block_uses(unsigned long first, unsigned long last)
{
	unsigned long lone = first, key = first >> GM_BLOCK_MAX_ORDER;

	return xa_find(&lone_pages, &lone, last, XA_PRESENT) ||
	       xa_find(&blocks_by_pfn, &key, last >> GM_BLOCK_MAX_ORDER, XA_PRESENT) ||
	       gm_cut_uses(first, last);
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
	return xa_load(&lone_pages, pfn) || gm_pool_owns_pfn(pfn) ||
	       gm_cut_owns_pfn(pfn) || xa_load(&blocks_by_pfn, pfn >> GM_BLOCK_MAX_ORDER);
}

/**
 * guest_memfd_block_reap - give back what has left a file and is not held
 * @gm: The file's memory.
 *
 * A worker tries again what is held.
 *
 * Context: May sleep.  Not with a folio lock held.
 */
void guest_memfd_block_reap(struct guest_memfd *gm)
{
	LIST_HEAD(folios);

	spin_lock(&retry_lock);
	list_splice_init(&gm->orphans, &folios);
	spin_unlock(&retry_lock);
	reap(&folios);
}

/* Ending the level KERNEL takes folio locks, and may allocate. */
static bool need_worker(struct list_head *folios)
{
	struct folio *folio;

	list_for_each_entry(folio, folios, lru) {
		if (gm_folio_state(folio) & GUEST_MEMFD_PAGE_PINNABLE)
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

/* Take a block, or some single pages, out of the list: @folios, and return their number. */
static unsigned long take_some(struct gm_teardown *teardown, struct list_head *folios)
{
	struct folio *folio, *next;
	unsigned long nr = 0;

	list_for_each_entry_safe(folio, next, &teardown->folios, lru) {
		if (nr && nr + folio_nr_pages(folio) > SINGLES_PER_TURN)
			break;
		list_move_tail(&folio->lru, folios);
		nr += folio_nr_pages(folio);
	}
	return nr;
}

/*
 * Clear and free a block, or some single pages, of a closed file.
 *
 * @memcg: Only of files whose pages count in it, or NULL.
 * @reclaim: The caller may hold any lock that is held while memory is allocated.
 * @nr_freed: Where to add the number of pages that are of use to others now.
 *
 * Return: How many pages are done with; 0 when there is nothing to do.
 */
static unsigned long scrub_some(struct mem_cgroup *memcg, bool reclaim,
				unsigned long *nr_freed)
{
	struct gm_teardown *teardown;
	bool over, again = false;
	unsigned long nr;
	LIST_HEAD(folios);

	spin_lock(&teardown_lock);
	teardown = next_teardown(memcg);
	if (!teardown) {
		spin_unlock(&teardown_lock);
		return 0;
	}
	nr = take_some(teardown, &folios);
	teardown->nr_waiting -= nr;
	teardown->nr_in_work += nr;
	/* In turn, so that a small file does not wait for a large one. */
	list_move_tail(&teardown->list, &teardowns);
	spin_unlock(&teardown_lock);

	if (reclaim && need_worker(&folios))
		again = true;
	else
		*nr_freed += reap(&folios);

	spin_lock(&teardown_lock);
	teardown->nr_in_work -= nr;
	if (again) {
		list_splice_tail(&folios, &teardown->folios);
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
	struct folio *folio;
	unsigned long nr;

	teardown = kzalloc_obj(*teardown, GFP_KERNEL);
	if (!teardown) {
		guest_memfd_block_reap(gm);
		return;
	}
	INIT_LIST_HEAD(&teardown->folios);
	spin_lock(&retry_lock);
	list_splice_init(&gm->orphans, &teardown->folios);
	spin_unlock(&retry_lock);
	list_for_each_entry(folio, &teardown->folios, lru) {
		if (!teardown->nr_waiting)
			teardown->memcg = get_mem_cgroup_from_folio(folio);
		teardown->nr_waiting += folio_nr_pages(folio);
		cond_resched();
	}
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
					 MAX_SCRUBBERS + 4);
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
	if (order && (order != GM_BLOCK_MAX_ORDER || !gm_can_have_blocks()))
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
