// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory outside the direct map that leaves its file: how the kernel
 * restores it.
 *
 * Proves that hidden memory is zeroed before the kernel restores it, however it
 * left the file (holes, the end of the file, of the VM or of the process), or
 * stays hidden and zeroed for another file while other pages of its block are
 * in use; and that it stays hidden when only a mapping or an address space
 * ends.
 *
 * Catches: scrub skipped (punch_hole, close), restore skipped (punch_hole,
 * free_singles, many_vms, all_back, and every test where the direct map is
 * quick to dump), single pages that are not reused, or not clean
 * (free_singles).
 *
 * Not covered: how memory is hidden, and reads while it leaves
 * (guest_memfd_hide_test).
 */
#include <errno.h>
#include <sys/wait.h>

#include "gmem_hide.h"
#include "ucall_common.h"

#define MANY_VMS	32
#define MANY_SIZE	SZ_4M

static void wait_child(pid_t pid)
{
	int status;

	TEST_ASSERT(pid > 0, "fork() failed");
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");
	TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status),
		    "the child failed, status 0x%x", status);
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
	gmem_wait(singles_are, (void *)nr);
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
