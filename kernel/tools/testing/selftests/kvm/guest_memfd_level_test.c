// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access levels of ranges of a guest_memfd: setting them, and reading them
 * back.
 *
 * A model records the level of every page.  Whatever ranges the test sets to
 * whatever levels, on populated memory or not, the file reports the levels of
 * the model, user space can read exactly the pages that are not at NONE, the
 * kernel has in its page tables and can read exactly the pages at KERNEL, and
 * the contents are what the guest wrote.  A page that is populated later has
 * the level of its range.  The documented errors change nothing, levels cost no
 * memory per page, and a change of a block costs one flush and no split.
 *
 * Catches: a range that is rounded, cut off or too long (transitions, random),
 * equal neighbours that are not merged (runs), pages that are populated at
 * another level than that of their range (absent, punched), memory per page for
 * a level (huge), a change that loses what a running guest writes (running),
 * hiding page by page (cost), missing checks (errors).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__
#include <asm/kvm_para.h>
#endif

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"
#include "ucall_common.h"

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

static void fill(struct _test_data_level *self)
{
	gmem_guest_call(self->g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	if (!self->pfns)
		self->pfns = gmem_pfns(self->g.mem, SIZE);
}

static void set(struct _test_data_level *self, u64 page, u64 nr, u32 level)
{
	gmem_set_access(self->g.fd, page * GMEM_PAGE, nr * GMEM_PAGE, level);
	memset(self->model + page, level, nr);
}

/*
 * The file reports the levels of the model, with all equal neighbours merged.
 */
static void assert_account(struct _test_data_level *self)
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
static void assert_model(struct _test_data_level *self)
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

static const struct {
	u64 page, nr;
} ranges[] = {
	{ 0, NR_PAGES },			/* all pages */
	{ 0, 1 },
	{ NR_PAGES - 1, 1 },			/* the last page of the tail */
	{ 1, BLOCK_PAGES - 2 },			/* inside a block */
	{ BLOCK_PAGES, BLOCK_PAGES },		/* a block */
	{ BLOCK_PAGES - 1, 2 },			/* across a border */
	{ 100, BLOCK_PAGES + 300 },		/* parts of two blocks */
	{ 2 * BLOCK_PAGES - 5, 5 + TAIL_PAGES },
};

LEVEL_TEST(transitions)
{
	u32 from, to;
	unsigned int i;

	fill(self);
	assert_model(self);
	for (from = NONE; from <= KERNEL; from++) {
		for (to = NONE; to <= KERNEL; to++) {
			for (i = 0; i < ARRAY_SIZE(ranges); i++) {
				set(self, 0, NR_PAGES, from);
				set(self, ranges[i].page, ranges[i].nr, to);
				assert_model(self);
			}
		}
	}
}

/* Long sequences of random ranges that overlap earlier ones. */
LEVEL_TEST(random)
{
	unsigned int state = self->seed, i;
	u64 page, nr;

	ksft_print_msg("seed %u\n", state);
	fill(self);
	for (i = 1; i <= 400; i++) {
		page = rand_r(&state) % NR_PAGES;
		nr = 1 + rand_r(&state) % (NR_PAGES - page);
		if (i % 3)
			nr = min_t(u64, nr, 1 + rand_r(&state) % 20);
		set(self, page, nr, rand_r(&state) % NR_LEVELS);
		assert_account(self);
		if (!(i % 40))
			assert_model(self);
	}
	set(self, 0, NR_PAGES, USER);
	assert_model(self);
}

/*
 * Changes each page separately and back: the file reports as few runs as
 * before.
 */
LEVEL_TEST(runs)
{
	u64 page, size;
	u32 level;

	for (level = NONE; level <= KERNEL; level++) {
		for (page = 1; page < NR_PAGES; page += 2)
			set(self, page, 1, level);
		assert_account(self);
		/* Pages between two of the same level merge with both. */
		for (page = 0; page < NR_PAGES; page += 2)
			set(self, page, 1, level);
		assert_account(self);
		TEST_ASSERT_EQ(gmem_get_access(self->g.fd, 0, &size), level);
		TEST_ASSERT_EQ(size, SIZE);
	}
	set(self, 0, NR_PAGES, USER);
	assert_account(self);
}

/* The flags of a file determine its first level. */
LEVEL_TEST(first)
{
	u64 flags, size;
	u32 want;
	int fd;

	for (flags = 0; flags < 8; flags++) {
		fd = vm_create_guest_memfd(self->g.vm, SIZE, flags);
		if (!(flags & GUEST_MEMFD_FLAG_INIT_SHARED))
			want = NONE;
		else
			want = flags & GUEST_MEMFD_FLAG_NO_DIRECT_MAP ? USER : KERNEL;
		TEST_ASSERT_EQ(gmem_get_access(fd, 0, &size), want);
		TEST_ASSERT_EQ(size, SIZE);
		TEST_ASSERT_EQ(gmem_get_access(fd, SIZE - GMEM_PAGE, &size), want);
		TEST_ASSERT_EQ(size, GMEM_PAGE);
		kvm_close(fd);
	}
}

static void touch(struct _test_data_level *self, u64 page, u64 nr)
{
	u64 i;

	for (i = page; i < page + nr; i++)
		WRITE_ONCE(self->g.mem[i * GMEM_PAGE], 0);
}

enum how { BY_TOUCH, BY_FALLOCATE, BY_GUEST, NR_HOWS };

/*
 * Absent memory has a level, which costs nothing and applies when it is
 * populated.
 */
LEVEL_TEST(absent)
{
	struct gmem_vm *g = &self->g;
	struct gmem_info info;
	enum how how;
	unsigned int i;
	u32 level;

	for (level = NONE; level <= KERNEL; level++) {
		for (how = 0; how < NR_HOWS; how++) {
			if (how == BY_TOUCH && level == NONE)
				continue;
			for (i = 0; i < ARRAY_SIZE(ranges); i++) {
				set(self, 0, NR_PAGES, level == USER ? KERNEL : USER);
				set(self, ranges[i].page, ranges[i].nr, level);
				assert_account(self);
				gmem_read_info(g->fd, &info);
				TEST_ASSERT_EQ(info.populated + info.blocks, 0);

				switch (how) {
				case BY_TOUCH:
					touch(self, 0, NR_PAGES);
					break;
				case BY_FALLOCATE:
					kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, SIZE);
					break;
				default:
					gmem_guest_call(g->vcpus[0], gmem_guest_check_zero,
							GMEM_GVA, SIZE, 0);
				}
				gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE,
						self->seed);
				/*
				 * Raising the level moves no page, so user
				 * space can then read the frames.
				 */
				if (level == NONE) {
					set(self, ranges[i].page, ranges[i].nr, USER);
					self->pfns = gmem_pfns(g->mem, SIZE);
					set(self, ranges[i].page, ranges[i].nr, NONE);
				} else {
					self->pfns = gmem_pfns(g->mem, SIZE);
				}
				assert_model(self);
				gmem_punch(g->fd, 0, SIZE);
				gmem_assert_counts(g->fd, 0, 0);
				gmem_assert_given_back(self->pfns, NR_PAGES, self->seed);
				free(self->pfns);
				self->pfns = NULL;
			}
		}
	}
}

