// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks of hidden guest memory where memory is short, or a reference lasts.
 *
 * Proves that VMs which use most of the host's memory can start and end
 * repeatedly; that idle pages are freed to a host that needs them, and that
 * single pages serve where no block can be allocated; that a cgroup's limit
 * holds, and that nothing stays charged; that a block is cleared and waits for
 * a page that is pinned; and that the direct map shows nothing of a guest while
 * its blocks are torn down.
 *
 * Catches: a shrinker that frees nothing (idle_shrinks, fragmented), that frees
 * pages which are in use (the tags in them) or does not restore them
 * (all_back), a populate that fails without a block (fragmented, limit), a
 * charge or a page lost when memory runs out half way (limit), pages that are
 * restored before they are cleared, or not cleared (teardown_seen, held), a
 * block that is freed although a page of it is pinned, or never (held).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define BLOCK		SZ_2M
#define BLOCK_PAGES	(BLOCK / GMEM_PAGE)
#define NR_VMS		3
#define NR_ROUNDS	3
/* Of this many pages all but the first are punched. */
#define STRIDE		64
/* In pages: what the host itself may allocate or free meanwhile. */
#define SLACK		(SZ_8M / GMEM_PAGE)
#define TIMEOUT		600

static void write_number(const char *path, long value)
{
	FILE *f = fopen(path, "w");

	TEST_ASSERT(f && fprintf(f, "%ld", value) > 0 && !fclose(f), "cannot write %s", path);
}

static u64 read_number(const char *path)
{
	FILE *f = fopen(path, "r");
	u64 value;

	TEST_ASSERT(f && fscanf(f, "%lu", &value) == 1 && !fclose(f), "cannot read %s", path);
	return value;
}

FIXTURE(pressure) {
	struct gmem_vm vms[NR_VMS + 1];
	int kmsg;
	unsigned int old_order;
	u64 flags;
	u64 seed;
	u64 free;
};

FIXTURE_SETUP(pressure)
{
	self->flags = gmem_test_flags();
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	self->old_order = gmem_set_block_order(9);
	self->free = gmem_free_pages();
}

FIXTURE_TEARDOWN(pressure)
{
	u64 now;
	int i;

	for (i = 0; i <= NR_VMS; i++) {
		if (self->vms[i].vm)
			gmem_vm_destroy(&self->vms[i]);
	}
	gmem_set_block_order(self->old_order);
	gmem_assert_all_back();
	now = gmem_free_pages();
	TEST_ASSERT(now + SLACK > self->free, "%lu pages were free before, %lu are now",
		    self->free, now);
	gmem_assert_nothing_left(&self->kmsg);
}

#define PRESSURE_TEST(name) TEST_F_TIMEOUT(pressure, name, TIMEOUT)

/* Guest: write a tag into each page, so that a guest can fill much memory. */
static u64 guest_tag(u64 gva, u64 size, u64 seed)
{
	u64 i;

	for (i = 0; i < size; i += GMEM_PAGE)
		WRITE_ONCE(*(u64 *)(gva + i), gmem_word(seed, i / GMEM_PAGE));
	return 0;
}

static void tag(struct gmem_vm *g, u64 seed)
{
	u64 i;

	for (i = 0; i < g->size; i += GMEM_PAGE)
		WRITE_ONCE(*(u64 *)(g->mem + i), gmem_word(seed, i / GMEM_PAGE));
}

/* Assert that every @step'th page has its tag. */
static void assert_tagged(struct gmem_vm *g, u64 step, u64 seed)
{
	u64 i;

	for (i = 0; i < g->size / GMEM_PAGE; i += step)
		TEST_ASSERT(READ_ONCE(*(u64 *)(g->mem + i * GMEM_PAGE)) == gmem_word(seed, i),
			    "page %lu of %lu has lost its tag", i, g->size / GMEM_PAGE);
}

/* All VMs together use three quarters of the host's memory. */
static u64 vm_size(void)
{
	return gmem_meminfo("MemTotal") * 1024 / 4 * 3 / NR_VMS / BLOCK * BLOCK;
}

/* Populates the file by one of three ways. */
static void populate(struct gmem_vm *g, int way, u64 seed)
{
	if (way == 0)
		kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, g->size);
	if (way == 1)
		gmem_guest_call(g->vcpus[0], guest_tag, GMEM_GVA, g->size, seed);
	else
		tag(g, seed);
	gmem_assert_counts(g->fd, g->size / GMEM_PAGE, 0);
}

