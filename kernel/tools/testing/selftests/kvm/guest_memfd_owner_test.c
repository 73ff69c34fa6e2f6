// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest_memfd with another owner than KVM: lib/test_guest_memfd.c, whose
 * guests start with memory that they share with the host, and make it private
 * by hypercalls.
 *
 * Proves that the library serves such an owner: the host can access memory that
 * is lent to a guest neither by user mappings nor by the direct map, and cannot
 * change that, while the guest continues to use it; lending fails cleanly as
 * long as the host has a reference to a page; contents survive both directions,
 * and cannot be read after the guest is dead.
 *
 * Catches: a level that changes although a page has a reference (held, race),
 * an owner that is not asked, or asked about its own calls (veto, lend), memory
 * of a dead guest that is reused with its contents (reclaim, destroy), guest
 * mappings that outlive their page (punch_hole).
 *
 * Not covered: bad input and the end of the module (guest_memfd_module_test).
 */
#include <linux/sizes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "gmem_owner.h"

/* Two blocks, and a tail of single pages. */
#define NR_PAGES	1040UL
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define BLOCK_PAGES	(SZ_2M / GMEM_PAGE)
#define TIMEOUT		300
#define RACE_SECONDS	5

#define NONE	GUEST_MEMFD_ACCESS_NONE
#define USER	GUEST_MEMFD_ACCESS_USER
#define KERNEL	GUEST_MEMFD_ACCESS_KERNEL

static long set_access(int fd, u64 first, u64 nr, u32 level)
{
	struct guest_memfd_access access = {
		.offset = first * GMEM_PAGE,
		.size = nr * GMEM_PAGE,
		.level = level,
	};

	return result(ioctl(fd, GUEST_MEMFD_SET_ACCESS, &access));
}

static void assert_level(int fd, u64 first, u64 nr, u32 level)
{
	struct guest_memfd_access access = { .offset = first * GMEM_PAGE };

	TEST_ASSERT_EQ(result(ioctl(fd, GUEST_MEMFD_GET_ACCESS, &access)), 0);
	TEST_ASSERT(access.level == level && access.size >= nr * GMEM_PAGE,
		    "level %u for %llu bytes at page %lu, want %u for %lu pages", access.level,
		    access.size, first, level, nr);
}

/* A guest with a file that the host has mapped and filled completely. */
FIXTURE(owner) {
	int kmsg;
	int dev;
	int fd;
	char *mem;
	u64 *pfns;
	u64 seed;	/* what the host has written */
	u64 secret;	/* what the guest writes */
	char *buf;
};

/* The range that is lent. */
FIXTURE_VARIANT(owner) {
	u64 first;
	u64 nr;
};

FIXTURE_VARIANT_ADD(owner, page) {
	.first = 7,
	.nr = 1,
};

FIXTURE_VARIANT_ADD(owner, block) {
	.first = 512,
	.nr = 512,
};

FIXTURE_VARIANT_ADD(owner, border) {
	.first = 500,
	.nr = 30,
};

FIXTURE_VARIANT_ADD(owner, tail) {
	.first = 1020,
	.nr = 20,
};

FIXTURE_SETUP(owner)
{
	self->seed = gmem_new_seed();
	self->secret = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	self->dev = guest_new();
	self->fd = file_new(self->dev, SIZE, gmem_test_flags());
	TEST_ASSERT(self->fd >= 0, "no file: %d", self->fd);
	self->mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd);
	gmem_fill(self->mem, SIZE, self->seed);
	self->pfns = gmem_pfns(self->mem, SIZE);
	self->buf = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_MAP, self->fd, 0, NR_PAGES, NULL), 0);
}

