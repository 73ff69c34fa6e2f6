// SPDX-License-Identifier: GPL-2.0-only
/*
 * Insertion of hidden memory into files, by blocks and by single pages.
 *
 * A block is 2 MiB of memory, naturally aligned in the file and in physical
 * memory.  It is one large folio: one entry in the page cache, one memcg charge
 * and one PMD entry where a mapping covers all of it.  The library uses single pages if it cannot
 * allocate a block (alloc.c), or if the range cannot be a block: it is the tail
 * of the file, it has pages already, or it has more than one access level.
 *
 * A hole or a change of level that covers part of a block splits the block into
 * single pages.  A direct-map reference to one page does not.
 */

#include <linux/bitmap.h>
#include <linux/hash.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/xarray.h>

#include <trace/events/guest_memfd.h>

#include "../internal.h"
#include "access.h"
#include "alloc.h"
#include "block.h"
#include "cut.h"
#include "direct_map.h"
#include "donate.h"
#include "file.h"
#include "frames.h"
#include "limit.h"
#include "merge.h"
#include "page_state.h"
#include "pool.h"
#include "reference.h"

/*
 * Order of the blocks of files that are created from now on: GM_BLOCK_MAX_ORDER
 * or 0.  A kernel without huge pages neither splits large folios nor maps them
 * as a whole.
 */
static unsigned int block_order = gm_can_have_blocks() ? GM_BLOCK_MAX_ORDER : 0;

static int add_to_file(struct guest_memfd *gm, struct folio *folio,
		       pgoff_t index)
{
	struct address_space *mapping = gm->inode->i_mapping;
	int err;

	gm_set_file(folio, gm);
	folio_lock(folio);
	err = __filemap_add_folio(mapping, folio, index,
				  mapping_gfp_mask(mapping), NULL);
	if (!err) {
		gm_tag_referenced(folio, gm_folio_nr_referenced(folio));
		gm_limit_enter(gm->limit, folio_nr_pages(folio));
	} else {
		/*
		 * __filemap_add_folio() has overwritten the limit with an
		 * index.
		 */
		gm_folio_set_limit(folio, gm->limit);
	}
	folio_unlock(folio);
	return err;
}

/*
 * Return: The state bits of a folio that is populated at @index: the bits of
 * level KERNEL; only the level's direct-map reference while the range changes
 * its level; or 0.
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
 * Take level KERNEL's reference to @folio, which is hidden, clean and not in a
 * file yet, and set @bits.
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
 * Undo begin_kernel() for a folio that is not inserted into the file.  The
 * caller then frees the folio without hiding it again, because hiding may fail
 * and the folio is clean.
 */
static void undo_kernel(struct folio *folio)
{
	struct gm_limit *limit = gm_folio_take_limit(folio);
	unsigned int nr = folio_nr_pages(folio);

	trace_guest_memfd_put(folio_pfn(folio), folio_nr_pages(folio), 0);
	gm_folio_clear_state(folio);
	if (folio_test_large(folio))
		gm_forget_failed(&folio->page);
	gm_merge_later(&folio->page);
	folio_put(folio);
	gm_limit_unreserve(limit, nr);
}

/*
 * Populate one page: for files without blocks, and for ranges that cannot be a
 * block.
 */
static int populate_single(struct guest_memfd *gm, pgoff_t index)
{
	unsigned long bits = level_bits(gm, index);
	struct folio *folio;
	struct page *page;
	int err;

	/* Hide a page at KERNEL, too, so that hiding it later cannot fail. */
	page = gm_get_single(gm, index);
	if (IS_ERR(page))
		return PTR_ERR(page);
	folio = page_folio(page);

	err = bits ? begin_kernel(folio, bits) : 0;
	if (err) {
		gm_free_single(page);
		return err;
	}
	err = add_to_file(gm, folio, index);
	if (!err)
		return 0;
	if (bits) {
		bool lone = gm_forget_lone(page);

		gm_cut_lose(page);
		undo_kernel(folio);
		/*
		 * Merge before put_page(): this task's reference prevents
		 * offlining of the page.
		 */
		if (lone)
			gm_merge_block(page);
		put_page(page);
	} else {
		gm_free_single(page);
	}
	return err == -EEXIST ? 0 : err;
}

/*
 * Can a block be inserted at @start?  It can if the range has one level and no
 * pages.
 */
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