/* The number of pages that were populated as single pages. */
static u64 count_single(struct gmem_vm *g, u64 blocks)
{
	struct gmem_info i;

	gmem_read_info(g->fd, &i);
	TEST_ASSERT(i.blocks >= blocks, "%lu blocks, want %lu at least", i.blocks, blocks);
	return i.blocks - blocks;
}

/* Pages that were punched out of a block, and that no file uses. */
static u64 count_idle(void)
{
	return gmem_pool("single", -1);
}

/*
 * Leaves one page in STRIDE: no block is freed, and most of its pages are idle.
 */
static void punch_most(struct gmem_vm *g)
{
	u64 i, nr = g->size / GMEM_PAGE;

	for (i = 0; i < nr; i += STRIDE)
		gmem_punch(g->fd, (i + 1) * GMEM_PAGE, (STRIDE - 1) * GMEM_PAGE);
	gmem_assert_counts(g->fd, nr / STRIDE, 0);
}

/*
 * Refills the holes: their first pages read as zeroes, and the other pages have
 * their tags.
 */
static void refill_and_check(struct gmem_vm *g, u64 seed)
{
	u64 i;

	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, g->size);
	gmem_assert_counts(g->fd, g->size / GMEM_PAGE, 0);
	for (i = 0; i < g->size; i += STRIDE * GMEM_PAGE)
		gmem_assert_zero(g->mem + i + GMEM_PAGE, GMEM_PAGE);
	assert_tagged(g, STRIDE, seed);
}

/*
 * Runs a process that touches this many pages, and that the OOM killer selects
 * first.
 */
static void eat(u64 pages, bool may_die)
{
	int status;
	pid_t pid;
	char *mem;
	u64 i;

	pid = fork();
	if (!pid) {
		write_number("/proc/self/oom_score_adj", 1000);
		mem = kvm_mmap(pages * GMEM_PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1);
		for (i = 0; i < pages; i++)
			WRITE_ONCE(mem[i * GMEM_PAGE], 1);
		_exit(0);
	}
	TEST_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid, "no child");
	TEST_ASSERT(may_die || (WIFEXITED(status) && !WEXITSTATUS(status)),
		    "the process that needed %lu pages got status 0x%x", pages, status);
}

static void fill_host(struct _test_data_pressure *self)
{
	u64 size = vm_size();
	int i;

	for (i = 0; i < NR_VMS; i++) {
		gmem_vm_create(&self->vms[i], 1, size, self->flags);
		populate(&self->vms[i], i, self->seed + i);
	}
}

/* VMs use most of the host's memory repeatedly, and one of them is replaced. */
PRESSURE_TEST(come_and_go)
{
	u64 splits = gmem_vmstat("direct_map_level2_splits");
	u64 merges = gmem_vmstat("direct_map_level2_collapses");
	u64 size = vm_size(), single = 0, now;
	int round, i;

	for (round = 0; round < NR_ROUNDS; round++) {
		struct gmem_vm *other = &self->vms[round % NR_VMS];

		fill_host(self);
		for (i = 0; i < NR_VMS; i++)
			single += count_single(&self->vms[i], 0) - size / BLOCK;
		punch_most(other);
		refill_and_check(other, self->seed + round % NR_VMS);
		gmem_vm_destroy(other);
		gmem_vm_create(other, 1, size, self->flags);
		populate(other, (round + 1) % 3, self->seed + round % NR_VMS);
		single += count_single(other, 0) - size / BLOCK;
		for (i = 0; i < NR_VMS; i++)
			assert_tagged(&self->vms[i], 1, self->seed + i);
		for (i = 0; i < NR_VMS; i++)
			gmem_vm_destroy(&self->vms[(i + round) % NR_VMS]);
		gmem_assert_all_back();
		now = gmem_free_pages();
		TEST_ASSERT(now + SLACK > self->free, "round %d: %lu pages free, %lu before",
			    round, now, self->free);
	}
	splits = gmem_vmstat("direct_map_level2_splits") - splits;
	merges = gmem_vmstat("direct_map_level2_collapses") - merges;
	ksft_print_msg("%d times %lu MiB: %lu splits, %lu merges\n", NR_ROUNDS + 1,
		       NR_VMS * size / SZ_1M, splits, merges);
	ksft_print_msg("blocks and singles more than %lu blocks a VM: %lu\n", size / BLOCK, single);
	/*
	 * Each single page may split a mapping; the host itself may also split
	 * some.
	 */
	TEST_ASSERT(splits <= single + merges + 16, "%lu splits for %lu pages alone", splits,
		    single);
}

