// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation on the way to a hidden page fails once.
 *
 * The kernel's fault injection makes the 1st, 2nd, 3rd... allocation of one
 * operation fail, until the operation completes without a failure: fallocate(),
 * MADV_POPULATE_WRITE and a plain touch of a page, KVM_PRE_FAULT_MEMORY and a
 * guest's access, turning a kvm-clock on, KVM's first reference to steal time
 * at NONE, and changing the access level of a range.  Each failure must be a
 * clean error that leaves the file's counters as they were and hides no page
 * outside the file, and the next attempt must succeed.  One of the allocations
 * is the page table for splitting a large mapping of the direct map.
 *
 * Catches: a page that stays hidden or charged, or that an error path leaks
 * (absent pages, hide and restore events, free memory), a partial state at
 * which the next attempt fails, a clock that never starts, a vCPU that runs
 * although its guest sees it as preempted.
 */
#include <asm/kvm_para.h>
#include <asm/pvclock-abi.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define TIMEOUT		600

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define MAKE_IT_FAIL	"/proc/thread-self/make-it-fail"
#define FAIL_DIR	"/sys/kernel/debug/"

/* More than the allocations of any operation here. */
#define MAX_NTH		100

/* Each operation needs its own page tables, so pages are this far apart. */
#define STEP		SZ_2M
#define NR_STEPS	12UL

/*
 * The number of splits of large mappings to test, and of pages to use for them.
 */
#define WANT_SPLITS	3
#define MAX_PAGES	(SZ_64M / GMEM_PAGE)

FIXTURE(fail) {
	int kmsg;
	int nth_fd;
	int fail_fd;
	u64 seed;
	struct gmem_vm g;
	struct gmem_trace trace;
	unsigned int errors;
	unsigned int tolerated;
	unsigned int deepest;
	unsigned int old_order;
	bool at_kernel;		/* populated pages have the level's reference */
};

static void set_attr(const char *dir, const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), FAIL_DIR "%s/%s", dir, name);
	fd = open_path_or_exit(path, O_WRONLY);
	TEST_ASSERT(write(fd, value, strlen(value)) == (ssize_t)strlen(value),
		    "cannot write '%s' to %s", value, path);
	close(fd);
}

FIXTURE_SETUP(fail)
{
	/* Most cases test single pages. */
	self->old_order = gmem_set_block_order(0);
	set_attr("failslab", "ignore-gfp-wait", "N");
	set_attr("failslab", "verbose", "0");
	set_attr("fail_page_alloc", "ignore-gfp-wait", "N");
	set_attr("fail_page_alloc", "ignore-gfp-highmem", "N");
	set_attr("fail_page_alloc", "min-order", "0");
	set_attr("fail_page_alloc", "verbose", "0");
	set_attr("fail_page_alloc", "task-filter", "Y");
	set_attr("fail_page_alloc", "times", "-1");
	set_attr("fail_page_alloc", "probability", "100");
	self->nth_fd = open_path_or_exit(FAIL_NTH, O_RDWR);
	self->fail_fd = open_path_or_exit(MAKE_IT_FAIL, O_WRONLY);
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	gmem_trace_start(&self->trace);
}

FIXTURE_TEARDOWN(fail)
{
	gmem_vm_destroy(&self->g);
	/* A worker clears and restores the pages. */
	gmem_assert_all_back();
	TEST_ASSERT_EQ(gmem_trace_pages(&self->trace, "guest_memfd_hide", NULL, 0),
		       gmem_trace_pages(&self->trace, "guest_memfd_restore", NULL, 0));
	TEST_ASSERT_EQ(gmem_trace_pages(&self->trace, "guest_memfd_get", NULL, 0),
		       gmem_trace_pages(&self->trace, "guest_memfd_put", NULL, 0));
	gmem_trace_stop(&self->trace);
	close(self->nth_fd);
	close(self->fail_fd);
	gmem_set_block_order(self->old_order);
	ksft_print_msg("%u failures gave an error, %u did not matter, the %uth was the last\n",
		       self->errors, self->tolerated, self->deepest);
	gmem_assert_all_back();
	gmem_assert_nothing_left(&self->kmsg);
}

