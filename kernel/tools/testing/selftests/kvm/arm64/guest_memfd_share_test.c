// SPDX-License-Identifier: GPL-2.0-only
/*
 * A protected guest shares pages of its hidden memory with the host, and
 * unshares them.
 *
 * Proves that a page which the guest shares is at level USER at once, with its
 * contents, and only that page; that the VMM can set another level for it; that
 * the page is donated again, and mapped in no process, when the guest receives
 * the answer to its unshare; that a pin makes the guest's call fail with
 * nothing changed, and a short reference does not; and that the memory is
 * returned in whatever state it is.
 *
 * Catches: a call that succeeds before the host or EL2 has done its part, a
 * level that does not change with the state, a page that stays mapped, a lost
 * reference or count, a guest that gets success from a host that did nothing,
 * and a block that is not split, or whose other pages lose their donation.
 *
 * The VMM gives the guest one step at a time.  Needs kvm-arm.mode=protected.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/guest_memfd.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <string.h>

#include "gmem_pvm.h"
#include "gmem_pvm_steps.h"
#include "guest_memfd_pin.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

/* A block, and a tail of single pages. */
#define TAIL		16
#define SIZE		(SZ_2M + TAIL * GMEM_PAGE)
/* The first page contains the code. */
#define BLOCK_PAGE	(7 * GMEM_PAGE)
#define TAIL_PAGE	(SZ_2M + 3 * GMEM_PAGE)

/*
 * In seconds; a kernel with debugging options needs minutes where another one
 * needs seconds.
 */
#define TIMEOUT		300
#define SHARE_TEST(name)	TEST_F_TIMEOUT(share, name, TIMEOUT)

FIXTURE(share) {
	struct gmem_pvm p;
	u64 *pfns;
	u64 seed;
	int kmsg;
};

FIXTURE_SETUP(share)
{
	memset(self, 0, sizeof(*self));
	gmem_pvm_init(&self->p);
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	gmem_pvm_create(&self->p, SIZE);
	gmem_pvm_create_stepper(&self->p, GMEM_PVM_VCPUS);
	self->pfns = gmem_pfns(self->p.mem, SIZE);
	gmem_pvm_seal(&self->p);
}

FIXTURE_TEARDOWN(share)
{
	gmem_pvm_close_file(&self->p);
	gmem_pvm_close_vm(&self->p);
	gmem_assert_given_back(self->pfns, SIZE / GMEM_PAGE, self->seed);
	free(self->pfns);
	gmem_assert_all_back();
	gmem_assert_nothing_left(&self->kmsg);
}

static void assert_counts(struct gmem_pvm *p, u64 donated, u64 shared)
{
	TEST_ASSERT_EQ(gmem_pvm_count(p->fd, "donated"), donated);
	TEST_ASSERT_EQ(gmem_pvm_count(p->fd, "shared"), shared);
}

/* Assert that the page is donated; its level cannot be raised. */
static void assert_donated(struct gmem_pvm *p, u64 offset)
{
	TEST_ASSERT_EQ(gmem_get_access(p->fd, offset, NULL), GUEST_MEMFD_ACCESS_NONE);
	TEST_ASSERT(!gmem_pvm_host_can_read(p, offset), "the VMM reads a page of the guest's");
	TEST_ASSERT(__gmem_set_access(p->fd, offset, GMEM_PAGE, GUEST_MEMFD_ACCESS_USER, NULL) &&
		    errno == EPERM, "errno %d", errno);
}

static void assert_no_hole(struct gmem_pvm *p, u64 offset)
{
	TEST_ASSERT(fallocate(p->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset,
			      GMEM_PAGE) && errno == EBUSY, "a hole: errno %d", errno);
}

