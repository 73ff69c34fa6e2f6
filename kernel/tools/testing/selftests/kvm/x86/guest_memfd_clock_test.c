// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-clock in guest memory that is outside the host's direct map.
 *
 * Proves that any number of vCPUs can have their clocks in one hidden page: the
 * page has direct-map references, and is present, while at least one clock is
 * in it, and is hidden again after the last one, whatever the order; that
 * moving a clock, punching its page, deleting and creating its memslot, closing
 * its file and destroying the VM leak no reference; that KVM puts its
 * references to what it loses in one of these ways within 100 ms, whether or
 * not a vCPU runs again; and that the guest's MSR writes never fail, and cost
 * less than one flush in 100.
 *
 * Catches: a get skipped (the clock never starts, or the host oopses), a put
 * skipped or done twice (*_in_all_orders, move, toggle_together), a reference
 * that outlives hole, memslot, file or VM (punch_hole, memslot, file_closed,
 * vm_destroyed), a hole punch that does not invalidate KVM's caches
 * (punch_hole_unmapped), a reference that waits for a vCPU
 * (punch_hole_unmapped, punch_hole_in_ioctl, memslot_paused, file_closed), a
 * last put that flushes at once (toggle_flushes), lazy puts that wait for ever
 * or without bound (put_pending), a cache that trusts the user address and not
 * the file (other_user_address), hidden memory refused to the guest (sealed,
 * msr_never_fails), a scrub that forgets referenced pages (vm_destroyed,
 * punch_hole).
 */
#include <asm/kvm_para.h>
#include <asm/pvclock.h>
#include <asm/pvclock-abi.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"
#include "ucall_common.h"

#define NR_PAGES	16UL
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define TIMEOUT		900

/* The pages of the file that contain clocks, and the space between clocks. */
#define PAGE_A		3
#define PAGE_B		7
#define STRIDE		64
#define TOGGLES		100
#define COUNTED		1000U
#define PENDING_PAGES	40
#define PENDING_MAX	16

FIXTURE(clock) {
	int kmsg;
	struct gmem_vm g;
	u64 seed;
};

FIXTURE_SETUP(clock)
{
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
}

FIXTURE_TEARDOWN(clock)
{
	if (self->g.vm || self->g.mem)
		gmem_vm_destroy(&self->g);
	gmem_assert_nothing_left(&self->kmsg);
}

#define CLOCK_TEST(name) TEST_F_TIMEOUT(clock, name, TIMEOUT)

static u64 clock_at(int page, int vcpu)
{
	return GMEM_GPA + page * GMEM_PAGE + vcpu * STRIDE;
}

/* Guest: writes an MSR; returns the vector of the fault, or 0. */
static u64 guest_wrmsr(u64 msr, u64 value, u64 unused)
{
	return wrmsr_safe(msr, value);
}

static u64 guest_read_clock(struct pvclock_vcpu_time_info *pvti)
{
	u32 version;
	u64 ns;

	do {
		version = READ_ONCE(pvti->version);
		barrier();
		ns = __pvclock_read_cycles(pvti, rdtsc());
		barrier();
	} while ((version & 1) || version != READ_ONCE(pvti->version));
	return ns;
}

/* Guest: asserts that the clock at @gva runs. */
static u64 guest_check_clock(u64 gva, u64 b, u64 c)
{
	struct pvclock_vcpu_time_info *pvti = (void *)gva;
	u64 first, later;
	int i;

	__GUEST_ASSERT(READ_ONCE(pvti->version), "nothing at 0x%lx, no clock", gva);
	__GUEST_ASSERT(!(READ_ONCE(pvti->version) & 1), "version %u is odd",
		       READ_ONCE(pvti->version));
	__GUEST_ASSERT(READ_ONCE(pvti->tsc_to_system_mul), "no scale at 0x%lx", gva);
	first = guest_read_clock(pvti);
	for (i = 0; i < 1000; i++)
		cpu_relax();
	later = guest_read_clock(pvti);
	__GUEST_ASSERT(later > first, "the clock stands: %lu, then %lu", first, later);
	return later;
}

/*
 * Guest: clears the clock at @gva, which KVM does not update any more, for the
 * next one.
 */
static u64 guest_clear_clock(u64 gva, u64 b, u64 c)
{
	struct pvclock_vcpu_time_info *pvti = (void *)gva;

	memset(pvti, 0, sizeof(*pvti));
	return 0;
}

/* Guest: turns the clock on and off many times. */
static u64 guest_toggle(u64 gva, u64 times, u64 c)
{
	u64 i, bad = 0;

	for (i = 0; i < times; i++) {
		bad |= wrmsr_safe(MSR_KVM_SYSTEM_TIME_NEW, gva | KVM_MSR_ENABLED);
		guest_check_clock(gva, 0, 0);
		bad |= wrmsr_safe(MSR_KVM_SYSTEM_TIME_NEW, 0);
	}
	return bad;
}

static void clock_write(struct gmem_vm *g, int vcpu, u64 value)
{
	u64 vector = gmem_guest_call(g->vcpus[vcpu], guest_wrmsr, MSR_KVM_SYSTEM_TIME_NEW,
				     value, 0);

	TEST_ASSERT(!vector, "vCPU %d: writing 0x%lx to the clock's MSR faults with %lu",
		    vcpu, value, vector);
}

