// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks of hidden guest memory: 2 MiB that are allocated, hidden, mapped into
 * the guest and freed as one.
 *
 * Proves that a block costs one flush and no split of the direct map, that the
 * guest has it in one mapping where file, gfn and slot allow it and loses all
 * of that mapping when a part of the block is removed, that holes are filled
 * with clean pages, that a mapping which was split for a direct-map reference
 * or for single pages is merged again when the block is freed, and that the
 * pages of a block are counted and charged.
 *
 * Catches: a block hidden page by page (one_flush), huge mappings that are
 * never created (guest_faults), that are created where pages are not contiguous
 * for the guest (misaligned), that survive a hole punch (punch_patterns), or
 * that are larger than a nested guest's own tables allow (nested), pages that
 * are reused dirty (punch_patterns), the merge skipped (merged_again,
 * tail_merged, merged_beside), a split for each single page (tail_merged).
 */
#include <fcntl.h>
#include <linux/bitmap.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#ifdef __x86_64__
#include "processor.h"
#include "svm_util.h"
#include "vmx.h"
#endif

#define BLOCK		SZ_2M
#define BLOCK_PAGES	(BLOCK / GMEM_PAGE)
#define NR_BLOCKS	4UL
#define TAIL_PAGES	3UL
#define BLOCKS_SIZE	(NR_BLOCKS * BLOCK)
#define SIZE		(BLOCKS_SIZE + TAIL_PAGES * GMEM_PAGE)
#define TIMEOUT		600

FIXTURE(block) {
	struct gmem_vm g;
	int kmsg;
	unsigned int old_order;
	u64 flags;
	u64 seed;
};

FIXTURE_SETUP(block)
{
	self->flags = gmem_test_flags();
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	self->old_order = gmem_set_block_order(9);
	gmem_vm_create(&self->g, 1, SIZE, self->flags);
}

FIXTURE_TEARDOWN(block)
{
	gmem_vm_destroy(&self->g);
	gmem_set_block_order(self->old_order);
	gmem_assert_nothing_left(&self->kmsg);
}

#define BLOCK_TEST(name) TEST_F_TIMEOUT(block, name, TIMEOUT)

/* Check the counters of a file whose memory is all hidden and at one level. */
static void assert_blocks(int fd, u64 blocks, u64 populated)
{
	struct gmem_info i;

	gmem_read_info(fd, &i);
	TEST_ASSERT(i.blocks == blocks && i.populated == populated,
		    "%lu blocks, %lu pages; want %lu, %lu", i.blocks, i.populated, blocks,
		    populated);
}

/*
 * Check only the populated pages: punched pages of a block belong to no file,
 * and single pages refill the hole.
 */
static void assert_pages(int fd, u64 populated)
{
	struct gmem_info i;

	gmem_read_info(fd, &i);
	TEST_ASSERT_EQ(i.populated, populated);
}

static void touch(char *mem, size_t size)
{
	size_t i;

	for (i = 0; i < size; i += GMEM_PAGE)
		WRITE_ONCE(mem[i], 1);
}

/*
 * The first access, of whatever kind, populates a block, or a single page of
 * the tail.
 */
BLOCK_TEST(populated_by_blocks)
{
	struct gmem_vm *g = &self->g;
	u64 *pfns, i;

	touch(g->mem, 1);
	assert_blocks(g->fd, 1, BLOCK_PAGES);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA + BLOCK, GMEM_PAGE, self->seed);
	assert_blocks(g->fd, 2, 2 * BLOCK_PAGES);
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 2 * BLOCK, GMEM_PAGE);
	assert_blocks(g->fd, 3, 3 * BLOCK_PAGES);
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, SIZE);
	assert_blocks(g->fd, NR_BLOCKS + TAIL_PAGES, NR_BLOCKS * BLOCK_PAGES + TAIL_PAGES);

	gmem_fill(g->mem, SIZE, self->seed);
	pfns = gmem_pfns(g->mem, SIZE);
	for (i = 0; i < NR_BLOCKS * BLOCK_PAGES; i++)
		TEST_ASSERT((pfns[i] ^ i) % BLOCK_PAGES == 0 &&
			    pfns[i] == pfns[i - i % BLOCK_PAGES] + i % BLOCK_PAGES,
			    "page %lu of the file is frame 0x%lx", i, pfns[i]);
	free(pfns);
	gmem_assert_hidden(g->mem, SIZE, self->seed);
}

