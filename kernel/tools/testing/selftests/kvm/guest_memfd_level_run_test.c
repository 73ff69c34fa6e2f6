// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access levels of ranges of a guest_memfd: changes while a guest runs, changes
 * that the guest requests, what a change costs, and levels of a file that is
 * not hidden.
 *
 * Proves that a guest keeps its memory while levels change and gets what it
 * requests by hypercall, that a change of a block costs one flush and no split,
 * and that the levels of a plain file govern its user mappings only.
 *
 * Catches: a change that loses what a running guest writes (running), hiding
 * page by page (cost), a request of a guest that is granted although the host
 * uses a page (hypercall).
 *
 * Not covered: the levels that a file reports (guest_memfd_level_test).
 */
#include <linux/falloc.h>
#include <pthread.h>

#include "gmem_level.h"
#include "ucall_common.h"

#define ROUNDS		400
#define COUNTER_PAGES	64UL
/* The counters cross the border of two blocks. */
#define COUNTERS	(BLOCK_PAGES - COUNTER_PAGES / 2)

static struct {
	struct kvm_vcpu *vcpu;
	bool stop;
	u64 rounds;
} counting;

/* Guest: increments a word in each page, and checks the old values. */
static u64 guest_count(u64 gva, u64 pages, u64 round)
{
	u64 i;

	for (i = 0; i < pages; i++) {
		u64 *counter = (u64 *)(gva + i * GMEM_PAGE);

		GUEST_ASSERT_EQ(READ_ONCE(*counter), round);
		WRITE_ONCE(*counter, round + 1);
	}
	return 0;
}

static void *count_thread(void *unused)
{
	while (!READ_ONCE(counting.stop)) {
		gmem_guest_call(counting.vcpu, guest_count, GMEM_GVA + COUNTERS * GMEM_PAGE,
				COUNTER_PAGES, counting.rounds);
		counting.rounds++;
	}
	return NULL;
}