static void clock_check(struct gmem_vm *g, int vcpu, int page)
{
	gmem_guest_call(g->vcpus[vcpu], guest_check_clock, clock_at(page, vcpu), 0, 0);
}

static void clock_on(struct gmem_vm *g, int vcpu, int page)
{
	clock_write(g, vcpu, clock_at(page, vcpu) | KVM_MSR_ENABLED);
	clock_check(g, vcpu, page);
}

static void clock_off(struct gmem_vm *g, int vcpu)
{
	clock_write(g, vcpu, 0);
}

/* Makes KVM write the clock again, as it sometimes does by itself. */
static void clock_kick(struct gmem_vm *g, int vcpu)
{
	int r = __vcpu_ioctl(g->vcpus[vcpu], KVM_KVMCLOCK_CTRL, NULL);

	/* EINVAL: there is no clock, which the caller checks. */
	TEST_ASSERT(!r || errno == EINVAL, KVM_IOCTL_ERROR(KVM_KVMCLOCK_CTRL, r));
	gmem_guest_call(g->vcpus[vcpu], gmem_guest_nop, 0, 0, 0);
}

/* Creates a VM whose guest fills all pages of the file. */
static void start(struct gmem_vm *g, int nr_vcpus, u64 seed)
{
	gmem_vm_create(g, nr_vcpus, SIZE, gmem_test_flags());
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, seed);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
}

/*
 * With no clock on, page @page is hidden, and the data beside the clocks is
 * unchanged.
 */
static void assert_hidden_again(struct gmem_vm *g, int page, u64 seed)
{
	const u64 clocks = GMEM_MAX_VCPUS * STRIDE;
	char *mem = g->mem + page * GMEM_PAGE;
	u64 pfn = gmem_pfn(mem);
	const u64 *w = (u64 *)(mem + clocks);
	unsigned int i;

	gmem_wait_put(g->fd);
	gmem_assert_pfns_hidden(&pfn, 1, seed);
	for (i = 0; i < (GMEM_PAGE - clocks) / sizeof(*w); i++)
		TEST_ASSERT_EQ(w[i], gmem_word(seed, clocks / sizeof(*w) + i));
}

/* Assert that the host can read the page with the clocks. */
static void assert_shared(struct gmem_vm *g, int page, u64 seed)
{
	u64 pfn = gmem_pfn(g->mem + page * GMEM_PAGE);

	TEST_ASSERT(gmem_kernel_sees(pfn, seed), "a shared page cannot be read");
}

/*
 * Turns clocks on in order @on and off in order @off; one page is referenced
 * meanwhile.
 */
static void one_order(struct gmem_vm *g, int n, const int *on, const int *off)
{
	int i;

	for (i = 0; i < n; i++) {
		clock_on(g, on[i], PAGE_A);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
	}
	for (i = 0; i < n; i++) {
		clock_off(g, off[i]);
		gmem_guest_call(g->vcpus[off[i]], guest_clear_clock, clock_at(PAGE_A, off[i]),
				0, 0);
		gmem_assert_counts(g->fd, NR_PAGES, i < n - 1);
		if (i < n - 1)
			clock_check(g, off[i + 1], PAGE_A);
	}
}

static void next_permutation(int *p, int n)
{
	int i = n - 2, j = n - 1, k, tmp;

	while (i >= 0 && p[i] > p[i + 1])
		i--;
	if (i >= 0) {
		while (p[j] < p[i])
			j--;
		tmp = p[i], p[i] = p[j], p[j] = tmp;
	}
	for (j = i + 1, k = n - 1; j < k; j++, k--)
		tmp = p[j], p[j] = p[k], p[k] = tmp;
}

/*
 * All orders of activation; for two vCPUs each with all orders of deactivation.
 */
static void all_orders(struct gmem_vm *g, int n, u64 seed)
{
	int identity[GMEM_MAX_VCPUS], p[GMEM_MAX_VCPUS], i, orders = 1, done = 0;

	for (i = 0; i < n; i++) {
		identity[i] = i;
		p[i] = i;
		orders *= i + 1;
	}
	for (i = 0; i < orders; i++) {
		one_order(g, n, identity, p);
		one_order(g, n, p, identity);
		done += 2;
		if (n == 2) {
			one_order(g, n, p, p);
			done++;
		}
		next_permutation(p, n);
	}
	assert_hidden_again(g, PAGE_A, seed);
	ksft_print_msg("%d clocks in one page, %d orders\n", n, done);
}

CLOCK_TEST(two_in_all_orders)
{
	start(&self->g, 2, self->seed);
	all_orders(&self->g, 2, self->seed);
}

CLOCK_TEST(three_in_all_orders)
{
	start(&self->g, 3, self->seed);
	all_orders(&self->g, 3, self->seed);
}

CLOCK_TEST(four_in_all_orders)
{
	start(&self->g, 4, self->seed);
	all_orders(&self->g, 4, self->seed);
}

/*
 * Testing 8! orders would take too long: each vCPU is first once, in both
 * directions.
 */
