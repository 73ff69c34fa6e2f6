// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mounts of the guestmem file system.
 *
 * Proves that mount options are obeyed or refused, also when the mount is
 * remounted; that each mount has its own limit; and that a mount lives while a
 * file of it is open or mapped.  gmem_fs.h describes what is checked after each
 * test.
 *
 * Catches: an option that is ignored (good, remount), a limit below what is in
 * use (remount), memory that a mount loses when it is detached (busy).
 *
 * Not covered: files (guest_memfd_fs_test), the limit
 * (guest_memfd_fs_limit_test).
 */
#include <linux/guest_memfd.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "gmem_fs.h"

static bool in_mounts(const char *dir, const char *text)
{
	char line[512];
	bool found = false;
	FILE *f = fopen("/proc/mounts", "r");

	TEST_ASSERT(f, "cannot open /proc/mounts");
	while (fgets(line, sizeof(line), f))
		found |= strstr(line, dir) && strstr(line, text);
	fclose(f);
	return found;
}

TEST_F_TIMEOUT(options, good, TIMEOUT)
{
	static const struct {
		const char *options;
		const char *shown;
		u64 pages;
		u64 inodes;
	} cases[] = {
		{ "size=8m", "size=8192k,nr_inodes=65536,mode=755,uid=0,gid=0", 2048, 65536 },
		{ "size=8M,nr_inodes=7", "size=8192k,nr_inodes=7,",	2048,	7 },
		{ "size=1",		"size=4k,",			1,	65536 },
		{ "size=4097",		"size=8k,",			2,	65536 },
		{ "size=8388608",	"size=8192k,",			2048,	65536 },
		{ "size=64k,mode=1777",	"mode=1777,",			16,	65536 },
		{ "size=64k,mode=0",	"mode=000,",			16,	65536 },
		{ "size=1g,uid=5,gid=6", "uid=5,gid=6",			262144,	65536 },
		{ "size=1T,nr_inodes=2k", "nr_inodes=2048",		1UL << 28, 2048 },
		{ "size=64k,size=8k",	"size=8k,",			2,	65536 },
		{ "size=100%",		"size=",			0,	65536 },
		{ "size=1%",		"size=",			0,	65536 },
		{ "",			"size=",			0,	65536 },
	};
	u64 half = 0, whole = 0;
	struct statfs s;
	struct stat st;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		expect(mount_at(DIR_A, cases[i].options), 0);
		s = space(DIR_A);
		TEST_ASSERT(s.f_type == GUESTMEM_MAGIC, "type 0x%lx", (u64)s.f_type);
		TEST_ASSERT_EQ((u64)s.f_bsize, GMEM_PAGE);
		TEST_ASSERT_EQ(used_pages(DIR_A), 0);
		TEST_ASSERT(!cases[i].pages || s.f_blocks == cases[i].pages, "'%s': %lu pages",
			    cases[i].options, (u64)s.f_blocks);
		TEST_ASSERT((u64)s.f_files == cases[i].inodes && s.f_ffree == s.f_files - 1,
			    "'%s': %lu inodes", cases[i].options, (u64)s.f_files);
		TEST_ASSERT(in_mounts(DIR_A, cases[i].shown), "'%s' does not show '%s'",
			    cases[i].options, cases[i].shown);
		TEST_ASSERT(!stat(DIR_A, &st) && S_ISDIR(st.st_mode), "no directory");
		if (strstr(cases[i].options, "mode=1777"))
			TEST_ASSERT_EQ(st.st_mode & 07777, 01777);
		if (strstr(cases[i].options, "uid=5"))
			TEST_ASSERT(st.st_uid == 5 && st.st_gid == 6, "the root is %u's",
				    st.st_uid);
		if (!strcmp(cases[i].options, "size=100%"))
			whole = s.f_blocks;
		if (!*cases[i].options)
			half = s.f_blocks;
		expect(umount(DIR_A), 0);
	}
	TEST_ASSERT(half == whole / 2, "by default %lu pages, all are %lu", half, whole);
}

TEST_F_TIMEOUT(options, bad, TIMEOUT)
{
	static const char * const cases[] = {
		"size=0", "size=", "size", "size=-1", "size=x", "size=8x", "size=8mb", "size=8 ",
		"size=0x10", "size=0%", "size=101%", "size=5%%", "size=99999999999999999999",
		"size=99999999999999999999999999", "size=16777216T", "size=9223372036854775808",
		"nr_inodes=0", "nr_inodes=", "nr_inodes=5%", "nr_inodes=x", "nr_inodes=-1",
		"nr_inodes=18446744073709551615", "mode=8", "mode=17777", "mode=", "mode=u+r",
		"uid=-1", "uid=x", "gid=-1", "gid=", "huge=always", "nonsense",
		"size=8m,nonsense=1",
	};
	struct stat before, after;
	unsigned int i;

	mkdir("/tmp", 0777);
	mkdir(DIR_A, 0755);
	TEST_ASSERT(!stat(DIR_A, &before), "no %s", DIR_A);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		long r = mount_at(DIR_A, cases[i]);

		TEST_ASSERT(r == -EINVAL, "'%s' gives %ld", cases[i], r);
		TEST_ASSERT(!stat(DIR_A, &after) && after.st_dev == before.st_dev,
			    "'%s': something is mounted", cases[i]);
	}
}

