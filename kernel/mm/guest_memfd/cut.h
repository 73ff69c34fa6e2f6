/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_CUT_H
#define _MM_GUEST_MEMFD_CUT_H

#include <linux/types.h>

struct page;

#ifdef CONFIG_GUEST_MEMFD_NO_DIRECT_MAP
int gm_cut_prepare(struct page *first, const unsigned long *gone);
bool gm_cut_is_cut(struct page *first);
bool gm_cut_block(struct page *first);
void gm_cut_forget(struct page *first);
struct page *gm_cut_take(int nid);
bool gm_cut_give(struct page *page);
bool gm_cut_lose(struct page *page);
void gm_cut_free(struct page *page, bool merge);
bool gm_cut_owns_pfn(unsigned long pfn);
bool gm_cut_uses(unsigned long first, unsigned long last);
unsigned long gm_cut_count(int nid);
unsigned long gm_cut_nr_hidden(void);
unsigned long gm_cut_shrink(int nid, unsigned long nr_pages);
void gm_cut_trim(int nid);
void gm_cut_flush(void);
#else
static inline int gm_cut_prepare(struct page *first, const unsigned long *gone)
{
	return -ENOMEM;
}

static inline bool gm_cut_is_cut(struct page *first)
{
	return false;
}

static inline bool gm_cut_block(struct page *first)
{
	return false;
}

static inline void gm_cut_forget(struct page *first)
{
}

static inline struct page *gm_cut_take(int nid)
{
	return NULL;
}

static inline bool gm_cut_give(struct page *page)
{
	return false;
}

static inline bool gm_cut_lose(struct page *page)
{
	return false;
}

static inline void gm_cut_free(struct page *page, bool merge)
{
}

static inline bool gm_cut_owns_pfn(unsigned long pfn)
{
	return false;
}

static inline bool gm_cut_uses(unsigned long first, unsigned long last)
{
	return false;
}

static inline void gm_cut_flush(void)
{
}
#endif

#endif /* _MM_GUEST_MEMFD_CUT_H */
