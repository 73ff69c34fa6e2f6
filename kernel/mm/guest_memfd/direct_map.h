/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_DIRECT_MAP_H
#define _MM_GUEST_MEMFD_DIRECT_MAP_H

#include <linux/mm.h>

#ifdef CONFIG_DIRECT_MAP_HIDE

bool direct_map_can_hide(void);
int direct_map_hide(struct page *page, unsigned int nr_pages);
int direct_map_restore(struct page *page, unsigned int nr_pages);
void direct_map_zero_hidden(struct page *page);
unsigned long direct_map_nr_hidden(void);

#else /* !CONFIG_DIRECT_MAP_HIDE */

static inline bool direct_map_can_hide(void)
{
	return false;
}

static inline int direct_map_hide(struct page *page, unsigned int nr_pages)
{
	return -EOPNOTSUPP;
}

static inline int direct_map_restore(struct page *page, unsigned int nr_pages)
{
	return -EOPNOTSUPP;
}

static inline void direct_map_zero_hidden(struct page *page)
{
}

static inline unsigned long direct_map_nr_hidden(void)
{
	return 0;
}

#endif /* CONFIG_DIRECT_MAP_HIDE */

#endif /* _MM_GUEST_MEMFD_DIRECT_MAP_H */