#define FAIL_TEST(name) TEST_F_TIMEOUT(fail, name, TIMEOUT)

static void inject(int nth_fd, unsigned int nth)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%u", nth);

	TEST_ASSERT(pwrite(nth_fd, buf, len, 0) == len, "cannot set %s to %u", FAIL_NTH, nth);
}

/* Has the failure been injected?  Also disables the injection. */
static bool injected(int nth_fd)
{
	char buf[16] = "";

	TEST_ASSERT(pread(nth_fd, buf, sizeof(buf) - 1, 0) > 0, "cannot read %s", FAIL_NTH);
	inject(nth_fd, 0);
	return !strtoul(buf, NULL, 10);
}

/*
 * Make each allocation of pages by this thread fail, or none.  While they fail,
 * the test may make only calls that return the failure to it: the kernel
 * retries a page fault of the process for ever if it gets no page, and printing
 * an assertion faults too.  open() sometimes allocates memory, so the fixture
 * opened the descriptor.
 */
static void fail_pages(struct _test_data_fail *self, bool fail)
{
	ssize_t r = pwrite(self->fail_fd, fail ? "1" : "0", 1, 0);

	TEST_ASSERT(r == 1, "cannot write to " MAKE_IT_FAIL ": errno %d", errno);
}

typedef int (*fail_op)(struct _test_data_fail *self, u64 page);

/*
 * Calls @op(@page) with the 1st, 2nd, ... allocation failing until none does.
 * @op returns 0, or -1 with ENOMEM in errno.  @page is not in the file before
 * and after a failure, and is in the end.  If the operation succeeds despite a
 * failure, the page is punched before the next one.  @populated is the number
 * of other pages of the file.
 * Return: The number of failures that caused an error.
 */
static unsigned int fail_each(struct _test_data_fail *self, u64 page, u64 populated, fail_op op)
{
	unsigned int nth, errors = 0;
	bool fired;
	int r, err;

	for (nth = 1; nth <= MAX_NTH; nth++) {
		inject(self->nth_fd, nth);
		r = op(self, page);
		err = errno;
		fired = injected(self->nth_fd);
		TEST_ASSERT(!r || (r == -1 && err == ENOMEM && fired),
			    "allocation %u: result %d, errno %d, injected %d", nth, r, err,
			    fired);
		gmem_assert_counts(self->g.fd, populated + !r,
				   self->at_kernel ? populated + !r : 0);
		if (r) {
			errors++;
			continue;
		}
		if (!fired)
			break;
		self->tolerated++;
		gmem_punch(self->g.fd, page * GMEM_PAGE, GMEM_PAGE);
	}
	TEST_ASSERT(nth <= MAX_NTH, "no end of allocations");
	self->errors += errors;
	self->deepest = max_t(unsigned int, self->deepest, nth - 1);
	return errors;
}

static int op_fallocate(struct _test_data_fail *self, u64 page)
{
	return fallocate(self->g.fd, FALLOC_FL_KEEP_SIZE, page * GMEM_PAGE, GMEM_PAGE);
}

static int op_populate(struct _test_data_fail *self, u64 page)
{
	return madvise(self->g.mem + page * GMEM_PAGE, GMEM_PAGE, MADV_POPULATE_WRITE);
}

static int op_pre_fault(struct _test_data_fail *self, u64 page)
{
	struct kvm_pre_fault_memory range = {
		.gpa = GMEM_GPA + page * GMEM_PAGE,
		.size = GMEM_PAGE,
	};

	return __vcpu_ioctl(self->g.vcpus[0], KVM_PRE_FAULT_MEMORY, &range);
}

/*
 * Only KVM_RUN: _vcpu_run() and get_ucall() make further calls, which may fail
 * too.
 */
