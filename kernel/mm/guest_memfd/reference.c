// SPDX-License-Identifier: GPL-2.0-only
/*
 * The direct-map references of one page.
 *
 * Each holds a reference to the page.  The first restores the direct map entry,
 * the last hides the page again.
 *
 * Hiding a page flushes the TLBs of all CPUs, and a guest decides how often KVM
 * gets and puts a reference: it turns its clock on and off, or runs nested guests.
 * So the last put of a page that stays in its file is lazy.  It leaves the
 * reference in a queue of the owner, where the next get of the page takes it over
 * without touching the direct map.  A worker drops what no get has taken over within
 * 50 ms, with one flush for all pages of the queue.  A reference in a queue counts
 * like any other.
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

#include "block.h"
#include "direct_map.h"
#include "page_state.h"
#include "reference.h"

/* With the lock of the mapping's i_pages held. */
static void set_tag(struct address_space *mapping, pgoff_t index, bool referenced)
{
	struct guest_memfd *gm = mapping->host->i_private;

	if (xa_get_mark(&mapping->i_pages, index, GM_TAG_REFERENCED) == referenced)
		return;
	if (referenced) {
		__xa_set_mark(&mapping->i_pages, index, GM_TAG_REFERENCED);
		WRITE_ONCE(gm->nr_referenced, gm->nr_referenced + 1);
	} else {
		__xa_clear_mark(&mapping->i_pages, index, GM_TAG_REFERENCED);
		WRITE_ONCE(gm->nr_referenced, gm->nr_referenced - 1);
	}
}

/**
 * struct gm_left - the pages that left one file and are still referenced
 * @refs: One of the file, one for each such page: a page can outlive its file.
 * @pages: The number of such pages.
 */
struct gm_left {
	refcount_t refs;
	atomic_long_t pages;
};

/*
 * The struct gm_left of each page with GM_PAGE_LEFT, by pfn.  Truncation clears
 * folio->mapping, so that the last put has no other way to the file's counter.
 */
static DEFINE_XARRAY(left_pages);

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

/**
 * gm_references_leave - count the referenced pages of a range that leaves a file
 * @gm: The memory of a NO_DIRECT_MAP file, its invalidate_lock held for writing.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * Truncation of the range must follow.  Puts may run meanwhile, gets cannot.
 *
 * Context: May sleep.  Cannot fail, as a hole cannot: the allocations, a few
 * bytes for each page with a reference, are repeated until they succeed.
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
		unsigned long state;

		left = file_left(gm);
		folio_lock(folio);
		state = gm_page_state(folio);
		if (gm_page_count(state) && !(state & GM_PAGE_LEFT)) {
			refcount_inc(&left->refs);
			atomic_long_inc(&left->pages);
			WARN_ON_ONCE(xa_err(xa_store(&left_pages, folio_pfn(folio), left,
						     GFP_KERNEL | __GFP_NOFAIL)));
			gm_page_set_state(folio, state | GM_PAGE_LEFT);
		}
		folio_unlock(folio);
		cond_resched();
	}
}

/* The last reference to a page with GM_PAGE_LEFT has ended. */
static void end_left(struct folio *folio)
{
	struct gm_left *left = xa_erase(&left_pages, folio_pfn(folio));

	if (WARN_ON_ONCE(!left))
		return;
	atomic_long_dec(&left->pages);
	left_put(left);
}

/**
 * gm_references_left - how many pages left a file and are still referenced
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
 * gm_references_destroy - free what counts the references of a file
 * @gm: The file's memory; all pages have left it.
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
 * gm_tag_referenced - count a page, or not, among the referenced ones of its file
 * @folio: A locked folio; nothing is done if it is in no file.
 * @referenced: Does it have a direct-map reference?
 *
 * The tag says whether the page is in the file's count.
 */
void gm_tag_referenced(struct folio *folio, bool referenced)
{
	struct address_space *mapping = folio->mapping;

	if (!mapping)
		return;
	xa_lock_irq(&mapping->i_pages);
	set_tag(mapping, folio->index, referenced);
	xa_unlock_irq(&mapping->i_pages);
}

