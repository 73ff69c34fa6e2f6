// SPDX-License-Identifier: GPL-2.0-only
/*
 * Direct-map references of one page.
 *
 * Each direct-map reference includes a reference to the page.  The first one
 * restores the page's direct map entry, and the last put hides the page again.
 *
 * Hiding a page flushes the TLBs of all CPUs, and a guest decides how often KVM
 * takes and drops a reference: it turns its clock on and off, or runs nested
 * guests.  The last put of a page that stays in its file is therefore lazy.  It
 * moves the reference to a queue of the owner.  The next get of the page takes
 * the reference back from the queue without a change of the direct map.  A
 * worker drops the references that no get has taken back within 50 ms, with one
 * flush for all pages in the queue.  A reference in a queue counts like any
 * other reference.
 */

#include <linux/guest_memfd.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <trace/events/guest_memfd.h>

#include "../internal.h"
#include "direct_map.h"
#include "page_state.h"
#include "reference.h"
#include "scrub.h"

/**
 * struct gm_left - referenced pages that were removed from one file
 * @refs: One for the file and one for each entry in left_pages and left_blocks,
 *	because a page can outlive its file.
 * @pages: Number of such pages.
 */
struct gm_left {
	refcount_t refs;
	atomic_long_t pages;
};

/*
 * These arrays find the struct gm_left of a page by its pfn: left_pages for
 * each single page, and each page with an own word, that has GM_PAGE_LEFT;
 * left_blocks for each block whose common word has it.  Truncation clears
 * folio->mapping, so the last put cannot find the file's counter by the folio.
 */
static DEFINE_XARRAY(left_pages);
static DEFINE_XARRAY(left_blocks);

static void left_put(struct gm_left *left)
{
	if (refcount_dec_and_test(&left->refs))
		kfree(left);
}

static struct gm_left *file_left(struct guest_memfd *gm)
{
	struct gm_left *left = gm->left;

	if (!left) {
		left = kzalloc_obj(*left, GFP_KERNEL | __GFP_NOFAIL);
		refcount_set(&left->refs, 1);
		/* Pairs with the smp_load_acquire() in gm_references_left(). */
		smp_store_release(&gm->left, left);
	}
	return left;
}

static void store_left(struct xarray *array, unsigned long pfn, struct gm_left *left,
		       unsigned int nr)
{
	refcount_inc(&left->refs);
	atomic_long_add(nr, &left->pages);
	WARN_ON_ONCE(xa_err(xa_store(array, pfn, left, GFP_KERNEL | __GFP_NOFAIL)));
}

static void folio_leaves(struct folio *folio, struct gm_left *left)
{
	unsigned long state, common = gm_folio_state(folio);
	unsigned int i, nr = folio_nr_pages(folio);

	for (i = 0; gm_folio_next_word(folio, &i, &state); i++) {
		nr--;
		if (state & GM_PAGE_LEFT)
			continue;
		store_left(&left_pages, folio_pfn(folio) + i, left, 1);
		gm_page_set_state(folio_page(folio, i), state | GM_PAGE_LEFT);
	}
	if (!gm_page_count(common) || common & GM_PAGE_LEFT)
		return;
	store_left(folio_test_large(folio) ? &left_blocks : &left_pages,
		   folio_pfn(folio), left, nr);
	gm_folio_set_state(folio, gm_folio_state(folio) | GM_PAGE_LEFT);
}

/**
 * gm_references_leave - count the referenced pages of a range that is truncated
 * @gm: The memory of a NO_DIRECT_MAP file; the caller holds its invalidate_lock
 *	exclusively.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * The caller must truncate the range afterwards.  Concurrent puts are possible,
 * concurrent gets are not.
 *
 * Context: May sleep.  Cannot fail, because a hole punch must not fail: the
 * function retries its allocations, of a few bytes for each page with a
 * reference, until they succeed.
 */
