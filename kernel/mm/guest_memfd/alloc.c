// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the hidden memory of a file comes from, and where it goes.
 *
 * alloc.c gets a block from the pool (pool.c), or allocates, clears and hides one.  In the
 * pool, and on its way to the allocator, a block is 512 single pages whose reference
 * counts are frozen; for a file it is one large folio.  A single page is of a block that
 * is cut (cut.c), or is hidden by itself.
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

/* So many pages are freed as one piece. */
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

/**
 * gm_give_block - give a block to the pool, or else to the allocator
 * @first: The first of its pages, which are single ones, hidden, clean, charged to no cgroup,
 *	and whose reference counts are frozen.
 *
 * Context: May sleep.
 */
void gm_give_block(struct page *first)
{
	/* Reclaim has more use for the memory, and may run under locks that merging takes. */
	const bool reclaim = current->flags & PF_MEMALLOC;

	if (!reclaim && gm_pool_give(first))
		return;
	/* A page that was marked since the block was cleared stays hidden. */
	if (gm_pool_set_bad(first))
		return;
	/* A block that cannot be restored must not reach the allocator. */
	if (WARN_ON_ONCE(direct_map_restore(first, GM_BLOCK_PAGES)))
		return;
	if (!reclaim)
		direct_map_merge(first, NULL);
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

/**
 * gm_dissolve_folio - make 512 pages of a block, with reference counts that are frozen
 * @folio: The block, in no file, charged to no cgroup, and its reference count frozen.
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
 * gm_free_fresh - free a hidden block that was in no file, and so is still clean
 * @folio: The block, and with it its reservation.
 *
 * Another task may have a reference for an instant.  A worker tries again then.
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
	/* memory_failure() can mark a page of the pool at the same time. */
	folio_mark_uptodate(folio);
	gm_folio_set_state(folio, GM_PAGE_HIDDEN);
	/* Those who have reserved it say so at the end. */
	gm_folio_set_limit(folio, NULL);
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
			gm_free_fresh(folios[n]);
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

/* Give a page to the allocator that is hidden, clean, and has one reference. */
static void free_to_allocator(struct page *page)
{
	bool lone = gm_forget_lone(page);

	/* Others of the same 2 MiB may have kept its entries from being merged. */
	gm_cut_free(page, lone && !(current->flags & PF_MEMALLOC));
}

/**
 * gm_free_single - free a single page
 * @page: The page: hidden, clean, and with one reference and perhaps others that end in an
 *	instant.  Its reservation is given back.
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
	gm_give_block(page);
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
	gm_free_single(page);
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
	if (!gm_add_lone(page))
		return page;
	gm_free_single(page);
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
 * gm_get_single - get a single page
 * @gm: The memory of the file that it is for.
 * @index: Where in the file, in pages.
 *
 * Context: May sleep.
 * Return: A page that is hidden, charged and reserved, ERR_PTR(-ENOMEM), or
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
	} while (!n && gm_scrub_some(NULL, NULL, true, &ignored));
	return n > 0 ? hide_blocks(folios, n) : 0;
}

/**
 * gm_get_blocks - get hidden blocks, as many as there are
 * @gm: The memory of the file that they are for.
 * @start: Where in the file, in pages.
 * @folios: Where to put them.
 * @nr_blocks: How many are wanted.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs when memory is allocated.
 * Return: For how many blocks, from @start on, @folios is set; they are charged, reserved, up
 * to date, and the caller's.  -ENOSPC if the file's limit has no room for any.
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
