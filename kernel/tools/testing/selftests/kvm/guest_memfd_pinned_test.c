// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pins of guest memory, which keep a page where it is.
 *
 * Proves, for blocks, split blocks and single pages, that a pinned page keeps
 * its range at KERNEL, however it was pinned, and that a page that is truncated
 * while it is pinned is hidden, cleared and freed when the pin ends.
 *
 * Catches: a change of levels that misses a pin or puts fewer references than
 * it took (change, several), a pinned page that is hidden, cleared or freed too
 * early, or never (punched, closed).
 */
#include <errno.h>

#ifdef __x86_64__
#include <asm/kvm_para.h>
#endif

#include "gmem_access.h"

/* A pinned page keeps its range at KERNEL. */
FIXTURE(pinned) {
	struct memory m;
};

FIXTURE_VARIANT(pinned) {
	unsigned int order;
	bool split;		/* the block was split into single pages */
	enum gmem_pin_kind kind;
};

FIXTURE_VARIANT_ADD(pinned, read) { .order = 9, .kind = GMEM_PIN_READ };
FIXTURE_VARIANT_ADD(pinned, write) { .order = 9, .kind = GMEM_PIN_WRITE };
FIXTURE_VARIANT_ADD(pinned, fast) { .order = 9, .kind = GMEM_PIN_FAST };
FIXTURE_VARIANT_ADD(pinned, pipe) { .order = 9, .kind = GMEM_PIN_PIPE };
FIXTURE_VARIANT_ADD(pinned, ring) { .order = 9, .kind = GMEM_PIN_RING };
FIXTURE_VARIANT_ADD(pinned, split_read) { .order = 9, .split = true, .kind = GMEM_PIN_READ };
FIXTURE_VARIANT_ADD(pinned, split_ring) { .order = 9, .split = true, .kind = GMEM_PIN_RING };
FIXTURE_VARIANT_ADD(pinned, pages_write) { .order = 0, .kind = GMEM_PIN_WRITE };
FIXTURE_VARIANT_ADD(pinned, pages_pipe) { .order = 0, .kind = GMEM_PIN_PIPE };

FIXTURE_SETUP(pinned)
{
	memory_create(&self->m, variant->order, KERNEL);
	if (!variant->split)
		return;
	gmem_set_access(self->m.g.fd, 0, GMEM_PAGE, USER);
	gmem_set_access(self->m.g.fd, 0, GMEM_PAGE, KERNEL);
	self->m.whole = false;
}

FIXTURE_TEARDOWN(pinned)
{
	memory_destroy(&self->m);
}

#define PINNED_TEST(name) TEST_F_TIMEOUT(pinned, name, TIMEOUT)

static void pin_pages(struct memory *m, struct gmem_pin *pin, enum gmem_pin_kind kind, u64 page,
		      u64 nr)
{
	int r = gmem_pin(pin, kind, m->g.mem + page * GMEM_PAGE, nr * GMEM_PAGE);

	TEST_ASSERT(!r, "%s: errno %d", gmem_pin_name(kind), errno);
}

/* The range cannot be lowered, because of page @held. */
static void assert_held(struct memory *m, u64 page, u64 nr, u64 held)
{
	u32 to;
	u64 at;
	int r;

	held = max(page, named(m, held));
	for (to = NONE; to <= USER; to++) {
		r = __gmem_set_access(m->g.fd, page * GMEM_PAGE, nr * GMEM_PAGE, to, &at);
		TEST_ASSERT(r == -1 && errno == EAGAIN && at == held * GMEM_PAGE,
			    "pages %lu+%lu to %u: %d, errno %d at 0x%lx, want page %lu", page, nr,
			    to, r, errno, at, held);
	}
}