static void round_trip(struct gmem_pvm *p, u64 offset, u64 others)
{
	volatile u64 *word = (u64 *)(p->mem + offset);
	u64 value = 0;

	gmem_pvm_step(p, OP_WRITE, offset, 0x1111);
	gmem_pvm_step(p, OP_WRITE, offset + GMEM_PAGE, 0x2222);
	assert_counts(p, others + 2, 0);
	assert_donated(p, offset);

	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, offset, 0), SUCCESS);
	assert_counts(p, others + 1, 1);
	TEST_ASSERT_EQ(gmem_get_access(p->fd, offset, NULL), GUEST_MEMFD_ACCESS_USER);
	TEST_ASSERT_EQ(gmem_get_access(p->fd, offset - GMEM_PAGE, NULL), GUEST_MEMFD_ACCESS_NONE);
	assert_donated(p, offset + GMEM_PAGE);
	TEST_ASSERT(gmem_pvm_host_access(word, false, &value), "the VMM cannot read");
	TEST_ASSERT_EQ(value, 0x1111);
	value = 0x3333;
	TEST_ASSERT(gmem_pvm_host_access(word, true, &value), "the VMM cannot write");
	TEST_ASSERT_EQ(gmem_pvm_step(p, OP_READ, offset, 0), 0x3333);
	gmem_pvm_step(p, OP_WRITE, offset, 0x4444);
	TEST_ASSERT_EQ(*word, 0x4444);
	assert_no_hole(p, offset);

	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, offset, 0), SUCCESS);
	assert_counts(p, others + 2, 0);
	assert_donated(p, offset);
	TEST_ASSERT_EQ(gmem_pvm_step(p, OP_READ, offset, 0), 0x4444);
	TEST_ASSERT_EQ(gmem_pvm_step(p, OP_READ, offset + GMEM_PAGE, 0), 0x2222);
}

SHARE_TEST(round_trip)
{
	struct gmem_pvm *p = &self->p;
	struct gmem_info info;

	gmem_pvm_catch_sigbus();
	round_trip(p, BLOCK_PAGE, 1);
	round_trip(p, TAIL_PAGE, 3);
	gmem_read_info(p->fd, &info);
	TEST_ASSERT_EQ(info.populated, SIZE / GMEM_PAGE);
	TEST_ASSERT_EQ(info.hidden, SIZE / GMEM_PAGE);
}

/* The VMM may set the levels of a shared page. */
SHARE_TEST(levels)
{
	struct gmem_pvm *p = &self->p;
	u64 value, other = TAIL_PAGE + GMEM_PAGE;

	gmem_pvm_catch_sigbus();
	gmem_pvm_step(p, OP_WRITE, BLOCK_PAGE, 0x1111);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, BLOCK_PAGE, 0), SUCCESS);
	gmem_set_access(p->fd, BLOCK_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_KERNEL);
	TEST_ASSERT_EQ(gmem_count_absent(&self->pfns[BLOCK_PAGE / GMEM_PAGE], 1), 0);
	gmem_set_access(p->fd, BLOCK_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_NONE);
	TEST_ASSERT(!gmem_pvm_host_can_read(p, BLOCK_PAGE), "the VMM reads at NONE");
	TEST_ASSERT_EQ(gmem_pvm_step(p, OP_READ, BLOCK_PAGE, 0), 0x1111);
	gmem_set_access(p->fd, BLOCK_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_USER);
	TEST_ASSERT(gmem_pvm_host_access((u64 *)(p->mem + BLOCK_PAGE), false, &value),
		    "the VMM cannot read");
	TEST_ASSERT_EQ(value, 0x1111);

	/* The guest can unshare the page at each of them. */
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, BLOCK_PAGE, 0), SUCCESS);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, BLOCK_PAGE, 0), SUCCESS);
	gmem_set_access(p->fd, BLOCK_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_NONE);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, BLOCK_PAGE, 0), SUCCESS);
	assert_donated(p, BLOCK_PAGE);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, BLOCK_PAGE, 0), SUCCESS);
	gmem_set_access(p->fd, BLOCK_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_KERNEL);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, BLOCK_PAGE, 0), SUCCESS);
	assert_donated(p, BLOCK_PAGE);
	TEST_ASSERT_EQ(gmem_count_absent(&self->pfns[BLOCK_PAGE / GMEM_PAGE], 1), 1);
	TEST_ASSERT_EQ(gmem_pvm_step(p, OP_READ, BLOCK_PAGE, 0), 0x1111);

	/* A range with pages of all kinds can be lowered, but not raised. */
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, BLOCK_PAGE, 0), SUCCESS);
	gmem_set_access(p->fd, other, GMEM_PAGE, GUEST_MEMFD_ACCESS_USER);
	TEST_ASSERT(__gmem_set_access(p->fd, 0, SIZE, GUEST_MEMFD_ACCESS_USER, NULL) &&
		    errno == EPERM, "errno %d", errno);
	gmem_pvm_seal(p);
	assert_counts(p, 1, 1);
}

