// SPDX-License-Identifier: MIT OR LGPL-2.1-or-later
/* Set and get the access levels of ranges of a guest_memfd. */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

#include "guestmem.h"
#include "guestmem_abi.h"

#define FIRST_PAUSE_US		100
#define LONGEST_PAUSE_US	10000

static int access_ioctl(int fd, unsigned long request, struct guestmem_abi_access *args)
{
	if (!ioctl(fd, request, args))
		return 0;
	return errno == ENOTTY ? -EOPNOTSUPP : -errno;
}

int guestmem_supported_access(int fd)
{
	uint32_t level;

	return guestmem_get_access(fd, 0, &level, NULL);
}

int guestmem_set_access(int fd, uint64_t offset, uint64_t size, uint32_t level,
			uint64_t *error_offset)
{
	struct guestmem_abi_access args = { .offset = offset, .size = size, .level = level };
	int ret = access_ioctl(fd, GUESTMEM_ABI_SET_ACCESS, &args);

	if ((ret == -EAGAIN || ret == -EHWPOISON) && error_offset)
		*error_offset = args.error_offset;
	return ret;
}

int guestmem_get_access(int fd, uint64_t offset, uint32_t *level, uint64_t *size)
{
	struct guestmem_abi_access args = { .offset = offset };
	int ret = access_ioctl(fd, GUESTMEM_ABI_GET_ACCESS, &args);

	if (ret)
		return ret;
	*level = args.level;
	if (size)
		*size = args.size;
	return 0;
}

int guestmem_next_range(int fd, struct guestmem_range *range)
{
	uint64_t offset = range->offset + range->size;
	struct stat st;
	int ret;

	if (fstat(fd, &st))
		return -errno;
	if (offset >= (uint64_t)st.st_size)
		return 0;
	ret = guestmem_get_access(fd, offset, &range->level, &range->size);
	if (ret)
		return ret;
	range->offset = offset;
	return 1;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ULL + now.tv_nsec / 1000;
}

static void pause_us(uint64_t us)
{
	struct timespec time = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	nanosleep(&time, NULL);
}

/*
 * I/O unpins its pages soon, but other users may keep pages pinned for long, so
 * each pause is twice as long as the one before it.  The last try is made when
 * the timeout has expired, even if a pause took longer than it should.
 */
static int set_access_in(int fd, uint64_t offset, uint64_t size, uint32_t level,
			 unsigned int timeout_ms, uint64_t *error_offset)
{
	uint64_t now = now_us(), end = now + timeout_ms * 1000ULL, pause = FIRST_PAUSE_US;
	int ret;

	for (;; now = now_us()) {
		ret = guestmem_set_access(fd, offset, size, level, error_offset);
		if (ret != -EAGAIN || now >= end)
			return ret;
		pause_us(pause < end - now ? pause : end - now);
		pause = pause * 2 < LONGEST_PAUSE_US ? pause * 2 : LONGEST_PAUSE_US;
	}
}

int guestmem_make_accessible(int fd, uint64_t offset, uint64_t size, unsigned int timeout_ms,
			     uint64_t *error_offset)
{
	return set_access_in(fd, offset, size, GUESTMEM_ACCESS_KERNEL, timeout_ms, error_offset);
}

int guestmem_make_inaccessible(int fd, uint64_t offset, uint64_t size, unsigned int timeout_ms,
			       uint64_t *error_offset)
{
	return set_access_in(fd, offset, size, GUESTMEM_ACCESS_NONE, timeout_ms, error_offset);
}
