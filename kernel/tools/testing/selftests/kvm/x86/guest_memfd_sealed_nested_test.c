// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nested guests in guest memory that has no user mapping.
 *
 * Proves that KVM runs nested guests at level NONE, where the memslot's user
 * address maps nothing, or other memory that must not change: VMCB and VMCS,
 * bitmaps, nested page tables with their accessed and dirty bits, and the pages
 * of a nested guest's APIC.  The host's direct map shows only the pages that
 * have direct-map references at that time, and none in the end.  A guest that
 * enters nested guests many times does not make the host flush.  gmem_sealed.h
 * describes the variants.
 *
 * Catches: an access that still uses the user address (a fault, or the bytes
 * there change), a reference that is leaked or not taken (each test's end,
 * nested), pages of a nested guest's APIC that left the file and stay
 * referenced, or that the nested guest continues to use (nested_paused,
 * nested_memslot, nested_halted, nested_running).
 *
 * Not covered: an enlightened VMCS whose page leaves the file, SMM.
 */
#include <linux/sizes.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "apic.h"
#include "gmem_sealed.h"
#include "svm_util.h"
#include "ucall_common.h"
#include "vmx.h"

/* The same bits of EPT entries. */
#define EPT_RWX		(BIT_ULL(0) | BIT_ULL(1) | BIT_ULL(2))
#define EPT_WB		(6ULL << 3)
#define EPT_LARGE	BIT_ULL(7)
#define EPT_ACCESSED	BIT_ULL(8)
#define EPT_DIRTY	BIT_ULL(9)

#define PORT		0x2040
#define TRIPS		1000U

#define L2_MSR		MSR_IA32_SYSENTER_CS
#define L2_SEED		0x1234567

#define L2_TPR		5

static void l2_code(void)
{
	gmem_guest_fill(at(PAGE_L2), GMEM_PAGE, L2_SEED);
	asm volatile("rdmsr" : : "c"(L2_MSR) : "rax", "rdx");
	gmem_guest_check(at(PAGE_L2), GMEM_PAGE, L2_SEED);
	if (!host_cpu_is_intel)
		vmmcall();
	/* This writes the virtual-APIC page. */
	asm volatile("mov %0, %%cr8" : : "r"((u64)L2_TPR));
	vmcall();
}

/* Guest: maps the first GiB, and the one with the memory, by 2 MiB. */
static void guest_make_tdp(u64 table, u64 leaf)
{
	u64 *tdp = (u64 *)at(PAGE_TDP), i;

	memset(tdp, 0, 4 * GMEM_PAGE);
	tdp[0] = at(PAGE_TDP + 1) | table;
	tdp[512] = at(PAGE_TDP + 2) | table;
	tdp[512 + GMEM_GPA / SZ_1G] = at(PAGE_TDP + 3) | table;
	for (i = 0; i < 512; i++) {
		tdp[1024 + i] = i * SZ_2M | leaf;
		tdp[1536 + i] = (GMEM_GPA + i * SZ_2M) | leaf;
	}
}

static void guest_check_tdp(u64 accessed, u64 dirty)
{
	u64 *tdp = (u64 *)at(PAGE_TDP);

	GUEST_ASSERT(tdp[0] & accessed);
	GUEST_ASSERT(tdp[512 + GMEM_GPA / SZ_1G] & accessed);
	GUEST_ASSERT(tdp[1536] & accessed);
	GUEST_ASSERT(tdp[1536] & dirty);
}

