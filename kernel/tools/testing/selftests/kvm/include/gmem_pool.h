/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of the tests of the kernel's pool of hidden, clean blocks
 * (guest_memfd_pool_test.c, guest_memfd_pool_numa_test.c).  After each test the
 * pool is empty, and the direct map is whole.
 */
#ifndef SELFTEST_KVM_GMEM_POOL_H
#define SELFTEST_KVM_GMEM_POOL_H

#include <errno.h>
#include <fcntl.h>
#include <linux/sizes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#define BLOCK		SZ_2M
#define BLOCK_PAGES	(BLOCK / GMEM_PAGE)
#define TIMEOUT		300
#define MEMORY		"/sys/devices/system/memory"

static inline void write_text(const char *path, const char *text)
{
	int fd = open_path_or_exit(path, O_WRONLY);

	TEST_ASSERT(write(fd, text, strlen(text)) == (ssize_t)strlen(text),
		    "'%s' to %s: errno %d", text, path, errno);
	close(fd);
}

static inline void read_text(const char *path, char *text, size_t size)
{
	int fd = open_path_or_exit(path, O_RDONLY);
	ssize_t r = read(fd, text, size - 1);

	TEST_ASSERT(r >= 0, "cannot read %s", path);
	text[r] = '\0';
	text[strcspn(text, "\n")] = '\0';
	close(fd);
}

static inline bool pool_has(void *nr)
{
	return gmem_pool("blocks", -1) == (u64)nr;
}

/* @nr counts the blocks of all nodes together. */
static inline void wait_blocks(u64 nr)
{
	int i;

	for (i = 0; i < 600 && !pool_has((void *)nr); i++)
		usleep(100000);
	TEST_ASSERT(pool_has((void *)nr), "the pool has %lu blocks, want %lu",
		    gmem_pool("blocks", -1), nr);
}

/* Sets watermarks of @low and @high blocks of all nodes together. */
static inline void set_marks(u64 low, u64 high)
{
	char text[64];

	snprintf(text, sizeof(text), "%lu,%lu", low * BLOCK_PAGES, high * BLOCK_PAGES);
	gmem_set_pool(text);
}

/* Ends the program as skipped if this host cannot run the tests. */
static inline void pool_require(void)
{
	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "plain memory has no blocks");
	__TEST_REQUIRE(!access(GMEM_POOL_PARAM, W_OK), "%s is needed", GMEM_POOL_PARAM);
}

FIXTURE(pool) {
	struct gmem_vm g;
	int kmsg;
	unsigned int old_order;
	u64 flags;
	u64 seed;
};

FIXTURE_SETUP(pool)
{
	self->flags = gmem_test_flags();
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	self->old_order = gmem_set_block_order(9);
}

FIXTURE_TEARDOWN(pool)
{
	if (self->g.vm)
		gmem_vm_destroy(&self->g);
	gmem_set_block_order(self->old_order);
	gmem_set_pool("0");
	wait_blocks(0);
	gmem_assert_all_back();
	gmem_assert_nothing_left(&self->kmsg);
}

#define POOL_TEST(name) TEST_F_TIMEOUT(pool, name, TIMEOUT)

#endif /* SELFTEST_KVM_GMEM_POOL_H */
