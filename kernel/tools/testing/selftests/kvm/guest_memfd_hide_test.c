// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory outside the direct map: when the kernel hides it, and how it
 * restores it.
 *
 * Proves that every page of a GUEST_MEMFD_FLAG_NO_DIRECT_MAP file is absent
 * from the host kernel's direct map from before data can be written into it
 * until it has left the file, however it was populated; that the kernel hides
 * it only once; that no CPU keeps an old translation of it; and that it is
 * zeroed before the kernel restores it, however it left the file, or stays
 * hidden and zeroed for another file while other pages of its block are in use.
 *
 * Catches: hide skipped (user_fault, guest_fault, fallocate, sealed), flush
 * skipped (flush_counted, stale_translation), scrub skipped or done after the
 * restore (punch_hole, close, never_seen_leaving), restore skipped (punch_hole,
 * free_singles, many_vms, all_back, and every test where the direct map is
 * quick to dump), a page hidden twice or not at all when it is touched again
 * (hidden_once), single pages that are not reused, or not clean (free_singles).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bitmap.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"
#include "ucall_common.h"

#define NR_PAGES	64UL
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define TIMEOUT		600

/* A block, and a tail of single pages of a second block. */
#define BLOCK_PAGES	(SZ_2M / GMEM_PAGE)
#define ONCE_PAGES	(BLOCK_PAGES + NR_PAGES)
#define ONCE_SIZE	(ONCE_PAGES * GMEM_PAGE)

#define MANY_VMS	32
#define MANY_SIZE	SZ_4M

/*
 * Each test leaves the direct map as it was, and no report in the kernel log.
 */
FIXTURE(hide) {
	int kmsg;
	u64 flags;
	u64 seed;
};

FIXTURE_SETUP(hide)
{
	self->flags = gmem_test_flags();
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
}

FIXTURE_TEARDOWN(hide)
{
	gmem_assert_nothing_left(&self->kmsg);
}

#define HIDE_TEST(name) TEST_F_TIMEOUT(hide, name, TIMEOUT)

static void wait_child(pid_t pid)
{
	int status;

	TEST_ASSERT(pid > 0, "fork() failed");
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");
	TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status),
		    "the child failed, status 0x%x", status);
}

/* KVM offers the flag where it works, and nowhere else. */
HIDE_TEST(capability)
{
	unsigned long types = kvm_check_cap(KVM_CAP_VM_TYPES) ?: BIT(VM_TYPE_DEFAULT);
	u64 bit = GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
	unsigned long type;

	if (gmem_plain())
		SKIP(return, "plain memory");

	TEST_ASSERT(kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS) & bit, "not shown on /dev/kvm");

	for_each_set_bit(type, &types, BITS_PER_TYPE(types)) {
		struct kvm_vm *vm = vm_create_barebones_type(type);
		bool offered = vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_FLAGS) & bit;
		int fd = __vm_create_guest_memfd(vm, GMEM_PAGE, bit);

		TEST_ASSERT(offered == (fd >= 0), "VM type %lu: offered %d, create gives %d",
			    type, offered, fd);
		TEST_ASSERT(offered || errno == EINVAL, "VM type %lu: errno %d", type, errno);
		TEST_ASSERT(offered || type != VM_TYPE_DEFAULT, "not for default VMs");
		if (fd >= 0)
			kvm_close(fd);
		kvm_vm_free(vm);
	}
}

/* KVM accepts every combination of known flags, and refuses unknown ones. */
HIDE_TEST(flags)
{
	struct kvm_vm *vm = vm_create_barebones();
	u64 known = vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_FLAGS), extra, flags;
	struct gmem_info info;
	int fd;

	if (gmem_plain())
		SKIP(return, "plain memory");

	for (flags = 0; flags < 8; flags++) {
		fd = __vm_create_guest_memfd(vm, SIZE, flags);
		TEST_ASSERT(fd >= 0, "flags 0x%lx refused, errno %d", flags, errno);
		gmem_read_info(fd, &info);
		TEST_ASSERT_EQ(info.flags, flags);
		TEST_ASSERT_EQ(info.size, SIZE);
		TEST_ASSERT_EQ(info.populated + info.hidden + info.referenced, 0);
		kvm_close(fd);
	}

	for (extra = 1; extra; extra <<= 1) {
		if (extra & known)
			continue;
		fd = __vm_create_guest_memfd(vm, SIZE, self->flags | extra);
		TEST_ASSERT(fd < 0 && errno == EINVAL, "unknown flag 0x%lx: fd %d, errno %d",
			    extra, fd, errno);
	}

	fd = __vm_create_guest_memfd(vm, 0, self->flags);
	TEST_ASSERT(fd < 0 && errno == EINVAL, "size 0: fd %d, errno %d", fd, errno);
	fd = __vm_create_guest_memfd(vm, GMEM_PAGE + 1, self->flags);
	TEST_ASSERT(fd < 0 && errno == EINVAL, "size 4097: fd %d, errno %d", fd, errno);
	kvm_vm_free(vm);
}

