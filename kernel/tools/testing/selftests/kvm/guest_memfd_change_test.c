// SPDX-License-Identifier: GPL-2.0-only
/*
 * A change of access levels, and other users of the memory at the same time.
 *
 * Proves: a change to USER waits for vCPU faults and for short pins of the
 * range, while 4 vCPUs and a thread read it (short_references); a long-term pin
 * ends the change with EAGAIN and the offset of the page within 100 ms
 * (long_term_pin); while 1 GiB changes its level, and other threads change the
 * level of a page and the memslot of the same file, no access of a vCPU or a
 * process to populated memory takes 100 ms (stall).  When the memory of a large
 * file is freed, the mappings of 1 GiB that it had split are merged again
 * (huge_merged).
 *
 * Catches: a change that gives up after a fixed number of attempts without
 * sleep, one that waits for ever, and one that holds the invalidate_lock for
 * the range: a writer that waits for the lock then blocks every fault behind
 * it.  If faults on the pages that a change unmaps did not wait for it, it
 * would flush for each page that they map again, and short_references would
 * make a tenth of the changes.
 *
 * Not covered: populating a range that changes; guest_memfd_stress_test does
 * that.
 *
 * The emulated host shares its CPUs with other work, so one of ROUNDS rounds
 * must meet each limit of time.  Without the change the times are seconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"
#include "ucall_common.h"

#define TIMEOUT		600
#define LIMIT_US	100000
#define ROUNDS		5
#define NR_VCPUS	4

#define NONE		GUEST_MEMFD_ACCESS_NONE
#define USER		GUEST_MEMFD_ACCESS_USER
#define KERNEL		GUEST_MEMFD_ACCESS_KERNEL

FIXTURE(change) {
	int kmsg;
	struct gmem_vm g;
	bool stop;
};

FIXTURE_SETUP(change)
{
	gmem_kmsg_open(&self->kmsg);
	self->stop = false;
}

FIXTURE_TEARDOWN(change)
{
	gmem_vm_destroy(&self->g);
	gmem_assert_nothing_left(&self->kmsg);
}

/* KiB that mappings of 1 GiB covered before all tests. */
static u64 huge_before;

#define CHANGE_TEST(name) TEST_F_TIMEOUT(change, name, TIMEOUT)

static u64 now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return timespec_to_ns(t) / 1000;
}

/* Guest: read one word of every @stride bytes. */
static u64 guest_touch(u64 gva, u64 size, u64 stride)
{
	u64 at;

	for (at = 0; at < size; at += stride)
		READ_ONCE(*(u64 *)(gva + at));
	return 0;
}

struct runner {
	struct _test_data_change *self;
	struct kvm_vcpu *vcpu;
	u64 rounds, longest;
};

static void *vcpu_thread(void *arg)
{
	struct runner *r = arg;
	u64 at = 0;

	while (!READ_ONCE(r->self->stop)) {
		gmem_guest_call(r->vcpu, guest_touch, GMEM_GVA + at, SZ_256K, GMEM_PAGE);
		at = (at + SZ_256K) % r->self->g.size;
		r->rounds++;
	}
	return NULL;
}

