/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_MERGE_H
#define _MM_GUEST_MEMFD_MERGE_H

#include <linux/mm.h>

void gm_merge_block(struct page *page);
void gm_merge_later(struct page *page);

#endif /* _MM_GUEST_MEMFD_MERGE_H */