CLOCK_TEST(eight_in_rotation)
{
	int on[8], up[8], down[8], r, i;

	start(&self->g, 8, self->seed);
	for (r = 0; r < 8; r++) {
		for (i = 0; i < 8; i++) {
			on[i] = i;
			up[i] = (r + i) % 8;
			down[i] = (r + 8 - i) % 8;
		}
		one_order(&self->g, 8, on, up);
		one_order(&self->g, 8, up, down);
	}
	assert_hidden_again(&self->g, PAGE_A, self->seed);
	ksft_print_msg("8 clocks in one page, 16 orders\n");
}

/*
 * The kernel sees the page with the clocks while they are on, and no other
 * page.
 */
CLOCK_TEST(only_the_page)
{
	struct gmem_vm *g = &self->g;
	u64 found;
	int i;

	start(g, 4, self->seed);
	for (i = 0; i < 4; i++)
		clock_on(g, i, PAGE_A);
	assert_shared(g, PAGE_A, self->seed);
	gmem_assert_hidden(g->mem, PAGE_A * GMEM_PAGE, self->seed);
	gmem_assert_hidden(g->mem + (PAGE_A + 1) * GMEM_PAGE,
			   (NR_PAGES - PAGE_A - 1) * GMEM_PAGE, self->seed);
	if (!gmem_plain()) {
		found = gmem_scan(self->seed, NULL);
		/*
		 * The scan may also find copies that this test made when it
		 * read the page.
		 */
		TEST_ASSERT(found >= 1 && found <= 3, "%lu pages found, want the shared one",
			    found);
	}
	for (i = 0; i < 4; i++)
		clock_off(g, i);
	assert_hidden_again(g, PAGE_A, self->seed);
}

/* KVM takes one reference for each clock. */
CLOCK_TEST(traced)
{
	struct gmem_vm *g = &self->g;
	struct gmem_trace trace;
	u64 pfn, pfns[64], n;
	u64 i;

	if (gmem_plain())
		SKIP(return, "plain memory");

	start(g, 4, self->seed);
	pfn = gmem_pfn(g->mem + PAGE_A * GMEM_PAGE);
	gmem_trace_start(&trace);
	for (i = 0; i < 4; i++)
		clock_on(g, i, PAGE_A);
	n = gmem_trace_pages(&trace, "guest_memfd_get", pfns, ARRAY_SIZE(pfns));
	TEST_ASSERT_EQ(n - gmem_trace_pages(&trace, "guest_memfd_put", NULL, 0), 4);
	for (i = 0; i < n; i++)
		TEST_ASSERT_EQ(pfns[i], pfn);
	for (i = 0; i < 4; i++)
		clock_off(g, i);
	gmem_wait_put(g->fd);
	TEST_ASSERT_EQ(gmem_trace_pages(&trace, "guest_memfd_get", NULL, 0),
		       gmem_trace_pages(&trace, "guest_memfd_put", NULL, 0));
	gmem_trace_stop(&trace);
}

/*
 * Move clocks within a page and between pages, first and last in every order.
 */
CLOCK_TEST(move)
{
	int p[3] = { 0, 1, 2 }, order, i, from = PAGE_A, to = PAGE_B, tmp;
	struct gmem_vm *g = &self->g;

	start(g, 3, self->seed);
	for (i = 0; i < 3; i++)
		clock_on(g, i, from);

	/* Move to another offset in the same page, and back. */
	for (i = 0; i < 3; i++) {
		clock_write(g, i, (clock_at(from, i) + 4 * STRIDE) | KVM_MSR_ENABLED);
		gmem_guest_call(g->vcpus[i], guest_check_clock, clock_at(from, i) + 4 * STRIDE,
				0, 0);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
		clock_on(g, i, from);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
	}

	for (order = 0; order < 6; order++) {
		for (i = 0; i < 3; i++) {
			clock_on(g, p[i], to);
			gmem_assert_counts(g->fd, NR_PAGES, i < 2 ? 2 : 1);
		}
		assert_hidden_again(g, from, self->seed);
		assert_shared(g, to, self->seed);
		for (i = 0; i < 3; i++)
			clock_check(g, i, to);
		tmp = from, from = to, to = tmp;
		next_permutation(p, 3);
	}
	for (i = 0; i < 3; i++)
		clock_off(g, i);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	assert_hidden_again(g, PAGE_A, self->seed);
	assert_hidden_again(g, PAGE_B, self->seed);
}

