// SPDX-License-Identifier: GPL-2.0-only
/*
 * Own words of single pages of blocks: see page_state.h.
 *
 * Few pages have an own word, for instance those that contain kvm-clocks.  A
 * block with such pages stays one folio.
 */

#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/xarray.h>

#include "donate.h"
#include "page_state.h"

/*
 * The own words, as xarray values, by pfn.  gm_page_reserve_word() allocates
 * the entry before the first word is stored.
 */
static DEFINE_XARRAY(own_words);

/*
 * An entry, by pfn, for each page of a block to which memory_failure() has a
 * reference.
 */
static DEFINE_XARRAY(failed_pages);

/* Flags that an own word never has. */
#define OF_FOLIO	(GM_PAGE_ORPHAN | GM_PAGE_OWN_WORDS | GM_PAGE_DONATED)

/**
 * gm_page_state - get the state of a page
 * @page: A page of a NO_DIRECT_MAP file, or one that was removed from such a
 *	file.
 *
 * Context: The caller has locked the folio, or checks the result again later.
 * Return: GM_PAGE_* flags and the number of direct-map references.
 */
unsigned long gm_page_state(struct page *page)
{
	struct folio *folio = page_folio(page);
	unsigned long common = gm_folio_state(folio);
	void *own = NULL;

	if (common & GM_PAGE_OWN_WORDS)
		own = xa_load(&own_words, page_to_pfn(page));
	common &= ~GM_PAGE_OWN_WORDS;
	if (common & GM_PAGE_DONATED && folio_test_large(folio) && !gm_block_page_is_donated(page))
		common &= ~GM_PAGE_DONATED;
	return own ? xa_to_value(own) | (common & GM_PAGE_ORPHAN) : common;
}

/**
 * gm_page_reserve_word - allocate what gm_page_set_state() needs
 * @page: A page of a locked folio, which may be a block.
 *
 * Context: May sleep.
 * Return: 0 or -ENOMEM.
 */
int gm_page_reserve_word(struct page *page)
{
	if (!folio_test_large(page_folio(page)))
		return 0;
	return xa_reserve(&own_words, page_to_pfn(page), GFP_KERNEL);
}

/**
 * gm_page_set_state - set the state of one page
 * @page: A page of a locked folio.  If the folio is a block and the page has no
 *	own word, the caller has called gm_page_reserve_word().
 * @state: The state.
 *
 * Context: Does not allocate.
 */
void gm_page_set_state(struct page *page, unsigned long state)
{
	struct folio *folio = page_folio(page);
	unsigned long pfn = page_to_pfn(page), common = gm_folio_state(folio);
	unsigned long any = folio_pfn(folio);

	if (!folio_test_large(folio)) {
		gm_folio_set_state(folio, state);
		return;
	}
	VM_WARN_ON_ONCE_FOLIO(!gm_page_state_valid(state), folio);
	state &= ~OF_FOLIO;
	if (state == (common & ~OF_FOLIO)) {
		xa_erase(&own_words, pfn);
		if (!xa_find(&own_words, &any, any + folio_nr_pages(folio) - 1,
			     XA_PRESENT))
			gm_folio_set_state(folio, common & ~GM_PAGE_OWN_WORDS);
		return;
	}
	WARN_ON_ONCE(xa_err(xa_store(&own_words, pfn, xa_mk_value(state), GFP_NOWAIT)));
	gm_folio_set_state(folio, common | GM_PAGE_OWN_WORDS);
}

/**
 * gm_folio_next_word - find the next page of a block that has an own word
 * @folio: A locked folio.
 * @nr: Number, in the folio, of the page at which the search starts; receives
 *	the number of the page found.
 * @state: Receives the state of the page found.
 *
 * Context: Any.
 * Return: False if there is no such page.
 */
bool gm_folio_next_word(struct folio *folio, unsigned int *nr, unsigned long *state)
{
	unsigned long pfn = folio_pfn(folio) + *nr;
	unsigned long last = folio_pfn(folio) + folio_nr_pages(folio) - 1;
	void *own;

	if (!gm_folio_has_own_words(folio) || pfn > last)
		return false;
	own = xa_find(&own_words, &pfn, last, XA_PRESENT);
	if (!own)
		return false;
	*nr = pfn - folio_pfn(folio);
	*state = xa_to_value(own) | (gm_folio_state(folio) & GM_PAGE_ORPHAN);
	return true;
}

/**
 * gm_folio_nr_referenced - count a folio's pages with direct-map references
 * @folio: A locked folio.
 *
 * Context: Any.
 * Return: The number of pages.
 */
unsigned int gm_folio_nr_referenced(struct folio *folio)
{
	unsigned int i, nr = 0;
	unsigned long state;

	if (gm_page_count(gm_folio_state(folio)))
		return folio_nr_pages(folio);
	for (i = 0; gm_folio_next_word(folio, &i, &state); i++)
		nr++;
	return nr;
}

