// SPDX-License-Identifier: GPL-2.0-only
/*
 * Other users in the kernel of a guest's pages, when the direct map has no
 * entry for them.
 *
 * Proves that get_user_pages(), fast and slow, is refused hidden memory that
 * user space maps by one large entry or by small ones, with a clean error, that
 * system calls which copy through the user mapping work, and that dumps, the
 * build ID reader, hibernation and memory failure do not touch the memory.
 * After each of them the memory is still hidden, has its former contents, and
 * serves its guest.
 *
 * Catches: hidden memory that GUP slow (basic, pin_longterm) or fast (fast), the
 * build ID reader or a core dump can access (an oops, which the fixture finds in
 * the log), or that a hibernation image contains, or a poisoned page that is
 * zeroed, restored or reused (memory_failure).
 *
 * Not covered: direct I/O, process_vm_*(), /proc/self/mem, shared futexes,
 * registered buffers and MADV_HWPOISON, which guest_memfd_access_test tests at
 * each access level.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/fs.h>
#include <linux/kernel-page-flags.h>
#include <linux/perf_event.h>
#include <linux/sizes.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#define NR_PAGES	16UL
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define TIMEOUT		300

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

/*
 * A guest whose memory is filled, mapped by user space and hidden.  The tests
 * use its first NR_PAGES pages.
 */
FIXTURE(gup) {
	int kmsg;
	struct gmem_vm g;
	u64 seed;
	u64 *pfns;
	char *plain;		/* ordinary memory, as a control */
	bool poisoned;
	unsigned int old_order;
};

FIXTURE_VARIANT(gup) {
	u64 size;
};

/* Single pages. */
FIXTURE_VARIANT_ADD(gup, pages) {
	.size = SIZE,
};

/* A block, which user space maps with one entry. */
FIXTURE_VARIANT_ADD(gup, block) {
	.size = SZ_2M,
};

FIXTURE_SETUP(gup)
{
	struct gmem_vm *g = &self->g;

	self->old_order = gmem_set_block_order(ilog2(SZ_2M / GMEM_PAGE));
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	gmem_vm_create(g, 1, variant->size, gmem_test_flags());
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	self->pfns = gmem_pfns(g->mem, SIZE);
	gmem_assert_pfns_hidden(self->pfns, NR_PAGES, self->seed);
	self->plain = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memset(self->plain, 1, SIZE);
}

FIXTURE_TEARDOWN(gup)
{
	struct gmem_vm *g = &self->g;

	if (g->vm && !self->poisoned) {
		gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, self->seed);
		gmem_assert_filled(g->mem, SIZE, self->seed);
		gmem_assert_hidden(g->mem, SIZE, self->seed);
		gmem_assert_counts(g->fd, g->size / GMEM_PAGE, 0);
		gmem_vm_destroy(g);
		gmem_assert_given_back(self->pfns, NR_PAGES, self->seed);
	}
	gmem_assert_nothing_left(&self->kmsg);
	gmem_set_block_order(self->old_order);
}

#define GUP_TEST(name) TEST_F_TIMEOUT(gup, name, TIMEOUT)

/*
 * GUP refuses the memory as it refuses memfd_secret(); it may accept ordinary
 * guest_memfd.
 */
