// SPDX-License-Identifier: GPL-2.0-only
/* Population of ranges of a file, and hole punching. */

#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/guest_memfd.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/xarray.h>

#include "access.h"
#include "block.h"
#include "direct_map.h"
#include "donate.h"
#include "file.h"
#include "limit.h"
#include "page_state.h"
#include "reference.h"
#include "scrub.h"

/*
 * Hole punches, and populations of plain files, release the invalidate_lock
 * after this many pages, which is the number of pages of a 2 MiB block.
 */
#define PAGES_PER_STEP 512

/*
 * Return: The end of the first step of a hole punch.  At most PAGES_PER_STEP
 * pages are present before it.
 */
static pgoff_t step_end(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	XA_STATE(xas, &gm->inode->i_mapping->i_pages, start);
	struct folio *folio;
	pgoff_t nr = 0;

	lockdep_assert_held_write(&gm->inode->i_mapping->invalidate_lock);
	guard(rcu)();
	xas_for_each(&xas, folio, end - 1) {
		if (xas_retry(&xas, folio))
			continue;
		if (nr && nr + folio_nr_pages(folio) > PAGES_PER_STEP)
			return folio->index;
		nr += folio_nr_pages(folio);
	}
	return end;
}

/* Does a block have pages on both sides of @index? */
static bool is_in_block(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio;

	lockdep_assert_held_write(&gm->inode->i_mapping->invalidate_lock);
	folio = xa_load(&gm->inode->i_mapping->i_pages, index);
	return folio && folio_test_large(folio) && folio->index < index;
}

/*
 * Punch one step of a hole.
 *
 * Return: The index up to which [@start, @end) is punched; @start if the caller
 * must split a block first.
 */
static pgoff_t punch_step(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = gm->inode->i_mapping;

	/*
	 * The lock also prevents the owner from changing its bindings between
	 * invalidate_start() and invalidate_end().
	 */
	filemap_invalidate_lock(mapping);
	end = step_end(gm, start, end);
	/*
	 * A fault may have inserted the block after split_for_hole() found
	 * nothing to split.  Truncation would remove the block as a whole.
	 */
	if (is_in_block(gm, start) || is_in_block(gm, end)) {
		filemap_invalidate_unlock(mapping);
		return start;
	}
	/*
	 * Invalidate no more than the range.  A guest fault that is about to
	 * map a whole block has a reference to the block, so the block could
	 * not have been split.
	 */
	gm->ops->invalidate_start(gm, start, end);
	/* Truncation would unmap the folios one by one. */
	unmap_mapping_pages(mapping, start, end - start, false);
	if (gm_hides(gm)) {
		guest_memfd_access_take_back(gm, start, end);
		gm_references_drain(gm, start, end);
		gm_references_leave(gm, start, end);
		gm_untag_range(mapping, start, end);
	}
	truncate_inode_pages_range(mapping, (loff_t)start << PAGE_SHIFT,
				   ((loff_t)end << PAGE_SHIFT) - 1);
	/* Drop references that were put lazily since the first drain. */
	if (gm_hides(gm))
		gm_references_drain(gm, start, end);
	gm->ops->invalidate_end(gm, start, end);
	filemap_invalidate_unlock(mapping);
	return end;
}

/*
 * Clear pages of a block that cannot be split, for instance because a device
 * has pinned it.  The pages stay in the file.
 */
static void clear_in_place(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = gm->inode->i_mapping;
	struct folio *folio;
	pgoff_t index;

	filemap_invalidate_lock(mapping);
	gm_invalidate_start(gm, start, end);
	unmap_mapping_pages(mapping, start, end - start, false);
	for (index = start; index < end; index++) {
		folio = xa_load(&mapping->i_pages, index);
		if (folio && !PageHWPoison(folio_file_page(folio, index)))
			direct_map_zero_hidden(folio_file_page(folio, index));
	}
	gm_invalidate_end(gm, start, end);
	filemap_invalidate_unlock(mapping);
}

/*
 * Split the blocks at both ends of a hole, because no part of a block can be
 * removed from the file.  If a block cannot be split, clear the part of it that
 * is in the hole, and shrink the hole by that part.
 */
static void split_for_hole(struct guest_memfd *gm, pgoff_t *start, pgoff_t *end)
{
	pgoff_t part = min(*end, round_up(*start, GM_BLOCK_PAGES));
	unsigned int sleeps = GM_SPLIT_SLEEPS;

	if (guest_memfd_access_split(gm, *start, &sleeps)) {
		clear_in_place(gm, *start, part);
		*start = part;
	}
	part = max(*start, round_down(*end, GM_BLOCK_PAGES));
	if (part < *end && guest_memfd_access_split(gm, *end, &sleeps)) {
		clear_in_place(gm, part, *end);
		*end = part;
	}
}

