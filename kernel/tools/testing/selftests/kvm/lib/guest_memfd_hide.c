// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a test of guest memory outside the direct map needs before it starts and
 * checks after it: the host's features, the kernel's pool, the kernel log, and
 * that all pages are in the direct map again.  guest_memfd_hide.h documents the
 * helpers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "gmem_arch.h"
#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"

#define DEBUGFS		"/sys/kernel/debug"

/*
 * Shared by all processes of a program: how many pages of the direct map must
 * be absent after a test, and whether counting them takes so long that the
 * program does it only once.
 */
static struct {
	u64 absent;
	bool slow;
} *baseline;

bool gmem_plain(void)
{
	const char *s = getenv("GMEM_PLAIN");

	return s && *s && *s != '0';
}

u64 gmem_test_flags(void)
{
	u64 flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;

	return gmem_plain() ? flags : flags | GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
}

static char former_pool[64];
static pid_t pool_user;

static void restore_pool(void)
{
	/* A child must not restore the pool when it ends. */
	if (getpid() == pool_user)
		__gmem_set_pool(former_pool);
}

static bool pool_is_empty(void *unused)
{
	return !gmem_pool("blocks", -1);
}

/* A kernel without the pool has no parameter. */
static void disable_pool(void)
{
	int fd = open(GMEM_POOL_PARAM, O_RDONLY);

	if (fd < 0)
		return;
	TEST_ASSERT(read(fd, former_pool, sizeof(former_pool) - 1) > 0, "cannot read %s",
		    GMEM_POOL_PARAM);
	close(fd);
	pool_user = getpid();
	atexit(restore_pool);
	gmem_set_pool("0");
	gmem_wait(pool_is_empty, NULL);
	gmem_free_singles();
}

void gmem_require(void)
{
	u64 flags = gmem_test_flags();
	struct timespec start;

	setvbuf(stdout, NULL, _IOLBF, 0);

	/*
	 * If they are mounted already, the call fails with EBUSY, which is
	 * harmless.
	 */
	if (access(GMEM_PTDUMP, R_OK))
		mount("debugfs", DEBUGFS, "debugfs", 0, NULL);
	if (access(GMEM_TRACEFS "/instances", W_OK))
		mount("tracefs", GMEM_TRACEFS, "tracefs", 0, NULL);

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_GUEST_MEMFD));
	__TEST_REQUIRE((kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS) & flags) == flags,
		       "KVM lacks guest_memfd flags 0x%lx", flags);
	__TEST_REQUIRE(!access(GMEM_PTDUMP, R_OK), "%s is needed", GMEM_PTDUMP);
	__TEST_REQUIRE(!access("/proc/kcore", R_OK), "/proc/kcore is needed");
	__TEST_REQUIRE(!access("/proc/kpageflags", R_OK), "/proc/kpageflags is needed");

	disable_pool();
	baseline = kvm_mmap(sizeof(*baseline), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1);
	clock_gettime(CLOCK_MONOTONIC, &start);
	baseline->absent = gmem_absent_total();
	baseline->slow = timespec_to_ns(timespec_elapsed(start)) > NSEC_PER_SEC / 2;
}

/* The pool */

unsigned int gmem_set_block_order(unsigned int order)
{
	FILE *f = fopen(GMEM_ORDER_PARAM, "r");
	unsigned int old;

	TEST_ASSERT(f && fscanf(f, "%u", &old) == 1 && !fclose(f), "cannot read %s",
		    GMEM_ORDER_PARAM);
	f = fopen(GMEM_ORDER_PARAM, "w");
	TEST_ASSERT(f && fprintf(f, "%u", order) > 0 && !fclose(f), "cannot write %u to %s",
		    order, GMEM_ORDER_PARAM);
	return old;
}

