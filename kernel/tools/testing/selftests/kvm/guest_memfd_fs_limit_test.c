// SPDX-License-Identifier: GPL-2.0-only
/*
 * The limit of a mount of the guestmem file system.
 *
 * Proves that the files of a mount never have more memory than its limit,
 * including memory that waits to be scrubbed, but that a process that needs
 * that memory gets it; that a process that waits for memory holds no lock that
 * others need; and that memory is charged to the process that uses it.
 * gmem_fs.h describes what is checked after each test.
 *
 * Catches: a limit that is not checked (fallocate_limit, fault_limit), that
 * counts freed memory (the mount is not empty in the end) or does not count
 * memory that waits to be scrubbed (pinned), a process that does not wait for
 * its predecessor's memory (restart).
 *
 * Not covered: the options that set the limit (guest_memfd_fs_mount_test).
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "gmem_fs.h"

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
	gmem_wait(has_block, NULL);
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
	fs_require();
	return test_harness_run(argc, argv);
}