/* Calls of the guest that are refused change nothing. */
SHARE_TEST(refused)
{
	struct gmem_pvm *p = &self->p;
	u64 value;

	gmem_pvm_catch_sigbus();
	gmem_pvm_step(p, OP_WRITE, BLOCK_PAGE, 0x1111);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, BLOCK_PAGE, 0), INVALID);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, TAIL_PAGE, 0), INVALID);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, BLOCK_PAGE + 8, 0), INVALID);
	/* The second argument must be zero. */
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, BLOCK_PAGE, 1), INVALID);
	assert_counts(p, 2, 0);
	assert_donated(p, BLOCK_PAGE);

	/*
	 * Sharing a page that the guest has not touched first donates it, if
	 * that is possible.
	 */
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, TAIL_PAGE, 0), SUCCESS);
	assert_counts(p, 2, 1);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, TAIL_PAGE, 0), INVALID);
	TEST_ASSERT(gmem_pvm_host_access((u64 *)(p->mem + TAIL_PAGE), false, &value), "not shared");
	assert_counts(p, 2, 1);
	gmem_set_access(p->fd, TAIL_PAGE + GMEM_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_USER);
	TEST_ASSERT_EQ(gmem_pvm_try_step(p, 0, MEM_SHARE, TAIL_PAGE + GMEM_PAGE, 0, &value),
		       EFAULT);
	TEST_ASSERT_EQ(p->run[0]->exit_reason, KVM_EXIT_MEMORY_FAULT);
	TEST_ASSERT_EQ(p->run[0]->memory_fault.gpa, GMEM_GPA + TAIL_PAGE + GMEM_PAGE);
	assert_counts(p, 2, 1);
	/* The guest repeats its call: it has loaded the step already. */
	gmem_set_access(p->fd, TAIL_PAGE + GMEM_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_NONE);
	TEST_ASSERT(!gmem_pvm_try_step(p, 0, 0, 0, 0, &value), "errno %d", errno);
	TEST_ASSERT_EQ(value, SUCCESS);
	assert_counts(p, 2, 2);
}

/*
 * A long-term pin makes the guest's call fail; the page stays shared, and
 * pinned.
 */
SHARE_TEST(pinned)
{
	struct gmem_pvm *p = &self->p;
	struct gmem_pin pin;
	u64 value;
	int kind;

	gmem_pvm_catch_sigbus();
	gmem_pvm_step(p, OP_WRITE, BLOCK_PAGE, 0x1111);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, BLOCK_PAGE, 0), SUCCESS);
	TEST_ASSERT(gmem_pin(&pin, GMEM_PIN_WRITE, p->mem + BLOCK_PAGE, GMEM_PAGE),
		    "a page at USER was pinned");
	for (kind = 0; kind < NR_GMEM_PINS; kind++) {
		gmem_set_access(p->fd, BLOCK_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_KERNEL);
		if (gmem_pin(&pin, kind, p->mem + BLOCK_PAGE, GMEM_PAGE)) {
			ksft_print_msg("%s: not on this host\n", gmem_pin_name(kind));
			continue;
		}
		TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, BLOCK_PAGE, 0), INVALID);
		assert_counts(p, 1, 1);
		TEST_ASSERT_EQ(gmem_get_access(p->fd, BLOCK_PAGE, NULL),
			       GUEST_MEMFD_ACCESS_KERNEL);
		TEST_ASSERT(gmem_pvm_host_access((u64 *)(p->mem + BLOCK_PAGE), false, &value),
			    "the VMM cannot read");
		TEST_ASSERT_EQ(value, 0x1111);
		gmem_unpin(&pin);
		/* The page can still be pinned. */
		TEST_ASSERT(!gmem_pin(&pin, kind, p->mem + BLOCK_PAGE, GMEM_PAGE), "errno %d",
			    errno);
		gmem_unpin(&pin);
		TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, BLOCK_PAGE, 0), SUCCESS);
		assert_donated(p, BLOCK_PAGE);
		TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, BLOCK_PAGE, 0), SUCCESS);
	}
}

/*
 * Without the file KVM commits nothing, and EL2 answers the guest with an
 * error: pages keep their state.  All of them, including a shared one, are
 * returned when the VM ends.
 */
