// SPDX-License-Identifier: GPL-2.0-only
/*
 * Donated pages: pages that a hypervisor has removed from the host for a guest.
 *
 * pKVM removes such a page from the host's stage 2.  Any access by the host
 * then faults at EL2, and the kernel's handler of that fault takes the page
 * from the guest by force.  This library therefore neither accesses nor frees a
 * donated page until the hypervisor has returned it.
 *
 * A donated page has GM_PAGE_DONATED in its state, and each donated page holds
 * one reference to its folio.  A donation can begin only at level NONE, where
 * no process maps the page and GUP refuses it, and only while the folio has no
 * other reference.  This excludes concurrent accesses of KVM, which take a
 * reference but no lock: the reference of an access that began before prevents
 * the donation, and an access that begins later sees the flag.  While a page of
 * a range is donated, the library does not raise the level of the range, and a
 * hole punch does not remove the page from its file.
 *
 * A block with donated pages stays one folio.  A bitmap beside the folio
 * records which of its pages are donated.
 *
 * The guest decides about its pages.  It can share a page with the host, which
 * sets GM_PAGE_SHARED as well: the page is then a single page at level USER,
 * and the user of the file may choose another level.  It can end the sharing,
 * which is a change to NONE that also waits for other references to be dropped,
 * as a donation does.  The hypervisor commits both: it shares a page before the
 * host can see it, and ends the sharing after the host cannot see the page any
 * more.
 */

#include <linux/bitmap.h>
#include <linux/guest_memfd.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "../internal.h"
#include "access.h"
#include "donate.h"
#include "file.h"
#include "page_state.h"
#include "reference.h"
#include "scrub.h"

/**
 * struct gm_donated - the donated pages of a block
 * @nr: Number of bits set in @which.
 * @which: Bitmap of the donated pages.
 * @rcu: Frees the structure after a grace period, because KVM's accesses read
 *	@which without a lock.
 *
 * The folio lock protects the structure.
 */
struct gm_donated {
	unsigned int nr;
	DECLARE_BITMAP(which, GM_BLOCK_PAGES);
	struct rcu_head rcu;
};

/*
 * The struct gm_donated of each block that has one, by pfn >>
 * GM_BLOCK_MAX_ORDER.
 */
static DEFINE_XARRAY(donated_blocks);

/* Number of attempts to freeze a folio. */
#define FREEZE_TRIES	64

static struct gm_donated *donated_of(struct page *page)
{
	return xa_load(&donated_blocks, page_to_pfn(page) >> GM_BLOCK_MAX_ORDER);
}

static unsigned int nr_in_block(struct page *page)
{
	return page_to_pfn(page) & (GM_BLOCK_PAGES - 1);
}

/**
 * gm_block_page_is_donated - is a page of a block donated?
 * @page: The page.
 *
 * Context: As gm_page_is_donated().
 * Return: True if it is.
 */
bool gm_block_page_is_donated(struct page *page)
{
	struct gm_donated *donated;

	guard(rcu)();
	donated = donated_of(page);
	return donated && test_bit(nr_in_block(page), donated->which);
}

/**
 * __gm_page_is_donated - is a page donated whose folio's word does not decide?
 * @page: The page.
 *
 * The common word of a block only tells that some page of the block is donated.
 * While a block is split, its pages are in the file before each of them has its
 * own word; the bitmap exists until they have.
 *
 * Context: As gm_page_is_donated().
 * Return: True if it is.
 */
bool __gm_page_is_donated(struct page *page)
{
	struct gm_donated *donated;
	unsigned long state;

	guard(rcu)();
	donated = donated_of(page);
	if (donated)
		return test_bit(nr_in_block(page), donated->which);
	/*
	 * Read the word after the bitmap was not found.  Pairs with
	 * gm_forget_donated().
	 */
	smp_rmb();
	state = gm_folio_state(page_folio(page));
	return state & GM_PAGE_DONATED && !(state & GM_PAGE_SHARED);
}

