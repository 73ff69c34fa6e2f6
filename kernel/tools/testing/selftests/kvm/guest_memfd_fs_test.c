// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guestmem file system: files of hidden memory without a VM.
 *
 * Proves that mount options are obeyed or refused; that names, owners, modes,
 * times and attributes of files work as in any file system; that a file's
 * memory is hidden, mapped by 2 MiB, refused to GUP at level USER and allowed
 * at KERNEL; that the files of a mount never have more memory than its limit,
 * including memory that waits to be scrubbed, but that a process that needs
 * that memory gets it; and that every operation that guest memory does not
 * support fails with an error and changes nothing.  After each test the mount
 * is empty and can be unmounted, and the direct map is whole.
 *
 * Catches: a limit that is not checked (fallocate_limit, fault_limit), that
 * counts freed memory (the mount is not empty in the end) or does not count
 * memory that waits to be scrubbed (pinned), a process that does not wait for
 * its predecessor's memory (restart), and a size that changes (size).
 *
 * Not covered: KVM on such a file (x86/guest_memfd_plain_test).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/guest_memfd.h>
#include <linux/loop.h>
#include <linux/perf_event.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
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

static long mount_at(const char *dir, const char *options)
{
	mkdir("/tmp", 0777);
	mkdir(dir, 0755);
	return result(mount("guestmem", dir, "guestmem", 0, options));
}

static struct statfs space(const char *dir)
{
	struct statfs s;

	TEST_ASSERT(!statfs(dir, &s), "statfs(%s): errno %d", dir, errno);
	return s;
}

static u64 used_pages(const char *dir)
{
	struct statfs s = space(dir);

	TEST_ASSERT(s.f_bavail == s.f_bfree, "%lu pages are free, and %lu available",
		    (u64)s.f_bfree, (u64)s.f_bavail);
	return s.f_blocks - s.f_bfree;
}

static bool is_empty(void *dir)
{
	return !used_pages(dir);
}

static void wait_empty(const char *dir)
{
	gmem_wait(is_empty, (void *)dir, 10000);
	TEST_ASSERT(is_empty((void *)dir), "%lu pages of %s stay in use",
		    used_pages(dir), dir);
}

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

static int new_file(const char *path, u64 size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	TEST_ASSERT(fd >= 0, "cannot create %s: errno %d", path, errno);
	expect(ftruncate(fd, size), 0);
	return fd;
}

/* Creates a file without a name. */
static int new_tmpfile(const char *dir, u64 size)
{
	int fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

	TEST_ASSERT(fd >= 0, "no O_TMPFILE in %s: errno %d", dir, errno);
	expect(ftruncate(fd, size), 0);
	return fd;
}

static char *map(int fd, u64 size)
{
	return kvm_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
}

static u64 populated(int fd)
{
	struct gmem_info i;

	gmem_read_info(fd, &i);
	return i.populated;
}

static u64 blocks_of(int fd)
{
	struct gmem_info i;

	gmem_read_info(fd, &i);
	return i.blocks;
}

/*
 * How many bytes of a mapping are mapped by large entries of the page tables.
 */
static u64 mapped_large(const void *mem)
{
	char line[256];
	u64 kib = 0, start, end;
	bool here = false;
	FILE *f = fopen("/proc/self/smaps", "r");

	TEST_ASSERT(f, "cannot open smaps");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = (u64)mem >= start && (u64)mem < end;
		else if (here && sscanf(line, "FilePmdMapped: %lu", &kib) == 1)
			break;
	}
	fclose(f);
	return kib * 1024;
}

/* Mount options */

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

/* A mount of four blocks */

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

static unsigned int count_names(const char *dir)
{
	struct dirent *entry;
	unsigned int nr = 0;
	DIR *d = opendir(dir);

	TEST_ASSERT(d, "cannot open %s", dir);
	while ((entry = readdir(d)))
		nr += entry->d_name[0] != '.';
	closedir(d);
	return nr;
}

