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
 * each donated page.  It begins at level NONE only, where no process has the page
 * mapped and GUP hands it out to nobody, and while nobody has another reference.
 * That excludes accesses of KVM, which have a reference and take no lock: one that
 * began before has its reference counted and prevents the donation, a later one sees
 * the bit.  A level that permits more is not reached while a page of the range is
 * donated, and no such page leaves its file by a hole.
 *
 * A block stays whole.  Which of its pages are donated is in a bitmap beside the folio.
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

/* Forget the bitmap of a block. */
static void forget(struct page *page)
{
	struct gm_donated *donated;

	donated = xa_erase(&donated_blocks, page_to_pfn(page) >> GM_BLOCK_MAX_ORDER);
	kfree_rcu(donated, rcu);
}

/**
 * gm_take_donated - the pages of a block are single ones from now on
 * @first: The first of them; its block had donated pages.
 * @which: Where to put their bits.
 *
 * Context: The pages are locked.  Does not allocate.
 */
void gm_take_donated(struct page *first, unsigned long *which)
{
	struct gm_donated *donated = donated_of(first);

	bitmap_zero(which, GM_BLOCK_PAGES);
	if (WARN_ON_ONCE(!donated))
		return;
	bitmap_copy(which, donated->which, GM_BLOCK_PAGES);
	forget(first);
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
 * gm_range_has_donated - is a page of a range donated?
 * @gm: The file's memory; its invalidate_lock is held exclusively.
 * @start: First index of the range, in pages.
 * @end: Index after the range, above @start.
 *
 * Context: May sleep; takes folio locks.
 * Return: True if one is.  False stays true while the lock is held.
 */
bool gm_range_has_donated(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct xarray *pages = &gm->inode->i_mapping->i_pages;
	struct folio *folio;
	pgoff_t index = start;
	bool found;

	lockdep_assert_held_write(&gm->inode->i_mapping->invalidate_lock);
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
 * @end: Index after the hole.
 *
 * A hole is punched in steps.  Guests that would be given a page of the file meanwhile
 * fault again until gm_end_hole().
 *
 * Context: May sleep; takes the invalidate_lock.
 * Return: 0; or -EBUSY when a page of the hole is donated, and gm_end_hole() is not to
 * be called.
 */
int gm_begin_hole(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	int err = 0;

	if (!gm_hides(gm) || start >= end)
		return 0;
	filemap_invalidate_lock(gm->inode->i_mapping);
	if (gm_range_has_donated(gm, start, end))
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
	err = xa_err(xa_store(&donated_blocks, key, donated, GFP_KERNEL_ACCOUNT));
	if (err)
		kfree(donated);
	return err;
}

/* Set the page's bit, with a reference that the donation has from now on. */
static void set_donated(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct address_space *mapping = folio->mapping;
	struct guest_memfd *gm = gm_of_mapping(mapping);

	if (folio_test_large(folio)) {
		struct gm_donated *donated = donated_of(page);

		__set_bit(nr_in_block(page), donated->which);
		donated->nr++;
	}
	gm_folio_set_state(folio, gm_folio_state(folio) | GM_PAGE_DONATED);
	xa_lock_irq(&mapping->i_pages);
	__xa_set_mark(&mapping->i_pages, folio->index, GM_TAG_DONATED);
	WRITE_ONCE(gm->nr_donated, gm->nr_donated + 1);
	xa_unlock_irq(&mapping->i_pages);
}

static void clear_donated(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct address_space *mapping = folio->mapping;
	struct gm_donated *donated = NULL;
	struct guest_memfd *gm;

	if (folio_test_large(folio)) {
		donated = donated_of(page);
		__clear_bit(nr_in_block(page), donated->which);
		donated->nr--;
	}
	if (!donated || !donated->nr)
		gm_folio_set_state(folio, gm_folio_state(folio) & ~GM_PAGE_DONATED);
	if (donated && !donated->nr)
		forget(page);
	/* Its file does not count a page that has left it. */
	if (!mapping)
		return;
	gm = gm_of_mapping(mapping);
	xa_lock_irq(&mapping->i_pages);
	if (!(gm_folio_state(folio) & GM_PAGE_DONATED))
		__xa_clear_mark(&mapping->i_pages, folio->index, GM_TAG_DONATED);
	WRITE_ONCE(gm->nr_donated, gm->nr_donated - 1);
	xa_unlock_irq(&mapping->i_pages);
}

/* The folio is locked.  Return: 0; or -EAGAIN when there are other references. */
static int set_donated_alone(struct page *page)
{
	struct folio *folio = page_folio(page);
	unsigned int tries = FREEZE_TRIES;
	/* The page cache's, the library's and the caller's; those of states and of poison. */
	int expected = folio_nr_pages(folio) + 2 + gm_folio_references(folio);

	if (folio_test_large(folio))
		expected += gm_folio_nr_failed(folio, NULL);
	/* A look-up retries while the folio is frozen, at any priority. */
	guard(preempt)();
	while (!folio_ref_freeze(folio, expected)) {
		if (!--tries)
			return -EAGAIN;
		cpu_relax();
	}
	set_donated(page);
	folio_ref_unfreeze(folio, expected + 1);
	return 0;
}

/**
 * guest_memfd_donate - let a hypervisor take a page from the host
 * @page: A page of a NO_DIRECT_MAP file, with one reference of the caller's; its folio is
 *	locked.
 *
 * From then on the library does not access the page, whether or not the hypervisor has
 * taken it yet.  The owner ends it by guest_memfd_end_donation() when the hypervisor
 * has not taken the page, or has returned it.
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
		forget(page);
	return err;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_donate, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_end_donation - the hypervisor has returned a page to the host
 * @page: Any page that cannot be freed meanwhile.
 *
 * A page that has left its file is cleared and freed, as soon as no page of its block is
 * donated.  One that is still in its file stays there, hidden, with what the hypervisor
 * left in it.
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
	if (!gm_page_is_donated(page)) {
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