/* Other parts of the kernel may flush at the same time. */
static void assert_flushes(u64 flushes, u64 wanted, const char *how)
{
	TEST_ASSERT(flushes >= wanted && flushes <= wanted + 8,
		    "%lu flushes of all CPUs for %lu blocks by %s, not %lu",
		    flushes, NR_BLOCKS, how, wanted);
}

BLOCK_TEST(one_flush)
{
	u64 before, splits = gmem_vmstat("direct_map_level2_splits");
	struct gmem_vm *g = &self->g;
	struct gmem_trace trace;

	gmem_trace_start(&trace);
	before = gmem_flush_rounds();
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, NR_BLOCKS * BLOCK);
	assert_flushes(gmem_flush_rounds() - before, 1, "fallocate");
	TEST_ASSERT_EQ(gmem_trace_pages(&trace, "guest_memfd_hide", NULL, 0),
		       NR_BLOCKS * BLOCK_PAGES);

	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, NR_BLOCKS * BLOCK);
	before = gmem_flush_rounds();
	gmem_fill(g->mem, NR_BLOCKS * BLOCK, self->seed);
	assert_flushes(gmem_flush_rounds() - before, NR_BLOCKS, "touch");
	TEST_ASSERT_EQ(gmem_trace_pages(&trace, "guest_memfd_hide", NULL, 0),
		       2 * NR_BLOCKS * BLOCK_PAGES);
	gmem_trace_stop(&trace);
	TEST_ASSERT_EQ(gmem_vmstat("direct_map_level2_splits"), splits);
}

/* A guest that touches every page faults once per block. */
BLOCK_TEST(guest_faults)
{
	struct gmem_vm *g = &self->g;
	u64 before, after;

	/* The guest's page tables and code are in another slot. */
	gmem_guest_call(g->vcpus[0], gmem_guest_nop, 0, 0, 0);
	before = gmem_guest_faults(g->vcpus[0]);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	after = gmem_guest_faults(g->vcpus[0]);
	ksft_print_msg("%lu faults for %lu pages\n", after - before, SIZE / GMEM_PAGE);
	TEST_ASSERT(after - before <= NR_BLOCKS + TAIL_PAGES + 8, "%lu faults", after - before);
	TEST_ASSERT_EQ(gmem_pages_2m(g->vm), NR_BLOCKS);
	gmem_assert_filled(g->mem, SIZE, self->seed);
	gmem_assert_hidden(g->mem, SIZE, self->seed);
}

