/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_KUNIT_H
#define _MM_GUEST_MEMFD_KUNIT_H

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/guest_memfd.h>
#include <linux/mount.h>
#include <linux/vm_event_item.h>

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
/* Allocate pages, and check that their entries have the flags of boot. */
struct page *gm_test_new_pages(struct kunit *test, unsigned int order);
/* Start a thread on another CPU; skips the test if there is only one CPU. */
struct task_struct *gm_test_on_other_cpu(struct kunit *test, int (*fn)(void *), void *data);
/* The size of the entry that maps a page: PAGE_SIZE, PMD_SIZE or more. */
unsigned long gm_test_entry(struct page *page);
/* PMD_SIZE where the direct map consists of blocks, otherwise PAGE_SIZE. */
unsigned long gm_test_whole_entry(void);

/*
 * The functions below are in direct_map_ARCH_kunit.c.  This one returns the flags of
 * the entry that maps a page, as an entry of 4 KiB has them, and its size.
 */
unsigned long gm_test_flags(struct page *page, unsigned long *size);
/* The flags that boot gives to the entries of free memory. */
unsigned long gm_test_boot_flags(void);
/* Count the entries for temporary mappings in the loaded mm, and the present ones. */
void gm_test_temp_entries(unsigned int *entries, unsigned int *present);
/* Invalidate temporary mappings; for a stub of temp_map_invalidate(). */
void gm_test_temp_flush(void);

/* The events that count TLB flushes. */
extern const enum vm_event_item gm_test_flush_events[];
extern const unsigned int gm_test_nr_flush_events;

/* A range of kernel addresses outside the direct map. */
struct gm_test_range {
	unsigned long start, end;
};

#define GM_TEST_MAX_RANGES	4
unsigned int gm_test_ranges(struct gm_test_range *ranges);
/* All nodes have @value, as guest_memfd.pool has it, and the worker is idle. */
void gm_test_set_pool(struct kunit *test, const char *value);

#endif /* _MM_GUEST_MEMFD_KUNIT_H */