#define assert_refused(r, want)						\
do {									\
	long __r = (r);							\
	int __e = errno;						\
									\
	TEST_ASSERT(gmem_plain() || (__r < 0 && __e == (want)),		\
		    "%s gives %ld, errno %d, want %s", #r, __r, __e, #want); \
} while (0)

static void test_gup(struct __test_metadata *_metadata, struct gmem_vm *g, char *plain,
		     const unsigned long *cmds, int nr)
{
	int fd = open(GUP_TEST_FILE, O_RDWR), i;
	u32 flags;
	u64 got;

	if (fd < 0)
		SKIP(return, "no gup_test");

	for (i = 0; i < nr; i++) {
		for (flags = 0; flags <= FOLL_WRITE; flags++) {
			TEST_ASSERT_EQ(gmem_gup(fd, cmds[i], plain, SIZE, flags), SIZE);
			got = gmem_gup(fd, cmds[i], g->mem, SIZE, flags);
			TEST_ASSERT(gmem_plain() || !got,
				    "gup_test 0x%lx, flags %u, got at %lu bytes", cmds[i],
				    flags, got);
		}
	}
	kvm_close(fd);
}

GUP_TEST(basic)
{
	const unsigned long cmds[] = { GUP_BASIC_TEST, PIN_BASIC_TEST };

	test_gup(_metadata, &self->g, self->plain, cmds, ARRAY_SIZE(cmds));
}

GUP_TEST(fast)
{
	const unsigned long cmds[] = { GUP_FAST_BENCHMARK, PIN_FAST_BENCHMARK };

	test_gup(_metadata, &self->g, self->plain, cmds, ARRAY_SIZE(cmds));
}

GUP_TEST(pin_longterm)
{
	const unsigned long cmds[] = { PIN_LONGTERM_BENCHMARK };
	struct pin_longterm_test t = { .addr = (u64)self->g.mem, .size = SIZE };
	int fd = open(GUP_TEST_FILE, O_RDWR);

	test_gup(_metadata, &self->g, self->plain, cmds, ARRAY_SIZE(cmds));
	if (fd < 0)
		return;
	for (t.flags = 0; t.flags < 4; t.flags++) {
		assert_refused(ioctl(fd, PIN_LONGTERM_TEST_START, &t), EFAULT);
		ioctl(fd, PIN_LONGTERM_TEST_STOP);
	}
	kvm_close(fd);
}

/* User space has not mapped the pages, so GUP must fault them in first. */
GUP_TEST(not_mapped)
{
	int fd = open(GUP_TEST_FILE, O_RDWR);
	char *mem;
	u64 got;

	if (fd < 0)
		SKIP(return, "no gup_test");
	mem = kvm_mmap(self->g.size, PROT_READ | PROT_WRITE, MAP_SHARED, self->g.fd);
	got = gmem_gup(fd, GUP_BASIC_TEST, mem, SIZE, FOLL_WRITE);
	TEST_ASSERT(gmem_plain() || !got, "got at %lu bytes", got);
	got = gmem_gup(fd, PIN_FAST_BENCHMARK, mem, SIZE, FOLL_WRITE);
	TEST_ASSERT(gmem_plain() || !got, "got at %lu bytes", got);
	gmem_assert_filled(mem, SIZE, self->seed);
	kvm_munmap(mem, self->g.size);
	kvm_close(fd);
}

/* System calls that copy through the user mapping do not use GUP, and work. */
GUP_TEST(copying_io)
{
	char *mem = self->g.mem, *plain = self->plain;
	struct iovec local = { .iov_base = mem, .iov_len = SIZE }, remote;
	int fd = open("/tmp/gmem-copy", O_RDWR | O_CREAT | O_TRUNC, 0600);
	int p[2];

	TEST_ASSERT(fd >= 0, "no file in /tmp");
	TEST_ASSERT_EQ(pwrite(fd, mem, SIZE, 0), SIZE);
	TEST_ASSERT_EQ(pread(fd, plain, SIZE, 0), SIZE);
	gmem_assert_filled(plain, SIZE, self->seed);
	memset(mem, 0, SIZE);
	TEST_ASSERT_EQ(preadv(fd, &local, 1, 0), SIZE);
	gmem_assert_filled(mem, SIZE, self->seed);
	unlink("/tmp/gmem-copy");
	kvm_close(fd);

	TEST_ASSERT(!pipe(p), "pipe() failed");
	TEST_ASSERT_EQ(write(p[1], mem, GMEM_PAGE), GMEM_PAGE);
	memset(mem, 0, GMEM_PAGE);
	TEST_ASSERT_EQ(read(p[0], mem, GMEM_PAGE), GMEM_PAGE);
	kvm_close(p[0]);
	kvm_close(p[1]);

	/* The local side of process_vm_readv() is copied to. */
	memset(mem, 0, SIZE);
	local = (struct iovec){ .iov_base = mem, .iov_len = SIZE };
	remote = (struct iovec){ .iov_base = plain, .iov_len = SIZE };
	TEST_ASSERT_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), SIZE);
}