/* A VMM that touches every page faults once per block. */
BLOCK_TEST(user_faults)
{
	struct gmem_vm *g = &self->g;
	struct rusage before, after;
	char *mem;
	u64 n;

	getrusage(RUSAGE_SELF, &before);
	touch(g->mem, NR_BLOCKS * BLOCK);
	getrusage(RUSAGE_SELF, &after);
	n = after.ru_minflt - before.ru_minflt;
	ksft_print_msg("%lu faults for %lu pages written\n", n, NR_BLOCKS * BLOCK_PAGES);
	TEST_ASSERT(n <= NR_BLOCKS + 8, "%lu faults to write", n);

	kvm_munmap(g->mem, SIZE);
	g->mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
	getrusage(RUSAGE_SELF, &before);
	for (n = 0; n < NR_BLOCKS * BLOCK; n += GMEM_PAGE)
		(void)READ_ONCE(g->mem[n]);
	getrusage(RUSAGE_SELF, &after);
	n = after.ru_minflt - before.ru_minflt;
	TEST_ASSERT(n <= NR_BLOCKS + 8, "%lu faults to read", n);

	/*
	 * A mapping that is too small for a block gets 16 pages at each fault.
	 */
	mem = mmap(NULL, BLOCK - 2 * GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd,
		   GMEM_PAGE);
	TEST_ASSERT(mem != MAP_FAILED, "mmap: errno %d", errno);
	getrusage(RUSAGE_SELF, &before);
	touch(mem, BLOCK - 2 * GMEM_PAGE);
	getrusage(RUSAGE_SELF, &after);
	n = after.ru_minflt - before.ru_minflt;
	ksft_print_msg("%lu faults for %lu pages of a small mapping\n", n, BLOCK_PAGES - 2);
	TEST_ASSERT(n <= BLOCK_PAGES / 16 + 8, "%lu faults to write", n);
	kvm_munmap(mem, BLOCK - 2 * GMEM_PAGE);
}

static void hole_and_check(struct gmem_vm *g, u64 first, u64 nr, u64 seed)
{
	u64 start = first * GMEM_PAGE, end = start + nr * GMEM_PAGE, *pfns;
	u64 size = NR_BLOCKS * BLOCK;

	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, size, seed);
	pfns = gmem_pfns(g->mem + start, nr * GMEM_PAGE);
	gmem_punch(g->fd, start, nr * GMEM_PAGE);
	gmem_assert_pfns_hidden(pfns, nr, seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, start, seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA + end, size - end, seed);
	gmem_assert_filled(g->mem, start, seed);
	gmem_assert_filled(g->mem + end, size - end, seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check_zero, GMEM_GVA + start, end - start, 0);
	gmem_assert_zero(g->mem + start, end - start);
	assert_pages(g->fd, NR_BLOCKS * BLOCK_PAGES);
	free(pfns);
}

/*
 * Holes of every kind: the other pages do not change, and user space and the
 * guest read zeroes in the hole.
 */
BLOCK_TEST(punch_patterns)
{
	static const struct {
		u64 first, nr;
	} holes[] = {
		{ 0, 1 }, { 1, 1 }, { BLOCK_PAGES - 1, 1 }, { BLOCK_PAGES, 1 },
		{ BLOCK_PAGES - 1, 2 }, { 100, 300 }, { BLOCK_PAGES / 2, BLOCK_PAGES },
		{ 0, BLOCK_PAGES - 1 }, { 1, BLOCK_PAGES - 1 },
		{ BLOCK_PAGES - 1, BLOCK_PAGES + 2 },
	};
	struct gmem_vm *g = &self->g;
	u64 i, size = NR_BLOCKS * BLOCK;

	for (i = 0; i < ARRAY_SIZE(holes); i++)
		hole_and_check(g, holes[i].first, holes[i].nr, self->seed + i);

	/* Punch every other page. */
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, size, self->seed);
	for (i = 0; i < BLOCK_PAGES; i += 2)
		gmem_punch(g->fd, i * GMEM_PAGE, GMEM_PAGE);
	assert_pages(g->fd, NR_BLOCKS * BLOCK_PAGES - BLOCK_PAGES / 2);
	for (i = 0; i < BLOCK_PAGES; i++)
		gmem_guest_call(g->vcpus[0], i % 2 ? gmem_guest_check : gmem_guest_check_zero,
				GMEM_GVA + i * GMEM_PAGE, GMEM_PAGE, self->seed);
	assert_pages(g->fd, NR_BLOCKS * BLOCK_PAGES);

	/*
	 * A whole block is freed at once; a block of single pages is freed with
	 * its last page.
	 */
	gmem_punch(g->fd, 0, BLOCK);
	assert_pages(g->fd, (NR_BLOCKS - 1) * BLOCK_PAGES);
	gmem_punch(g->fd, BLOCK, BLOCK - GMEM_PAGE);
	assert_pages(g->fd, (NR_BLOCKS - 2) * BLOCK_PAGES + 1);
	gmem_punch(g->fd, 2 * BLOCK - GMEM_PAGE, GMEM_PAGE);
	assert_pages(g->fd, (NR_BLOCKS - 2) * BLOCK_PAGES);
	/* Both ranges are empty now, so they are populated by blocks again. */
	gmem_guest_call(g->vcpus[0], gmem_guest_check_zero, GMEM_GVA, 2 * BLOCK, 0);
	TEST_ASSERT(gmem_pages_2m(g->vm) >= 2, "%lu mappings of 2 MiB", gmem_pages_2m(g->vm));
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA + 2 * BLOCK, 2 * BLOCK, self->seed);
}

