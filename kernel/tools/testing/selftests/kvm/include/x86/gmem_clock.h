/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of the tests of kvm-clock in guest memory that is outside the
 * host's direct map (x86/guest_memfd_clock*_test.c): guests that turn clocks in
 * their memory on and off.
 */
#ifndef SELFTEST_KVM_GMEM_CLOCK_H
#define SELFTEST_KVM_GMEM_CLOCK_H

#include <asm/kvm_para.h>
#include <asm/pvclock.h>
#include <asm/pvclock-abi.h>
#include <errno.h>

#include "guest_memfd_hide.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"
#include "ucall_common.h"

#define NR_PAGES	16UL
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define TIMEOUT		900

/* The pages of the file that contain clocks, and the space between clocks. */
#define PAGE_A		3
#define PAGE_B		7
#define STRIDE		64

FIXTURE(clock) {
	int kmsg;
	struct gmem_vm g;
	u64 seed;
};

FIXTURE_SETUP(clock)
{
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
}

FIXTURE_TEARDOWN(clock)
{
	if (self->g.vm || self->g.mem)
		gmem_vm_destroy(&self->g);
	gmem_assert_nothing_left(&self->kmsg);
}

#define CLOCK_TEST(name) TEST_F_TIMEOUT(clock, name, TIMEOUT)

static inline u64 clock_at(int page, int vcpu)
{
	return GMEM_GPA + page * GMEM_PAGE + vcpu * STRIDE;
}

/* Guest: writes an MSR; returns the vector of the fault, or 0. */
static inline u64 guest_wrmsr(u64 msr, u64 value, u64 unused)
{
	return wrmsr_safe(msr, value);
}

static inline u64 guest_read_clock(struct pvclock_vcpu_time_info *pvti)
{
	u32 version;
	u64 ns;

	do {
		version = READ_ONCE(pvti->version);
		barrier();
		ns = __pvclock_read_cycles(pvti, rdtsc());
		barrier();
	} while ((version & 1) || version != READ_ONCE(pvti->version));
	return ns;
}

/* Guest: asserts that the clock at @gva runs. */
static inline u64 guest_check_clock(u64 gva, u64 b, u64 c)
{
	struct pvclock_vcpu_time_info *pvti = (void *)gva;
	u64 first, later;
	int i;

	__GUEST_ASSERT(READ_ONCE(pvti->version), "nothing at 0x%lx, no clock", gva);
	__GUEST_ASSERT(!(READ_ONCE(pvti->version) & 1), "version %u is odd",
		       READ_ONCE(pvti->version));
	__GUEST_ASSERT(READ_ONCE(pvti->tsc_to_system_mul), "no scale at 0x%lx", gva);
	first = guest_read_clock(pvti);
	for (i = 0; i < 1000; i++)
		cpu_relax();
	later = guest_read_clock(pvti);
	__GUEST_ASSERT(later > first, "the clock stands: %lu, then %lu", first, later);
	return later;
}

static inline void clock_write(struct gmem_vm *g, int vcpu, u64 value)
{
	u64 vector = gmem_guest_call(g->vcpus[vcpu], guest_wrmsr, MSR_KVM_SYSTEM_TIME_NEW,
				     value, 0);

	TEST_ASSERT(!vector, "vCPU %d: writing 0x%lx to the clock's MSR faults with %lu",
		    vcpu, value, vector);
}

static inline void clock_check(struct gmem_vm *g, int vcpu, int page)
{
	gmem_guest_call(g->vcpus[vcpu], guest_check_clock, clock_at(page, vcpu), 0, 0);
}

static inline void clock_on(struct gmem_vm *g, int vcpu, int page)
{
	clock_write(g, vcpu, clock_at(page, vcpu) | KVM_MSR_ENABLED);
	clock_check(g, vcpu, page);
}

static inline void clock_off(struct gmem_vm *g, int vcpu)
{
	clock_write(g, vcpu, 0);
}

/* Makes KVM write the clock again, as it sometimes does by itself. */
static inline void clock_kick(struct gmem_vm *g, int vcpu)
{
	int r = __vcpu_ioctl(g->vcpus[vcpu], KVM_KVMCLOCK_CTRL, NULL);

	/* EINVAL: there is no clock, which the caller checks. */
	TEST_ASSERT(!r || errno == EINVAL, KVM_IOCTL_ERROR(KVM_KVMCLOCK_CTRL, r));
	gmem_guest_call(g->vcpus[vcpu], gmem_guest_nop, 0, 0, 0);
}

/* Creates a VM whose guest fills all pages of the file. */
static inline void start(struct gmem_vm *g, int nr_vcpus, u64 seed)
{
	gmem_vm_create(g, nr_vcpus, SIZE, gmem_test_flags());
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, seed);
	gmem_assert_counts(g->fd, NR_PAGES, 0);
}

/*
 * With no clock on, page @page is hidden, and the data beside the clocks is
 * unchanged.
 */
static inline void assert_hidden_again(struct gmem_vm *g, int page, u64 seed)
{
	const u64 clocks = GMEM_MAX_VCPUS * STRIDE;
	char *mem = g->mem + page * GMEM_PAGE;
	u64 pfn = gmem_pfn(mem);
	const u64 *w = (u64 *)(mem + clocks);
	unsigned int i;

	gmem_wait_put(g->fd);
	gmem_assert_pfns_hidden(&pfn, 1, seed);
	for (i = 0; i < (GMEM_PAGE - clocks) / sizeof(*w); i++)
		TEST_ASSERT_EQ(w[i], gmem_word(seed, clocks / sizeof(*w) + i));
}

#endif /* SELFTEST_KVM_GMEM_CLOCK_H */
