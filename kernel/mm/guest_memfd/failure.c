// SPDX-License-Identifier: GPL-2.0-only
/* Memory failures: pages with an uncorrectable memory error. */

#include <linux/delay.h>
#include <linux/guest_memfd.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/wait_bit.h>

#include "../internal.h"
#include "access.h"
#include "file.h"
#include "page_state.h"
#include "reference.h"

/**
 * gm_get_user - prevent eviction of a file that the task found by a page
 * @gm: The file's memory.
 *
 * memory_failure(), and KVM for a plain memslot, find a file only by one of its
 * pages.  A reference to the inode would pin neither the superblock nor the
 * module that owns the file.  Eviction of the inode waits for these tasks
 * instead.
 *
 * Context: The caller has locked a folio of the file, so truncation cannot
 * complete before it unlocks the folio.
 * Return: False if the file is being evicted.
 */
bool gm_get_user(struct guest_memfd *gm)
{
	return atomic_inc_not_zero(&gm->users);
}

/**
 * gm_put_user - undo gm_get_user()
 * @gm: The file's memory.  The file may be freed as soon as the count is zero.
 *
 * Context: Any.
 */
void gm_put_user(struct guest_memfd *gm)
{
	if (atomic_dec_and_test(&gm->users))
		wake_up_var(&gm->users);
}

/**
 * gm_wait_for_users - wait for the tasks that called gm_get_user()
 * @gm: The memory of a file that is being evicted.
 *
 * Context: May sleep.
 */
void gm_wait_for_users(struct guest_memfd *gm)
{
	if (!atomic_dec_and_test(&gm->users))
		wait_var_event(&gm->users, !atomic_read_acquire(&gm->users));
}

/* The caller has not locked the folio of the page at @index. */
static void take_from_guests(struct guest_memfd *gm, pgoff_t index)
{
	struct address_space *mapping = gm->inode->i_mapping;

	/*
	 * Lock exclusively, because the owner may be about to mark a cache of
	 * the page valid under the shared lock.
	 */
	filemap_invalidate_lock(mapping);
	gm_invalidate_start(gm, index, index + 1);
	gm_invalidate_end(gm, index, index + 1);
	filemap_invalidate_unlock(mapping);
}

/**
 * guest_memfd_error_folio - the error_remove_folio operation
 * @mapping: The mapping of a plain file.
 * @folio: A locked, poisoned folio of the file, to which the caller has a
 *	reference.  The function unlocks it and locks it again.
 *
 * The function unmaps the page from the guests.  The page stays in the file, so
 * that the next access finds the poison and the VMM decides what to do.
 *
 * Return: MF_DELAYED.
 */
int guest_memfd_error_folio(struct address_space *mapping, struct folio *folio)
{
	struct guest_memfd *gm = gm_of_mapping(mapping);

	if (!gm_get_user(gm))
		return MF_DELAYED;
	/*
	 * Faults and truncation take the invalidate_lock before the folio lock,
	 * so unlock the folio first.
	 */
	folio_unlock(folio);
	take_from_guests(gm, folio->index);
	gm_put_user(gm);
	folio_lock(folio);
	return MF_DELAYED;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_error_folio, GUEST_MEMFD_OWNERS);

/*
 * Split the block of a poisoned page into single pages, so that only the
 * poisoned page is lost.  Other references to the block, or a concurrent change
 * of levels or hole punch, can prevent the split.  The function waits for a
 * limited time, because its caller holds a mutex that delays all other memory
 * failures.
 */
static void split_poisoned(struct guest_memfd *gm, struct page *page)
{
	struct address_space *mapping = gm->inode->i_mapping;
	unsigned int tries, none = 0;

	for (tries = 0; tries < GM_SPLIT_SLEEPS; tries++) {
		int err = -EAGAIN;

		/*
		 * Only the holder of change_lock splits blocks and removes
		 * pages.
		 */
		if (mutex_trylock(&gm->change_lock)) {
			struct folio *folio = page_folio(page);

			err = 0;
			if (folio_test_large(folio) && folio->mapping == mapping)
				err = guest_memfd_access_split(gm, folio->index + 1, &none);
			mutex_unlock(&gm->change_lock);
		}
		if (!err)
			return;
		usleep_range(500, 1000);
	}
}

/**
 * guest_memfd_memory_failure - handle a memory failure in a NO_DIRECT_MAP file
 * @page: A page that is marked poisoned, with a reference that the caller
 *	holds.  The caller must not lock its folio, because truncation takes the
 *	invalidate_lock before folio locks.
 *
 * The function unmaps the page from user space and from the guests, except from
 * a guest to which it is donated.  If the page belongs to a block, the function
 * splits the block.  If the block cannot be split, faults map it page by page
 * afterwards, without the poisoned page.
 *
 * Context: May sleep, for 100 ms if other references to the block prevent the
 * split.
 * Return: The folio that contains the page now, with a reference that the
 * caller must drop.
 */
struct folio *guest_memfd_memory_failure(struct page *page)
{
	struct folio *folio = gm_lock_page(page);
	struct guest_memfd *gm;
	pgoff_t index;

	/*
	 * Take another reference, because gm_page_set_failed() makes splits and
	 * releases ignore the caller's reference.
	 */
	folio_get(folio);
	/*
	 * Record the failure before the block is unmapped, so that no fault
	 * maps the block as a whole again.
	 */
	if (folio_test_large(folio))
		gm_page_set_failed(page, GFP_KERNEL);
	/*
	 * Truncation waits for the folio lock, so the inode of a folio that is
	 * in a file is not freed before folio_unlock().
	 */
	gm = folio->mapping ? gm_of_mapping(folio->mapping) : NULL;
	if (!gm || !gm_get_user(gm)) {
		folio_unlock(folio);
		return folio;
	}
	index = folio->index + folio_page_idx(folio, page);
	if (folio_mapped(folio))
		gm_unmap_folio(folio);
	folio_unlock(folio);
	folio_put(folio);
	take_from_guests(gm, index);
	split_poisoned(gm, page);
	gm_put_user(gm);
	return gm_get_folio_of(page);
}