/**
 * gm_folio_nr_donated - count the donated pages of a folio
 * @folio: A locked folio.
 *
 * Context: Any.
 * Return: The number of pages, which is also the number of references that they
 * hold.
 */
unsigned int gm_folio_nr_donated(struct folio *folio)
{
	struct gm_donated *donated;

	if (!(gm_folio_state(folio) & GM_PAGE_DONATED))
		return 0;
	if (!folio_test_large(folio))
		return 1;
	donated = donated_of(&folio->page);
	return WARN_ON_ONCE(!donated) ? 0 : donated->nr;
}

/**
 * gm_copy_donated - copy the bitmap of the donated pages of a block
 * @first: The first page of the block, which has donated pages.
 * @which: Receives the bitmap.
 *
 * Context: The caller has locked the pages.
 */
void gm_copy_donated(struct page *first, unsigned long *which)
{
	struct gm_donated *donated = donated_of(first);

	bitmap_zero(which, GM_BLOCK_PAGES);
	if (!WARN_ON_ONCE(!donated))
		bitmap_copy(which, donated->which, GM_BLOCK_PAGES);
}

/**
 * gm_forget_donated - delete the bitmap of a block
 * @page: A page of a block that has no donated pages any more or was split.
 *
 * Context: The caller has locked the page.  Does not allocate.
 */
void gm_forget_donated(struct page *page)
{
	struct gm_donated *donated;

	/*
	 * Store the words before deleting the bitmap.  Pairs with
	 * __gm_page_is_donated().
	 */
	smp_wmb();
	donated = xa_erase(&donated_blocks, page_to_pfn(page) >> GM_BLOCK_MAX_ORDER);
	kfree_rcu(donated, rcu);
}

/**
 * gm_split_donated - correct the tag of a page of a block that was split
 * @mapping: The file's mapping; the caller holds the lock of its i_pages.
 * @folio: The page, which is a locked folio and has its state.  It still has
 *	the tag of the block.
 *
 * Context: Interrupts are disabled.
 */
void gm_split_donated(struct address_space *mapping, struct folio *folio)
{
	if (!(gm_folio_state(folio) & GM_PAGE_DONATED))
		__xa_clear_mark(&mapping->i_pages, folio->index, GM_TAG_DONATED);
}

static bool part_is_donated(struct folio *folio, pgoff_t start, pgoff_t end)
{
	unsigned int first = max(start, folio->index) - folio->index;
	unsigned int last = min(end, folio_next_index(folio)) - folio->index;

	for (; first < last; first++) {
		if (gm_page_is_donated(folio_page(folio, first)))
			return true;
	}
	return false;
}

/**
 * gm_range_has_donated - is a page of a range donated?
 * @gm: The file's memory.  The caller holds its change_lock, which prevents
 *	splits of blocks, and its invalidate_lock exclusively.
 * @start: First index of the range, in pages.
 * @end: Index after the range, above @start.
 * @shared_too: Also consider pages that their guest shares with the host.
 *
 * Context: May sleep; takes folio locks.
 * Return: True if one is donated.  False stays valid while the invalidate_lock
 * is held.
 */
bool gm_range_has_donated(struct guest_memfd *gm, pgoff_t start, pgoff_t end, bool shared_too)
{
	struct xarray *pages = &gm->inode->i_mapping->i_pages;
	struct folio *folio;
	pgoff_t index = start;
	bool found;

	lockdep_assert_held(&gm->change_lock);
	lockdep_assert_held_write(&gm->inode->i_mapping->invalidate_lock);
	if (shared_too && xa_find(pages, &index, end - 1, GM_TAG_SHARED))
		return true;
	index = start;
	for (folio = xa_find(pages, &index, end - 1, GM_TAG_DONATED); folio;
	     folio = xa_find_after(pages, &index, end - 1, GM_TAG_DONATED)) {
		/*
		 * A concurrent end of a donation is possible, a new donation is
		 * not.
		 */
		folio_lock(folio);
		found = part_is_donated(folio, start, end);
		folio_unlock(folio);
		if (found)
			return true;
	}
	return false;
}

