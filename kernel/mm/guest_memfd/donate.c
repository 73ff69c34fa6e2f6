// SPDX-License-Identifier: GPL-2.0-only
/*
 * Donated pages: a hypervisor has taken them from the host for a guest.
 *
 * pKVM removes such a page from the host's stage 2.  Any access of the host then
 * faults at EL2, and the kernel's answer to that fault is to take the page from the
 * guest by force, so nothing in this library accesses a donated page, and nothing
 * gives it back, until the hypervisor has returned it.
 *
 * Donation is GM_PAGE_DONATED in the state of a page, and one reference to the folio for
 * each such page.  It begins at level NONE only, where no process has the page
 * mapped and GUP does not return it, and only while the folio has no other reference.
 * That excludes accesses of KVM, which have a reference and take no lock: one that
 * began before has its reference counted and prevents the donation, a later one sees
 * the bit.  A level that permits more is not reached while a page of the range is
 * donated, and no such page leaves its file by a hole.
 *
 * A block stays whole.  Which of its pages are donated is in a bitmap beside the folio.
 *
 * The guest decides about a page that it has.  It can share it with the host, which is
 * GM_PAGE_SHARED as well: the page is then a single one, at level USER, and the file's user
 * may choose another level.  It can take the page back, which is a change to NONE that also
 * waits for each reference to end, as a donation does.  The hypervisor commits both: to
 * share, before the host can see the page; to take back, after it cannot any more.
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
 * @nr: Their number.
 * @which: Their bits.
 * @rcu: Accesses read @which without a lock.
 *
 * The folio lock protects it.
 */
struct gm_donated {
	unsigned int nr;
	DECLARE_BITMAP(which, GM_BLOCK_PAGES);
	struct rcu_head rcu;
};

/* The struct gm_donated of each block that has one, by pfn >> GM_BLOCK_MAX_ORDER. */
static DEFINE_XARRAY(donated_blocks);

/* Attempts to freeze a folio. */
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
 * __gm_page_is_donated - gm_page_is_donated() where the folio's word does not decide
 * @page: The page.
 *
 * The word of a block says that there is a donated page.  While a block is split, its pages
 * are in the file before each of them has its own word; the bitmap stays until they have.
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
	/* No bitmap, then the word; pairs with gm_forget_donated(). */
	smp_rmb();
	state = gm_folio_state(page_folio(page));
	return state & GM_PAGE_DONATED && !(state & GM_PAGE_SHARED);
}

/**
 * gm_folio_nr_donated - count the donated pages of a folio
 * @folio: A locked folio.
 *
 * Context: Any.
 * Return: Their number, and so that of the references that they hold.
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
 * gm_copy_donated - which pages of a block are donated?
 * @first: The first of them; its block has donated pages.
 * @which: Where to put their bits.
 *
 * Context: The pages are locked.
 */
void gm_copy_donated(struct page *first, unsigned long *which)
{
	struct gm_donated *donated = donated_of(first);

	bitmap_zero(which, GM_BLOCK_PAGES);
	if (!WARN_ON_ONCE(!donated))
		bitmap_copy(which, donated->which, GM_BLOCK_PAGES);
}

/**
 * gm_forget_donated - forget the bitmap of a block
 * @page: A page of a block that has no donated pages any more, or is no block any more.
 *
 * Context: The page is locked.  Does not allocate.
 */
void gm_forget_donated(struct page *page)
{
	struct gm_donated *donated;

	/* The words, then no bitmap; pairs with __gm_page_is_donated(). */
	smp_wmb();
	donated = xa_erase(&donated_blocks, page_to_pfn(page) >> GM_BLOCK_MAX_ORDER);
	kfree_rcu(donated, rcu);
}

/**
 * gm_split_donated - correct the tag of a page that was of a block
 * @mapping: The file's mapping; the lock of its i_pages is held.
 * @folio: The page, a locked folio with its state.  It has the tag that the block had.
 *
 * Context: Interrupts are off.
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
 * gm_range_has_donated - has a guest a page of a range for itself?
 * @gm: The file's memory; its change_lock is held, against splits of blocks, and the
 *	invalidate_lock exclusively.
 * @start: First index of the range, in pages.
 * @end: Index after the range, above @start.
 * @shared_too: Do pages count that the guest shares?
 *
 * Context: May sleep; takes folio locks.
 * Return: True if one is.  False stays true while the lock is held.
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
		/* A donation can end meanwhile, but none begins. */
		folio_lock(folio);
		found = part_is_donated(folio, start, end);
		folio_unlock(folio);
		if (found)
			return true;
	}
	return false;
}

/**
 * gm_begin_hole - let no page be donated while a hole is punched
 * @gm: The file's memory.
 * @start: First index of the hole, in pages.
 * @end: Index after the hole, above @start.
 *
 * A hole is punched in steps.  Guests that would be given a page of the file meanwhile
 * fault again until gm_end_hole().
 *
 * Context: May sleep; takes gm->change_lock and the invalidate_lock.
 * Return: 0; or -EBUSY when a guest has a page of the hole, and gm_end_hole() is not to
 * be called.
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

/* The bitmap of the block of @page, which is locked.  Return: 0 or -ENOMEM. */
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

/* Set the page's bit.  The caller takes the reference that the donation has from now on. */
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

/* A page of the folio was donated. */
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
	/* Its file does not count a page that has left it. */
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

/* The guest began or ended to share a single page, which is in its file. */
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
 * Freeze a locked folio if the caller's @own references are the only ones that the library
 * does not know.  The caller has preemption off: a look-up retries while the folio is
 * frozen, at any priority.
 *
 * Return: The count for folio_ref_unfreeze(), or 0 when there are others.
 */