/*
 * Without NO_DIRECT_MAP the pages are present, the kernel sees them, and none
 * is counted.
 */
HIDE_TEST(without_the_flag)
{
	u64 flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;
	struct gmem_info info;
	struct gmem_vm g;
	u64 *pfns;
	size_t i;

	gmem_vm_create(&g, 1, SIZE, flags);
	gmem_fill(g.mem, SIZE, self->seed);
	gmem_guest_call(g.vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, self->seed);
	pfns = gmem_pfns(g.mem, SIZE);
	TEST_ASSERT_EQ(gmem_count_absent(pfns, NR_PAGES), 0);
	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT(gmem_kernel_sees(pfns[i], self->seed), "page %lu is not seen", i);
	if (!gmem_plain()) {
		gmem_read_info(g.fd, &info);
		TEST_ASSERT_EQ(info.flags, flags);
		TEST_ASSERT_EQ(info.hidden, 0);
	}
	gmem_vm_destroy(&g);
	free(pfns);
}

HIDE_TEST(user_fault)
{
	struct gmem_vm g;

	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_assert_counts(g.fd, 0, 0);
	gmem_assert_zero(g.mem, SIZE);
	gmem_assert_counts(g.fd, NR_PAGES, 0);
	gmem_fill(g.mem, SIZE, self->seed);
	gmem_assert_hidden(g.mem, SIZE, self->seed);
	gmem_guest_call(g.vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, self->seed);
	gmem_vm_destroy(&g);
}

HIDE_TEST(guest_fault)
{
	struct gmem_vm g;

	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_guest_call(g.vcpus[0], gmem_guest_check_zero, GMEM_GVA, SIZE, 0);
	gmem_assert_counts(g.fd, NR_PAGES, 0);
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	/* User space maps the pages only now: they were hidden before. */
	gmem_assert_hidden(g.mem, SIZE, self->seed);
	gmem_assert_filled(g.mem, SIZE, self->seed);
	gmem_vm_destroy(&g);
}

HIDE_TEST(fallocate)
{
	struct gmem_vm g;

	gmem_vm_create(&g, 1, SIZE, self->flags);
	kvm_fallocate(g.fd, FALLOC_FL_KEEP_SIZE, 0, SIZE);
	gmem_assert_counts(g.fd, NR_PAGES, 0);
	gmem_assert_zero(g.mem, SIZE);
	gmem_fill(g.mem, SIZE, self->seed);
	gmem_assert_hidden(g.mem, SIZE, self->seed);
	gmem_vm_destroy(&g);
}

/*
 * Pages are hidden when they are inserted into the file, and never again.
 * Those of the tail are hidden together with all others of their block.
 */
HIDE_TEST(hidden_once)
{
	struct gmem_trace trace;
	struct gmem_vm g;
	u64 *pfns, *hid;
	u64 n, times;
	size_t i, j;
	char *again;

	if (gmem_plain())
		SKIP(return, "plain memory");

	gmem_trace_start(&trace);
	gmem_vm_create(&g, 1, ONCE_SIZE, self->flags);
	gmem_fill(g.mem, SIZE, self->seed);
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA + SIZE, ONCE_SIZE - SIZE,
			self->seed);

	/* Touch the same pages again in all possible ways. */
	gmem_guest_call(g.vcpus[0], gmem_guest_check, GMEM_GVA, ONCE_SIZE, self->seed);
	gmem_assert_filled(g.mem, ONCE_SIZE, self->seed);
	kvm_fallocate(g.fd, FALLOC_FL_KEEP_SIZE, 0, ONCE_SIZE);
	again = kvm_mmap(ONCE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g.fd);
	gmem_assert_filled(again, ONCE_SIZE, self->seed);
	kvm_munmap(again, ONCE_SIZE);
	gmem_vm_unbind(&g);
	gmem_vm_bind(&g, g.mem);
	gmem_guest_call(g.vcpus[0], gmem_guest_check, GMEM_GVA, ONCE_SIZE, self->seed);

	pfns = gmem_pfns(g.mem, ONCE_SIZE);
	hid = calloc(4 * BLOCK_PAGES, sizeof(*hid));
	n = gmem_trace_pages(&trace, "guest_memfd_hide", hid, 4 * BLOCK_PAGES);
	TEST_ASSERT_EQ(n, 2 * BLOCK_PAGES);
	for (i = 0; i < ONCE_PAGES; i++) {
		times = 0;
		for (j = 0; j < n; j++)
			times += hid[j] == pfns[i];
		TEST_ASSERT(times == 1, "%lu hide events name frame 0x%lx", times, pfns[i]);
	}
	TEST_ASSERT_EQ(gmem_trace_pages(&trace, "guest_memfd_restore", NULL, 0), 0);
	gmem_vm_destroy(&g);
	/* A worker clears and restores the pages. */
	gmem_assert_all_back();
	TEST_ASSERT_EQ(gmem_trace_pages(&trace, "guest_memfd_restore", NULL, 0),
		       2 * BLOCK_PAGES);
	gmem_trace_stop(&trace);
	free(hid);
	free(pfns);
}

