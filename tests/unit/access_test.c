// SPDX-License-Identifier: GPL-2.0-only
/* Tests the calls for access levels against a model of a kernel that has them. */
#define _GNU_SOURCE	/* memfd_create() */
#include <time.h>

#include "access_model.h"
#include "tap.h"

#define PAGE	MODEL_PAGE
#define PAGES	8

static void test_absent(int fd)
{
	struct guestmem_range range = { 0 };
	uint64_t at = 1;
	uint32_t level;

	model_reset(PAGES);
	ok(!guestmem_supported_access(fd), "a kernel with levels");
	model.absent = true;
	ok(guestmem_supported_access(fd) == -EOPNOTSUPP, "a kernel without");
	ok(guestmem_set_access(fd, 0, PAGE, GUESTMEM_ACCESS_USER, &at) == -EOPNOTSUPP && at == 1,
	   "it cannot set one");
	ok(guestmem_get_access(fd, 0, &level, NULL) == -EOPNOTSUPP, "nor tell one");
	ok(guestmem_next_range(fd, &range) == -EOPNOTSUPP, "nor list ranges");
	ok(guestmem_make_accessible(fd, 0, PAGE, 1000, &at) == -EOPNOTSUPP,
	   "nor make a range accessible");
	ok(guestmem_supported_access(-1) == -EBADF, "a bad descriptor is that");
}

static void test_levels(int fd)
{
	uint64_t size, at = 1;
	uint32_t level;

	model_reset(PAGES);
	ok(!guestmem_set_access(fd, PAGE, 2 * PAGE, GUESTMEM_ACCESS_USER, NULL) &&
	   !guestmem_get_access(fd, PAGE, &level, &size) && level == GUESTMEM_ACCESS_USER &&
	   size == 2 * PAGE, "a level is set and told, and how far it runs");
	ok(!guestmem_get_access(fd, 0, &level, NULL) && level == GUESTMEM_ACCESS_NONE,
	   "the length need not be asked for");
	ok(guestmem_set_access(fd, 1, PAGE, GUESTMEM_ACCESS_USER, &at) == -EINVAL && at == 1,
	   "a bad range: no offset is told");
	ok(guestmem_set_access(fd, 0, PAGE, 3, NULL) == -EINVAL, "an unknown level");

	model.poisoned_page = 5;
	ok(guestmem_set_access(fd, 0, PAGES * PAGE, GUESTMEM_ACCESS_KERNEL, &at) == -EHWPOISON &&
	   at == 5 * PAGE, "a poisoned page is named");
}

static void test_ranges(int fd)
{
	static const struct guestmem_range want[] = {
		{ 0, 2 * PAGE, GUESTMEM_ACCESS_NONE },
		{ 2 * PAGE, PAGE, GUESTMEM_ACCESS_KERNEL },
		{ 3 * PAGE, 4 * PAGE, GUESTMEM_ACCESS_NONE },
		{ 7 * PAGE, PAGE, GUESTMEM_ACCESS_USER },
	};
	struct guestmem_range range = { 0 };
	unsigned int nr = 0;
	bool same = true;
	int ret;

	model_reset(PAGES);
	model.level[2] = GUESTMEM_ACCESS_KERNEL;
	model.level[7] = GUESTMEM_ACCESS_USER;
	while ((ret = guestmem_next_range(fd, &range)) > 0) {
		same &= nr < 4 && range.offset == want[nr].offset && range.size == want[nr].size &&
			range.level == want[nr].level;
		nr++;
	}
	ok(!ret && nr == 4 && same, "the ranges of a file, %u", nr);
	ok(!guestmem_next_range(fd, &range), "no more after the last");

	range = (struct guestmem_range){ 0 };
	ok(guestmem_next_range(-1, &range) == -EBADF, "no file");
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ULL + now.tv_nsec / 1000000;
}

static void test_retry(int fd)
{
	uint64_t at = 1, start;
	int ret;

	model_reset(PAGES);
	ok(!guestmem_make_accessible(fd, 0, PAGES * PAGE, 0, &at) && model.tries == 1 &&
	   model.level[0] == GUESTMEM_ACCESS_KERNEL &&
	   model.level[PAGES - 1] == GUESTMEM_ACCESS_KERNEL, "made accessible: level KERNEL");
	ok(!guestmem_make_inaccessible(fd, PAGE, PAGE, 0, &at) &&
	   model.level[1] == GUESTMEM_ACCESS_NONE && model.level[2] == GUESTMEM_ACCESS_KERNEL &&
	   at == 1, "made inaccessible: level NONE");

	model_reset(PAGES);
	model.held_page = 3;
	model.held_tries = 4;
	ok(!guestmem_make_inaccessible(fd, 0, PAGES * PAGE, 10000, &at) && model.tries == 5,
	   "a page that is released: %d tries", model.tries);

	model_reset(PAGES);
	model.held_page = 3;
	model.held_tries = 1 << 30;
	ok(guestmem_make_inaccessible(fd, 0, PAGES * PAGE, 0, &at) == -EAGAIN && at == 3 * PAGE &&
	   model.tries == 1, "without time it is tried once, and the page named");
	start = now_ms();
	ret = guestmem_make_inaccessible(fd, 0, PAGES * PAGE, 50, NULL);
	ok(ret == -EAGAIN && now_ms() - start >= 50 && now_ms() - start < 10000,
	   "a page that is not: given up in time");
	ok(model.tries >= 2 && model.tries < 50, "without being busy: %d tries", model.tries);

	model_reset(PAGES);
	model.poisoned_page = 0;
	ok(guestmem_make_accessible(fd, 0, PAGE, 10000, &at) == -EHWPOISON && model.tries == 1,
	   "other errors are not tried again");
}

int main(void)
{
	int fd = memfd_create("access_test", 0);

	if (!ok(fd >= 0 && !ftruncate(fd, PAGES * PAGE), "a file"))
		return done_testing();
	test_absent(fd);
	test_levels(fd);
	test_ranges(fd);
	test_retry(fd);
	close(fd);
	return done_testing();
}