/* Guest: VMCB, save area, MSR bitmap and nested tables are in the memory. */
static u64 guest_nested_svm(u64 svm_gva, u64 runs, u64 c)
{
	struct svm_test_data *svm = (void *)svm_gva;
	struct vmcb *vmcb = svm->vmcb;
	u64 i;

	guest_make_tdp(PT_RW | PT_USER, PT_RW | PT_USER | PT_LARGE);
	for (i = 0; i < runs; i++) {
		memset((void *)at(PAGE_L2), 0, GMEM_PAGE);
		memset((void *)at(PAGE_MSRPM), 0xff, 2 * GMEM_PAGE);
		generic_svm_setup(svm, l2_code);
		vmcb->control.intercept |= BIT_ULL(INTERCEPT_MSR_PROT);
		run_guest(vmcb, svm->vmcb_gpa);
		GUEST_ASSERT_EQ(vmcb->control.exit_code, SVM_EXIT_MSR);
		/* Run again with a bitmap that does not intercept the MSR. */
		memset((void *)at(PAGE_MSRPM), 0, 2 * GMEM_PAGE);
		run_guest(vmcb, svm->vmcb_gpa);
		GUEST_ASSERT_EQ(vmcb->control.exit_code, SVM_EXIT_VMMCALL);
		gmem_guest_check(at(PAGE_L2), GMEM_PAGE, L2_SEED);
	}
	guest_check_tdp(PT_ACCESSED, PT_DIRTY);
	return runs;
}

/*
 * Guest: VMXON region, both VMCSs, the bitmaps, EPT and virtual-APIC page are
 * in the memory.
 */
static u64 guest_nested_vmx(u64 vmx_gva, u64 runs, u64 c)
{
	struct vmx_pages *vmx = (void *)vmx_gva;
	u8 *vapic = (void *)at(PAGE_VAPIC);
	u64 i;

	guest_make_tdp(EPT_RWX, EPT_RWX | EPT_WB | EPT_LARGE);
	memset((void *)at(PAGE_VMREAD), 0, GMEM_PAGE);
	memset((void *)at(PAGE_VMWRITE), 0, GMEM_PAGE);
	GUEST_ASSERT(prepare_for_vmx_operation(vmx));
	for (i = 0; i < runs; i++) {
		memset((void *)at(PAGE_L2), 0, GMEM_PAGE);
		memset((void *)at(PAGE_MSRPM), 0xff, GMEM_PAGE);
		memset(vapic, 0, GMEM_PAGE);
		GUEST_ASSERT(load_vmcs(vmx));
		prepare_vmcs(vmx, l2_code);
		GUEST_ASSERT(!vmwrite(VIRTUAL_APIC_PAGE_ADDR, at(PAGE_VAPIC)));
		GUEST_ASSERT(!vmwrite(CPU_BASED_VM_EXEC_CONTROL,
				      vmreadz(CPU_BASED_VM_EXEC_CONTROL) |
				      CPU_BASED_USE_MSR_BITMAPS | CPU_BASED_TPR_SHADOW));
		GUEST_ASSERT(!vmlaunch());
		GUEST_ASSERT_EQ(vmreadz(VM_EXIT_REASON), EXIT_REASON_MSR_READ);
		/* Run again with a bitmap that does not intercept the MSR. */
		memset((void *)at(PAGE_MSRPM), 0, GMEM_PAGE);
		GUEST_ASSERT(!vmresume());
		GUEST_ASSERT_EQ(vmreadz(VM_EXIT_REASON), EXIT_REASON_VMCALL);
		gmem_guest_check(at(PAGE_L2), GMEM_PAGE, L2_SEED);
		GUEST_ASSERT_EQ(READ_ONCE(vapic[APIC_TASKPRI]), L2_TPR << 4);
	}
	GUEST_ASSERT(rdmsr(MSR_IA32_VMX_EPT_VPID_CAP) & VMX_EPT_VPID_CAP_AD_BITS);
	guest_check_tdp(EPT_ACCESSED, EPT_DIRTY);
	return runs;
}

static gva_t create_svm(struct kvm_vm *vm)
{
	struct svm_test_data *svm;
	gva_t gva;

	svm = vcpu_alloc_svm(vm, &gva);
	svm->vmcb = (void *)at(PAGE_VMCB);
	svm->vmcb_gpa = at(PAGE_VMCB);
	svm->save_area_gpa = at(PAGE_HSAVE);
	svm->msr_gpa = at(PAGE_MSRPM);
	svm->ncr3_gpa = at(PAGE_TDP);
	return gva;
}