void gm_references_leave(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct xarray *pages = &gm->inode->i_mapping->i_pages;
	struct gm_left *left;
	struct folio *folio;
	pgoff_t index = start;

	lockdep_assert_held_write(&gm->inode->i_mapping->invalidate_lock);
	if (end <= start)
		return;
	for (folio = xa_find(pages, &index, end - 1, GM_TAG_REFERENCED); folio;
	     folio = xa_find_after(pages, &index, end - 1, GM_TAG_REFERENCED)) {
		left = file_left(gm);
		folio_lock(folio);
		folio_leaves(folio, left);
		folio_unlock(folio);
		cond_resched();
	}
}

/* The last reference to a page with GM_PAGE_LEFT was dropped. */
static void end_left(struct page *page)
{
	struct gm_left *left = xa_erase(&left_pages, page_to_pfn(page));

	if (WARN_ON_ONCE(!left))
		return;
	atomic_long_dec(&left->pages);
	left_put(left);
}

/*
 * Only level KERNEL's reference remains of a page with GM_PAGE_LEFT in a block,
 * and the page has lost its own word.  Count the page with the pages that use
 * the common word, as gm_lower_folio() does.
 */
static void join_left(struct page *page)
{
	struct gm_left *left = xa_erase(&left_pages, page_to_pfn(page));

	if (!WARN_ON_ONCE(!left))
		left_put(left);
}

/**
 * gm_references_left - count a file's removed pages that are still referenced
 * @gm: The file's memory.
 *
 * Context: Any.
 * Return: The number of pages.
 */
unsigned long gm_references_left(struct guest_memfd *gm)
{
	/* Pairs with the smp_store_release() in file_left(). */
	struct gm_left *left = smp_load_acquire(&gm->left);

	return left ? atomic_long_read(&left->pages) : 0;
}

/**
 * gm_references_destroy - drop the file's reference counters and queue
 * @gm: The file's memory; all pages were removed from the file.
 *
 * Context: May sleep.
 */
void gm_references_destroy(struct guest_memfd *gm)
{
	if (gm->left)
		left_put(gm->left);
	gm->left = NULL;
	guest_memfd_put_queue_free(gm->put_queue);
	gm->put_queue = NULL;
}

/**
 * gm_tag_referenced - count pages that received their first reference
 * @folio: A locked folio.  If it is in no file, the function does nothing.
 * @nr: Number of its pages that have just received their first direct-map
 *	reference.
 *
 * Context: Any but interrupt.
 */
void gm_tag_referenced(struct folio *folio, unsigned int nr)
{
	struct address_space *mapping = folio->mapping;
	struct guest_memfd *gm;

	if (!mapping || !nr)
		return;
	gm = mapping->host->i_private;
	xa_lock_irq(&mapping->i_pages);
	__xa_set_mark(&mapping->i_pages, folio->index, GM_TAG_REFERENCED);
	WRITE_ONCE(gm->nr_referenced, gm->nr_referenced + nr);
	xa_unlock_irq(&mapping->i_pages);
}

/**
 * gm_untag_referenced - uncount pages that lost their last reference
 * @folio: A locked folio.  If it is in no file, or is about to be truncated,
 *	the function does nothing.
 * @nr: Number of its pages that have just lost their last direct-map reference.
 *	The caller has updated their states.
 *
 * The tag tells whether the file's count includes pages of the folio:
 * gm_untag_range() removes it before truncation.
 *
 * Context: Any but interrupt.
 */
void gm_untag_referenced(struct folio *folio, unsigned int nr)
{
	struct address_space *mapping = folio->mapping;
	struct guest_memfd *gm;

	if (!mapping)
		return;
	gm = mapping->host->i_private;
	xa_lock_irq(&mapping->i_pages);
	if (xa_get_mark(&mapping->i_pages, folio->index, GM_TAG_REFERENCED)) {
		if (!gm_folio_nr_referenced(folio))
			__xa_clear_mark(&mapping->i_pages, folio->index,
					GM_TAG_REFERENCED);
		WRITE_ONCE(gm->nr_referenced, gm->nr_referenced - nr);
	}
	xa_unlock_irq(&mapping->i_pages);
}

