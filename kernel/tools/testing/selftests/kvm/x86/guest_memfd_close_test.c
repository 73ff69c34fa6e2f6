// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest_memfd file is closed, or its memslot deleted, while KVM accesses the
 * memory at level NONE.
 *
 * Proves that KVM uses no file, inode or memslot that was freed: close() of the
 * file returns only after every access that found the file in a memslot has
 * ended, and afterwards accesses fail without reading anything.  KVM walks page
 * tables in the memory (KVM_TRANSLATE), emulates locked instructions in it, and
 * writes steal time and PV EOI to it, while the file and the memslot are
 * removed in either order.  A translation is right or is refused, never another
 * value.
 *
 * Catches: a release that does not wait for the readers of kvm->srcu
 * (close_waits); a memslot that still points to a file after its release
 * (closed_uses_address); a deletion that does not end all accesses
 * (close_then_delete, delete_then_close).  With KASAN and lockdep, a use after
 * free and an access outside of such a section, in all of them.
 *
 * Not covered: the use after free itself without KASAN.  close_waits and
 * closed_uses_address check the two rules that prevent it.
 */
#include <asm/kvm_para.h>
#include <fcntl.h>
#include <linux/sizes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define NR_PAGES	16UL
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define NR_VCPUS	4
#define ROUNDS		20
#define TIMEOUT		600

/* The contents of the memory's pages. */
enum {
	PAGE_TABLES,		/* 4 pages */
	PAGE_DATA = PAGE_TABLES + 4,
	PAGE_STEAL,
};

#define PT_PRESENT_RW	(BIT_ULL(0) | BIT_ULL(1))
#define TABLE_LEVELS	4
/* The guest address that the page tables translate, and the result. */
#define TABLE_GVA	0UL
#define TABLE_GPA	(GMEM_GPA + PAGE_DATA * GMEM_PAGE)

/* A memslot of ordinary memory, on which an access can wait. */
#define UFFD_SLOT	11
#define UFFD_GPA	(GMEM_GPA + SZ_1G)

static u64 at(int page)
{
	return GMEM_GPA + page * GMEM_PAGE;
}

FIXTURE(close) {
	int kmsg;
	unsigned int forced_emulation;
};

FIXTURE_VARIANT(close) {
	u64 flags;
};

/* Memory outside the direct map, and memory that is in it. */
FIXTURE_VARIANT_ADD(close, hidden) {
	.flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_NO_DIRECT_MAP,
};

FIXTURE_VARIANT_ADD(close, plain) {
	.flags = GUEST_MEMFD_FLAG_MMAP,
};

#define CLOSE_TEST(name) TEST_F_TIMEOUT(close, name, TIMEOUT)

FIXTURE_SETUP(close)
{
	gmem_kmsg_open(&self->kmsg);
	self->forced_emulation = gmem_set_forced_emulation(1);
}

FIXTURE_TEARDOWN(close)
{
	gmem_set_forced_emulation(self->forced_emulation);
	gmem_assert_nothing_left(&self->kmsg);
}

/* Builds page tables at guest address @gpa that map TABLE_GVA to TABLE_GPA. */
static void make_tables(u64 *table, u64 gpa)
{
	int i;

	for (i = 0; i < TABLE_LEVELS; i++) {
		u64 next = gpa + (i + 1) * GMEM_PAGE;

		memset(table + i * 512, 0, GMEM_PAGE);
		if (i == TABLE_LEVELS - 1)
			next = TABLE_GPA;
		table[i * 512] = next | PT_PRESENT_RW;
	}
}

static u64 guest_make_tables(u64 gpa, u64 b, u64 c)
{
	make_tables((u64 *)gpa, gpa);
	return 0;
}

static void set_tables(struct kvm_vcpu *vcpu, u64 tables)
{
	struct kvm_sregs sregs;

	vcpu_sregs_get(vcpu, &sregs);
	sregs.cr3 = tables;
	vcpu_sregs_set(vcpu, &sregs);
}