/* Without INIT_SHARED only the guest can access its memory. */
HIDE_TEST(sealed)
{
	u64 flags = GUEST_MEMFD_FLAG_NO_DIRECT_MAP | GUEST_MEMFD_FLAG_MMAP;
	struct gmem_trace trace;
	struct gmem_vm g;
	u64 pfns[BLOCK_PAGES];

	if (gmem_plain())
		SKIP(return, "plain memory");

	gmem_trace_start(&trace);
	gmem_vm_create(&g, 1, SZ_2M, flags);
	gmem_guest_call(g.vcpus[0], gmem_guest_check_zero, GMEM_GVA, SZ_2M, 0);
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, SZ_2M, self->seed);
	gmem_guest_call(g.vcpus[0], gmem_guest_check, GMEM_GVA, SZ_2M, self->seed);
	TEST_EXPECT_SIGBUS((void)READ_ONCE(g.mem[0]));
	TEST_EXPECT_SIGBUS(WRITE_ONCE(g.mem[SZ_2M - 1], 1));
	gmem_assert_counts(g.fd, BLOCK_PAGES, 0);
	TEST_ASSERT_EQ(gmem_trace_pages(&trace, "guest_memfd_hide", pfns, BLOCK_PAGES),
		       BLOCK_PAGES);
	gmem_assert_pfns_hidden(pfns, BLOCK_PAGES, self->seed);
	gmem_vm_destroy(&g);
	gmem_assert_given_back(pfns, BLOCK_PAGES, self->seed);
	gmem_trace_stop(&trace);
}

/* Without MMAP user space cannot map the file. */
HIDE_TEST(without_mmap)
{
	struct kvm_vm *vm = vm_create_barebones();
	void *p;
	int fd;

	if (gmem_plain())
		SKIP(return, "plain memory");

	fd = vm_create_guest_memfd(vm, SIZE, GUEST_MEMFD_FLAG_NO_DIRECT_MAP);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TEST_ASSERT(p == MAP_FAILED && errno == ENODEV, "mmap gives %p, errno %d", p, errno);
	kvm_fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, SIZE);
	gmem_assert_counts(fd, NR_PAGES, 0);
	/*
	 * The other pages of the block stay free until the kernel needs memory.
	 */
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before() + BLOCK_PAGES);
	TEST_ASSERT_EQ(gmem_pool("single", -1), BLOCK_PAGES - NR_PAGES);
	gmem_free_singles();
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before() + NR_PAGES);
	gmem_punch(fd, 0, SIZE);
	gmem_assert_counts(fd, 0, 0);
	gmem_assert_all_back();
	kvm_close(fd);
	kvm_vm_free(vm);
}

/*
 * Pages of a hole are zeroed and restored, the other pages do not change, and
 * the hole reads as zeroes.
 */
HIDE_TEST(punch_hole)
{
	const u64 at = 8, nr = 24;
	struct gmem_vm g;
	u64 *pfns;

	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	pfns = gmem_pfns(g.mem, SIZE);
	gmem_assert_pfns_hidden(pfns, NR_PAGES, self->seed);

	gmem_punch(g.fd, at * GMEM_PAGE, nr * GMEM_PAGE);
	gmem_assert_counts(g.fd, NR_PAGES - nr, 0);
	gmem_assert_given_back(pfns + at, nr, self->seed);
	gmem_assert_present(pfns + at, nr);
	gmem_assert_pfns_hidden(pfns, at, self->seed);
	gmem_assert_pfns_hidden(pfns + at + nr, NR_PAGES - at - nr, self->seed);
	if (!gmem_plain())
		TEST_ASSERT_EQ(gmem_scan(self->seed, NULL), 0);

	gmem_guest_call(g.vcpus[0], gmem_guest_check_zero, GMEM_GVA + at * GMEM_PAGE,
			nr / 2 * GMEM_PAGE, 0);
	gmem_assert_zero(g.mem + at * GMEM_PAGE, nr * GMEM_PAGE);
	gmem_assert_filled(g.mem, at * GMEM_PAGE, self->seed);
	gmem_guest_call(g.vcpus[0], gmem_guest_check, GMEM_GVA + (at + nr) * GMEM_PAGE,
			(NR_PAGES - at - nr) * GMEM_PAGE, self->seed);
	gmem_assert_counts(g.fd, NR_PAGES, 0);
	gmem_vm_destroy(&g);
	gmem_assert_given_back(pfns, NR_PAGES, self->seed);
	free(pfns);
}

