/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_FRAMES_H
#define _MM_GUEST_MEMFD_FRAMES_H

#include <linux/mm_types.h>

int gm_add_block(unsigned long pfn);
void gm_forget_block(unsigned long pfn);
int gm_add_lone(struct page *page);
bool gm_forget_lone(struct page *page);
bool gm_lone_uses(unsigned long first, unsigned long last);
bool gm_block_uses(unsigned long first, unsigned long last);
bool gm_files_use(unsigned long first, unsigned long last);

#endif /* _MM_GUEST_MEMFD_FRAMES_H */