/* Punches pages of two blocks, while the kernel has pinned one page of each. */
static void punch_held(struct gmem_vm *g, u64 first, u64 nr, u64 seed)
{
	const u64 held[] = { BLOCK_PAGES / 2, BLOCK_PAGES + BLOCK_PAGES / 2 };
	u64 start = first * GMEM_PAGE, size = nr * GMEM_PAGE, i;
	struct gmem_pin pins[ARRAY_SIZE(held)];
	struct timespec began;
	char page[GMEM_PAGE] __aligned(GMEM_PAGE);
	struct gmem_info info;

	gmem_fill(g->mem, 2 * BLOCK, seed);
	gmem_set_access(g->fd, 0, 2 * BLOCK, GUEST_MEMFD_ACCESS_KERNEL);
	for (i = 0; i < ARRAY_SIZE(held); i++)
		TEST_ASSERT(!gmem_pin(&pins[i], GMEM_PIN_PIPE, g->mem + held[i] * GMEM_PAGE,
				      GMEM_PAGE), "pin: errno %d", errno);
	clock_gettime(CLOCK_MONOTONIC, &began);
	gmem_punch(g->fd, start, size);
	TEST_ASSERT(timespec_to_ns(timespec_elapsed(began)) < 2 * NSEC_PER_SEC,
		    "a hole under a pin took %ld ms",
		    timespec_to_ns(timespec_elapsed(began)) / 1000000);

	/* Pages that stayed in the file were cleared in place. */
	gmem_read_info(g->fd, &info);
	ksft_print_msg("%lu+%lu: %lu pages stay\n", first, nr, info.populated);
	gmem_guest_call(g->vcpus[0], gmem_guest_check_zero, GMEM_GVA + start, size, 0);
	gmem_assert_zero(g->mem + start, size);
	gmem_assert_filled(g->mem, start, seed);
	gmem_assert_filled(g->mem + start + size, 2 * BLOCK - start - size, seed);
	for (i = 0; i < ARRAY_SIZE(held); i++) {
		gmem_pin_read(&pins[i], page);
		if (held[i] >= first && held[i] < first + nr)
			gmem_assert_zero(page, GMEM_PAGE);
		else
			gmem_assert_filled(page, GMEM_PAGE, seed);
		gmem_unpin(&pins[i]);
	}
	/* Without the pins all pages leave the file. */
	gmem_punch(g->fd, start, size);
	assert_pages(g->fd, 2 * BLOCK_PAGES - nr);
	gmem_punch(g->fd, 0, 2 * BLOCK);
	assert_pages(g->fd, 0);
	gmem_set_access(g->fd, 0, 2 * BLOCK, GUEST_MEMFD_ACCESS_USER);
}