FIXTURE_TEARDOWN(owner)
{
	kvm_munmap(self->mem, SIZE);
	kvm_munmap(self->buf, SIZE);
	if (self->fd >= 0)
		kvm_close(self->fd);
	if (self->dev >= 0)
		kvm_close(self->dev);
	gmem_assert_given_back(self->pfns, NR_PAGES, self->seed);
	gmem_assert_given_back(self->pfns, NR_PAGES, self->secret);
	gmem_assert_nothing_left(&self->kmsg);
}

#define OWNER_TEST(name) TEST_F_TIMEOUT(owner, name, TIMEOUT)

#define FIRST	(variant->first)
#define NR	(variant->nr)
#define START	(self->mem + FIRST * GMEM_PAGE)

#define lend(error_page) on_range(self->dev, TEST_GMEM_LEND, self->fd, FIRST, NR, error_page)
#define share() on_range(self->dev, TEST_GMEM_SHARE, self->fd, FIRST, NR, NULL)
#define reclaim() on_range(self->dev, TEST_GMEM_RECLAIM, self->fd, FIRST, NR, NULL)

static void guest_read(struct _test_data_owner *self, u64 first, u64 nr, u64 seed)
{
	char *buf = self->buf + first * GMEM_PAGE;

	TEST_ASSERT_EQ(guest_io(self->dev, self->fd, first * GMEM_PAGE, buf, nr * GMEM_PAGE,
				false), 0);
	if (seed)
		gmem_assert_filled(buf, nr * GMEM_PAGE, seed);
	else
		gmem_assert_zero(buf, nr * GMEM_PAGE);
	memset(buf, 0, nr * GMEM_PAGE);
}

static void guest_write(struct _test_data_owner *self, u64 first, u64 nr, u64 seed)
{
	char *buf = self->buf + first * GMEM_PAGE;

	gmem_fill(buf, nr * GMEM_PAGE, seed);
	TEST_ASSERT_EQ(guest_io(self->dev, self->fd, first * GMEM_PAGE, buf, nr * GMEM_PAGE,
				true), 0);
	memset(buf, 0, nr * GMEM_PAGE);
}

static void assert_kernel_sees(const u64 *pfns, u64 nr, u64 seed)
{
	u64 i;

	for (i = 0; i < nr; i++)
		TEST_ASSERT(gmem_kernel_sees(pfns[i], seed),
			    "the kernel does not see page %lu, frame 0x%lx", i, pfns[i]);
}

/* Assert that all other pages have the host's data, and are at KERNEL. */
static void assert_rest_untouched(struct _test_data_owner *self,
				  const struct _fixture_variant_owner *variant)
{
	u64 after = FIRST + NR;

	assert_level(self->fd, 0, FIRST, KERNEL);
	gmem_assert_filled(self->mem, FIRST * GMEM_PAGE, self->seed);
	assert_kernel_sees(self->pfns + FIRST - 1, 1, self->seed);
	if (after == NR_PAGES)
		return;
	assert_level(self->fd, after, NR_PAGES - after, KERNEL);
	gmem_assert_filled(self->mem + after * GMEM_PAGE, SIZE - after * GMEM_PAGE, self->seed);
	assert_kernel_sees(self->pfns + after, 1, self->seed);
}

static void assert_private(struct _test_data_owner *self,
			   const struct _fixture_variant_owner *variant, u64 seed)
{
	assert_level(self->fd, FIRST, NR, NONE);
	TEST_EXPECT_SIGBUS((void)READ_ONCE(*START));
	TEST_EXPECT_SIGBUS(WRITE_ONCE(START[NR * GMEM_PAGE - 1], 1));
	gmem_assert_pfns_hidden(self->pfns + FIRST, NR, seed);
}

/*
 * Check the counters of the file: only level KERNEL has direct-map references.
 */
