// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocation of hidden memory for files, and the way back.
 *
 * alloc.c takes a block from the pool (pool.c), or allocates, clears and hides
 * one.  In the pool, and before it is freed to the page allocator, a block is
 * 512 single pages whose reference counts are frozen; for a file it is one
 * large folio.  A single page belongs to a block that is cut (cut.c), or is
 * hidden by itself.
 */

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/cpuset.h>
#include <linux/gfp.h>
#include <linux/huge_mm.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/page_owner.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/pgalloc_tag.h>
#include <linux/swap.h>
#include <linux/xarray.h>

#include "../internal.h"
#include "alloc.h"
#include "cut.h"
#include "direct_map.h"
#include "frames.h"
#include "limit.h"
#include "merge.h"
#include "page_state.h"
#include "pool.h"
#include "scrub.h"
#include "teardown.h"

/* Number of pages that are freed by one call. */
#define FREE_PAGES 64U

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
 * until it returns a page.  With @preferred_only, call it only for the first
 * node.
 *
 * Return: The page or NULL.  With @preferred_only, also NULL if the task's
 * policy selects the next node at each allocation, because this look-up would
 * make it skip a node.
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

/**
 * gm_free_pages_of_block - free the pages of a block to the page allocator
 * @first: The first page of the block.  The pages are single ones, mapped in
 *	the direct map, each with one reference of the caller.
 *
 * Free large pieces, because the allocator would queue and merge single pages
 * one by one.  Do not free the block as one piece: the allocator looks for
 * poison in all pages of a piece before it frees the first, and a smaller piece
 * leaves less time to poison a page in between.
 *
 * Context: Any but interrupt.
 */
void gm_free_pages_of_block(struct page *first)
{
	unsigned int i;

	for (i = 0; i < GM_BLOCK_PAGES; i += FREE_PAGES)
		__free_contig_range(page_to_pfn(first + i), FREE_PAGES);
}

/* Free a block whose pages' reference counts are frozen. */
static void free_frozen_block(struct page *first)
{
	unsigned int i;

	for (i = 0; i < GM_BLOCK_PAGES; i++)
		page_ref_unfreeze(first + i, 1);
	gm_free_pages_of_block(first);
}

/**
 * gm_give_block - add a block to the pool, or free it to the page allocator
 * @first: The first page of the block.  The pages are single ones, hidden,
 *	clean and charged to no cgroup, and their reference counts are frozen.
 *
 * Context: May sleep.
 */
void gm_give_block(struct page *first)
{
	/*
	 * Reclaim needs the memory more than the pool does, and may run under
	 * locks that merging takes.
	 */
	const bool reclaim = current->flags & PF_MEMALLOC;

	if (!reclaim && gm_pool_give(first))
		return;
	/* A page that was poisoned after it was cleared stays hidden. */
	if (gm_pool_set_bad(first))
		return;
	/* A block that cannot be restored must not reach the page allocator. */
	if (WARN_ON_ONCE(direct_map_restore(first, GM_BLOCK_PAGES)))
		return;
	if (!reclaim)
		direct_map_merge(first, NULL);
	gm_merge_later(first);
	free_frozen_block(first);
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

/**
 * gm_dissolve_folio - make a block 512 pages with frozen reference counts
 * @folio: The block, in no file and charged to no cgroup, with a frozen
 *	reference count.
 *
 * Context: Any.
 */
void gm_dissolve_folio(struct folio *folio)
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

/**
 * gm_free_fresh - free a hidden block that was in no file and is still clean
 * @folio: The block.  The function also returns its reservation.
 *
 * If another task has a short-lived reference to the block, a worker frees the
 * block later.
 *
 * Context: May sleep.
 */
void gm_free_fresh(struct folio *folio)
{
	struct gm_limit *limit;

	if (!folio_ref_freeze(folio, 1)) {
		guest_memfd_block_release(folio, false);
		return;
	}
	limit = gm_folio_take_limit(folio);
	gm_folio_clear_state(folio);
	mem_cgroup_uncharge(folio);
	gm_dissolve_folio(folio);
	gm_give_block(&folio->page);
	gm_limit_unreserve(limit, GM_BLOCK_PAGES);
}

static void set_fresh(struct folio *folio)
{
	/* memory_failure() can mark a page of the pool concurrently. */
	folio_mark_uptodate(folio);
	gm_folio_set_state(folio, GM_PAGE_HIDDEN);
	/*
	 * gm_get_blocks() or gm_get_single() sets the limit when it succeeds.
	 */
	gm_folio_set_limit(folio, NULL);
}

/*
 * Take blocks for the range at @index from the pool, and charge them.
 *
 * Return: The number of blocks in @folios; -ENOMEM if the first block cannot be
 * charged.
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
			gm_free_fresh(folios[n]);
			folios[n] = NULL;
			return n ?: -ENOMEM;
		}
	}
	return n;
}

/*
 * As take_from_pool(), but allocate the blocks from the page allocator.  They
 * are cleared but not hidden yet.
 */
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
 * Hide the blocks from alloc_blocks() with one flush.  If a block cannot be
 * hidden, free it and set its entry in @folios to NULL.
 *
 * Return: The number of blocks, from the first on, that are hidden and up to
 * date.
 */
static unsigned int hide_blocks(struct folio **folios, unsigned int nr_blocks)
{
	struct gm_range ranges[GM_BLOCKS_PER_FLUSH];
	unsigned int n, done;

	for (n = 0; n < nr_blocks; n++)
		ranges[n] = (struct gm_range){ &folios[n]->page, GM_BLOCK_PAGES };
	done = direct_map_hide_ranges(ranges, nr_blocks);
	for (n = 0; n < nr_blocks; n++) {
		if (n < done) {
			set_fresh(folios[n]);
		} else {
			gm_merge_later(&folios[n]->page);
			folio_put(folios[n]);
			folios[n] = NULL;
		}
	}
	return done;
}

/*
 * Free a page to the page allocator.  It is hidden and clean, and has one
 * reference.
 */
static void free_to_allocator(struct page *page)
{
	bool lone = gm_forget_lone(page);

	/*
	 * Other pages of the same 2 MiB may have prevented a merge of the
	 * direct map entries.
	 */
	gm_cut_free(page, lone && !(current->flags & PF_MEMALLOC));
}

/**
 * gm_free_single - free a single page
 * @page: A hidden, clean page with one reference of the caller and possibly
 *	short-lived references of other tasks.  The function also returns its
 *	reservation.
 *
 * Context: May sleep.
 */
void gm_free_single(struct page *page)
{
	struct gm_limit *limit = gm_folio_take_limit(page_folio(page));
	bool given = false;

	gm_folio_clear_state(page_folio(page));
	if (page_ref_freeze(page, 1)) {
		mem_cgroup_uncharge(page_folio(page));
		given = gm_cut_give(page);
		if (!given)
			page_ref_unfreeze(page, 1);
	}
	if (!given)
		free_to_allocator(page);
	gm_limit_unreserve(limit, 1);
}

/*
 * Allocate and hide a block without reclaim and without a charge.
 *
 * Return: The first of its pages, which are single ones with frozen reference
 * counts, or NULL.
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
		gm_free_pages_of_block(first);
		return NULL;
	}
	if (!direct_map_hide(first, GM_BLOCK_PAGES))
		return first;
	free_frozen_block(first);
	return NULL;
}

/*
 * Take a hidden, uncharged page from a cut block of the node.  If the node has
 * none, cut a block.
 *
 * Return: The page or NULL.
 */
static struct page *single_of_node(int nid)
{
	struct page *page = gm_cut_take(nid);

	if (page)
		return page;
	page = gm_pool_take(nid) ?: new_block_of_node(nid);
	if (!page || gm_cut_block(page))
		return page;
	gm_give_block(page);
	return NULL;
}

/*
 * Take a page of a cut block and charge it.
 *
 * Return: The page; NULL if there is none; or ERR_PTR(-ENOMEM) if it cannot be
 * charged.
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
	gm_free_single(page);
	return ERR_PTR(-ENOMEM);
}

/*
 * Charge a cleared page and hide it by itself.
 *
 * Return: As gm_take_single().
 */
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
	if (!gm_add_lone(page))
		return page;
	gm_free_single(page);
	return NULL;
}

