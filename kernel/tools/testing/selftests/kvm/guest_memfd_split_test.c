// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel does elsewhere to parts of large folios, done to parts of
 * blocks of hidden guest memory.
 *
 * Proves that advice (madvise() and process_madvise()), mlock(), mprotect(),
 * mremap(), munmap() and fork() on a part of a mapped block, and the split that
 * debugfs offers, leave the block one piece, hidden, in its place and with its
 * contents, for user space and for the guest; that a hole punch in a part of a
 * block that is populated at the same time removes nothing else; and that a
 * hole punch ends although a device has pinned a part of the block at its end.
 *
 * Catches: a block that is split without the library (every test), a block that
 * truncation removes whole (hole_and_fault), a hole punch that is retried for
 * ever (hole_at_pin), a reference that soft offlining leaks (soft_offline).
 *
 * Not covered: the return value of split_folio(), which user space cannot see:
 * the library's reference makes it fail in any case.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#define BLOCK_PAGES	(SZ_2M / GMEM_PAGE)
#define NR_BLOCKS	3UL
#define NR_PAGES	(NR_BLOCKS * BLOCK_PAGES)
#define SIZE		(NR_BLOCKS * SZ_2M)
#define TIMEOUT		300

#define SPLIT_FILE	"/sys/kernel/debug/split_huge_pages"

#ifndef MADV_COLD
#define MADV_COLD	20
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* Three blocks, filled and mapped whole by user space and by the guest. */
FIXTURE(split) {
	int kmsg;
	struct gmem_vm g;
	u64 seed;
	u64 *pfns;
	unsigned int old_order;
};

FIXTURE_SETUP(split)
{
	struct gmem_vm *g = &self->g;

	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	self->old_order = gmem_set_block_order(9);
	gmem_vm_create(g, 1, SIZE, gmem_test_flags());
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	self->pfns = gmem_pfns(g->mem, SIZE);
}

FIXTURE_TEARDOWN(split)
{
	gmem_vm_destroy(&self->g);
	gmem_assert_given_back(self->pfns, NR_PAGES, self->seed);
	gmem_set_block_order(self->old_order);
	gmem_assert_nothing_left(&self->kmsg);
}

#define SPLIT_TEST(name) TEST_F_TIMEOUT(split, name, TIMEOUT)

static u64 blocks(int fd)
{
	struct gmem_info i;

	gmem_read_info(fd, &i);
	return i.blocks;
}

/* Assert that nothing has changed for user space, the guest and the kernel. */
static void assert_unchanged(struct _test_data_split *self, const char *after)
{
	struct gmem_vm *g = &self->g;
	u64 i, nr = blocks(g->fd);

	TEST_ASSERT(nr == NR_BLOCKS, "%lu blocks after %s", nr, after);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, self->seed);
	TEST_ASSERT_EQ(gmem_pages_2m(g->vm), NR_BLOCKS);
	gmem_assert_filled(g->mem, SIZE, self->seed);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(gmem_pfn(g->mem + i * GMEM_PAGE) == self->pfns[i],
			    "page %lu has moved after %s", i, after);
	gmem_assert_pfns_hidden(self->pfns, NR_PAGES, self->seed);
	/* The guest sees what user space writes. */
	self->seed++;
	gmem_fill(g->mem, SIZE, self->seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, self->seed);
}

/* Parts of blocks: inside a block, at its ends, and across an end. */
static const struct {
	u64 first, nr;
} parts[] = {
	{ BLOCK_PAGES + 100, 100 },
	{ BLOCK_PAGES, 1 },
	{ 2 * BLOCK_PAGES - 1, 1 },
	{ BLOCK_PAGES - 8, 16 },
};

static const struct {
	const char *name;
	int advice;
	int error;	/* 0, or the error that is right */
} advices[] = {
	{ "MADV_COLD",		MADV_COLD },
	{ "MADV_PAGEOUT",	MADV_PAGEOUT },
	{ "MADV_DONTNEED",	MADV_DONTNEED },
	{ "MADV_POPULATE_READ",	MADV_POPULATE_READ },
	{ "MADV_POPULATE_WRITE", MADV_POPULATE_WRITE },
	{ "MADV_WILLNEED",	MADV_WILLNEED },
	{ "MADV_FREE",		MADV_FREE,	EINVAL },
	{ "MADV_COLLAPSE",	MADV_COLLAPSE,	EINVAL },
	{ "MADV_MERGEABLE",	MADV_MERGEABLE },
	{ "MADV_UNMERGEABLE",	MADV_UNMERGEABLE },
	{ "MADV_NOHUGEPAGE",	MADV_NOHUGEPAGE },
	{ "MADV_HUGEPAGE",	MADV_HUGEPAGE },
	{ "MADV_DOFORK",	MADV_DOFORK },
};