static void assert_counts(struct _test_data_owner *self, u64 lent)
{
	struct gmem_info info;

	gmem_read_info(self->fd, &info);
	TEST_ASSERT_EQ(info.size, SIZE);
	TEST_ASSERT_EQ(info.flags, gmem_test_flags());
	TEST_ASSERT_EQ(info.populated, NR_PAGES);
	TEST_ASSERT_EQ(info.level_none, lent);
	TEST_ASSERT_EQ(info.level_user, 0);
	TEST_ASSERT_EQ(info.level_kernel, NR_PAGES - lent);
	TEST_ASSERT_EQ(info.hidden, gmem_plain() ? 0 : lent);
	TEST_ASSERT_EQ(info.referenced, gmem_plain() ? 0 : NR_PAGES - lent);
}

/* Guest and host see the same memory, as far as the guest has mapped it. */
OWNER_TEST(guest)
{
	guest_read(self, FIRST, NR, self->seed);
	guest_write(self, FIRST, NR, self->secret);
	gmem_assert_filled(START, NR * GMEM_PAGE, self->secret);
	assert_rest_untouched(self, variant);
	assert_counts(self, 0);

	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_UNMAP, self->fd, FIRST, NR, NULL), 0);
	TEST_ASSERT_EQ(guest_io(self->dev, self->fd, FIRST * GMEM_PAGE, self->buf, 8, false),
		       -EFAULT);
	TEST_ASSERT_EQ(guest_io(self->dev, self->fd, FIRST * GMEM_PAGE, self->buf, 8, true),
		       -EFAULT);
	guest_read(self, FIRST - 1, 1, self->seed);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_MAP, self->fd, FIRST, NR, NULL), 0);
	guest_read(self, FIRST, NR, self->secret);
}

/*
 * The guest makes the range private and shares it again, with all of it mapped
 * by the host.
 */
OWNER_TEST(lend)
{
	int round;

	for (round = 0; round < 3; round++) {
		TEST_ASSERT_EQ(lend(NULL), 0);
		/* The guest keeps its mapping and its contents. */
		guest_read(self, FIRST, NR, round ? self->secret + round - 1 : self->seed);
		guest_write(self, FIRST, NR, self->secret + round);
		assert_private(self, variant, self->secret + round);
		assert_rest_untouched(self, variant);
		assert_counts(self, NR);

		TEST_ASSERT_EQ(share(), 0);
		gmem_assert_filled(START, NR * GMEM_PAGE, self->secret + round);
		assert_kernel_sees(self->pfns + FIRST, NR, self->secret + round);
		assert_counts(self, 0);
	}
	/* User space may change its level again. */
	TEST_ASSERT_EQ(set_access(self->fd, FIRST, NR, USER), 0);
	TEST_ASSERT_EQ(set_access(self->fd, FIRST, NR, KERNEL), 0);
	gmem_fill(START, NR * GMEM_PAGE, self->seed);
}

/*
 * A range with a page to which the host has a reference cannot be lent, and
 * then no page of it is.
 */
OWNER_TEST(held)
{
	u64 held = FIRST + NR - 1, error_page, want = held;
	/* The end of the file is no whole block. */
	bool block = !gmem_plain() && held / BLOCK_PAGES < NR_PAGES / BLOCK_PAGES;
	int p[2];

	pin(p, self->mem + held * GMEM_PAGE);
	TEST_ASSERT_EQ(lend(&error_page), -EAGAIN);
	if (block)
		want = max_t(u64, FIRST, held / BLOCK_PAGES * BLOCK_PAGES);
	TEST_ASSERT_EQ(error_page, want);
	assert_counts(self, 0);
	gmem_assert_filled(START, NR * GMEM_PAGE, self->seed);
	assert_kernel_sees(self->pfns + FIRST, NR, self->seed);
	guest_read(self, FIRST, NR, self->seed);
	/* The owner does not veto a change of memory that is not lent. */
	if (NR > 1) {
		TEST_ASSERT_EQ(set_access(self->fd, FIRST, NR - 1, NONE),
			       block ? -EAGAIN : 0);
		TEST_ASSERT_EQ(set_access(self->fd, FIRST, NR - 1, KERNEL), 0);
	}
	TEST_ASSERT_EQ(share(), -EINVAL);

	/* The pipe still contains the old contents. */
	TEST_ASSERT_EQ(result(read(p[0], self->buf, GMEM_PAGE)), GMEM_PAGE);
	gmem_assert_filled(self->buf, GMEM_PAGE, self->seed);
	memset(self->buf, 0, GMEM_PAGE);
	unpin(p);
	TEST_ASSERT_EQ(lend(&error_page), 0);
	assert_private(self, variant, self->seed);
}

