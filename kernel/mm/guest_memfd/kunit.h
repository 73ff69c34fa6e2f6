/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_KUNIT_H
#define _MM_GUEST_MEMFD_KUNIT_H

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/guest_memfd.h>
#include <linux/mount.h>

#include "page_state.h"

/* Indexes of the first page of the tail, and pages of the block before it. */
#define TAIL	(1UL << GM_BLOCK_MAX_ORDER)
#define BLOCK_PAGES TAIL

struct gm_test {
	struct vfsmount *mnt;
	struct guest_memfd *gm;
	unsigned long hidden_before;
	/* What guest_memfd.pool was; no test but those of the pool has one. */
	char *former_pool;
	/* What the restore tracepoint saw of restored_pfn. */
	unsigned long restored_pfn;
	unsigned int nr_restored;
	bool restored_dirty;
	unsigned int nr_hides;
	/* Each block that is hidden has a page marked poisoned: the last of these. */
	bool marks;
	struct page *marked;
	/* What the owner was asked, and answers. */
	unsigned int starts, ends, asked;
	int veto;
	/* An invalidation of this file waits for slow_goes_on. */
	struct guest_memfd *slow;
	struct completion slow_started, slow_goes_on;
};

int gm_test_init(struct kunit *test);
void gm_test_exit(struct kunit *test);

/* Without it each single page is hidden by itself. */
void gm_test_use_singles(struct kunit *test);
/* Have all free pages of blocks that are cut restored and freed. */
void gm_test_drain(void);
/* Hidden pages but for those that no file has or had. */
unsigned long gm_test_nr_hidden(void);

/* A file of one block and a tail of 16 single pages. */
struct guest_memfd *gm_test_file(struct kunit *test, u64 flags);
/* A page with a reference; its folio, a single page or a block, is locked. */
struct page *gm_test_grab(struct kunit *test, struct guest_memfd *gm,
			  pgoff_t index);
/* A page of a whole block, unlocked, with a reference; or the test is skipped. */
struct page *gm_test_block_page(struct kunit *test, struct guest_memfd *gm,
				pgoff_t index);
/* Take a direct-map reference to a page whose folio is locked, and unlocked for a moment. */
int gm_test_get(struct page *page);
/* The kernel's entry for a page, or for the one it is part of, is as at boot. */
void gm_test_expect_flags(struct kunit *test, struct page *page, unsigned int nr);
unsigned int gm_test_level(struct page *page);
/* All nodes have @value, as guest_memfd.pool has it, and the worker is idle. */
void gm_test_set_pool(struct kunit *test, const char *value);

#endif /* _MM_GUEST_MEMFD_KUNIT_H */