/* Levels change while the guest runs. */
LEVEL_TEST(running)
{
	unsigned int state = self->seed, i;
	u64 page, nr, rounds, faults;
	pthread_t thread;
	char *area;

	/*
	 * KVM follows the user mappings at the slot's address, so this maps
	 * none there.
	 */
	area = kvm_mmap(SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	gmem_vm_unbind(&self->g);
	gmem_vm_bind(&self->g, area);
	kvm_fallocate(self->g.fd, FALLOC_FL_KEEP_SIZE, 0, SIZE);
	counting.vcpu = self->g.vcpus[0];
	/*
	 * Start counting before the thread is created, because arm64 counts
	 * only threads created later.
	 */
	gmem_guest_faults(counting.vcpu);
	kvm_pthread_create(&thread, NULL, count_thread, NULL);
	while (READ_ONCE(counting.rounds) < 2)
		usleep(1000);
	rounds = READ_ONCE(counting.rounds);
	faults = gmem_guest_faults(counting.vcpu);
	for (i = 0; i < ROUNDS; i++) {
		page = rand_r(&state) % NR_PAGES;
		nr = 1 + rand_r(&state) % (NR_PAGES - page);
		if (i % 2) {
			page = 0;
			nr = NR_PAGES;
		}
		set(self, page, nr, rand_r(&state) % NR_LEVELS);
	}
	rounds = READ_ONCE(counting.rounds) - rounds;
	faults = gmem_guest_faults(counting.vcpu) - faults;
	WRITE_ONCE(counting.stop, true);
	kvm_pthread_join(thread, NULL);
	ksft_print_msg("%d changes, %lu rounds of the guest, %lu faults\n", ROUNDS, rounds, faults);
	TEST_ASSERT(rounds, "the guest stood still");
	/* A change of levels does not remove guest mappings. */
	TEST_ASSERT(faults < COUNTER_PAGES, "%lu faults of the guest", faults);
	assert_account(self);
	set(self, 0, NR_PAGES, USER);
	for (page = 0; page < COUNTER_PAGES; page++)
		TEST_ASSERT_EQ(*(u64 *)(self->g.mem + (COUNTERS + page) * GMEM_PAGE),
			       counting.rounds);
}

/*
 * Raising a block needs no flush, lowering it one, and the block is not split.
 * Lowering order-0 pages needs one flush for 64 of them, or fewer flushes if
 * they are contiguous.
 */
LEVEL_TEST(cost)
{
	u64 before, n, splits, i;
	const u64 wanted = variant->order == 9 ? 1 : BLOCK_PAGES / 64;
	const u64 changes = 20, slack = 10;

	kvm_fallocate(self->g.fd, FALLOC_FL_KEEP_SIZE, 0, NR_BLOCKS * SZ_2M);
	splits = gmem_vmstat("direct_map_level2_splits");

	before = gmem_flush_rounds();
	for (i = 0; i < changes; i++) {
		set(self, 0, BLOCK_PAGES, KERNEL);
		set(self, 0, BLOCK_PAGES, USER);
	}
	n = gmem_flush_rounds() - before;
	ksft_print_msg("%lu times up and down: %lu flushes of all CPUs\n", changes, n);
	TEST_ASSERT(n >= changes && n <= changes * wanted + slack, "%lu flushes", n);
	if (variant->order != 9)
		return;

	/*
	 * Mapped memory is not split either.  This part counts no flushes,
	 * because the changes also flush user addresses.
	 */
	for (i = 0; i < changes; i++) {
		touch(self, 0, BLOCK_PAGES);
		set(self, 0, BLOCK_PAGES, i % 2 ? USER : KERNEL);
	}
	TEST_ASSERT_EQ(gmem_vmstat("direct_map_level2_splits"), splits);

	/*
	 * Raising a part of a block splits its mapping once, unless an earlier
	 * test has split the direct map there.
	 */
	set(self, 100, 100, KERNEL);
	set(self, 150, 100, USER);
	set(self, 0, BLOCK_PAGES, USER);
	n = gmem_vmstat("direct_map_level2_splits");
	TEST_ASSERT(n <= splits + 1, "%lu splits", n - splits);
	gmem_punch(self->g.fd, 0, SIZE);
	TEST_ASSERT_EQ(gmem_vmstat("direct_map_level2_splits"), n);
}

#ifdef __x86_64__
/* Guest: request each part in turn until the host grants it, then use it. */
static u64 guest_convert_all(u64 step, u64 private, u64 seed)
{
	u64 page;

	for (page = 0; page + step <= NR_PAGES; page += step) {
		GUEST_ASSERT_EQ(gmem_guest_convert(GMEM_GPA + page * GMEM_PAGE, step * GMEM_PAGE,
						   private), 0);
		gmem_guest_check(GMEM_GVA + page * GMEM_PAGE, step * GMEM_PAGE, seed);
	}
	return page;
}

/* The guest decides: it makes shared memory private, and the reverse. */
LEVEL_TEST(hypercall)
{
	static const struct {
		u64 gpa, size;
		s64 answer;
	} bad[] = {
		{ GMEM_GPA - GMEM_PAGE, GMEM_PAGE, -EINVAL },
		{ GMEM_GPA - GMEM_PAGE, 2 * GMEM_PAGE, -EINVAL },
		{ GMEM_GPA + SIZE, GMEM_PAGE, -EINVAL },
		{ GMEM_GPA + SIZE - GMEM_PAGE, 2 * GMEM_PAGE, -EINVAL },
		{ GMEM_GPA, SIZE + GMEM_PAGE, -EINVAL },
		/* KVM itself refuses these. */
		{ GMEM_GPA + 1, GMEM_PAGE, -EINVAL },
		{ GMEM_GPA, 0, -EINVAL },
	};
	const u64 steps[] = { 1, 7, BLOCK_PAGES, NR_PAGES };
	struct kvm_vcpu *vcpu = self->g.vcpus[0];
	struct gmem_pin pin;
	unsigned int i, private;
	u64 end;

	gmem_vm_obey(&self->g);
	fill(self);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		for (private = 0; private < 2; private++) {
			end = gmem_guest_call(vcpu, guest_convert_all, steps[i], private,
					      self->seed);
			memset(self->model, private ? NONE : KERNEL, end);
			assert_account(self);
		}
		assert_model(self);
		set(self, 0, NR_PAGES, USER);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		for (private = 0; private < 2; private++)
			TEST_ASSERT_EQ((s64)gmem_guest_call(vcpu, gmem_guest_convert, bad[i].gpa,
							    bad[i].size, private), bad[i].answer);
	}
	TEST_ASSERT_EQ(self->g.refused, 10);
	assert_account(self);

	/*
	 * While the host uses a page, the guest's request is refused for the
	 * whole range.
	 */
	TEST_ASSERT_EQ(gmem_guest_call(vcpu, gmem_guest_convert, GMEM_GPA, SIZE, false), 0);
	memset(self->model, KERNEL, NR_PAGES);
	TEST_ASSERT(!gmem_pin(&pin, GMEM_PIN_PIPE, self->g.mem + 5 * GMEM_PAGE, GMEM_PAGE),
		    "errno %d", errno);
	TEST_ASSERT_EQ((s64)gmem_guest_call(vcpu, gmem_guest_convert, GMEM_GPA, SIZE, true),
		       -EAGAIN);
	assert_account(self);
	TEST_ASSERT_EQ(self->g.busy, 1);
	gmem_unpin(&pin);
	TEST_ASSERT_EQ(gmem_guest_call(vcpu, gmem_guest_convert, GMEM_GPA, SIZE, true), 0);
	memset(self->model, NONE, NR_PAGES);
	assert_model(self);
}
#endif

