// SPDX-License-Identifier: GPL-2.0-only
/*
 * The files of the guestmem file system.
 *
 * Proves that names, owners, modes, times and attributes of files work as in
 * any file system; that a file's memory is hidden, mapped by 2 MiB, refused to
 * GUP at level USER and allowed at KERNEL; and that every operation that guest
 * memory does not support fails with an error and changes nothing.  gmem_fs.h
 * describes what is checked after each test.
 *
 * Catches: a size that changes (size), a file whose memory is freed while it
 * has a name (kept), a poisoned page that counts for the mount (poison).
 *
 * Not covered: mount options (guest_memfd_fs_mount_test), the limit
 * (guest_memfd_fs_limit_test), KVM on such a file (x86/guest_memfd_plain*_test).
 */
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/guest_memfd.h>
#include <linux/loop.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "gmem_fs.h"

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

int main(int argc, char **argv)
{
	fs_require();
	return test_harness_run(argc, argv);
}