FS_TEST(names)
{
	struct timespec times[2] = { { .tv_sec = 1000 }, { .tv_sec = 2000, .tv_nsec = 5 } };
	char template[] = DIR_A "/vm.XXXXXX", path[64];
	struct stat st, st2;
	int fd, tmp;

	/* QEMU and libvirt create their files like this. */
	fd = mkstemp(template);
	TEST_ASSERT(fd >= 0, "no mkstemp()");
	expect(open(template, O_RDWR | O_CREAT | O_EXCL, 0600), -EEXIST);
	expect(unlink(template), 0);
	expect(open(template, O_RDWR), -ENOENT);
	expect(fstat(fd, &st), 0);
	TEST_ASSERT_EQ((u64)st.st_nlink, 0);
	close(fd);

	expect(mkdir(DIR_A "/dir", 0750), 0);
	expect(mkdir(DIR_A "/dir", 0750), -EEXIST);
	close(new_file(DIR_A "/dir/file", BLOCK));
	expect(rmdir(DIR_A "/dir"), -ENOTEMPTY);
	expect(rename(DIR_A "/dir/file", DIR_A "/file"), 0);
	expect(access(DIR_A "/dir/file", F_OK), -ENOENT);
	close(new_file(DIR_A "/other", GMEM_PAGE));
	expect(stat(DIR_A "/other", &st), 0);
	expect(syscall(SYS_renameat2, AT_FDCWD, DIR_A "/file", AT_FDCWD, DIR_A "/other",
		       RENAME_NOREPLACE), -EEXIST);
	expect(syscall(SYS_renameat2, AT_FDCWD, DIR_A "/file", AT_FDCWD, DIR_A "/other",
		       RENAME_EXCHANGE), 0);
	expect(stat(DIR_A "/file", &st2), 0);
	TEST_ASSERT(st.st_ino == st2.st_ino && st2.st_size == GMEM_PAGE, "not exchanged");
	expect(rename(DIR_A "/file", DIR_A "/other"), 0);
	TEST_ASSERT_EQ(count_names(DIR_A), 2);
	expect(rmdir(DIR_A "/dir"), 0);

	expect(link(DIR_A "/other", DIR_A "/second"), -EPERM);
	expect(symlink("other", DIR_A "/symlink"), -EPERM);
	expect(mknod(DIR_A "/device", S_IFCHR | 0600, 0x103), -EPERM);
	expect(mkfifo(DIR_A "/fifo", 0600), -EPERM);

	expect(chmod(DIR_A "/other", 0640), 0);
	expect(chown(DIR_A "/other", 7, 8), 0);
	expect(utimensat(AT_FDCWD, DIR_A "/other", times, 0), 0);
	expect(stat(DIR_A "/other", &st), 0);
	TEST_ASSERT((st.st_mode & 07777) == 0640 && st.st_uid == 7 && st.st_gid == 8 &&
		    st.st_atime == 1000 && st.st_mtime == 2000 && st.st_mtim.tv_nsec == 5,
		    "mode %o, owner %u:%u, times %lu and %lu", st.st_mode, st.st_uid,
		    st.st_gid, st.st_atime, st.st_mtime);
	expect(unlink(DIR_A "/other"), 0);

	/* linkat() gives a name to a file without one. */
	tmp = new_tmpfile(DIR_A, GMEM_PAGE);
	TEST_ASSERT_EQ(count_names(DIR_A), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", tmp);
	expect(linkat(AT_FDCWD, path, AT_FDCWD, DIR_A "/named", AT_SYMLINK_FOLLOW), 0);
	TEST_ASSERT_EQ(count_names(DIR_A), 1);
	close(tmp);
	expect(unlink(DIR_A "/named"), 0);
}

FS_TEST(xattrs)
{
	static char big[SZ_64K];
	char buf[64];
	int fd = new_tmpfile(DIR_A, GMEM_PAGE);

	expect(fsetxattr(fd, "trusted.guest", "one", 3, XATTR_CREATE), 0);
	expect(fsetxattr(fd, "trusted.guest", "two", 3, XATTR_CREATE), -EEXIST);
	expect(fsetxattr(fd, "security.label", "three", 5, 0), 0);
	expect(fgetxattr(fd, "trusted.guest", buf, sizeof(buf)), 3);
	TEST_ASSERT(!memcmp(buf, "one", 3), "not what was set");
	expect(fgetxattr(fd, "security.label", buf, sizeof(buf)), 5);
	expect(flistxattr(fd, buf, sizeof(buf)),
	       sizeof("trusted.guest") + sizeof("security.label"));
	expect(fsetxattr(fd, "user.name", "x", 1, 0), -EOPNOTSUPP);
	expect(fremovexattr(fd, "trusted.guest"), 0);
	expect(fgetxattr(fd, "trusted.guest", buf, sizeof(buf)), -ENODATA);
	/* Attributes cannot use up the kernel's memory. */
	expect(fsetxattr(fd, "trusted.1", big, sizeof(big), 0), 0);
	expect(fsetxattr(fd, "trusted.2", big, sizeof(big), 0), -ENOSPC);
	/* The root directory can have attributes, too. */
	expect(setxattr(DIR_A, "trusted.root", "x", 1, 0), 0);
	expect(getxattr(DIR_A, "trusted.root", buf, sizeof(buf)), 1);
	close(fd);
}

FS_TEST(size)
{
	static const u64 sizes[] = {
		GMEM_PAGE, BLOCK, 3 * GMEM_PAGE, BLOCK + GMEM_PAGE, 1UL << 40,
	};
	unsigned int i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		u64 size = sizes[i];

		fd = open(DIR_A "/file", O_RDWR | O_CREAT | O_EXCL, 0600);
		expect(ftruncate(fd, 0), 0);
		expect(ftruncate(fd, size + 1), -EINVAL);
		expect(ftruncate(fd, 1), -EINVAL);
		expect(ftruncate(fd, -GMEM_PAGE), -EINVAL);
		TEST_ASSERT_EQ(lseek(fd, 0, SEEK_END), 0);
		/* The file has no size yet. */
		expect(fallocate(fd, 0, 0, size), -EINVAL);
		expect(fallocate(fd, KEEP, 0, size), -EINVAL);
		TEST_ASSERT_EQ(used_pages(DIR_A), 0);
		expect(ftruncate(fd, size), 0);
		expect(ftruncate(fd, size), 0);
		expect(ftruncate(fd, 0), -EINVAL);
		expect(ftruncate(fd, size + GMEM_PAGE), -EINVAL);
		expect(ftruncate(fd, size / 2), -EINVAL);
		expect(truncate(DIR_A "/file", 2 * size), -EINVAL);
		expect(open(DIR_A "/file", O_RDWR | O_TRUNC), -EINVAL);
		TEST_ASSERT_EQ((u64)lseek(fd, 0, SEEK_END), size);
		TEST_ASSERT_EQ((u64)lseek(fd, 0, SEEK_HOLE), size);
		TEST_ASSERT_EQ(lseek(fd, 0, SEEK_DATA), 0);
		expect(lseek(fd, size, SEEK_DATA), -ENXIO);
		close(fd);
		expect(unlink(DIR_A "/file"), 0);
	}
	/* The largest possible file size, and a larger one. */
	fd = new_tmpfile(DIR_A, 0x7ffffffffffff000);
	close(fd);
	fd = open(DIR_A, O_RDWR | O_TMPFILE, 0600);
	signal(SIGXFSZ, SIG_IGN);
	expect(ftruncate(fd, 0x7fffffffffffffff), -EINVAL);
	close(fd);
	/* A file can get its size while it is mapped. */
	fd = open(DIR_A, O_RDWR | O_TMPFILE, 0600);
	{
		char *mem = map(fd, GMEM_PAGE);

		TEST_EXPECT_SIGBUS(WRITE_ONCE(mem[0], 1));
		expect(ftruncate(fd, GMEM_PAGE), 0);
		WRITE_ONCE(mem[0], 1);
		kvm_munmap(mem, GMEM_PAGE);
	}
	close(fd);
}

