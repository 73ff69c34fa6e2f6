/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_SHARE_H
#define _MM_GUEST_MEMFD_SHARE_H

#include <linux/mm_types.h>

int gm_share(struct folio *folio);
int gm_unshare(struct folio *folio);
void gm_share_restored(struct folio *folio);
void gm_unshare_hidden(struct folio *folio);
void gm_tag_shared(struct folio *folio, bool shared);

#endif /* _MM_GUEST_MEMFD_SHARE_H */
