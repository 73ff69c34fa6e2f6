// SPDX-License-Identifier: GPL-2.0-only
/*
 * A change of access levels whose caller is killed.
 *
 * A child changes the level of a large file that is filled and mapped, and is
 * killed at some moment after it began.  Other users of the file then find all
 * of it at the old level, or all at the new one: in the levels that the file
 * reports, in the page tables of the kernel, by what can be pinned, and by what
 * the kernel and user space read.  The trace event tells which of the two it
 * must be.  The contents are unchanged, and the next change works.  The test
 * fails unless at least one child of each kind was killed during the change.
 * Whenever it is killed, a child that changes 1 GiB is dead within 100 ms.  A
 * signal with a handler interrupts no change.
 *
 * Catches: a change that stops half way, or is undone only in part (killed: a
 * page that stays hidden, is seen, or cannot be pinned), or that a signal
 * interrupts which is not fatal (handled), and an undo or the rest of a change
 * that runs on for seconds after the signal (killed).
 *
 * The emulated host shares its CPUs with other work: after a child that lives
 * longer the next one is killed at the same moment, and three in a row fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"
#include "ucall_common.h"

#define TIMEOUT		900
/* A child is killed at this many moments, and again if it had ended before. */
#define MOMENTS		8
#define MAX_KILLS	(5 * MOMENTS)
/* This many undisturbed changes show how long one takes. */
#define TIMED		4
/*
 * How long a child may live after it was killed, and how many children in a row
 * must exceed that for the test to fail.
 */
#define LIMIT_US	100000
#define MAX_SLOW	3
/* The number of pages whose data the test looks for in the direct map. */
#define SAMPLES		16

#define NONE		GUEST_MEMFD_ACCESS_NONE
#define USER		GUEST_MEMFD_ACCESS_USER
#define KERNEL		GUEST_MEMFD_ACCESS_KERNEL

FIXTURE(interrupt) {
	int kmsg, gup;
	struct gmem_vm g;
	struct gmem_trace trace;
	u64 seed, nr;
	u64 *pfns;
	bool *begun;		/* shared with the child */
	unsigned int old_order;
};

FIXTURE_VARIANT(interrupt) {
	unsigned int order;
	size_t size;
	u32 from, to;
};

FIXTURE_VARIANT_ADD(interrupt, up) { 9, SZ_1G, USER, KERNEL };
FIXTURE_VARIANT_ADD(interrupt, down) { 9, SZ_1G, KERNEL, NONE };
FIXTURE_VARIANT_ADD(interrupt, to_none) { 9, SZ_1G, USER, NONE };
FIXTURE_VARIANT_ADD(interrupt, pages_up) { 0, SZ_64M, NONE, KERNEL };
FIXTURE_VARIANT_ADD(interrupt, pages_down) { 0, SZ_64M, KERNEL, USER };

/* One word of each page, at an offset that depends on the page. */
static u64 *stamp_of(void *mem, u64 page)
{
	return (u64 *)(mem + page * GMEM_PAGE) + page % GMEM_WORDS;
}

static u64 guest_check_stamps(u64 gva, u64 nr, u64 seed)
{
	u64 i;

	for (i = 0; i < nr; i++)
		GUEST_ASSERT_EQ(*stamp_of((void *)gva, i), gmem_word(seed, i));
	return 0;
}

FIXTURE_SETUP(interrupt)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	gmem_kmsg_open(&self->kmsg);
	self->gup = open_path_or_exit(GUP_TEST_FILE, O_RDWR);
	self->seed = gmem_new_seed();
	self->nr = variant->size / GMEM_PAGE;
	self->begun = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	self->old_order = gmem_set_block_order(variant->order);
	gmem_vm_create(g, 1, variant->size, gmem_test_flags());
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, variant->size);
	for (i = 0; i < self->nr; i++)
		WRITE_ONCE(*stamp_of(g->mem, i), gmem_word(self->seed, i));
	self->pfns = gmem_pfns(g->mem, variant->size);
	gmem_trace_start_event(&self->trace, "guest_memfd_set_access");
}