static gva_t create_vmx(struct kvm_vm *vm)
{
	struct vmx_pages *vmx;
	gva_t gva;

	vmx = vcpu_alloc_vmx(vm, &gva);
	vmx->vmxon = (void *)at(PAGE_VMXON);
	vmx->vmxon_gpa = at(PAGE_VMXON);
	vmx->vmcs = (void *)at(PAGE_VMCS);
	vmx->vmcs_gpa = at(PAGE_VMCS);
	vmx->shadow_vmcs = (void *)at(PAGE_SHADOW_VMCS);
	vmx->shadow_vmcs_gpa = at(PAGE_SHADOW_VMCS);
	vmx->vmread_gpa = at(PAGE_VMREAD);
	vmx->vmwrite_gpa = at(PAGE_VMWRITE);
	vmx->msr_gpa = at(PAGE_MSRPM);
	vmx->eptp_gpa = at(PAGE_TDP);
	return gva;
}

SEALED_TEST(nested)
{
	bool vmx = kvm_cpu_has(X86_FEATURE_VMX);
	struct gmem_vm *g = &self->g;
	u64 shares;
	gva_t gva;

	if (!kvm_cpu_has_tdp())
		SKIP(return, "no nested virtualisation with nested paging here");

	gva = vmx ? create_vmx(g->vm) : create_svm(g->vm);
	shares = gmem_trace_pages(&self->trace, "guest_memfd_get", NULL, 0);
	TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[0], vmx ? guest_nested_vmx : guest_nested_svm,
				       gva, 5, 0), 5);
	expect_shared(self, 0);
	shares = gmem_trace_pages(&self->trace, "guest_memfd_get", NULL, 0) - shares;
	/*
	 * On VMX the pages that L2 uses by their physical address stay mapped.
	 */
	TEST_ASSERT(vmx || !shares, "%lu references for 10 nested runs", shares);
}

static void l2_trips_svm(void)
{
	for (;;)
		vmmcall();
}

static void l2_trips_vmx(void)
{
	for (;;)
		vmcall();
}

/*
 * The pages of a nested guest's APIC, which KVM keeps mapped while the vCPU is
 * in nested mode, leave the file.
 */

enum l2_how { PAUSED, HALTED, RUNNING };

static enum l2_how l2_how;

#define NR_APIC_PAGES	3
#define POSTED_VECTOR	0x61
/* Many more iterations than a posted interrupt needs to arrive. */
#define POSTED_TURNS	10000000

static unsigned int nr_posted;

static void posted_handler(struct ex_regs *regs)
{
	WRITE_ONCE(nr_posted, nr_posted + 1);
}

/* Guest: posts an interrupt to the nested guest of another vCPU. */
static u64 guest_post_interrupt(u64 apic_id, u64 b, u64 c)
{
	u64 *desc = (u64 *)at(PAGE_PI_DESC);

	desc[POSTED_VECTOR / 64] |= BIT_ULL(POSTED_VECTOR % 64);
	/* Set the outstanding-notification bit. */
	desc[4] |= 1;
	x2apic_enable();
	x2apic_write_reg(APIC_ICR, apic_id << 32 | APIC_DM_FIXED | EOI_VECTOR);
	return 0;
}

static void l2_apic(void)
{
	int i;

	switch (l2_how) {
	case PAUSED:
		asm volatile("inb %%dx, %%al" : : "d"(PORT) : "rax");
		break;
	case HALTED:
		asm volatile("sti; hlt; cli");
		break;
	case RUNNING:
		while (READ_ONCE(*(u64 *)at(PAGE_DATA)))
			asm volatile("mov %0, %%cr8" : : "r"(0UL));
		break;
	}
	/* The interrupt arrives through the posted-interrupt descriptor. */
	asm volatile("sti");
	for (i = 0; i < POSTED_TURNS && !READ_ONCE(nr_posted); i++)
		barrier();
	asm volatile("cli");
	GUEST_ASSERT_EQ(READ_ONCE(nr_posted), 1);
	/*
	 * This writes the virtual-APIC page, and the APIC-access page reads it.
	 */
	asm volatile("mov %0, %%cr8" : : "r"((u64)L2_TPR));
	GUEST_ASSERT_EQ(READ_ONCE(*(u32 *)(at(PAGE_APIC_ACCESS) + APIC_TASKPRI)), L2_TPR << 4);
	vmcall();
}

/*
 * Guest: runs a nested guest with its own APIC and a posted-interrupt
 * descriptor.
 */