SPLIT_TEST(advice)
{
	u64 failed = gmem_vmstat("thp_split_page_failed"), split = gmem_vmstat("thp_split_page");
	unsigned int i, j;
	int r;

	for (i = 0; i < ARRAY_SIZE(advices); i++) {
		for (j = 0; j < ARRAY_SIZE(parts); j++) {
			/* Map each block whole. */
			kvm_madvise(self->g.mem, SIZE, MADV_POPULATE_WRITE);
			r = madvise(self->g.mem + parts[j].first * GMEM_PAGE,
				    parts[j].nr * GMEM_PAGE, advices[i].advice);
			TEST_ASSERT(!r || (errno && errno == advices[i].error),
				    "%s: errno %d", advices[i].name, errno);
			TEST_ASSERT_EQ(blocks(self->g.fd), NR_BLOCKS);
		}
		assert_unchanged(self, advices[i].name);
	}
	/* MADV_COLD and MADV_PAGEOUT have tried to split a block. */
	TEST_ASSERT(gmem_vmstat("thp_split_page_failed") > failed, "no split was tried");
	TEST_ASSERT_EQ(gmem_vmstat("thp_split_page"), split);
	/* Advice for all blocks. */
	for (i = 0; i < ARRAY_SIZE(advices); i++) {
		r = madvise(self->g.mem, SIZE, advices[i].advice);
		TEST_ASSERT(!r || (errno && errno == advices[i].error),
			    "%s: errno %d", advices[i].name, errno);
	}
	assert_unchanged(self, "advice to all");
}

/* Another process gives the advice. */
SPLIT_TEST(advice_from_outside)
{
	static const int outside[] = { MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, MADV_COLLAPSE };
	int status, pidfd = syscall(SYS_pidfd_open, getpid(), 0);
	unsigned int i, j;
	pid_t child;

	TEST_ASSERT(pidfd >= 0, "errno %d", errno);
	for (i = 0; i < ARRAY_SIZE(outside); i++) {
		/*
		 * If the child also mapped the blocks, the kernel would ignore
		 * the advice.
		 */
		kvm_madvise(self->g.mem, SIZE, MADV_DONTFORK);
		child = fork();
		if (!child) {
			for (j = 0; j < ARRAY_SIZE(parts); j++) {
				struct iovec part = {
					.iov_base = self->g.mem + parts[j].first * GMEM_PAGE,
					.iov_len = parts[j].nr * GMEM_PAGE,
				};
				long r = syscall(SYS_process_madvise, pidfd, &part, 1, outside[i],
						 0);

				if (r < 0 && !(outside[i] == MADV_COLLAPSE && errno == EINVAL))
					_exit(1);
			}
			_exit(0);
		}
		TEST_ASSERT(waitpid(child, &status, 0) == child && !status,
			    "advice %d: status 0x%x", outside[i], status);
		assert_unchanged(self, "process_madvise");
	}
	close(pidfd);
}

SPLIT_TEST(lock)
{
	unsigned int j;

	for (j = 0; j < ARRAY_SIZE(parts); j++) {
		char *at = self->g.mem + parts[j].first * GMEM_PAGE;
		u64 len = parts[j].nr * GMEM_PAGE;

		TEST_ASSERT(!mlock(at, len), "errno %d", errno);
		assert_unchanged(self, "mlock");
		TEST_ASSERT(!munlock(at, len), "errno %d", errno);
		assert_unchanged(self, "munlock");
	}
}

SPLIT_TEST(protect)
{
	unsigned int j;

	for (j = 0; j < ARRAY_SIZE(parts); j++) {
		char *at = self->g.mem + parts[j].first * GMEM_PAGE;
		u64 len = parts[j].nr * GMEM_PAGE;

		TEST_ASSERT(!mprotect(at, len, PROT_READ), "errno %d", errno);
		gmem_assert_filled(self->g.mem, SIZE, self->seed);
		TEST_ASSERT(!mprotect(at, len, PROT_NONE), "errno %d", errno);
		TEST_ASSERT(!mprotect(at, len, PROT_READ | PROT_WRITE), "errno %d", errno);
		assert_unchanged(self, "mprotect");
	}
}