/*
 * Get a reference to the folio of a page.  The caller's reference keeps the
 * page, but a concurrent split of a block can move the page to another folio at
 * any time.
 *
 * Return: The folio; NULL while a task has the folio's reference count frozen,
 * or if a split moved the page.
 */
static struct folio *try_get_folio_of(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio_try_get(folio))
		return NULL;
	if (page_folio(page) == folio)
		return folio;
	folio_put(folio);
	return NULL;
}

/**
 * gm_get_folio_of - get a reference to the folio that contains a page
 * @page: A page to which the caller has a reference.
 *
 * Context: May sleep.
 * Return: The folio.  It contains the page until the caller drops the
 * reference.
 */
struct folio *gm_get_folio_of(struct page *page)
{
	struct folio *folio;

	while (!(folio = try_get_folio_of(page)))
		cond_resched();
	return folio;
}

/**
 * gm_lock_page - lock the folio that contains a page
 * @page: A page that cannot be freed meanwhile.
 *
 * A concurrent split can replace the folio by a single page while this function
 * waits for the lock of a block, because a split holds the folio lock and
 * freezes the reference count.
 *
 * Context: May sleep.
 * Return: The folio.
 */
struct folio *gm_lock_page(struct page *page)
{
	struct folio *folio;

	for (;;) {
		folio = gm_get_folio_of(page);
		if (folio_trylock(folio))
			break;
		/*
		 * A waiter's reference would prevent the lock's holder from
		 * splitting it.
		 */
		folio_put_wait_locked(folio, TASK_UNINTERRUPTIBLE);
	}
	/* The caller's own reference keeps the folio. */
	folio_put(folio);
	return folio;
}

/* Number of references that can wait in the queue of one owner. */
#define PUT_QUEUE_MAX	16
/*
 * Time that a reference waits in the queue.  With the flush it must stay below
 * 100 ms.
 */
#define PUT_DELAY	(HZ / 20)

/**
 * struct guest_memfd_put_queue - direct-map references that are dropped soon
 * @refs: One for the owner and one for each file that uses the queue.
 * @work: Runs when the oldest entry has waited for PUT_DELAY.
 * @lock: Protects @nr and @entries.  Taken under folio locks.
 * @nr: Number of entries.
 * @entries: Pages with GM_PAGE_LAZY, each with its only reference, and the time
 *	in jiffies when that reference was put.
 */
struct guest_memfd_put_queue {
	refcount_t refs;
	struct delayed_work work;
	spinlock_t lock; /* protects the entries */
	unsigned int nr;
	struct put_entry {
		struct page *page;
		unsigned long since;
	} entries[PUT_QUEUE_MAX];
};

/* Selects the entries that drain() drops. */
struct drain_range {
	bool all;
	struct address_space *mapping; /* or NULL: entries that are due */
	pgoff_t start, end;
};

static bool entry_matches(const struct put_entry *entry, const struct drain_range *range)
{
	struct folio *folio = page_folio(entry->page);
	struct address_space *mapping = READ_ONCE(folio->mapping);
	pgoff_t index;

	/* The folio was truncated after the put and waits to be scrubbed. */
	if (!mapping || range->all)
		return true;
	/*
	 * At least one entry is due.  Also drop entries that have waited half
	 * as long, which saves a flush.
	 */
	if (!range->mapping)
		return time_after_eq(jiffies, entry->since + PUT_DELAY / 2);
	index = folio->index + folio_page_idx(folio, entry->page);
	return mapping == range->mapping && index >= range->start &&
	       index < range->end;
}

static bool remove_page(struct guest_memfd_put_queue *queue, struct page *page)
{
	unsigned int i;

	guard(spinlock)(&queue->lock);
	for (i = 0; i < queue->nr; i++) {
		if (queue->entries[i].page != page)
			continue;
		queue->entries[i] = queue->entries[--queue->nr];
		return true;
	}
	return false;
}