/* Does KVM translate TABLE_GVA? */
static bool translate(struct kvm_vcpu *vcpu)
{
	struct kvm_translation tr = { .linear_address = TABLE_GVA };

	vcpu_ioctl(vcpu, KVM_TRANSLATE, &tr);
	TEST_ASSERT(!tr.valid || tr.physical_address == TABLE_GPA,
		    "vCPU %u translates to 0x%llx", vcpu->id, tr.physical_address);
	return tr.valid;
}

struct worker {
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	u64 done;
	bool ready;
};

static bool stop;

static void *run_translate(void *arg)
{
	struct worker *w = arg;

	while (!READ_ONCE(stop)) {
		w->done += translate(w->vcpu);
		WRITE_ONCE(w->ready, true);
	}
	return NULL;
}

/*
 * Guest: executes instructions that KVM emulates, with steal time in the same
 * memory.
 */
static u64 guest_emulate(u64 gva, u64 steal_gpa, u64 c)
{
	u64 old;

	wrmsr(MSR_KVM_STEAL_TIME, steal_gpa | KVM_MSR_ENABLED);
	for (;;) {
		old = READ_ONCE(*(u64 *)gva);
		asm volatile(KVM_FEP "lock cmpxchgq %2, %0"
			     : "+m"(*(u64 *)gva), "+a"(old) : "r"(old + 1) : "memory", "cc");
	}
	return 0;
}

/* Runs until the memory is gone and the guest's access fails. */
static void *run_guest(void *arg)
{
	struct worker *w = arg;
	struct kvm_run *run = w->vcpu->run;
	int ret;

	do {
		WRITE_ONCE(w->ready, true);
		ret = _vcpu_run(w->vcpu);
		w->done++;
	} while (ret && errno == EINTR && !READ_ONCE(stop));
	if (ret)
		TEST_ASSERT(errno == EFAULT || errno == EINTR, "KVM_RUN: errno %d", errno);
	else
		TEST_ASSERT(run->exit_reason == KVM_EXIT_MMIO ||
			    run->exit_reason == KVM_EXIT_INTERNAL_ERROR,
			    "exit reason %u (%s)", run->exit_reason,
			    exit_reason_str(run->exit_reason));
	return NULL;
}

/*
 * The memslot's user address: reserved without access, so that this process
 * maps nothing else there.  KVM uses it when the file is gone.
 */
static char *address;

static void reserve_address(struct gmem_vm *g)
{
	address = g->mem;
	g->mem = NULL;
	TEST_ASSERT(mmap(address, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			 -1, 0) == address, "mmap: errno %d", errno);
}

static void make_vm(struct gmem_vm *g, u64 flags)
{
	int i;

	gmem_vm_create(g, NR_VCPUS, SIZE, flags);
	/* Such memory starts at level NONE, so no process maps it. */
	TEST_ASSERT_EQ(gmem_get_access(g->fd, 0, NULL), GUEST_MEMFD_ACCESS_NONE);
	reserve_address(g);
	gmem_guest_call(g->vcpus[0], guest_make_tables, at(PAGE_TABLES), 0, 0);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, at(PAGE_DATA), GMEM_PAGE, 1);
	for (i = 1; i < NR_VCPUS; i++) {
		set_tables(g->vcpus[i], at(PAGE_TABLES));
		TEST_ASSERT(translate(g->vcpus[i]), "no translation");
	}
}

static void destroy_vm(struct gmem_vm *g)
{
	gmem_vm_destroy(g);
	kvm_munmap(address, SIZE);
}

static void start(struct gmem_vm *g, struct worker *w)
{
	int i;

	memset(w, 0, NR_VCPUS * sizeof(*w));
	WRITE_ONCE(stop, false);
	gmem_guest_post(g->vcpus[0], guest_emulate, at(PAGE_DATA), at(PAGE_STEAL), 0);
	for (i = 0; i < NR_VCPUS; i++) {
		w[i].vcpu = g->vcpus[i];
		pthread_create(&w[i].thread, NULL, i ? run_translate : run_guest, &w[i]);
	}
	for (i = 0; i < NR_VCPUS; i++)
		while (!READ_ONCE(w[i].ready))
			sched_yield();
}