SPLIT_TEST(move)
{
	unsigned int j;
	char *to;

	for (j = 0; j < ARRAY_SIZE(parts); j++) {
		char *at = self->g.mem + parts[j].first * GMEM_PAGE;
		u64 len = parts[j].nr * GMEM_PAGE;

		to = kvm_mmap(len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		TEST_ASSERT(mremap(at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to,
			    "errno %d", errno);
		gmem_assert_filled(to, len, self->seed);
		TEST_ASSERT_EQ(gmem_pfn(to), self->pfns[parts[j].first]);
		TEST_ASSERT(mremap(to, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at) == at,
			    "errno %d", errno);
		assert_unchanged(self, "mremap");
	}
}

SPLIT_TEST(unmap)
{
	unsigned int j;

	for (j = 0; j < ARRAY_SIZE(parts); j++) {
		u64 start = parts[j].first * GMEM_PAGE, len = parts[j].nr * GMEM_PAGE;
		char *at = self->g.mem + start;

		kvm_munmap(at, len);
		gmem_assert_filled(self->g.mem, start, self->seed);
		gmem_assert_filled(at + len, SIZE - start - len, self->seed);
		TEST_ASSERT(mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
				 self->g.fd, start) == at, "errno %d", errno);
		assert_unchanged(self, "munmap");
	}
}

SPLIT_TEST(fork)
{
	int status;
	pid_t child = fork();

	if (!child) {
		gmem_assert_filled(self->g.mem, SIZE, self->seed);
		gmem_fill(self->g.mem, SZ_2M + 64 * GMEM_PAGE, self->seed + 1);
		/*
		 * The kernel ignores the advice while both processes map the
		 * block.
		 */
		_exit(madvise(self->g.mem + GMEM_PAGE, GMEM_PAGE, MADV_PAGEOUT) ||
		      madvise(self->g.mem + GMEM_PAGE, GMEM_PAGE, MADV_DONTNEED));
	}
	TEST_ASSERT(waitpid(child, &status, 0) == child && !status, "status 0x%x", status);
	gmem_guest_call(self->g.vcpus[0], gmem_guest_check, GMEM_GVA, SZ_2M + 64 * GMEM_PAGE,
			self->seed + 1);
	gmem_guest_call(self->g.vcpus[0], gmem_guest_check, GMEM_GVA + SZ_2M + 64 * GMEM_PAGE,
			SIZE - SZ_2M - 64 * GMEM_PAGE, self->seed);
	gmem_fill(self->g.mem, SIZE, self->seed);
	assert_unchanged(self, "fork");
}

static void split_huge_pages(const char *what)
{
	int fd = open_path_or_exit(SPLIT_FILE, O_WRONLY);

	TEST_ASSERT(write(fd, what, strlen(what)) > 0, "'%s' to %s: errno %d", what, SPLIT_FILE,
		    errno);
	close(fd);
}

SPLIT_TEST(debugfs)
{
	unsigned long at = (unsigned long)self->g.mem;
	char what[128];

	if (access(SPLIT_FILE, W_OK))
		SKIP(return, "no %s", SPLIT_FILE);
	kvm_madvise(self->g.mem, SIZE, MADV_POPULATE_WRITE);
	snprintf(what, sizeof(what), "%d,0x%lx,0x%lx,0", getpid(), at, at + SIZE);
	split_huge_pages(what);
	assert_unchanged(self, "a split of a range");
	snprintf(what, sizeof(what), "%d,0x%lx,0x%lx,2,37", getpid(), at, at + SIZE);
	split_huge_pages(what);
	assert_unchanged(self, "a split at a page");
	split_huge_pages("1");
	assert_unchanged(self, "a split of everything");
}

/*
 * Soft offlining is refused, and leaks no reference, which a change of levels
 * would find.
 */
SPLIT_TEST(soft_offline)
{
	struct gmem_vm *g = &self->g;
	char *at = g->mem + (BLOCK_PAGES + 37) * GMEM_PAGE;
	int r;

	gmem_set_access(g->fd, 0, SIZE, GUEST_MEMFD_ACCESS_KERNEL);
	r = madvise(at, GMEM_PAGE, MADV_SOFT_OFFLINE);
	TEST_ASSERT(r && errno == EBUSY, "%d, errno %d", r, errno);
	TEST_ASSERT_EQ(blocks(g->fd), NR_BLOCKS);
	gmem_set_access(g->fd, 0, SIZE, GUEST_MEMFD_ACCESS_USER);
	r = madvise(at, GMEM_PAGE, MADV_SOFT_OFFLINE);
	TEST_ASSERT(r && errno == EFAULT, "%d, errno %d", r, errno);
	assert_unchanged(self, "MADV_SOFT_OFFLINE");
}

/* MADV_REMOVE punches a hole, which splits only its block. */
SPLIT_TEST(remove)
{
	u64 first = BLOCK_PAGES + 100, nr = 100, end = first + nr;
	struct gmem_vm *g = &self->g;

	kvm_madvise(g->mem + first * GMEM_PAGE, nr * GMEM_PAGE, MADV_REMOVE);
	TEST_ASSERT_EQ(blocks(g->fd), NR_BLOCKS - 1 + BLOCK_PAGES - nr);
	gmem_assert_counts(g->fd, NR_PAGES - nr, 0);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, first * GMEM_PAGE, self->seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA + end * GMEM_PAGE,
			SIZE - end * GMEM_PAGE, self->seed);
	gmem_assert_filled(g->mem, first * GMEM_PAGE, self->seed);
	gmem_assert_filled(g->mem + end * GMEM_PAGE, SIZE - end * GMEM_PAGE, self->seed);
	gmem_assert_zero(g->mem + first * GMEM_PAGE, nr * GMEM_PAGE);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	/* MADV_COLLAPSE does not merge single pages. */
	madvise(g->mem, SIZE, MADV_COLLAPSE);
	TEST_ASSERT_EQ(blocks(g->fd), NR_BLOCKS - 1 + BLOCK_PAGES);
}