/* Pages whose folios the caller has locked, each folio once. */
struct locked {
	struct page *pages[PUT_QUEUE_MAX];
	unsigned int nr;
};

static bool has_folio(const struct locked *locked, const struct folio *folio)
{
	unsigned int i;

	for (i = 0; i < locked->nr; i++) {
		if (page_folio(locked->pages[i]) == folio)
			return true;
	}
	return false;
}

static bool is_last(struct folio *const *folios, unsigned int i, unsigned int nr)
{
	unsigned int j;

	for (j = i + 1; j < nr; j++) {
		if (folios[j] == folios[i])
			return false;
	}
	return true;
}

/*
 * Drop the queued references to pages of locked folios, with one flush.  An
 * entry stays in the queue until its page is hidden, so that a concurrent
 * drain() waits for the folio lock and fdinfo still counts the page as pending.
 */
static void drop_locked(struct guest_memfd_put_queue *queue, struct locked *locked)
{
	struct gm_range ranges[PUT_QUEUE_MAX];
	struct folio *folios[PUT_QUEUE_MAX];
	unsigned int i, done, nr = locked->nr;
	bool last, release[PUT_QUEUE_MAX];

	if (!nr)
		return;
	for (i = 0; i < nr; i++)
		ranges[i] = (struct gm_range){ .first = locked->pages[i], .nr = 1 };
	done = direct_map_hide_ranges(ranges, nr);
	for (i = 0; i < nr; i++) {
		struct page *page = locked->pages[i];

		folios[i] = page_folio(page);
		gm_page_set_state(page, gm_page_state(page) & ~GM_PAGE_LAZY);
		if (i < done)
			gm_put_direct_map_hidden(page);
		remove_page(queue, page);
	}
	for (i = 0; i < nr; i++) {
		last = is_last(folios, i, nr);
		release[i] = last && i < done && gm_is_free_orphan(folios[i]);
		if (last)
			folio_unlock(folios[i]);
	}
	/*
	 * All folios are unlocked: guest_memfd_block_release() may sleep for
	 * other locks.
	 */
	for (i = 0; i < done; i++) {
		folio_put(folios[i]);
		if (release[i])
			guest_memfd_block_release(folios[i], true);
	}
	/*
	 * The first reference allocated the page table for the page, so hiding
	 * the page cannot fail.  If it does fail, leak the page: it keeps the
	 * reference and never reaches the allocator.
	 */
	WARN_ON_ONCE(done < nr);
}

/*
 * Drop the entries that @range selects.  Other tasks can add entries
 * concurrently.
 */
static void drain(struct guest_memfd_put_queue *queue, const struct drain_range *range)
{
	struct locked locked;
	struct folio *busy;
	unsigned int i;
	bool again;

	do {
		locked.nr = 0;
		again = false;
		busy = NULL;
		spin_lock(&queue->lock);
		for (i = 0; i < queue->nr; i++) {
			struct page *page = queue->entries[i].page;
			struct folio *folio;

			if (!entry_matches(&queue->entries[i], range))
				continue;
			again = true;
			folio = try_get_folio_of(page);
			if (!folio)
				continue;
			/*
			 * A get holds the folio lock and waits for queue->lock,
			 * or another task drops the reference.
			 */
			if (!has_folio(&locked, folio) && !folio_trylock(folio)) {
				if (busy)
					folio_put(busy);
				busy = folio;
				continue;
			}
			/*
			 * The entry's reference to the page is a reference to
			 * this folio now.
			 */
			locked.pages[locked.nr++] = page;
			folio_put(folio);
		}
		spin_unlock(&queue->lock);
		drop_locked(queue, &locked);

		if (busy) {
			/*
			 * A waiter's reference would prevent the lock's holder
			 * from splitting it.
			 */
			folio_put_wait_locked(busy, TASK_UNINTERRUPTIBLE);
		} else if (again) {
			cond_resched();
		}
	} while (again);
}

