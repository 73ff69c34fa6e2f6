// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests of other hypervisors in memory that has no user mapping.
 *
 * Proves that KVM's reads and writes for Xen and Hyper-V guests work at level
 * NONE, where the memslot's user address maps nothing, or other memory that
 * must not change: shared info, vCPU info, run state and events of Xen; the
 * hypercall page, the reference TSC page, the VP assist page, and the event and
 * message pages of Hyper-V.  gmem_sealed.h describes the variants.
 *
 * Catches: an access that still uses the user address (a fault, or the bytes
 * there change), a lookup by the user address that finds the file instead of
 * the memory that the VMM maps there (xen_by_address), a reference that is
 * leaked or not taken (each test's end, xen).
 *
 * Not covered: an enlightened VMCS whose page leaves the file.
 */
#include <string.h>
#include <time.h>

#include "apic.h"
#include "gmem_sealed.h"
#include "hyperv.h"
#include "ucall_common.h"

#define XEN_PORT	77
#define XEN_EVENTS	0x800
#define XEN_WALL_CLOCK	0xc00
#define XEN_VCPU_TIME	32

static void set_xen_vcpu(struct gmem_vm *g, u16 type, u64 gpa)
{
	struct kvm_xen_vcpu_attr attr = { .type = type, .u.gpa = gpa };

	vcpu_ioctl(g->vcpus[0], KVM_XEN_VCPU_SET_ATTR, &attr);
}

static void create_xen(struct gmem_vm *g)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL, .msr = 0x40000000,
	};
	struct kvm_xen_hvm_attr attr = { .type = KVM_XEN_ATTR_TYPE_LONG_MODE, .u.long_mode = 1 };

	vm_ioctl(g->vm, KVM_XEN_HVM_CONFIG, &config);
	vm_ioctl(g->vm, KVM_XEN_HVM_SET_ATTR, &attr);
	gmem_guest_call(g->vcpus[0], guest_clear, at(PAGE_SHINFO), 3 * GMEM_PAGE, 0);
}

static void send_xen_event(struct gmem_vm *g)
{
	struct kvm_irq_routing_xen_evtchn event = {
		.port = XEN_PORT, .priority = KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL,
	};

	vm_ioctl(g->vm, KVM_XEN_HVM_EVTCHN_SEND, &event);
}

SEALED_TEST(xen)
{
	struct kvm_xen_hvm_attr attr = { .type = KVM_XEN_ATTR_TYPE_SHARED_INFO };
	struct gmem_vm *g = &self->g;
	u64 seconds;

	if (!(kvm_check_cap(KVM_CAP_XEN_HVM) & KVM_XEN_HVM_CONFIG_EVTCHN_SEND))
		SKIP(return, "no Xen events");
	create_xen(g);

	attr.u.shared_info.gfn = at(PAGE_SHINFO) / GMEM_PAGE;
	vm_ioctl(g->vm, KVM_XEN_HVM_SET_ATTR, &attr);
	seconds = peek(g, PAGE_SHINFO, XEN_WALL_CLOCK) >> 32;
	TEST_ASSERT(seconds <= (u64)time(NULL) && seconds + TIMEOUT > (u64)time(NULL),
		    "the wall clock shows %lu", seconds);
	expect_shared(self, 1);
	set_xen_vcpu(g, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, at(PAGE_VCPU_INFO));
	TEST_ASSERT((u32)peek(g, PAGE_VCPU_INFO, XEN_VCPU_TIME), "no time in the vCPU info");
	set_xen_vcpu(g, KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR, at(PAGE_RUNSTATE));
	/* The time of the last change, and how long the vCPU ran. */
	TEST_ASSERT(peek(g, PAGE_RUNSTATE, 8) && peek(g, PAGE_RUNSTATE, 16), "no run state");
	expect_shared(self, 3);

	send_xen_event(g);
	TEST_ASSERT_EQ(peek(g, PAGE_SHINFO, XEN_EVENTS + XEN_PORT / 64 * 8),
		       BIT_ULL(XEN_PORT % 64));
	/* The pending upcall, and the bit that selects the word of events. */
	TEST_ASSERT_EQ(peek(g, PAGE_VCPU_INFO, 0) & 0xff, 1);
	TEST_ASSERT_EQ(peek(g, PAGE_VCPU_INFO, 8), BIT_ULL(XEN_PORT / 64));

	set_xen_vcpu(g, KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR, KVM_XEN_INVALID_GPA);
	set_xen_vcpu(g, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, KVM_XEN_INVALID_GPA);
	attr.u.shared_info.gfn = KVM_XEN_INVALID_GFN;
	vm_ioctl(g->vm, KVM_XEN_HVM_SET_ATTR, &attr);
	expect_shared(self, 0);
}

