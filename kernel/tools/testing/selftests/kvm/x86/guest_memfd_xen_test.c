// SPDX-License-Identifier: GPL-2.0-only
/*
 * What Xen guests share with KVM, in memory outside the host's direct map.
 *
 * Proves that Xen's shared info, vCPU info, time info and run state, when they
 * are named by guest address and lie in hidden memory, work (the page is shared
 * for as long); that named by user address they work in ordinary memory and are
 * refused in hidden memory; and that no share is left by changing, dropping or
 * forgetting them.
 *
 * Catches: KVM writing through an absent entry (an oops, found in the log), a
 * user address that gets at a hidden page behind the file's back (by_hva, moves,
 * event), a share left behind by a cache that moves (moves) or ends (every test
 * ends with as many unshares as shares).
 */
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define NR_PAGES	16UL
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define TIMEOUT		300

/* Pages of the file, and where things are in a 64-bit guest's structures. */
#define SHINFO_PAGE	2
#define VCPU_PAGE	4
#define EVENTS		0x800
#define WALL_CLOCK	0xc00
#define VCPU_INFO_TIME	32
#define RUNSTATE_SIZE	48

FIXTURE(xen) {
	struct gmem_vm g;
	struct gmem_trace trace;
	int kmsg;
	int caps;
	u64 seed;
	/* The VM ends with something shared. */
	bool left_on;
};

FIXTURE_SETUP(xen)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL,
		.msr = 0x40000000,
	};
	struct kvm_xen_hvm_attr lm = { .type = KVM_XEN_ATTR_TYPE_LONG_MODE, .u.long_mode = 1 };
	struct gmem_vm *g = &self->g;

	self->seed = gmem_new_seed();
	self->caps = kvm_check_cap(KVM_CAP_XEN_HVM);
	gmem_kmsg_open(&self->kmsg);
	gmem_trace_start(&self->trace);
	gmem_vm_create(g, 2, SIZE, gmem_test_flags());
	vm_ioctl(g->vm, KVM_XEN_HVM_CONFIG, &config);
	vm_ioctl(g->vm, KVM_XEN_HVM_SET_ATTR, &lm);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
}

FIXTURE_TEARDOWN(xen)
{
	struct gmem_vm *g = &self->g;
	u64 *pfns;

	pfns = gmem_pfns(g->mem, SIZE);
	kvm_vm_free(g->vm);
	g->vm = NULL;
	if (!self->left_on) {
		gmem_assert_counts(g->fd, NR_PAGES, 0);
		gmem_assert_pfns_hidden(pfns, NR_PAGES, self->seed);
	}
	/* The file keeps the VM alive: only now it lets go of what it shares. */
	gmem_vm_destroy(g);
	TEST_ASSERT_EQ(gmem_trace_pages(&self->trace, "share", NULL, 0),
		       gmem_trace_pages(&self->trace, "unshare", NULL, 0));
	TEST_ASSERT_EQ(gmem_trace_pages(&self->trace, "hide", NULL, 0),
		       gmem_trace_pages(&self->trace, "restore", NULL, 0));
	gmem_trace_stop(&self->trace);
	gmem_assert_given_back(pfns, NR_PAGES, self->seed);
	gmem_assert_present(pfns, NR_PAGES);
	free(pfns);
	gmem_assert_nothing_left(&self->kmsg);
}

#define XEN_TEST(name) TEST_F_TIMEOUT(xen, name, TIMEOUT)

static u64 gpa_of(int page, unsigned int offset)
{
	return GMEM_GPA + page * GMEM_PAGE + offset;
}

static int set_shinfo(struct gmem_vm *g, u64 gfn)
{
	struct kvm_xen_hvm_attr attr = {
		.type = KVM_XEN_ATTR_TYPE_SHARED_INFO,
		.u.shared_info.gfn = gfn,
	};

	return __vm_ioctl(g->vm, KVM_XEN_HVM_SET_ATTR, &attr);
}

static int set_shinfo_hva(struct gmem_vm *g, void *hva)
{
	struct kvm_xen_hvm_attr attr = {
		.type = KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA,
		.u.shared_info.hva = (u64)hva,
	};

	return __vm_ioctl(g->vm, KVM_XEN_HVM_SET_ATTR, &attr);
}

