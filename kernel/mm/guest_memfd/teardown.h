/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_TEARDOWN_H
#define _MM_GUEST_MEMFD_TEARDOWN_H

#include <linux/guest_memfd.h>

/*
 * Workqueue for deferred work of this directory, also on behalf of reclaim.
 * NULL before initcalls.
 */
extern struct workqueue_struct *guest_memfd_wq;

bool guest_memfd_block_ready(void);
void guest_memfd_block_destroy(struct guest_memfd *gm);
void guest_memfd_block_wait(void);
unsigned long gm_scrub_some(struct mem_cgroup *memcg, struct gm_limit *limit,
			    bool reclaim, unsigned long *nr_freed);

#endif /* _MM_GUEST_MEMFD_TEARDOWN_H */
