// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access levels: what the host may do with a range of a file.
 *
 * Levels are kept by ranges, whether there are pages in them or not.  A page of
 * a NO_DIRECT_MAP file at level KERNEL carries that level's direct-map reference
 * (GM_PAGE_LEVEL) and is PINNABLE, from before it enters the file on.
 *
 * gm->change_lock serialises changes of levels and holes, so a page that a
 * change finds stays in the file.  The invalidate_lock is held exclusively only
 * to begin a change and to commit it: faults, population and direct-map gets
 * hold it shared, so each of them sees the range before one of these two points
 * or after it, and none waits for the pages of the range.
 *
 * Between the two points the range is in transition.  It has its old level.  The
 * pages of a range that leaves or reaches KERNEL, those that are populated now
 * included, carry the level's reference and are not PINNABLE, so GUP refuses
 * them.  To leave KERNEL is to unmap and freeze every page and to clear PINNABLE;
 * then to drop the references, which hides many pages with one flush; then to
 * commit.  To reach KERNEL is to take the references; to commit; then to set
 * PINNABLE.  The state of each page says what was done to it, so undo needs no
 * other record: a page that carries the reference becomes PINNABLE again, and
 * what was hidden or restored as one piece is restored or hidden as one piece,
 * whether or not a page of it was poisoned since.
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

/* Attempts to freeze a page before the first sleep. */
#define FREEZE_TRIES 64

/*
 * A change waits for pages that have other references.  It tries the first of them
 * again after each of PAGE_SLEEPS sleeps; a short reference ends sooner, and a pin
 * is reported within 100 ms.  The sleeps of a whole change are limited too, against
 * a task that takes short references to one page after the other.
 */
#define PAGE_SLEEPS 48
#define MAX_SLEEPS 4096
#define MIN_SLEEP_US 500
#define MAX_SLEEP_US 1000

/* Attempts of what must not fail, a tick apart, when there is no memory. */
#define UNDO_TRIES HZ

/* Pages that one look into the page cache returns. */
#define FOLIOS_PER_LOOK 64

/*
 * Pages that are unmapped from user space by one call, and lowered while user
 * faults on them wait.
 */
#define PAGES_PER_UNMAP (1UL << GM_BLOCK_MAX_ORDER)

/*
 * Limits of what one flush hides: ranges, which may be blocks, and folios, which are
 * locked meanwhile.
 */
#define RANGES_PER_FLUSH 64
#define FOLIOS_PER_FLUSH (8U << GM_BLOCK_MAX_ORDER)

/* The same for one block, of whose pages some stay in the direct map. */
#define PARTS_PER_FLUSH 16

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
 * Publish the range that a change is about, or withdraw it with @end = 0.  User
 * faults on a plain file read it without the invalidate_lock, so it is published
 * before the change looks for pages and withdrawn after the new level is stored.
 */
static void set_change(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		       bool raises)
{
	gm->change_raises = raises;
	/* Pairs with guest_memfd_access_user_allowed(). */
	smp_store_release(&gm->change_start, start);
	/* Likewise. */
	smp_store_release(&gm->change_end, end);
	/* The range, then the search for pages; pairs with the same function. */
	smp_mb();
}

/**
 * guest_memfd_access_user_allowed - may a user fault map a page of a plain file?
 * @gm: The memory of a plain file.
 * @index: Index in the file, in pages.
 *
 * For a fault that does not hold the invalidate_lock.  If it holds the folio lock
 * of the page, and the answer is true, then a later change to NONE waits for the
 * folio lock and unmaps the page.
 *
 * Context: Any.
 * Return: False at level NONE, and while the range is being lowered to it; then
 * only the level that is read under the invalidate_lock counts.
 */
