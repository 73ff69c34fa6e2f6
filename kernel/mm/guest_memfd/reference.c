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

#include "../internal.h"
#include "direct_map.h"
#include "page_state.h"
#include "reference.h"
#include "scrub.h"

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
 * The struct gm_left of each single page, and of each page with an own word, that has
 * GM_PAGE_LEFT, by pfn; and of each block whose common word has it.  Truncation clears
 * folio->mapping, so that the last put has no other way to the file's counter.
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
		left = file_left(gm);
		folio_lock(folio);
		folio_leaves(folio, left);
		folio_unlock(folio);
		cond_resched();
	}
}

/* The last reference to a page with GM_PAGE_LEFT has ended. */
static void end_left(struct page *page)
{
	struct gm_left *left = xa_erase(&left_pages, page_to_pfn(page));

	if (WARN_ON_ONCE(!left))
		return;
	atomic_long_dec(&left->pages);
	left_put(left);
}

/*
 * A page of a block with GM_PAGE_LEFT has only level KERNEL's reference any more, and no own
 * word: it is counted with those that never had one, as gm_lower_folio() does.
 */
static void join_left(struct page *page)
{
	struct gm_left *left = xa_erase(&left_pages, page_to_pfn(page));

	if (!WARN_ON_ONCE(!left))
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
 * gm_tag_referenced - count pages among the referenced ones of their file
 * @folio: A locked folio; nothing is done if it is in no file.
 * @nr: How many of its pages have their first direct-map reference now.
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
 * gm_untag_referenced - do not count pages among the referenced ones any more
 * @folio: A locked folio; nothing is done if it is in no file, or about to leave one.
 * @nr: How many of its pages have no direct-map reference any more; their states say so.
 *
 * The tag says whether pages of the folio are in the file's count.
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
 * Return: The folio of a page that the caller's reference keeps, with a reference, as the
 * page may leave it by a split at any time; NULL while a task has its count frozen.
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
 * gm_get_folio_of - get a reference to the folio that a page is of
 * @page: A page that the caller's reference keeps.
 *
 * Context: May sleep.
 * Return: The folio, which keeps the page until the reference is dropped.
 */
struct folio *gm_get_folio_of(struct page *page)
{
	struct folio *folio;

	while (!(folio = try_get_folio_of(page)))
		cond_resched();
	return folio;
}

/**
 * gm_lock_page - lock the folio that a page is of
 * @page: A page that cannot be freed meanwhile.
 *
 * The folio can be a block, and a single page once that is locked: to split a block, a
 * task holds its lock and has its reference count frozen.
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
		/* A reference would keep the holder of the lock from splitting the folio. */
		folio_put_wait_locked(folio, TASK_UNINTERRUPTIBLE);
	}
	/* The caller's keeps it. */
	folio_put(folio);
	return folio;
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
 * @entries: Pages with GM_PAGE_LAZY, each with its one reference, and when it
 *	was put, in jiffies.
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

/* Which entries drain() is to drop. */
struct drain_range {
	bool all;
	struct address_space *mapping; /* or NULL for what waited long enough */
	pgoff_t start, end;
};

static bool entry_matches(const struct put_entry *entry, const struct drain_range *range)
{
	struct folio *folio = page_folio(entry->page);
	struct address_space *mapping = READ_ONCE(folio->mapping);
	pgoff_t index;

	/* Truncated after it was queued: it waits to be scrubbed. */
	if (!mapping || range->all)
		return true;
	/* One of them is due: to take along what waits half as long saves a flush. */
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

/* The folios of some pages, each locked once. */
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
 * Drop the references to pages of locked folios that are in the queue, with one flush.
 * The entries stay until their page is hidden: so another drain() waits for the folio
 * lock, and the pages count as pending.
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
	/* No folio is locked any more: to release one may sleep for other locks. */
	for (i = 0; i < done; i++) {
		folio_put(folios[i]);
		if (release[i])
			guest_memfd_block_release(folios[i], true);
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
			/* Locked by a get, which waits for queue->lock, or by a drop. */
			if (!has_folio(&locked, folio) && !folio_trylock(folio)) {
				if (busy)
					folio_put(busy);
				busy = folio;
				continue;
			}
			/* The entry has a reference to the page, which is of it now. */
			locked.pages[locked.nr++] = page;
			folio_put(folio);
		}
		spin_unlock(&queue->lock);
		drop_locked(queue, &locked);

		if (busy) {
			/* A reference would keep the holder of the lock from splitting it. */
			folio_put_wait_locked(busy, TASK_UNINTERRUPTIBLE);
		} else if (again) {
			cond_resched();
		}
	} while (again);
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
 * @page: A page with a direct-map reference of the caller's; its folio is locked.
 *
 * The page must stay in its file: what has left it is scrubbed at once.
 *
 * Context: May sleep.  The folio can be unlocked; the page may be of another one, which
 * is locked, then.
 * Return: True when the queue has the reference now.
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
		/* The file may be evicted while the folio is unlocked. */
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
	/* If the work is queued already, it is for an older entry. */
	queue_delayed_work(system_dfl_wq, &queue->work, PUT_DELAY);
	spin_unlock(&queue->lock);
	return true;
}