static bool singles_are(void *nr)
{
	return gmem_pool("single", -1) == (u64)nr;
}

/*
 * Pages of a hole stay hidden and clean for another file while others of their
 * block are used.
 */
HIDE_TEST(free_singles)
{
	const u64 at = 8, nr = 24;
	u64 *pfns, *other, i;
	struct gmem_trace trace;
	struct gmem_vm g, h;

	if (gmem_plain())
		SKIP(return, "plain memory");

	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_vm_create(&h, 1, nr * GMEM_PAGE, self->flags);
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	pfns = gmem_pfns(g.mem, SIZE);
	TEST_ASSERT_EQ(gmem_pool("single", -1), BLOCK_PAGES - NR_PAGES);
	gmem_free_singles();

	gmem_punch(g.fd, at * GMEM_PAGE, nr * GMEM_PAGE);
	gmem_wait(singles_are, (void *)nr, 1000);
	TEST_ASSERT_EQ(gmem_count_absent(pfns, NR_PAGES), NR_PAGES);
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before() + NR_PAGES);

	/*
	 * No other single pages are free, so the other file gets these and
	 * hides nothing.
	 */
	gmem_trace_start(&trace);
	gmem_guest_call(h.vcpus[0], gmem_guest_check_zero, GMEM_GVA, h.size, 0);
	gmem_assert_counts(h.fd, nr, 0);
	TEST_ASSERT_EQ(gmem_trace_pages(&trace, "guest_memfd_hide", NULL, 0), 0);
	gmem_trace_stop(&trace);
	TEST_ASSERT_EQ(gmem_pool("single", -1), 0);
	other = gmem_pfns(h.mem, h.size);
	for (i = 0; i < nr; i++)
		TEST_ASSERT(other[i] >= pfns[0] - pfns[0] % BLOCK_PAGES &&
			    other[i] < pfns[0] - pfns[0] % BLOCK_PAGES + BLOCK_PAGES,
			    "frame 0x%lx is not of the block of 0x%lx", other[i], pfns[0]);
	gmem_fill(h.mem, h.size, self->seed + 1);
	gmem_assert_pfns_hidden(other, nr, self->seed + 1);
	TEST_ASSERT_EQ(gmem_absent_total(), gmem_absent_before() + NR_PAGES);

	gmem_vm_destroy(&h);
	gmem_assert_given_back(other, nr, self->seed + 1);
	gmem_vm_destroy(&g);
	gmem_assert_given_back(pfns, NR_PAGES, self->seed);
	free(pfns);
	free(other);
}

/* After its file is closed, no page of RAM contains the guest's data. */
HIDE_TEST(close)
{
	struct gmem_vm g;
	u64 *pfns, found;

	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	pfns = gmem_pfns(g.mem, SIZE);
	found = gmem_scan(self->seed, NULL);
	TEST_ASSERT(gmem_plain() ? found >= NR_PAGES : !found,
		    "a scan of all RAM finds %lu pages of the live guest's %lu", found, NR_PAGES);
	gmem_vm_destroy(&g);
	gmem_assert_given_back(pfns, NR_PAGES, self->seed);
	found = gmem_scan(self->seed, NULL);
	TEST_ASSERT(gmem_plain() || !found,
		    "a scan of all RAM finds %lu pages of the guest that is gone", found);
	ksft_print_msg("pages found after the end: %lu of %lu\n", found, NR_PAGES);
	free(pfns);
}

/*
 * The file is closed while the VM exists: its memory is restored, and the
 * vCPU's fault fails.
 */