bool guest_memfd_access_user_allowed(struct guest_memfd *gm, pgoff_t index)
{
	pgoff_t start, end;

	/* The page is in the file, then the range is read. */
	smp_mb();
	/*
	 * If these are of two changes, the first one is over, and its level is
	 * read below; and the second one will find the page.
	 */
	end = smp_load_acquire(&gm->change_end);
	/* Pairs with set_change(), like the one above. */
	start = smp_load_acquire(&gm->change_start);
	if (index >= start && index < end)
		return false;
	return guest_memfd_access_level(gm, index) != GUEST_MEMFD_ACCESS_NONE;
}

/* Let user faults on these pages wait until end_unmap(). */
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
 * For a user fault, before it takes any lock of the file.  A page that a fault
 * maps before the change has lowered it must be unmapped alone, with a flush of
 * the TLBs, so faults wait until the change is done with the pages around.  It
 * does not sleep for references meanwhile.  A fault that does not see the change
 * maps the page, and the change unmaps it.
 *
 * Context: May sleep, for as long as it takes to lower PAGES_PER_UNMAP pages.
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

/**
 * guest_memfd_access_carries - does a page populated now carry KERNEL's reference?
 * @gm: The memory of a NO_DIRECT_MAP file.
 * @index: Index in the file, in pages.
 * @first: Where to put the first index for which the answer is the same.
 * @last: Where to put the last; may be beyond the end of the file.
 * @pinnable: Where to put whether the page is to be PINNABLE as well.
 *
 * A run ends where a change of level under way begins or ends, so that no block
 * which is restored as one piece has pages on both sides.
 *
 * Context: The invalidate_lock is held, shared or exclusively.
 * Return: True if it does.
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

/* The next page of [*index, end).  gm->change_lock keeps it in the file. */
static struct folio *next_folio(struct guest_memfd *gm, pgoff_t *index,
				pgoff_t end)
{
	cond_resched();
	if (*index >= end)
		return NULL;
	return xa_find(&gm->inode->i_mapping->i_pages, index, end - 1,
		       XA_PRESENT);
}

/* The next pages of [*index, end), and *index behind them. */
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

/* Return: The number of the first poisoned page of a folio that has one. */
static unsigned int first_poisoned(struct folio *folio)
{
	unsigned int i, last = folio_nr_pages(folio) - 1;

	for (i = 0; i < last && !PageHWPoison(folio_page(folio, i)); i++)
		;
	return i;
}

/*
 * The next part of [*start, @end) that is at @least or above, as the tree has
 * it: [*start, *run_end).
 *
 * Return: Its level, or -1 when there is none.
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

/* The same of level KERNEL; false when there is none. */
static bool next_kernel_run(struct guest_memfd *gm, pgoff_t *start, pgoff_t end,
			    pgoff_t *run_end)
{
	return next_run(gm, start, end, run_end, GUEST_MEMFD_ACCESS_KERNEL) >= 0;
}

/*
 * Lock @folio and, if it is a single page, those that follow it in the same 2 MiB of the
 * file and of memory and before @end, while they are alike: @level is what they have of
 * GM_PAGE_LEVEL and PINNABLE, @count is their number of direct-map references.
 *
 * A poisoned page ends the run only if @stop_at_poison: whether pages can be
 * hidden or restored as one piece depends on the page tables, not on poison.
 *
 * Only the holder of gm->change_lock locks several folios, in the order of the
 * file, so that it cannot deadlock.
 *
 * Return: The number of pages of the folios that are locked.
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
		/* A page that is not in the file may belong to another owner. */
		folio = page_folio(page + nr);
	} while (READ_ONCE(folio->mapping) == mapping &&
		 READ_ONCE(folio->index) == index + nr);
	return nr;
}

/*
 * A fatal signal undoes a change that has not done half of its range yet, and
 * lets another one complete: in both cases the caller ends soon.
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

/* How many folios a range has: a block is one, and a range has no part of one. */
static unsigned int nr_folios(struct page *first, unsigned int nr)
{
	return folio_test_large(page_folio(first)) ? 1 : nr;
}

