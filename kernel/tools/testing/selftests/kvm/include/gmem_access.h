/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest whose memory is filled and at one access level, for the tests of what
 * each level allows (guest_memfd_access_test.c) and of pinned pages
 * (guest_memfd_pinned_test.c).
 *
 * After each test the memory is at the same level and has its former contents,
 * and the kernel sees it only at KERNEL.
 */
#ifndef SELFTEST_KVM_GMEM_ACCESS_H
#define SELFTEST_KVM_GMEM_ACCESS_H

#include <linux/sizes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

/* The file has one block and a tail of single pages. */
#define BLOCK_PAGES	(SZ_2M / GMEM_PAGE)
#define NR_PAGES	(BLOCK_PAGES + 3)
#define SIZE		(NR_PAGES * GMEM_PAGE)
/* The tests use pages on both sides of the end of the block. */
#define AT_PAGE		(SZ_2M / GMEM_PAGE - 8)
#define AT		(AT_PAGE * GMEM_PAGE)
#define LEN_PAGES	10UL
#define LEN		(LEN_PAGES * GMEM_PAGE)
#define TIMEOUT		600

#define NONE		GUEST_MEMFD_ACCESS_NONE
#define USER		GUEST_MEMFD_ACCESS_USER
#define KERNEL		GUEST_MEMFD_ACCESS_KERNEL

/* A guest whose memory is filled and at one level. */
struct memory {
	int kmsg;
	struct gmem_vm g;
	char *at;		/* user address of the LEN bytes under test */
	char *plain;		/* ordinary memory, as a control */
	u64 seed;
	u64 *pfns;
	unsigned int old_order;
	u32 level;
	bool whole;		/* the first pages are one unsplit block */
};

static inline void memory_create(struct memory *m, unsigned int order, u32 level)
{
	struct gmem_vm *g = &m->g;

	m->seed = gmem_new_seed();
	m->level = level;
	gmem_kmsg_open(&m->kmsg);
	m->old_order = gmem_set_block_order(order);
	gmem_vm_create(g, 1, SIZE, gmem_test_flags());
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, m->seed);
	m->pfns = gmem_pfns(g->mem, SIZE);
	m->at = g->mem + AT;
	m->plain = kvm_mmap(LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memset(m->plain, 1, LEN);
	gmem_set_access(g->fd, 0, SIZE, level);
	m->whole = order;
}

/*
 * The page that a failed change reports for @page: the references of a block
 * count for all of its pages.
 */
static inline u64 named(struct memory *m, u64 page)
{
	return m->whole && page < BLOCK_PAGES ? 0 : page;
}

/* Assert that the kernel sees all of the pages, or none. */
static inline void assert_seen(const u64 *pfns, size_t nr, u64 seed, bool seen)
{
	size_t i;

	for (i = 0; i < nr; i++)
		TEST_ASSERT(gmem_kernel_sees(pfns[i], seed) == seen,
			    "the kernel sees %s of page %lu, frame 0x%lx",
			    seen ? "nothing" : "data", i, pfns[i]);
	TEST_ASSERT_EQ(gmem_count_absent(pfns, nr), seen ? 0 : nr);
}

static inline void assert_level(struct memory *m)
{
	struct gmem_info info;
	u64 size;

	TEST_ASSERT_EQ(gmem_get_access(m->g.fd, 0, &size), m->level);
	TEST_ASSERT_EQ(size, SIZE);
	gmem_read_info(m->g.fd, &info);
	TEST_ASSERT_EQ(info.level_none, m->level == NONE ? NR_PAGES : 0);
	TEST_ASSERT_EQ(info.level_user, m->level == USER ? NR_PAGES : 0);
	TEST_ASSERT_EQ(info.level_kernel, m->level == KERNEL ? NR_PAGES : 0);
}

/* Level and direct map are as memory_create() left them. */
static inline void assert_kept(struct memory *m)
{
	bool seen = m->level == KERNEL;

	assert_level(m);
	assert_seen(m->pfns, NR_PAGES, m->seed, seen);
	gmem_assert_counts(m->g.fd, NR_PAGES, seen ? NR_PAGES : 0);
}

/* Contents, level and direct map are as memory_create() left them. */
static inline void assert_as_created(struct memory *m)
{
	gmem_guest_call(m->g.vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, m->seed);
	assert_kept(m);
}

static inline void memory_destroy(struct memory *m)
{
	if (m->g.vm) {
		assert_as_created(m);
		gmem_vm_destroy(&m->g);
		gmem_assert_given_back(m->pfns, NR_PAGES, m->seed);
	}
	gmem_set_block_order(m->old_order);
	gmem_assert_nothing_left(&m->kmsg);
}

#ifdef __x86_64__
static inline u64 guest_wrmsr(u64 msr, u64 value, u64 unused)
{
	return wrmsr_safe(msr, value);
}
#endif

/* Ends the program as skipped if this host cannot run the tests. */
static inline void access_require(void)
{
	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "plain memory has no levels to tell apart");
	__TEST_REQUIRE(!access(GUP_TEST_FILE, R_OK), "%s is needed", GUP_TEST_FILE);
}

#endif /* SELFTEST_KVM_GMEM_ACCESS_H */