/* Has memory_failure() marked a page of the block poisoned? */
static bool has_marked(struct folio *folio)
{
	unsigned int i;

	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		if (PageHWPoison(folio_page(folio, i)))
			return true;
	}
	return false;
}

/*
 * Insert a block into the file.  On success the file owns the block.
 *
 * Return: 0; -EALREADY if the function has freed the block; or another error if
 * the caller still owns the block.
 */
static int add_block(struct guest_memfd *gm, pgoff_t start, struct folio *folio)
{
	unsigned long bits = level_bits(gm, start);
	int err;

	err = gm_add_block(folio_pfn(folio));
	if (err)
		return err;
	/*
	 * Until now, memory_failure() could not find out that the page belongs
	 * to the library.  It marks a page and then looks for the owner, so
	 * search for marked pages after gm_add_block().
	 */
	smp_mb();
	err = has_marked(folio) ? -EHWPOISON : 0;
	if (!err && bits)
		err = begin_kernel(folio, bits);
	if (!err) {
		atomic_long_inc(&gm->nr_blocks);
		err = add_to_file(gm, folio, start);
		if (!err)
			return 0;
		atomic_long_dec(&gm->nr_blocks);
	} else {
		bits = 0;
	}
	gm_forget_block(folio_pfn(folio));
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
 * Populate the block at @index, or only the page.  *@folio is a hidden block
 * for it, or NULL.  If it is NULL, @got is the result of gm_get_blocks(), or 1
 * if the caller has not called that function.  If the block is not inserted
 * into the file, it stays in *@folio.
 */
static int populate_block(struct guest_memfd *gm, pgoff_t index,
			  struct folio **folio, int got)
{
	pgoff_t start = round_down(index, GM_BLOCK_PAGES);
	struct mutex *lock = populate_lock(gm, start);
	int err = 0;

	mutex_lock(lock);
	if (xa_load(&gm->inode->i_mapping->i_pages, index))
		goto out;
	if (!block_fits(gm, start))
		got = 0;
	else if (got > 0 && !*folio)
		got = gm_get_blocks(gm, start, folio, 1);
	if (got > 0) {
		err = add_block(gm, start, *folio);
		if (!err || err == -EALREADY)
			*folio = NULL;
		if (!err)
			goto out;
	} else if (got < 0 && gm_limit_should_wait(gm->limit)) {
		/*
		 * The range could not become a block again for as long as the
		 * file has single pages there, so wait for a block.
		 */
		err = -EAGAIN;
		goto out;
	}
	err = populate_single(gm, index);
out:
	mutex_unlock(lock);
	return err;
}

/**
 * guest_memfd_block_init - set the block order of a new file
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
 * guest_memfd_block_populate - insert a hidden page into a file
 * @gm: The file's memory; the caller holds its invalidate_lock.
 * @index: Index in the file, in pages, below its size.
 *
 * If the file can have a block at the index, the function inserts the whole
 * block.
 *
 * Context: May sleep.  Flushes the TLBs of all CPUs when it allocates memory.
 * Return: 0 if a page is present at the index; -ENOMEM; -ENOSPC if the file's
 * limit has no room for a page; or -EAGAIN if the limit has no room for a block
 * and gm_limit_wait() may make room.
 */
int guest_memfd_block_populate(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio = NULL;
	int err;

	if (xa_load(&gm->inode->i_mapping->i_pages, index))
		return 0;
	if (!gm->block_order)
		return populate_single(gm, index);
	err = populate_block(gm, index, &folio, 1);
	if (folio)
		gm_free_fresh(folio);
	return err;
}

/**
 * guest_memfd_block_populate_range - insert many hidden pages into a file
 * @gm: The file's memory; the caller does not hold its invalidate_lock.
 * @index: Index in the file, in pages, below its size.
 * @end: Index after the last page to populate, not above the size.
 *
 * On success the function has inserted a page at @index, or found one there,
 * and possibly some of the pages that follow.  A concurrent hole punch may have
 * removed them again.  The function allocates, clears and hides blocks, all of
 * them with one flush, while it does not hold the invalidate_lock; it allocates
 * single pages with the lock held.  It holds the lock for one block at a time,
 * because a waiting writer blocks the faults of every vCPU.
 *
 * Context: May sleep; takes the invalidate_lock.  Flushes the TLBs of all CPUs
 * when it allocates memory.
 * Return: 0; -ENOMEM; or -ENOSPC or -EAGAIN as from
 * guest_memfd_block_populate().
 */
int guest_memfd_block_populate_range(struct guest_memfd *gm, pgoff_t index,
				     pgoff_t end)
{
	struct address_space *mapping = gm->inode->i_mapping;
	pgoff_t next, start = round_down(index, GM_BLOCK_PAGES);
	struct folio *folios[GM_BLOCKS_PER_FLUSH] = {};
	unsigned int n, nr_blocks = 0;
	int err, got = 0, ret = 0;

	if (gm->block_order) {
		/* populate_block() checks this again under the block's lock. */
		filemap_invalidate_lock_shared(mapping);
		for (next = start; nr_blocks < GM_BLOCKS_PER_FLUSH && next < end &&
		     block_fits(gm, next); next += GM_BLOCK_PAGES)
			nr_blocks++;
		filemap_invalidate_unlock_shared(mapping);
		got = gm_get_blocks(gm, start, folios, nr_blocks);
		nr_blocks = max(got, 0);
	}
	for (n = 0; n < max(nr_blocks, 1U); n++) {
		filemap_invalidate_lock_shared(mapping);
		if (xa_load(&mapping->i_pages, index))
			err = 0;
		else if (gm->block_order)
			err = populate_block(gm, index, &folios[n], got);
		else
			err = populate_single(gm, index);
		filemap_invalidate_unlock_shared(mapping);
		if (err) {
			/*
			 * Only report an error for the first block.  The caller
			 * retries the others.
			 */
			ret = n ? 0 : err;
			break;
		}
		index = round_down(index, GM_BLOCK_PAGES) + GM_BLOCK_PAGES;
	}
	for (n = 0; n < GM_BLOCKS_PER_FLUSH; n++) {
		if (folios[n])
			gm_free_fresh(folios[n]);
	}
	return ret;
}

/* Number of checks for other references to a block before a split fails. */
#define SPLIT_TRIES 64

/*
 * Split a locked block that is unmapped from user space.  Guests can keep their
 * mapping of it.
 *
 * Return: 0 if each page is a locked folio now; -ENOMEM or -EAGAIN if nothing
 * was changed.
 */
static int split_locked(struct guest_memfd *gm, struct folio *folio)
{
	DECLARE_BITMAP(none, GM_BLOCK_PAGES) = {};
	DECLARE_BITMAP(failed, GM_BLOCK_PAGES) = {};
	struct address_space *mapping = folio->mapping;
	struct page *first = &folio->page;
	unsigned long common = gm_folio_state(folio);
	unsigned int i, nr_held, tries = SPLIT_TRIES;
	int err;

	if (!gm_can_have_blocks())
		return -EINVAL;
	nr_held = gm_folio_references(folio) + gm_folio_nr_failed(folio, failed);
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
		gm_set_file(page_folio(first + i), gm);
		if (!gm_page_count(gm_folio_state(page_folio(first + i))))
			__xa_clear_mark(&mapping->i_pages, first[i].__folio_index,
					GM_TAG_REFERENCED);
		gm_split_donated(mapping, page_folio(first + i));
		if (test_bit(i, failed))
			page_ref_inc(first + i);
	}
	xa_unlock_irq(&mapping->i_pages);
	atomic_long_dec(&gm->nr_blocks);
	gm_forget_failed(first);
	gm_forget_block(page_to_pfn(first));
	return 0;
}

/**
 * guest_memfd_block_split - split the block around an index
 * @gm: The memory of a NO_DIRECT_MAP file, from which no page can be removed
 *	meanwhile.
 * @index: Index in the file, in pages.
 *
 * guest_memfd_access_split() makes concurrent user faults wait, because they
 * would take references to the block.
 *
 * Context: May sleep and allocate; takes the folio lock.
 * Return: 0 if no block has pages on both sides now; -ENOMEM; or -EAGAIN if
 * there are other references to the block.
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
	/* The folio lock and the page cache's reference keep the folio. */
	folio_put(folio);
	if (!folio_test_large(folio)) {
		folio_unlock(folio);
		return 0;
	}
	if (folio_mapped(folio))
		gm_unmap_folio(folio);
	first = &folio->page;
	err = split_locked(gm, folio);
	for (i = 0; i < (err ? 1 : GM_BLOCK_PAGES); i++)
		folio_unlock(page_folio(first + i));
	return err;
}

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