int __gmem_set_pool(const char *value)
{
	int fd = open_path_or_exit(GMEM_POOL_PARAM, O_WRONLY), err = 0;

	if (write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		err = errno;
	close(fd);
	return err;
}

void gmem_set_pool(const char *value)
{
	int err = __gmem_set_pool(value);

	TEST_ASSERT(!err, "'%s' to %s: errno %d", value, GMEM_POOL_PARAM, err);
}

u64 gmem_pool(const char *name, int node)
{
	FILE *f = fopen(GMEM_POOL_FILE, "r");
	u64 value, sum = 0;
	char field[32];
	int at = -1;

	TEST_ASSERT(f, "cannot open %s", GMEM_POOL_FILE);
	while (fscanf(f, "%31s %lu", field, &value) == 2) {
		if (!strcmp(field, "node"))
			at = value;
		else if (!strcmp(field, name) && (node < 0 || node == at))
			sum += value;
	}
	fclose(f);
	return sum;
}

/* A worker clears and restores pages that left a file; it has 10 s. */
#define WORKER_TRIES	1000

static bool worker_tries(int *tries)
{
	usleep(10000);
	return ++*tries < WORKER_TRIES;
}

void gmem_free_singles(void)
{
	int fd, tries = 0;
	u64 nr;

	/* A kernel without the pool has no free single pages either. */
	if (gmem_plain() || access(GMEM_POOL_FILE, R_OK))
		return;
	while (gmem_pool("single", -1)) {
		fd = open_path_or_exit("/proc/sys/vm/drop_caches", O_WRONLY);
		TEST_ASSERT(write(fd, "2", 1) == 1, "cannot call the shrinkers, errno %d", errno);
		close(fd);
		/* A block without a page in use waits for a worker. */
		nr = gmem_pool("single", -1);
		TEST_ASSERT(!nr || worker_tries(&tries),
			    "the shrinkers leave %lu free single pages", nr);
	}
}

/* Before and after */

void gmem_assert_present(const u64 *pfns, size_t nr)
{
	int tries = 0;
	u64 absent;

	do {
		gmem_free_singles();
		absent = gmem_count_absent(pfns, nr);
	} while (absent && worker_tries(&tries));
	TEST_ASSERT(!absent, "%lu of %lu pages have no entry in the direct map", absent, nr);
}

void gmem_assert_given_back(const u64 *pfns, size_t nr, u64 seed)
{
	int tries = 0;
	size_t i;

	/*
	 * First wait until the pages are present, because an absent page does
	 * not show its contents.  Where counting absent pages takes long, only
	 * wait.
	 */
	if (!baseline->slow)
		gmem_assert_present(pfns, nr);
	else
		usleep(1000000);
	gmem_free_singles();
	/*
	 * Ordinary memory keeps its contents until it is allocated again.  A
	 * page that was at level KERNEL is present before a worker clears it.
	 */
	for (i = 0; i < nr && !gmem_plain(); i++) {
		while (gmem_kernel_sees(pfns[i], seed) && worker_tries(&tries))
			;
		TEST_ASSERT(!gmem_kernel_sees(pfns[i], seed),
			    "freed page %lu, frame 0x%lx, still holds guest data", i, pfns[i]);
	}
}

void gmem_kmsg_open(int *kmsg)
{
	*kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (*kmsg >= 0)
		lseek(*kmsg, 0, SEEK_END);
}

void gmem_assert_all_back(void)
{
	u64 absent, before = baseline->absent;
	int tries = 0;

	/*
	 * This does not need the shrinkers: the kernel restores all pages of a
	 * block of which no page is in use.
	 */
	do {
		absent = gmem_absent_total();
	} while (absent > before && worker_tries(&tries));

	/* Do not report the same loss in the next test. */
	baseline->absent = absent;
	TEST_ASSERT(absent == before,
		    "%lu pages of the direct map were absent before, %lu are now", before, absent);
}

void gmem_expect_lost(u64 pages)
{
	baseline->absent += pages;
}

u64 gmem_absent_before(void)
{
	return baseline->absent;
}

void gmem_assert_nothing_left(int *kmsg)
{
	static const char * const reports[] = {
		"WARNING: ", "BUG: ", "Oops", "KASAN", "general protection fault",
		"INFO: task", "possible circular", "inconsistent lock", "Bad page state",
	};
	char rec[2048], *text;
	unsigned int i;
	ssize_t r;

	if (!baseline->slow)
		gmem_assert_all_back();

	for (;;) {
		r = *kmsg < 0 ? 0 : read(*kmsg, rec, sizeof(rec) - 1);
		/*
		 * EPIPE: the kernel has overwritten records; the remaining ones
		 * may still be useful.
		 */
		if (r < 0 && errno == EPIPE)
			continue;
		if (r <= 0)
			break;
		rec[r] = 0;
		text = strchr(rec, ';') ?: rec;
		for (i = 0; i < ARRAY_SIZE(reports); i++)
			TEST_ASSERT(!strstr(text, reports[i]), "the kernel reports: %s", text);
	}
	if (*kmsg >= 0)
		close(*kmsg);
}