static int run_only(struct kvm_vcpu *vcpu)
{
	int r;

	do {
		r = __vcpu_run(vcpu);
	} while (r == -1 && errno == EINTR);
	return r;
}

static int op_guest_fill(struct _test_data_fail *self, u64 page)
{
	struct kvm_vcpu *vcpu = self->g.vcpus[0];
	int r;

	gmem_guest_post(vcpu, gmem_guest_fill, GMEM_GVA + page * GMEM_PAGE, GMEM_PAGE,
			self->seed);
	r = run_only(vcpu);
	if (!r)
		TEST_ASSERT_EQ(vcpu->run->exit_reason, UCALL_EXIT_REASON);
	return r;
}

static u64 splits(void)
{
	return gmem_vmstat("direct_map_level2_splits") + gmem_vmstat("direct_map_level3_splits");
}

/*
 * Populate page after page, until large mappings of the direct map were split.
 */
FAIL_TEST(fallocate)
{
	unsigned int errors, plain = 0, most = 0, split = 0;
	struct gmem_vm *g = &self->g;
	u64 before, page;

	gmem_vm_create(g, 1, MAX_PAGES * GMEM_PAGE, gmem_test_flags());
	for (page = 0; page < MAX_PAGES && split < WANT_SPLITS; page++) {
		before = splits();
		errors = fail_each(self, page, page, op_fallocate);
		TEST_ASSERT(errors, "not even the page itself was allocated");
		if (splits() == before) {
			plain = max_t(unsigned int, plain, errors);
			continue;
		}
		split++;
		most = max_t(unsigned int, most, errors);
	}
	ksft_print_msg("%lu pages, up to %u failures of one; %u splits, up to %u failures\n",
		       page, plain, split, most);
	TEST_ASSERT(split, "no page of %lu needed a split", page);
	TEST_ASSERT(most > 1, "a split never failed");
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before() + page);
	gmem_assert_zero(g->mem, 16 * GMEM_PAGE);
	gmem_fill(g->mem, 16 * GMEM_PAGE, self->seed);
	gmem_assert_hidden(g->mem, 16 * GMEM_PAGE, self->seed);
}

/*
 * If a block cannot be allocated, charged, hidden or inserted into the file,
 * the library populates a single page or, at worst, only some of its pages.  In
 * a range that was @used before, the structures for the block exist, and its
 * memory is the first allocation; otherwise a varying number of other
 * allocations precede it, so the test may not hit it.
 * Return: How many times a single page was populated.
 */
static unsigned int fail_each_block(struct _test_data_fail *self, bool used)
{
	unsigned int nth, alone = 0, part = 0;
	struct gmem_vm *g = &self->g;
	struct gmem_info info;
	bool fired = true;
	u64 at, page, pages;
	int r;

	for (nth = 1; fired; nth++) {
		TEST_ASSERT(nth <= MAX_NTH / 2, "no end of allocations");
		at = (nth - 1 + (used ? MAX_NTH / 2 : 0)) * STEP;
		page = at / GMEM_PAGE + 5;
		if (used) {
			TEST_ASSERT_EQ(op_fallocate(self, page), 0);
			gmem_punch(g->fd, at, STEP);
		}
		inject(self->nth_fd, nth);
		r = op_fallocate(self, page);
		fired = injected(self->nth_fd);
		TEST_ASSERT(!r || (errno == ENOMEM && fired), "allocation %u: result %d", nth, r);
		gmem_read_info(g->fd, &info);
		pages = info.populated;
		TEST_ASSERT(r ? !pages : pages, "allocation %u: result %d, %lu pages", nth, r,
			    pages);
		TEST_ASSERT(fired || pages == STEP / GMEM_PAGE, "%lu pages", pages);
		self->errors += !!r;
		alone += pages == 1;
		part += pages > 1 && pages < STEP / GMEM_PAGE;

		gmem_assert_zero(g->mem + at, STEP);
		gmem_fill(g->mem + at, STEP, self->seed);
		gmem_assert_hidden(g->mem + at + 4 * GMEM_PAGE, 4 * GMEM_PAGE, self->seed);
		gmem_punch(g->fd, at, STEP);
		gmem_assert_counts(g->fd, 0, 0);
	}
	self->deepest = max_t(unsigned int, self->deepest, nth - 2);
	ksft_print_msg("%u times a page alone, %u times a part of the block\n", alone, part);
	return alone;
}