GUP_TEST(vmsplice)
{
	struct iovec iov = { .iov_base = self->g.mem, .iov_len = SIZE };
	char *plain = self->plain;
	int p[2];

	TEST_ASSERT(!pipe(p), "pipe() failed");
	assert_refused(vmsplice(p[1], &iov, 1, SPLICE_F_NONBLOCK), EFAULT);
	kvm_close(p[0]);
	kvm_close(p[1]);

	/* A pipe copies what is written to it. */
	TEST_ASSERT(!pipe(p), "pipe() failed");
	gmem_fill(plain, GMEM_PAGE, self->seed);
	TEST_ASSERT_EQ(write(p[1], plain, GMEM_PAGE), GMEM_PAGE);
	memset(self->g.mem, 0, GMEM_PAGE);
	iov.iov_len = GMEM_PAGE;
	TEST_ASSERT_EQ(vmsplice(p[0], &iov, 1, 0), GMEM_PAGE);
	kvm_close(p[0]);
	kvm_close(p[1]);
}

GUP_TEST(ptrace)
{
	int status;
	pid_t pid;
	long r;

	pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "no stop");
	errno = 0;
	r = ptrace(PTRACE_PEEKDATA, pid, self->plain, NULL);
	TEST_ASSERT(r == 0x0101010101010101L && !errno, "cannot peek at ordinary memory");
	errno = 0;
	r = ptrace(PTRACE_PEEKDATA, pid, self->g.mem, NULL);
	TEST_ASSERT(gmem_plain() || (r == -1 && errno == EIO), "peek: 0x%lx, errno %d", r, errno);
	if (!gmem_plain())
		assert_refused(ptrace(PTRACE_POKEDATA, pid, self->g.mem, 0L), EIO);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

/* A private futex takes its key from the address and needs no page. */
GUP_TEST(futex)
{
	u32 *word = (u32 *)self->g.mem;
	u32 old = *word;

	TEST_ASSERT_EQ(syscall(__NR_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0),
		       0);
	TEST_ASSERT(syscall(__NR_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, old + 1, NULL,
			    NULL, 0) == -1 && errno == EAGAIN, "errno %d", errno);
}

/*
 * mlock() works, also for all memory: it need not pin pages that never leave
 * memory.
 */
GUP_TEST(mlock)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	char *mem = self->g.mem;

	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	/* mlock() also populates. */
	gmem_punch(self->g.fd, 0, GMEM_PAGE);
	TEST_ASSERT(!mlock(mem, SIZE), "mlock: errno %d", errno);
	gmem_assert_counts(self->g.fd, self->g.size / GMEM_PAGE, 0);
	gmem_fill(mem, GMEM_PAGE, self->seed);
	gmem_assert_filled(mem, SIZE, self->seed);
	gmem_assert_hidden(mem, SIZE, self->seed);
	TEST_ASSERT(!munlock(mem, SIZE), "munlock: errno %d", errno);

	TEST_ASSERT(!mlockall(MCL_CURRENT | MCL_FUTURE), "mlockall: errno %d", errno);
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->g.fd, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap under mlockall: errno %d", errno);
	gmem_assert_filled(mem, SIZE, self->seed);
	kvm_munmap(mem, SIZE);
	TEST_ASSERT(!munlockall(), "munlockall: errno %d", errno);
}

