// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host may do with guest memory at each access level, and which pins
 * keep a page where it is.
 *
 * Proves, for each level and for blocks and single pages, what reading and
 * writing, get_user_pages() of every kind, direct I/O, system calls that access
 * other processes, futexes, locking, fork, kvm-clock, memory failure and hole
 * punches do: what the level allows works and transfers the right data, what it
 * does not allow fails with a clean error.  Afterwards the memory is at the
 * same level and has its former contents, and the kernel sees it only at
 * KERNEL.  A pinned page keeps its range at KERNEL, however it was pinned; a
 * page that is truncated while it is pinned is hidden, cleared and freed when
 * the pin ends.
 *
 * Catches: a level that does not reach the page tables of user space (host) or
 * the kernel's (every test), or GUP (gup, pin, fixed_buffer, ...), a change of
 * levels that misses a pin or puts fewer references than it took (change,
 * several), a pinned page that is hidden, cleared or freed too early, or never
 * (punched, closed).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kernel-page-flags.h>
#include <linux/sizes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__
#include <asm/kvm_para.h>
#endif

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

/* The file has one block and a tail of single pages. */
#define BLOCK_PAGES	(SZ_2M / GMEM_PAGE)
#define NR_PAGES	(BLOCK_PAGES + 3)
#define SIZE		(NR_PAGES * GMEM_PAGE)
/* The tests use pages on both sides of the end of the block. */
#define AT_PAGE		(SZ_2M / GMEM_PAGE - 8)
#define AT		(AT_PAGE * GMEM_PAGE)
#define LEN_PAGES	10UL
#define LEN		(LEN_PAGES * GMEM_PAGE)
#define TIMEOUT		600

#define NONE		GUEST_MEMFD_ACCESS_NONE
#define USER		GUEST_MEMFD_ACCESS_USER
#define KERNEL		GUEST_MEMFD_ACCESS_KERNEL

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

/* A guest whose memory is filled and at one level. */
struct memory {
	int kmsg;
	struct gmem_vm g;
	char *at;		/* user address of the LEN bytes under test */
	char *plain;		/* ordinary memory, as a control */
	u64 seed;
	u64 *pfns;
	unsigned int old_order;
	u32 level;
	bool whole;		/* the first pages are one unsplit block */
};

static void memory_create(struct memory *m, unsigned int order, u32 level)
{
	struct gmem_vm *g = &m->g;

	m->seed = gmem_new_seed();
	m->level = level;
	gmem_kmsg_open(&m->kmsg);
	m->old_order = gmem_set_block_order(order);
	gmem_vm_create(g, 1, SIZE, gmem_test_flags());
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, m->seed);
	m->pfns = gmem_pfns(g->mem, SIZE);
	m->at = g->mem + AT;
	m->plain = kvm_mmap(LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memset(m->plain, 1, LEN);
	gmem_set_access(g->fd, 0, SIZE, level);
	m->whole = order;
}

/*
 * The page that a failed change reports for @page: the references of a block
 * count for all of its pages.
 */
static u64 named(struct memory *m, u64 page)
{
	return m->whole && page < BLOCK_PAGES ? 0 : page;
}

/* Assert that the kernel sees all of the pages, or none. */
static void assert_seen(const u64 *pfns, size_t nr, u64 seed, bool seen)
{
	size_t i;

	for (i = 0; i < nr; i++)
		TEST_ASSERT(gmem_kernel_sees(pfns[i], seed) == seen,
			    "the kernel sees %s of page %lu, frame 0x%lx",
			    seen ? "nothing" : "data", i, pfns[i]);
	TEST_ASSERT_EQ(gmem_count_absent(pfns, nr), seen ? 0 : nr);
}