/*
 * Allocate a cleared page of the node without reclaim.
 *
 * Return: The page or NULL.
 */
static struct page *page_of_node(int nid)
{
	gfp_t gfp = (GFP_HIGHUSER & ~__GFP_DIRECT_RECLAIM) | __GFP_THISNODE |
		    __GFP_NOWARN | __GFP_ZERO;

	return alloc_pages_node(nid, gfp, 0);
}

/*
 * On a machine with several nodes, prefer a page of the preferred node that is
 * hidden by itself, which splits the direct map, to a page of a cut block of
 * another node.
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

/**
 * gm_get_single - allocate a single page
 * @gm: The memory of the file for which the page is allocated.
 * @index: Index in the file, in pages.
 *
 * Context: May sleep.
 * Return: A page that is hidden, charged and reserved; ERR_PTR(-ENOMEM); or
 * ERR_PTR(-ENOSPC) if the file's limit has no room for it.
 */
struct page *gm_get_single(struct guest_memfd *gm, pgoff_t index)
{
	struct page *page;

	if (!gm_limit_reserve(gm->limit, 1, 1))
		return ERR_PTR(-ENOSPC);
	page = get_single(gm, index);
	if (IS_ERR(page))
		gm_limit_unreserve(gm->limit, 1);
	else
		gm_folio_set_limit(page_folio(page), gm->limit);
	return page;
}

static unsigned int get_blocks(struct guest_memfd *gm, pgoff_t start,
			       struct folio **folios, unsigned int nr_blocks)
{
	/* Do not try hard to allocate a block: single pages serve as well. */
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
		/*
		 * Reclaim does not try hard for a block.  Clear and free memory
		 * of closed files, and retry.
		 */
	} while (!n && gm_scrub_some(NULL, NULL, true, &ignored));
	return n > 0 ? hide_blocks(folios, n) : 0;
}

/**
 * gm_get_blocks - allocate hidden blocks, up to the number wanted
 * @gm: The memory of the file for which the blocks are allocated.
 * @start: Index in the file, in pages.
 * @folios: Array that receives the blocks.
 * @nr_blocks: The number of blocks wanted.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs when it allocates memory.
 * Return: The number of blocks, for the range from @start on, that are set in
 * @folios.  They are charged, reserved and up to date, and the caller owns
 * them.  -ENOSPC if the file's limit has no room for any block.
 */
int gm_get_blocks(struct guest_memfd *gm, pgoff_t start,
		  struct folio **folios, unsigned int nr_blocks)
{
	unsigned int n, done, reserved;

	reserved = gm_limit_reserve(gm->limit, nr_blocks, GM_BLOCK_PAGES);
	if (nr_blocks && !reserved)
		return -ENOSPC;
	nr_blocks = reserved;
	done = get_blocks(gm, start, folios, nr_blocks);
	gm_limit_unreserve(gm->limit,
			   (unsigned long)(nr_blocks - done) * GM_BLOCK_PAGES);
	for (n = 0; n < done; n++)
		gm_folio_set_limit(folios[n], gm->limit);
	return done;
}
