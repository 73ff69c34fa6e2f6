/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_ACCESS_H
#define _MM_GUEST_MEMFD_ACCESS_H

#include <linux/guest_memfd.h>

struct gm_request;

void guest_memfd_access_init(struct guest_memfd *gm);
void guest_memfd_access_destroy(struct guest_memfd *gm);
bool guest_memfd_access_user_allowed(struct guest_memfd *gm, pgoff_t index);
void guest_memfd_access_wait_unmap(struct guest_memfd *gm, pgoff_t index);
unsigned int guest_memfd_access_run(struct guest_memfd *gm, pgoff_t index,
				    pgoff_t *first, pgoff_t *last);
bool guest_memfd_access_carries(struct guest_memfd *gm, pgoff_t index,
				pgoff_t *first, pgoff_t *last, bool *pinnable);
int guest_memfd_access_split(struct guest_memfd *gm, pgoff_t index,
			     unsigned int *sleeps);
int guest_memfd_access_change(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			      unsigned int level, bool ask, const struct gm_request *request,
			      pgoff_t *error_index);
void guest_memfd_access_take_back(struct guest_memfd *gm, pgoff_t start,
				  pgoff_t end);
int guest_memfd_access_end(struct folio *folio, bool held);

#endif /* _MM_GUEST_MEMFD_ACCESS_H */
