// SPDX-License-Identifier: GPL-2.0-only
/*
 * Populate a range of a file, or take its memory away.
 */

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
 * Holes and populations of plain files release the invalidate_lock after this
 * many pages, which is as many as a block of 2 MiB has.
 */
#define PAGES_PER_STEP 512

/*
 * Return: The end of the first step of a hole.  At most PAGES_PER_STEP pages
 * are in the file before it.
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
 * Return: The index up to which [@start, @end) is punched; @start if a block is to be
 * split first.
 */
static pgoff_t punch_step(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = gm->inode->i_mapping;

	/* The lock also keeps the owner's bindings the same from start to end. */
	filemap_invalidate_lock(mapping);
	end = step_end(gm, start, end);
	/*
	 * A fault may have populated it after split_for_hole() found nothing to split.
	 * Truncation would remove it whole.
	 */
	if (is_in_block(gm, start) || is_in_block(gm, end)) {
		filemap_invalidate_unlock(mapping);
		return start;
	}
	/*
	 * No more than the range: a guest that is about to map a whole block has a reference to it,
	 * so the block would not have been split.
	 */
	gm->ops->invalidate_start(gm, start, end);
	/* Truncation would do it folio by folio. */
	unmap_mapping_pages(mapping, start, end - start, false);
	if (gm_hides(gm)) {
		guest_memfd_access_take_back(gm, start, end);
		gm_references_drain(gm, start, end);
		gm_references_leave(gm, start, end);
		gm_untag_range(mapping, start, end);
	}
	truncate_inode_pages_range(mapping, (loff_t)start << PAGE_SHIFT,
				   ((loff_t)end << PAGE_SHIFT) - 1);
	/* References that were put lazily since the first drain. */
	if (gm_hides(gm))
		gm_references_drain(gm, start, end);
	gm->ops->invalidate_end(gm, start, end);
	filemap_invalidate_unlock(mapping);
	return end;
}

/*
 * Clear pages of a block that cannot be split, as a device has pinned it for instance.  They
 * stay in the file.
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
 * A part of a block cannot leave the file: split the blocks at both ends of a hole.  Where
 * that is impossible the part is cleared, and the hole ends before it.
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
 * guest_memfd_punch_hole - take a range of memory away from everybody
 * @gm: The file's memory.
 * @start: First index of the range, in pages.
 * @end: Index after the range, above @start.
 *
 * The guests lose it, and what was in it is lost.  The next access to the range
 * gets new pages, cleared, at the access level that the range has; or the old ones, where
 * a block that the range has a part of cannot be split: those are cleared.  A hidden
 * page is cleared before the kernel sees it again; one of a plain file as any
 * other page that is freed.  The range is punched in steps: a concurrent fault
 * may populate a part that is punched already while the rest still has its
 * pages.
 *
 * Context: May sleep; takes gm->change_lock and the invalidate_lock.
 * Return: 0; or -EBUSY, with nothing changed, when a page of the range is donated, shared by
 * its guest or not.
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
		/* A change of levels relies on pages that stay in the file. */
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
 * Put the pages of a plain file into [@start, @end).
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
 * The invalidate_lock is released between steps: a writer that waits for it
 * blocks every fault on hidden memory.
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
			/* By blocks, and past what is there then. */
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
 * @mode: FALLOC_FL_KEEP_SIZE to populate, with FALLOC_FL_PUNCH_HOLE to free.
 * @offset: Start of the range in bytes, page-aligned.
 * @len: Length of the range in bytes, page-aligned.
 *
 * Return: 0; -EOPNOTSUPP for another mode; -EINVAL for a range that is not
 * aligned or, when populating, not inside the file; -EBUSY, with nothing changed, for a
 * hole over donated pages; -EINTR, -ENOMEM or -ENOSPC (the
 * file's limit is reached) with a part of the range populated.
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

	/* The lock is for the mode bits that it may clear; populate() can wait for long. */
	if (!ret) {
		inode_lock(gm->inode);
		file_modified(file);
		inode_unlock(gm->inode);
	}
	return ret;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_fallocate, GUEST_MEMFD_OWNERS);