static void assert_level(struct memory *m)
{
	struct gmem_info info;
	u64 size;

	TEST_ASSERT_EQ(gmem_get_access(m->g.fd, 0, &size), m->level);
	TEST_ASSERT_EQ(size, SIZE);
	gmem_read_info(m->g.fd, &info);
	TEST_ASSERT_EQ(info.level_none, m->level == NONE ? NR_PAGES : 0);
	TEST_ASSERT_EQ(info.level_user, m->level == USER ? NR_PAGES : 0);
	TEST_ASSERT_EQ(info.level_kernel, m->level == KERNEL ? NR_PAGES : 0);
}

/* Level and direct map are as memory_create() left them. */
static void assert_kept(struct memory *m)
{
	bool seen = m->level == KERNEL;

	assert_level(m);
	assert_seen(m->pfns, NR_PAGES, m->seed, seen);
	gmem_assert_counts(m->g.fd, NR_PAGES, seen ? NR_PAGES : 0);
}

/* Contents, level and direct map are as memory_create() left them. */
static void assert_as_created(struct memory *m)
{
	gmem_guest_call(m->g.vcpus[0], gmem_guest_check, GMEM_GVA, SIZE, m->seed);
	assert_kept(m);
}

static void memory_destroy(struct memory *m)
{
	if (m->g.vm) {
		assert_as_created(m);
		gmem_vm_destroy(&m->g);
		gmem_assert_given_back(m->pfns, NR_PAGES, m->seed);
	}
	gmem_set_block_order(m->old_order);
	gmem_assert_nothing_left(&m->kmsg);
}

FIXTURE(access) {
	struct memory m;
};

FIXTURE_VARIANT(access) {
	unsigned int order;
	u32 level;
};

FIXTURE_VARIANT_ADD(access, none) { .order = 9, .level = NONE };
FIXTURE_VARIANT_ADD(access, user) { .order = 9, .level = USER };
FIXTURE_VARIANT_ADD(access, kernel) { .order = 9, .level = KERNEL };
FIXTURE_VARIANT_ADD(access, pages_none) { .order = 0, .level = NONE };
FIXTURE_VARIANT_ADD(access, pages_user) { .order = 0, .level = USER };
FIXTURE_VARIANT_ADD(access, pages_kernel) { .order = 0, .level = KERNEL };

FIXTURE_SETUP(access)
{
	memory_create(&self->m, variant->order, variant->level);
}

FIXTURE_TEARDOWN(access)
{
	memory_destroy(&self->m);
}

#define ACCESS_TEST(name) TEST_F_TIMEOUT(access, name, TIMEOUT)

/*
 * The call works where the level is at least @least, and fails with @error
 * elsewhere.
 */
#define assert_from(least, call, want, error)				\
do {									\
	bool __may = m->level >= (least);				\
	long __r = (call);						\
	int __e = errno;						\
									\
	TEST_ASSERT(__may ? __r == (long)(want) : __r < 0 && __e == (error), \
		    "level %u: %s gives %ld, errno %d", m->level, #call, __r, __e); \
} while (0)

ACCESS_TEST(host)
{
	struct memory *m = &self->m;
	char *mem = m->g.mem;
	int fd = open("/tmp/gmem-copy", O_RDWR | O_CREAT | O_TRUNC, 0600);

	TEST_ASSERT(fd >= 0, "no file in /tmp");
	unlink("/tmp/gmem-copy");
	/* A copy by the kernel through the user mapping returns an error. */
	assert_from(USER, pwrite(fd, m->at, LEN, 0), LEN, EFAULT);
	if (m->level >= USER) {
		gmem_assert_filled(mem, SIZE, m->seed);
		gmem_fill(mem, SIZE, m->seed);
		memset(m->at, 0, LEN);
		TEST_ASSERT_EQ(pread(fd, m->at, LEN, 0), LEN);
		gmem_assert_filled(m->at, LEN, m->seed);
	} else {
		TEST_ASSERT_EQ(pwrite(fd, m->plain, LEN, 0), LEN);
		assert_from(USER, pread(fd, m->at, LEN, 0), LEN, EFAULT);
		TEST_EXPECT_SIGBUS((void)READ_ONCE(mem[0]));
		TEST_EXPECT_SIGBUS(WRITE_ONCE(mem[SIZE - 1], 1));
		TEST_EXPECT_SIGBUS((void)READ_ONCE(*m->at));
	}
	kvm_close(fd);

	/* A new mapping has the same access. */
	mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m->g.fd);
	if (m->level >= USER)
		gmem_assert_filled(mem, SIZE, m->seed);
	else
		TEST_EXPECT_SIGBUS((void)READ_ONCE(mem[GMEM_PAGE]));
	kvm_munmap(mem, SIZE);
}