static int freeze_alone(struct folio *folio, int own)
{
	unsigned int tries = FREEZE_TRIES;
	/* The page cache's and the library's; those of states and of poison. */
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

/* The folio is locked.  Return: 0; or -EAGAIN when there are other references. */
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

/* Make a page that the guest shares donated again; the caller has no reference. */
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

/* The folio of a page that a guest has; gm->change_lock keeps it in the file. */
static struct folio *request_folio(struct guest_memfd *gm, pgoff_t index)
{
	lockdep_assert_held(&gm->change_lock);
	lockdep_assert_held_write(&gm->inode->i_mapping->invalidate_lock);
	return xa_load(&gm->inode->i_mapping->i_pages, index);
}

/**
 * gm_check_request - can a page be what its guest asks for?
 * @gm: The file's memory; its change_lock is held, and the invalidate_lock exclusively.
 * @index: Index in the file, in pages.
 * @request: The request.
 *
 * Context: Does not sleep.
 * Return: 0; or -EPERM when the page is not the guest's, or is so already.
 */
int gm_check_request(struct guest_memfd *gm, pgoff_t index, const struct gm_request *request)
{
	struct folio *folio = request_folio(gm, index);

	if (!folio || !(gm_page_state(folio_file_page(folio, index)) & GM_PAGE_DONATED))
		return -EPERM;
	return request->share == !(gm_folio_state(folio) & GM_PAGE_SHARED) ? 0 : -EPERM;
}

/**
 * gm_commit_request - let the hypervisor do what a guest asks for
 * @gm: The file's memory; its change_lock is held, and the invalidate_lock exclusively.
 * @index: Index in the file, in pages, of a single page that gm_check_request() permits.
 * @request: The request.
 *
 * The caller stores the level after this.
 *
 * Context: May sleep; takes the folio lock.
 * Return: 0; -EAGAIN when the page has other references; -EHWPOISON; or what
 * @request->commit returns.  Then nothing has changed.
 */
int gm_commit_request(struct guest_memfd *gm, pgoff_t index, const struct gm_request *request)
{
	struct folio *folio = request_folio(gm, index);
	int err = 0;

	folio_lock(folio);
	/* By a fault that saw the former level. */
	if (folio_mapped(folio))
		gm_unmap_folio(folio);
	if (folio_test_hwpoison(folio))
		err = -EHWPOISON;
	else if (!request->share)
		err = end_shared_alone(folio);
	if (!err) {
		err = request->commit(request->arg);
		/* Now, or again. */
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
 * Context: Does not sleep; the invalidate_lock is held.
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
 * guest_memfd_guest_request - share a page that a guest has, or end that
 * @gm: The memory of a NO_DIRECT_MAP file.
 * @index: Index in the file, in pages; below the file's size.
 * @share: Is the page to be shared with the host?  Else it is to be the guest's alone.
 * @commit: Has the hypervisor do it, on the guest's behalf; it does not sleep.
 * @arg: For @commit.
 *
 * A page that is shared is at level USER, and then at each level that is set for it.  After
 * changes of levels that are under way, the library waits for short references as
 * guest_memfd_set_access() does: for those to the page's block, which it splits, and to end
 * the sharing for those to the page.
 *
 * Context: May sleep; takes gm->change_lock, the invalidate_lock, and the folio lock.
 * @commit is called with all of them held.
 * Return: 0; -EPERM when the guest has no such page, or it is so already; -EAGAIN when the
 * page has other references; -EHWPOISON; -ENOMEM; -EAGAIN or -EINTR after a fatal signal; or what
 * @commit returns.  In each of these cases the page and its level are as before, but user
 * mappings can have ended, and the block of the page can have been split.
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
 * guest_memfd_donate - let a hypervisor take a page from the host
 * @page: A page of a NO_DIRECT_MAP file, with one reference of the caller's; its folio is
 *	locked.
 *
 * From then on the library does not access the page, whether or not the hypervisor has
 * taken it yet.  The owner ends it by guest_memfd_undo_donation() when the hypervisor
 * has not taken the page, and by guest_memfd_end_donation() when it has returned it.
 *
 * Context: May sleep; the folio is locked, and the invalidate_lock of its file is held
 * shared.
 * Return: 0; -EPERM above GUEST_MEMFD_ACCESS_NONE; -EEXIST when the page is donated;
 * -EAGAIN when it has other references, or while a level or a hole of the file is
 * changing; -ESTALE when it has left its file; -EHWPOISON; or -ENOMEM.
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
	/* Each of them relies on what it finds donated under the invalidate_lock. */
	if (atomic_read(&gm->nr_holes) ||
	    (index >= gm->change_start && index < gm->change_end))
		return -EAGAIN;
	state = gm_page_state(page);
	if (state & GM_PAGE_DONATED)
		return -EEXIST;
	/* A change to NONE that is about to end has not hidden it yet, or a reference has. */
	if (!(state & GM_PAGE_HIDDEN))
		return -EAGAIN;
	/* By a fault that saw the former level. */
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
 * guest_memfd_undo_donation - the hypervisor has not taken a page
 * @page: A page that guest_memfd_donate() donated; its folio is locked since, and the
 *	caller has a reference.
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
 * guest_memfd_end_donation - the hypervisor has returned a page to the host
 * @page: Any page that cannot be freed meanwhile.
 *
 * A page that has left its file is cleared and freed, as soon as no page of its block is
 * donated.  One that is still in its file stays there, with what the hypervisor left in it:
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