/* The host cannot raise the level of a lent range, or of a part of it. */
OWNER_TEST(veto)
{
	u64 after = FIRST + NR;

	TEST_ASSERT_EQ(lend(NULL), 0);
	TEST_ASSERT_EQ(set_access(self->fd, FIRST, NR, USER), -EPERM);
	TEST_ASSERT_EQ(set_access(self->fd, FIRST, NR, KERNEL), -EPERM);
	TEST_ASSERT_EQ(set_access(self->fd, FIRST - 1, 2, USER), -EPERM);
	TEST_ASSERT_EQ(set_access(self->fd, 0, NR_PAGES, KERNEL), -EPERM);
	TEST_ASSERT_EQ(set_access(self->fd, after - 1, 1, KERNEL), -EPERM);
	TEST_ASSERT_EQ(set_access(self->fd, FIRST, NR, NONE), 0);
	TEST_ASSERT_EQ(set_access(self->fd, 0, FIRST, USER), 0);
	assert_level(self->fd, 0, FIRST, USER);
	TEST_ASSERT_EQ(set_access(self->fd, 0, FIRST, KERNEL), 0);
	assert_private(self, variant, self->seed);
	assert_rest_untouched(self, variant);

	/*
	 * The range cannot be lent twice, nor shared together with memory that
	 * is not lent.
	 */
	TEST_ASSERT_EQ(lend(NULL), -EINVAL);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_LEND, self->fd, FIRST - 1, 2, NULL), -EINVAL);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_SHARE, self->fd, FIRST - 1, 2, NULL), -EINVAL);
	assert_rest_untouched(self, variant);
}

/*
 * Memory of a dead guest is returned empty, and only after the guest is dead.
 */
OWNER_TEST(reclaim)
{
	TEST_ASSERT_EQ(lend(NULL), 0);
	guest_write(self, FIRST, NR, self->secret);
	TEST_ASSERT_EQ(reclaim(), -EBUSY);

	TEST_ASSERT_EQ(result(ioctl(self->dev, TEST_GMEM_KILL)), 0);
	TEST_ASSERT_EQ(guest_io(self->dev, self->fd, 0, self->buf, 8, false), -EFAULT);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_MAP, self->fd, FIRST, NR, NULL), -EIO);
	TEST_ASSERT_EQ(share(), -EIO);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_LEND, self->fd, 0, 1, NULL), -EIO);
	TEST_ASSERT_EQ(set_access(self->fd, FIRST, NR, KERNEL), -EPERM);
	assert_private(self, variant, self->secret);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_RECLAIM, self->fd, FIRST - 1, 2, NULL),
		       -EINVAL);

	TEST_ASSERT_EQ(reclaim(), 0);
	assert_level(self->fd, FIRST, NR, KERNEL);
	gmem_assert_zero(START, NR * GMEM_PAGE);
	assert_rest_untouched(self, variant);
	if (!gmem_plain())
		TEST_ASSERT_EQ(gmem_scan(self->secret, NULL), 0);
	assert_counts(self, 0);
	TEST_ASSERT_EQ(reclaim(), -EINVAL);
	gmem_fill(START, NR * GMEM_PAGE, self->seed);
	assert_rest_untouched(self, variant);
}

/*
 * The guest is destroyed; its file and the mapping remain, and lent memory is
 * empty.
 */