HIDE_TEST(close_with_vm_alive)
{
	struct gmem_vm g;
	u64 *pfns;
	int r;

	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	pfns = gmem_pfns(g.mem, SIZE);
	gmem_vm_close_file(&g);
	gmem_assert_given_back(pfns, NR_PAGES, self->seed);
	gmem_assert_present(pfns, NR_PAGES);

	TEST_ASSERT_EQ(gmem_guest_call(g.vcpus[0], gmem_guest_nop, 42, 0, 0), 42);
	gmem_guest_post(g.vcpus[0], gmem_guest_check, GMEM_GVA, GMEM_PAGE, self->seed);
	r = _vcpu_run(g.vcpus[0]);
	TEST_ASSERT(r == -1 && errno == EFAULT, "KVM_RUN gives %d, errno %d", r, errno);
	TEST_ASSERT_KVM_EXIT_REASON(g.vcpus[0], KVM_EXIT_MEMORY_FAULT);
	gmem_vm_destroy(&g);
	free(pfns);
}

/*
 * The VM is destroyed while the file is mapped: the data stay in place, and
 * hidden.
 */
HIDE_TEST(vm_gone_file_alive)
{
	struct gmem_vm g;
	u64 *pfns;

	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	kvm_vm_free(g.vm);
	g.vm = NULL;
	gmem_assert_filled(g.mem, SIZE, self->seed);
	gmem_assert_hidden(g.mem, SIZE, self->seed);
	gmem_assert_counts(g.fd, NR_PAGES, 0);
	pfns = gmem_pfns(g.mem, SIZE);

	/* Only the mapping holds a reference to the file now. */
	kvm_close(g.fd);
	g.fd = -1;
	gmem_assert_hidden(g.mem, SIZE, self->seed);
	gmem_assert_filled(g.mem, SIZE, self->seed);
	gmem_vm_destroy(&g);
	gmem_assert_given_back(pfns, NR_PAGES, self->seed);
	free(pfns);
}

/* Two VMs with two files each do not affect each other. */
HIDE_TEST(two_vms)
{
	u64 seed[4], *pfns0, *pfns1;
	struct gmem_vm a, b;
	char *more[2];
	int fd[2], r;

	gmem_vm_create(&a, 1, SIZE, self->flags);
	gmem_vm_create(&b, 1, SIZE, self->flags);
	fd[0] = vm_create_guest_memfd(a.vm, SIZE, self->flags);
	fd[1] = vm_create_guest_memfd(b.vm, SIZE, self->flags);
	more[0] = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd[0]);
	more[1] = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd[1]);
	for (r = 0; r < 4; r++)
		seed[r] = gmem_new_seed();

	gmem_guest_call(a.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, seed[0]);
	gmem_guest_call(b.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, seed[1]);
	gmem_fill(more[0], SIZE, seed[2]);
	gmem_fill(more[1], SIZE, seed[3]);

	/* A file belongs to the VM that created it. */
	r = __vm_set_user_memory_region2(b.vm, GMEM_SLOT + 1, KVM_MEM_GUEST_MEMFD,
					 2 * GMEM_GPA, SIZE, more[0], fd[0], 0);
	TEST_ASSERT(r && errno == EINVAL, "another VM's file: %d, errno %d", r, errno);

	pfns0 = gmem_pfns(a.mem, SIZE);
	pfns1 = gmem_pfns(more[0], SIZE);
	gmem_vm_destroy(&a);
	gmem_assert_given_back(pfns0, NR_PAGES, seed[0]);
	gmem_assert_hidden(more[0], SIZE, seed[2]);
	kvm_munmap(more[0], SIZE);
	kvm_close(fd[0]);
	gmem_assert_given_back(pfns1, NR_PAGES, seed[2]);

	gmem_assert_hidden(b.mem, SIZE, seed[1]);
	gmem_assert_hidden(more[1], SIZE, seed[3]);
	gmem_assert_filled(more[1], SIZE, seed[3]);
	gmem_guest_call(b.vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, seed[1]);
	kvm_munmap(more[1], SIZE);
	kvm_close(fd[1]);
	gmem_vm_destroy(&b);
	free(pfns0);
	free(pfns1);
}

HIDE_TEST(fork)
{
	u64 other = gmem_new_seed();
	struct gmem_vm g;
	pid_t pid;

	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_fill(g.mem, SIZE, self->seed);

	pid = fork();
	if (!pid) {
		gmem_assert_filled(g.mem, SIZE, self->seed);
		gmem_assert_hidden(g.mem, SIZE, self->seed);
		gmem_fill(g.mem, SIZE / 2, other);
		_exit(0);
	}
	wait_child(pid);

	/*
	 * Parent and child share the memory, and the child's exit changes
	 * nothing.
	 */
	gmem_assert_filled(g.mem, SIZE / 2, other);
	gmem_assert_filled(g.mem + SIZE / 2, SIZE / 2, self->seed);
	gmem_assert_hidden(g.mem, SIZE / 2, other);
	gmem_assert_counts(g.fd, NR_PAGES, 0);
	gmem_guest_call(g.vcpus[0], gmem_guest_check, GMEM_GVA, SIZE / 2, other);
	gmem_vm_destroy(&g);
}