/* Holes have levels, too. */
LEVEL_TEST(punched)
{
	unsigned int state = self->seed, i;
	struct gmem_vm *g = &self->g;
	u64 page, nr;

	fill(self);
	for (i = 0; i < 30; i++) {
		page = rand_r(&state) % NR_PAGES;
		nr = 1 + rand_r(&state) % (NR_PAGES - page);
		set(self, page, nr, rand_r(&state) % NR_LEVELS);
		page = rand_r(&state) % NR_PAGES;
		nr = 1 + rand_r(&state) % (NR_PAGES - page);
		gmem_punch(g->fd, page * GMEM_PAGE, nr * GMEM_PAGE);
		assert_account(self);
		/* Change the level of a part of the hole. */
		nr = 1 + rand_r(&state) % nr;
		set(self, page, nr, rand_r(&state) % NR_LEVELS);
		assert_account(self);
		gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
		/*
		 * The pages have new frames: raise those at NONE to read them,
		 * and lower them again.
		 */
		free(self->pfns);
		gmem_set_access(g->fd, 0, SIZE, USER);
		self->pfns = gmem_pfns(g->mem, SIZE);
		for (page = 0; page < NR_PAGES; page += nr) {
			for (nr = 1; page + nr < NR_PAGES; nr++)
				if (self->model[page + nr] != self->model[page])
					break;
			set(self, page, nr, self->model[page]);
		}
		assert_model(self);
	}
}