static u64 guest_nested_apic(u64 vmx_gva, u64 b, u64 c)
{
	struct vmx_pages *vmx = (void *)vmx_gva;
	u8 *vapic = (void *)at(PAGE_VAPIC);

	x2apic_enable();
	guest_make_tdp(EPT_RWX, EPT_RWX | EPT_WB | EPT_LARGE);
	memset(vapic, 0, NR_APIC_PAGES * GMEM_PAGE);
	GUEST_ASSERT(prepare_for_vmx_operation(vmx));
	GUEST_ASSERT(load_vmcs(vmx));
	prepare_vmcs(vmx, l2_apic);
	GUEST_ASSERT(!vmwrite(VIRTUAL_APIC_PAGE_ADDR, at(PAGE_VAPIC)));
	GUEST_ASSERT(!vmwrite(APIC_ACCESS_ADDR, at(PAGE_APIC_ACCESS)));
	GUEST_ASSERT(!vmwrite(POSTED_INTR_DESC_ADDR, at(PAGE_PI_DESC)));
	GUEST_ASSERT(!vmwrite(POSTED_INTR_NV, EOI_VECTOR));
	GUEST_ASSERT(!vmwrite(GUEST_INTR_STATUS, 0));
	GUEST_ASSERT(!vmwrite(PIN_BASED_VM_EXEC_CONTROL,
			      vmreadz(PIN_BASED_VM_EXEC_CONTROL) |
			      PIN_BASED_EXT_INTR_MASK | PIN_BASED_POSTED_INTR));
	GUEST_ASSERT(!vmwrite(CPU_BASED_VM_EXEC_CONTROL,
			      vmreadz(CPU_BASED_VM_EXEC_CONTROL) | CPU_BASED_TPR_SHADOW));
	GUEST_ASSERT(!vmwrite(SECONDARY_VM_EXEC_CONTROL,
			      vmreadz(SECONDARY_VM_EXEC_CONTROL) |
			      SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES |
			      SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY));
	GUEST_ASSERT(!vmwrite(VM_EXIT_CONTROLS,
			      vmreadz(VM_EXIT_CONTROLS) | VM_EXIT_ACK_INTR_ON_EXIT));
	GUEST_ASSERT(!vmlaunch());
	GUEST_ASSERT_EQ(vmreadz(VM_EXIT_REASON), EXIT_REASON_VMCALL);
	GUEST_ASSERT_EQ(READ_ONCE(vapic[APIC_TASKPRI]), L2_TPR << 4);
	return 1;
}

static bool can_post_interrupts(void)
{
	return kvm_cpu_has_ept() &&
	       kvm_get_feature_msr(MSR_IA32_VMX_TRUE_PINBASED_CTLS) >> 32 &
	       PIN_BASED_POSTED_INTR;
}

static bool none_left(void *fd)
{
	struct gmem_info info;

	gmem_read_info(*(int *)fd, &info);
	return !info.left_referenced;
}

static bool none_referenced(void *fd)
{
	struct gmem_info info;

	gmem_read_info(*(int *)fd, &info);
	return !info.referenced;
}

/* Runs a separate vCPU until its nested guest does what @how says. */
static struct kvm_vcpu *start_nested_apic(struct gmem_vm *g, enum l2_how how)
{
	struct kvm_vcpu *vcpu = g->vcpus[2];

	l2_how = how;
	sync_global_to_guest(g->vm, l2_how);
	vm_install_exception_handler(g->vm, POSTED_VECTOR, posted_handler);
	gmem_guest_post(vcpu, guest_nested_apic, create_vmx(g->vm), 0, 0);
	return vcpu;
}

static void pause_in_l2(struct kvm_vcpu *vcpu)
{
	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
	TEST_ASSERT_EQ(vcpu->run->io.port, PORT);
}

static void post_interrupt(struct gmem_vm *g, struct kvm_vcpu *vcpu)
{
	gmem_guest_call(g->vcpus[0], guest_post_interrupt, vcpu->id, 0, 0);
}

static void finish_nested_apic(struct kvm_vcpu *vcpu)
{
	vcpu_run(vcpu);
	TEST_ASSERT_EQ(gmem_guest_result(vcpu), 1);
}

