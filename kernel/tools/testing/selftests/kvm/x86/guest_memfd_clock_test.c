// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-clock in guest memory that is outside the host's direct map.
 *
 * Proves that any number of vCPUs can have their clocks in one hidden page: the
 * page has direct-map references, and is present, while at least one clock is
 * in it, and is hidden again after the last one, whatever the order; that
 * moving a clock leaks no reference; and that the guest's MSR writes never
 * fail, and cost less than one flush in 100.
 *
 * Catches: a get skipped (the clock never starts, or the host oopses), a put
 * skipped or done twice (*_in_all_orders, move, toggle_together), a last put
 * that flushes at once (toggle_flushes), lazy puts that wait for ever or without
 * bound (put_pending), a cache that trusts the user address and not the file
 * (other_user_address), hidden memory refused to the guest (sealed,
 * msr_never_fails).
 *
 * Not covered: what KVM does when it loses a clock's page
 * (guest_memfd_clock_lost_test).
 */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "gmem_clock.h"
#include "kvm_syscalls.h"

#define TOGGLES		100
#define COUNTED		1000U
#define PENDING_PAGES	40
#define PENDING_MAX	16

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