FAIL_TEST(block)
{
	gmem_set_block_order(9);
	gmem_vm_create(&self->g, 1, MAX_NTH * STEP, gmem_test_flags());
	fail_each_block(self, false);
	TEST_ASSERT(fail_each_block(self, true), "a block never failed");
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before());
}

FAIL_TEST(populate)
{
	struct gmem_vm *g = &self->g;
	u64 i, page;

	gmem_vm_create(g, 1, NR_STEPS * STEP, gmem_test_flags());
	for (i = 0; i < NR_STEPS; i++) {
		page = i * STEP / GMEM_PAGE;
		TEST_ASSERT(fail_each(self, page, i, op_populate), "no failure of page %lu", i);
		gmem_assert_zero(g->mem + page * GMEM_PAGE, GMEM_PAGE);
		gmem_fill(g->mem + page * GMEM_PAGE, GMEM_PAGE, self->seed);
		gmem_assert_hidden(g->mem + page * GMEM_PAGE, GMEM_PAGE, self->seed);
	}
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before() + NR_STEPS);
}

/* The kernel retries a touch itself after an allocation has failed. */
FAIL_TEST(touch)
{
	struct gmem_vm *g = &self->g;
	unsigned int nth, populated;
	bool fired = true;
	char *at;

	gmem_vm_create(g, 1, MAX_NTH * STEP, gmem_test_flags());
	for (nth = 1; fired; nth++) {
		TEST_ASSERT(nth <= MAX_NTH, "no end of allocations");
		populated = nth;
		at = g->mem + (nth - 1) * STEP;
		inject(self->nth_fd, nth);
		WRITE_ONCE(*(u64 *)at, 0);
		fired = injected(self->nth_fd);
		self->tolerated += fired;
		gmem_assert_counts(g->fd, populated, 0);
		gmem_assert_zero(at, GMEM_PAGE);
		gmem_fill(at, GMEM_PAGE, self->seed);
		gmem_assert_hidden(at, GMEM_PAGE, self->seed);
	}
	self->deepest = nth - 2;
	TEST_ASSERT(nth > 2, "a touch allocated nothing");
}

FAIL_TEST(pre_fault)
{
	struct gmem_vm *g = &self->g;
	u64 i, page;

	if (!kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY))
		SKIP(return, "no KVM_PRE_FAULT_MEMORY");

	gmem_vm_create(g, 1, NR_STEPS * STEP, gmem_test_flags());
	/* Make the allocations of the first entry into the guest in advance. */
	gmem_guest_call(g->vcpus[0], gmem_guest_nop, 0, 0, 0);
	for (i = 0; i < NR_STEPS; i++) {
		page = i * STEP / GMEM_PAGE;
		TEST_ASSERT(fail_each(self, page, i, op_pre_fault), "no failure of page %lu", i);
		gmem_guest_call(g->vcpus[0], gmem_guest_check_zero, GMEM_GVA + i * STEP,
				GMEM_PAGE, 0);
		gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA + i * STEP, GMEM_PAGE,
				self->seed);
		gmem_assert_hidden(g->mem + i * STEP, GMEM_PAGE, self->seed);
	}
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before() + NR_STEPS);
}