/*
 * A plain file stays in the direct map; its levels only govern user mappings.
 */
LEVEL_TEST(plain_file)
{
	u64 flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED, at, size;
	struct gmem_pin pin;
	struct gmem_vm g;
	unsigned int kind;
	u64 *pfns;
	u32 level;
	int r;

	gmem_vm_create(&g, 1, SIZE, flags);
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	pfns = gmem_pfns(g.mem, SIZE);
	for (level = NONE; level <= KERNEL; level++) {
		gmem_set_access(g.fd, 0, SIZE, level);
		TEST_ASSERT_EQ(gmem_get_access(g.fd, 0, &size), level);
		TEST_ASSERT_EQ(size, SIZE);
		TEST_ASSERT_EQ(gmem_count_absent(pfns, NR_PAGES), 0);
		TEST_ASSERT(gmem_kernel_sees(pfns[0], self->seed), "not seen at level %u", level);
		gmem_guest_call(g.vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, self->seed);
		r = gmem_pin(&pin, GMEM_PIN_READ, g.mem, SIZE);
		TEST_ASSERT(!r == (level >= USER), "a pin at level %u: %d, errno %d", level, r,
			    errno);
		if (!r)
			gmem_unpin(&pin);
		if (level == NONE)
			TEST_EXPECT_SIGBUS((void)READ_ONCE(g.mem[SIZE - 1]));
		else
			gmem_assert_filled(g.mem, SIZE, self->seed);
	}

	for (kind = 0; kind < NR_GMEM_PINS; kind++) {
		TEST_ASSERT(!gmem_pin(&pin, kind, g.mem + 7 * GMEM_PAGE, GMEM_PAGE), "no pin");
		gmem_set_access(g.fd, 0, SIZE, USER);
		r = __gmem_set_access(g.fd, 0, SIZE, NONE, &at);
		TEST_ASSERT(r == -1 && errno == EAGAIN && at == 7 * GMEM_PAGE,
			    "%s: %d, errno %d at 0x%lx", gmem_pin_name(kind), r, errno, at);
		TEST_ASSERT_EQ(gmem_get_access(g.fd, 0, &size), USER);
		TEST_ASSERT_EQ(size, SIZE);
		gmem_assert_filled(g.mem, SIZE, self->seed);
		gmem_unpin(&pin);
		gmem_set_access(g.fd, 0, SIZE, NONE);
		gmem_set_access(g.fd, 0, SIZE, KERNEL);
	}
	gmem_punch(g.fd, 0, SIZE);
	gmem_set_access(g.fd, 0, GMEM_PAGE, NONE);
	TEST_EXPECT_SIGBUS((void)READ_ONCE(g.mem[0]));
	gmem_assert_zero(g.mem + GMEM_PAGE, SIZE - GMEM_PAGE);
	gmem_vm_destroy(&g);
	free(pfns);
}

int main(int argc, char *argv[])
{
	level_require();
	return test_harness_run(argc, argv);
}