FIXTURE_TEARDOWN(interrupt)
{
	gmem_trace_stop(&self->trace);
	gmem_guest_call(self->g.vcpus[0], guest_check_stamps, GMEM_GVA, self->nr, self->seed);
	gmem_vm_destroy(&self->g);
	gmem_assert_present(self->pfns, self->nr);
	gmem_set_block_order(self->old_order);
	gmem_assert_nothing_left(&self->kmsg);
	kvm_close(self->gup);
}

#define INTERRUPT_TEST(name) TEST_F_TIMEOUT(interrupt, name, TIMEOUT)

static void set(struct _test_data_interrupt *self, u32 level)
{
	gmem_set_access(self->g.fd, 0, self->g.size, level);
}

/* Reads all pages, which also maps them again. */
static void assert_stamps(struct _test_data_interrupt *self)
{
	u64 i, v;

	for (i = 0; i < self->nr; i++) {
		v = READ_ONCE(*stamp_of(self->g.mem, i));
		TEST_ASSERT(v == gmem_word(self->seed, i), "page %lu holds 0x%lx", i, v);
	}
}

/* Assert that all of the file is at the level, by every way to observe it. */
static void assert_all_at(struct _test_data_interrupt *self, u32 level)
{
	bool seen = level == KERNEL;
	struct gmem_info info;
	u64 page[GMEM_WORDS], i, got, size;

	TEST_ASSERT_EQ(gmem_get_access(self->g.fd, 0, &size), level);
	TEST_ASSERT_EQ(size, self->g.size);
	gmem_read_info(self->g.fd, &info);
	TEST_ASSERT_EQ(info.level_none, level == NONE ? self->nr : 0);
	TEST_ASSERT_EQ(info.level_user, level == USER ? self->nr : 0);
	TEST_ASSERT_EQ(info.level_kernel, level == KERNEL ? self->nr : 0);
	gmem_assert_counts(self->g.fd, self->nr, seen ? self->nr : 0);
	TEST_ASSERT_EQ(gmem_count_absent(self->pfns, self->nr), seen ? 0 : self->nr);

	for (i = 0; i < self->nr; i += self->nr / SAMPLES) {
		memset(page, 0, sizeof(page));
		gmem_kcore_read(self->pfns[i], page);
		TEST_ASSERT((page[i % GMEM_WORDS] == gmem_word(self->seed, i)) == seen,
			    "at level %u the kernel sees %s of page %lu", level,
			    seen ? "nothing" : "data", i);
	}
	got = gmem_gup(self->gup, PIN_FAST_BENCHMARK, self->g.mem, self->g.size, FOLL_WRITE);
	TEST_ASSERT(got == (seen ? self->g.size : 0), "0x%lx bytes of level %u can be pinned", got,
		    level);
}

/* The child runs this. */
static int change(int fd, u64 size, u32 level)
{
	return __gmem_set_access(fd, 0, size, level, NULL);
}

/*
 * Return: The result in the trace of a change whose caller was killed after
 * @delay ns: 0, -EINTR, or 1 if the change had not begun.  *@us is how long the
 * caller lived after the signal.
 */