ACCESS_TEST(guest)
{
	struct memory *m = &self->m;
	struct gmem_vm *g = &m->g;
	u64 other = gmem_new_seed();

	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA + AT, LEN, other);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA + AT, LEN, other);
	if (m->level >= USER)
		gmem_assert_filled(m->at, LEN, other);
	assert_seen(m->pfns + AT_PAGE, LEN_PAGES, other, m->level == KERNEL);

	/* The guest faults again after the change of levels. */
	gmem_vm_unbind(g);
	gmem_vm_bind(g, g->mem);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA + AT, LEN, other);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, m->seed);
}

ACCESS_TEST(gup)
{
	struct memory *m = &self->m;
	static const unsigned long cmds[] = {
		GUP_BASIC_TEST, PIN_BASIC_TEST, GUP_FAST_BENCHMARK, PIN_FAST_BENCHMARK,
		PIN_LONGTERM_BENCHMARK,
	};
	int fd = open_path_or_exit(GUP_TEST_FILE, O_RDWR);
	unsigned int i, mapped;
	u32 flags;
	u64 got;
	char *mem;

	/* First GUP must fault the pages in, then it finds them mapped. */
	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		for (flags = 0; flags <= FOLL_WRITE; flags++) {
			TEST_ASSERT_EQ(gmem_gup(fd, cmds[i], m->plain, LEN, flags), LEN);
			mem = __kvm_mmap(LEN, PROT_READ | PROT_WRITE, MAP_SHARED, m->g.fd, AT);
			for (mapped = 0; mapped < 2; mapped++) {
				got = gmem_gup(fd, cmds[i], mem, LEN, flags);
				TEST_ASSERT(got == (m->level == KERNEL ? LEN : 0),
					    "level %u: gup_test 0x%lx, flags %u, there %u: %lu",
					    m->level, cmds[i], flags, mapped, got);
				if (m->level >= USER)
					gmem_assert_filled(mem, LEN, m->seed);
			}
			kvm_munmap(mem, LEN);
		}
	}
	kvm_close(fd);
}

/* A pin reads and writes the guest's memory itself. */
ACCESS_TEST(pin)
{
	struct memory *m = &self->m;
	struct gmem_pin pin;
	unsigned int kind;

	for (kind = 0; kind < NR_GMEM_PINS; kind++) {
		memset(m->plain, 1, LEN);
		TEST_ASSERT(!gmem_pin(&pin, kind, m->plain, LEN), "%s of ordinary memory",
			    gmem_pin_name(kind));
		gmem_unpin(&pin);

		assert_from(KERNEL, gmem_pin(&pin, kind, m->at, LEN), 0, EFAULT);
		if (m->level != KERNEL)
			continue;
		gmem_pin_read(&pin, m->plain);
		gmem_assert_filled(m->plain, LEN, m->seed);
		gmem_unpin(&pin);
	}
}