/* Each mount has its own limit. */
FS_TEST(two_mounts)
{
	int fd = new_tmpfile(DIR_A, SIZE), fd2;

	expect(mount_at(DIR_B, "size=2m"), 0);
	expect(fallocate(fd, 0, 0, SIZE), 0);
	fd2 = new_tmpfile(DIR_B, SIZE);
	expect(fallocate(fd2, 0, 0, BLOCK), 0);
	expect(fallocate(fd2, 0, BLOCK, GMEM_PAGE), -ENOSPC);
	close(fd);
	wait_empty(DIR_A);
	TEST_ASSERT_EQ(used_pages(DIR_B), BLOCK_PAGES);
	expect(syscall(SYS_renameat2, AT_FDCWD, DIR_A, AT_FDCWD, DIR_B "/x", 0), -EXDEV);
	close(fd2);
	expect(umount(DIR_B), 0);
}

FS_TEST(remount)
{
	static const struct {
		const char *options;
		long want;
		u64 pages;
		u64 inodes;
	} cases[] = {
		/* Two blocks and three inodes are in use. */
		{ "size=4m",		0,		1024,	65536 },
		{ "size=4095k",		0,		1024,	65536 },
		{ "size=4092k",		-EINVAL,	1024,	65536 },
		{ "size=0",		-EINVAL,	1024,	65536 },
		{ "size=4m,nr_inodes=3", 0,		1024,	3 },
		{ "size=8m,nr_inodes=2", -EINVAL,	1024,	3 },
		{ "nr_inodes=9,size=2m", -EINVAL,	1024,	3 },
		{ "nr_inodes=65536",	0,		1024,	65536 },
		{ "size=8m,mode=700",	-EINVAL,	1024,	65536 },
		{ "size=8m,uid=1",	-EINVAL,	1024,	65536 },
		{ "size=8m,gid=1",	-EINVAL,	1024,	65536 },
		{ "nonsense",		-EINVAL,	1024,	65536 },
		/* util-linux passes these options for "-o remount,size=8m". */
		{ "nr_inodes=65536,mode=755,uid=0,gid=0,size=8m", 0, 2048, 65536 },
		{ "",			0,		2048,	65536 },
	};
	int fd = new_tmpfile(DIR_A, SIZE), fd2 = new_tmpfile(DIR_A, SIZE);
	struct statfs s;
	unsigned int i;

	expect(fallocate(fd, 0, 0, 2 * BLOCK), 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		long r = result(mount("x", DIR_A, NULL, MS_REMOUNT, cases[i].options));

		TEST_ASSERT(r == cases[i].want, "'%s' gives %ld, want %ld", cases[i].options, r,
			    cases[i].want);
		s = space(DIR_A);
		TEST_ASSERT((u64)s.f_blocks == cases[i].pages && (u64)s.f_files == cases[i].inodes,
			    "'%s': %lu pages, %lu inodes", cases[i].options, (u64)s.f_blocks,
			    (u64)s.f_files);
		TEST_ASSERT_EQ(used_pages(DIR_A), 2 * BLOCK_PAGES);
	}
	/* The kernel applies the new limit. */
	expect(mount("x", DIR_A, NULL, MS_REMOUNT, "size=6m"), 0);
	expect(fallocate(fd2, 0, 0, 2 * BLOCK), -ENOSPC);
	expect(fallocate(fd2, 0, 0, BLOCK), 0);
	expect(mount("x", DIR_A, NULL, MS_REMOUNT, "size=8m"), 0);
	expect(fallocate(fd2, 0, BLOCK, BLOCK), 0);
	close(fd);
	close(fd2);
	expect(mount("x", DIR_A, NULL, MS_REMOUNT | MS_RDONLY, ""), 0);
	expect(open(DIR_A "/file", O_RDWR | O_CREAT, 0600), -EROFS);
	expect(mount("x", DIR_A, NULL, MS_REMOUNT, ""), 0);
}

TEST_F_TIMEOUT(options, busy, TIMEOUT)
{
	u64 seed = gmem_new_seed(), *pfns;
	char *mem;
	int fd;

	expect(mount_at(DIR_A, "size=8m"), 0);
	fd = new_file(DIR_A "/file", SIZE);
	expect(umount(DIR_A), -EBUSY);
	mem = map(fd, SIZE);
	gmem_fill(mem, SIZE, seed);
	pfns = gmem_pfns(mem, SIZE);
	close(fd);
	expect(umount(DIR_A), -EBUSY);
	gmem_assert_filled(mem, SIZE, seed);
	/* The kernel frees the mount when the last mapping is removed. */
	expect(umount2(DIR_A, MNT_DETACH), 0);
	gmem_assert_filled(mem, SIZE, seed);
	gmem_assert_hidden(mem, SIZE, seed);
	expect(open(DIR_A "/file", O_RDWR), -ENOENT);
	kvm_munmap(mem, SIZE);
	gmem_assert_all_back();
	gmem_assert_given_back(pfns, SIZE / GMEM_PAGE, seed);
	free(pfns);
	/* Unmounting removes files with names. */
	expect(mount_at(DIR_A, "size=8m"), 0);
	fd = new_file(DIR_A "/file", SIZE);
	expect(fallocate(fd, 0, 0, SIZE), 0);
	expect(mkdir(DIR_A "/dir", 0700), 0);
	close(fd);
	expect(umount(DIR_A), 0);
	gmem_assert_all_back();
}

int main(int argc, char **argv)
{
	fs_require();
	return test_harness_run(argc, argv);
}