static bool go;

static void *read_thread(void *arg)
{
	while (!READ_ONCE(go))
		;
	(void)READ_ONCE(*(char *)arg);
	return NULL;
}

/* A fault populates the block while a part of it is punched. */
SPLIT_TEST(hole_and_fault)
{
	struct gmem_vm *g = &self->g;
	struct gmem_info info;
	pthread_t thread;
	int i;

	for (i = 0; i < 100; i++) {
		gmem_punch(g->fd, SZ_2M, SZ_2M);
		WRITE_ONCE(go, false);
		kvm_pthread_create(&thread, NULL, read_thread, g->mem + SZ_2M);
		WRITE_ONCE(go, true);
		/* Punch before or after the fault, depending on the round. */
		if (i % 10)
			usleep(i % 10 * 20);
		gmem_punch(g->fd, SZ_2M + SZ_1M, GMEM_PAGE);
		kvm_pthread_join(thread, NULL);
		gmem_read_info(g->fd, &info);
		/* The hole punch may run before the fault or after it. */
		TEST_ASSERT(info.populated >= NR_PAGES - 1,
			    "round %d: %lu pages, a hole of one page has removed a block", i,
			    info.populated);
	}
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, SZ_2M, self->seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA + 2 * SZ_2M, SZ_2M, self->seed);
}

/*
 * The hole begins in one block and ends in another one, which a device has
 * pinned.
 */
SPLIT_TEST(hole_at_pin)
{
	u64 first = 256, end = BLOCK_PAGES + 256;
	struct gmem_vm *g = &self->g;
	struct gmem_pin pin;

	gmem_set_access(g->fd, 0, SIZE, GUEST_MEMFD_ACCESS_KERNEL);
	TEST_ASSERT(!gmem_pin(&pin, GMEM_PIN_WRITE, g->mem + (end + 8) * GMEM_PAGE, GMEM_PAGE),
		    "errno %d", errno);
	/* If the punch does not end, the harness's alarm fails the test. */
	gmem_punch(g->fd, first * GMEM_PAGE, (end - first) * GMEM_PAGE);
	gmem_assert_filled(g->mem, first * GMEM_PAGE, self->seed);
	gmem_assert_zero(g->mem + first * GMEM_PAGE, (end - first) * GMEM_PAGE);
	gmem_assert_filled(g->mem + end * GMEM_PAGE, SIZE - end * GMEM_PAGE, self->seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check_zero, GMEM_GVA + first * GMEM_PAGE,
			(end - first) * GMEM_PAGE, 0);
	gmem_unpin(&pin);
	gmem_set_access(g->fd, 0, SIZE, GUEST_MEMFD_ACCESS_USER);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
}

int main(int argc, char *argv[])
{
	gmem_require();
	TEST_REQUIRE(!gmem_plain());
	return test_harness_run(argc, argv);
}