GUP_TEST(populate)
{
	static const int advice[] = { MADV_POPULATE_READ, MADV_POPULATE_WRITE };
	unsigned int i;
	char *mem;

	/* MAP_POPULATE reports no error; MADV_POPULATE does. */
	gmem_punch(self->g.fd, 0, GMEM_PAGE);
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, self->g.fd, 0);
	TEST_ASSERT(mem != MAP_FAILED, "MAP_POPULATE: errno %d", errno);
	gmem_assert_counts(self->g.fd, self->g.size / GMEM_PAGE, 0);
	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		gmem_punch(self->g.fd, 0, GMEM_PAGE);
		TEST_ASSERT(!madvise(mem, SIZE, advice[i]), "advice %d: errno %d", advice[i],
			    errno);
		gmem_assert_counts(self->g.fd, self->g.size / GMEM_PAGE, 0);
	}
	gmem_fill(mem, GMEM_PAGE, self->seed);
	gmem_assert_filled(mem, SIZE, self->seed);
	gmem_assert_hidden(mem, SIZE, self->seed);
	kvm_munmap(mem, SIZE);
}

GUP_TEST(madvise)
{
	static const struct {
		int advice;
		const char *name;
	} harmless[] = {
		{ MADV_NORMAL,		"NORMAL" },
		{ MADV_RANDOM,		"RANDOM" },
		{ MADV_SEQUENTIAL,	"SEQUENTIAL" },
		{ MADV_WILLNEED,	"WILLNEED" },
		{ MADV_DONTNEED,	"DONTNEED" },
		{ MADV_FREE,		"FREE" },
		{ MADV_COLD,		"COLD" },
		{ MADV_PAGEOUT,		"PAGEOUT" },
		{ MADV_MERGEABLE,	"MERGEABLE" },
		{ MADV_HUGEPAGE,	"HUGEPAGE" },
		{ MADV_COLLAPSE,	"COLLAPSE" },
		{ MADV_NOHUGEPAGE,	"NOHUGEPAGE" },
		{ MADV_DONTDUMP,	"DONTDUMP" },
		{ MADV_DODUMP,		"DODUMP" },
		{ MADV_DONTFORK,	"DONTFORK" },
		{ MADV_DOFORK,		"DOFORK" },
		{ MADV_SOFT_OFFLINE,	"SOFT_OFFLINE" },
	};
	char *mem = self->g.mem;
	unsigned int i;
	u64 pfn;
	int r;

	for (i = 0; i < ARRAY_SIZE(harmless); i++) {
		/*
		 * Soft offline migrates the page; ordinary guest_memfd cannot
		 * do that and warns.
		 */
		if (gmem_plain() && harmless[i].advice == MADV_SOFT_OFFLINE)
			continue;
		r = madvise(mem, SIZE, harmless[i].advice);
		TEST_ASSERT(!r || errno == EINVAL || errno == EFAULT || errno == EBUSY,
			    "MADV_%s: errno %d", harmless[i].name, errno);
		gmem_assert_filled(mem, SIZE, self->seed);
		gmem_assert_hidden(mem, SIZE, self->seed);
	}

	/* This advice punches a hole, which reads as zeroes. */
	pfn = gmem_pfn(mem);
	r = madvise(mem, GMEM_PAGE, MADV_REMOVE);
	TEST_ASSERT(!r, "MADV_REMOVE: errno %d", errno);
	gmem_assert_given_back(&pfn, 1, self->seed);
	gmem_assert_zero(mem, GMEM_PAGE);
	gmem_fill(mem, GMEM_PAGE, self->seed);
}

/*
 * With a build ID event open, the kernel reads the first page of the file of
 * each new mapping, without handling a fault.
 */
GUP_TEST(build_id)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.mmap = 1,
		.mmap2 = 1,
		.mmap_data = 1,
		.build_id = 1,
	};
	char *mem, *ring;
	int fd, i;

	/* An ELF header would make the kernel read on. */
	memcpy(self->g.mem, "\177ELF\2\1\1", 7);
	fd = syscall(__NR_perf_event_open, &attr, 0, -1, -1, 0);
	if (fd < 0) {
		gmem_fill(self->g.mem, GMEM_PAGE, self->seed);
		SKIP(return, "no perf events");
	}
	ring = mmap(NULL, 3 * GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	TEST_ASSERT(ring != MAP_FAILED, "cannot map the ring: errno %d", errno);
	for (i = 0; i < 16; i++) {
		mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->g.fd);
		(void)READ_ONCE(mem[0]);
		mprotect(mem, GMEM_PAGE, PROT_READ);
		kvm_munmap(mem, SIZE);
	}
	kvm_munmap(ring, 3 * GMEM_PAGE);
	kvm_close(fd);
	gmem_fill(self->g.mem, GMEM_PAGE, self->seed);
}