ACCESS_TEST(direct_io)
{
	struct memory *m = &self->m;
	int fd = gmem_open_direct();

	if (fd < 0)
		SKIP(return, "no loop device");

	TEST_ASSERT_EQ(pwrite(fd, m->plain, LEN, 0), LEN);
	assert_from(KERNEL, pwrite(fd, m->at, LEN, 0), LEN, EFAULT);
	TEST_ASSERT_EQ(pread(fd, m->plain, LEN, 0), LEN);
	if (m->level == KERNEL) {
		gmem_assert_filled(m->plain, LEN, m->seed);
		memset(m->at, 0, LEN);
	}
	assert_from(KERNEL, pread(fd, m->at, LEN, 0), LEN, EFAULT);
	assert_from(KERNEL, pread(fd, m->at, GMEM_PAGE, 0), GMEM_PAGE, EFAULT);
	if (m->level == KERNEL)
		gmem_assert_filled(m->at, LEN, m->seed);
	gmem_close_direct(fd);
}

static void assert_ring_keeps(struct memory *m)
{
	u64 at;

	TEST_ASSERT(__gmem_set_access(m->g.fd, 0, SIZE, NONE, &at) && errno == EAGAIN &&
		    at == named(m, AT_PAGE) * GMEM_PAGE,
		    "errno %d, offset 0x%lx", errno, at);
}

/* The ring unpins its buffer asynchronously.  Leaves the level at KERNEL. */
static void assert_ring_lets_go(struct memory *m)
{
	unsigned int tries;

	for (tries = 0; tries < 100; tries++) {
		if (!__gmem_set_access(m->g.fd, 0, SIZE, NONE, NULL)) {
			gmem_set_access(m->g.fd, 0, SIZE, KERNEL);
			return;
		}
		usleep(50000);
	}
	TEST_FAIL("the ring keeps the buffer");
}

/* O_DIRECT I/O uses a registered buffer, which keeps the range at KERNEL. */
ACCESS_TEST(fixed_buffer)
{
	struct memory *m = &self->m;
	int fd = gmem_open_direct();
	struct gmem_pin ring;

	if (fd < 0)
		SKIP(return, "no loop device");

	assert_from(KERNEL, gmem_pin(&ring, GMEM_PIN_RING, m->at, LEN), 0, EFAULT);
	if (m->level == KERNEL) {
		TEST_ASSERT_EQ(gmem_ring_io(&ring, IORING_OP_WRITE_FIXED, fd), LEN);
		TEST_ASSERT_EQ(pread(fd, m->plain, LEN, 0), LEN);
		gmem_assert_filled(m->plain, LEN, m->seed);
		memset(m->at, 0, LEN);
		assert_ring_keeps(m);
		TEST_ASSERT_EQ(gmem_ring_io(&ring, IORING_OP_READ_FIXED, fd), LEN);
		gmem_assert_filled(m->at, LEN, m->seed);
		gmem_unpin(&ring);
		assert_ring_lets_go(m);
		gmem_assert_filled(m->at, LEN, m->seed);
	}
	gmem_close_direct(fd);
}

/* Pending I/O keeps a buffer pinned that the ring has unregistered. */
static void check_unregistered_buffer(struct memory *m)
{
	struct gmem_pin ring;
	int fd[2];

	TEST_ASSERT(!pipe(fd), "pipe(): errno %d", errno);
	TEST_ASSERT(!gmem_pin(&ring, GMEM_PIN_RING, m->at, LEN), "errno %d", errno);
	gmem_ring_submit(&ring, IORING_OP_READ_FIXED, fd[0]);
	gmem_ring_unregister(&ring);
	assert_ring_keeps(m);

	/* Write no more than the pipe accepts at once. */
	memcpy(m->plain, m->at, GMEM_PAGE);
	memset(m->at, 0, GMEM_PAGE);
	TEST_ASSERT_EQ(write(fd[1], m->plain, GMEM_PAGE), (ssize_t)GMEM_PAGE);
	TEST_ASSERT_EQ(gmem_ring_wait(&ring), GMEM_PAGE);
	assert_ring_lets_go(m);
	gmem_assert_filled(m->at, LEN, m->seed);
	kvm_close(ring.fd[0]);
	kvm_close(fd[0]);
	kvm_close(fd[1]);
}

/*
 * Needs a level at which a buffer can be registered; fixed_buffer tests the
 * others.
 */
