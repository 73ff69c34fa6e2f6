/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_BLOCK_H
#define _MM_GUEST_MEMFD_BLOCK_H

#include <linux/guest_memfd.h>

/* For what this directory does later, and in reclaim; NULL before initcalls. */
extern struct workqueue_struct *guest_memfd_wq;

bool guest_memfd_block_uses(unsigned long first, unsigned long last);

bool guest_memfd_block_ready(void);
void guest_memfd_block_init(struct guest_memfd *gm);
int guest_memfd_block_populate(struct guest_memfd *gm, pgoff_t index);
int guest_memfd_block_populate_range(struct guest_memfd *gm, pgoff_t index,
				     pgoff_t end);
int guest_memfd_block_split(struct guest_memfd *gm, pgoff_t index);
void guest_memfd_block_orphan(struct folio *folio);
void guest_memfd_block_release(struct folio *folio);
void guest_memfd_block_reap(struct guest_memfd *gm);
void guest_memfd_block_destroy(struct guest_memfd *gm);
void guest_memfd_block_wait(void);
void guest_memfd_block_merge(struct page *page);
#if IS_ENABLED(CONFIG_KUNIT)
struct page *gm_take_single(struct guest_memfd *gm, pgoff_t index,
			    bool preferred_only);
#endif

#endif /* _MM_GUEST_MEMFD_BLOCK_H */