FAIL_TEST(guest_access)
{
	struct gmem_vm *g = &self->g;
	u64 i, page;

	gmem_vm_create(g, 1, NR_STEPS * STEP, gmem_test_flags());
	gmem_guest_call(g->vcpus[0], gmem_guest_nop, 0, 0, 0);
	for (i = 0; i < NR_STEPS; i++) {
		page = i * STEP / GMEM_PAGE;
		TEST_ASSERT(fail_each(self, page, i, op_guest_fill), "no failure of page %lu", i);
		gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA + i * STEP, GMEM_PAGE,
				self->seed);
		gmem_assert_hidden(g->mem + i * STEP, GMEM_PAGE, self->seed);
	}
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before() + NR_STEPS);
}

static u64 guest_clock_on(u64 gpa, u64 b, u64 c)
{
	return wrmsr_safe(MSR_KVM_SYSTEM_TIME_NEW, gpa | KVM_MSR_ENABLED);
}

static u64 guest_clock_off(u64 b, u64 c, u64 d)
{
	return wrmsr_safe(MSR_KVM_SYSTEM_TIME_NEW, 0);
}

static u64 guest_clock_runs(u64 gva, u64 b, u64 c)
{
	struct pvclock_vcpu_time_info *pvti = (void *)gva;
	u32 version = READ_ONCE(pvti->version);

	return version && !(version & 1) && READ_ONCE(pvti->tsc_to_system_mul);
}

/* The page is absent, so KVM itself allocates it. */
FAIL_TEST(clock)
{
	struct gmem_vm *g = &self->g;
	bool fired = true, runs;
	unsigned int nth, tries, lost = 0;
	struct gmem_info info;
	struct ucall uc;
	int r;

	gmem_vm_create(g, 1, NR_STEPS * GMEM_PAGE, gmem_test_flags());
	gmem_guest_call(g->vcpus[0], gmem_guest_nop, 0, 0, 0);
	for (nth = 1; fired; nth++) {
		TEST_ASSERT(nth <= MAX_NTH, "no end of allocations");
		gmem_guest_post(g->vcpus[0], guest_clock_on, GMEM_GPA, 0, 0);
		inject(self->nth_fd, nth);
		r = run_only(g->vcpus[0]);
		fired = injected(self->nth_fd);
		TEST_ASSERT(!r || (r == -1 && errno == ENOMEM && fired),
			    "allocation %u: KVM_RUN gives %d, errno %d", nth, r, errno);
		self->errors += !!r;
		self->tolerated += !r && fired;
		gmem_read_info(g->fd, &info);
		TEST_ASSERT(info.populated <= 1 && info.referenced <= info.populated &&
			    info.hidden == info.populated - info.referenced,
			    "allocation %u: %lu populated, %lu referenced, %lu hidden", nth,
			    info.populated, info.referenced, info.hidden);

		/* Complete the interrupted run: the MSR write never fails. */
		if (r)
			vcpu_run(g->vcpus[0]);
		TEST_ASSERT_EQ(get_ucall(g->vcpus[0], &uc), UCALL_SYNC);
		TEST_ASSERT(!uc.args[0], "allocation %u: the MSR write faults", nth);

		/*
		 * KVM writes the clock by itself, at the latest when the guest
		 * sets it again.
		 */
		for (tries = 0, runs = false; !runs && tries < 3; tries++) {
			if (tries)
				TEST_ASSERT(!gmem_guest_call(g->vcpus[0], guest_clock_on,
							     GMEM_GPA, 0, 0), "faults again");
			runs = gmem_guest_call(g->vcpus[0], guest_clock_runs, GMEM_GVA, 0, 0);
			lost += !runs;
		}
		TEST_ASSERT(runs, "allocation %u: the clock never starts", nth);
		gmem_assert_counts(g->fd, 1, 1);
		TEST_ASSERT(!gmem_guest_call(g->vcpus[0], guest_clock_off, 0, 0, 0), "off faults");
		gmem_assert_counts(g->fd, 1, 0);
		gmem_punch(g->fd, 0, GMEM_PAGE);
		gmem_assert_counts(g->fd, 0, 0);
	}
	self->deepest = nth - 2;
	ksft_print_msg("%u clocks had to be set again\n", lost);
	TEST_ASSERT(nth > 2, "a clock allocated nothing");
}

