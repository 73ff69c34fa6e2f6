// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access levels: what the host may do with a range of a file.
 *
 * Levels are kept by ranges, whether there are pages in them or not.  A page of
 * a NO_DIRECT_MAP file at level KERNEL carries that level's share and is
 * PINNABLE, from before it enters the file on.
 *
 * A level changes with the invalidate_lock held alone.  Whoever puts a page into
 * the file, maps one into user space or takes a share holds it shared; so what
 * can be under way are user faults that have only the folio lock left, unshares,
 * and GUP, with its references.  A page goes down from KERNEL when its reference
 * count can be frozen at just those of its file, its library and its shares.
 */

#include <linux/guest_memfd.h>
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>

#include <trace/events/guest_memfd.h>

#include "../internal.h"
#include "access.h"
#include "direct_map.h"
#include "page_state.h"
#include "reference.h"

/* For KVM's short references to pass by. */
#define FREEZE_TRIES 64

static unsigned int initial_level(const struct guest_memfd *gm)
{
	if (!(gm->flags & GM_FILE_INIT_ACCESS))
		return GUEST_MEMFD_ACCESS_NONE;
	return gm_hides(gm) ? GUEST_MEMFD_ACCESS_USER : GUEST_MEMFD_ACCESS_KERNEL;
}

/* The level that a file was created with is no entry, and takes no memory. */
static void *level_entry(const struct guest_memfd *gm, unsigned int level)
{
	return level == initial_level(gm) ? NULL : xa_mk_value(level);
}

static unsigned int entry_level(const struct guest_memfd *gm, void *entry)
{
	return entry ? xa_to_value(entry) : initial_level(gm);
}

/**
 * guest_memfd_access_init - give all of a new file its first level
 * @gm: The memory of a file.
 */
void guest_memfd_access_init(struct guest_memfd *gm)
{
	mt_init_flags(&gm->levels, MT_FLAGS_USE_RCU | MT_FLAGS_LOCK_EXTERN);
	mt_set_external_lock(&gm->levels,
			     &gm->inode->i_mapping->invalidate_lock);
}

/**
 * guest_memfd_access_destroy - forget the levels of a file that is going
 * @gm: The file's memory; the invalidate_lock is held.
 */
void guest_memfd_access_destroy(struct guest_memfd *gm)
{
	__mt_destroy(&gm->levels);
}

/**
 * guest_memfd_access_level - the access level of a page
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 *
 * Context: Any.  The answer stays true while the invalidate_lock is held.
 * Return: GUEST_MEMFD_ACCESS_*.
 */