/* A file that is larger than all memory. */
LEVEL_TEST(huge)
{
	const u64 size = 1ULL << 40, page = 123456789;
	u64 before, after, run;
	struct gmem_info info;
	u32 level;
	int fd;

	fd = vm_create_guest_memfd(self->g.vm, size, gmem_test_flags());
	before = gmem_free_pages();
	for (level = KERNEL; level != ~0U; level--) {
		gmem_set_access(fd, 0, size, level);
		TEST_ASSERT_EQ(gmem_get_access(fd, 0, &run), level);
		TEST_ASSERT_EQ(run, size);
	}
	gmem_set_access(fd, page * GMEM_PAGE, size / 2, KERNEL);
	TEST_ASSERT_EQ(gmem_get_access(fd, 0, &run), NONE);
	TEST_ASSERT_EQ(run, page * GMEM_PAGE);
	TEST_ASSERT_EQ(gmem_get_access(fd, page * GMEM_PAGE, &run), KERNEL);
	TEST_ASSERT_EQ(run, size / 2);
	gmem_read_info(fd, &info);
	TEST_ASSERT_EQ(info.populated + info.blocks, 0);
	TEST_ASSERT_EQ(info.level_kernel, size / 2 / GMEM_PAGE);
	TEST_ASSERT_EQ(info.level_none, size / 2 / GMEM_PAGE);
	after = gmem_free_pages();
	ksft_print_msg("%lu pages free, then %lu\n", before, after);
	TEST_ASSERT(after + 512 > before, "a level costs memory");
	kvm_close(fd);
}

static void assert_fails(struct _test_data_level *self, int fd, unsigned long cmd,
			 const struct guest_memfd_access *want, int error, const char *what)
{
	struct guest_memfd_access a = *want;
	int r;

	r = ioctl(fd, cmd, &a);
	TEST_ASSERT(r == -1 && errno == error, "%s: %d, errno %d, want %d", what, r, errno, error);
	TEST_ASSERT(!memcmp(&a, want, sizeof(a)), "%s: the argument was changed", what);
	assert_account(self);
}