/* A new page replaces the punched page with the clocks. */
CLOCK_TEST(punch_hole)
{
	struct gmem_vm *g = &self->g;
	int i, round;
	u64 pfn;

	start(g, 4, self->seed);
	for (i = 0; i < 4; i++)
		clock_on(g, i, PAGE_A);

	for (round = 0; round < 4; round++) {
		pfn = gmem_pfn(g->mem + PAGE_A * GMEM_PAGE);
		gmem_punch(g->fd, PAGE_A * GMEM_PAGE, GMEM_PAGE);

		/*
		 * A vCPU that has not yet been told to write its clock just
		 * runs.
		 */
		for (i = 0; i < 4; i++)
			TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[i], gmem_guest_nop, i, 0, 0), i);

		/*
		 * User space populates the hole first in one round, the guest
		 * in another, and KVM in the others.
		 */
		if (round == 1)
			gmem_assert_zero(g->mem + PAGE_A * GMEM_PAGE, GMEM_PAGE);
		if (round == 2)
			gmem_guest_call(g->vcpus[0], gmem_guest_check_zero,
					GMEM_GVA + PAGE_A * GMEM_PAGE, GMEM_PAGE, 0);
		for (i = 0; i < 4; i++) {
			clock_kick(g, i);
			clock_check(g, i, PAGE_A);
			gmem_assert_counts(g->fd, NR_PAGES, 1);
		}
		/*
		 * Whether it is the same frame or another one, the page
		 * contains only the clocks.
		 */
		gmem_assert_zero(g->mem + PAGE_A * GMEM_PAGE + GMEM_MAX_VCPUS * STRIDE,
				 GMEM_PAGE - GMEM_MAX_VCPUS * STRIDE);
		if (gmem_pfn(g->mem + PAGE_A * GMEM_PAGE) != pfn)
			gmem_assert_given_back(&pfn, 1, self->seed);
		gmem_guest_call(g->vcpus[0], gmem_guest_fill,
				clock_at(PAGE_A, GMEM_MAX_VCPUS), GMEM_PAGE -
				GMEM_MAX_VCPUS * STRIDE, self->seed);
	}
	for (i = 0; i < 4; i++)
		clock_off(g, i);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
}

struct left {
	struct gmem_vm *g;
	u64 pfn;
	u64 seed;
};

static bool none_left(void *arg)
{
	struct left *l = arg;
	struct gmem_info info;

	/* The VM may have lost its file; then only the page shows it. */
	if (l->g->fd >= 0) {
		gmem_read_info(l->g->fd, &info);
		if (info.left_referenced)
			return false;
	}
	return !gmem_kernel_sees(l->pfn, l->seed);
}

/*
 * The page has left the file: the host must lose access to its data within 100
 * ms.
 */
static void assert_left_ends(struct gmem_vm *g, u64 pfn, u64 seed)
{
	struct left left = { .g = g, .pfn = pfn, .seed = seed };
	u64 ms = gmem_wait(none_left, &left, GMEM_REFERENCE_MS);

	ksft_print_msg("the references ended within %lu ms\n", ms);
	gmem_assert_given_back(&pfn, 1, seed);
}

/* Guest: sleeps until an interrupt, and none arrives. */
static u64 guest_halt(u64 a, u64 b, u64 c)
{
	asm volatile("hlt" : : : "memory");
	return 0;
}

static void on_signal(int sig)
{
}

static void *run_halted(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	int r = __vcpu_run(vcpu);

	TEST_ASSERT(r < 0 && errno == EINTR, "KVM_RUN of a halted vCPU: %d, errno %d", r, errno);
	return NULL;
}

/*
 * The vCPU stays in KVM_RUN, and holds vcpu->mutex, for longer than references
 * may last.
 */
CLOCK_TEST(punch_hole_in_ioctl)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct gmem_vm *g = &self->g;
	unsigned int order;
	pthread_t thread;
	u64 pfn;

	if (gmem_plain())
		SKIP(return, "plain memory");

	order = gmem_set_block_order(0);
	start(g, 1, self->seed);
	gmem_set_block_order(order);
	pfn = gmem_pfn(g->mem + PAGE_A * GMEM_PAGE);
	kvm_munmap(g->mem, g->size);
	g->mem = NULL;
	clock_on(g, 0, PAGE_A);

	TEST_ASSERT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
	gmem_guest_post(g->vcpus[0], guest_halt, 0, 0, 0);
	kvm_pthread_create(&thread, NULL, run_halted, g->vcpus[0]);
	while (!vcpu_get_stat(g->vcpus[0], blocking))
		usleep(1000);
	gmem_punch(g->fd, PAGE_A * GMEM_PAGE, GMEM_PAGE);
	assert_left_ends(g, pfn, self->seed);
	TEST_ASSERT_EQ(vcpu_get_stat(g->vcpus[0], blocking), 1);

	TEST_ASSERT_EQ(pthread_kill(thread, SIGUSR1), 0);
	kvm_pthread_join(thread, NULL);
	gmem_assert_counts(g->fd, NR_PAGES - 1, 0);
}

static bool none_referenced(void *arg)
{
	struct gmem_vm *g = arg;
	struct gmem_info info;

	gmem_read_info(g->fd, &info);
	return !info.referenced;
}

/*
 * The memslot is deleted and no vCPU runs: the page stays in its file, hidden.
 */
CLOCK_TEST(memslot_paused)
{
	struct gmem_vm *g = &self->g;
	u64 ms;
	int i;

	if (gmem_plain())
		SKIP(return, "plain memory");

	start(g, 4, self->seed);
	for (i = 0; i < 4; i++)
		clock_on(g, i, PAGE_A);
	gmem_vm_unbind(g);
	ms = gmem_wait(none_referenced, g, GMEM_REFERENCE_MS);
	ksft_print_msg("the references ended within %lu ms\n", ms);
	assert_hidden_again(g, PAGE_A, self->seed);

	gmem_vm_bind(g, g->mem);
	for (i = 0; i < 4; i++) {
		clock_kick(g, i);
		clock_check(g, i, PAGE_A);
	}
	gmem_assert_counts(g->fd, NR_PAGES, 1);
}