PINNED_TEST(change)
{
	const u64 held = AT_PAGE + 2;
	struct memory *m = &self->m;
	struct gmem_pin pin, again;
	u32 to;

	pin_pages(m, &pin, variant->kind, held, 1);
	assert_held(m, 0, NR_PAGES, held);
	assert_as_created(m);
	assert_held(m, held, 1, held);
	assert_held(m, held - 5, 6, held);
	assert_held(m, held, NR_PAGES - held, held);
	/* All pages of the range can still be pinned, and are mapped again. */
	pin_pages(m, &again, GMEM_PIN_WRITE, AT_PAGE, LEN_PAGES);
	gmem_unpin(&again);
	gmem_assert_filled(m->g.mem, SIZE, m->seed);
	assert_as_created(m);

	if (m->whole) {
		/* The rest of the block cannot be lowered either. */
		assert_held(m, 0, held, 0);
		gmem_set_access(m->g.fd, SZ_2M, SIZE - SZ_2M, NONE);
		gmem_set_access(m->g.fd, SZ_2M, SIZE - SZ_2M, KERNEL);
		gmem_unpin(&pin);
		/* The block is split by this, and stays split. */
		gmem_set_access(m->g.fd, 0, held * GMEM_PAGE, NONE);
		gmem_set_access(m->g.fd, 0, SIZE, KERNEL);
		m->whole = false;
		pin_pages(m, &pin, variant->kind, held, 1);
		assert_held(m, 0, NR_PAGES, held);
	}

	/* The rest of the range can be lowered. */
	gmem_set_access(m->g.fd, 0, held * GMEM_PAGE, NONE);
	gmem_set_access(m->g.fd, (held + 1) * GMEM_PAGE, (NR_PAGES - held - 1) * GMEM_PAGE, USER);
	assert_seen(m->pfns, held, m->seed, false);
	assert_seen(m->pfns + held, 1, m->seed, true);
	assert_seen(m->pfns + held + 1, NR_PAGES - held - 1, m->seed, false);
	/* Now other pages of the range precede the pinned one. */
	assert_held(m, 0, NR_PAGES, held);
	TEST_ASSERT_EQ(gmem_get_access(m->g.fd, 0, NULL), NONE);
	TEST_ASSERT_EQ(gmem_get_access(m->g.fd, held * GMEM_PAGE, NULL), KERNEL);
	TEST_ASSERT_EQ(gmem_get_access(m->g.fd, (held + 1) * GMEM_PAGE, NULL), USER);
	gmem_set_access(m->g.fd, 0, SIZE, KERNEL);
	assert_as_created(m);

	gmem_unpin(&pin);
	for (to = NONE; to <= USER; to++) {
		gmem_set_access(m->g.fd, 0, SIZE, to);
		assert_seen(m->pfns, NR_PAGES, m->seed, false);
		gmem_set_access(m->g.fd, 0, SIZE, KERNEL);
	}
}

PINNED_TEST(several)
{
	struct memory *m = &self->m;
	struct gmem_pin pin[4];
	u64 page[] = { NR_PAGES - 1, AT_PAGE + 4, 7, 7 };
	int i;

	for (i = 0; i < 4; i++)
		pin_pages(m, &pin[i], variant->kind, page[i], 1);
	/*
	 * The change reports the first pinned page; one of two pins of a page
	 * is enough.
	 */
	for (i = 3; i >= 0; i--) {
		assert_held(m, 0, NR_PAGES, page[i]);
		assert_as_created(m);
		gmem_unpin(&pin[i]);
	}
	gmem_set_access(m->g.fd, 0, SIZE, NONE);
	assert_seen(m->pfns, NR_PAGES, m->seed, false);
	gmem_set_access(m->g.fd, 0, SIZE, KERNEL);

	pin_pages(m, &pin[0], variant->kind, 100, 300);
	assert_held(m, 0, NR_PAGES, 100);
	assert_held(m, 200, 1, 200);
	assert_as_created(m);
	gmem_unpin(&pin[0]);
}

/* A worker frees the pages asynchronously. */
static void wait_given_back(const u64 *pfns, size_t nr, u64 seed)
{
	int tries;

	for (tries = 0; tries < 1200; tries++) {
		if (!gmem_count_absent(pfns, nr) && !gmem_kernel_sees(pfns[0], seed))
			break;
		usleep(50000);
	}
	gmem_assert_present(pfns, nr);
	gmem_assert_given_back(pfns, nr, seed);
}

static void wait_unseen(const u64 *pfns, size_t nr, u64 seed)
{
	int tries;

	size_t i;

	for (i = 0, tries = 0; i < nr && tries < 1200; ) {
		if (!gmem_kernel_sees(pfns[i], seed)) {
			i++;
			continue;
		}
		tries++;
		usleep(50000);
	}
	TEST_ASSERT(i == nr, "the kernel still sees page %lu", i);
}

