/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_DONATE_H
#define _MM_GUEST_MEMFD_DONATE_H

#include <linux/guest_memfd.h>

#include "page_state.h"

/**
 * struct gm_request - a guest's request to change the sharing of a donated page
 * @share: True to share the page with the host at level USER, false to end the
 *	sharing.
 * @commit: Callback that makes the hypervisor do it.  It must not sleep.
 * @arg: Argument of @commit.
 */
struct gm_request {
	bool share;
	int (*commit)(void *arg);
	void *arg;
};

#ifdef CONFIG_GUEST_MEMFD_DONATE
bool gm_block_page_is_donated(struct page *page);
bool __gm_page_is_donated(struct page *page);
unsigned int gm_folio_nr_donated(struct folio *folio);
void gm_copy_donated(struct page *first, unsigned long *which);
void gm_forget_donated(struct page *first);
void gm_split_donated(struct address_space *mapping, struct folio *folio);
bool gm_range_has_donated(struct guest_memfd *gm, pgoff_t start, pgoff_t end, bool shared_too);
int gm_check_request(struct guest_memfd *gm, pgoff_t index, const struct gm_request *request);
int gm_commit_request(struct guest_memfd *gm, pgoff_t index, const struct gm_request *request);
int gm_begin_hole(struct guest_memfd *gm, pgoff_t start, pgoff_t end);
void gm_end_hole(struct guest_memfd *gm);

static inline void gm_init_donated(struct guest_memfd *gm)
{
	gm->nr_donated = 0;
	gm->nr_shared = 0;
	atomic_set(&gm->nr_holes, 0);
}
#else
static inline bool gm_block_page_is_donated(struct page *page)
{
	return false;
}

static inline bool __gm_page_is_donated(struct page *page)
{
	return false;
}

static inline unsigned int gm_folio_nr_donated(struct folio *folio)
{
	return 0;
}

static inline void gm_copy_donated(struct page *first, unsigned long *which)
{
}

static inline void gm_forget_donated(struct page *first)
{
}

static inline void gm_split_donated(struct address_space *mapping, struct folio *folio)
{
}

static inline bool gm_range_has_donated(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
					bool shared_too)
{
	return false;
}

static inline int gm_check_request(struct guest_memfd *gm, pgoff_t index,
				   const struct gm_request *request)
{
	return -EOPNOTSUPP;
}

static inline int gm_commit_request(struct guest_memfd *gm, pgoff_t index,
				    const struct gm_request *request)
{
	return -EOPNOTSUPP;
}

static inline int gm_begin_hole(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	return 0;
}

static inline void gm_end_hole(struct guest_memfd *gm)
{
}

static inline void gm_init_donated(struct guest_memfd *gm)
{
}
#endif

/*
 * Is a page of a NO_DIRECT_MAP file donated to a guest that does not share it?
 * The caller has locked the folio; or it has a reference to the page, and then
 * false stays valid until it drops the reference.
 */
static inline bool gm_page_is_donated(struct page *page)
{
	struct folio *folio = page_folio(page);
	unsigned long state = gm_folio_state(folio);

	/*
	 * A page of a plain file has no word.  A page of a block that is being
	 * split will have one soon.
	 */
	if (!state)
		return gm_page_has_state(folio) && __gm_page_is_donated(page);
	if (!(state & GM_PAGE_DONATED) || state & GM_PAGE_SHARED)
		return false;
	return __gm_page_is_donated(page);
}

#endif /* _MM_GUEST_MEMFD_DONATE_H */