#define assert_set_fails(error, ...)						\
do {										\
	struct guest_memfd_access __a = {					\
		.size = GMEM_PAGE, .level = KERNEL, .error_offset = 0x1234, __VA_ARGS__	\
	};									\
	assert_fails(self, self->g.fd, GUEST_MEMFD_SET_ACCESS, &__a, error, #__VA_ARGS__); \
} while (0)

#define assert_get_fails(error, ...)						\
do {										\
	struct guest_memfd_access __a = { .error_offset = 0x1234, __VA_ARGS__ };	\
	assert_fails(self, self->g.fd, GUEST_MEMFD_GET_ACCESS, &__a, error, "GET " #__VA_ARGS__); \
} while (0)

LEVEL_TEST(errors)
{
	struct guest_memfd_access good = { .size = GMEM_PAGE, .level = USER };
	int fd = self->g.fd, other, i, r;
	char *edge;

	fill(self);
	set(self, 5, 10, NONE);
	assert_set_fails(EINVAL, .offset = 1);
	assert_set_fails(EINVAL, .offset = GMEM_PAGE / 2);
	assert_set_fails(EINVAL, .size = 0);
	assert_set_fails(EINVAL, .size = GMEM_PAGE + 1);
	assert_set_fails(EINVAL, .size = 1);
	assert_set_fails(EINVAL, .offset = SIZE);
	assert_set_fails(EINVAL, .offset = SIZE - GMEM_PAGE, .size = 2 * GMEM_PAGE);
	assert_set_fails(EINVAL, .size = SIZE + GMEM_PAGE);
	assert_set_fails(EINVAL, .offset = GMEM_PAGE, .size = -GMEM_PAGE);
	assert_set_fails(EINVAL, .offset = -GMEM_PAGE, .size = 2 * GMEM_PAGE);
	assert_set_fails(EINVAL, .offset = 1ULL << 63, .size = 1ULL << 63);
	assert_set_fails(EINVAL, .level = KERNEL + 1);
	assert_set_fails(EINVAL, .level = ~0U);
	for (i = 0; i < 32; i++)
		assert_set_fails(EINVAL, .flags = 1U << i);
	for (i = 0; i < 4; i++) {
		good.reserved[i] = 1ULL << 63;
		assert_fails(self, fd, GUEST_MEMFD_SET_ACCESS, &good, EINVAL, "reserved");
		assert_fails(self, fd, GUEST_MEMFD_GET_ACCESS, &good, EINVAL, "reserved");
		good.reserved[i] = 0;
	}
	assert_get_fails(EINVAL, .offset = 1);
	assert_get_fails(EINVAL, .offset = SIZE);
	assert_get_fails(EINVAL, .offset = -GMEM_PAGE);
	assert_get_fails(EINVAL, .flags = 1);

	/* The argument is readable but not writable, or the reverse. */
	edge = kvm_mmap(2 * GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	kvm_munmap(edge + GMEM_PAGE, GMEM_PAGE);
	r = ioctl(fd, GUEST_MEMFD_SET_ACCESS, edge + GMEM_PAGE);
	TEST_ASSERT(r == -1 && errno == EFAULT, "%d, errno %d", r, errno);
	r = ioctl(fd, GUEST_MEMFD_SET_ACCESS, edge + GMEM_PAGE - 8);
	TEST_ASSERT(r == -1 && errno == EFAULT, "%d, errno %d", r, errno);
	r = ioctl(fd, GUEST_MEMFD_GET_ACCESS, NULL);
	TEST_ASSERT(r == -1 && errno == EFAULT, "%d, errno %d", r, errno);
	memcpy(edge, &good, sizeof(good));
	TEST_ASSERT(!mprotect(edge, GMEM_PAGE, PROT_READ), "mprotect");
	r = ioctl(fd, GUEST_MEMFD_GET_ACCESS, edge);
	TEST_ASSERT(r == -1 && errno == EFAULT, "%d, errno %d", r, errno);
	assert_account(self);
	r = ioctl(fd, GUEST_MEMFD_SET_ACCESS, edge);
	TEST_ASSERT(!r, "nothing to store: errno %d", errno);

	/* Other commands fail, and so do other files. */
	assert_fails(self, fd, _IOWR(GUEST_MEMFD_IOC_TYPE, 2, struct guest_memfd_access), &good,
		     ENOTTY, "command 2");
	assert_fails(self, fd, _IOW(GUEST_MEMFD_IOC_TYPE, 0, struct guest_memfd_access), &good,
		     ENOTTY, "another direction");
	r = ioctl(self->copy, GUEST_MEMFD_SET_ACCESS, &good);
	TEST_ASSERT(r == -1 && errno == ENOTTY, "of /tmp: %d, errno %d", r, errno);

	/* This file cannot be mapped, so it has no level USER. */
	other = vm_create_guest_memfd(self->g.vm, SIZE, GUEST_MEMFD_FLAG_NO_DIRECT_MAP);
	r = __gmem_set_access(other, 0, SIZE, USER, NULL);
	TEST_ASSERT(r == -1 && errno == EINVAL, "USER without MMAP: %d, errno %d", r, errno);
	kvm_fallocate(other, FALLOC_FL_KEEP_SIZE, 0, SIZE);
	gmem_set_access(other, 0, SIZE, KERNEL);
	gmem_assert_counts(other, NR_PAGES, NR_PAGES);
	gmem_set_access(other, 0, SIZE, NONE);
	gmem_assert_counts(other, NR_PAGES, 0);
	kvm_close(other);
}

/*
 * The ioctls need only the file: its VM may be gone, and any process may call
 * them.
 */
LEVEL_TEST(vm_gone)
{
	int status;
	pid_t pid;

	fill(self);
	kvm_vm_free(self->g.vm);
	self->g.vm = NULL;
	pid = fork();
	if (!pid) {
		gmem_set_access(self->g.fd, 0, SIZE / 2 & -GMEM_PAGE, KERNEL);
		_exit(0);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && !status, "the child failed");
	memset(self->model, KERNEL, NR_PAGES / 2);
	assert_account(self);
	set(self, 0, NR_PAGES, KERNEL);
	gmem_assert_filled(self->g.mem, SIZE, self->seed);
	gmem_assert_present(self->pfns, NR_PAGES);
	set(self, 0, NR_PAGES, NONE);
	TEST_ASSERT_EQ(gmem_count_absent(self->pfns, NR_PAGES), NR_PAGES);
	gmem_vm_close_file(&self->g);
}

#define ROUNDS		400
#define COUNTER_PAGES	64UL
/* The counters cross the border of two blocks. */
#define COUNTERS	(BLOCK_PAGES - COUNTER_PAGES / 2)

static struct {
	struct kvm_vcpu *vcpu;
	bool stop;
	u64 rounds;
} counting;

/* Guest: increments a word in each page, and checks the old values. */
static u64 guest_count(u64 gva, u64 pages, u64 round)
{
	u64 i;

	for (i = 0; i < pages; i++) {
		u64 *counter = (u64 *)(gva + i * GMEM_PAGE);

		GUEST_ASSERT_EQ(READ_ONCE(*counter), round);
		WRITE_ONCE(*counter, round + 1);
	}
	return 0;
}

static void *count_thread(void *unused)
{
	while (!READ_ONCE(counting.stop)) {
		gmem_guest_call(counting.vcpu, guest_count, GMEM_GVA + COUNTERS * GMEM_PAGE,
				COUNTER_PAGES, counting.rounds);
		counting.rounds++;
	}
	return NULL;
}

/* Levels change while the guest runs. */
LEVEL_TEST(running)
{
	unsigned int state = self->seed, i;
	u64 page, nr, rounds, faults;
	pthread_t thread;
	char *area;

	/*
	 * KVM follows the user mappings at the slot's address, so this maps
	 * none there.
	 */
	area = kvm_mmap(SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	gmem_vm_unbind(&self->g);
	gmem_vm_bind(&self->g, area);
	kvm_fallocate(self->g.fd, FALLOC_FL_KEEP_SIZE, 0, SIZE);
	counting.vcpu = self->g.vcpus[0];
	/*
	 * Start counting before the thread is created, because arm64 counts
	 * only threads created later.
	 */
	gmem_guest_faults(counting.vcpu);
	kvm_pthread_create(&thread, NULL, count_thread, NULL);
	while (READ_ONCE(counting.rounds) < 2)
		usleep(1000);
	rounds = READ_ONCE(counting.rounds);
	faults = gmem_guest_faults(counting.vcpu);
	for (i = 0; i < ROUNDS; i++) {
		page = rand_r(&state) % NR_PAGES;
		nr = 1 + rand_r(&state) % (NR_PAGES - page);
		if (i % 2) {
			page = 0;
			nr = NR_PAGES;
		}
		set(self, page, nr, rand_r(&state) % NR_LEVELS);
	}
	rounds = READ_ONCE(counting.rounds) - rounds;
	faults = gmem_guest_faults(counting.vcpu) - faults;
	WRITE_ONCE(counting.stop, true);
	kvm_pthread_join(thread, NULL);
	ksft_print_msg("%d changes, %lu rounds of the guest, %lu faults\n", ROUNDS, rounds, faults);
	TEST_ASSERT(rounds, "the guest stood still");
	/* A change of levels does not remove guest mappings. */
	TEST_ASSERT(faults < COUNTER_PAGES, "%lu faults of the guest", faults);
	assert_account(self);
	set(self, 0, NR_PAGES, USER);
	for (page = 0; page < COUNTER_PAGES; page++)
		TEST_ASSERT_EQ(*(u64 *)(self->g.mem + (COUNTERS + page) * GMEM_PAGE),
			       counting.rounds);
}

/*
 * Raising a block needs no flush, lowering it one, and the block is not split.
 * Lowering order-0 pages needs one flush for 64 of them, or fewer flushes if
 * they are contiguous.
 */
LEVEL_TEST(cost)
{
	u64 before, n, splits, i;
	const u64 wanted = variant->order == 9 ? 1 : BLOCK_PAGES / 64;
	const u64 changes = 20, slack = 10;

	kvm_fallocate(self->g.fd, FALLOC_FL_KEEP_SIZE, 0, NR_BLOCKS * SZ_2M);
	splits = gmem_vmstat("direct_map_level2_splits");

	before = gmem_flush_rounds();
	for (i = 0; i < changes; i++) {
		set(self, 0, BLOCK_PAGES, KERNEL);
		set(self, 0, BLOCK_PAGES, USER);
	}
	n = gmem_flush_rounds() - before;
	ksft_print_msg("%lu times up and down: %lu flushes of all CPUs\n", changes, n);
	TEST_ASSERT(n >= changes && n <= changes * wanted + slack, "%lu flushes", n);
	if (variant->order != 9)
		return;

	/*
	 * Mapped memory is not split either.  This part counts no flushes,
	 * because the changes also flush user addresses.
	 */
	for (i = 0; i < changes; i++) {
		touch(self, 0, BLOCK_PAGES);
		set(self, 0, BLOCK_PAGES, i % 2 ? USER : KERNEL);
	}
	TEST_ASSERT_EQ(gmem_vmstat("direct_map_level2_splits"), splits);

	/*
	 * Raising a part of a block splits its mapping once, unless an earlier
	 * test has split the direct map there.
	 */
	set(self, 100, 100, KERNEL);
	set(self, 150, 100, USER);
	set(self, 0, BLOCK_PAGES, USER);
	n = gmem_vmstat("direct_map_level2_splits");
	TEST_ASSERT(n <= splits + 1, "%lu splits", n - splits);
	gmem_punch(self->g.fd, 0, SIZE);
	TEST_ASSERT_EQ(gmem_vmstat("direct_map_level2_splits"), n);
}

#ifdef __x86_64__
/* Guest: request each part in turn until the host grants it, then use it. */
static u64 guest_convert_all(u64 step, u64 private, u64 seed)
{
	u64 page;

	for (page = 0; page + step <= NR_PAGES; page += step) {
		GUEST_ASSERT_EQ(gmem_guest_convert(GMEM_GPA + page * GMEM_PAGE, step * GMEM_PAGE,
						   private), 0);
		gmem_guest_check(GMEM_GVA + page * GMEM_PAGE, step * GMEM_PAGE, seed);
	}
	return page;
}

/* The guest decides: it makes shared memory private, and the reverse. */
LEVEL_TEST(hypercall)
{
	static const struct {
		u64 gpa, size;
		s64 answer;
	} bad[] = {
		{ GMEM_GPA - GMEM_PAGE, GMEM_PAGE, -EINVAL },
		{ GMEM_GPA - GMEM_PAGE, 2 * GMEM_PAGE, -EINVAL },
		{ GMEM_GPA + SIZE, GMEM_PAGE, -EINVAL },
		{ GMEM_GPA + SIZE - GMEM_PAGE, 2 * GMEM_PAGE, -EINVAL },
		{ GMEM_GPA, SIZE + GMEM_PAGE, -EINVAL },
		/* KVM itself refuses these. */
		{ GMEM_GPA + 1, GMEM_PAGE, -EINVAL },
		{ GMEM_GPA, 0, -EINVAL },
	};
	const u64 steps[] = { 1, 7, BLOCK_PAGES, NR_PAGES };
	struct kvm_vcpu *vcpu = self->g.vcpus[0];
	struct gmem_pin pin;
	unsigned int i, private;
	u64 end;

	gmem_vm_obey(&self->g);
	fill(self);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		for (private = 0; private < 2; private++) {
			end = gmem_guest_call(vcpu, guest_convert_all, steps[i], private,
					      self->seed);
			memset(self->model, private ? NONE : KERNEL, end);
			assert_account(self);
		}
		assert_model(self);
		set(self, 0, NR_PAGES, USER);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		for (private = 0; private < 2; private++)
			TEST_ASSERT_EQ((s64)gmem_guest_call(vcpu, gmem_guest_convert, bad[i].gpa,
							    bad[i].size, private), bad[i].answer);
	}
	TEST_ASSERT_EQ(self->g.refused, 10);
	assert_account(self);

	/*
	 * While the host uses a page, the guest's request is refused for the
	 * whole range.
	 */
	TEST_ASSERT_EQ(gmem_guest_call(vcpu, gmem_guest_convert, GMEM_GPA, SIZE, false), 0);
	memset(self->model, KERNEL, NR_PAGES);
	TEST_ASSERT(!gmem_pin(&pin, GMEM_PIN_PIPE, self->g.mem + 5 * GMEM_PAGE, GMEM_PAGE),
		    "errno %d", errno);
	TEST_ASSERT_EQ((s64)gmem_guest_call(vcpu, gmem_guest_convert, GMEM_GPA, SIZE, true),
		       -EAGAIN);
	assert_account(self);
	TEST_ASSERT_EQ(self->g.busy, 1);
	gmem_unpin(&pin);
	TEST_ASSERT_EQ(gmem_guest_call(vcpu, gmem_guest_convert, GMEM_GPA, SIZE, true), 0);
	memset(self->model, NONE, NR_PAGES);
	assert_model(self);
}
#endif

/*
 * A plain file stays in the direct map; its levels only govern user mappings.
 */
LEVEL_TEST(plain_file)
{
	u64 flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED, at, size;
	struct gmem_pin pin;
	struct gmem_vm g;
	unsigned int kind;
	u64 *pfns;
	u32 level;
	int r;

	gmem_vm_create(&g, 1, SIZE, flags);
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	pfns = gmem_pfns(g.mem, SIZE);
	for (level = NONE; level <= KERNEL; level++) {
		gmem_set_access(g.fd, 0, SIZE, level);
		TEST_ASSERT_EQ(gmem_get_access(g.fd, 0, &size), level);
		TEST_ASSERT_EQ(size, SIZE);
		TEST_ASSERT_EQ(gmem_count_absent(pfns, NR_PAGES), 0);
		TEST_ASSERT(gmem_kernel_sees(pfns[0], self->seed), "not seen at level %u", level);
		gmem_guest_call(g.vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, self->seed);
		r = gmem_pin(&pin, GMEM_PIN_READ, g.mem, SIZE);
		TEST_ASSERT(!r == (level >= USER), "a pin at level %u: %d, errno %d", level, r,
			    errno);
		if (!r)
			gmem_unpin(&pin);
		if (level == NONE)
			TEST_EXPECT_SIGBUS((void)READ_ONCE(g.mem[SIZE - 1]));
		else
			gmem_assert_filled(g.mem, SIZE, self->seed);
	}

	for (kind = 0; kind < NR_GMEM_PINS; kind++) {
		TEST_ASSERT(!gmem_pin(&pin, kind, g.mem + 7 * GMEM_PAGE, GMEM_PAGE), "no pin");
		gmem_set_access(g.fd, 0, SIZE, USER);
		r = __gmem_set_access(g.fd, 0, SIZE, NONE, &at);
		TEST_ASSERT(r == -1 && errno == EAGAIN && at == 7 * GMEM_PAGE,
			    "%s: %d, errno %d at 0x%lx", gmem_pin_name(kind), r, errno, at);
		TEST_ASSERT_EQ(gmem_get_access(g.fd, 0, &size), USER);
		TEST_ASSERT_EQ(size, SIZE);
		gmem_assert_filled(g.mem, SIZE, self->seed);
		gmem_unpin(&pin);
		gmem_set_access(g.fd, 0, SIZE, NONE);
		gmem_set_access(g.fd, 0, SIZE, KERNEL);
	}
	gmem_punch(g.fd, 0, SIZE);
	gmem_set_access(g.fd, 0, GMEM_PAGE, NONE);
	TEST_EXPECT_SIGBUS((void)READ_ONCE(g.mem[0]));
	gmem_assert_zero(g.mem + GMEM_PAGE, SIZE - GMEM_PAGE);
	gmem_vm_destroy(&g);
	free(pfns);
}

int main(int argc, char *argv[])
{
	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "plain memory has no levels to tell apart");
	__TEST_REQUIRE(!access(GUP_TEST_FILE, R_OK), "%s is needed", GUP_TEST_FILE);
	return test_harness_run(argc, argv);
}