/* A hole punch cannot fail, and does not wait until the pins of a block end. */
BLOCK_TEST(punch_held)
{
	static const struct {
		u64 first, nr;
	} holes[] = {
		{ 0, 100 }, { 200, 100 }, { 400, BLOCK_PAGES - 400 },
		{ 100, BLOCK_PAGES }, { BLOCK_PAGES, 300 }, { 400, BLOCK_PAGES },
	};
	struct gmem_vm *g = &self->g;
	u64 i;

	if (gmem_plain())
		SKIP(return, "plain memory");
	for (i = 0; i < ARRAY_SIZE(holes); i++)
		punch_held(g, holes[i].first, holes[i].nr, self->seed + i);
}

/*
 * If gfn and file offset are not aligned alike, KVM uses small mappings only.
 */
BLOCK_TEST(misaligned)
{
	struct gmem_vm *g = &self->g;
	u64 size = SIZE - GMEM_PAGE;

	gmem_vm_unbind(g);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA, size,
				   g->mem + GMEM_PAGE, g->fd, GMEM_PAGE);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, size, self->seed);
	TEST_ASSERT_EQ(gmem_pages_2m(g->vm), 0);
	gmem_assert_filled(g->mem + GMEM_PAGE, size, self->seed);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA, 0,
				   g->mem + GMEM_PAGE, g->fd, GMEM_PAGE);
	gmem_vm_bind(g, g->mem);
}

/* The alignment of the user address does not matter. */
BLOCK_TEST(misaligned_user_address)
{
	struct gmem_vm *g = &self->g;
	char *area;

	area = kvm_mmap(SIZE + 2 * BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	gmem_vm_unbind(g);
	kvm_munmap(g->mem, SIZE);
	g->mem = (char *)(((u64)area + BLOCK - 1) & ~(BLOCK - 1UL)) + GMEM_PAGE;
	g->mem = mmap(g->mem, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, g->fd, 0);
	TEST_ASSERT(g->mem != MAP_FAILED, "cannot map the file");
	gmem_vm_bind(g, g->mem);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	TEST_ASSERT_EQ(gmem_pages_2m(g->vm), NR_BLOCKS);
	gmem_assert_filled(g->mem, SIZE, self->seed);
}

/* The memslot ends inside a block. */
BLOCK_TEST(slot_edges)
{
	struct gmem_vm *g = &self->g;
	u64 size = 2 * BLOCK + BLOCK / 2;

	gmem_vm_unbind(g);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA, size,
				   g->mem, g->fd, 0);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, size, self->seed);
	TEST_ASSERT_EQ(gmem_pages_2m(g->vm), 2);
	gmem_assert_filled(g->mem, size, self->seed);
	gmem_assert_zero(g->mem + size, SIZE - size);
	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA, 0,
				   g->mem, g->fd, 0);
	gmem_vm_bind(g, g->mem);
}

#ifdef __x86_64__
#define NESTED_SIZE	(2 * BLOCK)

static u64 l2_seed;

static void l2_fill(void)
{
	gmem_guest_fill(GMEM_GVA, NESTED_SIZE, l2_seed);
	if (host_cpu_is_intel)
		vmcall();
	else
		vmmcall();
}

static u64 l1_run_l2_svm(u64 svm_gva, u64 b, u64 c)
{
	struct svm_test_data *svm = (void *)svm_gva;

	generic_svm_setup(svm, l2_fill);
	run_guest(svm->vmcb, svm->vmcb_gpa);
	GUEST_ASSERT_EQ(svm->vmcb->control.exit_code, SVM_EXIT_VMMCALL);
	return 0;
}

static u64 l1_run_l2_vmx(u64 vmx_gva, u64 b, u64 c)
{
	struct vmx_pages *vmx = (void *)vmx_gva;

	GUEST_ASSERT(prepare_for_vmx_operation(vmx));
	GUEST_ASSERT(load_vmcs(vmx));
	prepare_vmcs(vmx, l2_fill);
	GUEST_ASSERT(!vmlaunch());
	GUEST_ASSERT_EQ(vmreadz(VM_EXIT_REASON), EXIT_REASON_VMCALL);
	return 0;
}

