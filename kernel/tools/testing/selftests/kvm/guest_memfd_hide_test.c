// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory outside the direct map: when and how the kernel hides it.
 *
 * Proves that every page of a GUEST_MEMFD_FLAG_NO_DIRECT_MAP file is absent
 * from the host kernel's direct map from before data can be written into it
 * until it has left the file, however it was populated; that the kernel hides
 * it only once; that no CPU keeps an old translation of it; and that it is
 * zeroed before the kernel restores it.
 *
 * Catches: hide skipped (user_fault, guest_fault, fallocate, sealed), flush
 * skipped (flush_counted, stale_translation), scrub done after the restore
 * (never_seen_leaving), a page hidden twice or not at all when it is touched
 * again (hidden_once).
 *
 * Not covered: the ways in which memory leaves its file
 * (guest_memfd_restore_test).
 */
#include <errno.h>
#include <linux/bitmap.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "gmem_hide.h"
#include "ucall_common.h"

/* A block, and a tail of single pages of a second block. */
#define ONCE_PAGES	(BLOCK_PAGES + NR_PAGES)
#define ONCE_SIZE	(ONCE_PAGES * GMEM_PAGE)

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
	gmem_require();
	return test_harness_run(argc, argv);
}