static u64 guest_steal_on(u64 gpa, u64 b, u64 c)
{
	return wrmsr_safe(MSR_KVM_STEAL_TIME, gpa | KVM_MSR_ENABLED);
}

static u64 guest_preempted(u64 gva, u64 b, u64 c)
{
	return READ_ONCE(((struct kvm_steal_time *)gva)->preempted);
}

/*
 * The mark of a vCPU that was preempted while KVM accessed the structure by the
 * user address.  The guest delegates flushes to KVM as long as it sees the
 * mark, so KVM must clear it before the vCPU runs, although KVM cannot get a
 * reference at NONE without memory.
 */
FAIL_TEST(preempted)
{
	struct gmem_vm *g = &self->g;
	struct kvm_steal_time *st;
	struct gmem_info info;
	struct ucall uc;
	int r;

	gmem_set_block_order(ilog2(SZ_2M / GMEM_PAGE));
	gmem_vm_create(g, 1, SZ_2M, gmem_test_flags());
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, g->size);
	st = (void *)g->mem;
	TEST_ASSERT(!gmem_guest_call(g->vcpus[0], guest_steal_on, GMEM_GPA, 0, 0),
		    "the MSR write faults");

	/*
	 * Run the same calls as below, so that the process has mapped every
	 * page and page table that they use: the kernel would retry a failing
	 * fault for ever.
	 */
	gmem_guest_post(g->vcpus[0], guest_preempted, GMEM_GVA, 0, 0);
	fail_pages(self, false);
	TEST_ASSERT(!run_only(g->vcpus[0]), "KVM_RUN: errno %d", errno);
	fail_pages(self, false);

	WRITE_ONCE(st->preempted, KVM_VCPU_PREEMPTED | KVM_VCPU_FLUSH_TLB);
	gmem_set_access(g->fd, 0, g->size, GUEST_MEMFD_ACCESS_NONE);

	/* KVM tries twice, so make every allocation fail. */
	gmem_guest_post(g->vcpus[0], guest_preempted, GMEM_GVA, 0, 0);
	fail_pages(self, true);
	r = run_only(g->vcpus[0]);
	fail_pages(self, false);
	TEST_ASSERT(!r, "KVM_RUN: errno %d", errno);
	gmem_read_info(g->fd, &info);
	TEST_ASSERT(!info.referenced, "KVM got its reference");
	TEST_ASSERT_EQ(get_ucall(g->vcpus[0], &uc), UCALL_SYNC);
	TEST_ASSERT(!uc.args[0], "the guest runs and is marked preempted (%lu)", uc.args[0]);

	/* With memory KVM gets the reference. */
	TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[0], guest_preempted, GMEM_GVA, 0, 0), 0);
	gmem_assert_counts(g->fd, g->size / GMEM_PAGE, 1);
}

#define BLOCK_PAGES	(SZ_2M / GMEM_PAGE)
#define TWO_BLOCKS	(2 * BLOCK_PAGES)

/*
 * The kernel can read @nr pages from @page on as @level allows, and the others
 * as @old allows.
 */
static void assert_visible(struct _test_data_fail *self, const u64 *pfns, u64 page, u64 nr,
			   u32 level, u32 old)
{
	u64 i, all = self->g.size / GMEM_PAGE, hidden = 0;
	bool visible;

	for (i = 0; i < all; i++) {
		visible = (i >= page && i < page + nr ? level : old) == GUEST_MEMFD_ACCESS_KERNEL;
		TEST_ASSERT(gmem_kernel_sees(pfns[i], self->seed) == visible,
			    "page %lu is %svisible", i, visible ? "not " : "");
		hidden += !visible;
	}
	/*
	 * Count only once, because dumping page tables is slow with fault
	 * injection.
	 */
	TEST_ASSERT_EQ(gmem_count_absent(pfns, all), hidden);
}