unsigned int guest_memfd_access_level(struct guest_memfd *gm, pgoff_t index)
{
	return entry_level(gm, mtree_load(&gm->levels, index));
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_access_level, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_access_run - how far the level of a page runs
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 * @first: Where to put the first index of the run.
 * @last: Where to put the last; may be beyond the end of the file.
 *
 * Context: Any.  The answer stays true while the invalidate_lock is held.
 * Return: GUEST_MEMFD_ACCESS_*.
 */
unsigned int guest_memfd_access_run(struct guest_memfd *gm, pgoff_t index,
				    pgoff_t *first, pgoff_t *last)
{
	MA_STATE(mas, &gm->levels, index, index);
	void *entry;

	guard(rcu)();
	entry = mas_walk(&mas);
	*first = mas.index;
	*last = mas.last;
	return entry_level(gm, entry);
}

/*
 * Get ready to store @level for [start, end), joined with its neighbours.
 *
 * Return: 0, or -ENOMEM.
 */
static int prepare_store(struct guest_memfd *gm, struct ma_state *mas,
			 pgoff_t start, pgoff_t end, unsigned int level)
{
	pgoff_t first = start, last = end - 1, ignored;
	pgoff_t from = start, to = last;

	if (start && guest_memfd_access_run(gm, start - 1, &first,
					    &ignored) == level)
		from = first;
	if (end && guest_memfd_access_run(gm, end, &ignored, &last) == level)
		to = last;
	mas_set_range(mas, from, to);
	return mas_preallocate(mas, level_entry(gm, level), GFP_KERNEL_ACCOUNT);
}

/* The next page of [*index, end); the invalidate_lock keeps it in the file. */
static struct folio *next_folio(struct guest_memfd *gm, pgoff_t *index,
				pgoff_t end)
{
	cond_resched();
	if (*index >= end)
		return NULL;
	return xa_find(&gm->inode->i_mapping->i_pages, index, end - 1,
		       XA_PRESENT);
}

/*
 * How many pages from @folio on are of one block, contiguous, and alike: not
 * PINNABLE, hidden if @count is zero, else with just so many shares.  What is
 * hidden, and what has only the level's share, stays so: nobody can share.
 */
static unsigned int run_alike(struct guest_memfd *gm, struct folio *folio,
			      pgoff_t index, pgoff_t end, unsigned long count)
{
	struct xarray *pages = &gm->inode->i_mapping->i_pages;
	unsigned int order = gm_page_block_order(gm_page_state(folio));
	unsigned long pfn = folio_pfn(folio);
	unsigned int nr = 0;

	end = min(end, round_down(index, 1UL << order) + (1UL << order));
	do {
		unsigned long state = gm_page_state(folio);

		if (gm_page_block_order(state) != order ||
		    folio_pfn(folio) != pfn + nr ||
		    (state & GUEST_MEMFD_PAGE_PINNABLE) ||
		    gm_page_count(state) != count ||
		    folio_test_hwpoison(folio))
			break;
		nr++;
		folio = index + nr < end ? xa_load(pages, index + nr) : NULL;
	} while (folio);
	return nr;
}

/* So many pages that are not in one piece are hidden with one flush. */
#define PAGES_PER_FLUSH 64

/*
 * The last share of pages goes, all with one flush.
 *
 * Return: 0; or -ENOMEM with *@reached the first that was not dropped.
 */
static int drop_last(struct page *const *pages, unsigned int nr_ranges,
		     unsigned int nr, pgoff_t *reached)
{
	unsigned int n, i, done;

	done = direct_map_hide_ranges(pages, nr_ranges, nr);
	for (n = 0; n < done; n++) {
		for (i = 0; i < nr; i++) {
			struct folio *folio = page_folio(pages[n] + i);

			folio_lock(folio);
			gm_put_direct_map_hidden(folio);
			folio_unlock(folio);
			folio_put(folio);
		}
	}
	if (done == nr_ranges)
		return 0;
	*reached = page_folio(pages[done])->index;
	return -ENOMEM;
}

/* Drop a share of a page that others share, or did until just now. */
static int drop_one(struct folio *folio, pgoff_t *reached)
{
	int ret;

	folio_lock(folio);
	ret = gm_put_direct_map(folio);
	folio_unlock(folio);
	if (ret < 0) {
		*reached = folio->index;
		return ret;
	}
	folio_put(folio);
	return 0;
}

/*
 * Drop one share, that of level KERNEL, of each page that is not PINNABLE, and
 * hide those that have no other.
 *
 * Return: 0; or -ENOMEM with *@reached the first that was not dropped.
 */
static int drop_references(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			   pgoff_t *reached)
{
	struct page *batch[PAGES_PER_FLUSH];
	struct folio *folio;
	unsigned int n = 0, nr;
	pgoff_t index;
	int err = 0;

	for (index = start; (folio = next_folio(gm, &index, end)); index++) {
		if (gm_page_state(folio) & GUEST_MEMFD_PAGE_PINNABLE)
			continue;
		nr = run_alike(gm, folio, index, end, 1);
		if (nr == 1) {
			batch[n++] = &folio->page;
			if (n < PAGES_PER_FLUSH)
				continue;
		}
		/* In order: what was dropped is all before what was not. */
		if (n)
			err = drop_last(batch, n, 1, reached);
		n = 0;
		if (!err && nr > 1)
			err = drop_last((struct page *[]){ &folio->page }, 1, nr,
					reached);
		else if (!err && !nr)
			err = drop_one(folio, reached);
		if (err)
			return err;
		if (nr)
			index += nr - 1;
	}
	return n ? drop_last(batch, n, 1, reached) : 0;
}

/*
 * Take level KERNEL's share of each page that is not PINNABLE.
 *
 * Return: 0; -EINTR, -ENOMEM, -EOVERFLOW or -EHWPOISON with *@reached the first
 * that has none.
 */
static int take_references(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			   bool undo, pgoff_t *reached)
{
	struct folio *folio;
	unsigned int i, nr;
	pgoff_t index;
	int err;

	for (index = start; (folio = next_folio(gm, &index, end)); index++) {
		*reached = index;
		if (!undo && fatal_signal_pending(current))
			return -EINTR;
		if (gm_page_state(folio) & GUEST_MEMFD_PAGE_PINNABLE)
			continue;
		/* Undoing does not judge: the page had the share. */
		if (!undo && folio_test_hwpoison(folio))
			return -EHWPOISON;
		nr = run_alike(gm, folio, index, end, 0);
		if (nr > 1) {
			/* All, or a part of a mapping that this splits: or none. */
			err = direct_map_restore(&folio->page, nr);
			if (err)
				return err;
			for (i = 0; i < nr; i++) {
				struct folio *other = page_folio(&folio->page + i);

				folio_lock(other);
				gm_get_direct_map_restored(other);
				folio_unlock(other);
			}
			index += nr - 1;
			continue;
		}
		folio_lock(folio);
		err = gm_get_direct_map(folio);
		folio_unlock(folio);
		if (err)
			return err;
	}
	return 0;
}

/* Let the kernel pin the page, or not any more. */
static void set_pinnable(struct folio *folio, bool pinnable)
{
	unsigned long state = gm_page_state(folio);

	if (pinnable)
		state |= GUEST_MEMFD_PAGE_PINNABLE;
	else
		state &= ~GUEST_MEMFD_PAGE_PINNABLE;
	gm_page_set_state(folio, state);
}

static void make_pinnable(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct folio *folio;
	pgoff_t index;

	for (index = start; (folio = next_folio(gm, &index, end)); index++) {
		folio_lock(folio);
		set_pinnable(folio, true);
		folio_unlock(folio);
	}
}

/* To KERNEL: all of the range, or nothing. */
static int raise(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		 pgoff_t *error_index)
{
	pgoff_t reached = start, ignored;
	int err;

	err = take_references(gm, start, end, false, &reached);
	if (err) {
		*error_index = reached;
		/* As they were restored, so they can be hidden. */
		WARN_ON_ONCE(drop_references(gm, start, reached, &ignored));
		return err;
	}
	/* From here on there may be pins: no way back, and none is needed. */
	make_pinnable(gm, start, end);
	return 0;
}

/*
 * Nobody maps the page any more, and no fault is under way that would: it needs
 * the folio lock.
 */
static void lock_unmapped(struct folio *folio)
{
	folio_lock(folio);
	if (folio_mapped(folio))
		unmap_mapping_folio(folio);
}

/* Freeze the page if only @expected references are there. */
static bool freeze_folio(struct folio *folio, int expected)
{
	int tries;

	for (tries = 0; tries < FREEZE_TRIES; tries++) {
		if (folio_ref_freeze(folio, expected))
			return true;
		cpu_relax();
	}
	return false;
}

/* Return: 0; -EAGAIN when somebody holds the page; -EHWPOISON. */
static int end_pinnable(struct folio *folio)
{
	/* The library's, the page cache's, and one for each share. */
	int expected = 2 + gm_page_count(gm_page_state(folio));

	/* Whoever found the poison has a reference, for good. */
	if (folio_test_hwpoison(folio))
		return -EHWPOISON;
	if (!freeze_folio(folio, expected))
		return -EAGAIN;
	set_pinnable(folio, false);
	folio_ref_unfreeze(folio, expected);
	return 0;
}

/*
 * A page of a file that is in the direct map anyway: the page cache has the only
 * reference.  Nobody takes another by a user mapping: there is none, and none
 * comes.
 */
static int end_plain(struct folio *folio)
{
	int expected = folio_nr_pages(folio);

	if (!freeze_folio(folio, expected)) {
		/* The page may wait for its LRU list, with a reference. */
		lru_add_drain_all();
		if (!freeze_folio(folio, expected))
			return -EAGAIN;
	}
	folio_ref_unfreeze(folio, expected);
	return 0;
}

/*
 * Take [start, end), which is at @old, out of user space, and from GUP's reach.
 * With @best_effort what cannot be taken is left as it is; else it is a failure,
 * and [start, *error_index) is to be given back.
 */
static int lower_run(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		     unsigned int old, bool best_effort, pgoff_t *error_index)
{
	struct folio *folio;
	pgoff_t index;
	int err;

	for (index = start; (folio = next_folio(gm, &index, end)); index++) {
		err = 0;
		lock_unmapped(folio);
		if (!gm_hides(gm))
			err = end_plain(folio);
		else if (old == GUEST_MEMFD_ACCESS_KERNEL)
			err = end_pinnable(folio);
		folio_unlock(folio);
		if (!err && !best_effort && fatal_signal_pending(current)) {
			index++;
			err = -EINTR;
		}
		if (err && !best_effort) {
			*error_index = index;
			return err;
		}
	}
	return 0;
}

/*
 * The next part of [*@start, @end) that is at KERNEL, as the tree has it.
 *
 * Return: False when there is none.
 */
static bool next_kernel_run(struct guest_memfd *gm, pgoff_t *start, pgoff_t end,
			    pgoff_t *run_end)
{
	pgoff_t first, last;

	while (*start < end) {
		unsigned int level;

		level = guest_memfd_access_run(gm, *start, &first, &last);
		*run_end = min(last, end - 1) + 1;
		if (level == GUEST_MEMFD_ACCESS_KERNEL)
			return true;
		*start = *run_end;
	}
	return false;
}

/* Undo lower() of hidden memory: shares were dropped up to @reached. */
static void lower_undo(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		       pgoff_t reached)
{
	pgoff_t run, run_end, ignored;

	/* As they were hidden, so they can be restored. */
	for (run = start; next_kernel_run(gm, &run, reached, &run_end); run = run_end)
		WARN_ON_ONCE(take_references(gm, run, run_end, true, &ignored));
	for (run = start; next_kernel_run(gm, &run, end, &run_end); run = run_end)
		make_pinnable(gm, run, run_end);
}

/* To NONE or USER: all of the range, or nothing. */
static int lower(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		 unsigned int level, pgoff_t *error_index)
{
	pgoff_t index, first, last, run, run_end, reached;
	int err = 0;

	for (index = start; index < end; index = last + 1) {
		unsigned int old;

		old = guest_memfd_access_run(gm, index, &first, &last);
		last = min(last, end - 1);
		/* A plain page at USER is as good as one at KERNEL. */
		if (old <= level || (!gm_hides(gm) && level))
			continue;
		unmap_mapping_pages(gm->inode->i_mapping, index,
				    last - index + 1, false);
		err = lower_run(gm, index, last + 1, old, false, error_index);
		if (!err)
			continue;
		if (gm_hides(gm))
			lower_undo(gm, start, *error_index, start);
		return err;
	}
	if (!gm_hides(gm))
		return 0;

	for (run = start; next_kernel_run(gm, &run, end, &run_end); run = run_end) {
		err = drop_references(gm, run, run_end, &reached);
		if (err) {
			lower_undo(gm, start, end, reached);
			return err;
		}
	}
	return 0;
}

/**
 * guest_memfd_access_change - change the access level of a range
 * @gm: The file's memory.
 * @start: First index of the range, in pages.
 * @end: Index after the range, above @start, not above the file's size.
 * @level: GUEST_MEMFD_ACCESS_*.
 * @ask: May the owner refuse?
 * @error_index: As for guest_memfd_set_access().
 *
 * Context: As guest_memfd_set_access().
 * Return: As guest_memfd_set_access(); or what the owner's veto says.
 */
int guest_memfd_access_change(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			      unsigned int level, bool ask, pgoff_t *error_index)
{
	struct address_space *mapping = gm->inode->i_mapping;
	pgoff_t first, last;
	int err = 0;

	MA_STATE(mas, &gm->levels, start, end - 1);

	/* For an owner whose veto is an error that has an offset. */
	*error_index = start;
	filemap_invalidate_lock(mapping);
	if (ask && gm->ops->may_set_access)
		err = gm->ops->may_set_access(gm, start, end, level);
	if (err)
		goto out;
	if (guest_memfd_access_run(gm, start, &first, &last) == level &&
	    last >= end - 1)
		goto out;

	err = prepare_store(gm, &mas, start, end, level);
	if (err)
		goto out;
	gm_references_drain(gm, start, end);
	if (level != GUEST_MEMFD_ACCESS_KERNEL)
		err = lower(gm, start, end, level, error_index);
	else if (gm_hides(gm))
		err = raise(gm, start, end, error_index);
	if (!err)
		mas_store_prealloc(&mas, level_entry(gm, level));
	else
		mas_destroy(&mas);
out:
	filemap_invalidate_unlock(mapping);
	trace_guest_memfd_set_access(gm->inode->i_ino, start, end - start, level, err);
	return err;
}

/**
 * guest_memfd_set_access - change the access level of a range, as its owner
 * @gm: The file's memory.
 * @start: First index of the range, in pages.
 * @end: Index after the range, above @start, not above the file's size.
 * @level: GUEST_MEMFD_ACCESS_*.
 * @error_index: Where to put the index of the page that -EAGAIN or -EHWPOISON
 *	are about.
 *
 * All of the range changes or nothing, but for user mappings: they may be gone
 * then, and come back by faults.  Contents stay as they are.  So does what the
 * owner maps to its guests; but an owner that follows a user mapping by an MMU
 * notifier is told of its end.  The may_set_access callback is not asked: it is for
 * what user space wants.
 *
 * Context: May sleep; takes the invalidate_lock.
 * Return: 0; -EAGAIN while somebody holds a page; -EHWPOISON for a poisoned page
 * on its way to or from KERNEL; -EINTR after a fatal signal; or -ENOMEM.
 */
int guest_memfd_set_access(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			   unsigned int level, pgoff_t *error_index)
{
	return guest_memfd_access_change(gm, start, end, level, false,
					 error_index);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_set_access, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_access_take_back - hide pages at KERNEL that will leave the file
 * @gm: The memory of a NO_DIRECT_MAP file; the invalidate_lock is held.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * A page that somebody holds stays PINNABLE, and keeps the level's share: see
 * guest_memfd_access_end().
 */
void guest_memfd_access_take_back(struct guest_memfd *gm, pgoff_t start,
				  pgoff_t end)
{
	pgoff_t run, run_end, reached;

	for (run = start; next_kernel_run(gm, &run, end, &run_end); run = run_end) {
		unmap_mapping_pages(gm->inode->i_mapping, run, run_end - run,
				    false);
		lower_run(gm, run, run_end, GUEST_MEMFD_ACCESS_KERNEL, true,
			  &reached);
		/* One that cannot be hidden now waits like one that is held. */
		if (drop_references(gm, run, run_end, &reached))
			make_pinnable(gm, reached, run_end);
	}
}

/**
 * guest_memfd_access_end - end the level KERNEL of a page that left its file
 * @folio: A folio that is in no file any more, and PINNABLE.
 *
 * Context: May sleep; takes the folio lock.
 * Return: 1 when the page is hidden now; 0 when somebody else's share keeps it,
 * whose last unshare will give it back; -EAGAIN when it is to be tried again.
 */
int guest_memfd_access_end(struct folio *folio)
{
	int expected, ret = -EAGAIN;

	folio_lock(folio);
	/* The library's, and one for each share. */
	expected = 1 + gm_page_count(gm_page_state(folio));
	if (folio_ref_freeze(folio, expected)) {
		set_pinnable(folio, false);
		folio_ref_unfreeze(folio, expected);
		ret = gm_put_direct_map(folio);
		if (ret < 0)
			set_pinnable(folio, true);
	}
	folio_unlock(folio);
	if (ret < 0)
		return -EAGAIN;
	folio_put(folio);
	return ret;
}