/*
 * By the memslot's user address: the memory that the VMM maps there or, without
 * a mapping, the guest's.
 */
SEALED_TEST(xen_by_address)
{
	struct kvm_xen_hvm_attr attr = {
		.type = KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA,
		.u.shared_info.hva = (u64)self->address + PAGE_SHINFO * GMEM_PAGE,
	};
	const int caps = KVM_XEN_HVM_CONFIG_EVTCHN_SEND | KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA;
	const unsigned int word = XEN_EVENTS + XEN_PORT / 64 * 8;
	const u16 info = KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA;
	struct gmem_vm *g = &self->g;

	if ((kvm_check_cap(KVM_CAP_XEN_HVM) & caps) != caps)
		SKIP(return, "no Xen events, or nothing by user address");
	create_xen(g);

	vm_ioctl(g->vm, KVM_XEN_HVM_SET_ATTR, &attr);
	set_xen_vcpu(g, info, (u64)self->address + PAGE_VCPU_INFO * GMEM_PAGE);
	if (!self->decoy) {
		TEST_ASSERT((u32)peek(g, PAGE_VCPU_INFO, XEN_VCPU_TIME),
			    "no time in the vCPU info");
	} else {
		char *shinfo = self->decoy + PAGE_SHINFO * GMEM_PAGE;
		char *vcpu_info = self->decoy + PAGE_VCPU_INFO * GMEM_PAGE;

		memset(shinfo, 0, GMEM_PAGE);
		memset(vcpu_info, 0, GMEM_PAGE);
		send_xen_event(g);
		TEST_ASSERT_EQ(*(u64 *)(shinfo + word), BIT_ULL(XEN_PORT % 64));
		TEST_ASSERT_EQ(*vcpu_info, 1);
		TEST_ASSERT_EQ(peek(g, PAGE_SHINFO, word), 0);
		TEST_ASSERT(*(u32 *)(vcpu_info + XEN_VCPU_TIME), "no time in the vCPU info");
		expect_shared(self, 0);
		/*
		 * After the unmapping the next event arrives in the guest's
		 * memory.
		 */
		kvm_munmap(self->decoy, SIZE);
		self->decoy = NULL;
	}
	/* The vCPU itself looks up its info again. */
	send_xen_event(g);
	TEST_ASSERT_EQ(peek(g, PAGE_SHINFO, word), BIT_ULL(XEN_PORT % 64));
	TEST_ASSERT_EQ(peek(g, PAGE_VCPU_INFO, 0) & 0xff, 1);
	TEST_ASSERT_EQ(peek(g, PAGE_VCPU_INFO, 8), BIT_ULL(XEN_PORT / 64));
	expect_shared(self, 2);

	set_xen_vcpu(g, info, 0);
	attr.u.shared_info.hva = 0;
	vm_ioctl(g->vm, KVM_XEN_HVM_SET_ATTR, &attr);
	expect_shared(self, 0);
}

#define HV_ENABLE	1
#define HV_SINT		2
#define HV_TIMER_MSG	0x80000010

static u64 guest_hv_timer(u64 msg_gva, u64 cycles, u64 c)
{
	u64 end = rdtsc() + cycles;

	x2apic_enable();
	GUEST_ASSERT(!wrmsr_safe(HV_X64_MSR_SCONTROL, HV_ENABLE));
	GUEST_ASSERT(!wrmsr_safe(HV_X64_MSR_SINT0 + HV_SINT, 0xf2));
	/* Fire once, at a time that has passed. */
	GUEST_ASSERT(!wrmsr_safe(HV_X64_MSR_STIMER0_CONFIG, HV_SINT << 16));
	GUEST_ASSERT(!wrmsr_safe(HV_X64_MSR_STIMER0_COUNT, 1));
	GUEST_ASSERT(!wrmsr_safe(HV_X64_MSR_STIMER0_CONFIG, HV_SINT << 16 | HV_ENABLE));
	while (!READ_ONCE(*(u32 *)msg_gva) && rdtsc() < end)
		cpu_relax();
	return READ_ONCE(*(u32 *)msg_gva);
}

/*
 * Runs until the guest has completed the posted call; writing some MSRs of
 * Hyper-V exits to the VMM.
 */