FS_TEST(hidden)
{
	int fd = new_file(DIR_A "/file", SIZE);
	char *mem = map(fd, SIZE);
	struct stat st;
	u64 *pfns;

	TEST_ASSERT(!((u64)mem & (BLOCK - 1)), "mapped at %p", mem);
	gmem_assert_zero(mem, SIZE);
	gmem_fill(mem, SIZE, self->seed);
	gmem_assert_filled(mem, SIZE, self->seed);
	gmem_assert_hidden(mem, SIZE, self->seed);
	gmem_assert_counts(fd, SIZE / GMEM_PAGE, 0);
	TEST_ASSERT_EQ(mapped_large(mem), SIZE);
	TEST_ASSERT_EQ(blocks_of(fd), SIZE / BLOCK);
	TEST_ASSERT_EQ(used_pages(DIR_A), SIZE / GMEM_PAGE);
	expect(fstat(fd, &st), 0);
	TEST_ASSERT_EQ((u64)st.st_blocks * 512, SIZE);
	pfns = gmem_pfns(mem, SIZE);
	TEST_ASSERT_EQ(gmem_scan(self->seed, NULL), 0);

	/* Punch a part of one block, and all of another. */
	expect(fallocate(fd, PUNCH, BLOCK + GMEM_PAGE, 3 * GMEM_PAGE), 0);
	expect(fallocate(fd, PUNCH, 2 * BLOCK, BLOCK), 0);
	TEST_ASSERT_EQ(populated(fd), SIZE / GMEM_PAGE - 3 - BLOCK_PAGES);
	TEST_ASSERT_EQ(used_pages(DIR_A), SIZE / GMEM_PAGE - 3 - BLOCK_PAGES);
	gmem_assert_zero(mem + BLOCK + GMEM_PAGE, 3 * GMEM_PAGE);
	gmem_assert_zero(mem + 2 * BLOCK, BLOCK);
	gmem_assert_filled(mem + BLOCK + 4 * GMEM_PAGE, BLOCK - 4 * GMEM_PAGE, self->seed);
	TEST_ASSERT_EQ(used_pages(DIR_A), SIZE / GMEM_PAGE);

	/* Remove the name, close the file, then unmap it. */
	expect(unlink(DIR_A "/file"), 0);
	close(fd);
	gmem_assert_filled(mem, BLOCK, self->seed);
	TEST_ASSERT_EQ(used_pages(DIR_A), SIZE / GMEM_PAGE);
	kvm_munmap(mem, SIZE);
	wait_empty(DIR_A);
	gmem_free_singles();
	gmem_assert_given_back(pfns, SIZE / GMEM_PAGE, self->seed);
	free(pfns);
}

/*
 * The file keeps its memory while it has a name, even if no process has it
 * open.
 */
FS_TEST(kept)
{
	int fd = new_file(DIR_A "/file", BLOCK);
	char *mem = map(fd, BLOCK);

	gmem_fill(mem, BLOCK, self->seed);
	kvm_munmap(mem, BLOCK);
	close(fd);
	TEST_ASSERT_EQ(used_pages(DIR_A), BLOCK_PAGES);
	fd = open(DIR_A "/file", O_RDONLY);
	/* A process that may read the file can map it for reading. */
	mem = kvm_mmap(BLOCK, PROT_READ, MAP_SHARED, fd);
	gmem_assert_filled(mem, BLOCK, self->seed);
	gmem_assert_hidden(mem, BLOCK, self->seed);
	expect(mprotect(mem, BLOCK, PROT_READ | PROT_WRITE), -EACCES);
	expect((long)mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), -EACCES);
	expect(fallocate(fd, KEEP, 0, BLOCK), -EBADF);
	expect(fallocate(fd, PUNCH, 0, BLOCK), -EBADF);
	expect(ftruncate(fd, BLOCK), -EINVAL);
	expect(__gmem_set_access(fd, 0, BLOCK, GUEST_MEMFD_ACCESS_NONE, NULL) ? -errno : 0, -EBADF);
	TEST_ASSERT_EQ(gmem_get_access(fd, 0, NULL), GUEST_MEMFD_ACCESS_USER);
	gmem_assert_filled(mem, BLOCK, self->seed);
	kvm_munmap(mem, BLOCK);
	close(fd);
	expect(unlink(DIR_A "/file"), 0);
}

FS_TEST(fallocate_modes)
{
	static const int refused[] = {
		FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | KEEP,
		FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE,
		FALLOC_FL_UNSHARE_RANGE | KEEP, FALLOC_FL_NO_HIDE_STALE, 0x40000000,
	};
	int fd = new_file(DIR_A "/file", 2 * BLOCK);
	struct stat st;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(refused); i++)
		expect(fallocate(fd, refused[i], 0, BLOCK), -EOPNOTSUPP);
	for (i = 0; i < 2; i++) {
		int mode = i ? KEEP : 0;

		expect(fallocate(fd, mode, 0, 2 * BLOCK + GMEM_PAGE), -EINVAL);
		expect(fallocate(fd, mode, 2 * BLOCK, GMEM_PAGE), -EINVAL);
		expect(fallocate(fd, mode, 1, GMEM_PAGE), -EINVAL);
		expect(fallocate(fd, mode, 0, 1), -EINVAL);
		expect(fallocate(fd, mode, 0, 0), -EINVAL);
		expect(fallocate(fd, mode, -GMEM_PAGE, GMEM_PAGE), -EINVAL);
		TEST_ASSERT_EQ(populated(fd), 0);
		expect(fallocate(fd, mode, BLOCK, BLOCK), 0);
		TEST_ASSERT_EQ(populated(fd), BLOCK_PAGES);
		expect(fallocate(fd, mode, BLOCK, BLOCK), 0);
		TEST_ASSERT_EQ(populated(fd), BLOCK_PAGES);
		expect(fallocate(fd, PUNCH, BLOCK, BLOCK), 0);
		TEST_ASSERT_EQ(populated(fd), 0);
	}
	expect(fallocate(fd, PUNCH, 1, GMEM_PAGE), -EINVAL);
	TEST_ASSERT_EQ((u64)lseek(fd, 0, SEEK_END), 2 * BLOCK);
	/*
	 * fallocate() by another user clears the set-user-ID bit, as in any
	 * file system.
	 */
	expect(fchown(fd, 5, 5), 0);
	expect(fchmod(fd, 06770), 0);
	setfsuid(5);
	expect(fallocate(fd, KEEP, 0, BLOCK), 0);
	setfsuid(0);
	expect(fstat(fd, &st), 0);
	TEST_ASSERT_EQ(st.st_mode & 07777, 0770);
	close(fd);
	expect(unlink(DIR_A "/file"), 0);
}

/* The limit */