/* References of all files of one owner that can wait in its queue. */
#define PUT_QUEUE_MAX	16
/* How long they wait.  With the flush this is to stay below 100 ms. */
#define PUT_DELAY	(HZ / 20)

/**
 * struct guest_memfd_put_queue - direct-map references that end soon
 * @refs: One of the owner, one of each file that uses the queue.
 * @work: Runs when the oldest entry has waited for PUT_DELAY.
 * @lock: Protects the entries.  Taken under folio locks.
 * @nr: Number of entries.
 * @entries: Folios with GM_PAGE_LAZY, each with its one reference, and when it
 *	was put, in jiffies.
 */
struct guest_memfd_put_queue {
	refcount_t refs;
	struct delayed_work work;
	spinlock_t lock; /* protects the entries */
	unsigned int nr;
	struct put_entry {
		struct folio *folio;
		unsigned long since;
	} entries[PUT_QUEUE_MAX];
};

/* Which entries drain() is to drop. */
struct drain_range {
	bool all;
	struct address_space *mapping; /* or NULL for what waited long enough */
	pgoff_t start, end;
};

static bool entry_matches(const struct put_entry *entry, const struct drain_range *range)
{
	struct address_space *mapping = READ_ONCE(entry->folio->mapping);

	/* Truncated after it was queued: it waits to be scrubbed. */
	if (!mapping || range->all)
		return true;
	/* One of them is due: to take along what waits half as long saves a flush. */
	if (!range->mapping)
		return time_after_eq(jiffies, entry->since + PUT_DELAY / 2);
	return mapping == range->mapping && entry->folio->index >= range->start &&
	       entry->folio->index < range->end;
}

static bool remove_folio(struct guest_memfd_put_queue *queue, struct folio *folio)
{
	unsigned int i;

	guard(spinlock)(&queue->lock);
	for (i = 0; i < queue->nr; i++) {
		if (queue->entries[i].folio != folio)
			continue;
		queue->entries[i] = queue->entries[--queue->nr];
		return true;
	}
	return false;
}

/*
 * Drop the references of locked folios that are in the queue, with one flush.  The
 * entries stay until their page is hidden: so another drain() waits for the folio
 * lock, and the pages count as pending.
 */
static void drop_locked(struct guest_memfd_put_queue *queue, struct folio **folios,
			unsigned int nr)
{
	struct page *pages[PUT_QUEUE_MAX];
	bool orphan[PUT_QUEUE_MAX];
	unsigned int i, done;

	if (!nr)
		return;
	for (i = 0; i < nr; i++)
		pages[i] = &folios[i]->page;
	done = direct_map_hide_ranges(pages, nr, 1);
	for (i = 0; i < nr; i++) {
		struct folio *folio = folios[i];
		unsigned long state = gm_page_state(folio) & ~GM_PAGE_LAZY;

		gm_page_set_state(folio, state);
		if (i < done)
			gm_put_direct_map_hidden(folio);
		remove_folio(queue, folio);
		orphan[i] = state & GM_PAGE_ORPHAN;
		folio_unlock(folio);
	}
	/* No folio is locked any more: to release one takes its block's lock. */
	for (i = 0; i < done; i++) {
		folio_put(folios[i]);
		if (orphan[i])
			guest_memfd_block_release(folios[i]);
	}
	/*
	 * The first reference made the page table for a page, so that hiding it
	 * cannot fail.  If it fails the page keeps the reference for good, and
	 * never reaches the allocator.
	 */
	WARN_ON_ONCE(done < nr);
}

/* Drop what is in the range; other entries can be added meanwhile. */
static void drain(struct guest_memfd_put_queue *queue, const struct drain_range *range)
{
	struct folio *folios[PUT_QUEUE_MAX], *busy;
	unsigned int i, nr;

	do {
		busy = NULL;
		nr = 0;
		spin_lock(&queue->lock);
		for (i = 0; i < queue->nr; i++) {
			struct folio *folio = queue->entries[i].folio;

			if (!entry_matches(&queue->entries[i], range))
				continue;
			/* Locked by a get, which waits for queue->lock, or by a drop. */
			if (folio_trylock(folio))
				folios[nr++] = folio;
			else
				busy = folio;
		}
		if (busy)
			folio_get(busy);
		spin_unlock(&queue->lock);
		drop_locked(queue, folios, nr);

		if (busy) {
			folio_lock(busy);
			if (gm_page_state(busy) & GM_PAGE_LAZY)
				drop_locked(queue, (struct folio *[]){ busy }, 1);
			else
				folio_unlock(busy);
			folio_put(busy);
		}
	} while (busy);
}