/* Pins some pages at a time, for as long as the kernel takes to copy them. */
static void *short_pin_thread(void *arg)
{
	struct runner *r = arg;
	struct gmem_vm *g = &r->self->g;
	size_t chunk = 16 * GMEM_PAGE, at;
	char *to = kvm_mmap(chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	while (!READ_ONCE(r->self->stop)) {
		for (at = 0; at < g->size && !READ_ONCE(r->self->stop); at += chunk) {
			struct iovec local = { to, chunk }, remote = { g->mem + at, chunk };

			r->rounds += process_vm_readv(getpid(), &local, 1, &remote, 1, 0) > 0;
			usleep(2000);
		}
	}
	kvm_munmap(to, chunk);
	return NULL;
}

CHANGE_TEST(short_references)
{
	const u64 seconds = 150, max_changes = 1000, min_changes = 200;
	struct runner runners[NR_VCPUS + 1] = {};
	pthread_t threads[NR_VCPUS + 1];
	u64 changes = 0, refused = 0, at, start;
	struct gmem_vm *g = &self->g;
	int i, r;

	gmem_vm_create(g, NR_VCPUS, SZ_64M, gmem_test_flags());
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, g->size);
	for (i = 0; i <= NR_VCPUS; i++) {
		runners[i].self = self;
		runners[i].vcpu = i < NR_VCPUS ? g->vcpus[i] : NULL;
		kvm_pthread_create(&threads[i], NULL, i < NR_VCPUS ? vcpu_thread :
				   short_pin_thread, &runners[i]);
	}
	start = now_us();
	while (changes < max_changes && now_us() - start < seconds * 1000000) {
		r = __gmem_set_access(g->fd, 0, g->size, KERNEL, &at);
		TEST_ASSERT(!r, "to KERNEL: errno %d", errno);
		r = __gmem_set_access(g->fd, 0, g->size, USER, &at);
		TEST_ASSERT(!r || errno == EAGAIN, "to USER: errno %d", errno);
		refused += !!r;
		changes += 2;
	}
	WRITE_ONCE(self->stop, true);
	for (i = 0; i <= NR_VCPUS; i++)
		kvm_pthread_join(threads[i], NULL);
	ksft_print_msg("%lu changes of 64 MiB in %lu ms, %lu refused\n", changes,
		       (now_us() - start) / 1000, refused);
	ksft_print_msg("%lu times 64 pages of a vCPU, %lu short pins\n", runners[0].rounds,
		       runners[NR_VCPUS].rounds);
	TEST_ASSERT(changes >= min_changes, "only %lu changes", changes);
	TEST_ASSERT(runners[NR_VCPUS].rounds, "no short pin");
	/*
	 * A task that has pinned a page may lose its CPU for longer than a
	 * change waits.
	 */
	TEST_ASSERT(refused <= changes / 500, "%lu of %lu changes were refused", refused, changes);
}

CHANGE_TEST(long_term_pin)
{
	u64 at, start, us, best = -1, size;
	struct gmem_vm *g = &self->g;
	struct gmem_pin pin;
	int i, r;

	gmem_vm_create(g, 1, SZ_64M, gmem_test_flags());
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, g->size);
	gmem_set_access(g->fd, 0, g->size, KERNEL);
	TEST_ASSERT(!gmem_pin(&pin, GMEM_PIN_RING, g->mem + g->size - GMEM_PAGE, GMEM_PAGE),
		    "errno %d", errno);
	for (i = 0; i < ROUNDS; i++) {
		start = now_us();
		r = __gmem_set_access(g->fd, 0, g->size, NONE, &at);
		us = now_us() - start;
		/*
		 * The kernel only knows which block contains the pinned page.
		 */
		TEST_ASSERT(r == -1 && errno == EAGAIN && at == g->size - SZ_2M,
			    "%d, errno %d at 0x%lx", r, errno, at);
		TEST_ASSERT_EQ(gmem_get_access(g->fd, 0, &size), KERNEL);
		TEST_ASSERT_EQ(size, g->size);
		best = min(best, us);
	}
	gmem_unpin(&pin);
	ksft_print_msg("a pinned page is reported after %lu us\n", best);
	TEST_ASSERT(best < LIMIT_US, "%lu us until EAGAIN", best);
	gmem_set_access(g->fd, 0, g->size, NONE);
}

/* Touches one page at a time, so that each access is measured alone. */
static void *touch_thread(void *arg)
{
	struct runner *r = arg;
	struct gmem_vm *g = &r->self->g;
	u64 page = 0, start, us;

	while (!READ_ONCE(r->self->stop)) {
		start = now_us();
		READ_ONCE(*(u64 *)(g->mem + page * GMEM_PAGE));
		us = now_us() - start;
		r->longest = max(r->longest, us);
		r->rounds++;
		page = (page + 127) % (g->size / GMEM_PAGE);
	}
	return NULL;
}

/*
 * Deleting the memslot removes the guest's mappings, so the guest faults on
 * each page again.
 */
static void *rebind_thread(void *arg)
{
	struct runner *r = arg;
	struct gmem_vm *g = &r->self->g;
	u64 page = 0, start, us, n;

	while (!READ_ONCE(r->self->stop)) {
		gmem_vm_unbind(g);
		gmem_vm_bind(g, g->mem);
		for (n = 0; n < 64 && !READ_ONCE(r->self->stop); n++) {
			start = now_us();
			gmem_guest_call(r->vcpu, guest_touch, GMEM_GVA + page * GMEM_PAGE,
					GMEM_PAGE, GMEM_PAGE);
			us = now_us() - start;
			r->longest = max(r->longest, us);
			r->rounds++;
			page = (page + 4099) % (g->size / GMEM_PAGE);
		}
	}
	return NULL;
}