TEST(unregistered_buffer)
{
	static const unsigned int orders[] = { 9, 0 };
	struct memory m;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		memory_create(&m, orders[i], KERNEL);
		check_unregistered_buffer(&m);
		memory_destroy(&m);
	}
}

ACCESS_TEST(process_vm)
{
	struct memory *m = &self->m;
	struct iovec remote = { .iov_base = m->at, .iov_len = LEN };
	struct iovec local = { .iov_base = m->plain, .iov_len = LEN };
	int fd = open_path_or_exit("/proc/self/mem", O_RDWR);
	pid_t me = getpid();

	assert_from(KERNEL, process_vm_readv(me, &local, 1, &remote, 1, 0), LEN, EFAULT);
	if (m->level == KERNEL) {
		gmem_assert_filled(m->plain, LEN, m->seed);
		memset(m->at, 0, LEN);
	}
	assert_from(KERNEL, process_vm_writev(me, &local, 1, &remote, 1, 0), LEN, EFAULT);

	assert_from(KERNEL, pread(fd, m->plain, LEN, (off_t)m->at), LEN, EIO);
	if (m->level == KERNEL)
		memset(m->at, 0, LEN);
	assert_from(KERNEL, pwrite(fd, m->plain, LEN, (off_t)m->at), LEN, EIO);
	if (m->level == KERNEL)
		gmem_assert_filled(m->at, LEN, m->seed);
	kvm_close(fd);
}

/* A shared futex: its key comes from the page, not from the address. */
ACCESS_TEST(futex)
{
	struct memory *m = &self->m;
	u32 old = gmem_word(m->seed, 0), *word = (u32 *)m->at;

	assert_from(KERNEL, syscall(__NR_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0), 0, EFAULT);
	if (m->level == KERNEL)
		TEST_ASSERT(syscall(__NR_futex, word, FUTEX_WAIT, old + 1, NULL, NULL, 0) == -1 &&
			    errno == EAGAIN, "errno %d", errno);
}

ACCESS_TEST(mlock)
{
	struct memory *m = &self->m;
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	assert_from(USER, mlock(m->at, LEN), 0, ENOMEM);
	TEST_ASSERT(!munlock(m->at, LEN), "munlock");
	assert_from(USER, madvise(m->at, LEN, MADV_POPULATE_READ), 0, EFAULT);
	assert_from(USER, madvise(m->at, LEN, MADV_POPULATE_WRITE), 0, EFAULT);

	/* A locked page does not prevent a change of levels. */
	if (m->level >= USER)
		TEST_ASSERT(!mlock(m->at, LEN), "mlock");
	gmem_set_access(m->g.fd, 0, SIZE, NONE);
	TEST_EXPECT_SIGBUS((void)READ_ONCE(*m->at));
	gmem_set_access(m->g.fd, 0, SIZE, m->level);
	TEST_ASSERT(!munlock(m->at, LEN), "munlock");
}

ACCESS_TEST(fork)
{
	struct memory *m = &self->m;
	struct gmem_pin pin;
	int status, r;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (m->level >= USER)
			gmem_assert_filled(m->g.mem, SIZE, m->seed);
		else
			TEST_EXPECT_SIGBUS((void)READ_ONCE(*m->at));
		r = gmem_pin(&pin, GMEM_PIN_WRITE, m->at, LEN);
		TEST_ASSERT(!r == (m->level == KERNEL), "pin in the child: %d", r);
		/* Parent and child share the file. */
		if (!r)
			gmem_unpin(&pin);
		gmem_set_access(m->g.fd, 0, SIZE, NONE);
		_exit(0);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status),
		    "the child failed");
	TEST_EXPECT_SIGBUS((void)READ_ONCE(*m->at));
	gmem_set_access(m->g.fd, 0, SIZE, m->level);
}

static u64 guest_peek(u64 gva, u64 b, u64 c)
{
	return READ_ONCE(*(u64 *)gva);
}