#ifdef PROCMAP_QUERY
/* PROCMAP_QUERY reads the build ID where the kernel may sleep. */
GUP_TEST(procmap_query)
{
	char id[64], name[256];
	struct procmap_query q = {
		.size = sizeof(q),
		.query_addr = (u64)self->g.mem,
		.build_id_addr = (u64)id,
		.build_id_size = sizeof(id),
		.vma_name_addr = (u64)name,
		.vma_name_size = sizeof(name),
	};
	int fd = open("/proc/self/maps", O_RDONLY), r;

	memcpy(self->g.mem, "\177ELF\2\1\1", 7);
	r = ioctl(fd, PROCMAP_QUERY, &q);
	TEST_ASSERT(!r || errno == ENOTTY || errno == ENOENT || errno == EFAULT || errno == EINVAL,
		    "PROCMAP_QUERY: errno %d", errno);
	TEST_ASSERT(r || !q.build_id_size, "a build ID was read");
	kvm_close(fd);
	gmem_fill(self->g.mem, GMEM_PAGE, self->seed);
}
#endif

/* A core dump skips hidden memory and does not fail on it. */
GUP_TEST(core_dump)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	static const char pattern[] = "/tmp/gmem-core";
	u64 page[GMEM_WORDS], first = gmem_word(self->seed, 0);
	char old[256] = "";
	int fd, status, found = 0;
	ssize_t r;
	pid_t pid;

	fd = open("/proc/sys/kernel/core_pattern", O_RDWR);
	if (fd < 0)
		SKIP(return, "no core dumps");
	r = read(fd, old, sizeof(old) - 1);
	TEST_ASSERT(r > 0 && pwrite(fd, pattern, sizeof(pattern) - 1, 0) > 0, "core_pattern");

	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_CORE, &unlimited);
		/* The kernel dumps shared file mappings only on request. */
		int filter = open("/proc/self/coredump_filter", O_WRONLY);

		(void)!write(filter, "0x7f", 4);
		close(filter);
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
		_exit(0);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "no crash");
	(void)!pwrite(fd, old, strlen(old), 0);
	kvm_close(fd);
	if (!WCOREDUMP(status))
		SKIP(return, "no core was dumped");

	fd = open(pattern, O_RDONLY);
	TEST_ASSERT(fd >= 0, "no core file");
	while ((r = read(fd, page, sizeof(page))) == sizeof(page))
		found += page[0] == first;
	kvm_close(fd);
	unlink(pattern);
	ksft_print_msg("guest pages in the core file: %d\n", found);
	TEST_ASSERT(gmem_plain() ? found : !found, "%d guest pages in the core file", found);
}

static bool hibernation_disabled(void)
{
	char modes[128] = "";
	int fd = open("/sys/power/disk", O_RDONLY);

	if (fd < 0)
		return true;
	(void)!read(fd, modes, sizeof(modes) - 1);
	close(fd);
	return strstr(modes, "[disabled]");
}

/* An image would have to contain the memory, or lose it. */
GUP_TEST(hibernation)
{
	struct gmem_vm *g = &self->g;
	int fd;
	long r;

	if (gmem_plain()) {
		TEST_ASSERT(!hibernation_disabled(), "hibernation is off on this kernel");
		return;
	}

	TEST_ASSERT(hibernation_disabled(), "hibernation is on offer with hidden memory alive");
	fd = open("/sys/power/state", O_WRONLY);
	if (fd >= 0) {
		r = write(fd, "disk", 4);
		TEST_ASSERT(r < 0 && (errno == EPERM || errno == EINVAL || errno == EBUSY),
			    "write gives %ld, errno %d", r, errno);
		kvm_close(fd);
	}

	/*
	 * Hibernation is possible again after the file ends, not after the VM
	 * does.
	 */
	kvm_vm_free(g->vm);
	g->vm = NULL;
	TEST_ASSERT(hibernation_disabled(), "on offer while the file is there");
	gmem_vm_destroy(g);
	/* A worker clears and restores the pages. */
	gmem_assert_all_back();
	/*
	 * In the second variant memory_failure has already lost a page, which
	 * stays hidden.
	 */
	if (variant->size == SIZE && hibernation_disabled())
		SKIP(return, "hibernation is off on this kernel");
}