/*
 * If a guest maps a block to its own guest by 4 KiB, KVM maps no more than 4
 * KiB.
 */
BLOCK_TEST(nested)
{
	struct gmem_vm *g = &self->g;
	gmem_guest_fn run;
	gva_t nested;

	if (!kvm_cpu_has_tdp())
		SKIP(return, "no nested virtualisation with nested paging here");

	vm_enable_tdp(g->vm);
	if (kvm_cpu_has(X86_FEATURE_VMX)) {
		vcpu_alloc_vmx(g->vm, &nested);
		run = l1_run_l2_vmx;
	} else {
		vcpu_alloc_svm(g->vm, &nested);
		run = l1_run_l2_svm;
	}
	tdp_identity_map_default_memslots(g->vm);
	tdp_map(g->vm, GMEM_GPA, GMEM_GPA, NESTED_SIZE);
	l2_seed = self->seed;
	sync_global_to_guest(g->vm, l2_seed);

	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, NESTED_SIZE);
	gmem_guest_call(g->vcpus[0], run, nested, 0, 0);
	gmem_assert_filled(g->mem, NESTED_SIZE, self->seed);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, NESTED_SIZE, self->seed);
}

struct changes {
	u64 splits, merges;			/* by three references */
	u64 splits_after, merges_after;		/* with the punch after it */
};

/*
 * Fills blocks, takes and puts a direct-map reference to one page three times,
 * then frees the blocks.
 */
static void share_and_punch(struct gmem_vm *g, u64 seed, struct changes *c)
{
	struct kvm_xen_hvm_attr attr = { .type = KVM_XEN_ATTR_TYPE_SHARED_INFO };
	u64 splits, merges;
	int i;

	/*
	 * Do not populate the tail, whose single pages would split a mapping as
	 * well.
	 */
	gmem_fill(g->mem, BLOCKS_SIZE, seed);
	splits = gmem_vmstat("direct_map_level2_splits");
	merges = gmem_vmstat("direct_map_level2_collapses");
	for (i = 0; i < 3; i++) {
		attr.u.shared_info.gfn = GMEM_GPA / GMEM_PAGE + 5;
		vm_ioctl(g->vm, KVM_XEN_HVM_SET_ATTR, &attr);
		gmem_assert_counts(g->fd, NR_BLOCKS * BLOCK_PAGES, 1);
		attr.u.shared_info.gfn = KVM_XEN_INVALID_GFN;
		vm_ioctl(g->vm, KVM_XEN_HVM_SET_ATTR, &attr);
		gmem_assert_counts(g->fd, NR_BLOCKS * BLOCK_PAGES, 0);
	}
	/*
	 * KVM has written to the referenced page, so do not check the first
	 * block.
	 */
	gmem_assert_hidden(g->mem + BLOCK, BLOCKS_SIZE - BLOCK, seed);
	c->splits = gmem_vmstat("direct_map_level2_splits") - splits;
	c->merges = gmem_vmstat("direct_map_level2_collapses") - merges;
	gmem_punch(g->fd, 0, SIZE);
	c->splits_after = gmem_vmstat("direct_map_level2_splits") - splits;
	c->merges_after = gmem_vmstat("direct_map_level2_collapses") - merges;
}

/*
 * The first direct-map reference splits the mapping of a block; freeing the
 * block merges it.
 */
BLOCK_TEST(merged_again)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL, .msr = 0x40000000,
	};
	struct gmem_vm *g = &self->g;
	unsigned int tries;

	if (!(kvm_check_cap(KVM_CAP_XEN_HVM) & KVM_XEN_HVM_CONFIG_SHARED_INFO))
		SKIP(return, "no Xen shared info here, to lend a page with");
	vm_ioctl(g->vm, KVM_XEN_HVM_CONFIG, &config);

	/*
	 * Another task, or the worker that merges, may change an entry
	 * concurrently; retry.
	 */
	for (tries = 0; tries < 4; tries++) {
		struct changes c;

		share_and_punch(g, self->seed, &c);
		ksft_print_msg("splits %lu, %lu after the hole; merges %lu, %lu\n",
			       c.splits, c.splits_after, c.merges, c.merges_after);
		if (c.splits == 1 && !c.merges && c.splits_after == 1 && c.merges_after == 1)
			return;
	}
	TEST_FAIL("not one split and one merge in any of %u rounds", tries);
}
#endif

