// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host may do with guest memory at each access level.
 *
 * Proves, for each level and for blocks and single pages, what reading and
 * writing, get_user_pages() of every kind, direct I/O, system calls that access
 * other processes, futexes, locking, fork, kvm-clock, memory failure and hole
 * punches do: what the level allows works and transfers the right data, what it
 * does not allow fails with a clean error.
 *
 * Catches: a level that does not reach the page tables of user space (host) or
 * the kernel's (every test), or GUP (gup, pin, fixed_buffer, ...).
 *
 * Not covered: changes of the level of pinned pages (guest_memfd_pinned_test).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kernel-page-flags.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifdef __x86_64__
#include <asm/kvm_para.h>
#endif

#include "gmem_access.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

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
#define assert_from(m, least, call, want, error)				\
do {									\
	u32 __level = (m)->level;					\
	bool __may = __level >= (least);				\
	long __r = (call);						\
	int __e = errno;						\
									\
	TEST_ASSERT(__may ? __r == (long)(want) : __r < 0 && __e == (error), \
		    "level %u: %s gives %ld, errno %d", __level, #call, __r, __e); \
} while (0)

ACCESS_TEST(host)
{
	struct memory *m = &self->m;
	char *mem = m->g.mem;
	int fd = open("/tmp/gmem-copy", O_RDWR | O_CREAT | O_TRUNC, 0600);

	TEST_ASSERT(fd >= 0, "no file in /tmp");
	unlink("/tmp/gmem-copy");
	/* A copy by the kernel through the user mapping returns an error. */
	assert_from(m, USER, pwrite(fd, m->at, LEN, 0), LEN, EFAULT);
	if (m->level >= USER) {
		gmem_assert_filled(mem, SIZE, m->seed);
		gmem_fill(mem, SIZE, m->seed);
		memset(m->at, 0, LEN);
		TEST_ASSERT_EQ(pread(fd, m->at, LEN, 0), LEN);
		gmem_assert_filled(m->at, LEN, m->seed);
	} else {
		TEST_ASSERT_EQ(pwrite(fd, m->plain, LEN, 0), LEN);
		assert_from(m, USER, pread(fd, m->at, LEN, 0), LEN, EFAULT);
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

		assert_from(m, KERNEL, gmem_pin(&pin, kind, m->at, LEN), 0, EFAULT);
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
	assert_from(m, KERNEL, pwrite(fd, m->at, LEN, 0), LEN, EFAULT);
	memset(m->plain, 0, LEN);
	TEST_ASSERT_EQ(pread(fd, m->plain, LEN, 0), LEN);
	if (m->level == KERNEL) {
		gmem_assert_filled(m->plain, LEN, m->seed);
		memset(m->at, 0, LEN);
	} else {
		TEST_ASSERT(m->plain[0] == 1, "the refused write came through");
	}
	assert_from(m, KERNEL, pread(fd, m->at, LEN, 0), LEN, EFAULT);
	assert_from(m, KERNEL, pread(fd, m->at, GMEM_PAGE, 0), GMEM_PAGE, EFAULT);
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

	for (tries = 0; tries < 1200; tries++) {
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

	assert_from(m, KERNEL, gmem_pin(&ring, GMEM_PIN_RING, m->at, LEN), 0, EFAULT);
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

	assert_from(m, KERNEL, process_vm_readv(me, &local, 1, &remote, 1, 0), LEN, EFAULT);
	if (m->level == KERNEL) {
		gmem_assert_filled(m->plain, LEN, m->seed);
		memset(m->at, 0, LEN);
	} else {
		TEST_ASSERT(m->plain[0] == 1, "data came through");
	}
	assert_from(m, KERNEL, process_vm_writev(me, &local, 1, &remote, 1, 0), LEN, EFAULT);

	assert_from(m, KERNEL, pread(fd, m->plain, LEN, (off_t)m->at), LEN, EIO);
	if (m->level == KERNEL)
		memset(m->at, 0, LEN);
	else
		TEST_ASSERT(m->plain[0] == 1, "data came through");
	assert_from(m, KERNEL, pwrite(fd, m->plain, LEN, (off_t)m->at), LEN, EIO);
	if (m->level == KERNEL)
		gmem_assert_filled(m->at, LEN, m->seed);
	kvm_close(fd);
}

/* A shared futex: its key comes from the page, not from the address. */
ACCESS_TEST(futex)
{
	struct memory *m = &self->m;
	u32 old = gmem_word(m->seed, 0), *word = (u32 *)m->at;

	assert_from(m, KERNEL, syscall(__NR_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0), 0, EFAULT);
	if (m->level == KERNEL)
		TEST_ASSERT(syscall(__NR_futex, word, FUTEX_WAIT, old + 1, NULL, NULL, 0) == -1 &&
			    errno == EAGAIN, "errno %d", errno);
}

ACCESS_TEST(mlock)
{
	struct memory *m = &self->m;
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	assert_from(m, USER, mlock(m->at, LEN), 0, ENOMEM);
	TEST_ASSERT(!munlock(m->at, LEN), "munlock");
	assert_from(m, USER, madvise(m->at, LEN, MADV_POPULATE_READ), 0, EFAULT);
	assert_from(m, USER, madvise(m->at, LEN, MADV_POPULATE_WRITE), 0, EFAULT);

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
 * The kernel signals the task that injects the failure, and kills it if it
 * ignores the signal.
 */
static void take_signal(int signum)
{
}

/*
 * A poisoned page stays in its file, and its level cannot change to or from
 * KERNEL.
 */
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

int main(int argc, char *argv[])
{
	access_require();
	return test_harness_run(argc, argv);
}
