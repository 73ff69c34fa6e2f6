/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_KUNIT_H
#define _MM_GUEST_MEMFD_KUNIT_H

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/guest_memfd.h>
#include <linux/mount.h>
#include <linux/vm_event_item.h>

#include "page_state.h"

/*
 * Index of the first page of the tail, and the number of pages of the block
 * before it.
 */
#define TAIL	(1UL << GM_BLOCK_MAX_ORDER)
#define BLOCK_PAGES TAIL

struct gm_test {
	struct vfsmount *mnt;
	struct guest_memfd *gm;
	unsigned long hidden_before;
	/*
	 * Value of guest_memfd.pool before the test.  Only the tests of the
	 * pool use a pool.
	 */
	char *former_pool;
	/* Records of the restore tracepoint for restored_pfn. */
	unsigned long restored_pfn;
	unsigned int nr_restored;
	bool restored_dirty;
	unsigned int nr_hides;
	/*
	 * If true, the test marks a page of each block that is hidden as
	 * poisoned.  @marked is the last of these pages.
	 */
	bool marks;
	struct page *marked;
	/* Number of calls of the owner's callbacks, and the owner's veto. */
	unsigned int starts, ends, asked;
	int veto;
	/* Invalidations of this file wait for slow_goes_on. */
	struct guest_memfd *slow;
	struct completion slow_started, slow_goes_on;
};

int gm_test_init(struct kunit *test);
void gm_test_exit(struct kunit *test);

/*
 * Let files take single pages from cut blocks.  Without this call each single
 * page is hidden by itself.
 */
void gm_test_use_singles(struct kunit *test);
/* Restore and free all free pages of cut blocks. */
void gm_test_drain(void);
/*
 * Return: The number of hidden pages, without those of the pool and the free
 * single ones.
 */
unsigned long gm_test_nr_hidden(void);

/* Create a file of one block and a tail of 16 single pages. */
struct guest_memfd *gm_test_file(struct kunit *test, u64 flags);
/*
 * Return: A page with a reference.  Its folio, a single page or a block, is
 * locked.
 */
struct page *gm_test_grab(struct kunit *test, struct guest_memfd *gm,
			  pgoff_t index);
/*
 * Return: A page of a whole block, unlocked, with a reference.  Skip the test
 * if no block can be allocated.
 */
struct page *gm_test_block_page(struct kunit *test, struct guest_memfd *gm,
				pgoff_t index);
/*
 * Take a direct-map reference to a page whose folio is locked.  The function
 * unlocks the folio for a moment.
 */
int gm_test_get(struct page *page);
/*
 * Expect that the direct map entry of a page, or the large one that includes
 * it, is as at boot.
 */
void gm_test_expect_flags(struct kunit *test, struct page *page, unsigned int nr);
/* Allocate pages, and expect that their entries have the flags of boot. */
struct page *gm_test_new_pages(struct kunit *test, unsigned int order);
/* Start a thread on another CPU.  Skip the test if there is only one CPU. */
struct task_struct *gm_test_on_other_cpu(struct kunit *test, int (*fn)(void *), void *data);
/*
 * Return: The size of the entry that maps a page: PAGE_SIZE, PMD_SIZE or more.
 */
unsigned long gm_test_entry(struct page *page);
/*
 * Return: PMD_SIZE if the direct map consists of blocks, otherwise PAGE_SIZE.
 */
unsigned long gm_test_whole_entry(void);

/*
 * The functions below are in direct_map_ARCH_kunit.c.
 *
 * Return: The flags of the entry that maps a page, as an entry of 4 KiB has
 * them.  @size receives the size of the entry.
 */
unsigned long gm_test_flags(struct page *page, unsigned long *size);
/* Return: The flags that the entries of free memory have after boot. */
unsigned long gm_test_boot_flags(void);
/*
 * Count the entries for temporary mappings in the loaded mm, and the present
 * ones among them.
 */
void gm_test_temp_entries(unsigned int *entries, unsigned int *present);
/* Invalidate temporary mappings, for a stub of temp_map_invalidate(). */
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
/*
 * Set guest_memfd.pool to @value for all nodes, and wait until the worker is
 * idle.
 */
void gm_test_set_pool(struct kunit *test, const char *value);

#endif /* _MM_GUEST_MEMFD_KUNIT_H */