/*
 * Hide the ranges with one flush, drop level KERNEL's reference of what is
 * hidden, and unlock all.
 *
 * Return: 0, or -ENOMEM when ranges are left as they were.
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
 * Hide, or restore, the pages of a locked folio that have no own word.  If others have one
 * their direct map entries are single ones already, and this cannot fail.
 *
 * Return: 0, or -ENOMEM with nothing changed.
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

/* Drop the level's reference of a folio that may have others; it is locked. */
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
 * Drop level KERNEL's reference of each page that carries it and is not PINNABLE,
 * and hide the pages that have no other.  A fatal signal is heeded before
 * @kill_before, from where on it takes less time to complete than to undo.
 *
 * Return: 0; or -ENOMEM or -EINTR, when some pages of the range still carry it.
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

/* Take the level's reference of a folio that may have others. */
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
 * Take level KERNEL's reference of each page that does not carry it.  With @undo
 * poison is no reason to stop: the page had the reference before.  @kill_before is
 * as for drop_references().
 *
 * Return: 0; -EINTR, -ENOMEM, -EOVERFLOW or -EHWPOISON with *@error_index the
 * first page without it.
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
		/* All of it, or a part of a mapping that this splits: or none. */
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
 * All of a change to KERNEL that can fail.  Each run of one level is restored by
 * itself, as undo() hides it.
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

/* Let the kernel pin all pages of the range that carry the level's reference. */
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
 * Lock the page, and remove what maps it into user space.  A fault that would map
 * it needs the folio lock.
 */
static void lock_unmapped(struct folio *folio)
{
	folio_lock(folio);
	if (folio_mapped(folio))
		gm_unmap_folio(folio);
}

/* Freeze the page if only @expected references are there. */
static bool freeze_folio(struct folio *folio, int expected, unsigned int tries)
{
	while (tries--) {
		if (folio_ref_freeze(folio, expected))
			return true;
		cpu_relax();
	}
	return false;
}

/* Return: 0; -EAGAIN while the page has other references; -EHWPOISON. */
static int end_pinnable(struct folio *folio, unsigned int tries)
{
	/* The page cache's, the library's, and those of direct-map references. */
	int expected = folio_nr_pages(folio) + 1 + gm_folio_references(folio);

	if (!(gm_folio_state(folio) & GUEST_MEMFD_PAGE_PINNABLE))
		return 0;
	/* memory_failure() keeps a reference to a page that it poisoned. */
	if (is_poisoned(folio))
		return -EHWPOISON;
	/* A look-up retries while the page is frozen, at any priority. */
	guard(preempt)();
	if (!freeze_folio(folio, expected, tries))
		return -EAGAIN;
	gm_folio_change_bits(folio, 0, GUEST_MEMFD_PAGE_PINNABLE);
	folio_ref_unfreeze(folio, expected);
	return 0;
}

