/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of the tests of KVM's own accesses to guest memory that has no
 * user mapping (x86/guest_memfd_sealed_*test.c).
 *
 * In the variants "gone", "other" and "plain" the memory is at level NONE, and
 * the memslot's user address maps nothing, or other memory that must not
 * change.  In the variant "user" the memory is mapped, at level USER: this
 * checks the tests themselves.
 *
 * After each test the guest reads what it wrote last, the other memory is
 * unchanged, the host's direct map shows no page of the file, and KVM has put
 * each reference that it took.
 */
#ifndef SELFTEST_KVM_GMEM_SEALED_H
#define SELFTEST_KVM_GMEM_SEALED_H

#include <asm/pvclock-abi.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define NR_PAGES	64UL
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define NR_VCPUS	4
#define TIMEOUT		600

#define NONE		GUEST_MEMFD_ACCESS_NONE
#define USER		GUEST_MEMFD_ACCESS_USER
#define KERNEL		GUEST_MEMFD_ACCESS_KERNEL

/* The contents of the file's pages. */
enum {
	PAGE_CLOCKS = 1,
	PAGE_WALL,
	PAGE_STEAL,
	PAGE_APF,
	PAGE_EOI,
	PAGE_CODE,
	PAGE_DATA,
	PAGE_STRING,
	PAGE_TABLES,		/* 6 pages */
	PAGE_VMCB = PAGE_TABLES + 6,
	PAGE_HSAVE,
	PAGE_MSRPM,		/* 2 pages */
	PAGE_TDP = PAGE_MSRPM + 2,	/* 4 pages */
	PAGE_VMXON = PAGE_TDP + 4,
	PAGE_VMCS,
	PAGE_SHADOW_VMCS,
	PAGE_VMREAD,
	PAGE_VMWRITE,
	PAGE_VAPIC,		/* these three are contiguous */
	PAGE_APIC_ACCESS,
	PAGE_PI_DESC,
	PAGE_L2,
	PAGE_SHINFO,
	PAGE_VCPU_INFO,
	PAGE_RUNSTATE,
	PAGE_HV_TSC,
	PAGE_HV_ASSIST,
	PAGE_HV_CALL,
	PAGE_HV_EVENTS,
	PAGE_HV_MESSAGES,
	PAGE_HOLE,
};

/* Bits of page table entries of any level. */
#define PT_RW		(BIT_ULL(0) | BIT_ULL(1))
#define PT_USER		BIT_ULL(2)
#define PT_ACCESSED	BIT_ULL(5)
#define PT_DIRTY	BIT_ULL(6)
#define PT_LARGE	BIT_ULL(7)

#define EOI_VECTOR	0xf0

static inline u64 at(int page)
{
	return GMEM_GPA + page * GMEM_PAGE;
}

FIXTURE(sealed) {
	int kmsg;
	struct gmem_vm g;
	struct gmem_trace trace;
	u64 seed;
	u64 *pfns;
	/* The memslot's user address, mapped or not. */
	char *address;
	char *decoy;
	bool hidden;
	bool punched;
};

FIXTURE_VARIANT(sealed) {
	u64 flags;
	u32 level;
	bool decoy;
};

#define HIDDEN (GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_NO_DIRECT_MAP)

/*
 * No mapping at the user address; other memory there; plain memory at NONE from
 * the start.
 */
FIXTURE_VARIANT_ADD(sealed, gone) {
	.flags = HIDDEN | GUEST_MEMFD_FLAG_INIT_SHARED, .level = NONE,
};

FIXTURE_VARIANT_ADD(sealed, other) {
	.flags = HIDDEN, .level = NONE, .decoy = true,
};

FIXTURE_VARIANT_ADD(sealed, plain) {
	.flags = GUEST_MEMFD_FLAG_MMAP, .level = NONE, .decoy = true,
};

FIXTURE_VARIANT_ADD(sealed, user) {
	.flags = HIDDEN | GUEST_MEMFD_FLAG_INIT_SHARED, .level = USER,
};

#define SEALED_TEST(name) TEST_F_TIMEOUT(sealed, name, TIMEOUT)

static inline u64 guest_peek(u64 gva, u64 b, u64 c)
{
	return READ_ONCE(*(u64 *)gva);
}

static inline u64 guest_poke(u64 gva, u64 value, u64 c)
{
	WRITE_ONCE(*(u64 *)gva, value);
	return 0;
}

static inline u64 guest_clear(u64 gva, u64 size, u64 c)
{
	memset((void *)gva, 0, size);
	return 0;
}