/*
 * Changes @nr pages from @page on from @old to @level, each time in a newly
 * populated file, with the 1st, 2nd, ... allocation failing until none does:
 * all of the range must be at one of the two levels.
 * Return: The number of failures that caused an error.
 */
static unsigned int fail_each_change(struct _test_data_fail *self, u64 page, u64 nr, u32 old,
				     u32 level)
{
	u64 at = page * GMEM_PAGE, size = nr * GMEM_PAGE, run, *pfns;
	unsigned int nth, errors = 0;
	struct gmem_vm *g = &self->g;
	bool fired = true;
	int r, err;
	u32 now;

	for (nth = 1; fired; nth++) {
		TEST_ASSERT(nth <= MAX_NTH, "no end of allocations");
		gmem_set_access(g->fd, 0, g->size, GUEST_MEMFD_ACCESS_USER);
		gmem_fill(g->mem, g->size, self->seed);
		pfns = gmem_pfns(g->mem, g->size);
		gmem_set_access(g->fd, 0, g->size, old);

		inject(self->nth_fd, nth);
		r = __gmem_set_access(g->fd, at, size, level, NULL);
		err = errno;
		fired = injected(self->nth_fd);
		TEST_ASSERT(!r || (r == -1 && err == ENOMEM && fired),
			    "allocation %u: result %d, errno %d, injected %d", nth, r, err, fired);
		errors += !!r;
		self->tolerated += !r && fired;

		now = r ? old : level;
		TEST_ASSERT_EQ(gmem_get_access(g->fd, at, &run), now);
		TEST_ASSERT_EQ(run, r ? g->size - at : size);
		assert_visible(self, pfns, page, nr, now, old);
		gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, g->size, self->seed);
		/*
		 * Free the split blocks, so that the next change must split
		 * again.
		 */
		gmem_punch(g->fd, 0, g->size);
		gmem_assert_given_back(pfns, g->size / GMEM_PAGE, self->seed);
		free(pfns);
	}
	self->errors += errors;
	self->deepest = max_t(unsigned int, self->deepest, nth - 2);
	ksft_print_msg("pages %lu+%lu from %u to %u: %u errors\n", page, nr, old, level, errors);
	return errors;
}

static const struct {
	u64 page, nr;
	u32 old, level;
	/* The number of splits of blocks, each of which can fail. */
	unsigned int splits;
} changes[] = {
	{ 10, 10, GUEST_MEMFD_ACCESS_USER, GUEST_MEMFD_ACCESS_KERNEL, 1 },
	{ 10, 10, GUEST_MEMFD_ACCESS_KERNEL, GUEST_MEMFD_ACCESS_NONE, 1 },
	{ 10, 1, GUEST_MEMFD_ACCESS_KERNEL, GUEST_MEMFD_ACCESS_USER, 1 },
	{ 10, BLOCK_PAGES, GUEST_MEMFD_ACCESS_NONE, GUEST_MEMFD_ACCESS_KERNEL, 2 },
	{ 10, BLOCK_PAGES, GUEST_MEMFD_ACCESS_KERNEL, GUEST_MEMFD_ACCESS_USER, 2 },
	{ 1, TWO_BLOCKS - 2, GUEST_MEMFD_ACCESS_KERNEL, GUEST_MEMFD_ACCESS_NONE, 2 },
};

/* Changes of parts of blocks, which split the blocks. */
FAIL_TEST(change_blocks)
{
	unsigned int i, errors;

	gmem_set_block_order(9);
	gmem_vm_create(&self->g, 1, TWO_BLOCKS * GMEM_PAGE, gmem_test_flags());
	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		errors = fail_each_change(self, changes[i].page, changes[i].nr, changes[i].old,
					  changes[i].level);
		TEST_ASSERT(errors >= changes[i].splits, "change %u: %u errors", i, errors);
	}
}

