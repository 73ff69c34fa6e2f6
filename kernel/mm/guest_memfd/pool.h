/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_POOL_H
#define _MM_GUEST_MEMFD_POOL_H

#include <linux/types.h>

struct page;

#ifdef CONFIG_GUEST_MEMFD_NO_DIRECT_MAP

struct page *gm_pool_take(int nid);
bool gm_pool_give(struct page *first);
bool gm_pool_set_bad(struct page *first);
bool gm_pool_freeze(struct page *first);
bool gm_pool_is_on(int nid);
bool gm_pool_is_stopped(void);
bool gm_pool_owns_pfn(unsigned long pfn);
unsigned long gm_pool_unsaved_pages(void);
unsigned long gm_pool_shrink(int nid, unsigned long nr_blocks);
unsigned long gm_pool_relieve(void);

#if IS_ENABLED(CONFIG_KUNIT)
struct kernel_param;
struct notifier_block;

int gm_pool_set(const char *val, const struct kernel_param *kp);
int gm_pool_get(char *buffer, const struct kernel_param *kp);
unsigned long gm_pool_high(int nid);
int gm_pool_hibernation(struct notifier_block *nb, unsigned long action,
			void *unused);
unsigned long gm_pool_wait(int nid);
#endif
#else
static inline struct page *gm_pool_take(int nid)
{
	return NULL;
}

static inline bool gm_pool_give(struct page *first)
{
	return false;
}

static inline bool gm_pool_set_bad(struct page *first)
{
	return false;
}

static inline bool gm_pool_freeze(struct page *first)
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

static inline unsigned long gm_pool_relieve(void)
{
	return 0;
}
#endif

#endif /* _MM_GUEST_MEMFD_POOL_H */