/*
 * /proc/kcore shows no data, no error that would end a dump, and the log no
 * report.
 */
GUP_TEST(kcore)
{
	u64 page[GMEM_WORDS], i;
	int r;

	if (gmem_plain())
		SKIP(return, "plain memory");
	for (i = 0; i < NR_PAGES; i++) {
		memset(page, 0xff, sizeof(page));
		r = gmem_kcore_read(self->pfns[i], page);
		if (!r)
			gmem_assert_zero(page, sizeof(page));
	}
	gmem_scan(self->seed, NULL);
}

static bool inject(const char *file, u64 pfn)
{
	char path[128], value[32];
	int fd, len, r;

	snprintf(path, sizeof(path), "/sys/kernel/debug/hwpoison/%s", file);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return false;
	len = snprintf(value, sizeof(value), "0x%lx", pfn);
	r = write(fd, value, len);
	close(fd);
	TEST_ASSERT(r == len || errno == EBUSY, "%s of 0x%lx: errno %d", file, pfn, errno);
	return true;
}

/*
 * A page of the guest is poisoned.  The guest and the VMM get an error when
 * they touch it, the rest of the memory still works, and the page is never used
 * again: it is hidden, not zeroed and not free.
 */
GUP_TEST(memory_failure)
{
	const int bad = 5;
	struct gmem_vm *g = &self->g;
	u64 pfn = self->pfns[bad], gva = GMEM_GVA + bad * GMEM_PAGE, flags;
	int r;

	if (access("/sys/kernel/debug/hwpoison/corrupt-pfn", W_OK))
		SKIP(return, "no hwpoison injection");
	self->poisoned = true;
	/* The kernel may signal the process at once. */
	signal(SIGBUS, SIG_IGN);
	inject("corrupt-pfn", pfn);
	signal(SIGBUS, SIG_DFL);
	TEST_ASSERT(gmem_kpageflags(pfn) & BIT(KPF_HWPOISON), "not marked");

	TEST_EXPECT_SIGBUS((void)READ_ONCE(g->mem[bad * GMEM_PAGE]));
	gmem_guest_post(g->vcpus[0], gmem_guest_check, gva, GMEM_PAGE, self->seed);
	r = _vcpu_run(g->vcpus[0]);
	TEST_ASSERT(r == -1 && (errno == EHWPOISON || errno == EFAULT),
		    "KVM_RUN gives %d, errno %d", r, errno);
	TEST_ASSERT_KVM_EXIT_REASON(g->vcpus[0], KVM_EXIT_MEMORY_FAULT);
	gmem_assert_filled(g->mem, bad * GMEM_PAGE, self->seed);
	gmem_assert_filled(g->mem + (bad + 1) * GMEM_PAGE, (NR_PAGES - bad - 1) * GMEM_PAGE,
			   self->seed);

	gmem_vm_destroy(g);
	flags = gmem_kpageflags(pfn);
	TEST_ASSERT(flags & BIT(KPF_HWPOISON), "no longer marked: 0x%lx", flags);
	TEST_ASSERT(!(flags & (BIT(KPF_BUDDY) | BIT(KPF_LRU) | BIT(KPF_ANON) | BIT(KPF_SLAB))),
		    "the page was handed on: 0x%lx", flags);
	if (!gmem_plain()) {
		TEST_ASSERT_EQ(gmem_count_absent(&pfn, 1), 1);
		gmem_expect_lost(1);
	}
	gmem_assert_given_back(self->pfns, bad, self->seed);
	gmem_assert_given_back(self->pfns + bad + 1, NR_PAGES - bad - 1, self->seed);
}

