/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixtures of the tests of the guestmem file system
 * (guest_memfd_fs*_test.c), which need no VM.
 *
 * In the fixture "fs" the file system is mounted at DIR_A with a limit of four
 * blocks; after each test the mount is empty and can be unmounted.  The tests
 * with the fixture "options" mount it themselves.  After each test the direct
 * map is whole.
 */
#ifndef SELFTEST_KVM_GMEM_FS_H
#define SELFTEST_KVM_GMEM_FS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#define DIR_A		"/tmp/guestmem-a"
#define DIR_B		"/tmp/guestmem-b"
#define BLOCK		SZ_2M
#define BLOCK_PAGES	(BLOCK / GMEM_PAGE)
#define TIMEOUT		300

/* The limit of the mount in most tests: four blocks. */
#define SIZE		(4UL * BLOCK)
#define SIZE_OPTION	"size=8m"

#define PUNCH	(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define KEEP	FALLOC_FL_KEEP_SIZE

/* The call's result, or its negated errno. */
#define result(call) ({ long __r = (call); __r < 0 ? -errno : __r; })

#define expect(call, want) do {							\
	long __got = result(call), __want = want;				\
										\
	TEST_ASSERT(__got == __want, "%s gives %ld, want %ld", #call, __got,	\
		    __want);							\
} while (0)

static inline long mount_at(const char *dir, const char *options)
{
	mkdir("/tmp", 0777);
	mkdir(dir, 0755);
	return result(mount("guestmem", dir, "guestmem", 0, options));
}

static inline struct statfs space(const char *dir)
{
	struct statfs s;

	TEST_ASSERT(!statfs(dir, &s), "statfs(%s): errno %d", dir, errno);
	return s;
}

static inline u64 used_pages(const char *dir)
{
	struct statfs s = space(dir);

	TEST_ASSERT(s.f_bavail == s.f_bfree, "%lu pages are free, and %lu available",
		    (u64)s.f_bfree, (u64)s.f_bavail);
	return s.f_blocks - s.f_bfree;
}

static inline bool is_empty(void *dir)
{
	return !used_pages(dir);
}

static inline void wait_empty(const char *dir)
{
	gmem_wait(is_empty, (void *)dir);
	TEST_ASSERT(is_empty((void *)dir), "%lu pages of %s stay in use",
		    used_pages(dir), dir);
}

static inline int new_file(const char *path, u64 size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	TEST_ASSERT(fd >= 0, "cannot create %s: errno %d", path, errno);
	expect(ftruncate(fd, size), 0);
	return fd;
}

/* Creates a file without a name. */
static inline int new_tmpfile(const char *dir, u64 size)
{
	int fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

	TEST_ASSERT(fd >= 0, "no O_TMPFILE in %s: errno %d", dir, errno);
	expect(ftruncate(fd, size), 0);
	return fd;
}

static inline char *map(int fd, u64 size)
{
	return kvm_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
}

static inline u64 populated(int fd)
{
	struct gmem_info i;

	gmem_read_info(fd, &i);
	return i.populated;
}

static inline u64 blocks_of(int fd)
{
	struct gmem_info i;

	gmem_read_info(fd, &i);
	return i.blocks;
}

/* A handler for signals that only have to interrupt a system call. */
static inline void ignore_signal(int sig)
{
}

/* Ends the program as skipped if this host has no guestmem file system. */
static inline void fs_require(void)
{
	long r;

	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "the file system has hidden memory only");
	r = mount_at(DIR_A, "size=4k");
	__TEST_REQUIRE(!r, "no guestmem file system: %ld", r);
	umount(DIR_A);
}

FIXTURE(options) {
	int kmsg;
};

FIXTURE_SETUP(options)
{
	gmem_kmsg_open(&self->kmsg);
}

FIXTURE_TEARDOWN(options)
{
	gmem_assert_nothing_left(&self->kmsg);
}

FIXTURE(fs) {
	int kmsg;
	u64 seed;
};

FIXTURE_SETUP(fs)
{
	gmem_kmsg_open(&self->kmsg);
	self->seed = gmem_new_seed();
	expect(mount_at(DIR_A, SIZE_OPTION), 0);
}

FIXTURE_TEARDOWN(fs)
{
	wait_empty(DIR_A);
	TEST_ASSERT(space(DIR_A).f_ffree == space(DIR_A).f_files - 1, "%lu inodes are in use",
		    (u64)(space(DIR_A).f_files - space(DIR_A).f_ffree));
	expect(umount(DIR_A), 0);
	gmem_assert_nothing_left(&self->kmsg);
}

#define FS_TEST(name) TEST_F_TIMEOUT(fs, name, TIMEOUT)

#endif /* SELFTEST_KVM_GMEM_FS_H */