SHARE_TEST(file_closed)
{
	struct gmem_pvm *p = &self->p;

	gmem_pvm_step(p, OP_WRITE, BLOCK_PAGE, 0x1111);
	gmem_pvm_step(p, OP_WRITE, BLOCK_PAGE + GMEM_PAGE, 0x2222);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, BLOCK_PAGE, 0), SUCCESS);
	gmem_pvm_close_file(p);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, BLOCK_PAGE, 0), INVALID);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, BLOCK_PAGE + GMEM_PAGE, 0), INVALID);
	TEST_ASSERT_EQ(gmem_pvm_step(p, OP_READ, BLOCK_PAGE, 0), 0x1111);
	TEST_ASSERT_EQ(gmem_pvm_step(p, OP_READ, BLOCK_PAGE + GMEM_PAGE, 0), 0x2222);
	usleep(300000);
	TEST_ASSERT(gmem_count_absent(self->pfns, SIZE / GMEM_PAGE) >= 3, "pages were freed");
}

/*
 * A VMM whose guest shares three pages, one at each level; it waits to be
 * killed.
 */
static void share_and_wait(int *fd)
{
	struct gmem_pvm p;
	u32 level;
	u64 page;

	gmem_pvm_create(&p, SIZE);
	gmem_pvm_create_stepper(&p, 1);
	gmem_pvm_seal(&p);
	for (level = GUEST_MEMFD_ACCESS_NONE; level <= GUEST_MEMFD_ACCESS_KERNEL; level++) {
		page = BLOCK_PAGE + level * GMEM_PAGE;
		gmem_pvm_step(&p, OP_WRITE, page, 0x1111);
		TEST_ASSERT_EQ(gmem_pvm_step(&p, MEM_SHARE, page, 0), SUCCESS);
		gmem_set_access(p.fd, page, GMEM_PAGE, level);
	}
	assert_counts(&p, 1, 3);
	WRITE_ONCE(*fd, p.fd);
	for (;;)
		pause();
}

/*
 * After the guest is gone, its shared pages are ordinary pages of the file that
 * is still open.
 */
SHARE_TEST(file_outlives)
{
	int i, *fd = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	struct gmem_pvm *p = &self->p;
	pid_t pid;

	*fd = -1;
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork: errno %d", errno);
	if (!pid)
		share_and_wait(fd);
	for (i = 0; i < 10000 && READ_ONCE(*fd) < 0; i++)
		usleep(1000);
	TEST_ASSERT(*fd >= 0, "the VMM did not run its guest");
	/* This replaces the teardown of the fixture. */
	gmem_pvm_close_file(p);
	p->fd = gmem_pvm_get_fd(pid, *fd);
	kvm_munmap(fd, GMEM_PAGE);
	gmem_pvm_kill(pid);
	assert_counts(p, 0, 0);
	gmem_set_access(p->fd, 0, SIZE, GUEST_MEMFD_ACCESS_KERNEL);
	p->mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd);
	for (i = 0; i < 3; i++)
		TEST_ASSERT_EQ(*(u64 *)(p->mem + BLOCK_PAGE + i * GMEM_PAGE), 0x1111);
	gmem_punch(p->fd, BLOCK_PAGE, GMEM_PAGE);
	gmem_pvm_seal(p);
}

/* A shared page at KERNEL is pinned when the file and the VM end. */
SHARE_TEST(pin_outlives)
{
	struct gmem_pvm *p = &self->p;
	struct gmem_pin pin;
	bool file_first;
	u64 buf[512];

	for (file_first = false; ; file_first = true) {
		gmem_pvm_step(p, OP_WRITE, BLOCK_PAGE, 0x1111);
		TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, BLOCK_PAGE, 0), SUCCESS);
		gmem_set_access(p->fd, BLOCK_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_KERNEL);
		TEST_ASSERT(!gmem_pin(&pin, GMEM_PIN_READ, p->mem + BLOCK_PAGE, GMEM_PAGE),
			    "errno %d", errno);
		if (file_first) {
			gmem_pvm_close_file(p);
			gmem_pvm_close_vm(p);
		} else {
			gmem_pvm_close_vm(p);
			gmem_pvm_close_file(p);
		}
		gmem_pin_read(&pin, buf);
		TEST_ASSERT_EQ(buf[0], 0x1111);
		gmem_unpin(&pin);
		if (file_first)
			break;
		gmem_assert_given_back(self->pfns, SIZE / GMEM_PAGE, self->seed);
		free(self->pfns);
		gmem_pvm_create(p, SIZE);
		gmem_pvm_create_stepper(p, 1);
		self->pfns = gmem_pfns(p->mem, SIZE);
		gmem_pvm_seal(p);
	}
}

