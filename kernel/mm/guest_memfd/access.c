// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access levels: what the host may do with a range of a file.
 *
 * The library stores levels by ranges, whether the ranges are populated or not.
 * A page of a NO_DIRECT_MAP file at level KERNEL carries that level's
 * direct-map reference (GM_PAGE_LEVEL) and is PINNABLE.  Both are set before
 * the page is inserted into the file.
 *
 * gm->change_lock serialises changes of levels and hole punches, so a page that
 * a change finds stays in the file.  A change holds the invalidate_lock
 * exclusively only when it begins and when it commits.  Faults, population and
 * direct-map gets hold the lock shared, so each of them sees the range before
 * or after one of these two points, and none of them waits while the change
 * processes the pages of the range.
 *
 * Between the two points the range is in transition and has its old level.  In
 * a range that is being raised to KERNEL or lowered from it, a page that the
 * change has processed may still carry the level's reference, but is not
 * PINNABLE, so GUP refuses it.  A page that is populated during the transition
 * carries the reference and is not PINNABLE either.  To lower a range from
 * KERNEL, the library unmaps and freezes every page and clears PINNABLE; drops
 * the references, which hides many pages with one flush; and commits.  To raise
 * a range to KERNEL, it takes the references, commits, and sets PINNABLE.  The
 * state of each page records which of these steps were done, so undo needs no
 * other record: it makes each page that carries the reference PINNABLE again,
 * and it restores or hides as one piece what was hidden or restored as one
 * piece, even if a page of it was poisoned meanwhile.
 */

#include <linux/delay.h>
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
#include "block.h"
#include "direct_map.h"
#include "donate.h"
#include "file.h"
#include "limit.h"
#include "page_state.h"
#include "reference.h"

/* Number of attempts to freeze a page before the first sleep. */
#define FREEZE_TRIES 64

/*
 * A change waits for pages that have other references.  It sleeps up to
 * PAGE_SLEEPS times for the first such page, which is long enough for a
 * short-lived reference to be dropped and reports a pin within 100 ms.
 * MAX_SLEEPS limits the number of sleeps of the whole change, because a task
 * might take short-lived references to one page after the other.
 */
#define PAGE_SLEEPS 48
#define MAX_SLEEPS 4096
#define MIN_SLEEP_US 500
#define MAX_SLEEP_US 1000

/*
 * Number of attempts, one per tick, of an operation that must not fail but
 * needs memory.
 */
#define UNDO_TRIES HZ

/* Number of folios that one page cache lookup returns. */
#define FOLIOS_PER_LOOK 64

/*
 * Number of pages of the file that one step of a change unmaps from user space
 * and lowers, while user faults on them wait.
 */
#define PAGES_PER_UNMAP (1UL << GM_BLOCK_MAX_ORDER)

/*
 * Limits of what one flush hides: the number of ranges, each of which may be a
 * block, and the number of folios, which stay locked until after the flush.
 */
#define RANGES_PER_FLUSH 64
#define FOLIOS_PER_FLUSH (8U << GM_BLOCK_MAX_ORDER)

/*
 * The same limit for ranges within one block, some of whose pages stay in the
 * direct map.
 */
#define PARTS_PER_FLUSH 16

static unsigned int initial_level(const struct guest_memfd *gm)
{
	if (!(gm->flags & GM_FILE_INIT_ACCESS))
		return GUEST_MEMFD_ACCESS_NONE;
	return gm_hides(gm) ? GUEST_MEMFD_ACCESS_USER : GUEST_MEMFD_ACCESS_KERNEL;
}

/*
 * The tree has no entry for a range at the file's initial level, so such a
 * range takes no memory.
 */
static void *level_entry(const struct guest_memfd *gm, unsigned int level)
{
	return level == initial_level(gm) ? NULL : xa_mk_value(level);
}

static unsigned int entry_level(const struct guest_memfd *gm, void *entry)
{
	return entry ? xa_to_value(entry) : initial_level(gm);
}

/**
 * guest_memfd_access_init - set the initial level of a new file
 * @gm: The memory of a file.
 */
void guest_memfd_access_init(struct guest_memfd *gm)
{
	mutex_init(&gm->change_lock);
	gm->change_start = 0;
	gm->change_end = 0;
	init_rwsem(&gm->unmap_lock);
	gm->unmap_start = 0;
	gm->unmap_end = 0;
	mt_init_flags(&gm->levels, MT_FLAGS_USE_RCU | MT_FLAGS_LOCK_EXTERN);
	mt_set_external_lock(&gm->levels,
			     &gm->inode->i_mapping->invalidate_lock);
}

/**
 * guest_memfd_access_destroy - free the levels of a file that is evicted
 * @gm: The file's memory; the caller holds the invalidate_lock.
 */
void guest_memfd_access_destroy(struct guest_memfd *gm)
{
	__mt_destroy(&gm->levels);
}

/**
 * guest_memfd_access_level - get the access level of a page
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 *
 * Context: Any.  The result stays valid while the invalidate_lock is held.
 * Return: GUEST_MEMFD_ACCESS_*.
 */