/**
 * guest_memfd_punch_hole - remove the memory of a range
 * @gm: The file's memory.
 * @start: First index of the range, in pages.
 * @end: Index after the range, above @start.
 *
 * The function unmaps the range from user space and from the guests, and its
 * contents are lost.  The next access to the range populates it with new,
 * cleared pages at the access level that the range has.  If a block that is
 * partly in the range cannot be split, the function clears those pages in
 * place, and the next access finds them.  It clears a hidden page before the
 * kernel can read it through the direct map; it frees a page of a plain file
 * like any other page.  The function punches the range in steps: a concurrent
 * fault may populate a part that is punched already while the rest still has
 * its pages.
 *
 * Context: May sleep; takes gm->change_lock and the invalidate_lock.
 * Return: 0; or -EBUSY, with nothing changed, if a page of the range is
 * donated, whether or not its guest shares it.
 */
int guest_memfd_punch_hole(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	int err;

	if (start >= end)
		return 0;
	err = gm_begin_hole(gm, start, end);
	if (err)
		return err;
	while (start < end) {
		/* A change of levels relies on pages staying in the file. */
		scoped_guard(mutex, &gm->change_lock) {
			if (gm_hides(gm))
				split_for_hole(gm, &start, &end);
			if (start < end)
				start = punch_step(gm, start, end);
		}
		if (gm_hides(gm))
			guest_memfd_block_reap(gm);
		cond_resched();
	}
	gm_end_hole(gm);
	return 0;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_punch_hole, GUEST_MEMFD_OWNERS);

/*
 * Populate [@start, @end) of a plain file.
 *
 * Return: 0, or a negative error code.
 */
static int populate_plain(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = gm->inode->i_mapping;
	struct folio *folio;
	int err = 0;

	filemap_invalidate_lock_shared(mapping);
	while (start < end) {
		folio = guest_memfd_grab_folio(gm, start);
		if (IS_ERR(folio)) {
			err = PTR_ERR(folio);
			break;
		}
		start = folio_next_index(folio);
		folio_unlock(folio);
		folio_put(folio);
	}
	filemap_invalidate_unlock_shared(mapping);
	return err;
}

/*
 * Release the invalidate_lock between steps: a waiting writer blocks every
 * fault on hidden memory.
 */
static long populate(struct guest_memfd *gm, loff_t offset, loff_t len)
{
	pgoff_t next, index = offset >> PAGE_SHIFT;
	pgoff_t end = (offset + len) >> PAGE_SHIFT;
	long ret;

	for (; index < end; index = next) {
		if (signal_pending(current))
			return -EINTR;
		if (gm_hides(gm)) {
			/*
			 * Populate by blocks, then skip the pages that are
			 * present.
			 */
			ret = guest_memfd_block_populate_range(gm, index, end);
			if (ret == -ENOSPC || ret == -EAGAIN) {
				ret = gm_limit_wait(gm->limit,
						    ret == -EAGAIN ? GM_BLOCK_PAGES : 1,
						    TASK_INTERRUPTIBLE);
				next = index;
				if (!ret)
					continue;
			}
			if (ret)
				return ret;
			next = min(index + PAGES_PER_STEP, end);
			scoped_guard(rcu)
				next = page_cache_next_miss(gm->inode->i_mapping,
							    index, next - index);
			next = clamp(next, index + 1, end);
		} else {
			next = min(index + PAGES_PER_STEP, end);
			ret = populate_plain(gm, index, next);
			if (ret)
				return ret;
		}
		cond_resched();
	}
	return 0;
}

/**
 * guest_memfd_fallocate - the fallocate file operation of an owner's file
 * @file: The file.
 * @mode: FALLOC_FL_KEEP_SIZE to populate, with FALLOC_FL_PUNCH_HOLE to punch a
 *	hole.
 * @offset: Start of the range in bytes, page-aligned.
 * @len: Length of the range in bytes, page-aligned.
 *
 * Context: May sleep; takes the inode lock when the operation has succeeded.
 * Return: 0; -EOPNOTSUPP for another mode; -EINVAL for a range that is not
 * aligned or, when populating, not inside the file; -EBUSY, with nothing
 * changed, for a hole that covers donated pages; or -EINTR, -ENOMEM or -ENOSPC
 * (the file's limit is reached) with a part of the range populated.
 */
long guest_memfd_fallocate(struct file *file, int mode, loff_t offset,
			   loff_t len)
{
	struct guest_memfd *gm = gm_of_mapping(file->f_mapping);
	long ret = 0;

	if (mode != FALLOC_FL_KEEP_SIZE &&
	    mode != (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		return -EOPNOTSUPP;
	if (!PAGE_ALIGNED(offset) || !PAGE_ALIGNED(len))
		return -EINVAL;

	if (mode & FALLOC_FL_PUNCH_HOLE)
		ret = guest_memfd_punch_hole(gm, offset >> PAGE_SHIFT,
					     (offset + len) >> PAGE_SHIFT);
	else if (offset + len > i_size_read(gm->inode))
		ret = -EINVAL;
	else
		ret = populate(gm, offset, len);

	/*
	 * file_modified() may clear mode bits, which needs the lock.  Do not
	 * hold it during populate(), which can wait for long.
	 */
	if (!ret) {
		inode_lock(gm->inode);
		file_modified(file);
		inode_unlock(gm->inode);
	}
	return ret;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_fallocate, GUEST_MEMFD_OWNERS);
