/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_DIRECT_MAP_H
#define _MM_GUEST_MEMFD_DIRECT_MAP_H

#include <linux/mm.h>
#include <linux/set_memory.h>

/**
 * struct gm_range - a range of physically contiguous pages
 * @first: The first page.
 * @nr: The number of pages.
 */
struct gm_range {
	struct page *first;
	unsigned int nr;
};

#ifdef CONFIG_DIRECT_MAP_HIDE

bool direct_map_can_hide(void);
int direct_map_hide(struct page *page, unsigned int nr_pages);
unsigned int direct_map_hide_ranges(const struct gm_range *ranges,
				    unsigned int nr_ranges);
int direct_map_restore(struct page *page, unsigned int nr_pages);
int direct_map_split(struct page *page);
bool direct_map_is_split(struct page *page);
void direct_map_merge(struct page *page, bool (*in_use)(struct page *page));
void direct_map_merge_huge(struct page *page, bool (*in_use)(struct page *page));
unsigned long direct_map_read_hidden(struct page *page, unsigned int offset,
				     void *to, unsigned int len);
unsigned long direct_map_write_hidden(struct page *page, unsigned int offset,
				      const void *from, unsigned int len);
int direct_map_cmpxchg_hidden(struct page *page, unsigned int offset, void *old,
			      const void *new, unsigned int size);
void direct_map_zero_hidden(struct page *page);
void direct_map_zero_hidden_large(struct page *first,
				  const unsigned long *which);
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

static inline unsigned int
direct_map_hide_ranges(const struct gm_range *ranges, unsigned int nr_ranges)
{
	return 0;
}

static inline int direct_map_restore(struct page *page, unsigned int nr_pages)
{
	return -EOPNOTSUPP;
}

static inline int direct_map_split(struct page *page)
{
	return -EOPNOTSUPP;
}

static inline bool direct_map_is_split(struct page *page)
{
	return false;
}

static inline void direct_map_merge(struct page *page,
				    bool (*in_use)(struct page *page))
{
}

static inline void direct_map_merge_huge(struct page *page,
					 bool (*in_use)(struct page *page))
{
}

static inline unsigned long
direct_map_read_hidden(struct page *page, unsigned int offset, void *to,
		       unsigned int len)
{
	return len;
}

static inline unsigned long
direct_map_write_hidden(struct page *page, unsigned int offset,
			const void *from, unsigned int len)
{
	return len;
}

static inline int direct_map_cmpxchg_hidden(struct page *page,
					    unsigned int offset, void *old,
					    const void *new, unsigned int size)
{
	return -EFAULT;
}

static inline void direct_map_zero_hidden(struct page *page)
{
}

static inline void
direct_map_zero_hidden_large(struct page *first, const unsigned long *which)
{
}

static inline unsigned long direct_map_nr_hidden(void)
{
	return 0;
}

#endif /* CONFIG_DIRECT_MAP_HIDE */

/*
 * Can hypervisors on this machine map guest memory without accessing it through
 * the direct map?
 */
#ifndef arch_can_hide_guest_memory
static inline bool arch_can_hide_guest_memory(void)
{
	return true;
}
#endif

/* Can this machine merge split mappings of the direct map? */
#ifndef set_direct_map_merges
static inline bool set_direct_map_merges(void)
{
#ifdef set_direct_map_merge
	return !debug_pagealloc_enabled();
#else
	return false;
#endif
}
#endif

static inline bool direct_map_merges(void)
{
	return IS_ENABLED(CONFIG_DIRECT_MAP_HIDE) && set_direct_map_merges();
}

#endif /* _MM_GUEST_MEMFD_DIRECT_MAP_H */