/* Runs a VM that fills half of the free memory, and kills it. */
static void run_and_kill(struct _test_data_pressure *self, u64 size)
{
	struct gmem_vm g;
	int pipes[2], status;
	char byte;
	pid_t pid;

	TEST_ASSERT(!pipe(pipes), "no pipe");
	pid = fork();
	if (!pid) {
		gmem_vm_create(&g, 1, size, self->flags);
		populate(&g, 0, self->seed);
		TEST_ASSERT(write(pipes[1], "x", 1) == 1, "cannot write");
		pause();
		_exit(0);
	}
	TEST_ASSERT(read(pipes[0], &byte, 1) == 1, "the VM did not start");
	kill(pid, SIGKILL);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "no child");
	close(pipes[0]);
	close(pipes[1]);
}

/*
 * The memory of a killed VM waits to be cleared: the next process or VM gets
 * it.
 */
PRESSURE_TEST(killed_then_needed)
{
	u64 size = vm_size() * 2, kills = gmem_vmstat("oom_kill");
	int i;

	for (i = 0; i < 3; i++) {
		run_and_kill(self, size);
		eat(self->free - 12 * SLACK, false);
		run_and_kill(self, size);
	}
	TEST_ASSERT_EQ(gmem_vmstat("oom_kill"), kills);
}

/*
 * The shrinker frees idle pages to a process that needs them, and the holes can
 * be refilled.
 */
PRESSURE_TEST(idle_shrinks)
{
	struct gmem_vm *g = &self->vms[1];
	u64 nr, before, after, idle, left;

	fill_host(self);
	nr = g->size / GMEM_PAGE;
	punch_most(g);
	idle = count_idle();
	before = gmem_free_pages();
	eat(before + idle / 2, false);
	left = count_idle();
	after = gmem_free_pages();
	ksft_print_msg("idle %lu, then %lu; free %lu, then %lu\n", idle, left, before, after);
	TEST_ASSERT(left + idle / 4 < idle, "%lu idle pages, %lu left", idle, left);
	TEST_ASSERT(after + SLACK > before + idle - left, "%lu pages free, then %lu, by %lu idle",
		    before, after, idle - left);
	gmem_assert_counts(g->fd, nr / STRIDE, 0);
	assert_tagged(g, STRIDE, self->seed + 1);

	refill_and_check(g, self->seed + 1);
	/* Single pages of the last block that was cut to refill the holes. */
	TEST_ASSERT(count_idle() < BLOCK_PAGES, "%lu idle pages", count_idle());
	TEST_ASSERT(count_single(g, nr / BLOCK_PAGES) >= idle - left,
		    "%lu pages alone for %lu that were given away",
		    count_single(g, nr / BLOCK_PAGES), idle - left);
}

/*
 * A process that needs most of the free and the idle memory is not killed.  The
 * kernel reserves up to 2.5 times its usual reserve for a while, so the process
 * leaves that much.
 */
PRESSURE_TEST(before_oom)
{
	u64 idle;

	fill_host(self);
	punch_most(&self->vms[1]);
	idle = count_idle();
	eat(gmem_free_pages() + idle - 3 * idle / 8, false);
	ksft_print_msg("idle %lu, then %lu\n", idle, count_idle());
}

/* Only scattered pages are available: the library populates single pages. */
PRESSURE_TEST(fragmented)
{
	struct gmem_vm *g = &self->vms[1], *late = &self->vms[NR_VMS];
	u64 idle, left, size, single;

	fill_host(self);
	punch_most(g);
	idle = count_idle();
	size = (gmem_free_pages() + idle / 8) / BLOCK_PAGES * BLOCK;
	gmem_vm_create(late, 1, size, self->flags);
	populate(late, 0, self->seed + NR_VMS);
	left = count_idle();
	single = (late->size / GMEM_PAGE) - count_single(late, 0);
	single = late->size / GMEM_PAGE - single * BLOCK_PAGES / (BLOCK_PAGES - 1);
	ksft_print_msg("%lu pages for a late VM: %lu alone; idle %lu, then %lu\n",
		       size / GMEM_PAGE, single, idle, left);
	TEST_ASSERT(left < idle, "a VM got %lu pages, and still %lu are idle", size / GMEM_PAGE,
		    left);
	TEST_ASSERT(single, "the VM got no order-0 page");
	assert_tagged(late, 1, self->seed + NR_VMS);
	assert_tagged(g, STRIDE, self->seed + 1);
	assert_tagged(&self->vms[0], 1, self->seed);
	assert_tagged(&self->vms[2], 1, self->seed + 2);
	gmem_vm_destroy(g);
	gmem_vm_destroy(late);
}

