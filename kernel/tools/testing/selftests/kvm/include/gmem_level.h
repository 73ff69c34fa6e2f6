/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of the tests of access levels (guest_memfd_level*_test.c).
 *
 * A model records the level of every page.  Whatever ranges a test sets to
 * whatever levels, on populated memory or not, the file reports the levels of
 * the model, user space can read exactly the pages that are not at NONE, the
 * kernel has in its page tables and can read exactly the pages at KERNEL, and
 * the contents are what the guest wrote.
 */
#ifndef SELFTEST_KVM_GMEM_LEVEL_H
#define SELFTEST_KVM_GMEM_LEVEL_H

#include <errno.h>
#include <fcntl.h>
#include <linux/sizes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#define BLOCK_PAGES	(SZ_2M / GMEM_PAGE)
#define NR_BLOCKS	2UL
#define TAIL_PAGES	3UL
#define NR_PAGES	(NR_BLOCKS * BLOCK_PAGES + TAIL_PAGES)
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define TIMEOUT		900

#define NONE		GUEST_MEMFD_ACCESS_NONE
#define USER		GUEST_MEMFD_ACCESS_USER
#define KERNEL		GUEST_MEMFD_ACCESS_KERNEL
#define NR_LEVELS	3

FIXTURE(level) {
	int kmsg;
	struct gmem_vm g;
	int copy;		/* a file to which readable pages are copied */
	u64 seed;
	u64 *pfns;		/* valid when all pages are populated */
	unsigned int old_order;
	u8 model[NR_PAGES];
};

FIXTURE_VARIANT(level) {
	unsigned int order;
};

FIXTURE_VARIANT_ADD(level, blocks) { .order = 9 };
FIXTURE_VARIANT_ADD(level, pages) { .order = 0 };

FIXTURE_SETUP(level)
{
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	self->old_order = gmem_set_block_order(variant->order);
	gmem_vm_create(&self->g, 1, SIZE, gmem_test_flags());
	memset(self->model, USER, NR_PAGES);
	self->copy = open("/tmp/gmem-copy", O_RDWR | O_CREAT | O_TRUNC, 0600);
	TEST_ASSERT(self->copy >= 0, "no file in /tmp");
	unlink("/tmp/gmem-copy");
}

FIXTURE_TEARDOWN(level)
{
	if (self->g.vm)
		gmem_vm_destroy(&self->g);
	if (self->pfns)
		gmem_assert_given_back(self->pfns, NR_PAGES, self->seed);
	gmem_set_block_order(self->old_order);
	gmem_assert_nothing_left(&self->kmsg);
}

#define LEVEL_TEST(name) TEST_F_TIMEOUT(level, name, TIMEOUT)

static inline void fill(struct _test_data_level *self)
{
	gmem_guest_call(self->g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	if (!self->pfns)
		self->pfns = gmem_pfns(self->g.mem, SIZE);
}

static inline void set(struct _test_data_level *self, u64 page, u64 nr, u32 level)
{
	gmem_set_access(self->g.fd, page * GMEM_PAGE, nr * GMEM_PAGE, level);
	memset(self->model + page, level, nr);
}

/*
 * The file reports the levels of the model, with all equal neighbours merged.
 */
static inline void assert_account(struct _test_data_level *self)
{
	u64 page, nr, size, count[NR_LEVELS] = {}, next;
	struct gmem_info info;
	u32 level;

	for (page = 0; page < NR_PAGES; page += nr) {
		for (nr = 1; page + nr < NR_PAGES; nr++)
			if (self->model[page + nr] != self->model[page])
				break;
		count[self->model[page]] += nr;
		/* Ask from the first page of the run on, and from its last. */
		for (next = page; next < page + nr; next += max_t(u64, nr - 1, 1)) {
			level = gmem_get_access(self->g.fd, next * GMEM_PAGE, &size);
			TEST_ASSERT(level == self->model[page] &&
				    size == (page + nr - next) * GMEM_PAGE,
				    "page %lu: level %u for 0x%lx bytes, want %u for 0x%lx", next,
				    level, size, self->model[page],
				    (page + nr - next) * GMEM_PAGE);
		}
	}
	gmem_read_info(self->g.fd, &info);
	TEST_ASSERT(info.level_none == count[NONE] && info.level_user == count[USER] &&
		    info.level_kernel == count[KERNEL], "fdinfo: %lu, %lu, %lu; want %lu, %lu, %lu",
		    info.level_none, info.level_user, info.level_kernel, count[NONE], count[USER],
		    count[KERNEL]);
}

/*
 * With all of the file populated and filled: check which accesses work, and the
 * contents.
 */
static inline void assert_model(struct _test_data_level *self)
{
	u64 visible[NR_PAGES], hidden[NR_PAGES], page, nr_visible = 0, nr_hidden = 0;
	char buf[GMEM_PAGE] __aligned(GMEM_PAGE);
	bool seen, mapped;
	ssize_t r;

	assert_account(self);
	for (page = 0; page < NR_PAGES; page++) {
		seen = gmem_kernel_sees(self->pfns[page], self->seed);
		TEST_ASSERT(seen == (self->model[page] == KERNEL),
			    "page %lu at level %u: the kernel sees %s", page, self->model[page],
			    seen ? "it" : "nothing");
		if (self->model[page] == KERNEL)
			visible[nr_visible++] = self->pfns[page];
		else
			hidden[nr_hidden++] = self->pfns[page];

		/*
		 * The kernel copies through the user mapping, and returns an
		 * error instead of a signal.
		 */
		r = pwrite(self->copy, self->g.mem + page * GMEM_PAGE, GMEM_PAGE, 0);
		mapped = r == GMEM_PAGE;
		TEST_ASSERT(mapped || (r == -1 && errno == EFAULT), "page %lu: errno %d", page,
			    errno);
		TEST_ASSERT(mapped == (self->model[page] >= USER),
			    "page %lu at level %u: user space reads %s", page, self->model[page],
			    mapped ? "it" : "nothing");
		if (!mapped)
			continue;
		TEST_ASSERT_EQ(pread(self->copy, buf, GMEM_PAGE, 0), GMEM_PAGE);
		gmem_assert_filled(buf, GMEM_PAGE, self->seed);
	}
	TEST_ASSERT_EQ(gmem_count_absent(visible, nr_visible), 0);
	TEST_ASSERT_EQ(gmem_count_absent(hidden, nr_hidden), nr_hidden);
	gmem_assert_counts(self->g.fd, NR_PAGES, nr_visible);
	gmem_guest_call(self->g.vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, self->seed);
}

static inline void touch(struct _test_data_level *self, u64 page, u64 nr)
{
	u64 i;

	for (i = page; i < page + nr; i++)
		WRITE_ONCE(self->g.mem[i * GMEM_PAGE], 0);
}

/* Ends the program as skipped if this host cannot run the tests. */
static inline void level_require(void)
{
	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "plain memory has no levels to tell apart");
	__TEST_REQUIRE(!access(GUP_TEST_FILE, R_OK), "%s is needed", GUP_TEST_FILE);
}

#endif /* SELFTEST_KVM_GMEM_LEVEL_H */