/* A guest can share anonymous memory; KVM's memslots are not involved. */
SHARE_TEST(anonymous)
{
	struct gmem_pvm *p = &self->p, other;
	u64 value;

	gmem_pvm_catch_sigbus();
	gmem_pvm_init(&other);
	other.size = SIZE;
	other.vm = gmem_pvm_create_vm();
	TEST_ASSERT(other.vm >= 0, "KVM_CREATE_VM: errno %d", errno);
	other.mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	TEST_ASSERT_EQ(gmem_pvm_add_slot(other.vm, 0, other.mem, SIZE, -1), 0);
	gmem_pvm_create_stepper(&other, 1);
	gmem_pvm_step(&other, OP_WRITE, BLOCK_PAGE, 0x1111);
	TEST_ASSERT_EQ(gmem_pvm_step(&other, MEM_SHARE, BLOCK_PAGE, 0), SUCCESS);
	TEST_ASSERT(gmem_pvm_host_access((u64 *)(other.mem + BLOCK_PAGE), false, &value),
		    "not shared");
	TEST_ASSERT_EQ(value, 0x1111);
	TEST_ASSERT_EQ(gmem_pvm_step(&other, MEM_UNSHARE, BLOCK_PAGE, 0), SUCCESS);
	TEST_ASSERT_EQ(gmem_pvm_step(&other, MEM_UNSHARE, BLOCK_PAGE, 0), INVALID);
	TEST_ASSERT_EQ(gmem_pvm_step(&other, OP_READ, BLOCK_PAGE, 0), 0x1111);
	gmem_pvm_close_vm(&other);
	gmem_pvm_close_file(&other);
	assert_counts(p, 0, 0);
}

struct same_page {
	struct gmem_pvm *p;
	int nr, err;
	u64 offset, result;
	pthread_t thread;
};

static void *run_same_page(void *arg)
{
	struct same_page *s = arg;

	s->err = gmem_pvm_try_step(s->p, s->nr, MEM_SHARE, s->offset, 0, &s->result);
	return NULL;
}

/*
 * Two vCPUs share a page that neither has touched: one succeeds, and the other
 * gets an error.
 */
SHARE_TEST(same_page)
{
	struct same_page s[GMEM_PVM_VCPUS];
	struct gmem_pvm *p = &self->p;
	u64 offset;
	int i;

	for (offset = SZ_1M; offset < SZ_1M + 100 * GMEM_PAGE; offset += GMEM_PAGE) {
		for (i = 0; i < GMEM_PVM_VCPUS; i++) {
			s[i] = (struct same_page){ .p = p, .nr = i, .offset = offset };
			TEST_ASSERT(!pthread_create(&s[i].thread, NULL, run_same_page, &s[i]),
				    "pthread_create");
		}
		for (i = 0; i < GMEM_PVM_VCPUS; i++) {
			pthread_join(s[i].thread, NULL);
			TEST_ASSERT(!s[i].err, "KVM_RUN: errno %d", s[i].err);
		}
		TEST_ASSERT((s[0].result == SUCCESS && s[1].result == INVALID) ||
			    (s[0].result == INVALID && s[1].result == SUCCESS),
			    "results 0x%lx and 0x%lx", s[0].result, s[1].result);
	}
	assert_counts(p, 1, 100);
}

#define RACE_PAGES	8
#define RACE_PAGE(i)	(SZ_1M + (i) * GMEM_PAGE)

struct race {
	struct gmem_pvm *p;
	u64 end;
	/*
	 * The states that the guest expects, protected by its lock of each
	 * page.
	 */
	struct {
		pthread_mutex_t lock;
		bool shared;
		u64 value;
	} pages[RACE_PAGES];
	u64 calls[2], failed[2], touched, not_touched, changed, not_changed, holes;
};

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct race_vcpu {
	struct race *race;
	int nr;
	pthread_t thread;
};