/*
 * Run the work again when the oldest entry is due.
 *
 * Return: True when it is due already, and the work does not run again.
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

	/* The entry that the work was queued for may have been taken over. */
	while (rearm(queue))
		drain(queue, &due);
}

/**
 * gm_put_lazily - leave the last reference of a page to the queue
 * @folio: A locked folio with a reference of the caller's.
 *
 * The page must stay in its file: what has left it is scrubbed at once.
 *
 * Context: May sleep.  The folio can be unlocked and locked again.
 * Return: True when the queue has the reference now.
 */
bool gm_put_lazily(struct folio *folio)
{
	const struct drain_range all = { .all = true };
	struct guest_memfd_put_queue *queue;
	struct guest_memfd *gm;
	bool drained = false;

again:
	if (!folio->mapping || gm_page_count(gm_page_state(folio)) != 1 ||
	    (gm_page_state(folio) & GM_PAGE_LEFT) || folio_test_hwpoison(folio))
		return false;
	gm = folio->mapping->host->i_private;
	queue = gm->put_queue;
	if (!queue)
		return false;

	spin_lock(&queue->lock);
	if (queue->nr == PUT_QUEUE_MAX) {
		spin_unlock(&queue->lock);
		if (drained)
			return false;
		/* The file may be evicted while the folio is unlocked. */
		refcount_inc(&queue->refs);
		folio_unlock(folio);
		drain(queue, &all);
		guest_memfd_put_queue_free(queue);
		folio_lock(folio);
		drained = true;
		goto again;
	}
	gm_page_set_state(folio, gm_page_state(folio) | GM_PAGE_LAZY);
	queue->entries[queue->nr++] = (struct put_entry) {
		.folio = folio,
		.since = jiffies,
	};
	/* If the work is queued already, it is for an older entry. */
	queue_delayed_work(system_dfl_wq, &queue->work, PUT_DELAY);
	spin_unlock(&queue->lock);
	return true;
}

/* The reference of a locked folio in the queue becomes the caller's. */
static void revive(struct folio *folio)
{
	struct guest_memfd *gm = folio->mapping->host->i_private;

	WARN_ON_ONCE(!remove_folio(gm->put_queue, folio));
	gm_page_set_state(folio, gm_page_state(folio) & ~GM_PAGE_LAZY);
}

/**
 * gm_references_drain - end the references in the queue that are of a range
 * @gm: The file's memory, its invalidate_lock held for writing.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * Those of pages that left any file end as well.
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
 * gm_references_pending - how many references of a file are in the queue
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
		nr += READ_ONCE(queue->entries[i].folio->mapping) == gm->inode->i_mapping;
	return nr;
}

/**
 * guest_memfd_put_queue_alloc - allocate a queue for lazy puts
 *
 * Context: May sleep.
 * Return: The queue with a reference for the caller, or NULL.
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
	/* Each file drained its entries when it was evicted. */
	WARN_ON_ONCE(queue->nr);
	cancel_delayed_work_sync(&queue->work);
	kfree(queue);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_put_queue_free, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_set_put_queue - have the last put of the pages of a file be lazy
 * @gm: The memory of a new file, which is not in use yet.
 * @queue: The owner's queue, for all files of one guest.  The file takes a
 *	reference to it.
 *
 * Without a queue, a page is hidden before its last put returns.
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
 * gm_untag_range - stop counting pages that are about to leave their file
 * @mapping: The file's mapping; its invalidate_lock is held exclusively.
 * @start: First index of the range, in pages.
 * @end: Index after the range.
 *
 * Truncation removes the tag with the page, but does not know the count.  No
 * reference can be taken before the page has left, as that needs the
 * invalidate_lock; one that is put finds no tag.
 */