static u64 guest_touch(u64 gva, u64 b, u64 c)
{
	WRITE_ONCE(*(u64 *)gva, 1);
	return 0;
}

/* The arguments of a thread that runs a vCPU, which may touch poison. */
struct toucher {
	struct kvm_vcpu *vcpu;
	bool poisoned;
};

static void touch(struct toucher *t)
{
	int r = _vcpu_run(t->vcpu);

	t->poisoned = r == -1 && errno == EHWPOISON;
	TEST_ASSERT(!r || t->poisoned, "KVM_RUN gives %d, errno %d", r, errno);
	if (!r)
		gmem_guest_result(t->vcpu);
}

static void *touch_thread(void *arg)
{
	touch(arg);
	return NULL;
}

static bool punching;

static void *punch_thread(void *arg)
{
	while (READ_ONCE(punching))
		gmem_punch(((struct gmem_vm *)arg)->fd, 0, GMEM_PAGE);
	return NULL;
}

/*
 * Poison in plain memory, while a guest faults on the page and a thread punches
 * holes elsewhere: all of them proceed, and the guest loses the page.
 */
TEST(plain_memory_failure)
{
	const u64 bad = 5, rounds = 50;
	struct toucher t = {};
	pthread_t toucher, puncher;
	struct gmem_vm g;
	u64 pfn, i, first = 0;

	if (access("/sys/kernel/debug/hwpoison/corrupt-pfn", W_OK) ||
	    access("/sys/kernel/debug/hwpoison/unpoison-pfn", W_OK))
		SKIP(return, "no hwpoison injection");
	gmem_vm_create(&g, 1, SIZE, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
	t.vcpu = g.vcpus[0];
	punching = true;
	kvm_pthread_create(&puncher, NULL, punch_thread, &g);
	for (i = 0; i < rounds; i++) {
		/*
		 * The page is populated, but neither the guest nor this process
		 * maps it: a mapping would cause a signal.
		 */
		pfn = gmem_pfn(g.mem + bad * GMEM_PAGE);
		kvm_madvise(g.mem + bad * GMEM_PAGE, GMEM_PAGE, MADV_DONTNEED);
		gmem_guest_post(t.vcpu, guest_touch, GMEM_GVA + bad * GMEM_PAGE, 0, 0);
		kvm_pthread_create(&toucher, NULL, touch_thread, &t);
		inject("corrupt-pfn", pfn);
		kvm_pthread_join(toucher, NULL);
		TEST_ASSERT(gmem_kpageflags(pfn) & BIT(KPF_HWPOISON), "not marked");
		if (!t.poisoned) {
			/*
			 * The guest faulted before the poison, and has lost its
			 * mapping since.
			 */
			first++;
			gmem_guest_post(t.vcpu, guest_touch, GMEM_GVA + bad * GMEM_PAGE, 0, 0);
			touch(&t);
			TEST_ASSERT(t.poisoned, "the guest still has page 0x%lx", pfn);
		}
		/* A hole punch replaces the page, and the guest continues. */
		gmem_punch(g.fd, bad * GMEM_PAGE, GMEM_PAGE);
		touch(&t);
		TEST_ASSERT(!t.poisoned, "poison in a new page");
		gmem_punch(g.fd, bad * GMEM_PAGE, GMEM_PAGE);
		inject("unpoison-pfn", pfn);
	}
	ksft_print_msg("the guest was first %lu times of %lu\n", first, rounds);
	WRITE_ONCE(punching, false);
	kvm_pthread_join(puncher, NULL);
	gmem_vm_destroy(&g);
}

GUP_TEST(all_back)
{
	gmem_vm_destroy(&self->g);
	gmem_assert_all_back();
}

int main(int argc, char *argv[])
{
	gmem_require();
	return test_harness_run(argc, argv);
}