HIDE_TEST(mremap_munmap)
{
	struct gmem_vm g;
	u64 *pfns, *now;
	char *moved;

	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_fill(g.mem, SIZE, self->seed);
	pfns = gmem_pfns(g.mem, SIZE);

	moved = kvm_mmap(SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	moved = mremap(g.mem, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, moved);
	TEST_ASSERT(moved != MAP_FAILED, "mremap() failed");
	g.mem = moved;
	gmem_assert_filled(g.mem, SIZE, self->seed);
	gmem_assert_hidden(g.mem, SIZE, self->seed);

	/* Unmap a part, then the rest: the file keeps the data. */
	kvm_munmap(g.mem, SIZE / 4);
	gmem_assert_pfns_hidden(pfns, NR_PAGES, self->seed);
	kvm_munmap(g.mem + SIZE / 4, SIZE - SIZE / 4);
	gmem_assert_pfns_hidden(pfns, NR_PAGES, self->seed);
	gmem_assert_counts(g.fd, NR_PAGES, 0);

	g.mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g.fd);
	gmem_assert_filled(g.mem, SIZE, self->seed);
	now = gmem_pfns(g.mem, SIZE);
	TEST_ASSERT(!memcmp(pfns, now, NR_PAGES * sizeof(*pfns)), "pages were replaced");
	gmem_assert_hidden(g.mem, SIZE, self->seed);
	gmem_vm_destroy(&g);
	free(pfns);
	free(now);
}

/* Runs in the program that HIDE_TEST(exec) executes. */
static int after_exec(const char *fd_arg, const char *seed_arg)
{
	u64 seed = strtoull(seed_arg, NULL, 0);
	int fd = atoi(fd_arg);
	char *mem;

	mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	gmem_assert_counts(fd, NR_PAGES, 0);
	gmem_assert_filled(mem, SIZE, seed);
	gmem_assert_hidden(mem, SIZE, seed);
	return 0;
}

HIDE_TEST(exec)
{
	char fd_arg[16], seed_arg[32];
	struct gmem_vm g;
	u64 *pfns;
	pid_t pid;

	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_fill(g.mem, SIZE, self->seed);
	pfns = gmem_pfns(g.mem, SIZE);
	snprintf(fd_arg, sizeof(fd_arg), "%d", g.fd);
	snprintf(seed_arg, sizeof(seed_arg), "%#lx", self->seed);

	pid = fork();
	if (!pid) {
		/*
		 * exec() removes the child's mappings together with its address
		 * space.
		 */
		execl("/proc/self/exe", program_invocation_name, "--after-exec", fd_arg,
		      seed_arg, NULL);
		_exit(1);
	}
	wait_child(pid);
	gmem_assert_pfns_hidden(pfns, NR_PAGES, self->seed);
	gmem_assert_filled(g.mem, SIZE, self->seed);
	gmem_vm_destroy(&g);
	gmem_assert_given_back(pfns, NR_PAGES, self->seed);
	free(pfns);
}

/* The kernel restores all memory of a killed VMM. */
HIDE_TEST(killed)
{
	int status, p[2];
	u64 *pfns;
	pid_t pid;

	TEST_ASSERT(!pipe(p), "pipe() failed");
	pfns = calloc(NR_PAGES, sizeof(*pfns));
	pid = fork();
	if (!pid) {
		struct gmem_vm g;
		u64 *mine;

		gmem_vm_create(&g, 1, SIZE, self->flags);
		gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
		mine = gmem_pfns(g.mem, SIZE);
		gmem_assert_pfns_hidden(mine, NR_PAGES, self->seed);
		(void)!write(p[1], mine, NR_PAGES * sizeof(*mine));
		for (;;)
			pause();
	}
	kvm_close(p[1]);
	TEST_ASSERT(read(p[0], pfns, NR_PAGES * sizeof(*pfns)) ==
		    (ssize_t)(NR_PAGES * sizeof(*pfns)), "the child did not get there");
	kill(pid, SIGKILL);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "not killed");
	kvm_close(p[0]);
	gmem_assert_given_back(pfns, NR_PAGES, self->seed);
	free(pfns);
}

