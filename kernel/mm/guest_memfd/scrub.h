/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_SCRUB_H
#define _MM_GUEST_MEMFD_SCRUB_H

#include <linux/guest_memfd.h>

void guest_memfd_block_orphan(struct folio *folio);
void guest_memfd_block_release(struct folio *folio, bool held);
void guest_memfd_block_reap(struct guest_memfd *gm);
unsigned long gm_reap(struct list_head *folios);
void gm_take_orphans(struct guest_memfd *gm, struct list_head *folios);
void gm_scrub_flush(void);

#endif /* _MM_GUEST_MEMFD_SCRUB_H */
