/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_PAGE_STATE_H
#define _MM_GUEST_MEMFD_PAGE_STATE_H

/*
 * The state of each page of a NO_DIRECT_MAP file is one word.
 *
 * The word of a single page is in folio->private.  In a block, which is one
 * large folio, folio->private has the common word: the word of all pages except
 * those that have an own word in page_state.c.  A page of a block needs an own
 * word if it has a direct-map reference that the other pages do not have.
 *
 * The folio lock protects the words while the folio is in a file or has
 * direct-map references.  The task that allocates or frees a folio needs no
 * lock.  GUP reads folio->private without a lock.  The library sets the word
 * before it adds the folio to its file, and clears the word when it frees the
 * folio.  In between, either HIDDEN is set or the number of direct-map
 * references is above zero, never both, so no word is ever zero.  A page of a
 * plain file has no such word.
 */

#include <linux/bits.h>
#include <linux/guest_memfd.h>
#include <linux/mm.h>
#include <linux/mmdebug.h>
#include <linux/pagemap.h>

/*
 * The direct map has no entry for the page, and no CPU has a stale TLB entry
 * for it.
 */
#define GM_PAGE_HIDDEN		BIT(0)
/* BIT(1) is GUEST_MEMFD_PAGE_PINNABLE. */
/*
 * A flag of the folio: it was removed from its file.  The last put of a
 * direct-map reference frees it, or gm_reap() if it has none.
 */
#define GM_PAGE_ORPHAN		BIT(2)
/* A flag of the folio: some of its pages have an own word. */
#define GM_PAGE_OWN_WORDS	BIT(3)
/*
 * The page is donated to a guest, and the donation holds a reference to the
 * folio.  Unless the page is SHARED as well, the hypervisor may have removed it
 * from the host: it is HIDDEN, and its range is at level NONE.  In the common word
 * of a block, the flag means that some pages of the block are donated; donate.c
 * knows which.
 */
#define GM_PAGE_DONATED		(IS_ENABLED(CONFIG_GUEST_MEMFD_DONATE) ? BIT(4) : 0)
/* The guest shares its page with the host.  Only a single page is SHARED. */
#define GM_PAGE_SHARED		(IS_ENABLED(CONFIG_GUEST_MEMFD_DONATE) ? BIT(5) : 0)
/*
 * The number of references includes that of level KERNEL.  PINNABLE implies
 * this flag.
 */
#define GM_PAGE_LEVEL		BIT(7)

/* 2 MiB with pages of 4 KiB. */
#define GM_BLOCK_MAX_ORDER	9
#define GM_BLOCK_PAGES		(1U << GM_BLOCK_MAX_ORDER)

/* Does this kernel split large folios? */
#define gm_can_have_blocks()	IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE)

/*
 * The page was removed from its file while it had a direct-map reference, and
 * the file counts it.
 */
#define GM_PAGE_LEFT		BIT(8)

/*
 * The last reference was put lazily: it is in a queue and will be dropped soon.
 */
#define GM_PAGE_LAZY		BIT(9)

/* The number of direct-map references, above the flags. */
#define GM_PAGE_COUNT_SHIFT	10
#define GM_PAGE_COUNT_MASK	GENMASK(47, GM_PAGE_COUNT_SHIFT)
#define GM_PAGE_COUNT_ONE	BIT(GM_PAGE_COUNT_SHIFT)
#define GM_PAGE_COUNT_MAX	(GM_PAGE_COUNT_MASK >> GM_PAGE_COUNT_SHIFT)

/* A page at level KERNEL that has no reference except the level's. */
#define GM_PAGE_AT_KERNEL	(GM_PAGE_LEVEL | GUEST_MEMFD_PAGE_PINNABLE | \
				 GM_PAGE_COUNT_ONE)

/*
 * Page cache tag of folios with direct-map references.  The kernel never writes
 * these folios back, so it does not use the tag.
 */
#define GM_TAG_REFERENCED		PAGECACHE_TAG_TOWRITE

/*
 * Page cache tags of folios with DONATED pages: one for pages that the guest
 * does not share, one for pages that it shares.  cachestat(2) reports them as
 * pages under writeback and as dirty pages.
 */
#define GM_TAG_DONATED			PAGECACHE_TAG_WRITEBACK
#define GM_TAG_SHARED			PAGECACHE_TAG_DIRTY

/* Does the library hide the pages of this file? */
static inline bool gm_hides(const struct guest_memfd *gm)
{
	return gm->flags & GM_FILE_NO_DIRECT_MAP;
}

static inline unsigned long gm_page_count(unsigned long state)
{
	return (state & GM_PAGE_COUNT_MASK) >> GM_PAGE_COUNT_SHIFT;
}

static inline bool gm_page_state_valid(unsigned long state)
{
	bool hidden = state & GM_PAGE_HIDDEN;
	bool level = state & GM_PAGE_LEVEL;

	return hidden == !gm_page_count(state) && !(hidden && level) &&
	       (hidden || state & GM_PAGE_SHARED || !(state & GM_PAGE_DONATED)) &&
	       (state & GM_PAGE_DONATED || !(state & GM_PAGE_SHARED)) &&
	       (level || !(state & GUEST_MEMFD_PAGE_PINNABLE));
}

/* Return: The word of a single page, or the common word of a block. */
static inline unsigned long gm_folio_state(const struct folio *folio)
{
	return (unsigned long)READ_ONCE(folio->private);
}

static inline void gm_folio_set_state(struct folio *folio, unsigned long state)
{
	VM_WARN_ON_ONCE_FOLIO(!gm_page_state_valid(state), folio);
	WRITE_ONCE(folio->private, (void *)state);
}

/* The caller is about to free the folio or to add it to the pool. */
static inline void gm_folio_clear_state(struct folio *folio)
{
	WRITE_ONCE(folio->private, NULL);
}

static inline bool gm_folio_has_own_words(const struct folio *folio)
{
	return gm_folio_state(folio) & GM_PAGE_OWN_WORDS;
}

/*
 * Does this folio of a guest_memfd belong to a NO_DIRECT_MAP file, or did it
 * before it was removed?  While a block is split, a page can be in the file
 * before it has its word, so check the mapping, too.
 */
static inline bool gm_page_has_state(const struct folio *folio)
{
	struct address_space *mapping;

	if (gm_folio_state(folio))
		return true;
	mapping = READ_ONCE(folio->mapping);
	return mapping && mapping_no_direct_map(mapping);
}

unsigned long gm_page_state(struct page *page);
int gm_page_reserve_word(struct page *page);
void gm_page_set_state(struct page *page, unsigned long state);
bool gm_folio_next_word(struct folio *folio, unsigned int *nr, unsigned long *state);
unsigned int gm_folio_nr_referenced(struct folio *folio);
unsigned long gm_folio_references(struct folio *folio);
void gm_folio_change_bits(struct folio *folio, unsigned long set, unsigned long clear);
void gm_page_set_failed(struct page *page, gfp_t gfp);
unsigned int gm_folio_nr_failed(struct folio *folio, unsigned long *which);
void gm_forget_failed(struct page *first);
void gm_folio_distribute_words(struct page *first, unsigned long common);
#if IS_ENABLED(CONFIG_KUNIT)
bool gm_page_no_own_words(void);
#endif

#endif /* _MM_GUEST_MEMFD_PAGE_STATE_H */