/*
 * Queue the work for the time when the oldest entry is due.
 *
 * Return: True if an entry is due already; then the work is not queued.
 */
static bool rearm(struct guest_memfd_put_queue *queue)
{
	unsigned long at, now = jiffies;
	unsigned int i;

	guard(spinlock)(&queue->lock);
	if (!queue->nr)
		return false;
	at = queue->entries[0].since;
	for (i = 1; i < queue->nr; i++)
		if (time_before(queue->entries[i].since, at))
			at = queue->entries[i].since;
	at += PUT_DELAY;
	if (time_after_eq(now, at))
		return true;
	queue_delayed_work(system_dfl_wq, &queue->work, at - now);
	return false;
}

static void drop_due(struct work_struct *work)
{
	struct guest_memfd_put_queue *queue =
		container_of(work, struct guest_memfd_put_queue, work.work);
	const struct drain_range due = {};

	/* A get may have taken back the entry for which the work was queued. */
	while (rearm(queue))
		drain(queue, &due);
}

/**
 * gm_put_lazily - move the last direct-map reference of a page to the queue
 * @page: A page to which the caller has a direct-map reference; its folio is
 *	locked.
 *
 * The function refuses a page that was removed from its file, because that page
 * is scrubbed at once.
 *
 * Context: May sleep.  The function may unlock the folio meanwhile.  When it
 * returns, the folio that contains the page then is locked.
 * Return: True if the queue has the reference now.
 */
bool gm_put_lazily(struct page *page)
{
	const struct drain_range all = { .all = true };
	struct guest_memfd_put_queue *queue;
	struct address_space *mapping;
	bool drained = false;
	unsigned long state;

again:
	mapping = page_folio(page)->mapping;
	state = gm_page_state(page);
	if (!mapping || gm_page_count(state) != 1 || (state & GM_PAGE_LEFT) ||
	    PageHWPoison(page))
		return false;
	queue = ((struct guest_memfd *)mapping->host->i_private)->put_queue;
	if (!queue)
		return false;

	spin_lock(&queue->lock);
	if (queue->nr == PUT_QUEUE_MAX) {
		spin_unlock(&queue->lock);
		if (drained)
			return false;
		/*
		 * While the folio is unlocked, a concurrent eviction of the
		 * file may drop the file's reference to the queue.
		 */
		refcount_inc(&queue->refs);
		folio_unlock(page_folio(page));
		drain(queue, &all);
		guest_memfd_put_queue_free(queue);
		gm_lock_page(page);
		drained = true;
		goto again;
	}
	gm_page_set_state(page, state | GM_PAGE_LAZY);
	queue->entries[queue->nr++] = (struct put_entry) {
		.page = page,
		.since = jiffies,
	};
	/* If the work is queued already, it is queued for an older entry. */
	queue_delayed_work(system_dfl_wq, &queue->work, PUT_DELAY);
	spin_unlock(&queue->lock);
	return true;
}

/* Take back the reference in the queue to a page of a locked folio. */
static void revive(struct page *page)
{
	struct guest_memfd *gm = page_folio(page)->mapping->host->i_private;

	WARN_ON_ONCE(!remove_page(gm->put_queue, page));
	gm_page_set_state(page, gm_page_state(page) & ~GM_PAGE_LAZY);
}

/**
 * gm_references_drain - drop the queued references of a range
 * @gm: The file's memory; the caller holds its invalidate_lock exclusively.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * The function also drops queued references to pages that were removed from any
 * file.
 *
 * Context: May sleep; takes folio locks.
 */
void gm_references_drain(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	const struct drain_range range = {
		.mapping = gm->inode->i_mapping,
		.start = start,
		.end = end,
	};

	if (gm->put_queue && READ_ONCE(gm->put_queue->nr))
		drain(gm->put_queue, &range);
}

/**
 * gm_references_pending - count the references of a file that are in the queue
 * @gm: The file's memory.
 *
 * Context: Any.
 * Return: The number of pages.
 */
