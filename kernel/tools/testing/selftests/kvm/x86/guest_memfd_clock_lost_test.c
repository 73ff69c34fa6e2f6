// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm-clock in guest memory whose page, memslot, file or VM goes away.
 *
 * Proves that punching the page of a clock, deleting and creating its memslot,
 * closing its file and destroying the VM leak no reference; and that KVM puts
 * its references to what it loses in one of these ways within 100 ms, whether or
 * not a vCPU runs again.
 *
 * Catches: a reference that outlives hole, memslot, file or VM (punch_hole,
 * memslot, file_closed, vm_destroyed), a hole punch that does not invalidate
 * KVM's caches (punch_hole_unmapped), a reference that waits for a vCPU
 * (punch_hole_unmapped, punch_hole_in_ioctl, memslot_paused, file_closed), a
 * scrub that forgets referenced pages (vm_destroyed, punch_hole).
 *
 * Not covered: the clocks themselves (guest_memfd_clock_test).
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmem_clock.h"
#include "kvm_syscalls.h"

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
	u64 ms = gmem_wait_within(none_left, &left, GMEM_REFERENCE_MS);

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
	ms = gmem_wait_within(none_referenced, g, GMEM_REFERENCE_MS);
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
		    "the 8 clocks did not have a direct-map reference each");
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

CLOCK_TEST(all_back)
{
	gmem_assert_all_back();
}

int main(int argc, char *argv[])
{
	gmem_require();
	return test_harness_run(argc, argv);
}