OWNER_TEST(destroy)
{
	u64 pfn;

	TEST_ASSERT_EQ(lend(NULL), 0);
	guest_write(self, FIRST, NR, self->secret);
	kvm_close(self->dev);
	self->dev = -1;

	assert_rest_untouched(self, variant);
	assert_level(self->fd, FIRST, NR, NONE);
	TEST_EXPECT_SIGBUS((void)READ_ONCE(*START));
	if (!gmem_plain())
		TEST_ASSERT_EQ(gmem_scan(self->secret, NULL), 0);
	TEST_ASSERT_EQ(set_access(self->fd, FIRST, NR, KERNEL), 0);
	gmem_assert_zero(START, NR * GMEM_PAGE);
	gmem_fill(START, NR * GMEM_PAGE, self->secret);
	pfn = gmem_pfn(START);
	TEST_ASSERT(gmem_kernel_sees(pfn, self->secret), "the kernel does not see it");
	/* The mapping alone holds the file, with the same result. */
	kvm_close(self->fd);
	self->fd = -1;
	gmem_assert_filled(START, NR * GMEM_PAGE, self->secret);
	gmem_fill(START, NR * GMEM_PAGE, self->seed);
}

/*
 * A hole punch removes the pages from the guest too; a lent range stays lent.
 */
OWNER_TEST(punch_hole)
{
	u64 part = NR > 1 ? NR / 2 : 1;
	u64 hole = FIRST + NR - part;

	TEST_ASSERT_EQ(lend(NULL), 0);
	guest_write(self, FIRST, NR, self->secret);
	gmem_punch(self->fd, hole * GMEM_PAGE, part * GMEM_PAGE);
	TEST_ASSERT_EQ(guest_io(self->dev, self->fd, hole * GMEM_PAGE, self->buf, 8, false),
		       -EFAULT);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_MAP, self->fd, 0, NR_PAGES, NULL), 0);
	guest_read(self, hole, part, 0);
	guest_read(self, 0, FIRST, self->seed);
	if (part < NR)
		guest_read(self, FIRST, NR - part, self->secret);
	assert_level(self->fd, FIRST, NR, NONE);
	TEST_ASSERT_EQ(set_access(self->fd, hole, part, USER), -EPERM);
	assert_rest_untouched(self, variant);

	TEST_ASSERT_EQ(share(), 0);
	gmem_assert_zero(self->mem + hole * GMEM_PAGE, part * GMEM_PAGE);

	/* The same for memory that the host uses. */
	gmem_punch(self->fd, 0, FIRST * GMEM_PAGE);
	TEST_ASSERT_EQ(guest_io(self->dev, self->fd, 0, self->buf, 8, false), -EFAULT);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_MAP, self->fd, 0, FIRST, NULL), 0);
	guest_read(self, 0, FIRST, 0);
	gmem_assert_zero(self->mem, FIRST * GMEM_PAGE);
}

/* A file whose memory is private from the beginning. */
OWNER_TEST(private_start)
{
	u64 flags = gmem_test_flags() & ~GUEST_MEMFD_FLAG_INIT_SHARED;
	struct gmem_info info;
	char *mem;
	int fd;

	fd = file_new(self->dev, SIZE, flags);
	TEST_ASSERT(fd >= 0, "no file: %d", fd);
	mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	assert_level(fd, 0, NR_PAGES, NONE);
	TEST_EXPECT_SIGBUS((void)READ_ONCE(*mem));
	TEST_ASSERT_EQ(set_access(fd, 0, NR_PAGES, USER), -EPERM);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_MAP, fd, FIRST, NR, NULL), 0);
	gmem_fill(self->buf, GMEM_PAGE, self->secret);
	TEST_ASSERT_EQ(guest_io(self->dev, fd, FIRST * GMEM_PAGE, self->buf, GMEM_PAGE, true), 0);
	memset(self->buf, 0, GMEM_PAGE);
	if (!gmem_plain())
		TEST_ASSERT_EQ(gmem_scan(self->secret, NULL), 0);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_SHARE, fd, FIRST, NR, NULL), 0);
	gmem_assert_filled(mem + FIRST * GMEM_PAGE, GMEM_PAGE, self->secret);
	gmem_read_info(fd, &info);
	TEST_ASSERT_EQ(info.level_kernel, NR);
	TEST_ASSERT_EQ(info.level_none, NR_PAGES - NR);
	kvm_munmap(mem, SIZE);
	kvm_close(fd);
}