/*
 * A page of a file that is in the direct map in any case: the page cache has the
 * only reference.
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

/* Take one page out of user space and out of GUP's reach. */
static int lower_folio(struct guest_memfd *gm, struct folio *folio,
		       unsigned int tries)
{
	int err;

	/* It was lowered before, or has been populated since. */
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
 * Return: 0; or -EAGAIN or -EHWPOISON with *@index that of the first page that is
 * not lowered, or of the poisoned one.
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
			/* The change will wait for the first; do not spin at others. */
			err = lower_folio(gm, folios[i], ret ? 1 : FREEZE_TRIES);
			/* A poisoned page ends it all. */
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
 * As lower_pages(), but wait while pages have other references.  A vCPU that
 * faults, KVM's accesses and I/O on its way hold such references for a short time;
 * their holder may be preempted, or a GUP that has some pages and whose fault on the
 * next one waits in guest_memfd_access_wait_unmap().  *@sleeps is 0 for a plain
 * file, whose caller may hold the invalidate_lock.
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
 * Take [start, end), which is at @old, out of user space, and where it is at
 * KERNEL out of GUP's reach.  *@sleeps says how often to wait for short
 * references.  With @only_unmap those do not count: the caller will look again.
 *
 * Return: 0; or -EAGAIN, -EHWPOISON or -EINTR with *@error_index.
 */
static int lower_run(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		     int old, unsigned int *sleeps, bool only_unmap,
		     pgoff_t *error_index)
{
	pgoff_t part, index;
	int err;

	for (; start < end; start = part) {
		/* A step has whole blocks, and the hole before the first of them. */
		part = start;
		if (!xa_find(&gm->inode->i_mapping->i_pages, &part, end - 1, XA_PRESENT))
			part = end - 1;
		part = min(end, round_down(part, PAGES_PER_UNMAP) + PAGES_PER_UNMAP);
		index = start;
		if (gm_hides(gm) && old != GUEST_MEMFD_ACCESS_KERNEL) {
			/* Of a hidden page below KERNEL only the mapping ends. */
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
 * All of lowering that can fail; the invalidate_lock is not needed.  @sleeps and
 * @only_unmap are as for lower_run().
 *
 * Return: 0; or an error, and undo() is to be called.
 */
static int lower(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
		 unsigned int level, unsigned int *sleeps, bool only_unmap,
		 pgoff_t *error_index)
{
	pgoff_t run, run_end;
	int old, err;

	/* A plain page at USER is as good as one at KERNEL. */
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
 * As drop_references(), where there is no way back: the range is below KERNEL.
 * What was restored as one piece is hidden as one, so page tables are needed only
 * where the direct map was merged since.  Such an allocation fails for a moment at
 * most; else a page that no task can pin stays in the direct map.
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
 * As take_references(), where there is no way back: the range is at KERNEL.  A page
 * that is not restored stays out of reach of GUP.
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
 * Undo what a change to @level did to the pages of a hidden file before it
 * failed.  The range has its old levels and is not in transition any more.
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
 * fault, then unmap all of the range.  folio_mapped() cannot tell which pages to
 * unmap.  A concurrent MADV_DONTNEED may have cleared the entry of such a fault,
 * and removed the folio's mapcount, but not flushed the TLBs yet; another thread
 * of the process would go on reading the page.  unmap_mapping_pages() sees that
 * the mm has a flush pending, and flushes itself.
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
		/* Pairs with folio_unlock(): the fault sets its entry before that. */
		smp_rmb();
		unmap_mapping_pages(gm->inode->i_mapping, start, end - start,
				    false);
	}
	/* The pages were restored one by one, or as blocks that the range contains. */
	if (populated)
		drop_all_references(gm, start, end);
}

/* Does a change to @level concern populations, or faults that take no lock? */
static bool needs_transition(struct guest_memfd *gm, unsigned int level)
{
	/* No block is to be populated across the ends of the range. */
	return gm_hides(gm) || level == GUEST_MEMFD_ACCESS_NONE;
}

/*
 * The first point of a change, with the invalidate_lock held exclusively.
 *
 * Return: 1 when there is nothing to do, 0, or an error.
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
		/* Only the guest gives it back; none is donated in a transition. */
		return -EPERM;
	}
	gm_references_drain(gm, start, end);
	if (needs_transition(gm, level))
		set_change(gm, start, end, level == GUEST_MEMFD_ACCESS_KERNEL);
	return 0;
}

/**
 * guest_memfd_access_split - make sure that no block has pages on both sides of an index
 * @gm: The memory of a NO_DIRECT_MAP file; its change_lock is held.
 * @index: Index in the file, in pages.
 * @sleeps: How often it may wait for short references to the block.
 *
 * User faults on the block wait meanwhile: they would add references.
 *
 * Context: May sleep and allocate.
 * Return: 0; -ENOMEM; -EAGAIN if there are other references to the block; -EINTR by a fatal
 * signal.
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
 * No level boundary lies inside a block: split those that the range has a part of.  A block
 * that is at @level already keeps it, with what pins it.
 *
 * Return: 0; -ENOMEM; or -EAGAIN or -EINTR with *@error_index.
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
	/* A request is about one page. */
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
	 * References to plain pages count only while no user fault can add one:
	 * in a range that is being lowered, user faults on plain files wait for
	 * this lock.  Nearly all pages are unmapped, so this is quick.
	 */
	if (!err && !hides && level != GUEST_MEMFD_ACCESS_KERNEL)
		err = lower(gm, start, end, level, &none, false, error_index);
	/* Here, as the state of a maple tree does not outlive its lock. */
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
		/* A page may wait for its LRU list; faults are likelier. */
		if (--sleeps == PAGE_SLEEPS - 2 && !hides)
			lru_add_drain_all();
		usleep_range(MIN_SLEEP_US, MAX_SLEEP_US);
		goto again;
	}
	if (!err)
		mas_store_prealloc(&mas, level_entry(gm, level));
	set_change(gm, 0, 0, false);
	/* References that were put lazily since the change began. */
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
 * @ask: May the owner refuse?
 * @request: What a guest asks for, of a range of one page; or NULL.
 * @error_index: As for guest_memfd_set_access().
 *
 * Context: As guest_memfd_set_access().
 * Return: As guest_memfd_set_access(); or what the owner's veto says.
 */