FS_TEST(fallocate_limit)
{
	int fd = new_tmpfile(DIR_A, 2 * SIZE), fd2 = new_tmpfile(DIR_A, SIZE);

	/* If the range exceeds the limit, fallocate() populates nothing. */
	expect(fallocate(fd, 0, 0, 2 * SIZE), -ENOSPC);
	expect(fallocate(fd, KEEP, 0, SIZE + GMEM_PAGE), -ENOSPC);
	TEST_ASSERT_EQ(populated(fd), 0);
	TEST_ASSERT_EQ(used_pages(DIR_A), 0);
	expect(fallocate(fd, KEEP, 0, SIZE - BLOCK), 0);
	/* Memory that is populated already is not counted twice. */
	expect(fallocate(fd, KEEP, 0, SIZE), 0);
	TEST_ASSERT_EQ(populated(fd), SIZE / GMEM_PAGE);
	TEST_ASSERT_EQ(blocks_of(fd), SIZE / BLOCK);
	TEST_ASSERT_EQ(space(DIR_A).f_bfree, 0);
	expect(fallocate(fd, KEEP, SIZE, GMEM_PAGE), -ENOSPC);
	expect(fallocate(fd2, KEEP, 0, GMEM_PAGE), -ENOSPC);
	expect(fallocate(fd, KEEP, 0, SIZE), 0);
	/* A punched page makes room for one page, in either file. */
	expect(fallocate(fd, PUNCH, 5 * GMEM_PAGE, GMEM_PAGE), 0);
	expect(fallocate(fd2, KEEP, 0, 2 * GMEM_PAGE), -ENOSPC);
	expect(fallocate(fd2, KEEP, 7 * GMEM_PAGE, GMEM_PAGE), 0);
	TEST_ASSERT_EQ(populated(fd2), 1);
	expect(fallocate(fd, KEEP, 5 * GMEM_PAGE, GMEM_PAGE), -ENOSPC);
	close(fd2);
	expect(fallocate(fd, KEEP, 5 * GMEM_PAGE, GMEM_PAGE), 0);
	close(fd);
	/* All of the memory is available again at once. */
	fd = new_tmpfile(DIR_A, SIZE);
	expect(fallocate(fd, 0, 0, SIZE), 0);
	TEST_ASSERT_EQ(blocks_of(fd), SIZE / BLOCK);
	close(fd);
}

FS_TEST(fault_limit)
{
	int fd = new_tmpfile(DIR_A, 2 * SIZE);
	char *mem = map(fd, 2 * SIZE);
	u64 i;

	for (i = 0; i < SIZE; i += BLOCK)
		WRITE_ONCE(mem[i], 1);
	TEST_ASSERT_EQ(space(DIR_A).f_bfree, 0);
	TEST_EXPECT_SIGBUS(WRITE_ONCE(mem[SIZE], 1));
	TEST_EXPECT_SIGBUS((void)READ_ONCE(mem[SIZE + BLOCK]));
	TEST_ASSERT_EQ(populated(fd), SIZE / GMEM_PAGE);
	TEST_ASSERT_EQ(used_pages(DIR_A), SIZE / GMEM_PAGE);
	/* Populated memory works as before. */
	for (i = 0; i < SIZE; i += BLOCK)
		TEST_ASSERT_EQ(READ_ONCE(mem[i]), 1);
	expect(madvise(mem + BLOCK, BLOCK, MADV_REMOVE), 0);
	WRITE_ONCE(mem[SIZE], 1);
	TEST_ASSERT_EQ(blocks_of(fd), SIZE / BLOCK);
	TEST_EXPECT_SIGBUS(WRITE_ONCE(mem[BLOCK], 1));
	/*
	 * A process for which the kernel populates memory gets an error instead
	 * of a signal.
	 */
	expect(madvise(mem + BLOCK, GMEM_PAGE, MADV_POPULATE_WRITE), -EFAULT);
	kvm_munmap(mem, 2 * SIZE);
	close(fd);
}

/*
 * Where the limit has no room for a block, the library populates single pages.
 */
TEST_F_TIMEOUT(options, single_pages, TIMEOUT)
{
	int fd;

	expect(mount_at(DIR_A, "size=3m"), 0);
	fd = new_tmpfile(DIR_A, SIZE);
	expect(fallocate(fd, 0, 0, 3 * SZ_1M), 0);
	TEST_ASSERT_EQ(populated(fd), 768);
	TEST_ASSERT_EQ(blocks_of(fd), 1 + 256);
	expect(fallocate(fd, 0, 3 * SZ_1M, GMEM_PAGE), -ENOSPC);
	close(fd);
	wait_empty(DIR_A);
	/* The limit is now below the size of a block. */
	expect(mount("x", DIR_A, NULL, MS_REMOUNT, "size=1m"), 0);
	fd = new_tmpfile(DIR_A, BLOCK);
	expect(fallocate(fd, 0, SZ_1M, SZ_1M), 0);
	TEST_ASSERT_EQ(blocks_of(fd), 256);
	expect(fallocate(fd, 0, 0, GMEM_PAGE), -ENOSPC);
	close(fd);
	wait_empty(DIR_A);
	expect(umount(DIR_A), 0);
}

static void wait_for_byte(int fd)
{
	char c;

	TEST_ASSERT(read(fd, &c, 1) == 1, "the child ended");
}

/* Uses memory as a VMM does: populates and fills all of it. */
static void fill_mount(bool by_fault, int ready, u64 seed)
{
	int fd = new_tmpfile(DIR_A, SIZE);
	char *mem = map(fd, SIZE);
	u64 blocks;

	if (!by_fault)
		expect(fallocate(fd, 0, 0, SIZE), 0);
	gmem_fill(mem, SIZE, seed);
	blocks = blocks_of(fd);
	TEST_ASSERT(blocks == SIZE / BLOCK, "%lu blocks and pages", blocks);
	TEST_ASSERT(write(ready, "x", 1) == 1, "the parent is gone");
	for (;;)
		pause();
}

/*
 * A VM as large as the mount is killed and started again at once.  Its memory
 * may not be scrubbed yet; the task that needs the memory then helps to scrub
 * it.
 */
FS_TEST(restart)
{
	unsigned int i;
	int ready[2];
	pid_t pid;

	for (i = 0; i < 20; i++) {
		expect(pipe(ready), 0);
		pid = fork();
		if (!pid) {
			close(ready[0]);
			fill_mount(i & 1, ready[1], self->seed);
		}
		close(ready[1]);
		wait_for_byte(ready[0]);
		TEST_ASSERT_EQ(space(DIR_A).f_bfree, 0);
		kill(pid, SIGKILL);
		TEST_ASSERT(waitpid(pid, NULL, 0) == pid, "no child");
		close(ready[0]);
	}
}