/* The reference in the queue, to a page of a locked folio, becomes the caller's. */
static void revive(struct page *page)
{
	struct guest_memfd *gm = page_folio(page)->mapping->host->i_private;

	WARN_ON_ONCE(!remove_page(gm->put_queue, page));
	gm_page_set_state(page, gm_page_state(page) & ~GM_PAGE_LAZY);
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
		nr += READ_ONCE(page_folio(queue->entries[i].page)->mapping) ==
		      gm->inode->i_mapping;
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
	struct guest_memfd *gm = mapping->host->i_private;
	struct xarray *pages = &mapping->i_pages;
	unsigned long index = start;
	struct folio *folio;

	if (end <= start)
		return;
	for (folio = xa_find(pages, &index, end - 1, GM_TAG_REFERENCED); folio;
	     folio = xa_find_after(pages, &index, end - 1, GM_TAG_REFERENCED)) {
		/* A put that is not counted yet holds the lock. */
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
 * gm_get_direct_map_restored - take the first reference to a page that was restored
 * @page: A hidden page whose direct map entry was just restored; its folio is locked, and
 *	its state can be set.
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
 * A reference that was put lazily becomes the caller's.
 *
 * Return: 0; -EFAULT for a donated page; -EOVERFLOW; or -ENOMEM: the first reference to a
 * page of a block takes a word for its state and splits a large mapping.
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
		/* It may have been restored with its block, and will be hidden alone. */
		err = direct_map_split(page);
	if (err) {
		/* The word is not needed. */
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
 * gm_put_direct_map_hidden - drop the last reference to a page that was just hidden
 * @page: A page with one direct-map reference; its folio is locked.
 *
 * The caller drops the reference to the folio that belongs to it.
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
 * @page: A page with such a reference of the caller's; its folio is locked.
 *
 * Hiding a page that was restored alone cannot fail: that has split the large
 * mapping.  The caller drops the reference to the folio that came with it.
 *
 * Return: 1 when it was the last reference and the page is hidden now, 0 when there
 * are others, or -ENOMEM with nothing changed.
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
 * gm_raise_folio - take level KERNEL's reference of a folio that was restored
 * @folio: A locked folio whose pages without an own word were just restored.
 *
 * The pages of a block have the reference in common, and with those that some have.
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
		/* It was put since the change began.  The level's takes its place. */
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
 * @folio: A locked folio at KERNEL whose pages without an own word were just hidden.
 *
 * The caller drops the reference to the folio that belongs to it.
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
 * gm_is_free_orphan - has a folio left its file, and no page of it a reference?
 * @folio: A locked folio.
 *
 * One that is PINNABLE has the level's, and is in a list.  A donated page has one, too.
 *
 * Context: Any.
 * Return: True if guest_memfd_block_release() is to be called.
 */
bool gm_is_free_orphan(struct folio *folio)
{
	unsigned long state = gm_folio_state(folio);

	return state & GM_PAGE_ORPHAN && !(state & (GM_PAGE_OWN_WORDS | GM_PAGE_DONATED)) &&
	       state & GM_PAGE_HIDDEN;
}

#if IS_ENABLED(CONFIG_KUNIT)
/* Is no page counted among those that left a file and are still referenced? */
bool gm_references_none_left(void)
{
	return xa_empty(&left_pages) && xa_empty(&left_blocks);
}
#endif