/**
 * gm_begin_hole - prevent donations while a hole is punched
 * @gm: The file's memory.
 * @start: First index of the hole, in pages.
 * @end: Index after the hole, above @start.
 *
 * A hole is punched in steps.  A guest fault that needs a donation in this file
 * fails with -EAGAIN until gm_end_hole(), and the guest faults again.
 *
 * Context: May sleep; takes gm->change_lock and the invalidate_lock.
 * Return: 0; or -EBUSY if a page of the hole is donated, in which case the
 * caller must not call gm_end_hole().
 */
int gm_begin_hole(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	int err = 0;

	if (!gm_hides(gm))
		return 0;
	guard(mutex)(&gm->change_lock);
	filemap_invalidate_lock(gm->inode->i_mapping);
	if (gm_range_has_donated(gm, start, end, true))
		err = -EBUSY;
	else
		atomic_inc(&gm->nr_holes);
	filemap_invalidate_unlock(gm->inode->i_mapping);
	return err;
}

/**
 * gm_end_hole - undo gm_begin_hole()
 * @gm: The file's memory.
 *
 * Context: Any.
 */
void gm_end_hole(struct guest_memfd *gm)
{
	if (gm_hides(gm))
		atomic_dec(&gm->nr_holes);
}

/*
 * Allocate the bitmap of the block of @page, which is locked.  Return: 0 or
 * -ENOMEM.
 */
static int prepare(struct page *page)
{
	unsigned long key = page_to_pfn(page) >> GM_BLOCK_MAX_ORDER;
	struct gm_donated *donated;
	int err;

	if (!folio_test_large(page_folio(page)) || donated_of(page))
		return 0;
	donated = kzalloc_obj(*donated, GFP_KERNEL_ACCOUNT);
	if (!donated)
		return -ENOMEM;
	err = xa_err(xa_store(&donated_blocks, key, donated, GFP_KERNEL));
	if (err)
		kfree(donated);
	return err;
}

/*
 * Mark a page as donated.  The caller takes the reference that the donation
 * holds.
 */
static void set_donated(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (folio_test_large(folio)) {
		struct gm_donated *donated = donated_of(page);

		__set_bit(nr_in_block(page), donated->which);
		donated->nr++;
	}
	gm_folio_set_state(folio, gm_folio_state(folio) | GM_PAGE_DONATED);
}

/* Account for a page of the folio that was donated. */
static void count_donated(struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	struct guest_memfd *gm = gm_of_mapping(mapping);

	xa_lock_irq(&mapping->i_pages);
	__xa_set_mark(&mapping->i_pages, folio->index, GM_TAG_DONATED);
	WRITE_ONCE(gm->nr_donated, gm->nr_donated + 1);
	xa_unlock_irq(&mapping->i_pages);
}

static void clear_donated(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct address_space *mapping = folio->mapping;
	bool shared = gm_folio_state(folio) & GM_PAGE_SHARED;
	struct gm_donated *donated = NULL;
	struct guest_memfd *gm;

	if (folio_test_large(folio)) {
		donated = donated_of(page);
		__clear_bit(nr_in_block(page), donated->which);
		donated->nr--;
	}
	if (!donated || !donated->nr)
		gm_folio_change_bits(folio, 0, GM_PAGE_DONATED | GM_PAGE_SHARED);
	if (donated && !donated->nr)
		gm_forget_donated(page);
	/* A file does not count a page that was removed from it. */
	if (!mapping)
		return;
	gm = gm_of_mapping(mapping);
	xa_lock_irq(&mapping->i_pages);
	if (!(gm_folio_state(folio) & GM_PAGE_DONATED)) {
		__xa_clear_mark(&mapping->i_pages, folio->index, GM_TAG_DONATED);
		__xa_clear_mark(&mapping->i_pages, folio->index, GM_TAG_SHARED);
	}
	if (shared)
		WRITE_ONCE(gm->nr_shared, gm->nr_shared - 1);
	else
		WRITE_ONCE(gm->nr_donated, gm->nr_donated - 1);
	xa_unlock_irq(&mapping->i_pages);
}

