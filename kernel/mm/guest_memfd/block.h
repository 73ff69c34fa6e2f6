/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_BLOCK_H
#define _MM_GUEST_MEMFD_BLOCK_H

#include <linux/guest_memfd.h>

struct folio *guest_memfd_block_alloc(struct guest_memfd *gm, pgoff_t index);
void guest_memfd_block_discard(struct folio *folio);
void guest_memfd_block_orphan(struct folio *folio);
void guest_memfd_block_release(struct folio *folio);
void guest_memfd_block_reap(void);

#endif /* _MM_GUEST_MEMFD_BLOCK_H */