static u64 run_posted(struct kvm_vcpu *vcpu)
{
	do
		vcpu_run(vcpu);
	while (vcpu->run->exit_reason == KVM_EXIT_HYPERV);
	return gmem_guest_result(vcpu);
}

static void write_hv_msr(struct kvm_vcpu *vcpu, u32 msr, u64 value)
{
	u64 vector;

	gmem_guest_post(vcpu, guest_wrmsr, msr, value, 0);
	vector = run_posted(vcpu);
	TEST_ASSERT(!vector, "MSR 0x%x = 0x%lx faults with %lu", msr, value, vector);
}

SEALED_TEST(hyperv)
{
	const u64 junk = 0x5a5a5a5a5a5a5a5a;
	struct gmem_vm *g = &self->g;
	/*
	 * Use a vCPU that has not run yet: CPUID cannot be changed afterwards.
	 */
	struct kvm_vcpu *vcpu = g->vcpus[2];
	int page;

	if (!kvm_check_cap(KVM_CAP_HYPERV_CPUID))
		SKIP(return, "no Hyper-V CPUID");
	vcpu_set_hv_cpuid(vcpu);
	vcpu_enable_cap(vcpu, KVM_CAP_HYPERV_SYNIC, 0);
	for (page = PAGE_HV_TSC; page <= PAGE_HV_MESSAGES; page++) {
		gmem_guest_call(vcpu, guest_poke, at(page), junk, 0);
		gmem_guest_call(vcpu, guest_poke, at(page) + GMEM_PAGE - 8, junk, 0);
	}

	write_hv_msr(vcpu, HV_X64_MSR_GUEST_OS_ID, HYPERV_LINUX_OS_ID);
	write_hv_msr(vcpu, HV_X64_MSR_HYPERCALL, at(PAGE_HV_CALL) | HV_ENABLE);
	/* vmcall or vmmcall; ret */
	TEST_ASSERT_EQ((u32)peek(g, PAGE_HV_CALL, 0), host_cpu_is_intel ? 0xc3c1010f : 0xc3d9010f);
	TEST_ASSERT_EQ(peek(g, PAGE_HV_CALL, GMEM_PAGE - 8), junk);

	write_hv_msr(vcpu, HV_X64_MSR_REFERENCE_TSC, at(PAGE_HV_TSC) | HV_ENABLE);
	TEST_ASSERT((u32)peek(g, PAGE_HV_TSC, 0) != (u32)junk, "nothing was written");
	TEST_ASSERT(!(u32)peek(g, PAGE_HV_TSC, 0) || peek(g, PAGE_HV_TSC, 8), "no scale");

	/* KVM clears only the first word of this page. */
	write_hv_msr(vcpu, HV_X64_MSR_VP_ASSIST_PAGE, at(PAGE_HV_ASSIST) | HV_ENABLE);
	TEST_ASSERT_EQ(peek(g, PAGE_HV_ASSIST, 0), junk & ~0xffffffffUL);
	TEST_ASSERT_EQ(peek(g, PAGE_HV_ASSIST, GMEM_PAGE - 8), junk);

	write_hv_msr(vcpu, HV_X64_MSR_SIEFP, at(PAGE_HV_EVENTS) | HV_ENABLE);
	write_hv_msr(vcpu, HV_X64_MSR_SIMP, at(PAGE_HV_MESSAGES) | HV_ENABLE);
	for (page = PAGE_HV_EVENTS; page <= PAGE_HV_MESSAGES; page++)
		gmem_guest_call(vcpu, gmem_guest_check_zero, at(page), GMEM_PAGE, 0);
	gmem_guest_post(vcpu, guest_hv_timer, at(PAGE_HV_MESSAGES) + HV_SINT * 256,
			20000000000UL, 0);
	TEST_ASSERT_EQ(run_posted(vcpu), HV_TIMER_MSG);
	expect_shared(self, 0);

	write_hv_msr(vcpu, HV_X64_MSR_STIMER0_CONFIG, 0);
	write_hv_msr(vcpu, HV_X64_MSR_SIMP, 0);
	write_hv_msr(vcpu, HV_X64_MSR_SIEFP, 0);
	write_hv_msr(vcpu, HV_X64_MSR_VP_ASSIST_PAGE, 0);
	write_hv_msr(vcpu, HV_X64_MSR_REFERENCE_TSC, 0);
	write_hv_msr(vcpu, HV_X64_MSR_HYPERCALL, 0);
}

int main(int argc, char *argv[])
{
	gmem_require();
	TEST_REQUIRE(!gmem_plain());
	return test_harness_run(argc, argv);
}