static u64 race_step(struct race_vcpu *v, u64 op, u64 offset, u64 value)
{
	u64 result = 0;
	int err;

	/*
	 * The host may have set another level when the guest first touches the
	 * page; retry.
	 */
	do {
		err = gmem_pvm_try_step(v->race->p, v->nr, op, offset, value, &result);
		TEST_ASSERT(!err || err == EFAULT, "KVM_RUN: errno %d", err);
	} while (err);
	return result;
}

/* A page that the guest does not share contains what the guest wrote. */
static void *run_race_vcpu(void *arg)
{
	struct race_vcpu *v = arg;
	struct race *race = v->race;
	unsigned int seed = v->nr, i;

	while (now_ms() < race->end) {
		i = rand_r(&seed) % RACE_PAGES;
		pthread_mutex_lock(&race->pages[i].lock);
		if (rand_r(&seed) & 1) {
			bool share = !race->pages[i].shared;

			__atomic_add_fetch(&race->calls[share], 1, __ATOMIC_RELAXED);
			if (race_step(v, share ? MEM_SHARE : MEM_UNSHARE, RACE_PAGE(i), 0)) {
				__atomic_add_fetch(&race->failed[share], 1, __ATOMIC_RELAXED);
			} else {
				race->pages[i].shared = share;
				race->pages[i].value = 0;
			}
		} else if (!race->pages[i].shared) {
			if (race->pages[i].value)
				TEST_ASSERT_EQ(race_step(v, OP_READ, RACE_PAGE(i), 0),
					       race->pages[i].value);
			race->pages[i].value = rand_r(&seed) | 1;
			race_step(v, OP_WRITE, RACE_PAGE(i), race->pages[i].value);
		} else {
			race_step(v, OP_WRITE, RACE_PAGE(i), rand_r(&seed));
		}
		pthread_mutex_unlock(&race->pages[i].lock);
	}
	return NULL;
}

static void *run_race_toucher(void *arg)
{
	struct race *race = arg;
	unsigned int seed = 7;
	u64 value = 0;

	while (now_ms() < race->end) {
		u64 offset = RACE_PAGE(rand_r(&seed) % RACE_PAGES);

		if (gmem_pvm_host_access((u64 *)(race->p->mem + offset), rand_r(&seed) & 1, &value))
			race->touched++;
		else
			race->not_touched++;
	}
	return NULL;
}

static void *run_race_levels(void *arg)
{
	struct race *race = arg;
	unsigned int seed = 9;

	while (now_ms() < race->end) {
		unsigned int first = rand_r(&seed) % RACE_PAGES;
		unsigned int nr = 1 + rand_r(&seed) % (RACE_PAGES - first);
		u32 level = rand_r(&seed) % 3;

		if (!__gmem_set_access(race->p->fd, RACE_PAGE(first), nr * GMEM_PAGE, level,
				       NULL)) {
			race->changed++;
		} else {
			TEST_ASSERT(errno == EPERM || errno == EAGAIN, "errno %d", errno);
			race->not_changed++;
		}
		if (!fallocate(race->p->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
			       RACE_PAGE(first), GMEM_PAGE))
			race->holes++;
		else
			TEST_ASSERT_EQ(errno, EBUSY);
		usleep(rand_r(&seed) % 2000);
	}
	return NULL;
}

/* In seconds; GMEM_SHARE_RACE_S in the environment overrides it. */
static unsigned int race_seconds(void)
{
	const char *s = getenv("GMEM_SHARE_RACE_S");

	return s ? atoi(s) : 10;
}