/* Raises and lowers one page in a separate block. */
static void *write_thread(void *arg)
{
	struct runner *r = arg;
	struct gmem_vm *g = &r->self->g;

	while (!READ_ONCE(r->self->stop)) {
		gmem_set_access(g->fd, g->size - GMEM_PAGE, GMEM_PAGE, KERNEL);
		gmem_set_access(g->fd, g->size - GMEM_PAGE, GMEM_PAGE, USER);
		r->rounds += 2;
	}
	return NULL;
}

static void stall_round(struct _test_data_change *self, u32 high, u32 low, u64 *longest)
{
	void *(*const fns[])(void *) = { touch_thread, rebind_thread, write_thread };
	struct runner runners[ARRAY_SIZE(fns)] = {};
	pthread_t threads[ARRAY_SIZE(fns)];
	struct gmem_vm *g = &self->g;
	u64 start, up, down;
	int i;

	WRITE_ONCE(self->stop, false);
	for (i = 0; i < ARRAY_SIZE(fns); i++) {
		runners[i].self = self;
		runners[i].vcpu = g->vcpus[0];
		kvm_pthread_create(&threads[i], NULL, fns[i], &runners[i]);
	}
	start = now_us();
	gmem_set_access(g->fd, 0, SZ_1G, high);
	up = now_us() - start;
	gmem_set_access(g->fd, 0, SZ_1G, low);
	down = now_us() - start - up;
	WRITE_ONCE(self->stop, true);
	for (i = 0; i < ARRAY_SIZE(fns); i++)
		kvm_pthread_join(threads[i], NULL);
	*longest = max(runners[0].longest, runners[1].longest);
	ksft_print_msg("1 GiB up in %lu ms, down in %lu ms; %lu other changes\n", up / 1000,
		       down / 1000, runners[2].rounds);
	ksft_print_msg("longest access of a process %lu us (of %lu), of a vCPU %lu us (of %lu)\n",
		       runners[0].longest, runners[0].rounds, runners[1].longest,
		       runners[1].rounds);
	TEST_ASSERT(runners[0].rounds > 10 && runners[1].rounds > 10 && runners[2].rounds,
		    "a thread stood still");
}

CHANGE_TEST(stall)
{
	u64 longest, best = -1, page;
	struct gmem_vm *g = &self->g;
	int i;

	gmem_vm_create(g, 1, SZ_1G + SZ_2M, gmem_test_flags());
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, g->size);
	for (page = 0; page < g->size / GMEM_PAGE; page++)
		READ_ONCE(*(u64 *)(g->mem + page * GMEM_PAGE));
	for (i = 0; i < ROUNDS && best >= LIMIT_US; i++) {
		stall_round(self, KERNEL, USER, &longest);
		best = min(best, longest);
	}
	TEST_ASSERT(best < LIMIT_US, "an access took %lu us", best);
}

static bool huge_back(void *before)
{
	return gmem_meminfo("DirectMap1G") >= (u64)before;
}

/*
 * Hiding a block splits a mapping of 1 GiB; freeing the memory merges it.  The
 * last GiB of memory is mapped by 2 MiB from boot on, so the file is larger
 * than that.
 */
CHANGE_TEST(huge_merged)
{
	u64 broken, before = huge_before;
	struct gmem_vm *g = &self->g;

	if (!before)
		SKIP(return, "no mapping of 1 GiB");
	gmem_set_pool("0");
	gmem_vm_create(g, 1, SZ_1G + SZ_512M, gmem_test_flags());
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, g->size);
	broken = before - gmem_meminfo("DirectMap1G");
	TEST_ASSERT(broken, "no mapping of 1 GiB was split");
	gmem_vm_destroy(g);
	gmem_wait(huge_back, (void *)before);
	gmem_set_pool("0,1%");
	TEST_ASSERT(huge_back((void *)before), "of %lu KiB that were split, %lu are", broken,
		    before - gmem_meminfo("DirectMap1G"));
}

int main(int argc, char *argv[])
{
	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "plain memory has no levels to tell apart");
	__TEST_REQUIRE(!access(GUP_TEST_FILE, R_OK), "%s is needed", GUP_TEST_FILE);
	huge_before = gmem_meminfo("DirectMap1G");
	return test_harness_run(argc, argv);
}