static int killed_change(struct _test_data_interrupt *self, u32 level, u64 delay, u64 *us)
{
	u64 done = gmem_trace_count(&self->trace, "guest_memfd_set_access", "error=0");
	u64 interrupted = gmem_trace_count(&self->trace, "guest_memfd_set_access", "error=-4");
	struct timespec began, killed;
	int status;
	pid_t pid;

	WRITE_ONCE(*self->begun, false);
	pid = fork();
	if (!pid) {
		WRITE_ONCE(*self->begun, true);
		_exit(!!change(self->g.fd, self->g.size, level));
	}
	TEST_ASSERT(pid > 0, "fork() failed");
	while (!READ_ONCE(*self->begun))
		sched_yield();
	/* A sleep would take longer than some changes. */
	clock_gettime(CLOCK_MONOTONIC, &began);
	while (timespec_to_ns(timespec_elapsed(began)) < (s64)delay)
		sched_yield();
	clock_gettime(CLOCK_MONOTONIC, &killed);
	kill(pid, SIGKILL);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");
	*us = timespec_to_ns(timespec_elapsed(killed)) / 1000;
	TEST_ASSERT((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
		    (WIFEXITED(status) && !WEXITSTATUS(status)), "the child's status is 0x%x",
		    status);

	done = gmem_trace_count(&self->trace, "guest_memfd_set_access", "error=0") - done;
	interrupted = gmem_trace_count(&self->trace, "guest_memfd_set_access", "error=-4") -
		      interrupted;
	TEST_ASSERT(done + interrupted <= 1, "%lu changes done, %lu interrupted", done,
		    interrupted);
	if (interrupted)
		return -EINTR;
	return done ? 0 : 1;
}

/* Set all of the file to @from, and map it as far as the level allows. */
static void begin_at(struct _test_data_interrupt *self, u32 from)
{
	set(self, USER);
	assert_stamps(self);
	set(self, from);
}

/*
 * Returns the shortest of several times: the first change takes several times
 * as long.
 */
static u64 time_of_change(struct _test_data_interrupt *self, u32 from, u32 to)
{
	u64 ns, shortest = ~0ULL;
	struct timespec start;
	unsigned int i;

	for (i = 0; i < TIMED; i++) {
		begin_at(self, from);
		clock_gettime(CLOCK_MONOTONIC, &start);
		set(self, to);
		ns = timespec_to_ns(timespec_elapsed(start));
		shortest = min(shortest, ns);
	}
	return shortest;
}

INTERRUPT_TEST(killed)
{
	unsigned int i, early = 0, done = 0, interrupted = 0, slow = 0;
	u64 ns, delay, us, longest = 0;
	int r;

	begin_at(self, variant->from);
	assert_all_at(self, variant->from);
	ns = time_of_change(self, variant->from, variant->to);
	assert_all_at(self, variant->to);

	for (i = 0; i < MAX_KILLS && (i < MOMENTS || !interrupted); i++) {
		begin_at(self, variant->from);
		/* Kill the child at different moments in each round. */
		delay = ns * (i % MOMENTS) / MOMENTS + ns * (i / MOMENTS) / MAX_KILLS;
		r = killed_change(self, variant->to, delay, &us);
		early += r == 1;
		done += !r;
		interrupted += r == -EINTR;
		assert_all_at(self, r ? variant->from : variant->to);
		/* An undisturbed change still works. */
		set(self, variant->to);
		assert_all_at(self, variant->to);
		if (us < LIMIT_US) {
			longest = max(longest, us);
			slow = 0;
		} else {
			TEST_ASSERT(++slow < MAX_SLOW, "the child died after %lu us", us);
			i--;
		}
	}
	begin_at(self, variant->from);
	ksft_print_msg("a change takes %lu us; %u callers killed: %u before, %u in, %u after it\n",
		       ns / 1000, i, early, interrupted, done);
	ksft_print_msg("each was dead within %lu us\n", longest);
	TEST_ASSERT(interrupted, "no child was killed while the level changed: nothing is proved");
}

static volatile sig_atomic_t nr_signals;

static void take_signal(int signum)
{
	nr_signals++;
}

INTERRUPT_TEST(handled)
{
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = {};
	struct sigaction sa = { .sa_handler = take_signal };
	int i;

	begin_at(self, variant->from);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (i = 0; i < 3; i++) {
		set(self, variant->to);
		set(self, variant->from);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	TEST_ASSERT(nr_signals, "no signal");
	assert_all_at(self, variant->from);
	begin_at(self, variant->from);
}

int main(int argc, char *argv[])
{
	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "plain memory has no levels to tell apart");
	__TEST_REQUIRE(!access(GUP_TEST_FILE, R_OK), "%s is needed", GUP_TEST_FILE);
	return test_harness_run(argc, argv);
}