#define CGROUPS		"/tmp/cgroup-pressure"
#define GROUP		CGROUPS "/vmm"
#define LIMIT		(33UL * SZ_1M + SZ_512K)
#define LIMIT_SIZE	(32UL * BLOCK)
#define CHILD_SECONDS	90

/* Runs in the cgroup, and populates more than its limit. */
static void exceed(bool killable, u64 flags, u64 seed)
{
	struct gmem_info i;
	struct gmem_vm g;
	int r;

	/*
	 * The process has locked its own pages, which are not charged to this
	 * cgroup: the kernel would retry a fault beyond the limit for ever in a
	 * process that it cannot kill.
	 */
	TEST_ASSERT(!mlockall(MCL_CURRENT), "cannot lock the test's own pages");
	write_number(GROUP "/cgroup.procs", getpid());
	/* A process that the OOM killer cannot kill gets an error instead. */
	write_number("/proc/self/oom_score_adj", killable ? 0 : -1000);
	gmem_vm_create(&g, 1, LIMIT_SIZE, flags);
	r = fallocate(g.fd, FALLOC_FL_KEEP_SIZE, 0, g.size) ? errno : 0;
	/* At the limit, the kernel would retry a page fault for ever. */
	gmem_punch(g.fd, 0, BLOCK);
	TEST_ASSERT(r == ENOMEM, "64 MiB of %lu: errno %d", LIMIT, r);
	gmem_read_info(g.fd, &i);
	TEST_ASSERT(i.populated * GMEM_PAGE > LIMIT / 2 && i.populated * GMEM_PAGE < LIMIT,
		    "%lu pages within %lu bytes", i.populated, LIMIT);
	TEST_ASSERT(i.blocks > i.populated / BLOCK_PAGES + 1, "only %lu blocks for %lu pages",
		    i.blocks, i.populated);
	TEST_ASSERT(read_number(GROUP "/memory.current") <= LIMIT, "more than the limit");

	/*
	 * The populated memory is usable, and punched memory can be populated
	 * again.
	 */
	gmem_fill(g.mem + BLOCK, BLOCK, seed);
	gmem_assert_hidden(g.mem + BLOCK, BLOCK, seed);
	gmem_punch(g.fd, 0, g.size);
	gmem_assert_counts(g.fd, 0, 0);
	kvm_fallocate(g.fd, FALLOC_FL_KEEP_SIZE, 4 * BLOCK, 8 * BLOCK);
	gmem_assert_zero(g.mem + 4 * BLOCK, BLOCK);
	_exit(0);
}

/*
 * Return: False if the child did not end in time; then it was killed, with a
 * higher limit.
 */
static bool wait_for(pid_t pid, int *status)
{
	int i;

	for (i = 0; i < CHILD_SECONDS * 10; i++) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		usleep(100000);
	}
	kill(pid, SIGKILL);
	write_number(GROUP "/memory.max", 2 * LIMIT_SIZE);
	waitpid(pid, status, 0);
	return false;
}

PRESSURE_TEST(limit)
{
	u64 charged;
	int round, status, i;
	pid_t pid;

	mkdir(CGROUPS, 0700);
	if (mount("cgroup2", CGROUPS, "cgroup2", 0, NULL))
		SKIP(return, "no cgroup2");
	i = open_path_or_exit(CGROUPS "/cgroup.subtree_control", O_WRONLY);
	TEST_ASSERT(write(i, "+memory", 7) == 7, "no memory controller");
	close(i);

	TEST_ASSERT(!mkdir(GROUP, 0700), "cannot make %s", GROUP);
	write_number(GROUP "/memory.max", LIMIT);
	for (round = 0; round < 2 * NR_ROUNDS; round++) {
		bool killable = round % 2;

		pid = fork();
		if (!pid)
			exceed(killable, self->flags, self->seed);
		TEST_ASSERT(pid > 0 && wait_for(pid, &status), "the child does not end");
		if (killable)
			TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
				    "not killed: 0x%x", status);
		else
			TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status),
				    "the child says 0x%x", status);

		/*
		 * Each CPU has charged some memory in advance, and the kill
		 * takes time.
		 */
		for (i = 0; i < 50; i++) {
			charged = read_number(GROUP "/memory.current");
			if (charged < SZ_1M)
				break;
			usleep(100000);
		}
		ksft_print_msg("round %d: %lu bytes are still charged\n", round, charged);
		TEST_ASSERT(charged < SZ_1M, "%lu bytes stay charged", charged);
	}
	TEST_ASSERT(!rmdir(GROUP), "the group is in use");
	umount2(CGROUPS, MNT_DETACH);
}