unsigned int guest_memfd_access_level(struct guest_memfd *gm, pgoff_t index)
{
	return entry_level(gm, mtree_load(&gm->levels, index));
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_access_level, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_access_run - get the level of a page and the extent of that level
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 * @first: Receives the first index around @index that has the same level.
 * @last: Receives the last such index; it may be beyond the end of the file.
 *
 * Context: Any.  The result stays valid while the invalidate_lock is held.
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
 * Publish the range of a change, or withdraw it with @end = 0.  User faults on
 * a plain file read it without the invalidate_lock, so the change publishes the
 * range before it searches for pages, and withdraws it after it has stored the
 * new level.
 */
static void set_change(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		       bool raises)
{
	gm->change_raises = raises;
	/* Pairs with guest_memfd_access_user_allowed(). */
	smp_store_release(&gm->change_start, start);
	/* Pairs with guest_memfd_access_user_allowed(). */
	smp_store_release(&gm->change_end, end);
	/*
	 * Publish the range before the search for pages.  Pairs with the
	 * barrier in guest_memfd_access_user_allowed().
	 */
	smp_mb();
}

/**
 * guest_memfd_access_user_allowed - may a user fault map a plain file's page?
 * @gm: The memory of a plain file.
 * @index: Index in the file, in pages.
 *
 * A fault calls this without the invalidate_lock.  If the fault holds the folio
 * lock of the page and the result is true, a later change to NONE waits for the
 * folio lock and then unmaps the page.
 *
 * Context: Any.
 * Return: False at level NONE, and while the range is being lowered to NONE;
 * the fault must then read the level under the invalidate_lock.
 */
bool guest_memfd_access_user_allowed(struct guest_memfd *gm, pgoff_t index)
{
	pgoff_t start, end;

	/*
	 * Insert the page into the file before reading the range.  Pairs with
	 * the barrier in set_change().
	 */
	smp_mb();
	/*
	 * Two changes may have stored the two ends of the range that is read
	 * here.  Then the first change is complete, and its level is read
	 * below; and the second one will find the page.
	 */
	end = smp_load_acquire(&gm->change_end);
	/* Pairs with set_change(). */
	start = smp_load_acquire(&gm->change_start);
	if (index >= start && index < end)
		return false;
	return guest_memfd_access_level(gm, index) != GUEST_MEMFD_ACCESS_NONE;
}

/* Make user faults on these pages wait until end_unmap(). */
static void begin_unmap(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	down_write(&gm->unmap_lock);
	WRITE_ONCE(gm->unmap_start, start);
	WRITE_ONCE(gm->unmap_end, end);
}

static void end_unmap(struct guest_memfd *gm)
{
	WRITE_ONCE(gm->unmap_end, 0);
	up_write(&gm->unmap_lock);
}

/**
 * guest_memfd_access_wait_unmap - wait while a change of level unmaps a page
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 *
 * A user fault calls this before it takes any lock of the file.  If a fault
 * maps a page again before a change has lowered it, the change must unmap that
 * page alone, with a TLB flush of its own.  Faults therefore wait until the
 * change has lowered the pages around.  The change does not sleep for
 * references during that time.  A fault that does not see the change maps the
 * page, and the change unmaps it.
 *
 * Context: May sleep, for the time that the change needs to lower
 * PAGES_PER_UNMAP pages.
 */
void guest_memfd_access_wait_unmap(struct guest_memfd *gm, pgoff_t index)
{
	if (index < READ_ONCE(gm->unmap_start) ||
	    index >= READ_ONCE(gm->unmap_end))
		return;
	down_read(&gm->unmap_lock);
	up_read(&gm->unmap_lock);
}

/*
 * Prepare to store @level for [start, end), merged with neighbours that have
 * the same level.
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

/**
 * guest_memfd_access_carries - must a new page carry KERNEL's reference?
 * @gm: The memory of a NO_DIRECT_MAP file.
 * @index: Index in the file, in pages, of a page that is populated now.
 * @first: Receives the first index around @index for which the result is the
 *	same.
 * @last: Receives the last such index; it may be beyond the end of the file.
 * @pinnable: Receives whether the page must also be PINNABLE.
 *
 * The run [@first, @last] ends where the range of a change in progress begins
 * or ends, so a block that is restored as one piece never has pages on both
 * sides of that boundary.
 *
 * Context: The caller holds the invalidate_lock, shared or exclusively.
 * Return: True if the page must carry the reference.
 */
bool guest_memfd_access_carries(struct guest_memfd *gm, pgoff_t index,
				pgoff_t *first, pgoff_t *last, bool *pinnable)
{
	bool kernel = guest_memfd_access_run(gm, index, first, last) ==
		      GUEST_MEMFD_ACCESS_KERNEL;

	lockdep_assert_held(&gm->inode->i_mapping->invalidate_lock);
	*pinnable = kernel;
	if (!gm->change_end)
		return kernel;
	if (index < gm->change_start) {
		*last = min(*last, gm->change_start - 1);
		return kernel;
	}
	if (index >= gm->change_end) {
		*first = max(*first, gm->change_end);
		return kernel;
	}
	*pinnable = false;
	*first = max(*first, gm->change_start);
	*last = min(*last, gm->change_end - 1);
	return gm->change_raises || kernel;
}

/*
 * Find the first folio in [*index, end).  gm->change_lock keeps it in the file.
 */
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
 * Find the next folios in [*index, end), and set *index to the index after
 * them.
 */
static unsigned int next_folios(struct guest_memfd *gm, pgoff_t *index,
				pgoff_t end, struct folio **folios)
{
	XA_STATE(xas, &gm->inode->i_mapping->i_pages, *index);
	struct folio *folio;
	unsigned int nr = 0;

	cond_resched();
	if (*index >= end)
		return 0;
	guard(rcu)();
	xas_for_each(&xas, folio, end - 1) {
		if (xas_retry(&xas, folio))
			continue;
		folios[nr++] = folio;
		*index = folio_next_index(folio);
		if (nr == FOLIOS_PER_LOOK)
			break;
	}
	return nr;
}

static bool is_poisoned(const struct folio *folio)
{
	return folio_test_hwpoison(folio) || folio_contain_hwpoisoned_page((struct folio *)folio);
}

/*
 * Return: The number, in the folio, of its first poisoned page.  The folio has
 * one.
 */
static unsigned int first_poisoned(struct folio *folio)
{
	unsigned int i, last = folio_nr_pages(folio) - 1;

	for (i = 0; i < last && !PageHWPoison(folio_page(folio, i)); i++)
		;
	return i;
}

/*
 * Find the next part [*start, *run_end) of [*start, @end) that has one level,
 * which is @least or above.
 *
 * Return: The level, or -1 if there is no such part.
 */
static int next_run(struct guest_memfd *gm, pgoff_t *start, pgoff_t end,
		    pgoff_t *run_end, unsigned int least)
{
	pgoff_t first, last;

	while (*start < end) {
		int level = guest_memfd_access_run(gm, *start, &first, &last);

		*run_end = min(last, end - 1) + 1;
		if (level >= (int)least)
			return level;
		*start = *run_end;
	}
	return -1;
}

/* As next_run() for level KERNEL.  Return: False if there is none. */
static bool next_kernel_run(struct guest_memfd *gm, pgoff_t *start, pgoff_t end,
			    pgoff_t *run_end)
{
	return next_run(gm, start, end, run_end, GUEST_MEMFD_ACCESS_KERNEL) >= 0;
}

/*
 * Lock @folio.  If it is a single page, also lock the single pages that follow
 * it in the same 2 MiB of the file and of memory, up to @end, as long as they
 * have the same state: @level is their GM_PAGE_LEVEL and PINNABLE bits, @count
 * is their number of direct-map references.
 *
 * A poisoned page ends the run only with @stop_at_poison, because the page
 * tables, not poison, determine whether pages can be hidden or restored as one
 * piece.
 *
 * Only the holder of gm->change_lock waits for a folio lock of the file while
 * it holds others.  It takes them in the order of the file, so it cannot
 * deadlock.
 *
 * Return: The number of pages in the folios that were locked.
 */
static unsigned int lock_run(struct folio *folio, pgoff_t end,
			     unsigned long level, unsigned long count,
			     bool stop_at_poison)
{
	const unsigned long mask = GM_PAGE_LEVEL | GUEST_MEMFD_PAGE_PINNABLE;
	const bool large = folio_test_large(folio);
	struct address_space *mapping = folio->mapping;
	struct page *page = &folio->page;
	pgoff_t index = folio->index;
	unsigned int nr = 0;

	end = min(end, round_down(index, GM_BLOCK_PAGES) + GM_BLOCK_PAGES);
	do {
		unsigned long state;

		folio_lock(folio);
		state = gm_folio_state(folio);
		if (folio_test_large(folio) != large || state & GM_PAGE_OWN_WORDS ||
		    (state & mask) != level || gm_page_count(state) != count ||
		    (stop_at_poison && is_poisoned(folio))) {
			folio_unlock(folio);
			break;
		}
		if (large)
			return GM_BLOCK_PAGES;
		if (index + ++nr >= end)
			break;
		/*
		 * A page that is not in the file may belong to another owner.
		 */
		folio = page_folio(page + nr);
	} while (READ_ONCE(folio->mapping) == mapping &&
		 READ_ONCE(folio->index) == index + nr);
	return nr;
}

/*
 * A change that has taken or dropped the references of less than half of its
 * range stops at a fatal signal and undoes what it did.  After that it ignores
 * the signal and completes.  In both cases the caller returns soon.
 */
static pgoff_t middle(pgoff_t start, pgoff_t end)
{
	return start + (end - start) / 2;
}

/* Ranges whose folios are all locked. */
struct hide_batch {
	struct gm_range ranges[RANGES_PER_FLUSH];
	unsigned int nr_ranges, nr_folios;
};

/*
 * Return: The number of folios in a range.  A block is one folio, and no range
 * contains a part of one.
 */
static unsigned int nr_folios(struct page *first, unsigned int nr)
{
	return folio_test_large(page_folio(first)) ? 1 : nr;
}

/*
 * Hide the ranges with one flush, drop level KERNEL's reference of each folio
 * that is hidden, and unlock all folios.
 *
 * Return: 0, or -ENOMEM if some ranges were not hidden; they are unchanged.
 */
static int hide_batch(struct hide_batch *batch)
{
	unsigned int n, i, done, nr_ranges = batch->nr_ranges;

	if (!nr_ranges)
		return 0;
	batch->nr_ranges = 0;
	batch->nr_folios = 0;
	done = direct_map_hide_ranges(batch->ranges, nr_ranges);
	for (n = 0; n < nr_ranges; n++) {
		struct page *first = batch->ranges[n].first;
		unsigned int nr = nr_folios(first, batch->ranges[n].nr);

		for (i = 0; i < nr; i++) {
			struct folio *folio = page_folio(first + i);

			if (n < done)
				gm_lower_folio(folio);
			folio_unlock(folio);
			if (n < done)
				folio_put(folio);
		}
	}
	return done < nr_ranges ? -ENOMEM : 0;
}

/* Hide some ranges of a folio with one flush.  Return: 0, or -ENOMEM. */
static int hide_parts(const struct gm_range *parts, unsigned int nr)
{
	return direct_map_hide_ranges(parts, nr) == nr ? 0 : -ENOMEM;
}

/*
 * Hide or restore the pages of a locked folio that have no own word.  If other
 * pages have one, the block's direct map entry is split already, and this
 * cannot fail.
 *
 * Return: 0, or -ENOMEM if nothing was changed.
 */
static int change_rest(struct folio *folio, bool hide)
{
	unsigned int start, end, n = 0, nr = folio_nr_pages(folio);
	struct gm_range parts[PARTS_PER_FLUSH];
	unsigned long state;
	bool found = true;
	int err = 0;

	for (start = 0; found && !err; start = end + 1) {
		end = start;
		found = gm_folio_next_word(folio, &end, &state);
		if (!found)
			end = nr;
		if (end == start)
			continue;
		if (!hide) {
			err = direct_map_restore(folio_page(folio, start), end - start);
			continue;
		}
		parts[n++] = (struct gm_range){ folio_page(folio, start), end - start };
		if (n == PARTS_PER_FLUSH) {
			err = hide_parts(parts, n);
			n = 0;
		}
	}
	if (!err && n)
		err = hide_parts(parts, n);
	WARN_ON_ONCE(err && gm_folio_has_own_words(folio));
	return err;
}

/*
 * Drop level KERNEL's reference of a locked folio, which may have other
 * direct-map references.
 */
static int drop_locked(struct folio *folio)
{
	unsigned long state = gm_folio_state(folio);
	int ret;

	if (!folio_test_large(folio) && gm_page_count(state) > 1) {
		gm_folio_change_bits(folio, 0, GM_PAGE_LEVEL);
		ret = gm_put_direct_map(&folio->page);
		WARN_ON_ONCE(ret);
		return 0;
	}
	ret = change_rest(folio, true);
	if (!ret)
		gm_lower_folio(folio);
	return ret;
}

static int drop_one(struct folio *folio)
{
	int err;

	folio_lock(folio);
	err = drop_locked(folio);
	folio_unlock(folio);
	if (!err)
		folio_put(folio);
	return err;
}

/*
 * Drop level KERNEL's reference of each page that carries it and is not
 * PINNABLE, and hide the pages that have no other direct-map reference.  Before
 * @kill_before the function stops at a fatal signal; from there on, completing
 * the change takes less time than undoing it.
 *
 * Return: 0; or -ENOMEM or -EINTR if some pages of the range still carry the
 * reference.
 */
static int drop_references(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			   pgoff_t kill_before)
{
	struct hide_batch batch = {};
	struct folio *folio;
	pgoff_t index, next;
	unsigned int nr;
	int err = 0;

	for (index = start; (folio = next_folio(gm, &index, end)); index = next) {
		unsigned long state = gm_folio_state(folio);

		next = folio_next_index(folio);

		if (!(state & GM_PAGE_LEVEL) ||
		    (state & GUEST_MEMFD_PAGE_PINNABLE))
			continue;
		if (index < kill_before && fatal_signal_pending(current)) {
			err = -EINTR;
			break;
		}
		nr = lock_run(folio, end, GM_PAGE_LEVEL, 1, false);
		if (!nr) {
			err = drop_one(folio);
			if (err)
				break;
			continue;
		}
		next = index + nr;
		batch.ranges[batch.nr_ranges++] = (struct gm_range){ &folio->page, nr };
		batch.nr_folios += nr_folios(&folio->page, nr);
		if (batch.nr_ranges < RANGES_PER_FLUSH &&
		    batch.nr_folios < FOLIOS_PER_FLUSH)
			continue;
		err = hide_batch(&batch);
		if (err)
			break;
	}
	return hide_batch(&batch) ?: err;
}

/*
 * Take level KERNEL's reference of a folio that may have other direct-map
 * references.
 */
static int take_one(struct folio *folio, bool undo)
{
	unsigned long state;
	int err = 0;

	folio_lock(folio);
	state = gm_folio_state(folio);
	if (!undo && is_poisoned(folio)) {
		err = -EHWPOISON;
	} else if (!folio_test_large(folio) && gm_page_count(state)) {
		err = gm_get_direct_map(&folio->page);
		if (!err)
			gm_folio_change_bits(folio, GM_PAGE_LEVEL, 0);
	} else {
		err = change_rest(folio, false);
		if (!err)
			gm_raise_folio(folio);
	}
	folio_unlock(folio);
	return err;
}

/*
 * Take level KERNEL's reference of each page that does not carry it.  With
 * @undo the function does not stop at a poisoned page, because the page carried
 * the reference before.  @kill_before is as for drop_references().
 *
 * Return: 0; or -EINTR, -ENOMEM, -EOVERFLOW or -EHWPOISON with *@error_index
 * set to the first page that does not carry the reference.
 */
static int take_references(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			   pgoff_t kill_before, bool undo, pgoff_t *error_index)
{
	struct folio *folio;
	pgoff_t index, next;
	unsigned int i, nr;
	int err = 0;

	for (index = start; (folio = next_folio(gm, &index, end)); index = next) {
		struct page *page = &folio->page;

		next = folio_next_index(folio);
		if (gm_folio_state(folio) & GM_PAGE_LEVEL)
			continue;
		*error_index = index;
		if (index < kill_before && fatal_signal_pending(current))
			return -EINTR;
		nr = lock_run(folio, end, 0, 0, !undo);
		if (!nr) {
			err = take_one(folio, undo);
			if (err == -EHWPOISON)
				*error_index += first_poisoned(folio);
			if (err)
				return err;
			continue;
		}
		/*
		 * Restore the whole run or none of it.  If the run is part of a
		 * hidden mapping, this splits the mapping.
		 */
		err = direct_map_restore(page, nr);
		if (folio_test_large(folio)) {
			if (!err)
				gm_raise_folio(folio);
			folio_unlock(folio);
		} else {
			for (i = 0; i < nr; i++) {
				if (!err)
					gm_raise_folio(page_folio(page + i));
				folio_unlock(page_folio(page + i));
			}
		}
		if (err)
			return err;
		next = index + nr;
	}
	return 0;
}

/*
 * Do everything in a change to KERNEL that can fail.  Restore each run of one
 * level by itself, because undo() hides the runs one by one.
 *
 * Return: As take_references().
 */
static int raise_range(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		       pgoff_t *error_index)
{
	pgoff_t kill_before = middle(start, end), run, run_end;
	int old, err;

	for (run = start;
	     (old = next_run(gm, &run, end, &run_end, 0)) >= 0;
	     run = run_end) {
		if (old == GUEST_MEMFD_ACCESS_KERNEL)
			continue;
		err = take_references(gm, run, run_end, kill_before, false,
				      error_index);
		if (err)
			return err;
	}
	return 0;
}

/*
 * Set PINNABLE for all pages of the range that carry level KERNEL's reference.
 */
static void make_pinnable(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct folio *folios[FOLIOS_PER_LOOK];
	pgoff_t index = start;
	unsigned int i, nr;

	while ((nr = next_folios(gm, &index, end, folios))) {
		for (i = 0; i < nr; i++) {
			unsigned long state = gm_folio_state(folios[i]);

			if (!(state & GM_PAGE_LEVEL) ||
			    (state & GUEST_MEMFD_PAGE_PINNABLE))
				continue;
			folio_lock(folios[i]);
			gm_folio_change_bits(folios[i], GUEST_MEMFD_PAGE_PINNABLE, 0);
			folio_unlock(folios[i]);
		}
	}
}

/*
 * Lock the folio, and unmap it from user space.  A fault cannot map it again,
 * because it needs the folio lock.
 */
static void lock_unmapped(struct folio *folio)
{
	folio_lock(folio);
	if (folio_mapped(folio))
		gm_unmap_folio(folio);
}

/* Freeze the folio if it has only @expected references. */
static bool freeze_folio(struct folio *folio, int expected, unsigned int tries)
{
	while (tries--) {
		if (folio_ref_freeze(folio, expected))
			return true;
		cpu_relax();
	}
	return false;
}

/* Return: 0; -EAGAIN if the folio has other references; or -EHWPOISON. */
static int end_pinnable(struct folio *folio, unsigned int tries)
{
	/*
	 * References of the page cache and of the library, and those that
	 * direct-map references and donations hold.
	 */
	int expected = folio_nr_pages(folio) + 1 + gm_folio_references(folio);

	if (!(gm_folio_state(folio) & GUEST_MEMFD_PAGE_PINNABLE))
		return 0;
	/* memory_failure() keeps a reference to a page that it has poisoned. */
	if (is_poisoned(folio))
		return -EHWPOISON;
	/*
	 * A concurrent lookup spins while the folio is frozen, even if it runs
	 * at a higher priority, so disable preemption.
	 */
	guard(preempt)();
	if (!freeze_folio(folio, expected, tries))
		return -EAGAIN;
	gm_folio_change_bits(folio, 0, GUEST_MEMFD_PAGE_PINNABLE);
	folio_ref_unfreeze(folio, expected);
	return 0;
}

/*
 * A folio of a plain file must have only the page cache's references.  It stays
 * in the direct map.
 */
static int end_plain(struct folio *folio, unsigned int tries)
{
	int expected = folio_nr_pages(folio);

	guard(preempt)();
	if (!freeze_folio(folio, expected, tries))
		return -EAGAIN;
	folio_ref_unfreeze(folio, expected);
	return 0;
}

/* Unmap a folio from user space and clear PINNABLE, so that GUP refuses it. */
static int lower_folio(struct guest_memfd *gm, struct folio *folio,
		       unsigned int tries)
{
	int err;

	/*
	 * This change, or population during it, has cleared PINNABLE already.
	 */
	if (gm_hides(gm) &&
	    !(gm_folio_state(folio) & GUEST_MEMFD_PAGE_PINNABLE))
		return 0;
	lock_unmapped(folio);
	err = gm_hides(gm) ? end_pinnable(folio, tries) : end_plain(folio, tries);
	folio_unlock(folio);
	return err;
}

/*
 * Lower the pages of [*index, end) that have no other references, while user
 * faults on them wait.
 *
 * Return: 0; -EAGAIN with *@index set to the first page that was not lowered;
 * or -EHWPOISON with *@index set to the poisoned page.
 */
static int lower_pages(struct guest_memfd *gm, pgoff_t *index, pgoff_t end,
		       bool unmap)
{
	struct folio *folios[FOLIOS_PER_LOOK];
	pgoff_t next = *index;
	unsigned int i, nr;
	int err, ret = 0;

	begin_unmap(gm, next, end);
	if (unmap)
		unmap_mapping_pages(gm->inode->i_mapping, next, end - next,
				    false);
	while (ret != -EHWPOISON && (nr = next_folios(gm, &next, end, folios))) {
		for (i = 0; i < nr; i++) {
			/*
			 * The change will wait for the first folio that has
			 * other references, so do not spin for the others.
			 */
			err = lower_folio(gm, folios[i], ret ? 1 : FREEZE_TRIES);
			if (!err || (ret && err == -EAGAIN))
				continue;
			*index = folios[i]->index;
			ret = err;
			if (err == -EHWPOISON) {
				*index += first_poisoned(folios[i]);
				break;
			}
		}
	}
	end_unmap(gm);
	return ret;
}

/*
 * As lower_pages(), but wait while pages have other references.  vCPUs that
 * fault, KVM's own accesses and I/O in progress hold such references for a
 * short time.  The holder of a reference may be preempted; or it is a GUP whose
 * fault on its next page waits in guest_memfd_access_wait_unmap().  *@sleeps is
 * 0 for a plain file, because the caller may hold the invalidate_lock.
 */
static int lower_pages_wait(struct guest_memfd *gm, pgoff_t *index, pgoff_t end,
			    unsigned int *sleeps)
{
	unsigned int tries = 0;
	int err = lower_pages(gm, index, end, true);

	while (err == -EAGAIN && *sleeps && tries++ < PAGE_SLEEPS) {
		pgoff_t first = *index;

		if (fatal_signal_pending(current))
			return -EINTR;
		--*sleeps;
		usleep_range(MIN_SLEEP_US, MAX_SLEEP_US);
		err = lower_pages(gm, index, end, false);
		if (*index != first)
			tries = 0;
	}
	return err;
}

/*
 * Unmap [start, end), which is at level @old, from user space.  If @old is
 * KERNEL, also clear PINNABLE.  *@sleeps is the number of times that the
 * function may sleep to wait for short-lived references.  With @only_unmap the
 * function ignores other references: the caller will call it again.
 *
 * Return: 0; or -EAGAIN, -EHWPOISON or -EINTR with *@error_index set.
 */
static int lower_run(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		     int old, unsigned int *sleeps, bool only_unmap,
		     pgoff_t *error_index)
{
	pgoff_t part, index;
	int err;

	for (; start < end; start = part) {
		/*
		 * Each step covers whole blocks, and the hole in the file
		 * before the first of them.
		 */
		part = start;
		if (!xa_find(&gm->inode->i_mapping->i_pages, &part, end - 1, XA_PRESENT))
			part = end - 1;
		part = min(end, round_down(part, PAGES_PER_UNMAP) + PAGES_PER_UNMAP);
		index = start;
		if (gm_hides(gm) && old != GUEST_MEMFD_ACCESS_KERNEL) {
			/*
			 * A hidden page below KERNEL only needs to be unmapped.
			 */
			unmap_mapping_pages(gm->inode->i_mapping, start,
					    part - start, false);
			err = 0;
		} else {
			err = lower_pages_wait(gm, &index, part, sleeps);
		}
		if (err == -EAGAIN && only_unmap)
			err = 0;
		if (!err && fatal_signal_pending(current))
			err = -EINTR;
		if (err) {
			*error_index = index;
			return err;
		}
	}
	return 0;
}

/*
 * Do everything in a change to a lower level that can fail.  The function does
 * not need the invalidate_lock.  @sleeps and @only_unmap are as for
 * lower_run().
 *
 * Return: 0; or an error, after which the caller must call undo().
 */
static int lower(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		 unsigned int level, unsigned int *sleeps, bool only_unmap,
		 pgoff_t *error_index)
{
	pgoff_t run, run_end;
	int old, err;

	/*
	 * A page of a plain file at USER needs no change, because it can be
	 * used like one at KERNEL.
	 */
	if (!gm_hides(gm) && level)
		return 0;
	for (run = start;
	     (old = next_run(gm, &run, end, &run_end, level + 1)) >= 0;
	     run = run_end) {
		err = lower_run(gm, run, run_end, old, sleeps, only_unmap,
				error_index);
		if (err)
			return err;
	}
	if (!gm_hides(gm))
		return 0;
	for (run = start; next_kernel_run(gm, &run, end, &run_end); run = run_end) {
		err = drop_references(gm, run, run_end, middle(start, end));
		if (err)
			return err;
	}
	return 0;
}

/*
 * As drop_references(), but when the change cannot be undone any more: the
 * range is below KERNEL.  What was restored as one piece is hidden as one
 * piece, so page tables are allocated only where the direct map was merged
 * meanwhile.  Retry if such an allocation fails.  If it keeps failing, the page
 * stays in the direct map, but GUP refuses it.
 */
static void drop_all_references(struct guest_memfd *gm, pgoff_t start,
				pgoff_t end)
{
	unsigned int tries = UNDO_TRIES;
	int err;

	while ((err = drop_references(gm, start, end, 0)) && --tries)
		schedule_timeout_uninterruptible(1);
	WARN_ON_ONCE(err);
}

/*
 * As take_references(), but when the change cannot be undone any more: the
 * range is at KERNEL.  A page that cannot be restored does not become PINNABLE,
 * so GUP refuses it.
 */
static void take_all_references(struct guest_memfd *gm, pgoff_t start,
				pgoff_t end)
{
	unsigned int tries = UNDO_TRIES;
	pgoff_t ignored;
	int err;

	while ((err = take_references(gm, start, end, 0, true, &ignored)) && --tries)
		schedule_timeout_uninterruptible(1);
	WARN_ON_ONCE(err);
}

/*
 * Undo what a failed change to @level did to the pages of a hidden file.  The
 * range has its old levels and is not in transition any more.
 */
static void undo(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		 unsigned int level)
{
	pgoff_t run, run_end;
	int old;

	for (run = start;
	     (old = next_run(gm, &run, end, &run_end, 0)) >= 0;
	     run = run_end) {
		if (old == GUEST_MEMFD_ACCESS_KERNEL) {
			take_all_references(gm, run, run_end);
			make_pinnable(gm, run, run_end);
		} else if (level == GUEST_MEMFD_ACCESS_KERNEL) {
			drop_all_references(gm, run, run_end);
		}
	}
}

/*
 * The range is at @level now, which is below KERNEL.  End what faults and
 * population did while the range had its old level.
 *
 * A user fault that read the old level locked the folio before it released the
 * invalidate_lock, and unlocks it when the page is mapped: wait for each such
 * fault, then unmap all of the range.  folio_mapped() cannot tell which pages
 * to unmap.  A concurrent MADV_DONTNEED may have cleared the entry of such a
 * fault and removed the folio's mapcount, but not flushed the TLBs yet, so
 * another thread of the process would go on reading the page.
 * unmap_mapping_pages() sees that the mm has a flush pending, and flushes
 * itself.  munmap() flushes before it removes a mapping of hidden memory from
 * the file, where unmap_mapping_pages() would no longer find it (tlb_free_vmas()).
 */
static void finish_lower(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			 unsigned int level)
{
	struct folio *folios[FOLIOS_PER_LOOK];
	bool populated = false;
	pgoff_t index = start;
	unsigned int i, nr;

	while ((nr = next_folios(gm, &index, end, folios))) {
		for (i = 0; i < nr; i++) {
			if (gm_folio_state(folios[i]) & GM_PAGE_LEVEL)
				populated = true;
			if (level == GUEST_MEMFD_ACCESS_NONE)
				folio_wait_locked(folios[i]);
		}
	}
	if (level == GUEST_MEMFD_ACCESS_NONE) {
		/* Pairs with folio_unlock(), before which the fault sets its entry. */
		smp_rmb();
		unmap_mapping_pages(gm->inode->i_mapping, start, end - start,
				    false);
	}
	/*
	 * The pages were restored one by one, or as blocks that the range
	 * contains, so to hide them splits nothing.
	 */
	if (populated)
		drop_all_references(gm, start, end);
}

/*
 * Must a change to @level publish its range, for population or for faults that
 * take no lock?
 */
static bool needs_transition(struct guest_memfd *gm, unsigned int level)
{
	/* Population must not insert a block across the ends of the range. */
	return gm_hides(gm) || level == GUEST_MEMFD_ACCESS_NONE;
}

/*
 * Begin a change.  The caller holds the invalidate_lock exclusively.
 *
 * Return: 1 if the range has the level already; 0; or an error.
 */
static int begin_change(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			unsigned int level, bool ask, const struct gm_request *request)
{
	pgoff_t first, last;
	int err;

	if (ask && gm->ops->may_set_access) {
		err = gm->ops->may_set_access(gm, start, end, level);
		if (err)
			return err;
	}
	if (request) {
		err = gm_check_request(gm, start, request);
		if (err)
			return err;
	} else if (guest_memfd_access_run(gm, start, &first, &last) == level && last >= end - 1) {
		return 1;
	} else if (level != GUEST_MEMFD_ACCESS_NONE &&
		   gm_range_has_donated(gm, start, end, false)) {
		/*
		 * Only the guest can make its page accessible to the host, and
		 * no page is donated while its range is in transition.
		 */
		return -EPERM;
	}
	gm_references_drain(gm, start, end);
	if (needs_transition(gm, level))
		set_change(gm, start, end, level == GUEST_MEMFD_ACCESS_KERNEL);
	return 0;
}

/**
 * guest_memfd_access_split - split the block around an index
 * @gm: The memory of a NO_DIRECT_MAP file; the caller holds its change_lock.
 * @index: Index in the file, in pages.
 * @sleeps: How often the function may sleep to wait for short-lived references
 *	to the block.  The function subtracts the number of sleeps.
 *
 * User faults on the block wait during each attempt, because they would take
 * references to it.
 *
 * Context: May sleep and allocate.
 * Return: 0 if no block has pages on both sides of the index now; -ENOMEM;
 * -EAGAIN if the block has other references; or -EINTR after a fatal signal.
 */
int guest_memfd_access_split(struct guest_memfd *gm, pgoff_t index, unsigned int *sleeps)
{
	pgoff_t start = round_down(index, GM_BLOCK_PAGES);
	unsigned int tries = 0;
	int err;

	if (index == start)
		return 0;
	while (true) {
		begin_unmap(gm, start, start + GM_BLOCK_PAGES);
		err = guest_memfd_block_split(gm, index);
		end_unmap(gm);
		if (err != -EAGAIN || !*sleeps || tries++ == PAGE_SLEEPS)
			return err;
		if (fatal_signal_pending(current))
			return -EINTR;
		--*sleeps;
		usleep_range(MIN_SLEEP_US, MAX_SLEEP_US);
	}
}

/*
 * Split the blocks that are partly in the range, because no level boundary may
 * lie inside a block.  A block that is at @level already needs no split, so
 * references to it do not matter.
 *
 * Return: 0; -ENOMEM; or -EAGAIN or -EINTR with *@error_index set.
 */
static int split_ends(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		      unsigned int level, unsigned int *sleeps, pgoff_t *error_index)
{
	int err = 0;

	*error_index = start;
	if (guest_memfd_access_level(gm, start) != level)
		err = guest_memfd_access_split(gm, start, sleeps);
	if (!err && guest_memfd_access_level(gm, end) != level) {
		*error_index = round_down(end, GM_BLOCK_PAGES);
		err = guest_memfd_access_split(gm, end, sleeps);
	}
	return err;
}

static int change(struct guest_memfd *gm, pgoff_t start, pgoff_t end, unsigned int level,
		  bool ask, const struct gm_request *request, pgoff_t *error_index)
{
	struct address_space *mapping = gm->inode->i_mapping;
	bool hides = gm_hides(gm);
	/* A guest's request is about one page. */
	unsigned int sleeps = hides && !request ? MAX_SLEEPS : PAGE_SLEEPS, none = 0;
	int err;

	MA_STATE(mas, &gm->levels, start, end - 1);

	filemap_invalidate_lock(mapping);
	err = begin_change(gm, start, end, level, ask, request);
	filemap_invalidate_unlock(mapping);
	if (err)
		return err < 0 ? err : 0;

again:
	err = hides ? split_ends(gm, start, end, level, &sleeps, error_index) : 0;
	if (err)
		;
	else if (level != GUEST_MEMFD_ACCESS_KERNEL)
		err = lower(gm, start, end, level, hides ? &sleeps : &none,
			    !hides, error_index);
	else if (hides)
		err = raise_range(gm, start, end, error_index);

	filemap_invalidate_lock(mapping);
	/*
	 * A lowered page of a plain file must have no other references, which
	 * can only be checked while user faults cannot add one.  User faults on
	 * a plain file wait for the invalidate_lock in a range that is being
	 * lowered.  lower() has unmapped nearly all pages already, so this call
	 * is fast.
	 */
	if (!err && !hides && level != GUEST_MEMFD_ACCESS_KERNEL)
		err = lower(gm, start, end, level, &none, false, error_index);
	/*
	 * Allocate only here, because the state of a maple tree walk is not
	 * valid after its lock was released.
	 */
	if (!err)
		err = prepare_store(gm, &mas, start, end, level);
	if (!err && request) {
		gm_references_drain(gm, start, end);
		err = gm_commit_request(gm, start, request);
		if (err)
			mas_destroy(&mas);
	}
	if (err == -EAGAIN && (!hides || request) && sleeps && !fatal_signal_pending(current)) {
		filemap_invalidate_unlock(mapping);
		/*
		 * A concurrent user fault is the likely cause.  At the second
		 * retry, also drain the per-CPU LRU batches, which may hold a
		 * reference to the page.
		 */
		if (--sleeps == PAGE_SLEEPS - 2 && !hides)
			lru_add_drain_all();
		usleep_range(MIN_SLEEP_US, MAX_SLEEP_US);
		goto again;
	}
	if (!err)
		mas_store_prealloc(&mas, level_entry(gm, level));
	set_change(gm, 0, 0, false);
	/* Drop references that were put lazily since the change began. */
	gm_references_drain(gm, start, end);
	filemap_invalidate_unlock(mapping);

	if (!hides)
		return err;
	if (err)
		undo(gm, start, end, level);
	else if (level == GUEST_MEMFD_ACCESS_KERNEL)
		make_pinnable(gm, start, end);
	else
		finish_lower(gm, start, end, level);
	return err;
}

/**
 * guest_memfd_access_change - change the access level of a range
 * @gm: The file's memory.
 * @start: First index of the range, in pages.
 * @end: Index after the range, above @start, not above the file's size.
 * @level: GUEST_MEMFD_ACCESS_*.
 * @ask: Call the owner's may_set_access(), which may refuse the change.
 * @request: A guest's request for a range of one page, or NULL.
 * @error_index: As for guest_memfd_set_access().
 *
 * Context: As guest_memfd_set_access().
 * Return: As guest_memfd_set_access(); or the error that may_set_access()
 * returned.
 */
int guest_memfd_access_change(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			      unsigned int level, bool ask, const struct gm_request *request,
			      pgoff_t *error_index)
{
	int err;

	/* The owner's callback may return an error that has an offset. */
	*error_index = start;
	err = mutex_lock_killable(&gm->change_lock);
	if (!err) {
		err = change(gm, start, end, level, ask, request, error_index);
		mutex_unlock(&gm->change_lock);
	}
	trace_guest_memfd_set_access(gm->inode->i_ino, start, end - start, level, err);
	return err;
}

/**
 * guest_memfd_set_access - change the access level of a range, as its owner
 * @gm: The file's memory.
 * @start: First index of the range, in pages.
 * @end: Index after the range, above @start, not above the file's size.
 * @level: GUEST_MEMFD_ACCESS_*.
 * @error_index: Receives the index of the page that caused -EAGAIN or
 *	-EHWPOISON.
 *
 * The function changes the level of the whole range or of nothing.  In both
 * cases it may remove user mappings; faults map the pages again.  The contents
 * of the pages do not change.  The mappings of the owner's guests do not change
 * either, but MMU notifiers tell an owner that follows user mappings when these
 * are removed.  The function does not call may_set_access(), which decides
 * about requests of user space only.
 *
 * Until the function returns, the range has its old level or, as a whole, its
 * new one, and GUP may refuse pages that are being raised to KERNEL or lowered
 * from it.
 *
 * Context: May sleep.  Takes gm->change_lock.  Takes the invalidate_lock for a
 * short time that does not depend on the size of the range.  When it lowers a
 * plain file to NONE, it holds the invalidate_lock for as long as it takes to
 * check the pages of the range.
 * Return: 0; -EAGAIN if a page still has other references after PAGE_SLEEPS
 * sleeps of up to 1 ms, or after MAX_SLEEPS sleeps for the whole range;
 * -EHWPOISON if a page that is raised to KERNEL or lowered from it is poisoned;
 * -EPERM for a level above NONE if a page of the range is donated to a guest
 * that does not share it; -EINTR after a fatal signal; or -ENOMEM.
 */
int guest_memfd_set_access(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			   unsigned int level, pgoff_t *error_index)
{
	return guest_memfd_access_change(gm, start, end, level, false, NULL, error_index);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_set_access, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_access_take_back - hide pages at KERNEL before truncation
 * @gm: The memory of a NO_DIRECT_MAP file.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * A page that has other references, or that cannot be hidden because an
 * allocation fails, stays PINNABLE and keeps level KERNEL's reference: see
 * guest_memfd_access_end().
 *
 * Context: May sleep.  The caller holds the invalidate_lock exclusively, and
 * gm->change_lock unless the file is being evicted.
 */
void guest_memfd_access_take_back(struct guest_memfd *gm, pgoff_t start,
				  pgoff_t end)
{
	struct folio *folios[FOLIOS_PER_LOOK];
	pgoff_t index, run, run_end;
	unsigned int i, nr;

	for (run = start; next_kernel_run(gm, &run, end, &run_end); run = run_end) {
		unmap_mapping_pages(gm->inode->i_mapping, run, run_end - run,
				    false);
		index = run;
		while ((nr = next_folios(gm, &index, run_end, folios))) {
			for (i = 0; i < nr; i++)
				lower_folio(gm, folios[i], FREEZE_TRIES);
		}
		if (drop_references(gm, run, run_end, 0))
			make_pinnable(gm, run, run_end);
	}
}

/**
 * guest_memfd_access_end - drop level KERNEL's reference of a truncated page
 * @folio: A PINNABLE folio that was removed from its file.
 * @held: True if the folio's limit counts it as held.  If the function returns
 *	0, the limit counts it as held afterwards.
 *
 * Context: May sleep; takes the folio lock.
 * Return: 1 if the folio is hidden now; 0 if it has another direct-map
 * reference, whose last put will free it; -EAGAIN if the caller must retry
 * later.
 */
int guest_memfd_access_end(struct folio *folio, bool held)
{
	int expected, ret = -EAGAIN;

	folio_lock(folio);
	/*
	 * References of the library and of memory_failure(), and those that
	 * direct-map references and donations hold.
	 */
	expected = 1 + gm_folio_references(folio);
	if (folio_test_large(folio))
		expected += gm_folio_nr_failed(folio, NULL);
	if (folio_ref_freeze(folio, expected)) {
		gm_folio_change_bits(folio, 0, GUEST_MEMFD_PAGE_PINNABLE);
		folio_ref_unfreeze(folio, expected);
		ret = drop_locked(folio);
		if (ret)
			gm_folio_change_bits(folio, GUEST_MEMFD_PAGE_PINNABLE, 0);
		else
			ret = gm_is_free_orphan(folio);
		if (!ret && !held)
			gm_limit_hold(gm_folio_limit(folio), folio_nr_pages(folio));
	}
	folio_unlock(folio);
	if (ret < 0)
		return -EAGAIN;
	folio_put(folio);
	return ret;
}