/*
 * Only KVM uses the page: no user mapping exists whose MMU notifier could tell
 * KVM of the hole punch, and no vCPU accesses the page.  Only the file
 * invalidates KVM's cache.
 */
CLOCK_TEST(punch_hole_unmapped)
{
	struct gmem_vm *g = &self->g;
	struct gmem_trace trace;
	u64 pfn, pfns[2 * NR_PAGES], n, i;
	unsigned int order;

	if (gmem_plain())
		SKIP(return, "plain memory");

	/*
	 * Use single pages, because punching a part of a block affects all
	 * users of the block.
	 */
	order = gmem_set_block_order(0);
	start(g, 4, self->seed);
	gmem_set_block_order(order);
	pfn = gmem_pfn(g->mem + PAGE_A * GMEM_PAGE);
	kvm_munmap(g->mem, g->size);
	g->mem = NULL;
	for (i = 0; i < 4; i++)
		clock_on(g, i, PAGE_A);
	gmem_assert_counts(g->fd, NR_PAGES, 1);
	gmem_trace_start(&trace);

	/* Hole punches beside the page must not affect the clocks. */
	gmem_punch(g->fd, 0, PAGE_A * GMEM_PAGE);
	gmem_punch(g->fd, (PAGE_A + 1) * GMEM_PAGE, (NR_PAGES - PAGE_A - 1) * GMEM_PAGE);
	for (i = 0; i < 4; i++)
		clock_kick(g, i);
	TEST_ASSERT_EQ(gmem_trace_pages(&trace, "guest_memfd_put", NULL, 0), 0);
	gmem_assert_counts(g->fd, 1, 1);

	/*
	 * No vCPU runs, and KVM puts the references to the old page without
	 * one.
	 */
	gmem_punch(g->fd, PAGE_A * GMEM_PAGE, GMEM_PAGE);
	assert_left_ends(g, pfn, self->seed);
	gmem_assert_counts(g->fd, 0, 0);
	n = gmem_trace_pages(&trace, "guest_memfd_put", pfns, ARRAY_SIZE(pfns));
	TEST_ASSERT(n == 4, "%lu references dropped, want 4", n);
	for (i = 0; i < 4; i++)
		TEST_ASSERT_EQ(pfns[i], pfn);
	for (i = 0; i < 4; i++) {
		clock_kick(g, i);
		gmem_assert_counts(g->fd, 1, 1);
	}
	n = gmem_trace_pages(&trace, "guest_memfd_restore", pfns, ARRAY_SIZE(pfns));
	TEST_ASSERT(n <= ARRAY_SIZE(pfns), "%lu pages restored", n);
	for (i = 0; i < n && pfns[i] != pfn; i++)
		;
	TEST_ASSERT(i < n, "the old page is not restored");
	gmem_assert_given_back(&pfn, 1, self->seed);

	for (i = 0; i < 4; i++)
		clock_check(g, i, PAGE_A);
	for (i = 0; i < 4; i++)
		clock_off(g, i);
	gmem_assert_counts(g->fd, 1, 0);
	gmem_trace_stop(&trace);
}

/* The hole is not refilled: turning the clock off is the last operation. */
CLOCK_TEST(punch_hole_then_off)
{
	const u64 clocks = GMEM_MAX_VCPUS * STRIDE;
	struct gmem_vm *g = &self->g;
	u64 pfn, populated = NR_PAGES;
	struct gmem_info info;
	char *mem;
	int i;

	start(g, 2, self->seed);
	for (i = 0; i < 2; i++)
		clock_on(g, i, PAGE_A);
	mem = g->mem + PAGE_A * GMEM_PAGE;
	pfn = gmem_pfn(mem);
	gmem_punch(g->fd, PAGE_A * GMEM_PAGE, GMEM_PAGE);
	for (i = 0; i < 2; i++)
		clock_off(g, i);

	/*
	 * KVM updates a clock that was due on the way into the guest, before
	 * the guest can turn it off: KVM may have refilled the hole.
	 */
	if (!gmem_plain()) {
		gmem_read_info(g->fd, &info);
		populated = info.populated;
		TEST_ASSERT(populated == NR_PAGES || populated == NR_PAGES - 1,
			    "%lu pages populated after the hole", populated);
	}
	gmem_assert_counts(g->fd, populated, 0);
	if (populated < NR_PAGES || gmem_pfn(mem) != pfn)
		gmem_assert_given_back(&pfn, 1, self->seed);

	/* The new page contains nothing of the old one, and is hidden. */
	gmem_assert_zero(mem + clocks, GMEM_PAGE - clocks);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	gmem_fill(mem, GMEM_PAGE, self->seed);
	gmem_assert_hidden(mem, GMEM_PAGE, self->seed);
}

CLOCK_TEST(memslot)
{
	struct gmem_vm *g = &self->g;
	int i;

	start(g, 2, self->seed);
	for (i = 0; i < 2; i++)
		clock_on(g, i, PAGE_A);

	gmem_vm_unbind(g);
	for (i = 0; i < 2; i++)
		clock_kick(g, i);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	assert_hidden_again(g, PAGE_A, self->seed);

	gmem_vm_bind(g, g->mem);
	for (i = 0; i < 2; i++) {
		clock_kick(g, i);
		clock_check(g, i, PAGE_A);
	}
	gmem_assert_counts(g->fd, NR_PAGES, 1);

	/* This time the memslot is not created again. */
	gmem_vm_unbind(g);
	for (i = 0; i < 2; i++)
		clock_off(g, i);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	assert_hidden_again(g, PAGE_A, self->seed);
}

