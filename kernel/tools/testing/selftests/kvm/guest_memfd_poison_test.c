// SPDX-License-Identifier: GPL-2.0-only
/*
 * A memory failure in one page of a block of hidden guest memory.
 *
 * Proves that user space and the guest lose the poisoned page and no other: the
 * library splits the block or, where a pin prevents that, maps it page by page
 * without the poisoned page.  The other pages keep their frames, their
 * contents, their level and their counts.  The signals name 4 KiB.  When the
 * file is closed, all other pages are freed, and the poisoned page stays out of
 * the direct map and out of use, even if debugfs is asked to unpoison it.
 *
 * Catches: a whole block that is lost with one page (all tests), a poisoned
 * page that is mapped together with its neighbours (pinned), a block that stays
 * with its closed file for ever (pinned_until_closed), a poisoned page that is
 * freed to the allocator with its last reference (pinned_until_closed).
 *
 * Not covered: a real machine check, which tests/suites/machine-check.cfg
 * tests.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <linux/sizes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#define BLOCK_PAGES	(SZ_2M / GMEM_PAGE)
#define NR_PAGES	(2 * BLOCK_PAGES)
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define TIMEOUT		300

#define USER		GUEST_MEMFD_ACCESS_USER
#define KERNEL		GUEST_MEMFD_ACCESS_KERNEL

/* Two blocks that the guest has filled; a page of the second one fails. */
FIXTURE(poison) {
	int kmsg;
	struct gmem_vm g;
	u64 seed;
	u64 *pfns;
	u64 bad;
	unsigned int old_order;
	u32 level;
	bool poisoned;
};

FIXTURE_VARIANT(poison) {
	u64 bad;
};

FIXTURE_VARIANT_ADD(poison, first) { .bad = 0 };
FIXTURE_VARIANT_ADD(poison, middle) { .bad = 37 };
FIXTURE_VARIANT_ADD(poison, last) { .bad = BLOCK_PAGES - 1 };

static u64 blocks(int fd)
{
	struct gmem_info i;

	gmem_read_info(fd, &i);
	return i.blocks;
}

FIXTURE_SETUP(poison)
{
	struct gmem_vm *g = &self->g;

	self->seed = gmem_new_seed();
	self->bad = BLOCK_PAGES + variant->bad;
	self->level = USER;
	gmem_kmsg_open(&self->kmsg);
	self->old_order = gmem_set_block_order(9);
	gmem_vm_create(g, 2, SIZE, gmem_test_flags());
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	gmem_guest_call(g->vcpus[1], gmem_guest_nop, 0, 0, 0);
	self->pfns = gmem_pfns(g->mem, SIZE);
	TEST_ASSERT_EQ(blocks(g->fd), 2);
}

static void assert_flags_after(u64 pfn)
{
	u64 flags = gmem_kpageflags(pfn);

	TEST_ASSERT(flags & BIT(KPF_HWPOISON), "no longer marked: 0x%lx", flags);
	TEST_ASSERT(!(flags & (BIT(KPF_BUDDY) | BIT(KPF_LRU) | BIT(KPF_ANON) | BIT(KPF_SLAB))),
		    "the page was handed on: 0x%lx", flags);
}

/* Return: 0 or the errno. */
static int inject(const char *file, u64 pfn)
{
	char path[128], value[32];
	int fd, len, err = 0;

	snprintf(path, sizeof(path), "/sys/kernel/debug/hwpoison/%s", file);
	fd = open_path_or_exit(path, O_WRONLY);
	len = snprintf(value, sizeof(value), "0x%lx", pfn);
	if (write(fd, value, len) != len)
		err = errno;
	close(fd);
	return err;
}

/*
 * Assert that all pages except the poisoned one are free; that one is in the
 * direct map if @seen.
 */
static void assert_given_back(struct __test_metadata *_metadata, struct _test_data_poison *self,
			      bool seen)
{
	u64 pfn = self->pfns[self->bad];

	gmem_expect_lost(!seen);
	gmem_assert_given_back(self->pfns, self->bad, self->seed);
	gmem_assert_given_back(self->pfns + self->bad + 1, NR_PAGES - self->bad - 1, self->seed);
	assert_flags_after(pfn);
	TEST_ASSERT_EQ(gmem_count_absent(&pfn, 1), !seen);
	TEST_ASSERT_EQ(inject("unpoison-pfn", pfn), EBUSY);
	assert_flags_after(pfn);
}

FIXTURE_TEARDOWN(poison)
{
	if (self->g.vm) {
		gmem_vm_destroy(&self->g);
		assert_given_back(_metadata, self, self->level == KERNEL);
	}
	gmem_set_block_order(self->old_order);
	gmem_assert_nothing_left(&self->kmsg);
}