void gm_untag_range(struct address_space *mapping, pgoff_t start, pgoff_t end)
{
	struct xarray *pages = &mapping->i_pages;
	unsigned long index = start;

	while (xa_find(pages, &index, end - 1, GM_TAG_REFERENCED)) {
		xa_lock_irq(pages);
		set_tag(mapping, index, false);
		xa_unlock_irq(pages);
		if (index++ == end - 1)
			break;
	}
}

/**
 * gm_get_direct_map_restored - take the first reference to a page that was restored
 * @folio: A locked hidden folio whose direct map entry was just restored.
 */
void gm_get_direct_map_restored(struct folio *folio)
{
	unsigned long state = gm_page_state(folio);

	state = (state & ~GM_PAGE_HIDDEN) + GM_PAGE_COUNT_ONE;
	gm_page_set_state(folio, state);
	gm_tag_referenced(folio, true);
	trace_guest_memfd_get(folio_pfn(folio), gm_page_count(state));
	folio_get(folio);
}

/**
 * gm_get_direct_map - take a direct-map reference
 * @folio: A locked folio of a NO_DIRECT_MAP file.
 *
 * A reference that was put lazily becomes the caller's.
 *
 * Return: 0, -EOVERFLOW, or -ENOMEM: the first reference to a page of a block splits
 * a large mapping, and so may any to a page that was raised with its block.
 */
int gm_get_direct_map(struct folio *folio)
{
	unsigned long state = gm_page_state(folio);
	int err;

	if (state & GM_PAGE_LAZY) {
		revive(folio);
		return 0;
	}
	if (gm_page_count(state) == GM_PAGE_COUNT_MAX)
		return -EOVERFLOW;
	if (state & GM_PAGE_HIDDEN) {
		err = direct_map_restore(&folio->page, 1);
		if (!err)
			gm_get_direct_map_restored(folio);
		return err;
	}
	/* It may have been restored with its block, and will be hidden alone. */
	if (state & GM_PAGE_LEVEL) {
		err = direct_map_split(&folio->page);
		if (err)
			return err;
	}

	state += GM_PAGE_COUNT_ONE;
	gm_page_set_state(folio, state);
	trace_guest_memfd_get(folio_pfn(folio), gm_page_count(state));
	folio_get(folio);
	return 0;
}

/**
 * gm_put_direct_map_hidden - drop the last reference to a page that was just hidden
 * @folio: A locked folio with one direct-map reference.
 *
 * The caller drops the reference to the folio that belongs to it.
 */
void gm_put_direct_map_hidden(struct folio *folio)
{
	unsigned long state = gm_page_state(folio);

	if (state & GM_PAGE_LEFT)
		end_left(folio);
	state = ((state & ~GM_PAGE_LEFT) | GM_PAGE_HIDDEN) - GM_PAGE_COUNT_ONE;
	gm_page_set_state(folio, state);
	gm_tag_referenced(folio, false);
	trace_guest_memfd_put(folio_pfn(folio), gm_page_count(state));
}

/**
 * gm_put_direct_map - drop a direct-map reference
 * @folio: A locked folio with such a reference of the caller's.
 *
 * Hiding a page that was restored alone cannot fail: that has split the large
 * mapping.  Hiding a single page of a block that was raised as a whole can fail.
 * The caller drops the reference to the folio that came with it.
 *
 * Return: 1 when it was the last reference and the page is hidden now, 0 when there
 * are others, or -ENOMEM with nothing changed.
 */
int gm_put_direct_map(struct folio *folio)
{
	unsigned long state = gm_page_state(folio);

	if (gm_page_count(state) == 1) {
		if (direct_map_hide(&folio->page, 1))
			return -ENOMEM;
		gm_put_direct_map_hidden(folio);
		return 1;
	}

	state -= GM_PAGE_COUNT_ONE;
	gm_page_set_state(folio, state);
	trace_guest_memfd_put(folio_pfn(folio), gm_page_count(state));
	return 0;
}
