// SPDX-License-Identifier: GPL-2.0-only
/*
 * Structures that Xen guests share with KVM, in memory outside the host's
 * direct map.
 *
 * Proves that Xen's shared info, vCPU info, time info and run state work in
 * hidden memory, given by guest address or by user address (KVM holds a
 * direct-map reference to the page meanwhile); that a user address means the
 * memory that the VMM maps there, hidden or not, also when the mapping, the
 * file, the level or the memslot changes; and that no reference remains after
 * the structures are moved or disabled, or the VM ends.
 *
 * Catches: KVM writing through an absent entry (an oops, found in the log), a
 * cache by user address that does not follow the file (address) or the memslots
 * (address, without_slot), a reference that remains when a cache moves
 * (shinfo_moves, vcpu_info_moves) or ends (every test ends with as many puts as
 * gets), and a thread that can send no event while the page changes its level
 * again and again (senders).
 */
#include <errno.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define NR_PAGES	16UL
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define TIMEOUT		300

/* Pages of the file, and offsets in the structures of a 64-bit guest. */
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
	/* A structure is still enabled when the VM ends. */
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
	/*
	 * The file holds a reference to the VM, so KVM puts its references only
	 * now.
	 */
	gmem_vm_destroy(g);
	TEST_ASSERT_EQ(gmem_trace_pages(&self->trace, "guest_memfd_get", NULL, 0),
		       gmem_trace_pages(&self->trace, "guest_memfd_put", NULL, 0));
	/* A worker clears and restores the pages. */
	gmem_assert_all_back();
	TEST_ASSERT_EQ(gmem_trace_pages(&self->trace, "guest_memfd_hide", NULL, 0),
		       gmem_trace_pages(&self->trace, "guest_memfd_restore", NULL, 0));
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

/*
 * Assert that a call for hidden memory, which returned @r, works and references
 * the page.
 */
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
		/* Set the same page again, then another page, then none. */
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

	if (!(self->caps & KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA))
		SKIP(return, "no shared info by user address");

	plain = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	TEST_ASSERT(!set_shinfo_hva(g, plain), "ordinary memory: errno %d", errno);
	assert_wall_clock(plain);
	run(g);

	/* Move from ordinary to hidden memory, and enable it there. */
	assert_works(g, "hidden", set_shinfo_hva(g, page));
	assert_wall_clock(page);
	run(g);
	TEST_ASSERT(!set_shinfo_hva(g, NULL), "off: errno %d", errno);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	gmem_fill(page, GMEM_PAGE, self->seed);
	gmem_assert_hidden(page, GMEM_PAGE, self->seed);
	assert_works(g, "hidden again", set_shinfo_hva(g, page));
	assert_wall_clock(page);

	/*
	 * The cache can move to ordinary memory again; an unmapped address
	 * fails.
	 */
	memset(plain, 0xff, GMEM_PAGE);
	TEST_ASSERT(!set_shinfo_hva(g, plain), "ordinary memory: errno %d", errno);
	assert_wall_clock(plain);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	kvm_munmap(plain, GMEM_PAGE);
	TEST_ASSERT(set_shinfo_hva(g, plain) && errno == EFAULT, "nothing: errno %d", errno);
	run(g);
	gmem_fill(page, GMEM_PAGE, self->seed);
}

XEN_TEST(vcpu_info_by_hva)
{
	struct gmem_vm *g = &self->g;
	char *page = g->mem + VCPU_PAGE * GMEM_PAGE, *plain;
	const u16 type = KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA;
	int i;

	if (!(self->caps & KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA))
		SKIP(return, "no vCPU info by user address");

	plain = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	TEST_ASSERT(!set_vcpu(g, 0, type, (u64)plain), "ordinary memory: errno %d", errno);
	run(g);
	TEST_ASSERT(*(u32 *)(plain + VCPU_INFO_TIME), "no time in the vCPU info");

	/*
	 * Both vCPUs' info in one page, not at its start: one page, two
	 * references.
	 */
	memset(page, 0, GMEM_PAGE);
	for (i = 0; i < 2; i++) {
		assert_works(g, "vCPU info by user address",
			     set_vcpu(g, i, type, (u64)page + 0x40 * (i + 1)));
		run(g);
		TEST_ASSERT(*(u32 *)(page + 0x40 * (i + 1) + VCPU_INFO_TIME),
			    "no time in vCPU %d's info", i);
	}
	set_vcpu(g, 0, type, 0);
	gmem_assert_counts(g->fd, NR_PAGES, 1);
	set_vcpu(g, 1, type, 0);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
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
	/* The second vCPU's info in the same page: one page, two references. */
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

	/* Leave it enabled: the end of the VM must put the reference. */
	TEST_ASSERT(!set_vcpu(g, 0, type, gpa_of(VCPU_PAGE, 0)), "on: errno %d", errno);
	gmem_assert_counts(g->fd, NR_PAGES, 1);
	self->left_on = true;
	gmem_fill(page + GMEM_PAGE / 2, GMEM_PAGE / 2, self->seed);
}