#define POISON_TEST(name) TEST_F_TIMEOUT(poison, name, TIMEOUT)

static sigjmp_buf after_signal;
static volatile siginfo_t last;
static volatile int nr_signals;
static volatile bool expected;

static void take_signal(int signum, siginfo_t *info, void *context)
{
	last = *info;
	nr_signals++;
	if (expected)
		siglongjmp(after_signal, 1);
}

static void handle_signals(void)
{
	struct sigaction action = { .sa_sigaction = take_signal, .sa_flags = SA_SIGINFO };

	TEST_ASSERT(!sigaction(SIGBUS, &action, NULL), "errno %d", errno);
	nr_signals = 0;
}

static void assert_signal(int code, char *addr)
{
	TEST_ASSERT(nr_signals == 1 && last.si_code == code && last.si_addr == addr &&
		    last.si_addr_lsb == 12,
		    "%d signals, code %d at %p, 2^%d bytes; want %d at %p",
		    nr_signals, last.si_code, last.si_addr, last.si_addr_lsb, code, addr);
	nr_signals = 0;
}

/* Assert that an access by user space raises a signal. */
static void assert_killed(char *addr, bool write)
{
	handle_signals();
	expected = true;
	if (!sigsetjmp(after_signal, 1)) {
		if (write)
			WRITE_ONCE(*addr, 1);
		else
			(void)READ_ONCE(*addr);
		TEST_FAIL("%s of a poisoned page is no error", write ? "write" : "read");
	}
	expected = false;
	assert_signal(BUS_MCEERR_AR, addr);
	signal(SIGBUS, SIG_DFL);
}

static void assert_marked(const u64 *pfns, u64 bad)
{
	u64 flags[BLOCK_PAGES], i, first = bad - bad % BLOCK_PAGES;
	int fd = open_path_or_exit("/proc/kpageflags", O_RDONLY);

	TEST_ASSERT(pread(fd, flags, sizeof(flags), pfns[first] * sizeof(*flags)) ==
		    sizeof(flags), "errno %d", errno);
	close(fd);
	for (i = 0; i < BLOCK_PAGES; i++)
		TEST_ASSERT(!(flags[i] & BIT(KPF_HWPOISON)) == (first + i != bad),
			    "page %lu has flags 0x%lx, page %lu is bad", first + i, flags[i], bad);
}

/* User space and the guest can read and write all other pages. */
static void assert_rest_usable(struct __test_metadata *_metadata, struct _test_data_poison *self)
{
	u64 at = self->bad * GMEM_PAGE, after = at + GMEM_PAGE;
	struct gmem_vm *g = &self->g;

	gmem_assert_filled(g->mem, at, self->seed);
	gmem_assert_filled(g->mem + after, SIZE - after, self->seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, at, self->seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA + after, SIZE - after, self->seed);
	self->seed++;
	gmem_fill(g->mem, at, self->seed);
	gmem_fill(g->mem + after, SIZE - after, self->seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, at, self->seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA + after, SIZE - after, self->seed);
}

static void assert_guest_loses(struct gmem_vm *g, u64 bad, u64 seed)
{
	struct kvm_vcpu *vcpu = g->vcpus[1];
	int r;

	gmem_guest_post(vcpu, gmem_guest_check, GMEM_GVA + bad * GMEM_PAGE, GMEM_PAGE, seed);
	r = _vcpu_run(vcpu);
	TEST_ASSERT(r == -1 && errno == EHWPOISON, "KVM_RUN gives %d, errno %d", r, errno);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_MEMORY_FAULT);
}

/* Assert that user space and the guest have lost the page, and nothing else. */
static void assert_lost(struct __test_metadata *_metadata, struct _test_data_poison *self,
			bool split)
{
	u64 i, referenced = self->level == KERNEL ? NR_PAGES : 0, bad = self->bad;
	struct gmem_vm *g = &self->g;

	assert_marked(self->pfns, bad);
	/*
	 * The first access after the failure is to a neighbour, and must not
	 * map the poisoned page.
	 */
	if (bad % BLOCK_PAGES)
		WRITE_ONCE(g->mem[(bad - 1) * GMEM_PAGE], READ_ONCE(g->mem[(bad - 1) * GMEM_PAGE]));
	else
		WRITE_ONCE(g->mem[(bad + 1) * GMEM_PAGE], READ_ONCE(g->mem[(bad + 1) * GMEM_PAGE]));
	assert_killed(g->mem + bad * GMEM_PAGE, false);
	assert_rest_usable(_metadata, self);
	assert_killed(g->mem + bad * GMEM_PAGE, true);
	assert_guest_loses(g, bad, self->seed);
	assert_rest_usable(_metadata, self);
	for (i = 0; i < NR_PAGES; i += i + 1 == bad ? 2 : 1)
		TEST_ASSERT(gmem_pfn(g->mem + i * GMEM_PAGE) == self->pfns[i],
			    "page %lu has moved", i);
	TEST_ASSERT_EQ(blocks(g->fd), split ? 1 + BLOCK_PAGES : 2);
	gmem_assert_counts(g->fd, NR_PAGES, referenced);
	TEST_ASSERT_EQ(gmem_count_absent(self->pfns, NR_PAGES), NR_PAGES - referenced);
}