/* The same with a much larger mount, without checking each byte. */
TEST_F_TIMEOUT(options, restart_large, TIMEOUT)
{
	unsigned int i;
	int fd;

	expect(mount_at(DIR_A, "size=256m"), 0);
	for (i = 0; i < 20; i++) {
		fd = new_tmpfile(DIR_A, 256 * SZ_1M);
		if (i & 1) {
			char *mem = map(fd, 256 * SZ_1M);

			expect(madvise(mem, 256 * SZ_1M, MADV_POPULATE_WRITE), 0);
			kvm_munmap(mem, 256 * SZ_1M);
		} else {
			expect(fallocate(fd, 0, 0, 256 * SZ_1M), 0);
		}
		TEST_ASSERT_EQ(blocks_of(fd), 128);
		close(fd);
	}
	/* Unmount while memory waits to be scrubbed. */
	expect(umount(DIR_A), 0);
	gmem_assert_all_back();
}

/*
 * Memory that a device has pinned counts, and a task does not wait for it
 * repeatedly.
 */
FS_TEST(pinned)
{
	int fd = new_tmpfile(DIR_A, SIZE);
	char *mem = map(fd, SIZE);
	struct gmem_pin pin;
	struct timespec start;
	u64 ms[2], i;

	gmem_fill(mem, SIZE, self->seed);
	gmem_set_access(fd, 0, BLOCK, GUEST_MEMFD_ACCESS_KERNEL);
	TEST_ASSERT(!gmem_pin(&pin, GMEM_PIN_WRITE, mem, GMEM_PAGE), "no pin: errno %d", errno);
	kvm_munmap(mem, SIZE);
	close(fd);

	fd = new_tmpfile(DIR_A, SIZE);
	/*
	 * The first attempt waits, because the memory might be unpinned soon;
	 * the second one does not.
	 */
	for (i = 0; i < 2; i++) {
		clock_gettime(CLOCK_MONOTONIC, &start);
		expect(fallocate(fd, KEEP, 0, SIZE), -ENOSPC);
		ms[i] = timespec_to_ns(timespec_elapsed(start)) / 1000000;
	}
	TEST_ASSERT(ms[0] >= 500 && ms[0] <= 20000, "gave up after %lu ms", ms[0]);
	TEST_ASSERT(ms[1] <= 400, "waited for it again, %lu ms", ms[1]);
	TEST_ASSERT_EQ(populated(fd), SIZE / GMEM_PAGE - BLOCK_PAGES);
	TEST_ASSERT_EQ(space(DIR_A).f_bfree, 0);
	gmem_unpin(&pin);
	while (space(DIR_A).f_bfree != BLOCK_PAGES)
		usleep(1000);
	expect(fallocate(fd, KEEP, 0, SIZE), 0);
	TEST_ASSERT_EQ(blocks_of(fd), SIZE / BLOCK);
	close(fd);
}

/* Pins a block of its own and closes its file. */
static void hold_block(struct gmem_pin *pin, u64 seed)
{
	int fd = new_tmpfile(DIR_A, BLOCK);
	char *mem = map(fd, BLOCK);

	gmem_fill(mem, BLOCK, seed);
	gmem_set_access(fd, 0, BLOCK, GUEST_MEMFD_ACCESS_KERNEL);
	TEST_ASSERT(!gmem_pin(pin, GMEM_PIN_WRITE, mem, GMEM_PAGE), "no pin: errno %d", errno);
	kvm_munmap(mem, BLOCK);
	close(fd);
}

static bool has_block(void *unused)
{
	return space(DIR_A).f_bfree == BLOCK_PAGES;
}

static void let_go(struct gmem_pin *pin)
{
	gmem_unpin(pin);
	gmem_wait(has_block, NULL, 10000);
}

struct waiter {
	int fd;
	char *mem;
	bool by_fault;
	volatile bool done;
	long result;
};

static void *wait_for_room(void *arg)
{
	struct waiter *w = arg;

	if (w->by_fault)
		w->result = result(madvise(w->mem + SIZE - BLOCK, GMEM_PAGE, MADV_POPULATE_WRITE));
	else
		w->result = result(fallocate(w->fd, KEEP, SIZE - BLOCK, BLOCK));
	w->done = true;
	return NULL;
}

static void ignore_signal(int sig)
{
}

/*
 * A task that waits for room holds no lock that other tasks need for the same
 * file or address space, and a signal ends the wait.
 */
FS_TEST(waiting)
{
	struct itimerval timer = { .it_value.tv_usec = 200000 };
	struct sigaction action = { .sa_handler = ignore_signal };
	struct waiter w = { .fd = new_tmpfile(DIR_A, SIZE) };
	unsigned int i, overlaps[2] = {};
	struct gmem_pin pin;
	pthread_t thread;
	long r = 0;

	w.mem = map(w.fd, SIZE);
	expect(fallocate(w.fd, KEEP, 0, SIZE - BLOCK), 0);

	/*
	 * On a busy machine a waiter may give up before another task runs;
	 * retry.
	 */
	for (i = 0; i < 40 && !(overlaps[0] && overlaps[1]); i++) {
		hold_block(&pin, self->seed);
		w.by_fault = i & 1;
		w.done = false;
		pthread_create(&thread, NULL, wait_for_room, &w);
		usleep(200000);
		if (w.by_fault)
			kvm_munmap(map(w.fd, SIZE), SIZE);
		else
			expect(fallocate(w.fd, PUNCH, BLOCK, 0x10 * GMEM_PAGE), 0);
		overlaps[w.by_fault] += !w.done;
		pthread_join(thread, NULL);
		/*
		 * The hole has room for only a part of the range that the
		 * waiter needs.
		 */
		TEST_ASSERT(w.result == (w.by_fault ? -EFAULT : -ENOSPC), "the waiter got %ld",
			    w.result);
		expect(fallocate(w.fd, PUNCH, SIZE - BLOCK, BLOCK), 0);
		expect(fallocate(w.fd, KEEP, 0, SIZE - BLOCK), 0);
		let_go(&pin);
	}
	TEST_ASSERT(overlaps[0], "a hole waits for a fallocate() that waits for room");
	TEST_ASSERT(overlaps[1], "mmap() waits for a fault that waits for room");

	sigaction(SIGALRM, &action, NULL);
	for (i = 0; i < 20 && r != -EINTR; i++) {
		hold_block(&pin, self->seed);
		setitimer(ITIMER_REAL, &timer, NULL);
		r = result(fallocate(w.fd, KEEP, SIZE - BLOCK, BLOCK));
		TEST_ASSERT(r == -EINTR || r == -ENOSPC, "fallocate() gives %ld", r);
		let_go(&pin);
	}
	expect(r, -EINTR);
	timer.it_value.tv_usec = 0;
	setitimer(ITIMER_REAL, &timer, NULL);

	kvm_munmap(w.mem, SIZE);
	close(w.fd);
}

