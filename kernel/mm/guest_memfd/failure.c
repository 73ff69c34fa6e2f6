// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages with an uncorrectable memory error.
 */

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
 * gm_get_user - keep a file from being evicted, for a task that found it by a page
 * @gm: The file's memory.
 *
 * memory_failure(), and KVM for a plain memslot, know a file by a page of it only.
 * An inode reference would not keep the superblock, nor the module that owns the
 * file, so eviction of that one file waits instead.
 *
 * Context: The caller has locked a folio of the file, so truncation cannot finish
 * before.
 * Return: False when the file is being evicted.
 */
bool gm_get_user(struct guest_memfd *gm)
{
	return atomic_inc_not_zero(&gm->users);
}

/**
 * gm_put_user - undo gm_get_user()
 * @gm: The file's memory; the file may be freed as soon as the count is zero.
 *
 * Context: Any.
 */
void gm_put_user(struct guest_memfd *gm)
{
	if (atomic_dec_and_test(&gm->users))
		wake_up_var(&gm->users);
}

/**
 * gm_wait_for_users - wait until no task is at work in a file that it found by a page
 * @gm: The memory of a file that is evicted.
 *
 * Context: May sleep.
 */
void gm_wait_for_users(struct guest_memfd *gm)
{
	if (!atomic_dec_and_test(&gm->users))
		wait_var_event(&gm->users, !atomic_read_acquire(&gm->users));
}

/* The folio of the page at @index is not locked. */
static void take_from_guests(struct guest_memfd *gm, pgoff_t index)
{
	struct address_space *mapping = gm->inode->i_mapping;

	/* Exclusively: the owner may be making a cache of a page valid. */
	filemap_invalidate_lock(mapping);
	gm_invalidate_start(gm, index, index + 1);
	gm_invalidate_end(gm, index, index + 1);
	filemap_invalidate_unlock(mapping);
}

/**
 * guest_memfd_error_folio - the error_remove_folio operation
 * @mapping: The mapping of a plain file.
 * @folio: A locked, poisoned folio in it, with a reference for the caller; it is
 *	unlocked in between.
 *
 * Takes the page away from the guests.  It stays in the file, so that the
 * next access finds the poison and the VMM decides what to do.
 *
 * Return: MF_DELAYED.
 */
int guest_memfd_error_folio(struct address_space *mapping, struct folio *folio)
{
	struct guest_memfd *gm = gm_of_mapping(mapping);

	if (!gm_get_user(gm))
		return MF_DELAYED;
	/* Faults and truncation take these locks the other way round. */
	folio_unlock(folio);
	take_from_guests(gm, folio->index);
	gm_put_user(gm);
	folio_lock(folio);
	return MF_DELAYED;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_error_folio, GUEST_MEMFD_OWNERS);

/*
 * Split the block of a poisoned page, so that its other pages become ordinary single
 * ones.  Other references to the block, and a change of levels or a hole under way
 * in the file, can prevent that.  The wait is limited, as the caller's
 * mutex delays the memory failures of all other files.
 */
static void split_poisoned(struct guest_memfd *gm, struct page *page)
{
	struct address_space *mapping = gm->inode->i_mapping;
	unsigned int tries, none = 0;

	for (tries = 0; tries < GM_SPLIT_SLEEPS; tries++) {
		int err = -EAGAIN;

		/* Only the holder of the lock splits blocks, and removes pages. */
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
 * guest_memfd_memory_failure - take a poisoned page of a NO_DIRECT_MAP file out of use
 * @page: A page that is marked poisoned, with a reference for the caller.  Its folio
 *	is not locked: truncation takes the invalidate_lock before folio locks.
 *
 * User space and the guests lose the page, except a guest to which it is donated.  If it
 * is of a block, the block is split.  A block that cannot be split is mapped page by page
 * from then on, without this one.
 *
 * Context: May sleep, for 100 ms if other references to the block prevent the split.
 * Return: The folio that has the page then, with a reference for the caller.
 */
struct folio *guest_memfd_memory_failure(struct page *page)
{
	struct folio *folio = gm_lock_page(page);
	struct guest_memfd *gm;
	pgoff_t index;

	/* Once the note is there, the caller's reference prevents neither a split nor a release. */
	folio_get(folio);
	/* Before the block is unmapped, so that no fault maps it whole again. */
	if (folio_test_large(folio))
		gm_page_set_failed(page, GFP_KERNEL);
	/* Truncation waits for the folio: what is in a file now has its inode. */
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