static void set_shared(struct folio *folio, bool shared)
{
	unsigned long state = gm_folio_state(folio) & ~GM_PAGE_SHARED;

	gm_folio_set_state(folio, state | (shared ? GM_PAGE_SHARED : 0));
}

/*
 * Account for a single page, in its file, that the guest has begun or ended to
 * share.
 */
static void count_shared(struct folio *folio, bool shared)
{
	struct address_space *mapping = folio->mapping;
	struct guest_memfd *gm = gm_of_mapping(mapping);
	int nr = shared ? 1 : -1;

	xa_lock_irq(&mapping->i_pages);
	__xa_clear_mark(&mapping->i_pages, folio->index, shared ? GM_TAG_DONATED : GM_TAG_SHARED);
	__xa_set_mark(&mapping->i_pages, folio->index, shared ? GM_TAG_SHARED : GM_TAG_DONATED);
	WRITE_ONCE(gm->nr_shared, gm->nr_shared + nr);
	WRITE_ONCE(gm->nr_donated, gm->nr_donated - nr);
	xa_unlock_irq(&mapping->i_pages);
}

/*
 * Freeze a locked folio if it has only the caller's @own references besides
 * those that the library knows.  The caller has disabled preemption, because a
 * concurrent lookup spins while the folio is frozen, even if it runs at a
 * higher priority.
 *
 * Return: The count for folio_ref_unfreeze(), or 0 if there are other
 * references.
 */
static int freeze_alone(struct folio *folio, int own)
{
	unsigned int tries = FREEZE_TRIES;
	/*
	 * References of the page cache, the library and memory_failure(), and
	 * those that direct-map references and donations hold.
	 */
	int expected = own + folio_nr_pages(folio) + 1 + gm_folio_references(folio);

	if (folio_test_large(folio))
		expected += gm_folio_nr_failed(folio, NULL);
	while (!folio_ref_freeze(folio, expected)) {
		if (!--tries)
			return 0;
		cpu_relax();
	}
	return expected;
}

/* The folio is locked.  Return: 0; or -EAGAIN if it has other references. */
static int set_donated_alone(struct page *page)
{
	struct folio *folio = page_folio(page);

	scoped_guard(preempt) {
		int count = freeze_alone(folio, 1);

		if (!count)
			return -EAGAIN;
		set_donated(page);
		folio_ref_unfreeze(folio, count + 1);
	}
	count_donated(folio);
	return 0;
}

/*
 * End the sharing of a page that the guest shares.  The caller has no
 * reference.
 */
static int end_shared_alone(struct folio *folio)
{
	/* A page that is not hidden has a direct-map reference. */
	if (!(gm_folio_state(folio) & GM_PAGE_HIDDEN))
		return -EAGAIN;
	scoped_guard(preempt) {
		int count = freeze_alone(folio, 0);

		if (!count)
			return -EAGAIN;
		set_shared(folio, false);
		folio_ref_unfreeze(folio, count);
	}
	return 0;
}

/*
 * Return: The folio of a page for which a guest makes a request.
 * gm->change_lock keeps it in the file.
 */
static struct folio *request_folio(struct guest_memfd *gm, pgoff_t index)
{
	lockdep_assert_held(&gm->change_lock);
	lockdep_assert_held_write(&gm->inode->i_mapping->invalidate_lock);
	return xa_load(&gm->inode->i_mapping->i_pages, index);
}

/**
 * gm_check_request - may a guest change the sharing of a page?
 * @gm: The file's memory.  The caller holds its change_lock, and its
 *	invalidate_lock exclusively.
 * @index: Index in the file, in pages.
 * @request: The request.
 *
 * Context: Does not sleep.
 * Return: 0; or -EPERM if the page is not donated, or has the requested state
 * already.
 */