/*
 * Structures that can be in guest memory or in the VMM's, and can move between
 * them.
 */
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
	int round;

	plain = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	for (round = 0; round < 3; round++) {
		assert_works(g, what, to_guest(g));
		run(g);

		/*
		 * After the move to ordinary memory KVM has put the reference,
		 * and writes no more to the page.
		 */
		TEST_ASSERT(!to_hva(g, plain), "%s to ordinary memory: errno %d", what, errno);
		gmem_assert_counts(g->fd, NR_PAGES, 0);
		gmem_fill(page, GMEM_PAGE, seed);
		gmem_assert_hidden(page, GMEM_PAGE, seed);
		run(g);
		gmem_assert_filled(page, GMEM_PAGE, seed);

		/*
		 * Move to the user address of the referenced page itself, and
		 * of another page.
		 */
		TEST_ASSERT(!to_guest(g), "%s back: errno %d", what, errno);
		assert_works(g, what, to_hva(g, page));
		run(g);
		assert_works(g, what, to_hva(g, page + GMEM_PAGE));
		if (!gmem_plain()) {
			gmem_fill(page, GMEM_PAGE, seed);
			gmem_assert_hidden(page, GMEM_PAGE, seed);
			run(g);
			gmem_assert_filled(page, GMEM_PAGE, seed);
		}
		assert_works(g, what, to_hva(g, page));

		/*
		 * Move into the guest again, then disable by user address,
		 * which also puts the reference.
		 */
		TEST_ASSERT(!to_guest(g), "%s again: errno %d", what, errno);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
		TEST_ASSERT(!to_hva(g, NULL), "%s off: errno %d", what, errno);
		gmem_assert_counts(g->fd, NR_PAGES, 0);
		gmem_fill(page, 2 * GMEM_PAGE, seed);
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

#define PORT		77
#define EVENT_WORD	(EVENTS + PORT / 64 * 8)

static int send_event(struct gmem_vm *g)
{
	struct kvm_irq_routing_xen_evtchn event = {
		.port = PORT,
		.priority = KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL,
	};

	return __vm_ioctl(g->vm, KVM_XEN_HVM_EVTCHN_SEND, &event);
}

/* Assert that the event arrives at @word, and clear it there. */
#define assert_event(what, word)					\
do {									\
	const char *__what = (what);					\
	u64 *__word = (void *)(word);					\
									\
	TEST_ASSERT(!send_event(g), "%s: errno %d", __what, errno);	\
	TEST_ASSERT(READ_ONCE(*__word) == BIT_ULL(PORT % 64),		\
		    "%s: no event", __what);				\
	WRITE_ONCE(*__word, 0);						\
} while (0)

static u64 guest_take_event(u64 gva, u64 b, u64 c)
{
	u64 word = READ_ONCE(*(u64 *)gva);

	WRITE_ONCE(*(u64 *)gva, 0);
	return word;
}

static void assert_guest_event(struct gmem_vm *g, const char *what)
{
	u64 gva = gpa_of(SHINFO_PAGE, EVENT_WORD);

	TEST_ASSERT(!send_event(g), "%s: errno %d", what, errno);
	TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[1], guest_take_event, gva, 0, 0),
		       BIT_ULL(PORT % 64));
}

/*
 * Puts vCPU 0's info into ordinary memory; without it no event is sent.
 * Return: NULL, or the reason why there are no events.
 */
static const char *setup_events(struct gmem_vm *g, int caps, bool hidden_only, char **plain)
{
	if (!(caps & KVM_XEN_HVM_CONFIG_EVTCHN_SEND) ||
	    !(caps & KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA))
		return "no events, or no shared info by user address";
	if (hidden_only && gmem_plain())
		return "about hidden memory";
	*plain = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	TEST_ASSERT(!vcpu_info_to_hva(g, *plain), "vCPU info: errno %d", errno);
	return NULL;
}