/*
 * A page of the guest is poisoned: the guest loses it, and no other user gets
 * it.
 */
OWNER_TEST(memory_failure)
{
	u64 bad = FIRST + NR / 2, error_page;
	char value[32];
	int fd;

	if (gmem_plain())
		SKIP(return, "plain memory");
	fd = open("/sys/kernel/debug/hwpoison/corrupt-pfn", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		SKIP(return, "no hwpoison injection");
	TEST_ASSERT_EQ(lend(NULL), 0);
	snprintf(value, sizeof(value), "0x%lx", self->pfns[bad]);
	signal(SIGBUS, SIG_IGN);
	TEST_ASSERT(write(fd, value, strlen(value)) > 0, "corrupt-pfn: errno %d", errno);
	signal(SIGBUS, SIG_DFL);
	kvm_close(fd);

	TEST_ASSERT_EQ(guest_io(self->dev, self->fd, bad * GMEM_PAGE, self->buf, 8, false),
		       -EFAULT);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_MAP, self->fd, bad, 1, NULL), -EHWPOISON);
	TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_SHARE, self->fd, FIRST, NR, &error_page),
		       -EHWPOISON);
	TEST_ASSERT_EQ(error_page, bad);
	assert_rest_untouched(self, variant);
	TEST_ASSERT_EQ(set_access(self->fd, FIRST, NR, KERNEL), -EPERM);

	/*
	 * The page is lost for good; the teardown checks its neighbour twice
	 * instead.
	 */
	TEST_ASSERT_EQ(gmem_count_absent(&self->pfns[bad], 1), 1);
	gmem_expect_lost(1);
	self->pfns[bad] = self->pfns[bad - 1];
}

/*
 * Lends memory while the host does everything else with it at the same time.
 * Each page has a word that only the guest writes; it must not change
 * otherwise.
 */
struct race {
	struct _test_data_owner *self;
	const struct _fixture_variant_owner *variant;
	atomic_bool stop;
	atomic_ulong touched, refused, pinned, mapped;
};

static bool may_fail(long r, long error)
{
	return r >= 0 || r == error;
}

/* Uses system calls, which return EFAULT instead of raising SIGBUS. */
static void *race_touch(void *arg)
{
	struct race *race = arg;
	const struct _fixture_variant_owner *variant = race->variant;
	struct _test_data_owner *self = race->self;
	int zero = open_path_or_exit("/dev/zero", O_RDONLY | O_CLOEXEC);
	u64 i, done = 0, refused = 0;
	long r;

	for (i = 0; !race->stop; i++) {
		r = result(read(zero, START + i % NR * GMEM_PAGE + 64, 8));
		TEST_ASSERT(may_fail(r, -EFAULT), "read: %ld", r);
		if (r < 0)
			refused++;
		else
			done++;
	}
	race->touched = done;
	race->refused = refused;
	kvm_close(zero);
	return NULL;
}