int gm_check_request(struct guest_memfd *gm, pgoff_t index, const struct gm_request *request)
{
	struct folio *folio = request_folio(gm, index);

	if (!folio || !(gm_page_state(folio_file_page(folio, index)) & GM_PAGE_DONATED))
		return -EPERM;
	return request->share == !(gm_folio_state(folio) & GM_PAGE_SHARED) ? 0 : -EPERM;
}

/**
 * gm_commit_request - commit a guest's request
 * @gm: The file's memory.  The caller holds its change_lock, and its
 *	invalidate_lock exclusively.
 * @index: Index in the file, in pages, of a single page for which
 *	gm_check_request() has returned 0.
 * @request: The request.
 *
 * The caller stores the level after this function.
 *
 * Context: May sleep; takes the folio lock.
 * Return: 0; -EAGAIN if the page has other references; -EHWPOISON; or the error
 * of @request->commit.  After an error nothing has changed.
 */
int gm_commit_request(struct guest_memfd *gm, pgoff_t index, const struct gm_request *request)
{
	struct folio *folio = request_folio(gm, index);
	int err = 0;

	folio_lock(folio);
	/* A fault that saw the former level may have mapped the folio. */
	if (folio_mapped(folio))
		gm_unmap_folio(folio);
	if (folio_test_hwpoison(folio))
		err = -EHWPOISON;
	else if (!request->share)
		err = end_shared_alone(folio);
	if (!err) {
		err = request->commit(request->arg);
		/*
		 * Set the flag if the page is shared now, or set it again if
		 * the guest's request to end the sharing failed.
		 */
		if (request->share == !err)
			set_shared(folio, true);
		if (!err)
			count_shared(folio, request->share);
	}
	folio_unlock(folio);
	return err;
}

/**
 * guest_memfd_is_shared - does a guest share a page with the host?
 * @gm: The memory of a NO_DIRECT_MAP file.
 * @index: Index in the file, in pages.
 *
 * Context: Does not sleep.  The caller holds the invalidate_lock.
 * Return: True if it does.
 */