static void finish(struct worker *w)
{
	int i;

	WRITE_ONCE(stop, true);
	for (i = 0; i < NR_VCPUS; i++)
		pthread_join(w[i].thread, NULL);
	for (i = 1; i < NR_VCPUS; i++)
		TEST_ASSERT(w[i].done, "vCPU %d translated nothing", i);
}

static void assert_gone(struct gmem_vm *g)
{
	int i;

	for (i = 1; i < NR_VCPUS; i++)
		TEST_ASSERT(!translate(g->vcpus[i]), "vCPU %d reads memory that is gone", i);
}

/* Sleeps for some milliseconds, a different time in each round. */
static void pass_time(int round)
{
	usleep(round % 7 * 700);
}

CLOSE_TEST(close_then_delete)
{
	struct worker w[NR_VCPUS];
	struct gmem_vm g;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		make_vm(&g, variant->flags);
		start(&g, w);
		pass_time(i);
		gmem_vm_close_file(&g);
		assert_gone(&g);
		gmem_vm_unbind(&g);
		assert_gone(&g);
		finish(w);
		destroy_vm(&g);
	}
}

CLOSE_TEST(delete_then_close)
{
	struct worker w[NR_VCPUS];
	struct gmem_vm g;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		make_vm(&g, variant->flags);
		start(&g, w);
		pass_time(i);
		gmem_vm_unbind(&g);
		assert_gone(&g);
		gmem_vm_close_file(&g);
		assert_gone(&g);
		finish(w);
		destroy_vm(&g);
	}
}

CLOSE_TEST(close_then_destroy)
{
	struct worker w[NR_VCPUS];
	struct gmem_vm g;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		make_vm(&g, variant->flags);
		start(&g, w);
		pass_time(i);
		gmem_vm_close_file(&g);
		finish(w);
		destroy_vm(&g);
	}
}

/*
 * Without its file a memslot has only its user address, as in an unmodified
 * kernel.
 */
CLOSE_TEST(closed_uses_address)
{
	struct gmem_vm g;
	int i;

	make_vm(&g, variant->flags);
	gmem_vm_close_file(&g);
	assert_gone(&g);
	TEST_ASSERT(!mprotect(address, SIZE, PROT_READ | PROT_WRITE), "mprotect: errno %d", errno);
	make_tables((u64 *)(address + PAGE_TABLES * GMEM_PAGE), at(PAGE_TABLES));
	for (i = 1; i < NR_VCPUS; i++)
		TEST_ASSERT(translate(g.vcpus[i]), "vCPU %d does not use the user address", i);
	destroy_vm(&g);
}

/* The memslot is deleted and created again repeatedly, with absent pages. */
CLOSE_TEST(rebound)
{
	struct worker w[NR_VCPUS];
	struct gmem_vm g;
	int i;

	make_vm(&g, variant->flags);
	start(&g, w);
	for (i = 0; i < 10 * ROUNDS; i++) {
		gmem_vm_unbind(&g);
		if (i % 2)
			gmem_punch(g.fd, PAGE_DATA * GMEM_PAGE, 2 * GMEM_PAGE);
		gmem_vm_bind(&g, address);
	}
	pass_time(1);
	finish(w);
	for (i = 1; i < NR_VCPUS; i++)
		TEST_ASSERT(translate(g.vcpus[i]), "no translation at the end");
	destroy_vm(&g);
}

struct closer {
	struct gmem_vm *g;
	pthread_t thread;
	bool closed;
};

static void *run_close(void *arg)
{
	struct closer *c = arg;

	gmem_vm_close_file(c->g);
	WRITE_ONCE(c->closed, true);
	return NULL;
}