#define CGROUPS		"/tmp/cgroup-fs"
#define GROUP		CGROUPS "/fs"

static u64 read_current(void)
{
	FILE *f = fopen(GROUP "/memory.current", "r");
	u64 value;

	TEST_ASSERT(f && fscanf(f, "%lu", &value) == 1, "no memory.current");
	fclose(f);
	return value;
}

/*
 * Memory that a task faults in on behalf of another one is charged to that
 * other one.
 */
FS_TEST(charge)
{
	int fd = new_tmpfile(DIR_A, SIZE), procs, ready[2];
	char *mem = map(fd, SIZE), byte = 1;
	struct iovec local = { &byte, 1 }, remote = { mem, 1 };
	u64 before;
	pid_t pid;

	mkdir(CGROUPS, 0755);
	TEST_ASSERT(!mount("cgroup2", CGROUPS, "cgroup2", 0, NULL), "no cgroup2: errno %d", errno);
	procs = open_path_or_exit(CGROUPS "/cgroup.subtree_control", O_WRONLY);
	expect(write(procs, "+memory", 7), 7);
	close(procs);
	expect(mkdir(GROUP, 0755), 0);
	gmem_set_access(fd, 0, SIZE, GUEST_MEMFD_ACCESS_KERNEL);
	expect(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		procs = open_path_or_exit(GROUP "/cgroup.procs", O_WRONLY);
		expect(write(procs, "0", 1), 1);
		close(procs);
		expect(write(ready[1], "x", 1), 1);
		for (;;)
			pause();
	}
	wait_for_byte(ready[0]);
	before = read_current();
	expect(process_vm_writev(pid, &local, 1, &remote, 1, 0), 1);
	TEST_ASSERT_EQ(populated(fd), BLOCK_PAGES);
	TEST_ASSERT(read_current() >= before + BLOCK, "%lu bytes more are charged",
		    read_current() - before);
	kill(pid, SIGKILL);
	TEST_ASSERT(waitpid(pid, NULL, 0) == pid, "no child");
	kvm_munmap(mem, SIZE);
	close(fd);
	close(ready[0]);
	close(ready[1]);
	wait_empty(DIR_A);
	expect(rmdir(GROUP), 0);
	expect(umount(CGROUPS), 0);
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

static void poison(u64 pfn)
{
	int fd = open_path_or_exit("/sys/kernel/debug/hwpoison/corrupt-pfn", O_WRONLY);
	char text[32];
	int len = snprintf(text, sizeof(text), "%lu", pfn);

	expect(write(fd, text, len), len);
	close(fd);
}

/* A poisoned page is lost, but does not count for the mount. */
FS_TEST(poison)
{
	int fd = new_tmpfile(DIR_A, SIZE);
	char *mem = map(fd, SIZE);
	u64 pfn;

	gmem_fill(mem, SIZE, self->seed);
	pfn = gmem_pfn(mem + BLOCK + 9 * GMEM_PAGE);
	signal(SIGBUS, ignore_signal);
	poison(pfn);
	signal(SIGBUS, SIG_DFL);
	gmem_expect_lost(1);
	TEST_ASSERT_EQ(used_pages(DIR_A), SIZE / GMEM_PAGE);
	gmem_assert_filled(mem, BLOCK, self->seed);
	TEST_EXPECT_SIGBUS((void)READ_ONCE(mem[BLOCK + 9 * GMEM_PAGE]));
	kvm_munmap(mem, SIZE);
	close(fd);
	wait_empty(DIR_A);
	gmem_free_singles();
	fd = new_tmpfile(DIR_A, SIZE);
	expect(fallocate(fd, 0, 0, SIZE), 0);
	TEST_ASSERT_EQ(blocks_of(fd), SIZE / BLOCK);
	close(fd);
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

TEST_F_TIMEOUT(options, inodes, TIMEOUT)
{
	int fd;

	expect(mount_at(DIR_A, "size=8m,nr_inodes=3"), 0);
	TEST_ASSERT_EQ(space(DIR_A).f_ffree, 2);
	expect(mkdir(DIR_A "/dir", 0700), 0);
	fd = new_file(DIR_A "/file", GMEM_PAGE);
	TEST_ASSERT_EQ(space(DIR_A).f_ffree, 0);
	expect(open(DIR_A "/x", O_RDWR | O_CREAT, 0600), -ENOSPC);
	expect(open(DIR_A, O_RDWR | O_TMPFILE, 0600), -ENOSPC);
	expect(mkdir(DIR_A "/x", 0700), -ENOSPC);
	TEST_ASSERT_EQ(count_names(DIR_A), 2);
	/* An open file without a name counts as one inode. */
	expect(unlink(DIR_A "/file"), 0);
	expect(mkdir(DIR_A "/x", 0700), -ENOSPC);
	close(fd);
	expect(mkdir(DIR_A "/x", 0700), 0);
	expect(rmdir(DIR_A "/x"), 0);
	expect(rmdir(DIR_A "/dir"), 0);
	TEST_ASSERT_EQ(space(DIR_A).f_ffree, 2);
	expect(umount(DIR_A), 0);
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

FS_TEST(levels)
{
	int fd = new_tmpfile(DIR_A, SIZE), dev = gmem_open_direct(), sparse;
	char *mem = map(fd, SIZE), copy[64] = {};
	struct iovec local = { copy, sizeof(copy) }, remote = { mem, sizeof(copy) };
	u64 size;

	TEST_ASSERT(dev >= 0, "no block device");
	gmem_fill(mem, SIZE, self->seed);
	TEST_ASSERT_EQ(gmem_get_access(fd, 0, &size), GUEST_MEMFD_ACCESS_USER);
	TEST_ASSERT_EQ(size, SIZE);

	/* At USER neither a device nor the kernel can access the memory. */
	expect(pread(dev, mem, GMEM_PAGE, 0), -EFAULT);
	expect(pwrite(dev, mem, GMEM_PAGE, 0), -EFAULT);
	expect(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), -EFAULT);
	gmem_assert_filled(mem, SIZE, self->seed);

	gmem_set_access(fd, 0, BLOCK, GUEST_MEMFD_ACCESS_KERNEL);
	expect(pwrite(dev, mem, GMEM_PAGE, 0), GMEM_PAGE);
	expect(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), sizeof(copy));
	TEST_ASSERT(!memcmp(copy, mem, sizeof(copy)), "something else was read");
	expect(pread(dev, mem + GMEM_PAGE, GMEM_PAGE, 0), GMEM_PAGE);
	TEST_ASSERT(!memcmp(mem, mem + GMEM_PAGE, GMEM_PAGE), "something else was read");
	expect(pread(dev, mem + BLOCK, GMEM_PAGE, 0), -EFAULT);
	gmem_assert_counts(fd, SIZE / GMEM_PAGE, BLOCK_PAGES);

	gmem_set_access(fd, 0, BLOCK, GUEST_MEMFD_ACCESS_USER);
	expect(pread(dev, mem, GMEM_PAGE, 0), -EFAULT);
	gmem_assert_hidden(mem, GMEM_PAGE, self->seed);
	gmem_set_access(fd, BLOCK, BLOCK, GUEST_MEMFD_ACCESS_NONE);
	TEST_EXPECT_SIGBUS((void)READ_ONCE(mem[BLOCK]));
	gmem_set_access(fd, BLOCK, BLOCK, GUEST_MEMFD_ACCESS_USER);
	gmem_assert_filled(mem + BLOCK, SIZE - BLOCK, self->seed);

	/*
	 * A change takes time for the populated memory only, not for the size
	 * of the file.
	 */
	sparse = new_tmpfile(DIR_A, 1UL << 60);
	gmem_set_access(sparse, 0, 1UL << 60, GUEST_MEMFD_ACCESS_KERNEL);
	gmem_set_access(sparse, GMEM_PAGE, 1UL << 59, GUEST_MEMFD_ACCESS_USER);
	gmem_set_access(sparse, 0, 1UL << 60, GUEST_MEMFD_ACCESS_NONE);
	close(sparse);

	/* Raise absent memory, then populate it up to the limit. */
	expect(fallocate(fd, PUNCH, 0, SIZE), 0);
	gmem_set_access(fd, 0, SIZE, GUEST_MEMFD_ACCESS_KERNEL);
	expect(fallocate(fd, 0, 0, SIZE), 0);
	gmem_assert_counts(fd, SIZE / GMEM_PAGE, SIZE / GMEM_PAGE);
	kvm_munmap(mem, SIZE);
	close(fd);
	gmem_close_direct(dev);
}

/* Creates a file in another file system. */
static int plain_file(const char *path)
{
	static char data[4 * 4096] = "plain";
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	TEST_ASSERT(fd >= 0 && write(fd, data, sizeof(data)) == sizeof(data), "no %s", path);
	return fd;
}

static long probe_user(const char *path)
{
	struct perf_event_attr attr = { .size = sizeof(attr) };
	FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "r");
	int fd;

	TEST_ASSERT(f && fscanf(f, "%u", &attr.type) == 1, "this kernel has no uprobes");
	fclose(f);
	attr.config1 = (u64)path;
	attr.config2 = 0;
	fd = result(syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0));
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static long exec_file(const char *path)
{
	static char * const none[] = { NULL };
	int status;
	pid_t pid = fork();

	if (!pid) {
		execve(path, none, none);
		_exit(errno);
	}
	TEST_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid, "no child");
	return WIFEXITED(status) ? -WEXITSTATUS(status) : 0;
}