static void unmap_guest(struct gmem_vm *g)
{
	gmem_vm_unbind(g);
	gmem_vm_bind(g, g->mem);
}

static void unmap_user(struct gmem_vm *g)
{
	kvm_madvise(g->mem, SIZE, MADV_DONTNEED);
}

static u64 mapped_by_pmd(char *mem)
{
	bool inside = false;
	unsigned long start, end;
	char line[256];
	u64 kib = 0;
	FILE *f;

	f = fopen("/proc/self/smaps", "r");
	TEST_ASSERT(f, "cannot open smaps");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start == (unsigned long)mem;
		if (inside)
			sscanf(line, "FilePmdMapped: %lu kB", &kib);
	}
	fclose(f);
	return kib * 1024;
}

static void fail(struct __test_metadata *_metadata, struct _test_data_poison *self, u64 bad)
{
	TEST_ASSERT_EQ(inject("corrupt-pfn", self->pfns[bad]), 0);
}

/* The page is populated, but neither user space nor the guest maps it. */
POISON_TEST(unmapped)
{
	unmap_guest(&self->g);
	unmap_user(&self->g);
	fail(_metadata, self, self->bad);
	assert_lost(_metadata, self, true);
}

POISON_TEST(user)
{
	unmap_guest(&self->g);
	TEST_ASSERT_EQ(mapped_by_pmd(self->g.mem), SIZE);
	fail(_metadata, self, self->bad);
	/* Only processes that asked for a signal get one. */
	assert_lost(_metadata, self, true);
	TEST_ASSERT_EQ(mapped_by_pmd(self->g.mem), SZ_2M);
}

POISON_TEST(guest)
{
	struct gmem_vm *g = &self->g;

	unmap_user(g);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, self->seed);
	TEST_ASSERT_EQ(gmem_pages_2m(g->vm), 2);
	fail(_metadata, self, self->bad);
	assert_lost(_metadata, self, true);
	TEST_ASSERT_EQ(gmem_pages_2m(g->vm), 1);
}

/* A VMM that asks for early signals learns which 4 KiB are bad. */
POISON_TEST(early_signal)
{
	char *addr = self->g.mem + self->bad * GMEM_PAGE;

	TEST_ASSERT(!prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0),
		    "errno %d", errno);
	handle_signals();
	fail(_metadata, self, self->bad);
	assert_signal(BUS_MCEERR_AO, addr);
	assert_lost(_metadata, self, true);
}

static void to_kernel(struct __test_metadata *_metadata, struct _test_data_poison *self)
{
	gmem_set_access(self->g.fd, 0, SIZE, KERNEL);
	self->level = KERNEL;
}

/*
 * Assert that a change of the level of the poisoned page is refused, and reports
 * the page.
 */
static void assert_refused(int fd, u64 bad)
{
	u64 at;
	int r = __gmem_set_access(fd, 0, SIZE, USER, &at);

	TEST_ASSERT(r == -1 && errno == EHWPOISON && at == bad * GMEM_PAGE,
		    "%d, errno %d at 0x%lx; page %lu is bad", r, errno, at, bad);
}

/* At KERNEL the caller injects the failure by MADV_HWPOISON. */
POISON_TEST(kernel)
{
	char *addr = self->g.mem + self->bad * GMEM_PAGE;
	struct gmem_vm *g = &self->g;

	to_kernel(_metadata, self);
	handle_signals();
	TEST_ASSERT(!madvise(addr, GMEM_PAGE, MADV_HWPOISON), "errno %d", errno);
	assert_signal(BUS_MCEERR_AR, addr);
	assert_lost(_metadata, self, true);
	assert_refused(g->fd, self->bad);
	gmem_set_access(g->fd, 0, SZ_2M, USER);
	gmem_set_access(g->fd, 0, SZ_2M, KERNEL);
}