static u64 guest_poke(u64 gva, u64 value, u64 c)
{
	WRITE_ONCE(*(u64 *)gva, value);
	return 0;
}

#if defined(__x86_64__)
static u64 guest_wrmsr(u64 msr, u64 value, u64 unused)
{
	return wrmsr_safe(msr, value);
}

/*
 * The kernel references kvm-clock's page at each level, and no change of levels
 * ends that.
 */
ACCESS_TEST(clock)
{
	struct memory *m = &self->m;
	static const u32 levels[] = { NONE, USER, KERNEL, NONE, KERNEL, USER, NONE };
	struct kvm_vcpu *vcpu = m->g.vcpus[0];
	u64 pfn = m->pfns[AT_PAGE], shared;
	unsigned int i;

	/*
	 * KVM's clock overwrites the first bytes; the guest fills them again at
	 * the end.
	 */
	TEST_ASSERT(!gmem_guest_call(vcpu, guest_wrmsr, MSR_KVM_SYSTEM_TIME_NEW,
				     (GMEM_GPA + AT) | KVM_MSR_ENABLED, 0), "MSR write faults");
	assert_seen(&pfn, 1, m->seed, true);
	for (i = 0; i < ARRAY_SIZE(levels); i++) {
		gmem_set_access(m->g.fd, 0, SIZE, levels[i]);
		assert_seen(&pfn, 1, m->seed, true);
		shared = levels[i] == KERNEL ? NR_PAGES : 1;
		gmem_assert_counts(m->g.fd, NR_PAGES, shared);
		gmem_guest_call(vcpu, gmem_guest_nop, 0, 0, 0);
	}
	TEST_ASSERT(!gmem_guest_call(vcpu, guest_wrmsr, MSR_KVM_SYSTEM_TIME_NEW, 0, 0), "off");
	gmem_wait_put(m->g.fd);
	assert_seen(&pfn, 1, m->seed, levels[i - 1] == KERNEL);
	gmem_set_access(m->g.fd, 0, SIZE, m->level);
	gmem_guest_call(vcpu, gmem_guest_fill, GMEM_GVA + AT, GMEM_PAGE, m->seed);
}

/*
 * KVM's own reads and writes: KVM reads the wall clock's version and increments
 * it.
 */
ACCESS_TEST(kvm_access)
{
	struct memory *m = &self->m;
	struct kvm_vcpu *vcpu = m->g.vcpus[0];

	/*
	 * KVM uses the user mapping where there is one; guest_memfd_sealed_test
	 * tests the rest.
	 */
	gmem_guest_call(vcpu, guest_poke, GMEM_GVA + AT, 6, 0);
	TEST_ASSERT(!gmem_guest_call(vcpu, guest_wrmsr, MSR_KVM_WALL_CLOCK_NEW, GMEM_GPA + AT, 0),
		    "MSR write faults");
	TEST_ASSERT_EQ((u32)gmem_guest_call(vcpu, guest_peek, GMEM_GVA + AT, 0, 0), 8);
	if (m->level >= USER)
		TEST_ASSERT_EQ(*(u32 *)m->at, 8);
	gmem_guest_call(vcpu, gmem_guest_fill, GMEM_GVA + AT, GMEM_PAGE, m->seed);
}
#elif defined(__aarch64__)
#define PV_TIME_ST		0xc5000021

/*
 * The structure that KVM and the guest share: DEN0057, "Paravirtualized Time
 * for Arm-based Systems".
 */
struct stolen_time {
	u32 revision;
	u32 attributes;
	u64 ns;
};

static u64 guest_stolen_time(u64 a, u64 b, u64 c)
{
	struct arm_smccc_res res;

	do_smccc(PV_TIME_ST, 0, 0, 0, 0, 0, 0, 0, &res);
	return res.a0;
}

/*
 * KVM writes the structure when the guest asks for its stolen time, and reads
 * it when it adds to the time.
 */