static void punch_apic(struct gmem_vm *g)
{
	u64 ms;

	gmem_punch(g->fd, PAGE_VAPIC * GMEM_PAGE, NR_APIC_PAGES * GMEM_PAGE);
	ms = gmem_wait_within(none_left, &g->fd, GMEM_REFERENCE_MS);
	ksft_print_msg("the references ended within %lu ms\n", ms);
}

SEALED_TEST(nested_paused)
{
	struct gmem_vm *g = &self->g;
	struct kvm_vcpu *vcpu;

	if (!can_post_interrupts())
		SKIP(return, "no nested VMX with posted interrupts here");

	vcpu = start_nested_apic(g, PAUSED);
	pause_in_l2(vcpu);
	expect_shared(self, NR_APIC_PAGES);
	punch_apic(g);
	self->punched = true;
	if (self->hidden)
		gmem_assert_counts(g->fd, NR_PAGES - NR_APIC_PAGES, 0);
	post_interrupt(g, vcpu);
	finish_nested_apic(vcpu);
	if (self->hidden)
		gmem_assert_counts(g->fd, NR_PAGES, 0);
}

SEALED_TEST(nested_memslot)
{
	struct gmem_vm *g = &self->g;
	struct kvm_vcpu *vcpu;
	u64 ms;

	if (!can_post_interrupts())
		SKIP(return, "no nested VMX with posted interrupts here");

	vcpu = start_nested_apic(g, PAUSED);
	pause_in_l2(vcpu);
	expect_shared(self, NR_APIC_PAGES);
	gmem_vm_unbind(g);
	ms = gmem_wait_within(none_referenced, &g->fd, GMEM_REFERENCE_MS);
	ksft_print_msg("the references ended within %lu ms\n", ms);
	expect_shared(self, 0);
	gmem_vm_bind(g, self->address);
	post_interrupt(g, vcpu);
	finish_nested_apic(vcpu);
	expect_shared(self, 0);
}

static void *run_to_end(void *arg)
{
	finish_nested_apic(arg);
	return NULL;
}

SEALED_TEST(nested_halted)
{
	struct gmem_vm *g = &self->g;
	struct kvm_vcpu *vcpu;
	pthread_t thread;

	if (!can_post_interrupts())
		SKIP(return, "no nested VMX with posted interrupts here");

	vcpu = start_nested_apic(g, HALTED);
	kvm_pthread_create(&thread, NULL, run_to_end, vcpu);
	while (!vcpu_get_stat(vcpu, blocking))
		usleep(1000);
	expect_shared(self, NR_APIC_PAGES);
	punch_apic(g);
	self->punched = true;
	/* The vCPU maps the new pages without ending the halt. */
	while (!vcpu_get_stat(vcpu, blocking))
		usleep(1000);
	if (self->hidden)
		gmem_assert_counts(g->fd, NR_PAGES, NR_APIC_PAGES);
	post_interrupt(g, vcpu);
	kvm_pthread_join(thread, NULL);
}

static bool apic_referenced(void *fd)
{
	struct gmem_info info;

	gmem_read_info(*(int *)fd, &info);
	return info.referenced == NR_APIC_PAGES;
}

SEALED_TEST(nested_running)
{
	struct gmem_vm *g = &self->g;
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	int i;

	if (!can_post_interrupts())
		SKIP(return, "no nested VMX with posted interrupts here");

	gmem_guest_call(g->vcpus[0], guest_poke, at(PAGE_DATA), 1, 0);
	vcpu = start_nested_apic(g, RUNNING);
	kvm_pthread_create(&thread, NULL, run_to_end, vcpu);
	for (i = 0; i < 10; i++) {
		if (self->hidden)
			gmem_wait(apic_referenced, &g->fd);
		punch_apic(g);
	}
	self->punched = true;
	post_interrupt(g, vcpu);
	gmem_guest_call(g->vcpus[0], guest_poke, at(PAGE_DATA), 0, 0);
	kvm_pthread_join(thread, NULL);
	if (self->hidden)
		gmem_assert_counts(g->fd, NR_PAGES, 0);
}