#define HELD_BLOCKS	4UL
#define HELD_SIZE	(HELD_BLOCKS * BLOCK)
#define HELD_PAGE	(BLOCK_PAGES + 77)

/* How many pages are absent in the block with the pinned page. */
static u64 held_absent(const u64 *pfns)
{
	return gmem_count_absent(pfns + BLOCK_PAGES, BLOCK_PAGES);
}

/*
 * Does not call gmem_assert_present(), which would free single pages of the
 * pinned block.
 */
static bool others_present(void *pfns)
{
	return !gmem_count_absent(pfns, BLOCK_PAGES) &&
	       !gmem_count_absent((u64 *)pfns + 2 * BLOCK_PAGES, (HELD_BLOCKS - 2) * BLOCK_PAGES);
}

/*
 * A hole punch, a hole punch under memory pressure, and a close, while a page
 * is pinned.
 */
PRESSURE_TEST(held)
{
	struct gmem_vm *g = &self->vms[0];
	struct gmem_pin pin;
	struct gmem_info info;
	u64 *pfns, idle, absent;
	int way;

	for (way = 0; way < 3; way++) {
		gmem_vm_create(g, 1, HELD_SIZE, self->flags);
		gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, HELD_SIZE, self->seed);
		pfns = gmem_pfns(g->mem, HELD_SIZE);
		gmem_set_access(g->fd, HELD_PAGE * GMEM_PAGE, GMEM_PAGE,
				GUEST_MEMFD_ACCESS_KERNEL);
		TEST_ASSERT(!gmem_pin(&pin, GMEM_PIN_WRITE, g->mem + HELD_PAGE * GMEM_PAGE,
				      GMEM_PAGE), "cannot pin: errno %d", errno);
		gmem_assert_counts(g->fd, HELD_SIZE / GMEM_PAGE, 1);

		if (way == 2) {
			gmem_vm_close_file(g);
		} else {
			gmem_punch(g->fd, 0, HELD_SIZE);
			gmem_read_info(g->fd, &info);
			TEST_ASSERT(!info.populated && count_idle() == BLOCK_PAGES - 1,
				    "%lu pages, %lu idle while one is pinned",
				    info.populated, count_idle());
		}
		/*
		 * The pinned page is present with its contents; all other pages
		 * are cleared and absent.
		 */
		TEST_ASSERT(gmem_kernel_sees(pfns[HELD_PAGE], self->seed), "gone while it is held");
		TEST_ASSERT_EQ(gmem_scan(self->seed, NULL), 1);
		TEST_ASSERT_EQ(held_absent(pfns), BLOCK_PAGES - 1);
		gmem_wait(others_present, pfns);

		/*
		 * The shrinker may free the pages without other references, and
		 * no others.
		 */
		if (way == 1) {
			idle = gmem_free_pages();
			/*
			 * The process needs more than there is: the idle pages
			 * are freed before it is killed.
			 */
			eat(idle + BLOCK_PAGES / 2, true);
			idle = count_idle();
			absent = held_absent(pfns);
			ksft_print_msg("%lu pages idle under pressure, %lu absent\n", idle, absent);
			TEST_ASSERT(idle < BLOCK_PAGES - 1, "no page was freed");
			TEST_ASSERT_EQ(absent, idle);
			TEST_ASSERT(gmem_kernel_sees(pfns[HELD_PAGE], self->seed),
				    "a pinned page was freed");
		}
		/*
		 * The worker retries several times meanwhile, and nothing
		 * changes.
		 */
		usleep(300000);
		TEST_ASSERT_EQ(held_absent(pfns), way == 1 ? idle : BLOCK_PAGES - 1);

		gmem_unpin(&pin);
		gmem_assert_present(pfns, HELD_SIZE / GMEM_PAGE);
		gmem_assert_given_back(pfns, HELD_SIZE / GMEM_PAGE, self->seed);
		TEST_ASSERT_EQ(gmem_scan(self->seed, NULL), 0);
		if (way < 2) {
			gmem_read_info(g->fd, &info);
			TEST_ASSERT_EQ(info.populated, 0);
		}
		gmem_vm_destroy(g);
		free(pfns);
	}
}

