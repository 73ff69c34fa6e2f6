/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_POOL_H
#define _MM_GUEST_MEMFD_POOL_H

#include <linux/types.h>

struct page;
struct workqueue_struct;

#ifdef CONFIG_GUEST_MEMFD_NO_DIRECT_MAP
extern struct workqueue_struct *gm_pool_wq;

struct page *gm_pool_take(int nid);
bool gm_pool_give(struct page *first);
bool gm_pool_owns_pfn(unsigned long pfn);
unsigned long gm_pool_unsaved_pages(void);
unsigned long gm_pool_shrink(int nid, unsigned long nr_blocks);
#else
static inline struct page *gm_pool_take(int nid)
{
	return NULL;
}

static inline bool gm_pool_give(struct page *first)
{
	return false;
}

static inline bool gm_pool_owns_pfn(unsigned long pfn)
{
	return false;
}

static inline unsigned long gm_pool_unsaved_pages(void)
{
	return 0;
}
#endif

#endif /* _MM_GUEST_MEMFD_POOL_H */