/*
 * The guest finds ordinary memory in place of hidden memory, and the reverse.
 */
CLOCK_TEST(other_kind_of_memslot)
{
	struct gmem_vm *g = &self->g;
	int i, round;
	char *other;

	start(g, 2, self->seed);
	other = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	for (i = 0; i < 2; i++)
		clock_on(g, i, PAGE_A);
	gmem_assert_counts(g->fd, NR_PAGES, 1);

	for (round = 0; round < 3; round++) {
		gmem_vm_unbind(g);
		vm_set_user_memory_region(g->vm, GMEM_SLOT, 0, GMEM_GPA, SIZE, other);
		for (i = 0; i < 2; i++) {
			clock_kick(g, i);
			clock_check(g, i, PAGE_A);
		}
		gmem_assert_counts(g->fd, NR_PAGES, 0);
		assert_hidden_again(g, PAGE_A, self->seed);

		vm_set_user_memory_region(g->vm, GMEM_SLOT, 0, GMEM_GPA, 0, NULL);
		gmem_vm_bind(g, g->mem);
		memset(other, 0, SIZE);
		for (i = 0; i < 2; i++) {
			clock_kick(g, i);
			clock_check(g, i, PAGE_A);
		}
		gmem_assert_counts(g->fd, NR_PAGES, 1);
		gmem_assert_zero(other, SIZE);
	}
	for (i = 0; i < 2; i++)
		clock_off(g, i);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	assert_hidden_again(g, PAGE_A, self->seed);
}

/* The file is closed while clocks run; the VM continues without it. */
CLOCK_TEST(file_closed)
{
	struct gmem_vm *g = &self->g;
	u64 *pfns;
	int i;

	start(g, 4, self->seed);
	for (i = 0; i < 4; i++)
		clock_on(g, i, i & 1 ? PAGE_A : PAGE_B);
	pfns = gmem_pfns(g->mem, SIZE);
	gmem_vm_close_file(g);

	/* KVM keeps no reference for vCPUs that do not run. */
	if (!gmem_plain()) {
		assert_left_ends(g, pfns[PAGE_A], self->seed);
		assert_left_ends(g, pfns[PAGE_B], self->seed);
	}

	/*
	 * The writes have no effect, but do not fault: the guest has no memory
	 * there.
	 */
	for (i = 0; i < 2; i++)
		clock_kick(g, i);
	for (i = 0; i < 4; i += 3)
		clock_off(g, i);
	/* Two of the clocks are still on when the VM ends. */
	gmem_vm_destroy(g);
	gmem_assert_given_back(pfns, NR_PAGES, self->seed);
	free(pfns);
}

/*
 * The VM is destroyed with its clocks on.  Its file holds a reference to the
 * VM, so closing the file puts the direct-map references.
 */
CLOCK_TEST(vm_destroyed)
{
	struct gmem_vm *g = &self->g;
	struct gmem_trace trace;
	u64 *pfns, found;
	int i;

	gmem_trace_start(&trace);
	start(g, 8, self->seed);
	for (i = 0; i < 8; i++)
		clock_on(g, i, i < 5 ? PAGE_A : PAGE_B);
	gmem_assert_counts(g->fd, NR_PAGES, 2);
	pfns = gmem_pfns(g->mem, SIZE);
	for (i = 0; i < (int)NR_PAGES; i++)
		if (i != PAGE_A && i != PAGE_B)
			gmem_assert_pfns_hidden(&pfns[i], 1, self->seed);

	kvm_vm_free(g->vm);
	g->vm = NULL;
	gmem_assert_filled(g->mem, PAGE_A * GMEM_PAGE, self->seed);

	gmem_vm_destroy(g);
	TEST_ASSERT_EQ(gmem_trace_pages(&trace, "guest_memfd_get", NULL, 0),
		       gmem_trace_pages(&trace, "guest_memfd_put", NULL, 0));
	/* A worker clears and restores the pages. */
	gmem_assert_all_back();
	TEST_ASSERT_EQ(gmem_trace_pages(&trace, "guest_memfd_hide", NULL, 0),
		       gmem_trace_pages(&trace, "guest_memfd_restore", NULL, 0));
	TEST_ASSERT(gmem_plain() || gmem_trace_pages(&trace, "guest_memfd_put", NULL, 0) >= 8,
		    "8 clocks had no direct-map reference each");
	gmem_trace_stop(&trace);
	gmem_assert_present(pfns, NR_PAGES);
	gmem_assert_given_back(pfns, NR_PAGES, self->seed);
	found = gmem_scan(self->seed, NULL);
	TEST_ASSERT(gmem_plain() || !found, "%lu pages of the guest are left in RAM", found);
	free(pfns);
}

/*
 * If the clocks were turned off before, all pages of the remaining file are
 * hidden.
 */