#define SEEN_BLOCKS	2UL
#define SEEN_PAGES	(SEEN_BLOCKS * BLOCK_PAGES)
#define SEEN_SIZE	(SEEN_BLOCKS * BLOCK)
#define SEEN_ROUNDS	30

/* A thread that reads one frame after the other, in a different order. */
static struct {
	pthread_t thread;
	u64 seed;
	u64 pfns[SEEN_PAGES];
	u64 looks;
	u64 seen;
	bool stop;
} reader;

static void *read_frames(void *arg)
{
	u64 pfn, i = 0;

	__pin_task_to_cpu(pthread_self(), 1);
	while (!READ_ONCE(reader.stop)) {
		i = (i + 197) % SEEN_PAGES;
		pfn = READ_ONCE(reader.pfns[i]);
		if (!pfn)
			continue;
		if (gmem_kernel_sees(pfn, reader.seed))
			reader.seen++;
		WRITE_ONCE(reader.looks, reader.looks + 1);
	}
	return NULL;
}

static void wait_looks(u64 more)
{
	u64 until = READ_ONCE(reader.looks) + more;

	while (READ_ONCE(reader.looks) < until)
		sched_yield();
}

/*
 * Whatever way blocks are freed, no read of their frames shows their former
 * contents.
 */
PRESSURE_TEST(teardown_seen)
{
	static const struct {
		const char *name;
		/* In pages; 0: the file is closed. */
		u64 first, nr;
	} ways[] = {
		{ "close", 0, 0 },
		{ "all blocks", 0, SEEN_PAGES },
		{ "one block", 0, BLOCK_PAGES },
		{ "a part", BLOCK_PAGES / 4, BLOCK_PAGES / 2 },
		{ "parts of two", BLOCK_PAGES / 2, BLOCK_PAGES },
	};
	struct gmem_vm *g = &self->vms[0];
	u64 *pfns, looks, all = 0;
	int round;
	size_t i;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "one CPU");

	__pin_task_to_cpu(pthread_self(), 0);
	memset(&reader, 0, sizeof(reader));
	reader.seed = self->seed;
	kvm_pthread_create(&reader.thread, NULL, read_frames, NULL);
	for (round = 0; round < SEEN_ROUNDS; round++) {
		i = round % ARRAY_SIZE(ways);
		gmem_vm_create(g, 1, SEEN_SIZE, self->flags);
		gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SEEN_SIZE, self->seed);
		pfns = gmem_pfns(g->mem, SEEN_SIZE);
		memcpy(reader.pfns, pfns, sizeof(reader.pfns));
		wait_looks(SEEN_PAGES / 4);

		looks = READ_ONCE(reader.looks);
		if (ways[i].nr)
			gmem_punch(g->fd, ways[i].first * GMEM_PAGE, ways[i].nr * GMEM_PAGE);
		else
			gmem_vm_close_file(g);
		all += READ_ONCE(reader.looks) - looks;
		wait_looks(SEEN_PAGES);
		gmem_vm_destroy(g);
		wait_looks(SEEN_PAGES);
		TEST_ASSERT(!READ_ONCE(reader.seen), "%s: old data was seen %lu times",
			    ways[i].name, reader.seen);
		memset(reader.pfns, 0, sizeof(reader.pfns));
		free(pfns);
	}
	WRITE_ONCE(reader.stop, true);
	kvm_pthread_join(reader.thread, NULL);
	ksft_print_msg("%lu looks, %lu of them while blocks went: %lu saw data\n", reader.looks,
		       all, reader.seen);
	TEST_ASSERT(all > SEEN_ROUNDS, "hardly a look in time: %lu", all);
}

/* Where dumping the direct map is slow, only this test checks it. */
PRESSURE_TEST(all_back)
{
	gmem_assert_all_back();
}

int main(int argc, char **argv)
{
	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "plain memory has no blocks");
	__TEST_REQUIRE(!access(GMEM_ORDER_PARAM, W_OK), "%s is needed", GMEM_ORDER_PARAM);
	return test_harness_run(argc, argv);
}