FAIL_TEST(change_pages)
{
	unsigned int i;

	gmem_vm_create(&self->g, 1, 32 * GMEM_PAGE, gmem_test_flags());
	for (i = 0; changes[i].page + changes[i].nr <= 32; i++)
		TEST_ASSERT(fail_each_change(self, changes[i].page, changes[i].nr,
					     changes[i].old, changes[i].level),
			    "change %u never failed", i);
}

/* Pages that are populated in a range at KERNEL. */
FAIL_TEST(fallocate_kernel)
{
	const u64 nr = 128;
	struct gmem_vm *g = &self->g;
	u64 page;

	gmem_vm_create(g, 1, nr * GMEM_PAGE, gmem_test_flags());
	gmem_set_access(g->fd, 0, g->size, GUEST_MEMFD_ACCESS_KERNEL);
	self->at_kernel = true;
	for (page = 0; page < nr; page++)
		TEST_ASSERT(fail_each(self, page, page, op_fallocate), "page %lu never failed",
			    page);
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before());
	gmem_set_access(g->fd, 0, g->size, GUEST_MEMFD_ACCESS_USER);
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before() + nr);
	gmem_assert_zero(g->mem, g->size);
}

/*
 * A block that is at KERNEL, completely or in its first half, which is
 * populated.
 */
FAIL_TEST(block_kernel)
{
	u64 half = STEP / 2, at, page, shared;
	struct gmem_vm *g = &self->g;
	unsigned int nth, part;
	struct gmem_info info;
	bool fired;
	int r;

	gmem_set_block_order(9);
	gmem_vm_create(g, 1, MAX_NTH * STEP, gmem_test_flags());
	for (part = 0; part < 2; part++) {
		for (nth = 1, fired = true; fired; nth++) {
			TEST_ASSERT(nth <= MAX_NTH / 2, "no end of allocations");
			at = (part * MAX_NTH / 2 + nth - 1) * STEP;
			page = at / GMEM_PAGE + 5;
			gmem_set_access(g->fd, at, part ? half : STEP, GUEST_MEMFD_ACCESS_KERNEL);
			inject(self->nth_fd, nth);
			r = op_fallocate(self, page);
			fired = injected(self->nth_fd);
			TEST_ASSERT(!r || (errno == ENOMEM && fired), "allocation %u: result %d",
				    nth, r);
			self->errors += !!r;
			gmem_read_info(g->fd, &info);
			TEST_ASSERT(r || info.populated, "allocation %u: no page", nth);
			TEST_ASSERT(part ? info.referenced <= half / GMEM_PAGE :
				    info.referenced == info.populated,
				    "%lu of %lu pages referenced",
				    info.referenced, info.populated);
			TEST_ASSERT_EQ(info.hidden, info.populated - info.referenced);

			gmem_assert_zero(g->mem + at, STEP);
			gmem_fill(g->mem + at, STEP, self->seed);
			shared = (part ? half : STEP) / GMEM_PAGE;
			gmem_assert_counts(g->fd, STEP / GMEM_PAGE, shared);
			if (part)
				gmem_assert_hidden(g->mem + at + half, half, self->seed);
			gmem_punch(g->fd, at, STEP);
			gmem_assert_counts(g->fd, 0, 0);
		}
		self->deepest = max_t(unsigned int, self->deepest, nth - 2);
	}
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before());
}

int main(int argc, char *argv[])
{
	gmem_require();
	TEST_REQUIRE(!gmem_plain());
	__TEST_REQUIRE(!access(FAIL_NTH, W_OK), "no %s: no CONFIG_FAULT_INJECTION", FAIL_NTH);
	__TEST_REQUIRE(!access(FAIL_DIR "failslab", R_OK) &&
		       !access(FAIL_DIR "fail_page_alloc", R_OK),
		       "no fault injection for pages and slabs");
	return test_harness_run(argc, argv);
}