CLOCK_TEST(off_then_vm_destroyed)
{
	struct gmem_vm *g = &self->g;
	int i;

	start(g, 4, self->seed);
	for (i = 0; i < 4; i++)
		clock_on(g, i, i & 1 ? PAGE_A : PAGE_B);
	for (i = 0; i < 4; i++)
		clock_off(g, i);
	kvm_vm_free(g->vm);
	g->vm = NULL;
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	assert_hidden_again(g, PAGE_A, self->seed);
	assert_hidden_again(g, PAGE_B, self->seed);
}

/* File and VM end at once, as when a VMM is killed. */
CLOCK_TEST(file_first_then_vm)
{
	struct gmem_vm *g = &self->g;
	u64 *pfns;
	int i;

	start(g, 4, self->seed);
	for (i = 0; i < 4; i++)
		clock_on(g, i, PAGE_A);
	pfns = gmem_pfns(g->mem, SIZE);
	gmem_vm_close_file(g);
	kvm_vm_free(g->vm);
	g->vm = NULL;
	gmem_assert_given_back(pfns, NR_PAGES, self->seed);
	free(pfns);
}

/*
 * KVM takes the guest's memory from the file, whatever user space has mapped.
 */
CLOCK_TEST(other_user_address)
{
	struct gmem_vm *g = &self->g;
	char *other;
	int i;

	if (gmem_plain())
		SKIP(return, "plain memory");

	start(g, 2, self->seed);
	gmem_vm_unbind(g);
	other = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	gmem_fill(other, SIZE, ~self->seed);
	gmem_vm_bind(g, other);
	for (i = 0; i < 2; i++)
		clock_on(g, i, PAGE_A);
	gmem_assert_counts(g->fd, NR_PAGES, 1);
	gmem_assert_filled(other, SIZE, ~self->seed);

	/* Unmapping that other memory does not matter either. */
	kvm_munmap(other, SIZE);
	for (i = 0; i < 2; i++) {
		clock_kick(g, i);
		clock_check(g, i, PAGE_A);
	}
	for (i = 0; i < 2; i++)
		clock_off(g, i);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
}

/* A clock can be in memory that user space cannot map. */
CLOCK_TEST(sealed)
{
	struct gmem_vm *g = &self->g;
	int i;

	if (gmem_plain())
		SKIP(return, "plain memory");

	gmem_vm_create(g, 4, SIZE, GUEST_MEMFD_FLAG_NO_DIRECT_MAP | GUEST_MEMFD_FLAG_MMAP);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	for (i = 0; i < 4; i++) {
		clock_on(g, i, PAGE_A);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
	}
	for (i = 0; i < 4; i++) {
		clock_off(g, i);
		gmem_assert_counts(g->fd, NR_PAGES, i < 3);
	}
}

/*
 * A clock outside the memslots, in an absent page, or across a page boundary:
 * the MSR write never faults.
 */
CLOCK_TEST(msr_never_fails)
{
	struct gmem_vm *g = &self->g;

	start(g, 1, self->seed);
	clock_write(g, 0, (GMEM_GPA + SIZE) | KVM_MSR_ENABLED);
	clock_write(g, 0, (1ULL << 36) | KVM_MSR_ENABLED);
	clock_write(g, 0, (GMEM_GPA + GMEM_PAGE - 16) | KVM_MSR_ENABLED);
	clock_off(g, 0);
	gmem_assert_counts(g->fd, NR_PAGES, 0);

	/* KVM populates the page. */
	gmem_punch(g->fd, PAGE_A * GMEM_PAGE, GMEM_PAGE);
	clock_on(g, 0, PAGE_A);
	gmem_assert_counts(g->fd, NR_PAGES, 1);
	clock_off(g, 0);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
}

/* KVM accesses the other paravirtual structures through the user mapping. */
CLOCK_TEST(wall_clock_and_steal_time)
{
	struct gmem_vm *g = &self->g;
	struct pvclock_wall_clock *wall;
	struct kvm_steal_time *steal;
	u64 at = GMEM_GPA + PAGE_B * GMEM_PAGE;

	start(g, 1, self->seed);
	wall = (void *)g->mem + PAGE_B * GMEM_PAGE;
	TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[0], guest_wrmsr, MSR_KVM_WALL_CLOCK_NEW, at, 0), 0);
	TEST_ASSERT(wall->sec != gmem_word(self->seed, 0) >> 32 && !(wall->version & 1),
		    "no wall clock was written");

	steal = (void *)g->mem + PAGE_B * GMEM_PAGE + 1024;
	memset(steal, 0, sizeof(*steal));
	TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[0], guest_wrmsr, MSR_KVM_STEAL_TIME,
				       (at + 1024) | KVM_MSR_ENABLED, 0), 0);
	gmem_guest_call(g->vcpus[0], gmem_guest_nop, 0, 0, 0);
	TEST_ASSERT(steal->version && !(steal->version & 1), "steal time version is %u",
		    steal->version);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	assert_hidden_again(g, PAGE_A, self->seed);
}

struct toggler {
	pthread_t thread;
	struct gmem_vm *g;
	int vcpu;
	u64 bad;
};

static void *toggle(void *arg)
{
	struct toggler *t = arg;

	t->bad = gmem_guest_call(t->g->vcpus[t->vcpu], guest_toggle, clock_at(PAGE_A, t->vcpu),
				 TOGGLES, 0);
	return NULL;
}