HIDE_TEST(many_vms)
{
	const u64 nr = MANY_SIZE / GMEM_PAGE;
	u64 free_before = gmem_free_pages(), free_after;
	struct kvm_vm *vm[MANY_VMS];
	int fd[MANY_VMS], i;
	char *mem;

	for (i = 0; i < MANY_VMS; i++) {
		vm[i] = vm_create_barebones();
		fd[i] = vm_create_guest_memfd(vm[i], MANY_SIZE, self->flags);
		kvm_fallocate(fd[i], FALLOC_FL_KEEP_SIZE, 0, MANY_SIZE);
		gmem_assert_counts(fd[i], nr, 0);
	}
	TEST_ASSERT_EQ(gmem_absent_total() - gmem_absent_before(),
		       gmem_plain() ? 0 : nr * MANY_VMS);

	/* Check the data of one file in four only, because that is slow. */
	for (i = 0; i < MANY_VMS; i += 4) {
		mem = kvm_mmap(MANY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd[i]);
		gmem_fill(mem, SIZE, self->seed);
		gmem_assert_hidden(mem, SIZE, self->seed);
		kvm_munmap(mem, MANY_SIZE);
	}

	/*
	 * Close the odd ones first, so that neighbours are freed at different
	 * times.
	 */
	for (i = 1; i < MANY_VMS; i += 2) {
		kvm_close(fd[i]);
		kvm_vm_free(vm[i]);
	}
	TEST_ASSERT_EQ(gmem_absent_total() - gmem_absent_before(),
		       gmem_plain() ? 0 : nr * MANY_VMS / 2);
	for (i = 0; i < MANY_VMS; i += 2) {
		kvm_vm_free(vm[i]);
		kvm_close(fd[i]);
	}
	gmem_assert_all_back();
	free_after = gmem_free_pages();
	ksft_print_msg("%u VMs of %lu pages, %lu pages free before, %lu after, MemFree %lu kB\n",
		       MANY_VMS, nr, free_before, free_after, gmem_meminfo("MemFree"));
	TEST_ASSERT(free_after + nr * MANY_VMS / 4 > free_before,
		    "more than a quarter of the memory did not come back");
}

/*
 * Hiding flushes the TLBs of all CPUs, once for each time that pages were
 * hidden.
 */
HIDE_TEST(flush_counted)
{
	struct gmem_trace trace;
	u64 before, after, hides = 0;
	struct gmem_vm g;
	char path[160], line[512];
	FILE *f;

	if (gmem_plain())
		SKIP(return, "plain memory");
	if (!gmem_counts_flushes())
		SKIP(return, "no counter of flushes here");

	gmem_vm_create(&g, 1, SIZE, self->flags);
	gmem_trace_start(&trace);
	before = gmem_flush_rounds();
	kvm_fallocate(g.fd, FALLOC_FL_KEEP_SIZE, 0, SIZE);
	after = gmem_flush_rounds();

	snprintf(path, sizeof(path), "%s/trace", trace.dir);
	f = fopen(path, "r");
	TEST_ASSERT(f, "cannot open %s", path);
	while (fgets(line, sizeof(line), f))
		hides += line[0] != '#' && strstr(line, ": guest_memfd_hide: ");
	fclose(f);
	gmem_trace_stop(&trace);

	ksft_print_msg("%lu pages populated, hidden in %lu steps, %lu flushes of all CPUs\n",
		       NR_PAGES, hides, after - before);
	TEST_ASSERT(hides, "nothing was hidden");
	TEST_ASSERT(after - before >= hides, "%lu flushes of all CPUs for %lu steps",
		    after - before, hides);
	gmem_vm_destroy(&g);
}

/*
 * A thread that repeatedly reads one frame through the direct map.  Its CPU's
 * TLB keeps the entry, so an entry that the kernel only removed from the page
 * table would still serve to read what the owner writes.
 */
struct watcher {
	pthread_t thread;
	int cpu;
	u64 seed;
	u64 pfn;		/* 0: pause */
	u64 looks;
	u64 seen;
	bool stop;
};

static void *watch(void *arg)
{
	struct watcher *w = arg;
	u64 pfn;

	__pin_task_to_cpu(pthread_self(), w->cpu);
	while (!READ_ONCE(w->stop)) {
		pfn = READ_ONCE(w->pfn);
		if (!pfn)
			continue;
		if (gmem_kernel_sees(pfn, READ_ONCE(w->seed)))
			w->seen++;
		WRITE_ONCE(w->looks, w->looks + 1);
	}
	return NULL;
}

static void wait_looks(struct watcher *w, u64 more)
{
	u64 until = READ_ONCE(w->looks) + more;

	while (READ_ONCE(w->looks) < until)
		sched_yield();
}