/**
 * gm_folio_references - count the references that page states hold
 * @folio: A locked folio.
 *
 * Each direct-map reference holds a reference to the folio, and so does each
 * donated page.  Level KERNEL's reference, which all pages of a block share,
 * holds one.
 *
 * Context: Any.
 * Return: The number of references.
 */
unsigned long gm_folio_references(struct folio *folio)
{
	unsigned long state, nr, common = gm_page_count(gm_folio_state(folio));
	unsigned int i;

	nr = common + gm_folio_nr_donated(folio);
	for (i = 0; gm_folio_next_word(folio, &i, &state); i++)
		nr += gm_page_count(state) - (state & GM_PAGE_LEVEL ? 1 : 0);
	return nr;
}

/**
 * gm_folio_change_bits - set and clear flags of all pages of a folio
 * @folio: A locked folio.
 * @set: The flags to set.  They must be valid for each page with the direct-map
 *	references that it has.
 * @clear: The flags to clear.
 *
 * Context: Does not allocate.
 */
void gm_folio_change_bits(struct folio *folio, unsigned long set, unsigned long clear)
{
	unsigned long state = gm_folio_state(folio);
	unsigned int i;

	gm_folio_set_state(folio, (state & ~clear) | set);
	for (i = 0; gm_folio_next_word(folio, &i, &state); i++)
		gm_page_set_state(folio_page(folio, i), (state & ~clear) | set);
}

/**
 * gm_page_set_failed - record that memory_failure() has a reference to a page
 * @page: A page of a locked block, which is marked poisoned.
 * @gfp: Flags for the allocation of the record.
 *
 * memory_failure() keeps that reference.  The poison mark alone does not prove
 * that memory_failure() has a reference: it sets the mark first, and the mark
 * stays if it gets no reference.  If the record cannot be allocated, the
 * library cannot tell to whom the reference belongs, so it neither splits nor
 * frees the block.
 *
 * Context: Depends on @gfp; not in interrupt.
 */
void gm_page_set_failed(struct page *page, gfp_t gfp)
{
	folio_set_has_hwpoisoned(page_folio(page));
	xa_store(&failed_pages, page_to_pfn(page), xa_mk_value(0), gfp);
}

/**
 * gm_folio_nr_failed - count the pages that memory_failure() references
 * @folio: A block.
 * @which: Bitmap that receives a bit for each such page, or NULL.
 *
 * Context: The caller has locked the folio, or the folio is in no file.
 * Return: The number of pages, which is also the number of references.
 */
unsigned int gm_folio_nr_failed(struct folio *folio, unsigned long *which)
{
	unsigned long pfn, first = folio_pfn(folio);
	unsigned int nr = 0;
	void *entry;

	if (!folio_test_has_hwpoisoned(folio))
		return 0;
	xa_for_each_range(&failed_pages, pfn, entry, first, first + GM_BLOCK_PAGES - 1) {
		nr++;
		if (which)
			__set_bit(pfn - first, which);
	}
	return nr;
}

/**
 * gm_forget_failed - delete the records of gm_page_set_failed() of a block
 * @first: The first page of the block, whose pages are single ones from now on.
 *
 * Context: Any but interrupt.
 */
void gm_forget_failed(struct page *first)
{
	unsigned long pfn, start = page_to_pfn(first);
	void *entry;

	xa_for_each_range(&failed_pages, pfn, entry, start, start + GM_BLOCK_PAGES - 1)
		xa_erase(&failed_pages, pfn);
}

/**
 * gm_folio_distribute_words - set the words of the pages of a split block
 * @first: The first of the pages.  Each of them is a locked folio now, and the
 *	library has a reference to it.
 * @common: The common word that the block had.
 *
 * The function also takes the references to the pages that their direct-map
 * references and donations hold.
 *
 * Context: Does not allocate.
 */
void gm_folio_distribute_words(struct page *first, unsigned long common)
{
	DECLARE_BITMAP(donated, GM_BLOCK_PAGES);
	unsigned int i;

	if (common & GM_PAGE_DONATED)
		gm_copy_donated(first, donated);
	for (i = 0; i < GM_BLOCK_PAGES; i++) {
		unsigned long state = common & ~OF_FOLIO;
		void *own = NULL;

		if (common & GM_PAGE_OWN_WORDS)
			own = xa_erase(&own_words, page_to_pfn(first + i));
		if (own)
			state = xa_to_value(own);
		if (common & GM_PAGE_DONATED && test_bit(i, donated)) {
			state |= GM_PAGE_DONATED;
			page_ref_inc(first + i);
		}
		page_ref_add(first + i, gm_page_count(state));
		gm_folio_set_state(page_folio(first + i), state);
	}
	/*
	 * A task that does not find the bitmap finds the words: see
	 * gm_forget_donated().
	 */
	if (common & GM_PAGE_DONATED)
		gm_forget_donated(first);
}

#if IS_ENABLED(CONFIG_KUNIT)
/*
 * Is there neither an own word, nor a reserved entry, nor a record of
 * gm_page_set_failed()?
 */
bool gm_page_no_own_words(void)
{
	return xa_empty(&own_words) && xa_empty(&failed_pages);
}
#endif