/* Guest: enters the nested guest and returns many times. */
static u64 guest_trips_svm(u64 svm_gva, u64 trips, u64 c)
{
	struct svm_test_data *svm = (void *)svm_gva;
	struct vmcb *vmcb = svm->vmcb;
	u64 i;

	guest_make_tdp(PT_RW | PT_USER, PT_RW | PT_USER | PT_LARGE);
	memset((void *)at(PAGE_MSRPM), 0xff, 2 * GMEM_PAGE);
	generic_svm_setup(svm, l2_trips_svm);
	vmcb->control.intercept |= BIT_ULL(INTERCEPT_MSR_PROT);
	for (i = 0; i < trips; i++) {
		run_guest(vmcb, svm->vmcb_gpa);
		GUEST_ASSERT_EQ(vmcb->control.exit_code, SVM_EXIT_VMMCALL);
		vmcb->save.rip += 3;
	}
	return trips;
}

/*
 * The same on VMX; the MSR bitmap and the virtual-APIC page are in the memory
 * as well.
 */
static u64 guest_trips_vmx(u64 vmx_gva, u64 trips, u64 first)
{
	struct vmx_pages *vmx = (void *)vmx_gva;
	u64 i;

	guest_make_tdp(EPT_RWX, EPT_RWX | EPT_WB | EPT_LARGE);
	memset((void *)at(PAGE_MSRPM), 0xff, GMEM_PAGE);
	GUEST_ASSERT(!first || prepare_for_vmx_operation(vmx));
	GUEST_ASSERT(load_vmcs(vmx));
	prepare_vmcs(vmx, l2_trips_vmx);
	GUEST_ASSERT(!vmwrite(VIRTUAL_APIC_PAGE_ADDR, at(PAGE_VAPIC)));
	GUEST_ASSERT(!vmwrite(CPU_BASED_VM_EXEC_CONTROL,
			      vmreadz(CPU_BASED_VM_EXEC_CONTROL) |
			      CPU_BASED_USE_MSR_BITMAPS | CPU_BASED_TPR_SHADOW));
	for (i = 0; i < trips; i++) {
		GUEST_ASSERT(i ? !vmresume() : !vmlaunch());
		GUEST_ASSERT_EQ(vmreadz(VM_EXIT_REASON), EXIT_REASON_VMCALL);
		GUEST_ASSERT(!vmwrite(GUEST_RIP, vmreadz(GUEST_RIP) + 3));
	}
	return trips;
}

/* A guest cannot make the host flush by running nested guests. */
SEALED_TEST(nested_flushes)
{
	const u64 limit = TRIPS / 100 * sysconf(_SC_NPROCESSORS_ONLN);
	struct gmem_vm *g = &self->g;
	bool vmx = kvm_cpu_has(X86_FEATURE_VMX);
	gmem_guest_fn trips = vmx ? guest_trips_vmx : guest_trips_svm;
	u64 before, hides, n;
	gva_t gva;

	if (!kvm_cpu_has_tdp())
		SKIP(return, "no nested virtualisation with nested paging here");

	gva = vmx ? create_vmx(g->vm) : create_svm(g->vm);
	/* Populate and map the block and the test's own pages first. */
	gmem_guest_call(g->vcpus[0], trips, gva, 1, true);
	hides = gmem_trace_pages(&self->trace, "guest_memfd_hide", NULL, 0);
	before = gmem_flushes();
	TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[0], trips, gva, TRIPS, false), TRIPS);
	n = gmem_flushes() - before;
	hides = gmem_trace_pages(&self->trace, "guest_memfd_hide", NULL, 0) - hides;
	ksft_print_msg("%lu pages hidden and %lu flushes of one CPU for %u nested round trips\n",
		       hides, n, TRIPS);
	TEST_ASSERT(hides < TRIPS / 100, "%lu pages hidden, each with a flush", hides);
	/* At NONE a CPU flushes the addresses that only it has used. */
	TEST_ASSERT(n < limit || variant->level == NONE, "%lu flushes, the limit is %lu", n, limit);
}

int main(int argc, char *argv[])
{
	gmem_require();
	TEST_REQUIRE(!gmem_plain());
	return test_harness_run(argc, argv);
}
