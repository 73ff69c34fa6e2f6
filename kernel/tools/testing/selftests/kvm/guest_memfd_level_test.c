// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access levels of ranges of a guest_memfd: setting them, and reading them
 * back.
 *
 * Proves that the file has the levels of the model of gmem_level.h, whatever
 * ranges are set to whatever levels.  A page that is populated later has the
 * level of its range.  The documented errors change nothing, and levels cost no
 * memory per page.
 *
 * Catches: a range that is rounded, cut off or too long (transitions, random),
 * equal neighbours that are not merged (runs), pages that are populated at
 * another level than that of their range (absent, punched), memory per page for
 * a level (huge), missing checks (errors).
 *
 * Not covered: changes while a guest runs, and their cost
 * (guest_memfd_level_run_test).
 */
#include <linux/falloc.h>
#include <sys/ioctl.h>

#include "gmem_level.h"

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

#define assert_set_fails(self, error, ...)					\
do {										\
	struct _test_data_level *__s = self;					\
	struct guest_memfd_access __a = {					\
		.size = GMEM_PAGE, .level = KERNEL, .error_offset = 0x1234, __VA_ARGS__	\
	};									\
	assert_fails(__s, __s->g.fd, GUEST_MEMFD_SET_ACCESS, &__a, error, #__VA_ARGS__); \
} while (0)

#define assert_get_fails(self, error, ...)					\
do {										\
	struct _test_data_level *__s = self;					\
	struct guest_memfd_access __a = { .error_offset = 0x1234, __VA_ARGS__ };	\
	assert_fails(__s, __s->g.fd, GUEST_MEMFD_GET_ACCESS, &__a, error, "GET " #__VA_ARGS__); \
} while (0)

LEVEL_TEST(errors)
{
	struct guest_memfd_access good = { .size = GMEM_PAGE, .level = USER };
	int fd = self->g.fd, other, i, r;
	char *edge;

	fill(self);
	set(self, 5, 10, NONE);
	assert_set_fails(self, EINVAL, .offset = 1);
	assert_set_fails(self, EINVAL, .offset = GMEM_PAGE / 2);
	assert_set_fails(self, EINVAL, .size = 0);
	assert_set_fails(self, EINVAL, .size = GMEM_PAGE + 1);
	assert_set_fails(self, EINVAL, .size = 1);
	assert_set_fails(self, EINVAL, .offset = SIZE);
	assert_set_fails(self, EINVAL, .offset = SIZE - GMEM_PAGE, .size = 2 * GMEM_PAGE);
	assert_set_fails(self, EINVAL, .size = SIZE + GMEM_PAGE);
	assert_set_fails(self, EINVAL, .offset = GMEM_PAGE, .size = -GMEM_PAGE);
	assert_set_fails(self, EINVAL, .offset = -GMEM_PAGE, .size = 2 * GMEM_PAGE);
	assert_set_fails(self, EINVAL, .offset = 1ULL << 63, .size = 1ULL << 63);
	assert_set_fails(self, EINVAL, .level = KERNEL + 1);
	assert_set_fails(self, EINVAL, .level = ~0U);
	for (i = 0; i < 32; i++)
		assert_set_fails(self, EINVAL, .flags = 1U << i);
	for (i = 0; i < 4; i++) {
		good.reserved[i] = 1ULL << 63;
		assert_fails(self, fd, GUEST_MEMFD_SET_ACCESS, &good, EINVAL, "reserved");
		assert_fails(self, fd, GUEST_MEMFD_GET_ACCESS, &good, EINVAL, "reserved");
		good.reserved[i] = 0;
	}
	assert_get_fails(self, EINVAL, .offset = 1);
	assert_get_fails(self, EINVAL, .offset = SIZE);
	assert_get_fails(self, EINVAL, .offset = -GMEM_PAGE);
	assert_get_fails(self, EINVAL, .flags = 1);

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

int main(int argc, char *argv[])
{
	level_require();
	return test_harness_run(argc, argv);
}
