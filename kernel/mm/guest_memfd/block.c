// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks: where the hidden memory of a file comes from and goes to.
 *
 * A block is hidden as one unit before its pages enter a file, and holds a
 * reference to each of them until it gives them back, so that a page never
 * reaches the allocator through somebody's put.  Blocks are of one page.
 *
 * A page that has left its file is an orphan: it waits here, hidden, until the
 * block's reference is the only one.  Then it is cleared through the temporary
 * mapping, restored to the direct map and freed, in this order: former guest
 * memory is never readable through the direct map.
 */

#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/page_ref.h>
#include <linux/workqueue.h>

#include "block.h"
#include "direct_map.h"
#include "page_state.h"

/* Orphans, linked by folio->lru: the pages of a block are on no LRU list. */
static LIST_HEAD(orphans);
static DEFINE_SPINLOCK(orphans_lock);

static void reap_later(struct work_struct *work);
static DECLARE_DELAYED_WORK(reap_work, reap_later);

/**
 * guest_memfd_block_alloc - get a page that is fit to enter a file
 * @gm: The file's memory.
 * @index: Where in the file, in pages: chooses the NUMA node.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs.
 * Return: A locked folio, cleared, hidden and up to date, which the caller
 * either puts into the file or discards; or an ERR_PTR().
 */
struct folio *guest_memfd_block_alloc(struct guest_memfd *gm, pgoff_t index)
{
	gfp_t gfp = mapping_gfp_mask(gm->inode->i_mapping);
	struct mempolicy *policy;
	struct folio *folio;
	int err;

	policy = mpol_shared_policy_lookup(&gm->policy, index);
	if (policy)
		folio = folio_alloc_mpol(gfp | __GFP_ZERO, 0, policy,
					 NO_INTERLEAVE_INDEX, numa_node_id());
	else
		folio = folio_alloc(gfp | __GFP_ZERO, 0);
	mpol_cond_put(policy);
	if (!folio)
		return ERR_PTR(-ENOMEM);

	err = mem_cgroup_charge(folio, NULL, gfp);
	if (err)
		goto err_put;

	/* Cleared while it could be, out of reach from here on. */
	err = direct_map_hide(&folio->page, 1);
	if (err)
		goto err_put;

	__folio_set_locked(folio);
	__folio_mark_uptodate(folio);
	gm_page_set_state(folio, GM_PAGE_FRESH);
	return folio;

err_put:
	folio_put(folio);
	return ERR_PTR(err);
}

/**
 * guest_memfd_block_discard - take back a page that did not enter its file
 * @folio: A locked folio of guest_memfd_block_alloc(), seen by nobody.
 *
 * Context: May sleep.
 */
void guest_memfd_block_discard(struct folio *folio)
{
	gm_page_clear_state(folio);
	folio_unlock(folio);
	/* A page that cannot be restored must not reach the allocator. */
	if (!direct_map_restore(&folio->page, 1))
		folio_put(folio);
}

/**
 * guest_memfd_block_orphan - the page has left its file for good
 * @folio: A hidden, locked folio that is in no file; others may still hold
 *	references.
 *
 * The page is given back by a later guest_memfd_block_reap().
 *
 * Context: Any but interrupt.
 */
void guest_memfd_block_orphan(struct folio *folio)
{
	VM_WARN_ON_ONCE_FOLIO(!(gm_page_state(folio) & GM_PAGE_HIDDEN), folio);
	VM_WARN_ON_ONCE_FOLIO(folio_test_lru(folio), folio);

	spin_lock(&orphans_lock);
	list_add_tail(&folio->lru, &orphans);
	spin_unlock(&orphans_lock);
}

/*
 * Return: False when others still hold the page.  Their references are short
 * ones: GUP refuses the page, and a share keeps it from becoming an orphan.
 */
static bool release_orphan(struct folio *folio)
{
	/*
	 * A poisoned page is never touched again: it stays hidden, and out of
	 * the allocator.  memory_failure() keeps a reference to it.
	 */
	if (folio_test_hwpoison(folio))
		return true;
	if (!folio_ref_freeze(folio, 1))
		return false;
	/* Nobody can find the page any more, so this answer is final. */
	if (folio_test_hwpoison(folio)) {
		folio_ref_unfreeze(folio, 1);
		return true;
	}

	direct_map_zero_hidden(&folio->page);
	gm_page_clear_state(folio);
	if (direct_map_restore(&folio->page, 1))
		return true;
	folio_ref_unfreeze(folio, 1);
	folio_put(folio);
	return true;
}

/**
 * guest_memfd_block_release - give back one page, now or by and by
 * @folio: A hidden folio that is in no file and on no list.
 *
 * Context: May sleep.  Not with the folio lock held.
 */
void guest_memfd_block_release(struct folio *folio)
{
	if (!release_orphan(folio)) {
		guest_memfd_block_orphan(folio);
		schedule_delayed_work(&reap_work, HZ / 10);
	}
}

/**
 * guest_memfd_block_reap - give back all orphans that nobody holds
 *
 * The others are tried again by and by.
 *
 * Context: May sleep.  Not with a folio lock held.
 */
void guest_memfd_block_reap(void)
{
	struct folio *folio, *next;
	LIST_HEAD(batch);

	spin_lock(&orphans_lock);
	list_splice_init(&orphans, &batch);
	spin_unlock(&orphans_lock);

	list_for_each_entry_safe(folio, next, &batch, lru) {
		/* Off the list first: it is another owner's field when freed. */
		list_del_init(&folio->lru);
		guest_memfd_block_release(folio);
		cond_resched();
	}
}

static void reap_later(struct work_struct *work)
{
	guest_memfd_block_reap();
}