static void *race_pin(void *arg)
{
	struct race *race = arg;
	const struct _fixture_variant_owner *variant = race->variant;
	struct _test_data_owner *self = race->self;
	char page[GMEM_PAGE];
	u64 i, done = 0;
	int p[2];
	long r;

	TEST_ASSERT(!pipe2(p, O_CLOEXEC | O_NONBLOCK), "pipe2");
	for (i = 0; !race->stop; i++) {
		struct iovec iov = {
			.iov_base = START + i % NR * GMEM_PAGE,
			.iov_len = GMEM_PAGE,
		};

		r = result(vmsplice(p[1], &iov, 1, 0));
		TEST_ASSERT(may_fail(r, -EFAULT), "vmsplice: %ld", r);
		if (r < 0)
			continue;
		TEST_ASSERT_EQ(result(read(p[0], page, sizeof(page))), sizeof(page));
		done++;
		/* Pause, so that lending can succeed. */
		usleep(100);
	}
	race->pinned = done;
	unpin(p);
	return NULL;
}

static void *race_map(void *arg)
{
	struct race *race = arg;
	const struct _fixture_variant_owner *variant = race->variant;
	struct _test_data_owner *self = race->self;
	u64 done = 0;

	while (!race->stop) {
		TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_UNMAP, self->fd, FIRST, NR, NULL), 0);
		TEST_ASSERT_EQ(on_range(self->dev, TEST_GMEM_MAP, self->fd, FIRST, NR, NULL), 0);
		done++;
	}
	race->mapped = done;
	return NULL;
}

/* A fault of the guest makes its hypervisor populate the page; retry. */
static void word_io(struct _test_data_owner *self, u64 page, u64 *word, bool write)
{
	long r;

	while ((r = guest_io(self->dev, self->fd, page * GMEM_PAGE, word, 8, write)))
		TEST_ASSERT(r == -EFAULT &&
			    !on_range(self->dev, TEST_GMEM_MAP, self->fd, page, 1, NULL),
			    "guest: %ld", r);
}

OWNER_TEST(race)
{
	static void *(* const fns[])(void *) = { race_touch, race_pin, race_map };
	struct race race = { .self = self, .variant = variant };
	u64 i, lent = 0, held = 0, word, error_page;
	pthread_t threads[ARRAY_SIZE(fns)];
	struct timespec start;
	long r;

	for (i = 0; i < ARRAY_SIZE(fns); i++)
		TEST_ASSERT(!pthread_create(&threads[i], NULL, fns[i], &race), "pthread_create");
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (timespec_to_ns(timespec_elapsed(start)) < RACE_SECONDS * NSEC_PER_SEC) {
		r = lend(&error_page);
		if (r == -EAGAIN) {
			TEST_ASSERT(error_page >= FIRST && error_page < FIRST + NR,
				    "held: page %lu", error_page);
			held++;
			continue;
		}
		TEST_ASSERT_EQ(r, 0);
		i = FIRST + lent % NR;
		word = self->secret + lent;
		word_io(self, i, &word, true);
		TEST_ASSERT_EQ(set_access(self->fd, i, 1, KERNEL), -EPERM);
		if (!gmem_plain()) {
			u64 page[GMEM_WORDS];

			TEST_ASSERT(gmem_kcore_read(self->pfns[i], page) || !page[0],
				    "the kernel sees a page that is lent");
		}
		word_io(self, i, &word, false);
		TEST_ASSERT_EQ(word, self->secret + lent);
		TEST_ASSERT_EQ(share(), 0);
		TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(self->mem + i * GMEM_PAGE)),
			       self->secret + lent);
		lent++;
	}
	race.stop = true;
	for (i = 0; i < ARRAY_SIZE(fns); i++)
		pthread_join(threads[i], NULL);
	ksft_print_msg("lent %lu times, %lu times held\n", lent, held);
	ksft_print_msg("touched %lu times, refused %lu, pinned %lu, mapped %lu\n", race.touched,
		       race.refused, race.pinned, race.mapped);
	TEST_ASSERT(lent && race.touched && race.pinned && race.mapped, "nothing happened");
	assert_counts(self, 0);
	gmem_fill(self->mem, SIZE, self->seed);
}

int main(int argc, char *argv[])
{
	owner_require();
	return test_harness_run(argc, argv);
}