static bool merges_are(void *nr)
{
	return gmem_vmstat("direct_map_level2_collapses") == (u64)nr;
}

/*
 * A tail splits one mapping, once for all of its pages, and freeing the last of
 * them merges it.
 */
BLOCK_TEST(tail_merged)
{
	struct gmem_vm *g = &self->g;
	u64 splits, merges, i;

	splits = gmem_vmstat("direct_map_level2_splits");
	merges = gmem_vmstat("direct_map_level2_collapses");
	gmem_fill(g->mem, SIZE, self->seed);
	TEST_ASSERT_EQ(gmem_vmstat("direct_map_level2_splits") - splits, 1);
	for (i = 0; i < TAIL_PAGES - 1; i++)
		gmem_punch(g->fd, BLOCKS_SIZE + i * GMEM_PAGE, GMEM_PAGE);
	gmem_assert_hidden(g->mem + SIZE - GMEM_PAGE, GMEM_PAGE, self->seed);
	TEST_ASSERT_EQ(gmem_vmstat("direct_map_level2_collapses") - merges, 0);
	gmem_punch(g->fd, SIZE - GMEM_PAGE, GMEM_PAGE);
	gmem_wait(merges_are, (void *)(merges + 1));
	gmem_punch(g->fd, 0, SIZE);
	TEST_ASSERT_EQ(gmem_vmstat("direct_map_level2_splits") - splits, 1);
	TEST_ASSERT_EQ(gmem_vmstat("direct_map_level2_collapses") - merges, 1);
}

/*
 * The mappings that hiding a file has split are merged after the file is gone,
 * although another file has memory in the same GiB.
 */
BLOCK_TEST(merged_beside)
{
	const u64 size = SZ_32M * 2;
	struct gmem_vm *g = &self->g;
	char *before, *during, *mem;
	int fd;

	touch(g->mem, BLOCKS_SIZE);
	gmem_free_singles();
	/*
	 * The worker waits for a second: let it merge the splits of earlier
	 * tests.
	 */
	usleep(2500000);
	before = gmem_read_dump();
	fd = vm_create_guest_memfd(g->vm, size, self->flags);
	mem = kvm_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	touch(mem, size);
	during = gmem_read_dump();
	TEST_ASSERT(strcmp(before, during), "the dump does not show the file");
	kvm_munmap(mem, size);
	kvm_close(fd);
	gmem_wait_dump(before);
	free(during);
	free(before);
}

/* Dirty logging needs small mappings; KVM refuses it for a guest_memfd. */
BLOCK_TEST(dirty_logging)
{
	struct gmem_vm *g = &self->g;
	struct kvm_userspace_memory_region2 region = {
		.slot = GMEM_SLOT, .flags = KVM_MEM_GUEST_MEMFD | KVM_MEM_LOG_DIRTY_PAGES,
		.guest_phys_addr = GMEM_GPA, .memory_size = SIZE, .userspace_addr = (u64)g->mem,
		.guest_memfd = g->fd,
	};

	/* KVM refuses changes of memslots with a guest_memfd. */
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	TEST_ASSERT(__vm_ioctl(g->vm, KVM_SET_USER_MEMORY_REGION2, &region),
		    "dirty logging of a guest_memfd was accepted");
	TEST_ASSERT_EQ(gmem_pages_2m(g->vm), NR_BLOCKS);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, self->seed);
}