HIDE_TEST(stale_translation)
{
	const int rounds = 200;
	struct watcher w = { .cpu = 1, .seed = self->seed };
	unsigned int order = 0;
	int i, reused = 0;
	struct gmem_vm g;
	u64 pfn;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "one CPU");

	__pin_task_to_cpu(pthread_self(), 0);
	/*
	 * Hide pages one by one, because free single pages of a block would
	 * stay hidden.
	 */
	if (!gmem_plain())
		order = gmem_set_block_order(0);
	gmem_vm_create(&g, 1, GMEM_PAGE, self->flags);
	if (!gmem_plain())
		gmem_set_block_order(order);
	(void)READ_ONCE(g.mem[0]);
	kvm_pthread_create(&w.thread, NULL, watch, &w);

	for (i = 0; i < rounds; i++) {
		pfn = gmem_pfn(g.mem);
		gmem_punch(g.fd, 0, GMEM_PAGE);
		/*
		 * The frame is free and present: the other CPU's TLB gets a
		 * translation of it.
		 */
		WRITE_ONCE(w.pfn, pfn);
		wait_looks(&w, 3);
		/* The allocator often returns the page that was freed last. */
		(void)READ_ONCE(g.mem[0]);
		if (gmem_pfn(g.mem) == pfn) {
			reused++;
			gmem_fill(g.mem, GMEM_PAGE, self->seed);
			wait_looks(&w, 3);
			memset(g.mem, 0, GMEM_PAGE);
		}
		WRITE_ONCE(w.pfn, 0);
		wait_looks(&w, 0);
	}
	WRITE_ONCE(w.stop, true);
	kvm_pthread_join(w.thread, NULL);
	ksft_print_msg("%lu looks at %d frames that were used again: %lu saw data\n",
		       w.looks, reused, w.seen);
	TEST_ASSERT(gmem_plain() ? w.seen : !w.seen,
		    "another CPU read hidden memory %lu times through an old translation", w.seen);
	gmem_vm_destroy(&g);
	if (!reused)
		SKIP(return, "no frame was used again");
}

/*
 * A page is zeroed before it is restored, so no read during that shows old
 * data.
 */
HIDE_TEST(never_seen_leaving)
{
	struct watcher w = { .cpu = 1, .seed = self->seed };
	const int rounds = 100;
	struct gmem_vm g;
	int i;

	if (gmem_plain())
		SKIP(return, "plain memory");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "one CPU");

	gmem_vm_create(&g, 1, SIZE, self->flags);
	kvm_pthread_create(&w.thread, NULL, watch, &w);
	for (i = 0; i < rounds; i++) {
		gmem_fill(g.mem, SIZE, self->seed);
		WRITE_ONCE(w.pfn, gmem_pfn(g.mem + (i % NR_PAGES) * GMEM_PAGE));
		wait_looks(&w, 1);
		gmem_punch(g.fd, 0, SIZE);
		wait_looks(&w, 2);
	}
	WRITE_ONCE(w.stop, true);
	kvm_pthread_join(w.thread, NULL);
	ksft_print_msg("%lu looks at pages while they left the file: %lu saw data\n",
		       w.looks, w.seen);
	TEST_ASSERT(!w.seen, "old data was seen %lu times", w.seen);
	gmem_vm_destroy(&g);
}

/* memfd_secret() uses the same helpers and still works as before. */
HIDE_TEST(secretmem)
{
	u64 *pfns;
	char *mem;
	int fd;

	fd = syscall(__NR_memfd_secret, 0);
	if (fd < 0)
		SKIP(return, "no memfd_secret()");

	kvm_ftruncate(fd, 8 * GMEM_PAGE);
	mem = mmap(NULL, 8 * GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		SKIP(return, "memfd_secret() cannot be mapped: RLIMIT_MEMLOCK?");
	gmem_assert_zero(mem, 8 * GMEM_PAGE);
	gmem_fill(mem, 8 * GMEM_PAGE, self->seed);
	pfns = gmem_pfns(mem, 8 * GMEM_PAGE);
	TEST_ASSERT_EQ(gmem_count_absent(pfns, 8), 8);
	TEST_ASSERT(!gmem_kernel_sees(pfns[0], self->seed), "the kernel sees secret memory");
	gmem_assert_filled(mem, 8 * GMEM_PAGE, self->seed);
	kvm_munmap(mem, 8 * GMEM_PAGE);
	kvm_close(fd);
	TEST_ASSERT_EQ(gmem_count_absent(pfns, 8), 0);
	TEST_ASSERT(!gmem_kernel_sees(pfns[0], self->seed), "secret memory came back as it was");
	free(pfns);
}

/* This is the last test and may be slow: the kernel has restored every page. */
HIDE_TEST(all_back)
{
	gmem_assert_all_back();
}

int main(int argc, char *argv[])
{
	if (argc == 4 && !strcmp(argv[1], "--after-exec"))
		return after_exec(argv[2], argv[3]);

	gmem_require();
	return test_harness_run(argc, argv);
}