unsigned long gm_references_pending(struct guest_memfd *gm)
{
	struct guest_memfd_put_queue *queue = gm->put_queue;
	unsigned long nr = 0;
	unsigned int i;

	if (!queue)
		return 0;
	guard(spinlock)(&queue->lock);
	for (i = 0; i < queue->nr; i++)
		nr += READ_ONCE(page_folio(queue->entries[i].page)->mapping) ==
		      gm->inode->i_mapping;
	return nr;
}

/**
 * guest_memfd_put_queue_alloc - allocate a queue for lazy puts
 *
 * Context: May sleep.
 * Return: The queue with a reference that the caller must drop, or NULL.
 */
struct guest_memfd_put_queue *guest_memfd_put_queue_alloc(void)
{
	struct guest_memfd_put_queue *queue = kzalloc_obj(*queue, GFP_KERNEL_ACCOUNT);

	if (!queue)
		return NULL;
	refcount_set(&queue->refs, 1);
	INIT_DELAYED_WORK(&queue->work, drop_due);
	spin_lock_init(&queue->lock);
	return queue;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_put_queue_alloc, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_put_queue_free - drop a reference to a queue
 * @queue: The queue, or NULL.
 *
 * Context: May sleep.
 */
void guest_memfd_put_queue_free(struct guest_memfd_put_queue *queue)
{
	if (!queue || !refcount_dec_and_test(&queue->refs))
		return;
	/* Eviction of each file has drained the entries of that file. */
	WARN_ON_ONCE(queue->nr);
	cancel_delayed_work_sync(&queue->work);
	kfree(queue);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_put_queue_free, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_set_put_queue - make the last put of each page of a file lazy
 * @gm: The memory of a new file that is not in use yet.
 * @queue: The owner's queue, for all files of one guest.  The file takes a
 *	reference to it.
 *
 * Without a queue, the last put hides the page before it returns.
 *
 * Context: Any.
 */
void guest_memfd_set_put_queue(struct guest_memfd *gm,
			       struct guest_memfd_put_queue *queue)
{
	refcount_inc(&queue->refs);
	gm->put_queue = queue;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_set_put_queue, GUEST_MEMFD_OWNERS);

/**
 * gm_untag_range - uncount the referenced pages of a range to truncate
 * @mapping: The file's mapping; the caller holds its invalidate_lock
 *	exclusively.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * Truncation removes the tag with the page but does not know the count.  No
 * task can take a reference to the pages before truncation, because that needs
 * the invalidate_lock.  A concurrent put finds no tag and does not change the
 * count.
 *
 * Context: May sleep; takes folio locks.
 */
void gm_untag_range(struct address_space *mapping, pgoff_t start, pgoff_t end)
{
	struct guest_memfd *gm = mapping->host->i_private;
	struct xarray *pages = &mapping->i_pages;
	unsigned long index = start;
	struct folio *folio;

	if (end <= start)
		return;
	for (folio = xa_find(pages, &index, end - 1, GM_TAG_REFERENCED); folio;
	     folio = xa_find_after(pages, &index, end - 1, GM_TAG_REFERENCED)) {
		/*
		 * A put that has not updated the count yet holds the folio
		 * lock.
		 */
		folio_lock(folio);
		xa_lock_irq(pages);
		if (xa_get_mark(pages, folio->index, GM_TAG_REFERENCED)) {
			__xa_clear_mark(pages, folio->index, GM_TAG_REFERENCED);
			WRITE_ONCE(gm->nr_referenced, gm->nr_referenced -
				   gm_folio_nr_referenced(folio));
		}
		xa_unlock_irq(pages);
		folio_unlock(folio);
	}
}

/**
 * gm_get_direct_map_restored - take the first reference to a restored page
 * @page: A hidden page whose direct map entry was just restored.  Its folio is
 *	locked, and its state can be set without an allocation.
 *
 * Context: Does not sleep.
 */
void gm_get_direct_map_restored(struct page *page)
{
	struct folio *folio = page_folio(page);
	unsigned long state = gm_page_state(page);

	state = (state & ~GM_PAGE_HIDDEN) + GM_PAGE_COUNT_ONE;
	gm_page_set_state(page, state);
	gm_tag_referenced(folio, 1);
	trace_guest_memfd_get(page_to_pfn(page), 1, gm_page_count(state));
	folio_get(folio);
}

/**
 * gm_get_direct_map - take a direct-map reference
 * @page: A page of a NO_DIRECT_MAP file; its folio is locked.
 *
 * If a lazy put has queued a reference to the page, the function takes that
 * one.
 *
 * Context: May sleep and allocate.
 * Return: 0; -EFAULT for a donated page; -EOVERFLOW; or -ENOMEM, because the
 * first reference to a page of a block allocates an own word for the page and
 * splits a large mapping.
 */
int gm_get_direct_map(struct page *page)
{
	unsigned long state = gm_page_state(page);
	int err;

	if (state & GM_PAGE_DONATED && !(state & GM_PAGE_SHARED))
		return -EFAULT;
	if (state & GM_PAGE_LAZY) {
		revive(page);
		return 0;
	}
	if (gm_page_count(state) == GM_PAGE_COUNT_MAX)
		return -EOVERFLOW;
	err = gm_page_reserve_word(page);
	if (err)
		return err;
	if (state & GM_PAGE_HIDDEN)
		err = direct_map_restore(page, 1);
	else if (state & GM_PAGE_LEVEL)
		/*
		 * The page may have been restored with its block.  Its last put
		 * will hide it alone.
		 */
		err = direct_map_split(page);
	if (err) {
		/* Release the reserved word. */
		gm_page_set_state(page, state);
		return err;
	}
	if (state & GM_PAGE_HIDDEN) {
		gm_get_direct_map_restored(page);
		return 0;
	}
	state += GM_PAGE_COUNT_ONE;
	gm_page_set_state(page, state);
	trace_guest_memfd_get(page_to_pfn(page), 1, gm_page_count(state));
	folio_get(page_folio(page));
	return 0;
}

/**
 * gm_put_direct_map_hidden - drop the last reference to a hidden page
 * @page: A page with one direct-map reference; its folio is locked.
 *
 * The caller drops the reference to the folio that the direct-map reference
 * included.
 *
 * Context: Does not sleep.
 */
void gm_put_direct_map_hidden(struct page *page)
{
	unsigned long state = gm_page_state(page);

	if (state & GM_PAGE_LEFT)
		end_left(page);
	state = ((state & ~GM_PAGE_LEFT) | GM_PAGE_HIDDEN) - GM_PAGE_COUNT_ONE;
	gm_page_set_state(page, state);
	gm_untag_referenced(page_folio(page), 1);
	trace_guest_memfd_put(page_to_pfn(page), 1, gm_page_count(state));
}

/**
 * gm_put_direct_map - drop a direct-map reference
 * @page: A page to which the caller has a direct-map reference; its folio is
 *	locked.
 *
 * Hiding a page that was restored alone cannot fail, because the restore has
 * split the large mapping.  The caller drops the reference to the folio that
 * the direct-map reference included.
 *
 * Context: May sleep.
 * Return: 1 if it was the last reference and the page is hidden now; 0 if there
 * are other references; -ENOMEM if nothing was changed.
 */
int gm_put_direct_map(struct page *page)
{
	unsigned long state = gm_page_state(page);

	if (gm_page_count(state) == 1) {
		if (direct_map_hide(page, 1))
			return -ENOMEM;
		gm_put_direct_map_hidden(page);
		return 1;
	}

	state -= GM_PAGE_COUNT_ONE;
	gm_page_set_state(page, state);
	if (state & GM_PAGE_LEFT && state & GM_PAGE_LEVEL && gm_page_count(state) == 1 &&
	    folio_test_large(page_folio(page)))
		join_left(page);
	trace_guest_memfd_put(page_to_pfn(page), 1, gm_page_count(state));
	return 0;
}

/**
 * gm_raise_folio - take level KERNEL's reference for a folio that was restored
 * @folio: A locked folio whose pages without an own word were just restored.
 *
 * The reference is part of the common word of a block, and of each own word.
 *
 * Context: Does not sleep.
 */
void gm_raise_folio(struct folio *folio)
{
	unsigned long state = gm_folio_state(folio);
	unsigned int i, nr = folio_nr_pages(folio);

	state = ((state & ~GM_PAGE_HIDDEN) | GM_PAGE_LEVEL) + GM_PAGE_COUNT_ONE;
	gm_folio_set_state(folio, state);
	for (i = 0; gm_folio_next_word(folio, &i, &state); i++) {
		struct page *page = folio_page(folio, i);

		nr--;
		if (!(state & GM_PAGE_LAZY)) {
			gm_page_set_state(page, (state | GM_PAGE_LEVEL) + GM_PAGE_COUNT_ONE);
			continue;
		}
		/*
		 * A lazy put has queued the reference since the change began.
		 * Replace it by the level's reference.
		 */
		revive(page);
		gm_page_set_state(page, (state & ~GM_PAGE_LAZY) | GM_PAGE_LEVEL);
		trace_guest_memfd_put(page_to_pfn(page), 1, 1);
		folio_put(folio);
	}
	gm_tag_referenced(folio, nr);
	trace_guest_memfd_get(folio_pfn(folio), folio_nr_pages(folio), 1);
	folio_get(folio);
}

/**
 * gm_lower_folio - drop level KERNEL's reference of a folio that was hidden
 * @folio: A locked folio at KERNEL whose pages without an own word were just
 *	hidden.
 *
 * The caller drops the reference to the folio that level KERNEL's reference
 * included.
 *
 * Context: Does not sleep.
 */
void gm_lower_folio(struct folio *folio)
{
	unsigned long state = gm_folio_state(folio);
	unsigned int i, nr = folio_nr_pages(folio);
	struct gm_left *left = NULL;

	if (state & GM_PAGE_LEFT && !folio_test_large(folio))
		end_left(&folio->page);
	else if (state & GM_PAGE_LEFT)
		left = xa_erase(&left_blocks, folio_pfn(folio));
	state = ((state & ~(GM_PAGE_LEFT | GM_PAGE_LEVEL)) | GM_PAGE_HIDDEN) -
		GM_PAGE_COUNT_ONE;
	gm_folio_set_state(folio, state);
	for (i = 0; gm_folio_next_word(folio, &i, &state); i++) {
		gm_page_set_state(folio_page(folio, i),
				  (state & ~GM_PAGE_LEVEL) - GM_PAGE_COUNT_ONE);
		nr--;
	}
	if (left) {
		atomic_long_sub(nr, &left->pages);
		left_put(left);
	}
	gm_untag_referenced(folio, nr);
	trace_guest_memfd_put(folio_pfn(folio), folio_nr_pages(folio), 0);
}

/**
 * gm_is_free_orphan - can the library clear and free a folio?
 * @folio: A locked folio.
 *
 * It can if the folio was removed from its file and has no direct-map
 * reference.
 *
 * A PINNABLE folio has level KERNEL's reference and is on a list.  A donated
 * page has a reference to its folio, too.
 *
 * Context: Any.
 * Return: True if the caller must call guest_memfd_block_release().
 */
bool gm_is_free_orphan(struct folio *folio)
{
	unsigned long state = gm_folio_state(folio);

	return state & GM_PAGE_ORPHAN && !(state & (GM_PAGE_OWN_WORDS | GM_PAGE_DONATED)) &&
	       state & GM_PAGE_HIDDEN;
}

#if IS_ENABLED(CONFIG_KUNIT)
/* Has every removed page lost its direct-map references? */
bool gm_references_none_left(void)
{
	return xa_empty(&left_pages) && xa_empty(&left_blocks);
}
#endif