static long loop_on(int backing)
{
	int control = open("/dev/loop-control", O_RDWR), dev;
	char path[32];
	long r;

	TEST_ASSERT(control >= 0, "no loop devices");
	snprintf(path, sizeof(path), "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
	close(control);
	dev = open(path, O_RDWR);
	TEST_ASSERT(dev >= 0, "no %s", path);
	r = result(ioctl(dev, LOOP_SET_FD, backing));
	if (!r)
		ioctl(dev, LOOP_CLR_FD, 0);
	close(dev);
	return r;
}

/* Every operation that a file of guest memory does not support. */
FS_TEST(misuse)
{
	int fd = new_file(DIR_A "/file", 2 * BLOCK), plain = plain_file("/tmp/plain");
	char *mem = map(fd, 2 * BLOCK), buf[64] = "x";
	struct file_clone_range range = { .src_length = GMEM_PAGE };
	struct fiemap extents = { .fm_length = ~0ULL };
	struct iovec iov = { buf, sizeof(buf) };
	struct stat before, after;
	off_t pos = 0;
	int pipes[2];

	expect(fchmod(fd, 0700), 0);
	gmem_fill(mem, 2 * BLOCK, self->seed);
	expect(fstat(fd, &before), 0);
	expect(pipe(pipes), 0);
	expect(write(pipes[1], buf, sizeof(buf)), sizeof(buf));

	/* The kernel neither reads nor writes the file for system calls. */
	expect(read(fd, buf, sizeof(buf)), -EINVAL);
	expect(write(fd, buf, sizeof(buf)), -EINVAL);
	expect(pread(fd, buf, sizeof(buf), 0), -EINVAL);
	expect(pwrite(fd, buf, sizeof(buf), 0), -EINVAL);
	expect(readv(fd, &iov, 1), -EINVAL);
	expect(writev(fd, &iov, 1), -EINVAL);
	expect(splice(fd, NULL, pipes[1], NULL, GMEM_PAGE, 0), -EINVAL);
	expect(splice(pipes[0], NULL, fd, NULL, sizeof(buf), 0), -EINVAL);
	expect(sendfile(pipes[1], fd, &pos, GMEM_PAGE), -EINVAL);
	expect(sendfile(fd, plain, &pos, GMEM_PAGE), -EINVAL);
	expect(copy_file_range(fd, NULL, plain, NULL, GMEM_PAGE, 0), -EXDEV);
	expect(copy_file_range(plain, NULL, fd, NULL, GMEM_PAGE, 0), -EXDEV);
	{
		int other = new_tmpfile(DIR_A, BLOCK);

		expect(copy_file_range(fd, NULL, other, NULL, GMEM_PAGE, 0), -EINVAL);
		expect(ioctl(other, FICLONE, fd), -EOPNOTSUPP);
		range.src_fd = fd;
		expect(ioctl(other, FICLONERANGE, &range), -EOPNOTSUPP);
		TEST_ASSERT_EQ(populated(other), 0);
		close(other);
	}
	expect(ioctl(plain, FICLONE, fd), -EXDEV);
	expect(readahead(fd, 0, GMEM_PAGE), 0);
	expect(open(DIR_A "/file", O_RDWR | O_DIRECT), -EINVAL);

	/*
	 * The file cannot be a program, a disk, swap space or an overlayfs
	 * layer.
	 */
	TEST_ASSERT_EQ(exec_file(DIR_A "/file"), -EACCES);
	expect((long)mmap(NULL, BLOCK, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0), -EPERM);
	expect(mprotect(mem, BLOCK, PROT_READ | PROT_EXEC), -EACCES);
	expect((long)mmap(NULL, BLOCK, PROT_READ, MAP_PRIVATE, fd, 0), -EINVAL);
	expect((long)mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), -EINVAL);
	TEST_ASSERT_EQ(probe_user(DIR_A "/file"), -EIO);
	expect(swapon(DIR_A "/file", 0), -EINVAL);
	TEST_ASSERT_EQ(loop_on(fd), -EINVAL);
	expect(mkdir(DIR_A "/upper", 0700), 0);
	expect(mkdir(DIR_A "/layer", 0700), 0);
	mkdir(DIR_B, 0755);
	expect(mount("overlay", DIR_B, "overlay", 0, "lowerdir=" DIR_A ":/tmp"), -EINVAL);
	expect(mount("overlay", DIR_B, "overlay", 0, "lowerdir=/tmp,upperdir=" DIR_A
		     "/upper,workdir=" DIR_A "/layer"), -EINVAL);
	expect(rmdir(DIR_A "/upper"), 0);
	/* overlayfs creates a directory before it checks its upper layer. */
	rmdir(DIR_A "/layer/work");
	expect(rmdir(DIR_A "/layer"), 0);

	/* These are commands for other files. */
	expect(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -EINVAL);
	expect(ioctl(fd, FIBMAP, buf), -EINVAL);
	expect(ioctl(fd, FS_IOC_FIEMAP, &extents), -EOPNOTSUPP);
	expect(ioctl(fd, 0xdead, 0), -ENOTTY);
	/* These calls succeed on any file, and do nothing here. */
	expect(fsync(fd), 0);
	expect(msync(mem, BLOCK, MS_SYNC), 0);
	expect(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	expect(syncfs(fd), 0);
	{
		int drop = open("/proc/sys/vm/drop_caches", O_WRONLY);

		expect(write(drop, "3", 1), 1);
		close(drop);
	}

	expect(fstat(fd, &after), 0);
	TEST_ASSERT(before.st_size == after.st_size && before.st_blocks == after.st_blocks &&
		    before.st_mtim.tv_nsec == after.st_mtim.tv_nsec &&
		    before.st_mode == after.st_mode, "the file has changed");
	gmem_assert_filled(mem, 2 * BLOCK, self->seed);
	gmem_assert_hidden(mem, 2 * BLOCK, self->seed);
	TEST_ASSERT_EQ(blocks_of(fd), 2);
	expect(lseek(plain, 0, SEEK_END), 4 * 4096);
	close(plain);
	close(pipes[0]);
	close(pipes[1]);
	kvm_munmap(mem, 2 * BLOCK);
	close(fd);
	expect(unlink(DIR_A "/file"), 0);
	expect(unlink("/tmp/plain"), 0);
}

#define MIN_ROUNDS	3

/*
 * Faults, populates, punches holes and creates files in three processes on a
 * mount that is too small.
 */
static void fight(u64 seed, unsigned int seconds)
{
	struct timespec start;
	u64 rounds = 0, full = 0;
	long r;

	clock_gettime(CLOCK_MONOTONIC, &start);
	/* Even on a slow machine, run a minimum number of rounds. */
	while (rounds < MIN_ROUNDS ||
	       timespec_to_ns(timespec_elapsed(start)) < seconds * NSEC_PER_SEC) {
		int fd = new_tmpfile(DIR_A, SIZE);
		char *mem = map(fd, SIZE);
		u64 first = seed % 3 * BLOCK;

		r = result(fallocate(fd, 0, first, 2 * BLOCK - (seed % 5) * GMEM_PAGE));
		TEST_ASSERT(!r || r == -ENOSPC, "fallocate() gives %ld", r);
		full += !!r;
		r = result(madvise(mem, BLOCK, MADV_POPULATE_WRITE));
		TEST_ASSERT(!r || r == -EFAULT, "madvise() gives %ld", r);
		full += !!r;
		expect(fallocate(fd, PUNCH, first + GMEM_PAGE, (seed % 7 + 1) * GMEM_PAGE), 0);
		TEST_ASSERT(used_pages(DIR_A) <= SIZE / GMEM_PAGE, "more than there is");
		kvm_munmap(mem, SIZE);
		close(fd);
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		seed ^= seed >> 33;
		rounds++;
	}
	ksft_print_msg("%lu rounds, %lu times full\n", rounds, full);
}

FS_TEST(fight)
{
	int status, i;
	pid_t pids[3];

	for (i = 0; i < 3; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			fight(self->seed + i, 3);
			_exit(0);
		}
	}
	for (i = 0; i < 3; i++)
		TEST_ASSERT(waitpid(pids[i], &status, 0) == pids[i] && !status, "a child failed");
}

int main(int argc, char **argv)
{
	long r;

	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "the file system has hidden memory only");
	r = mount_at(DIR_A, "size=4k");
	__TEST_REQUIRE(!r, "no guestmem file system: %ld", r);
	umount(DIR_A);
	return test_harness_run(argc, argv);
}
