/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_LIMIT_H
#define _MM_GUEST_MEMFD_LIMIT_H

#include <linux/guest_memfd.h>
#include <linux/mm_types.h>

struct gm_limit;

/*
 * A folio that is in no file has no index.  Its index field then points to the
 * limit against which its pages are reserved, or is NULL.  Inserting the folio
 * into a file replaces the field by the index.
 */
static inline void gm_folio_set_limit(struct folio *folio, struct gm_limit *limit)
{
	folio->index = (unsigned long)limit;
}

static inline struct gm_limit *gm_folio_limit(struct folio *folio)
{
	return (struct gm_limit *)folio->index;
}

/*
 * Take the limit from a folio that the caller is about to free.  The caller
 * ends the reservation by gm_limit_unreserve() when the memory can be used
 * again.
 */
static inline struct gm_limit *gm_folio_take_limit(struct folio *folio)
{
	struct gm_limit *limit = gm_folio_limit(folio);

	folio->index = 0;
	return limit;
}

/**
 * struct gm_limit_info - the numbers of a limit, in pages
 * @max: The limit.
 * @used: Reserved pages.
 * @outside: Reserved pages that are not inserted into a file yet, or were
 *	removed from one.
 */
struct gm_limit_info {
	unsigned long max;
	unsigned long used;
	unsigned long outside;
};

struct gm_limit *gm_limit_alloc(unsigned long max);
void gm_limit_put(struct gm_limit *limit);
bool gm_limit_resize(struct gm_limit *limit, unsigned long max);
void gm_limit_read(struct gm_limit *limit, struct gm_limit_info *info);
bool gm_limit_could_have(struct gm_limit *limit, unsigned long nr);
unsigned int gm_limit_reserve(struct gm_limit *limit, unsigned int nr,
			      unsigned int pages);
void gm_limit_unreserve(struct gm_limit *limit, unsigned long nr);
void gm_limit_enter(struct gm_limit *limit, unsigned long nr);
void gm_limit_leave(struct gm_limit *limit, unsigned long nr);
void gm_limit_hold(struct gm_limit *limit, unsigned long nr);
void gm_limit_unhold(struct gm_limit *limit, unsigned long nr);
bool gm_limit_should_wait(struct gm_limit *limit);
int gm_limit_wait(struct gm_limit *limit, unsigned long nr, unsigned int state);
#if IS_ENABLED(CONFIG_KUNIT)
unsigned int gm_limit_count(void);
#endif

#endif /* _MM_GUEST_MEMFD_LIMIT_H */