ACCESS_TEST(kvm_access)
{
	const u64 much = 1ULL << 60, at = GMEM_GVA + AT + offsetof(struct stolen_time, ns);
	u64 gpa = GMEM_GPA + AT, got = 0;
	struct kvm_device_attr attr = {
		.group = KVM_ARM_VCPU_PVTIME_CTRL,
		.attr = KVM_ARM_VCPU_PVTIME_IPA,
		.addr = (u64)&gpa,
	};
	struct memory *m = &self->m;
	struct kvm_vcpu *vcpu = m->g.vcpus[0];
	unsigned int tries;

	vcpu_ioctl(vcpu, KVM_SET_DEVICE_ATTR, &attr);
	TEST_ASSERT_EQ(gmem_guest_call(vcpu, guest_stolen_time, 0, 0, 0), gpa);
	/* KVM has overwritten the fill with revision 0 and no attributes. */
	TEST_ASSERT_EQ(gmem_guest_call(vcpu, guest_peek, GMEM_GVA + AT, 0, 0), 0);
	TEST_ASSERT(gmem_guest_call(vcpu, guest_peek, at, 0, 0) < much / 2, "not initialised");
	gmem_guest_call(vcpu, guest_poke, at, much, 0);
	/* KVM adds the time for which the thread has waited for a CPU. */
	for (tries = 0; tries < 100 && got <= much; tries++) {
		usleep(1000);
		got = gmem_guest_call(vcpu, guest_peek, at, 0, 0);
		TEST_ASSERT(got >= much && got < much + much / 2, "stolen time 0x%lx", got);
	}
	TEST_ASSERT(got > much, "KVM adds no stolen time");
	if (m->level >= USER)
		TEST_ASSERT(((struct stolen_time *)m->at)->ns >= got, "the VMM sees less");

	/*
	 * All pages are unchanged except the one to which KVM continues to
	 * write.
	 */
	gmem_guest_call(vcpu, gmem_guest_fill, GMEM_GVA + AT, GMEM_PAGE, m->seed);
	gmem_guest_call(vcpu, gmem_guest_check, GMEM_GVA, AT, m->seed);
	gmem_guest_call(vcpu, gmem_guest_check, GMEM_GVA + AT + GMEM_PAGE, SIZE - AT - GMEM_PAGE,
			m->seed);
	assert_kept(m);
	gmem_vm_destroy(&m->g);
}
#endif

/*
 * A hole punch works at each level; new pages in the hole have the same level.
 */
ACCESS_TEST(punch_hole)
{
	struct memory *m = &self->m;
	struct gmem_vm *g = &m->g;
	u64 *pfns, idle;

	gmem_punch(g->fd, AT, LEN);
	assert_level(m);
	/*
	 * Pages of a block, whole or cut, stay hidden until they are used
	 * again.
	 */
	idle = variant->order ? LEN_PAGES : 0;
	assert_seen(m->pfns + AT_PAGE, idle, m->seed, false);
	gmem_assert_given_back(m->pfns + AT_PAGE + idle, LEN_PAGES - idle, m->seed);
	assert_seen(m->pfns, AT_PAGE, m->seed, m->level == KERNEL);
	gmem_assert_counts(g->fd, NR_PAGES - LEN_PAGES,
			   m->level == KERNEL ? NR_PAGES - LEN_PAGES : 0);
	if (m->level >= USER)
		gmem_assert_zero(m->at, LEN);
	gmem_guest_call(g->vcpus[0], gmem_guest_check_zero, GMEM_GVA + AT, LEN, 0);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA + AT, LEN, m->seed);

	if (m->level < USER)
		gmem_set_access(g->fd, 0, SIZE, USER);
	pfns = gmem_pfns(m->at, LEN);
	gmem_set_access(g->fd, 0, SIZE, m->level);
	memcpy(m->pfns + AT_PAGE, pfns, LEN_PAGES * sizeof(*pfns));
	free(pfns);
}

/*
 * A poisoned page stays in its file, and its level cannot change to or from
 * KERNEL.
 */