static int register_uffd(void *mem, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)mem, .len = size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	TEST_ASSERT(uffd >= 0, "userfaultfd: errno %d", errno);
	TEST_ASSERT(!ioctl(uffd, UFFDIO_API, &api), "UFFDIO_API: errno %d", errno);
	TEST_ASSERT(!ioctl(uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: errno %d", errno);
	return uffd;
}

static void *run_translate_once(void *arg)
{
	struct worker *w = arg;

	WRITE_ONCE(w->done, 1 + translate(w->vcpu));
	return NULL;
}

/* Starts a thread that closes the file. */
static void start_close(struct closer *c, struct gmem_vm *g)
{
	c->g = g;
	c->closed = false;
	pthread_create(&c->thread, NULL, run_close, c);
}

/* An access by KVM that waits for a page of ordinary memory. */
struct waiter {
	struct worker w;
	char *mem;
	int uffd;
};

static void start_waiter(struct waiter *a, struct gmem_vm *g)
{
	struct pollfd event;

	memset(&a->w, 0, sizeof(a->w));
	a->w.vcpu = g->vcpus[1];
	set_tables(a->w.vcpu, UFFD_GPA);
	pthread_create(&a->w.thread, NULL, run_translate_once, &a->w);
	event = (struct pollfd){ .fd = a->uffd, .events = POLLIN };
	TEST_ASSERT_EQ(poll(&event, 1, 10000), 1);
}

static void make_waiter_slot(struct waiter *a, struct gmem_vm *g)
{
	a->mem = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	vm_set_user_memory_region(g->vm, UFFD_SLOT, 0, UFFD_GPA, GMEM_PAGE, a->mem);
	a->uffd = register_uffd(a->mem, GMEM_PAGE);
}

/*
 * Provides the page, so the access ends: a table of zeroes translates nothing.
 */
static void finish_waiter(struct waiter *a)
{
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)a->mem, .len = GMEM_PAGE },
	};

	TEST_ASSERT(!READ_ONCE(a->w.done), "the access does not wait");
	TEST_ASSERT(!ioctl(a->uffd, UFFDIO_ZEROPAGE, &zero), "UFFDIO_ZEROPAGE: errno %d", errno);
	pthread_join(a->w.thread, NULL);
	TEST_ASSERT_EQ(a->w.done, 1);
	close(a->uffd);
}

/*
 * The access may have found the file in its memslot before it began to wait, so
 * close() waits.
 */
CLOSE_TEST(close_waits)
{
	struct closer c;
	struct waiter a;
	struct gmem_vm g;

	make_vm(&g, variant->flags);
	make_waiter_slot(&a, &g);
	start_waiter(&a, &g);
	start_close(&c, &g);
	usleep(500000);
	TEST_ASSERT(!READ_ONCE(c.closed), "the file was closed under an access");
	finish_waiter(&a);
	pthread_join(c.thread, NULL);
	TEST_ASSERT(c.closed, "not closed");
	destroy_vm(&g);
	kvm_munmap(a.mem, GMEM_PAGE);
}

/* Deleting the memslot has already waited for accesses. */
CLOSE_TEST(unbound_close_does_not_wait)
{
	struct closer c;
	struct waiter a;
	struct gmem_vm g;
	int i;

	make_vm(&g, variant->flags);
	make_waiter_slot(&a, &g);
	gmem_vm_unbind(&g);
	start_waiter(&a, &g);
	start_close(&c, &g);
	for (i = 0; i < 1000 && !READ_ONCE(c.closed); i++)
		usleep(10000);
	TEST_ASSERT(READ_ONCE(c.closed), "close() of a file without memslot waits for an access");
	finish_waiter(&a);
	pthread_join(c.thread, NULL);
	destroy_vm(&g);
	kvm_munmap(a.mem, GMEM_PAGE);
}

int main(int argc, char *argv[])
{
	gmem_require();
	TEST_REQUIRE(!gmem_plain());
	return test_harness_run(argc, argv);
}