/* Four vCPUs race to be the first and the last clock in the page. */
CLOCK_TEST(toggle_together)
{
	struct gmem_vm *g = &self->g;
	struct toggler t[4];
	int i;

	start(g, 4, self->seed);
	for (i = 0; i < 4; i++) {
		t[i] = (struct toggler) { .g = g, .vcpu = i };
		kvm_pthread_create(&t[i].thread, NULL, toggle, &t[i]);
	}
	for (i = 0; i < 4; i++) {
		kvm_pthread_join(t[i].thread, NULL);
		TEST_ASSERT(!t[i].bad, "vCPU %d: an MSR write faulted", i);
	}
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	assert_hidden_again(g, PAGE_A, self->seed);
	ksft_print_msg("4 vCPUs, %d toggles each\n", TOGGLES);
}

/* Guest: the same without checking the clock. */
static u64 guest_toggle_only(u64 gva, u64 times, u64 c)
{
	u64 i, bad = 0;

	for (i = 0; i < times; i++) {
		bad |= wrmsr_safe(MSR_KVM_SYSTEM_TIME_NEW, gva | KVM_MSR_ENABLED);
		bad |= wrmsr_safe(MSR_KVM_SYSTEM_TIME_NEW, 0);
	}
	return bad;
}

/* A guest cannot make the host flush by turning its clock on and off. */
CLOCK_TEST(toggle_flushes)
{
	const u64 limit = COUNTED / 100 * sysconf(_SC_NPROCESSORS_ONLN);
	struct gmem_vm *g = &self->g;
	u64 before, n = ~0ULL;
	int i;

	start(g, 1, self->seed);
	gmem_guest_call(g->vcpus[0], guest_toggle_only, clock_at(PAGE_A, 0), 1, 0);
	gmem_wait_put(g->fd);
	/*
	 * Take the minimum of three rounds: other work flushes too, and a busy
	 * machine stops the vCPU.
	 */
	for (i = 0; i < 3; i++) {
		before = gmem_flushes();
		TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[0], guest_toggle_only,
					       clock_at(PAGE_A, 0), COUNTED, 0), 0);
		n = min(n, gmem_flushes() - before);
	}
	ksft_print_msg("%lu flushes of one CPU for %u toggles\n", n, COUNTED);
	TEST_ASSERT(n < limit, "%lu flushes, the limit is %lu", n, limit);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	assert_hidden_again(g, PAGE_A, self->seed);
}

/*
 * Puts for more pages than can be pending: their number is bounded and counted,
 * and all complete within 100 ms.
 */
CLOCK_TEST(put_pending)
{
	struct gmem_vm *g = &self->g;
	struct gmem_info info;
	u64 most = 0, most_referenced = 0, ms;
	int i;

	if (gmem_plain())
		SKIP(return, "plain memory");

	gmem_vm_create(g, 1, PENDING_PAGES * GMEM_PAGE, gmem_test_flags());
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, PENDING_PAGES * GMEM_PAGE,
			self->seed);
	for (i = 0; i < PENDING_PAGES; i++) {
		clock_write(g, 0, clock_at(i, 0) | KVM_MSR_ENABLED);
		clock_write(g, 0, 0);
		gmem_read_info(g->fd, &info);
		TEST_ASSERT(info.put_pending <= PENDING_MAX, "%lu puts are pending",
			    info.put_pending);
		/* A pending put still counts as a reference. */
		TEST_ASSERT(info.referenced <= PENDING_MAX, "%lu pages are referenced",
			    info.referenced);
		TEST_ASSERT_EQ(info.hidden, PENDING_PAGES - info.referenced);
		most_referenced = max(most_referenced, info.referenced);
		most = max(most, info.put_pending);
	}
	TEST_ASSERT(most > 1 && most_referenced > 1, "no two puts were pending at once");
	ms = gmem_wait_put(g->fd);
	ksft_print_msg("up to %lu puts pending, over within %lu ms\n", most, ms);
	gmem_assert_counts(g->fd, PENDING_PAGES, 0);

	/* A change of level and a hole punch do not wait for the worker. */
	clock_write(g, 0, clock_at(PAGE_A, 0) | KVM_MSR_ENABLED);
	clock_write(g, 0, clock_at(PAGE_B, 0) | KVM_MSR_ENABLED);
	clock_write(g, 0, 0);
	gmem_set_access(g->fd, PAGE_A * GMEM_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_NONE);
	gmem_read_info(g->fd, &info);
	TEST_ASSERT(info.put_pending <= 1, "lowered, and %lu puts are pending", info.put_pending);
	gmem_punch(g->fd, PAGE_B * GMEM_PAGE, GMEM_PAGE);
	gmem_read_info(g->fd, &info);
	TEST_ASSERT(!info.put_pending, "punched, and %lu puts are pending", info.put_pending);
	TEST_ASSERT_EQ(info.referenced, 0);
	TEST_ASSERT_EQ(info.left_referenced, 0);
}

CLOCK_TEST(all_back)
{
	gmem_assert_all_back();
}

int main(int argc, char *argv[])
{
	gmem_require();
	return test_harness_run(argc, argv);
}