/* Restores the page of the shared info for the teardown. */
static void end_events(struct gmem_vm *g, char *plain, u64 seed)
{
	TEST_ASSERT(!set_shinfo_hva(g, NULL), "off: errno %d", errno);
	TEST_ASSERT(!vcpu_info_to_hva(g, NULL), "vCPU info off: errno %d", errno);
	gmem_fill(g->mem + SHINFO_PAGE * GMEM_PAGE, GMEM_PAGE, seed);
	kvm_munmap(plain, GMEM_PAGE);
}

/* KVM writes into the shared info whenever it sends an event. */
XEN_TEST(event)
{
	struct gmem_vm *g = &self->g;
	char *page = g->mem + SHINFO_PAGE * GMEM_PAGE, *plain;
	const char *why = setup_events(g, self->caps, false, &plain);
	int by_hva;

	if (why)
		SKIP(return, "%s", why);

	for (by_hva = 0; by_hva < 2; by_hva++) {
		memset(page, 0, GMEM_PAGE);
		assert_works(g, "shared info", by_hva ? set_shinfo_hva(g, page) :
							shinfo_to_gfn(g));
		assert_event("in hidden memory", page + EVENT_WORD);

		/*
		 * After a hole punch KVM writes to the new page, which contains
		 * nothing else.
		 */
		memset(page, 0xff, EVENTS);
		gmem_punch(g->fd, SHINFO_PAGE * GMEM_PAGE, GMEM_PAGE);
		assert_event("after a hole", page + EVENT_WORD);
		gmem_assert_zero(page, GMEM_PAGE);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
	}
	end_events(g, plain, self->seed);
	run(g);
}

/*
 * A user address at all levels, mapped or not, and with other memory mapped
 * there.
 */
XEN_TEST(address)
{
	struct gmem_vm *g = &self->g;
	u64 offset = SHINFO_PAGE * GMEM_PAGE;
	char *page = g->mem + offset, *plain, *other;
	const char *why = setup_events(g, self->caps, true, &plain);
	int i;

	if (why)
		SKIP(return, "%s", why);

	memset(page, 0, GMEM_PAGE);
	assert_works(g, "at USER", set_shinfo_hva(g, page));
	for (i = 0; i < 3; i++) {
		assert_guest_event(g, "at USER");
		gmem_set_access(g->fd, offset, GMEM_PAGE, GUEST_MEMFD_ACCESS_NONE);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
		assert_guest_event(g, "at NONE");
		gmem_set_access(g->fd, offset, GMEM_PAGE, GUEST_MEMFD_ACCESS_KERNEL);
		assert_event("at KERNEL", page + EVENT_WORD);
		gmem_set_access(g->fd, offset, GMEM_PAGE, GUEST_MEMFD_ACCESS_USER);
		assert_event("at USER again", page + EVENT_WORD);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
	}

	/*
	 * If the address is unmapped, the memslot decides: the same page or,
	 * after a hole punch, a new one.
	 */
	kvm_munmap(page, GMEM_PAGE);
	assert_guest_event(g, "not mapped");
	gmem_punch(g->fd, offset, GMEM_PAGE);
	assert_guest_event(g, "not mapped, after a hole");
	gmem_assert_counts(g->fd, NR_PAGES, 1);

	/* If the VMM maps other memory there, KVM uses that. */
	other = mmap(page, GMEM_PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	TEST_ASSERT(other == page, "cannot map other memory there: errno %d", errno);
	/*
	 * No notifier tells KVM of a new mapping; KVM looks it up when the
	 * address is set.
	 */
	TEST_ASSERT(!set_shinfo_hva(g, page), "other memory: errno %d", errno);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
	assert_event("other memory", other + EVENT_WORD);
	TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[1], guest_take_event,
				       gpa_of(SHINFO_PAGE, EVENT_WORD), 0, 0), 0);

	/*
	 * The MMU notifier has invalidated the cache, so KVM finds the file's
	 * page again.
	 */
	TEST_ASSERT(mmap(page, GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 g->fd, offset) == page, "cannot map the file: errno %d", errno);
	assert_event("the file again", page + EVENT_WORD);
	gmem_assert_counts(g->fd, NR_PAGES, 1);
	end_events(g, plain, self->seed);
}

#define NR_SENDERS	3
#define NR_CHANGES	200

struct sender {
	struct gmem_vm *g;
	pthread_t thread;
	unsigned int sent;
	bool stop;
};

static void *send_events(void *arg)
{
	struct sender *s = arg;

	do {
		TEST_ASSERT(!send_event(s->g), "event %u: errno %d", s->sent, errno);
		s->sent++;
	} while (!READ_ONCE(s->stop));
	return NULL;
}