int guest_memfd_access_change(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			      unsigned int level, bool ask, const struct gm_request *request,
			      pgoff_t *error_index)
{
	int err;

	/* For an owner whose veto is an error that has an offset. */
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
 * @error_index: Where to put the index of the page that -EAGAIN or -EHWPOISON
 *	are about.
 *
 * All of the range changes or nothing, except that user mappings may be removed
 * in both cases; faults map the pages again.  Contents stay as they are.  So does
 * what the owner maps to its guests; but an owner that follows a user mapping by
 * an MMU notifier is told of its end.  The may_set_access callback is not asked:
 * it decides about requests of user space.
 *
 * Until this returns the range has its old level or, all of it at once, the new
 * one, and pins of pages that leave or reach KERNEL may be refused.
 *
 * Context: May sleep; takes gm->change_lock, and the invalidate_lock for a short
 * time that does not depend on the size of the range (of a plain file that is
 * lowered to NONE, the time that it takes to look at its pages).
 * Return: 0; -EAGAIN when a page still has other references after PAGE_SLEEPS
 * sleeps of up to 1 ms, or after MAX_SLEEPS in the whole range; -EHWPOISON for a
 * poisoned page on its way to or from KERNEL; -EPERM for a level above NONE when a page of
 * the range is donated and its guest does not share it; -EINTR after a fatal signal; or -ENOMEM.
 */
int guest_memfd_set_access(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			   unsigned int level, pgoff_t *error_index)
{
	return guest_memfd_access_change(gm, start, end, level, false, NULL, error_index);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_set_access, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_access_take_back - hide pages at KERNEL that will leave the file
 * @gm: The memory of a NO_DIRECT_MAP file.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * A page with other references, or that cannot be hidden for want of memory,
 * stays PINNABLE and keeps the level's reference: see guest_memfd_access_end().
 *
 * Context: May sleep.  The invalidate_lock is held exclusively, and
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
 * guest_memfd_access_end - end the level KERNEL of a page that left its file
 * @folio: A folio that is in no file any more, and PINNABLE.
 * @held: Its limit counts it as held, as it does when this returns 0.
 *
 * Context: May sleep; takes the folio lock.
 * Return: 1 when the page is hidden now; 0 when another direct-map reference
 * keeps it, whose last put will give it back; -EAGAIN when this is to be called
 * again.
 */
int guest_memfd_access_end(struct folio *folio, bool held)
{
	int expected, ret = -EAGAIN;

	folio_lock(folio);
	/* The library's, and those of direct-map references and of memory_failure(). */
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