static int set_vcpu(struct gmem_vm *g, int vcpu, u16 type, u64 where)
{
	struct kvm_xen_vcpu_attr attr = { .type = type, .u.gpa = where };

	return __vcpu_ioctl(g->vcpus[vcpu], KVM_XEN_VCPU_SET_ATTR, &attr);
}

/* @r: of a call that names hidden memory by guest address: it works, and shares the page. */
static void assert_works(struct gmem_vm *g, const char *what, int r)
{
	TEST_ASSERT(!r, "%s: errno %d", what, errno);
	gmem_assert_counts(g->fd, NR_PAGES, 1);
}

/* KVM writes the wall clock into the shared info page when it is set. */
static void assert_wall_clock(const char *page)
{
	const u32 *wall = (const u32 *)(page + WALL_CLOCK);

	TEST_ASSERT(!(wall[0] & 1), "wall clock version %u", wall[0]);
	TEST_ASSERT(wall[2] < NSEC_PER_SEC, "wall clock shows %u ns", wall[2]);
}

static void run(struct gmem_vm *g)
{
	int i;

	for (i = 0; i < g->nr_vcpus; i++)
		TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[i], gmem_guest_nop, 7, 0, 0), 7);
}

XEN_TEST(shinfo_by_gfn)
{
	struct gmem_vm *g = &self->g;
	char *page = g->mem + SHINFO_PAGE * GMEM_PAGE;
	u64 gfn = gpa_of(SHINFO_PAGE, 0) / GMEM_PAGE;
	int i;

	for (i = 0; i < 3; i++) {
		gmem_fill(page, GMEM_PAGE, self->seed);
		assert_works(g, "shared info by gfn", set_shinfo(g, gfn));
		assert_wall_clock(page);
		run(g);
		/* The same once more, another page, and nothing. */
		TEST_ASSERT(!set_shinfo(g, gfn), "again: errno %d", errno);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
		TEST_ASSERT(!set_shinfo(g, gfn + 1), "next page: errno %d", errno);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
		gmem_fill(page, GMEM_PAGE, self->seed);
		gmem_assert_hidden(page, GMEM_PAGE, self->seed);
		TEST_ASSERT(!set_shinfo(g, KVM_XEN_INVALID_GFN), "off: errno %d", errno);
		gmem_assert_counts(g->fd, NR_PAGES, 0);
	}
}

XEN_TEST(shinfo_punched)
{
	struct gmem_vm *g = &self->g;
	char *page = g->mem + SHINFO_PAGE * GMEM_PAGE;
	u64 gfn = gpa_of(SHINFO_PAGE, 0) / GMEM_PAGE;

	assert_works(g, "shared info by gfn", set_shinfo(g, gfn));
	gmem_punch(g->fd, SHINFO_PAGE * GMEM_PAGE, GMEM_PAGE);
	run(g);
	gmem_assert_zero(page, GMEM_PAGE);
	TEST_ASSERT(!set_shinfo(g, gfn), "after the hole: errno %d", errno);
	assert_wall_clock(page);
	gmem_assert_counts(g->fd, NR_PAGES, 1);
	gmem_punch(g->fd, SHINFO_PAGE * GMEM_PAGE, GMEM_PAGE);
	TEST_ASSERT(!set_shinfo(g, KVM_XEN_INVALID_GFN), "off: errno %d", errno);
	gmem_assert_counts(g->fd, NR_PAGES - 1, 0);
	gmem_fill(page, GMEM_PAGE, self->seed);
}