SHARE_TEST(race)
{
	struct race race = { .p = &self->p, .end = now_ms() + race_seconds() * 1000 };
	struct race_vcpu vcpus[GMEM_PVM_VCPUS];
	pthread_t toucher, levels;
	int i;

	gmem_pvm_catch_sigbus();
	for (i = 0; i < RACE_PAGES; i++)
		pthread_mutex_init(&race.pages[i].lock, NULL);
	for (i = 0; i < GMEM_PVM_VCPUS; i++) {
		vcpus[i] = (struct race_vcpu){ .race = &race, .nr = i };
		TEST_ASSERT(!pthread_create(&vcpus[i].thread, NULL, run_race_vcpu, &vcpus[i]),
			    "pthread_create");
	}
	TEST_ASSERT(!pthread_create(&toucher, NULL, run_race_toucher, &race), "pthread_create");
	TEST_ASSERT(!pthread_create(&levels, NULL, run_race_levels, &race), "pthread_create");
	for (i = 0; i < GMEM_PVM_VCPUS; i++)
		pthread_join(vcpus[i].thread, NULL);
	pthread_join(toucher, NULL);
	pthread_join(levels, NULL);
	ksft_print_msg("%lu shares, %lu failed; %lu unshares, %lu failed; %lu accesses, %lu not; "
		       "%lu levels, %lu not; %lu holes\n", race.calls[1], race.failed[1],
		       race.calls[0], race.failed[0], race.touched, race.not_touched, race.changed,
		       race.not_changed, race.holes);
	TEST_ASSERT(race.calls[1] && race.calls[0] && race.touched && race.not_touched &&
		    race.changed && race.not_changed, "one of these never happened");
	/*
	 * Nothing pins pages, so only a reference that happens to last can make
	 * an unshare fail.
	 */
	TEST_ASSERT(!race.failed[1] && race.failed[0] * 10 <= race.calls[0], "calls failed");
}

static void share_and_take_back(struct gmem_pvm *p, u64 offset)
{
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, offset, 0), SUCCESS);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, offset, 0), SUCCESS);
}

/* The VMM is killed while its guest shares and unshares. */
SHARE_TEST(killed)
{
	pid_t pid;
	int i;

	for (i = 0; i < 5; i++) {
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork: errno %d", errno);
		if (!pid) {
			struct gmem_pvm p;

			gmem_pvm_create(&p, SIZE);
			gmem_pvm_create_stepper(&p, 1);
			gmem_pvm_seal(&p);
			for (;;) {
				share_and_take_back(&p, BLOCK_PAGE);
				share_and_take_back(&p, TAIL_PAGE);
			}
		}
		usleep(150000 + i * 70000);
		gmem_pvm_kill(pid);
	}
}

/*
 * A memory error in a shared page: the guest cannot unshare the page, and EL2
 * does not get it.  These are the last tests, because free single pages of the
 * block can stay hidden.
 */
static void poison_shared(struct _test_data_share *self, u32 level)
{
	struct gmem_pvm *p = &self->p;
	char text[32];
	int fd, len;

	gmem_pvm_step(p, OP_WRITE, TAIL_PAGE, 0x1111);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, TAIL_PAGE, 0), SUCCESS);
	gmem_set_access(p->fd, TAIL_PAGE, GMEM_PAGE, level);
	fd = open_path_or_exit("/sys/kernel/debug/hwpoison/corrupt-pfn", O_WRONLY);
	len = sprintf(text, "%lu", self->pfns[TAIL_PAGE / GMEM_PAGE]);
	TEST_ASSERT(write(fd, text, len) == len, "corrupt-pfn: errno %d", errno);
	kvm_close(fd);
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, TAIL_PAGE, 0), INVALID);
	assert_counts(p, 1, 1);
	gmem_pvm_close_file(p);
	gmem_pvm_close_vm(p);
	/* At KERNEL the page stays in the direct map. */
	gmem_expect_lost(level == GUEST_MEMFD_ACCESS_USER);
	/*
	 * The fixture checks the pages that are returned, so replace the
	 * poisoned one.
	 */
	self->pfns[TAIL_PAGE / GMEM_PAGE] = self->pfns[TAIL_PAGE / GMEM_PAGE + 1];
}

SHARE_TEST(poisoned)
{
	if (access("/sys/kernel/debug/hwpoison/corrupt-pfn", W_OK))
		SKIP(return, "no injection of memory errors");
	poison_shared(self, GUEST_MEMFD_ACCESS_USER);
}

/*
 * The level's reference remains, too; the host must not unpin a page that it
 * never pinned.
 */
SHARE_TEST(poisoned_at_kernel)
{
	if (access("/sys/kernel/debug/hwpoison/corrupt-pfn", W_OK))
		SKIP(return, "no injection of memory errors");
	poison_shared(self, GUEST_MEMFD_ACCESS_KERNEL);
}

int main(int argc, char *argv[])
{
	gmem_pvm_require();
	return test_harness_run(argc, argv);
}