/* Each file keeps the block order with which it was created. */
BLOCK_TEST(block_order)
{
	static const char *const bad[] = { "1", "8", "10", "-9", "x" };
	struct gmem_vm g;
	unsigned int i;
	FILE *f;

	gmem_set_block_order(0);
	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_set_block_order(9);
	touch(g.mem, 1);
	assert_blocks(g.fd, 1, 1);
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	TEST_ASSERT_EQ(gmem_pages_2m(g.vm), 0);
	gmem_assert_filled(g.mem, SIZE, self->seed);
	gmem_assert_hidden(g.mem, SIZE, self->seed);
	gmem_punch(g.fd, GMEM_PAGE, GMEM_PAGE);
	assert_blocks(g.fd, SIZE / GMEM_PAGE - 1, SIZE / GMEM_PAGE - 1);
	gmem_assert_zero(g.mem + GMEM_PAGE, GMEM_PAGE);
	gmem_vm_destroy(&g);

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		f = fopen(GMEM_ORDER_PARAM, "w");
		TEST_ASSERT(f, "cannot open %s", GMEM_ORDER_PARAM);
		TEST_ASSERT(fputs(bad[i], f) >= 0 && fclose(f), "block_order=%s was accepted",
			    bad[i]);
	}
}

static bool nothing_absent(void *before)
{
	return gmem_absent_total() <= *(u64 *)before;
}

/* Freeing the last page that was hidden alone merges the entries around it. */
BLOCK_TEST(lone_merged)
{
	u64 absent = gmem_absent_before(), before;
	struct gmem_vm g;

	before = gmem_mapped_by_pages();
	gmem_set_block_order(0);
	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_set_block_order(9);
	gmem_fill(g.mem, SIZE, self->seed);
	TEST_ASSERT(gmem_mapped_by_pages() >= before + SIZE / SZ_2M * 1024,
		    "no large entry of the direct map was split");
	gmem_vm_destroy(&g);
	gmem_wait(nothing_absent, &absent);
	TEST_ASSERT(gmem_mapped_by_pages() <= before,
		    "%lu KiB more are mapped by 4 KiB than before",
		    gmem_mapped_by_pages() - before);
}

/* The cgroup is charged for the whole block, not only for the touched page. */
BLOCK_TEST(charged)
{
	static const char dir[] = "/tmp/cgroup", group[] = "/tmp/cgroup/block";
	struct gmem_vm *g = &self->g;
	u64 before, after;
	char path[64];
	FILE *f;
	pid_t pid;
	int status;

	mkdir(dir, 0700);
	if (mount("cgroup2", dir, "cgroup2", 0, NULL))
		SKIP(return, "no cgroup2");
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", dir);
	f = fopen(path, "w");
	TEST_ASSERT(f && fputs("+memory", f) >= 0 && !fclose(f), "no memory controller");
	TEST_ASSERT(!mkdir(group, 0700), "cannot make %s", group);

	pid = fork();
	if (!pid) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", group);
		f = fopen(path, "w");
		if (!f || fprintf(f, "%d", getpid()) < 0 || fclose(f))
			_exit(1);
		snprintf(path, sizeof(path), "%s/memory.current", group);
		f = fopen(path, "r");
		if (!f || fscanf(f, "%lu", &before) != 1 || fclose(f))
			_exit(2);
		touch(g->mem, 1);
		f = fopen(path, "r");
		if (!f || fscanf(f, "%lu", &after) != 1 || fclose(f))
			_exit(3);
		_exit(after - before >= BLOCK ? 0 : 4);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");
	gmem_punch(g->fd, 0, SIZE);
	rmdir(group);
	umount2(dir, MNT_DETACH);
	TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status), "the child says 0x%x", status);
}

int main(int argc, char **argv)
{
	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "plain memory has no blocks");
	__TEST_REQUIRE(!access(GMEM_ORDER_PARAM, W_OK), "%s is needed", GMEM_ORDER_PARAM);
	return test_harness_run(argc, argv);
}