PINNED_TEST(punched)
{
	struct memory *m = &self->m;
	struct gmem_vm *g = &m->g;
	struct gmem_pin pin;
	u64 other = gmem_new_seed(), *pfns = m->pfns + AT_PAGE;
	/* Each page of the block keeps the level's reference. */
	u64 left = AT_PAGE + LEN_PAGES - named(m, AT_PAGE);
	struct gmem_info info;

	pin_pages(m, &pin, variant->kind, AT_PAGE, LEN_PAGES);
	gmem_punch(g->fd, 0, SIZE);
	gmem_assert_counts(g->fd, 0, 0);
	gmem_read_info(g->fd, &info);
	TEST_ASSERT(info.left_referenced == left,
		    "fdinfo: %lu pages left and are referenced, want %lu", info.left_referenced,
		    left);
	assert_seen(pfns, LEN_PAGES, m->seed, true);

	/* New pages take the places of the pinned ones. */
	gmem_assert_zero(g->mem, SIZE);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, other);
	assert_level(m);
	gmem_assert_counts(g->fd, NR_PAGES, NR_PAGES);
	assert_seen(pfns, LEN_PAGES, m->seed, true);
	gmem_pin_read(&pin, m->plain);
	gmem_assert_filled(m->plain, LEN, m->seed);
	/* The new pages can be lowered, because they are not pinned. */
	gmem_set_access(g->fd, 0, SIZE, USER);
	if (variant->kind != GMEM_PIN_PIPE)
		assert_seen(pfns, LEN_PAGES, m->seed, true);
	gmem_assert_filled(g->mem, SIZE, other);

	gmem_unpin(&pin);
	wait_unseen(pfns, LEN_PAGES, m->seed);
	gmem_read_info(g->fd, &info);
	TEST_ASSERT_EQ(info.left_referenced, 0);
	gmem_vm_destroy(g);
	wait_given_back(m->pfns, NR_PAGES, m->seed);
}

/* The pin outlives the whole file. */
PINNED_TEST(closed)
{
	u64 free_before = gmem_free_pages();
	struct memory *m = &self->m;
	struct gmem_pin pin;

	pin_pages(m, &pin, variant->kind, AT_PAGE, LEN_PAGES);
	gmem_vm_destroy(&m->g);
	assert_seen(m->pfns + AT_PAGE, LEN_PAGES, m->seed, true);
	gmem_pin_read(&pin, m->plain);
	gmem_assert_filled(m->plain, LEN, m->seed);
	gmem_unpin(&pin);
	wait_given_back(m->pfns, NR_PAGES, m->seed);
	TEST_ASSERT(gmem_free_pages() + NR_PAGES / 4 > free_before, "%lu pages free, %lu before",
		    gmem_free_pages(), free_before);
}

#ifdef __x86_64__
/*
 * KVM has a direct-map reference to the pinned page too; the two end in both
 * orders.  KVM/arm64 takes no such reference.
 */
PINNED_TEST(punched_and_shared)
{
	u64 clock = (GMEM_GPA + AT) | KVM_MSR_ENABLED;
	struct memory *m = &self->m;
	struct kvm_vcpu *vcpu = m->g.vcpus[0];
	u64 *pfn = m->pfns + AT_PAGE;
	struct gmem_pin pin;
	int unpin_first;

	for (unpin_first = 0; unpin_first < 2; unpin_first++) {
		pin_pages(m, &pin, variant->kind, AT_PAGE, 1);
		TEST_ASSERT(!gmem_guest_call(vcpu, guest_wrmsr, MSR_KVM_SYSTEM_TIME_NEW, clock, 0),
			    "MSR write faults");
		/*
		 * Lowering would leave the clock its reference, but it fails
		 * because of the pin.
		 */
		assert_held(m, 0, NR_PAGES, AT_PAGE);
		gmem_punch(m->g.fd, AT, LEN);
		/* A pinned part of a block is cleared in place. */
		TEST_ASSERT_EQ(gmem_kernel_sees(*pfn, m->seed), !m->whole);
		if (unpin_first)
			gmem_unpin(&pin);
		TEST_ASSERT(!gmem_guest_call(vcpu, guest_wrmsr, MSR_KVM_SYSTEM_TIME_NEW, 0, 0),
			    "MSR write faults");
		if (!unpin_first) {
			TEST_ASSERT_EQ(gmem_kernel_sees(*pfn, m->seed), !m->whole);
			gmem_unpin(&pin);
		}
		wait_unseen(pfn, 1, m->seed);

		gmem_guest_call(vcpu, gmem_guest_fill, GMEM_GVA, SIZE, m->seed);
		gmem_assert_counts(m->g.fd, NR_PAGES, NR_PAGES);
		free(m->pfns);
		m->pfns = gmem_pfns(m->g.mem, SIZE);
		pfn = m->pfns + AT_PAGE;
	}
}
#endif

int main(int argc, char *argv[])
{
	access_require();
	return test_harness_run(argc, argv);
}