XEN_TEST(shinfo_by_hva)
{
	struct gmem_vm *g = &self->g;
	char *page = g->mem + SHINFO_PAGE * GMEM_PAGE, *plain;
	int r;

	if (!(self->caps & KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA))
		SKIP(return, "no shared info by user address");

	plain = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	TEST_ASSERT(!set_shinfo_hva(g, plain), "ordinary memory: errno %d", errno);
	assert_wall_clock(plain);
	run(g);

	/* From ordinary to hidden memory, and from nothing. */
	r = set_shinfo_hva(g, page);
	TEST_ASSERT(gmem_plain() || (r && errno == EFAULT), "hidden: %d, errno %d", r, errno);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	run(g);
	TEST_ASSERT(!set_shinfo_hva(g, NULL), "off: errno %d", errno);
	r = set_shinfo_hva(g, page);
	TEST_ASSERT(gmem_plain() || (r && errno == EFAULT), "hidden: %d, errno %d", r, errno);
	run(g);
	if (!gmem_plain())
		gmem_assert_filled(page, GMEM_PAGE, self->seed);

	/* And it is not spoilt for ordinary memory. */
	memset(plain, 0xff, GMEM_PAGE);
	TEST_ASSERT(!set_shinfo_hva(g, plain), "ordinary memory: errno %d", errno);
	assert_wall_clock(plain);
	gmem_fill(page, GMEM_PAGE, self->seed);
}

XEN_TEST(vcpu_info_by_hva)
{
	struct gmem_vm *g = &self->g;
	char *page = g->mem + VCPU_PAGE * GMEM_PAGE, *plain;
	int r;

	if (!(self->caps & KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA))
		SKIP(return, "no vCPU info by user address");

	plain = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	TEST_ASSERT(!set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA, (u64)plain),
		    "ordinary memory: errno %d", errno);
	run(g);
	TEST_ASSERT(*(u32 *)(plain + VCPU_INFO_TIME), "no time in the vCPU info");
	r = set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA, (u64)page);
	TEST_ASSERT(gmem_plain() || (r && errno == EFAULT), "hidden: %d, errno %d", r, errno);
	run(g);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA, 0);
	run(g);
	gmem_fill(page, GMEM_PAGE, self->seed);
}

XEN_TEST(vcpu_info_by_gpa)
{
	struct gmem_vm *g = &self->g;
	char *page = g->mem + VCPU_PAGE * GMEM_PAGE;

	memset(page, 0, GMEM_PAGE);
	assert_works(g, "vCPU info by gpa",
		     set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, gpa_of(VCPU_PAGE, 0x40)));
	run(g);
	TEST_ASSERT(*(u32 *)(page + 0x40 + VCPU_INFO_TIME), "no time in the vCPU info");
	/* The second vCPU's in the same page: one page, two shares. */
	TEST_ASSERT(!set_vcpu(g, 1, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO,
			      gpa_of(VCPU_PAGE, 0x80)), "second vCPU: errno %d", errno);
	gmem_assert_counts(g->fd, NR_PAGES, 1);
	run(g);
	set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, KVM_XEN_INVALID_GPA);
	gmem_assert_counts(g->fd, NR_PAGES, 1);
	set_vcpu(g, 1, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, KVM_XEN_INVALID_GPA);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	gmem_fill(page, GMEM_PAGE, self->seed);
}

XEN_TEST(time_info)
{
	struct gmem_vm *g = &self->g;
	char *page = g->mem + VCPU_PAGE * GMEM_PAGE;
	const u16 type = KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO;

	memset(page, 0, GMEM_PAGE);
	assert_works(g, "time info by gpa", set_vcpu(g, 0, type, gpa_of(VCPU_PAGE, 0)));
	run(g);
	TEST_ASSERT(*(u32 *)page, "no time was written");
	TEST_ASSERT(!(*(u32 *)page & 1), "version %u", *(u32 *)page);
	TEST_ASSERT(!set_vcpu(g, 0, type, KVM_XEN_INVALID_GPA), "off: errno %d", errno);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	gmem_fill(page, GMEM_PAGE, self->seed);
	gmem_assert_hidden(page, GMEM_PAGE, self->seed);
	run(g);
	gmem_assert_filled(page, GMEM_PAGE, self->seed);

	/* Left on: the VM's end has to take it back. */
	TEST_ASSERT(!set_vcpu(g, 0, type, gpa_of(VCPU_PAGE, 0)), "on: errno %d", errno);
	gmem_assert_counts(g->fd, NR_PAGES, 1);
	self->left_on = true;
	gmem_fill(page + GMEM_PAGE / 2, GMEM_PAGE / 2, self->seed);
}