/* Another page of the same block. */
static char *neighbour(struct gmem_vm *g, u64 bad)
{
	return g->mem + (bad % BLOCK_PAGES ? bad - 1 : bad + 1) * GMEM_PAGE;
}

/*
 * A device has pinned another page of the block, so the block cannot be split.
 */
POISON_TEST(pinned)
{
	u64 other = BLOCK_PAGES + 200, at = self->bad * GMEM_PAGE;
	struct gmem_vm *g = &self->g;
	struct gmem_pin pin, none;

	to_kernel(_metadata, self);
	TEST_ASSERT(!gmem_pin(&pin, GMEM_PIN_WRITE, neighbour(g, self->bad), GMEM_PAGE),
		    "errno %d", errno);
	handle_signals();
	TEST_ASSERT(!madvise(g->mem + at, GMEM_PAGE, MADV_HWPOISON), "errno %d", errno);
	assert_signal(BUS_MCEERR_AR, g->mem + at);
	assert_lost(_metadata, self, false);
	TEST_ASSERT(gmem_pin(&none, GMEM_PIN_READ, g->mem + at, GMEM_PAGE), "pinned");
	assert_refused(g->fd, self->bad);

	/* A second page of the same block fails. */
	fail(_metadata, self, other);
	assert_killed(g->mem + other * GMEM_PAGE, false);
	assert_killed(g->mem + at, false);
	gmem_assert_filled(g->mem + (other + 1) * GMEM_PAGE,
			   (NR_PAGES - 1 - (other + 1)) * GMEM_PAGE, self->seed);
	gmem_unpin(&pin);

	/* Without the pin, a change of a part can split the block. */
	gmem_set_access(g->fd, (other + 1) * GMEM_PAGE, 2 * GMEM_PAGE, USER);
	TEST_ASSERT_EQ(blocks(g->fd), 1 + BLOCK_PAGES);
	gmem_set_access(g->fd, (other + 1) * GMEM_PAGE, 2 * GMEM_PAGE, KERNEL);
	assert_killed(g->mem + other * GMEM_PAGE, false);
	assert_killed(g->mem + at, false);

	gmem_vm_destroy(g);
	assert_flags_after(self->pfns[self->bad]);
	assert_flags_after(self->pfns[other]);
	gmem_assert_given_back(self->pfns, self->bad < other ? self->bad : other, self->seed);
}

/* The file is closed before the device unpins its page. */
POISON_TEST(pinned_until_closed)
{
	struct gmem_vm *g = &self->g;
	struct gmem_pin pin;

	to_kernel(_metadata, self);
	TEST_ASSERT(!gmem_pin(&pin, GMEM_PIN_WRITE, neighbour(g, self->bad), GMEM_PAGE),
		    "errno %d", errno);
	fail(_metadata, self, self->bad);
	assert_lost(_metadata, self, false);
	gmem_vm_destroy(g);
	assert_flags_after(self->pfns[self->bad]);
	gmem_unpin(&pin);
	assert_given_back(_metadata, self, false);
}

/* The VMM replaces the page by a hole punch. */
POISON_TEST(punched)
{
	struct gmem_vm *g = &self->g;
	u64 at = self->bad * GMEM_PAGE;

	fail(_metadata, self, self->bad);
	assert_lost(_metadata, self, true);
	gmem_punch(g->fd, at, GMEM_PAGE);
	gmem_assert_zero(g->mem + at, GMEM_PAGE);
	TEST_ASSERT(gmem_pfn(g->mem + at) != self->pfns[self->bad], "the poisoned page is back");
	assert_rest_usable(_metadata, self);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
}

static bool stop;

static void *change_thread(void *arg)
{
	struct gmem_vm *g = arg;

	while (!READ_ONCE(stop)) {
		gmem_set_access(g->fd, 0, SZ_2M, KERNEL);
		gmem_set_access(g->fd, 0, SZ_2M, USER);
	}
	return NULL;
}

/* Meanwhile a thread changes the level of the other block. */
POISON_TEST(beside_changes)
{
	pthread_t thread;

	WRITE_ONCE(stop, false);
	kvm_pthread_create(&thread, NULL, change_thread, &self->g);
	usleep(20000);
	fail(_metadata, self, self->bad);
	WRITE_ONCE(stop, true);
	kvm_pthread_join(thread, NULL);
	assert_lost(_metadata, self, true);
}

int main(int argc, char *argv[])
{
	gmem_require();
	TEST_REQUIRE(!gmem_plain());
	TEST_REQUIRE(!access("/sys/kernel/debug/hwpoison/corrupt-pfn", W_OK));
	return test_harness_run(argc, argv);
}