bool guest_memfd_is_shared(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio = filemap_get_folio(gm->inode->i_mapping, index);
	bool shared;

	lockdep_assert_held(&gm->inode->i_mapping->invalidate_lock);
	if (IS_ERR(folio))
		return false;
	shared = gm_folio_state(folio) & GM_PAGE_SHARED;
	folio_put(folio);
	return shared;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_is_shared, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_guest_request - share a donated page with the host, or end that
 * @gm: The memory of a NO_DIRECT_MAP file.
 * @index: Index in the file, in pages; below the file's size.
 * @share: True to share the page with the host, false to end the sharing.
 * @commit: Callback that makes the hypervisor do it on the guest's behalf.  It
 *	must not sleep.
 * @arg: Argument of @commit.
 *
 * A page that its guest shares is at level USER at first, and later at each
 * level to which the range is changed.  The function waits for changes of
 * levels in progress.  Like guest_memfd_set_access(), it also waits for
 * short-lived references: to the page's block, which it splits, and, if it ends
 * the sharing, to the page.
 *
 * Context: May sleep; takes gm->change_lock, the invalidate_lock and the folio
 * lock, and calls @commit with all of them held.
 * Return: 0; -EPERM if the page is not donated to a guest, or has the requested
 * state already; -EAGAIN if the page has other references; -EHWPOISON; -ENOMEM;
 * -EAGAIN or -EINTR after a fatal signal; or the error of @commit.  After an
 * error the page and its level are unchanged, but user mappings may have been
 * removed and the page's block may have been split.
 */
int guest_memfd_guest_request(struct guest_memfd *gm, pgoff_t index, bool share,
			      int (*commit)(void *arg), void *arg)
{
	struct gm_request request = { .share = share, .commit = commit, .arg = arg };
	pgoff_t ignored;

	if (!gm_hides(gm))
		return -EPERM;
	return guest_memfd_access_change(gm, index, index + 1,
					 share ? GUEST_MEMFD_ACCESS_USER : GUEST_MEMFD_ACCESS_NONE,
					 false, &request, &ignored);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_guest_request, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_donate - permit a hypervisor to remove a page from the host
 * @page: A page of a NO_DIRECT_MAP file, with one reference that the caller
 *	holds; its folio is locked.
 *
 * After this function has returned 0, the library does not access the page,
 * whether or not the hypervisor has removed it yet.  The owner ends the
 * donation by guest_memfd_undo_donation() if the hypervisor has not removed the
 * page, and by guest_memfd_end_donation() when the hypervisor has returned it.
 *
 * Context: May sleep.  The caller has locked the folio and holds the
 * invalidate_lock of its file shared.
 * Return: 0; -EPERM above GUEST_MEMFD_ACCESS_NONE; -EEXIST if the page is
 * donated already; -EAGAIN if it has other references, or while a change of
 * levels or a hole punch is in progress; -ESTALE if the page was removed from
 * its file; -EHWPOISON; or -ENOMEM.
 */
int guest_memfd_donate(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct address_space *mapping = folio->mapping;
	struct guest_memfd *gm;
	unsigned long state;
	pgoff_t index;
	int err;

	if (!mapping)
		return -ESTALE;
	gm = gm_of_mapping(mapping);
	index = folio->index + folio_page_idx(folio, page);
	lockdep_assert_held(&mapping->invalidate_lock);
	if (!gm_hides(gm) || guest_memfd_access_level(gm, index) != GUEST_MEMFD_ACCESS_NONE)
		return -EPERM;
	if (PageHWPoison(page))
		return -EHWPOISON;
	/*
	 * A change or a hole punch relies on the donations that it has found
	 * under the invalidate_lock.
	 */
	if (atomic_read(&gm->nr_holes) ||
	    (index >= gm->change_start && index < gm->change_end))
		return -EAGAIN;
	state = gm_page_state(page);
	if (state & GM_PAGE_DONATED)
		return -EEXIST;
	/*
	 * A change to NONE that is about to complete has not hidden the page
	 * yet, or the page has a direct-map reference.
	 */
	if (!(state & GM_PAGE_HIDDEN))
		return -EAGAIN;
	/* A fault that saw the former level may have mapped the folio. */
	if (folio_mapped(folio))
		gm_unmap_folio(folio);
	err = prepare(page);
	if (err)
		return err;
	err = set_donated_alone(page);
	if (err && folio_test_large(folio) && !donated_of(page)->nr)
		gm_forget_donated(page);
	return err;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_donate, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_undo_donation - undo guest_memfd_donate()
 * @page: A page that guest_memfd_donate() has donated and the hypervisor has
 *	not removed.  The caller has not unlocked its folio since, and has a
 *	reference.
 *
 * Context: Does not sleep.
 */
void guest_memfd_undo_donation(struct page *page)
{
	clear_donated(page);
	put_page(page);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_undo_donation, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_end_donation - end the donation of a returned page
 * @page: Any page that cannot be freed meanwhile.  If it is donated, the
 *	hypervisor has returned it.
 *
 * If the page was removed from its file, the function clears and frees it, as
 * soon as no page of its block is donated.  A page that is still in its file
 * stays there with the contents that the hypervisor has left in it.  It stays
 * hidden, unless the guest shared it and it has a direct-map reference.
 *
 * Context: May sleep; takes the folio lock.
 * Return: False if the page is not donated.
 */
bool guest_memfd_end_donation(struct page *page)
{
	struct folio *folio;
	bool free;

	if (!guest_memfd_owns_pfn(page_to_pfn(page)))
		return false;
	folio = gm_lock_page(page);
	if (!(gm_page_state(page) & GM_PAGE_DONATED)) {
		folio_unlock(folio);
		return false;
	}
	clear_donated(page);
	free = gm_is_free_orphan(folio);
	folio_unlock(folio);
	folio_put(folio);
	if (free)
		guest_memfd_block_release(folio, true);
	return true;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_end_donation, GUEST_MEMFD_OWNERS);