/* What has a place in guest memory or in the VMM's, and may move between them. */
static int shinfo_to_gfn(struct gmem_vm *g)
{
	return set_shinfo(g, gpa_of(SHINFO_PAGE, 0) / GMEM_PAGE);
}

static int vcpu_info_to_gpa(struct gmem_vm *g)
{
	return set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, gpa_of(SHINFO_PAGE, 0));
}

static int vcpu_info_to_hva(struct gmem_vm *g, void *hva)
{
	return set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA, (u64)hva);
}

static void check_moves(struct gmem_vm *g, const char *what, int (*to_guest)(struct gmem_vm *),
			int (*to_hva)(struct gmem_vm *, void *), u64 seed)
{
	char *page = g->mem + SHINFO_PAGE * GMEM_PAGE, *plain;
	int round, r;

	plain = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	for (round = 0; round < 3; round++) {
		assert_works(g, what, to_guest(g));
		run(g);

		/* To ordinary memory: the share is gone, and nothing is written behind it. */
		TEST_ASSERT(!to_hva(g, plain), "%s to ordinary memory: errno %d", what, errno);
		gmem_assert_counts(g->fd, NR_PAGES, 0);
		gmem_fill(page, GMEM_PAGE, seed);
		gmem_assert_hidden(page, GMEM_PAGE, seed);
		run(g);
		gmem_assert_filled(page, GMEM_PAGE, seed);

		/* To the user address of the very page that is shared: refused all the same. */
		TEST_ASSERT(!to_guest(g), "%s back: errno %d", what, errno);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
		r = to_hva(g, page);
		TEST_ASSERT(gmem_plain() || (r && errno == EFAULT),
			    "%s to hidden memory: %d, errno %d", what, r, errno);
		gmem_assert_counts(g->fd, NR_PAGES, 0);
		if (!gmem_plain()) {
			gmem_fill(page, GMEM_PAGE, seed);
			gmem_assert_hidden(page, GMEM_PAGE, seed);
			run(g);
			gmem_assert_filled(page, GMEM_PAGE, seed);
		}

		/* In the guest again, and off: by user address, which leaves no share either. */
		TEST_ASSERT(!to_guest(g), "%s once more: errno %d", what, errno);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
		TEST_ASSERT(!to_hva(g, NULL), "%s off: errno %d", what, errno);
		gmem_assert_counts(g->fd, NR_PAGES, 0);
		gmem_fill(page, GMEM_PAGE, seed);
	}
	kvm_munmap(plain, GMEM_PAGE);
}

XEN_TEST(shinfo_moves)
{
	if (!(self->caps & KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA))
		SKIP(return, "no shared info by user address");
	check_moves(&self->g, "shared info", shinfo_to_gfn, set_shinfo_hva, self->seed);
}

XEN_TEST(vcpu_info_moves)
{
	if (!(self->caps & KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA))
		SKIP(return, "no vCPU info by user address");
	check_moves(&self->g, "vCPU info", vcpu_info_to_gpa, vcpu_info_to_hva, self->seed);
}

static bool event_pending(const char *page, u32 port)
{
	const u64 *words = (const u64 *)(page + EVENTS);

	return READ_ONCE(words[port / 64]) == 1ULL << port % 64;
}