/*
 * Several tasks refresh one cache at a time, whose page is repeatedly punched
 * and lowered; all must make progress.
 */
XEN_TEST(senders)
{
	static const u32 levels[] = { GUEST_MEMFD_ACCESS_NONE, GUEST_MEMFD_ACCESS_USER };
	struct gmem_vm *g = &self->g;
	u64 offset = SHINFO_PAGE * GMEM_PAGE;
	char *page = g->mem + offset, *plain;
	const char *why = setup_events(g, self->caps, true, &plain);
	struct sender senders[NR_SENDERS];
	unsigned int half[NR_SENDERS] = {};
	unsigned int i, n;

	if (why)
		SKIP(return, "%s", why);

	assert_works(g, "shared info", set_shinfo_hva(g, page));
	for (i = 0; i < NR_SENDERS; i++) {
		senders[i] = (struct sender) { .g = g };
		TEST_ASSERT(!pthread_create(&senders[i].thread, NULL, send_events, &senders[i]),
			    "no thread");
	}
	for (i = 0; i < NR_CHANGES; i++) {
		gmem_set_access(g->fd, offset, GMEM_PAGE, levels[i % 2]);
		gmem_punch(g->fd, offset, GMEM_PAGE);
		usleep(500);
		if (i + 1 != NR_CHANGES / 2)
			continue;
		for (n = 0; n < NR_SENDERS; n++)
			half[n] = READ_ONCE(senders[n].sent);
	}
	for (n = 0; n < NR_SENDERS; n++)
		TEST_ASSERT(READ_ONCE(senders[n].sent) > half[n],
			    "sender %u has sent no event during %u changes", n, NR_CHANGES / 2);
	for (i = 0; i < NR_SENDERS; i++) {
		WRITE_ONCE(senders[i].stop, true);
		pthread_join(senders[i].thread, NULL);
		ksft_print_msg("%u events\n", senders[i].sent);
	}
	gmem_set_access(g->fd, offset, GMEM_PAGE, GUEST_MEMFD_ACCESS_USER);
	memset(page, 0, GMEM_PAGE);
	assert_event("after all", page + EVENT_WORD);
	end_events(g, plain, self->seed);
}

/* KVM finds hidden memory by a user address only through a memslot. */
XEN_TEST(without_slot)
{
	struct gmem_vm *g = &self->g;
	char *page = g->mem + SHINFO_PAGE * GMEM_PAGE, *plain;
	const char *why = setup_events(g, self->caps, true, &plain);
	int i;

	if (why)
		SKIP(return, "%s", why);

	memset(page, 0, GMEM_PAGE);
	memset(g->mem, 0, GMEM_PAGE);
	assert_works(g, "shared info", set_shinfo_hva(g, page));
	for (i = 0; i < 3; i++) {
		assert_event("with a memslot", page + EVENT_WORD);
		gmem_vm_unbind(g);
		TEST_ASSERT(send_event(g) && errno == EFAULT, "no memslot: errno %d", errno);
		TEST_ASSERT_EQ(*(u64 *)(page + EVENT_WORD), 0);
		gmem_assert_counts(g->fd, NR_PAGES, 0);
		TEST_ASSERT(set_shinfo_hva(g, page) && errno == EFAULT, "set: errno %d", errno);
		gmem_vm_bind(g, g->mem);
		assert_event("with the memslot again", page + EVENT_WORD);
		gmem_assert_counts(g->fd, NR_PAGES, 1);

		/* The memslot now maps another page to this address. */
		gmem_vm_unbind(g);
		gmem_vm_bind(g, page);
		assert_event("another page", g->mem + EVENT_WORD);
		TEST_ASSERT_EQ(*(u64 *)(page + EVENT_WORD), 0);
		gmem_assert_counts(g->fd, NR_PAGES, 1);
		gmem_vm_unbind(g);
		gmem_vm_bind(g, g->mem);
	}
	end_events(g, plain, self->seed);
	gmem_fill(g->mem, GMEM_PAGE, self->seed);
}

/* The run state may cross a page boundary, with a reference to each page. */
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

/* With all structures enabled, the memslot is deleted and the VM destroyed. */
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
	/* The teardown needs a guest. */
	gmem_vm_create(&self->g, 1, SIZE, gmem_test_flags());
	gmem_fill(self->g.mem, SIZE, self->seed);
}

int main(int argc, char *argv[])
{
	gmem_require();
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_XEN_HVM) & KVM_XEN_HVM_CONFIG_SHARED_INFO);
	return test_harness_run(argc, argv);
}