static inline u64 guest_wrmsr(u64 msr, u64 value, u64 c)
{
	return wrmsr_safe(msr, value);
}

static inline u64 peek(struct gmem_vm *g, int page, unsigned int offset)
{
	return gmem_guest_call(g->vcpus[0], guest_peek, at(page) + offset, 0, 0);
}

static inline void write_msr(struct gmem_vm *g, int vcpu, u32 msr, u64 value)
{
	u64 vector = gmem_guest_call(g->vcpus[vcpu], guest_wrmsr, msr, value, 0);

	TEST_ASSERT(!vector, "vCPU %d: MSR 0x%x = 0x%lx faults with %lu", vcpu, msr, value,
		    vector);
}

/*
 * Asserts that only the pages that have direct-map references now, @shared of
 * them, are in the direct map.
 */
static inline void expect_shared(struct _test_data_sealed *self, u64 shared)
{
	if (!self->hidden)
		return;
	gmem_assert_counts(self->g.fd, NR_PAGES, shared);
	TEST_ASSERT_EQ(gmem_count_absent(self->pfns, NR_PAGES), NR_PAGES - shared);
}

/* Returns the frames of the file, which is mapped and at USER meanwhile. */
static inline u64 *frames(struct gmem_vm *g, u32 level)
{
	char *mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
	u64 *pfns;

	gmem_set_access(g->fd, 0, SIZE, USER);
	pfns = gmem_pfns(mem, SIZE);
	gmem_set_access(g->fd, 0, SIZE, level);
	kvm_munmap(mem, SIZE);
	return pfns;
}

FIXTURE_SETUP(sealed)
{
	struct gmem_vm *g = &self->g;
	char *mem;

	self->hidden = variant->flags & GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	gmem_trace_start(&self->trace);
	gmem_vm_create(g, NR_VCPUS, SIZE, variant->flags);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	self->pfns = frames(g, variant->level);
	self->address = g->mem;
	if (variant->level != NONE)
		return;

	TEST_ASSERT_EQ(gmem_get_access(g->fd, 0, NULL), NONE);
	mem = self->address;
	kvm_munmap(mem, SIZE);
	g->mem = NULL;
	if (!variant->decoy)
		return;
	self->decoy = mmap(mem, SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	TEST_ASSERT(self->decoy == mem, "cannot map other memory there: errno %d", errno);
	memset(self->decoy, 0xa5, SIZE);
}

FIXTURE_TEARDOWN(sealed)
{
	struct gmem_vm *g = &self->g;
	size_t i;

	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	gmem_guest_call(g->vcpus[1], gmem_guest_check, GMEM_GVA, SIZE, self->seed);
	if (self->punched) {
		free(self->pfns);
		self->pfns = frames(g, variant->level);
	}
	expect_shared(self, 0);
	if (self->hidden)
		gmem_assert_pfns_hidden(self->pfns, NR_PAGES, self->seed);
	for (i = 0; self->decoy && i < SIZE; i++)
		TEST_ASSERT(self->decoy[i] == (char)0xa5,
			    "byte 0x%lx at the slot's user address was written", i);
	TEST_ASSERT_EQ(gmem_get_access(g->fd, 0, NULL), variant->level);
	gmem_vm_destroy(g);
	if (self->decoy)
		kvm_munmap(self->decoy, SIZE);
	TEST_ASSERT_EQ(gmem_trace_pages(&self->trace, "guest_memfd_get", NULL, 0),
		       gmem_trace_pages(&self->trace, "guest_memfd_put", NULL, 0));
	gmem_trace_stop(&self->trace);
	/* Plain pages are cleared only when they are allocated again. */
	if (self->hidden)
		gmem_assert_given_back(self->pfns, NR_PAGES, self->seed);
	free(self->pfns);
	gmem_assert_nothing_left(&self->kmsg);
}

/* Guest: asserts that KVM has written a clock there, and returns its time. */
static inline u64 guest_clock(u64 gva, u64 b, u64 c)
{
	struct pvclock_vcpu_time_info *pvti = (void *)gva;
	u32 version = READ_ONCE(pvti->version);

	__GUEST_ASSERT(version && !(version & 1), "version of the clock: %u", version);
	__GUEST_ASSERT(READ_ONCE(pvti->tsc_to_system_mul), "no scale");
	__GUEST_ASSERT(rdtsc() >= READ_ONCE(pvti->tsc_timestamp), "a clock of the future");
	return READ_ONCE(pvti->system_time);
}

#endif /* SELFTEST_KVM_GMEM_SEALED_H */