/* KVM writes into the shared info whenever an event is sent. */
XEN_TEST(event)
{
	struct kvm_irq_routing_xen_evtchn event = {
		.port = 77,
		.priority = KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL,
	};
	struct gmem_vm *g = &self->g;
	char *page = g->mem + SHINFO_PAGE * GMEM_PAGE, *plain;
	int r;

	if (!(self->caps & KVM_XEN_HVM_CONFIG_EVTCHN_SEND) ||
	    !(self->caps & KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA))
		SKIP(return, "no events, or no shared info by user address");

	plain = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	TEST_ASSERT(!set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA, (u64)plain),
		    "vCPU info: errno %d", errno);

	/* In hidden memory by guest address it arrives, ... */
	memset(page, 0, GMEM_PAGE);
	TEST_ASSERT(!set_shinfo(g, gpa_of(SHINFO_PAGE, 0) / GMEM_PAGE), "by gfn: errno %d", errno);
	TEST_ASSERT(!__vm_ioctl(g->vm, KVM_XEN_HVM_EVTCHN_SEND, &event), "errno %d", errno);
	TEST_ASSERT(event_pending(page, event.port), "no event in the shared info");

	/* ... also after a hole, in the new page, ... */
	gmem_punch(g->fd, SHINFO_PAGE * GMEM_PAGE, GMEM_PAGE);
	TEST_ASSERT(!__vm_ioctl(g->vm, KVM_XEN_HVM_EVTCHN_SEND, &event), "errno %d", errno);
	TEST_ASSERT(event_pending(page, event.port), "no event after the hole");
	gmem_assert_counts(g->fd, NR_PAGES, 1);

	/* ... by user address it is an error, and the page stays as it is. */
	gmem_fill(page, GMEM_PAGE, self->seed);
	r = set_shinfo_hva(g, page);
	if (!gmem_plain()) {
		TEST_ASSERT(r && errno == EFAULT, "hidden by user address: %d, errno %d", r, errno);
		r = __vm_ioctl(g->vm, KVM_XEN_HVM_EVTCHN_SEND, &event);
		TEST_ASSERT(r && errno == EFAULT, "an event: %d, errno %d", r, errno);
		gmem_assert_counts(g->fd, NR_PAGES, 0);
		gmem_assert_filled(page, GMEM_PAGE, self->seed);
	}
	TEST_ASSERT(!set_shinfo_hva(g, NULL), "off: errno %d", errno);
	set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA, 0);
	gmem_fill(page, GMEM_PAGE, self->seed);
	run(g);
	kvm_munmap(plain, GMEM_PAGE);
}

/* May lie in two pages, with a share for each. */
XEN_TEST(runstate)
{
	struct gmem_vm *g = &self->g;
	int r;

	if (!(self->caps & KVM_XEN_HVM_CONFIG_RUNSTATE))
		SKIP(return, "no run state");

	r = set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR, gpa_of(VCPU_PAGE, 0));
	assert_works(g, "run state by gpa", r);
	run(g);
	r = set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR,
		     gpa_of(VCPU_PAGE, GMEM_PAGE - RUNSTATE_SIZE / 2));
	TEST_ASSERT(!r, "across a page boundary: errno %d", errno);
	gmem_assert_counts(g->fd, NR_PAGES, 2);
	run(g);
	set_vcpu(g, 0, KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR, KVM_XEN_INVALID_GPA);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	gmem_fill(g->mem + VCPU_PAGE * GMEM_PAGE, 2 * GMEM_PAGE, self->seed);
}

/* All of it on, and then the memslot and the VM go. */
XEN_TEST(all_and_gone)
{
	struct gmem_vm *g = &self->g;
	int i;

	set_shinfo(g, gpa_of(SHINFO_PAGE, 0) / GMEM_PAGE);
	for (i = 0; i < 2; i++) {
		set_vcpu(g, i, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, gpa_of(VCPU_PAGE, i * 0x40));
		set_vcpu(g, i, KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO,
			 gpa_of(VCPU_PAGE, 0x100 + i * 0x40));
		set_vcpu(g, i, KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR,
			 gpa_of(VCPU_PAGE, 0x200 + i * 0x40));
	}
	run(g);
	gmem_fill(g->mem + SHINFO_PAGE * GMEM_PAGE, GMEM_PAGE, self->seed);
	gmem_fill(g->mem + VCPU_PAGE * GMEM_PAGE + GMEM_PAGE / 2, GMEM_PAGE / 2, self->seed);
	gmem_vm_unbind(g);
	run(g);
	gmem_vm_bind(g, g->mem);
	run(g);
	self->left_on = true;
}

XEN_TEST(all_back)
{
	gmem_vm_destroy(&self->g);
	gmem_assert_all_back();
	/* The teardown wants a guest to look at. */
	gmem_vm_create(&self->g, 1, SIZE, gmem_test_flags());
	gmem_fill(self->g.mem, SIZE, self->seed);
}

int main(int argc, char *argv[])
{
	gmem_require();
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_XEN_HVM) & KVM_XEN_HVM_CONFIG_SHARED_INFO);
	return test_harness_run(argc, argv);
}