/*
 * The kernel signals the task that injects the failure, and kills it if it
 * ignores the signal.
 */
static void take_signal(int signum)
{
}

ACCESS_TEST(memory_failure)
{
	struct memory *m = &self->m;
	u64 pfn = m->pfns[AT_PAGE], at;
	struct gmem_vm *g = &m->g;
	struct gmem_pin pin;
	int fd, r;
	u32 to;

	fd = open("/sys/kernel/debug/hwpoison/corrupt-pfn", O_WRONLY);
	if (fd < 0)
		SKIP(return, "no hwpoison injection");
	signal(SIGBUS, take_signal);
	if (m->level == KERNEL)
		r = madvise(m->at, GMEM_PAGE, MADV_HWPOISON);
	else
		r = dprintf(fd, "0x%lx", pfn) > 0 ? 0 : -1;
	TEST_ASSERT(!r || errno == EBUSY, "errno %d", errno);
	signal(SIGBUS, SIG_DFL);
	kvm_close(fd);
	TEST_ASSERT(gmem_kpageflags(pfn) & BIT(KPF_HWPOISON), "not marked");

	TEST_EXPECT_SIGBUS((void)READ_ONCE(*m->at));
	TEST_ASSERT(gmem_pin(&pin, GMEM_PIN_READ, m->at, GMEM_PAGE), "pinned");
	for (to = NONE; to <= KERNEL; to++) {
		r = __gmem_set_access(g->fd, 0, SIZE, to, &at);
		if (to == m->level || (to < KERNEL && m->level < KERNEL)) {
			TEST_ASSERT(!r, "%u to %u: errno %d", m->level, to, errno);
			gmem_set_access(g->fd, 0, SIZE, m->level);
			continue;
		}
		TEST_ASSERT(r && errno == EHWPOISON && at == AT, "%u to %u: %d, errno %d at 0x%lx",
			    m->level, to, r, errno, at);
		assert_level(m);
		assert_seen(m->pfns, AT_PAGE, m->seed, m->level == KERNEL);
	}
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, AT, m->seed);
	gmem_set_access(g->fd, 0, AT, KERNEL);
	gmem_set_access(g->fd, 0, AT, NONE);
	gmem_guest_call(g->vcpus[0], gmem_guest_check, GMEM_GVA, AT, m->seed);

	/*
	 * The page is never used again, and its direct-map entry stays as it
	 * is.
	 */
	gmem_vm_destroy(g);
	TEST_ASSERT(gmem_kpageflags(pfn) & BIT(KPF_HWPOISON), "no longer marked");
	gmem_expect_lost(gmem_count_absent(&pfn, 1));
	gmem_assert_given_back(m->pfns, AT_PAGE, m->seed);
	gmem_assert_given_back(m->pfns + AT_PAGE + 1, NR_PAGES - AT_PAGE - 1, m->seed);
}

/* MADV_HWPOISON finds its page by GUP. */
ACCESS_TEST(madvise_hwpoison)
{
	struct memory *m = &self->m;
	u64 pfn = m->pfns[AT_PAGE];
	int r;

	/* At KERNEL it is allowed, and memory_failure tests its effect. */
	if (m->level == KERNEL)
		return;
	r = madvise(m->at, GMEM_PAGE, MADV_HWPOISON);
	TEST_ASSERT(r && errno == EFAULT, "MADV_HWPOISON: %d, errno %d", r, errno);
	TEST_ASSERT(!(gmem_kpageflags(pfn) & BIT(KPF_HWPOISON)), "marked");
}

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

	for (tries = 0; tries < 100; tries++) {
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

	for (i = 0, tries = 0; i < nr && tries < 100; ) {
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
	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "plain memory has no levels to tell apart");
	__TEST_REQUIRE(!access(GUP_TEST_FILE, R_OK), "%s is needed", GUP_TEST_FILE);
	return test_harness_run(argc, argv);
}
