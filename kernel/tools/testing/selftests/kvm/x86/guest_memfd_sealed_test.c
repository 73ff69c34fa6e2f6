// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's own accesses to guest memory that has no user mapping.
 *
 * Proves that KVM's reads and writes for the guest work at level NONE, where
 * the memslot's user address maps nothing, or other memory that must not
 * change: clocks, steal time, asynchronous page faults, PV EOI, instructions
 * and operands of the emulator, string I/O, locked instructions, the guest's
 * page tables, nested guests with their tables, and the structures of Xen and
 * Hyper-V guests in memory.  The contents are right; the host's direct map
 * shows only the pages that have direct-map references at that time, and none
 * in the end.  In the variant "user" the memory is mapped, at level USER: this
 * checks the tests themselves.
 *
 * Catches: an access that still uses the user address (a fault, or the bytes
 * there change), one that fails when the level changes concurrently (locked),
 * one that is not atomic any more (locked), a reference that is leaked or not
 * taken (each test's end, clocks, nested, xen), pages that KVM populates and
 * that stay visible (absent), VMs with private memory that are treated like
 * others (private_memory), pages of a nested guest's APIC that left the file
 * and stay referenced, or that the nested guest continues to use
 * (nested_paused, nested_memslot, nested_halted, nested_running).
 *
 * Not covered: an enlightened VMCS whose page leaves the file, page tables that
 * are shadowed without nested paging (KVM's npt parameter cannot be changed at
 * run time), SMM.
 */
#include <asm/kvm_para.h>
#include <asm/pvclock-abi.h>
#include <errno.h>
#include <linux/sizes.h>
#include <linux/stringify.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "apic.h"
#include "guest_memfd_hide.h"
#include "hyperv.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "svm_util.h"
#include "test_util.h"
#include "ucall_common.h"
#include "vmx.h"

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

/* No memory is at this guest address. */
#define MMIO_GPA	0xc0000000UL
#define PORT		0x2040
/* Bits of page table entries of any level. */
#define PT_RW		(BIT_ULL(0) | BIT_ULL(1))
#define PT_USER		BIT_ULL(2)
#define PT_ACCESSED	BIT_ULL(5)
#define PT_DIRTY	BIT_ULL(6)
#define PT_LARGE	BIT_ULL(7)

/* The same bits of EPT entries. */
#define EPT_RWX		(BIT_ULL(0) | BIT_ULL(1) | BIT_ULL(2))
#define EPT_WB		(6ULL << 3)
#define EPT_LARGE	BIT_ULL(7)
#define EPT_ACCESSED	BIT_ULL(8)
#define EPT_DIRTY	BIT_ULL(9)

#define EOI_VECTOR	0xf0
#define APF_VECTOR	0xf1
#define STEPS		1000
#define TRIPS		1000U
/* A vCPU that shares its CPU is preempted within this time. */
#define PREEMPTED_MS	8000UL

static u64 at(int page)
{
	return GMEM_GPA + page * GMEM_PAGE;
}

/*
 * The device behind MMIO_GPA and PORT, from which the last bytes written are
 * read again.
 */
struct device {
	u8 bytes[GMEM_PAGE];
	u64 reads;
	u64 writes;
};

FIXTURE(sealed) {
	int kmsg;
	struct gmem_vm g;
	struct gmem_trace trace;
	struct device device;
	u64 seed;
	u64 *pfns;
	/* The memslot's user address, mapped or not. */
	char *address;
	char *decoy;
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
#define is_hidden() (variant->flags & GUEST_MEMFD_FLAG_NO_DIRECT_MAP)

/* The instructions that run in guest memory, with the System V ABI. */
asm(".pushsection .rodata\n"
	"insns:\n"
	"insn_cmpxchg1: mov %rsi, %rax; " KVM_FEP "lock cmpxchgb %dl, (%rdi); ret\n"
	"insn_cmpxchg2: mov %rsi, %rax; " KVM_FEP "lock cmpxchgw %dx, (%rdi); ret\n"
	"insn_cmpxchg4: mov %rsi, %rax; " KVM_FEP "lock cmpxchgl %edx, (%rdi); ret\n"
	"insn_cmpxchg8: mov %rsi, %rax; " KVM_FEP "lock cmpxchgq %rdx, (%rdi); ret\n"
	"insn_store: movq %rsi, (%rdi); ret\n"
	"insn_load: movq (%rdi), %rax; ret\n"
	"insn_move: mov %rdx, %rcx; rep movsb; ret\n"
	"insn_move_fep: mov %rdx, %rcx; " KVM_FEP "rep movsb; ret\n"
	"insn_out: mov %rdx, %rcx; mov $" __stringify(PORT) ", %dx; rep outsb; ret\n"
	"insn_in: mov %rdx, %rcx; mov $" __stringify(PORT) ", %dx; rep insb; ret\n"
	"insns_end:\n"
	".popsection\n");

extern const char insns[], insn_cmpxchg1[], insn_cmpxchg2[], insn_cmpxchg4[], insn_cmpxchg8[],
	insn_store[], insn_load[], insn_move[], insn_move_fep[], insn_out[], insn_in[],
	insns_end[];

typedef u64 (*insn_fn)(u64 a, u64 b, u64 c);

#define guest_insn(name) ((insn_fn)(at(PAGE_CODE) + ((name) - insns)))

static u64 guest_copy_insns(u64 a, u64 b, u64 c)
{
	memcpy((void *)at(PAGE_CODE), insns, insns_end - insns);
	return 0;
}

/* Guest: calls the instructions at an offset in the page with code. */
static u64 insn_args[3];

static u64 guest_call_insn(u64 offset, u64 b, u64 c)
{
	return ((insn_fn)(at(PAGE_CODE) + offset))(insn_args[0], insn_args[1], insn_args[2]);
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

static u64 guest_clear(u64 gva, u64 size, u64 c)
{
	memset((void *)gva, 0, size);
	return 0;
}

static u64 guest_wrmsr(u64 msr, u64 value, u64 c)
{
	return wrmsr_safe(msr, value);
}

static u64 peek(struct gmem_vm *g, int page, unsigned int offset)
{
	return gmem_guest_call(g->vcpus[0], guest_peek, at(page) + offset, 0, 0);
}

static void write_msr(struct gmem_vm *g, int vcpu, u32 msr, u64 value)
{
	u64 vector = gmem_guest_call(g->vcpus[vcpu], guest_wrmsr, msr, value, 0);

	TEST_ASSERT(!vector, "vCPU %d: MSR 0x%x = 0x%lx faults with %lu", vcpu, msr, value,
		    vector);
}

/* Only the pages that have direct-map references now are in the direct map. */
static void assert_shared(struct gmem_vm *g, const u64 *pfns, u64 shared)
{
	gmem_assert_counts(g->fd, NR_PAGES, shared);
	TEST_ASSERT_EQ(gmem_count_absent(pfns, NR_PAGES), NR_PAGES - shared);
}

#define expect_shared(n)						\
do {									\
	if (is_hidden())						\
		assert_shared(&self->g, self->pfns, n);			\
} while (0)

/* Returns the frames of the file, which is mapped and at USER meanwhile. */
static u64 *frames(struct gmem_vm *g, u32 level)
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

	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	gmem_trace_start(&self->trace);
	gmem_vm_create(g, NR_VCPUS, SIZE, variant->flags);
	virt_map(g->vm, MMIO_GPA, MMIO_GPA, 1);
	gmem_guest_call(g->vcpus[0], gmem_guest_fill, GMEM_GVA, SIZE, self->seed);
	gmem_guest_call(g->vcpus[0], guest_copy_insns, 0, 0, 0);
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
	expect_shared(0);
	if (is_hidden())
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
	if (is_hidden())
		gmem_assert_given_back(self->pfns, NR_PAGES, self->seed);
	free(self->pfns);
	gmem_assert_nothing_left(&self->kmsg);
}

/* Clocks */

static u64 guest_clock(u64 gva, u64 b, u64 c)
{
	struct pvclock_vcpu_time_info *pvti = (void *)gva;
	u32 version = READ_ONCE(pvti->version);

	__GUEST_ASSERT(version && !(version & 1), "version of the clock: %u", version);
	__GUEST_ASSERT(READ_ONCE(pvti->tsc_to_system_mul), "no scale");
	__GUEST_ASSERT(rdtsc() >= READ_ONCE(pvti->tsc_timestamp), "a clock of the future");
	return READ_ONCE(pvti->system_time);
}

SEALED_TEST(clocks)
{
	struct gmem_vm *g = &self->g;
	u64 gva, before;
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		gva = at(PAGE_CLOCKS) + i * 64;
		gmem_guest_call(g->vcpus[i], guest_poke, gva, 0, 0);
		write_msr(g, i, MSR_KVM_SYSTEM_TIME_NEW, gva | KVM_MSR_ENABLED);
		before = gmem_guest_call(g->vcpus[i], guest_clock, gva, 0, 0);
		/* Make KVM write it again. */
		vcpu_ioctl(g->vcpus[i], KVM_KVMCLOCK_CTRL, NULL);
		TEST_ASSERT(gmem_guest_call(g->vcpus[i], guest_clock, gva, 0, 0) >= before,
			    "the clock of vCPU %d goes back", i);
		expect_shared(1);
	}
	for (i = 0; i < NR_VCPUS; i++)
		write_msr(g, i, MSR_KVM_SYSTEM_TIME_NEW, 0);
	expect_shared(0);
}

SEALED_TEST(wall_clock)
{
	struct gmem_vm *g = &self->g;
	u64 seconds;

	gmem_guest_call(g->vcpus[0], guest_poke, at(PAGE_WALL), 6, 0);
	write_msr(g, 0, MSR_KVM_WALL_CLOCK_NEW, at(PAGE_WALL));
	TEST_ASSERT_EQ((u32)peek(g, PAGE_WALL, 0), 8);
	/* The time at which this VM's clock started. */
	seconds = (u32)(peek(g, PAGE_WALL, 0) >> 32);
	TEST_ASSERT(seconds <= (u64)time(NULL) && seconds + TIMEOUT > (u64)time(NULL),
		    "the wall clock shows %lu, it is %lu", seconds, (u64)time(NULL));
	TEST_ASSERT((u32)peek(g, PAGE_WALL, 8) < NSEC_PER_SEC, "nanoseconds");
	/* Across a page boundary. */
	write_msr(g, 0, MSR_KVM_WALL_CLOCK_NEW, at(PAGE_WALL + 1) - 8);
	TEST_ASSERT_EQ((u32)(peek(g, PAGE_WALL, GMEM_PAGE - 8) >> 32), seconds);
	TEST_ASSERT((u32)peek(g, PAGE_WALL + 1, 0) < NSEC_PER_SEC, "nanoseconds in the next page");
}

/* Steal time */

static bool stop;

static void *burn(void *unused)
{
	while (!READ_ONCE(stop))
		barrier();
	return NULL;
}

/*
 * Guest: spins without PAUSE, because a loop of PAUSE causes exits on Intel.
 * After such an exit KVM yields to another vCPU of the VM, and does not mark
 * this one preempted, because the exit was not at an instruction boundary.
 * With one host CPU nearly every switch to the other vCPU would be of that
 * kind.
 */
static u64 guest_spin(u64 gva, u64 b, u64 c)
{
	while (READ_ONCE(*(u64 *)gva))
		barrier();
	return 0;
}

/* Guest: waits until another vCPU is marked preempted, or the time is over. */
static u64 guest_wait_preempted(u64 gva, u64 cycles, u64 flag_gva)
{
	struct kvm_steal_time *st = (void *)gva;
	u64 end = rdtsc() + cycles;
	bool seen;

	do
		seen = READ_ONCE(st->preempted) & KVM_VCPU_PREEMPTED;
	while (!seen && rdtsc() < end);
	WRITE_ONCE(*(u64 *)flag_gva, 0);
	return seen;
}

/* The stolen time of one run: KVM counts it per thread. */
struct spinner {
	struct gmem_vm *g;
	bool ready;
	u64 stolen;
};

static void *run_spin(void *arg)
{
	const unsigned int steal = offsetof(struct kvm_steal_time, steal);
	struct spinner *s = arg;

	s->stolen = peek(s->g, PAGE_STEAL, steal);
	WRITE_ONCE(s->ready, true);
	gmem_guest_call(s->g->vcpus[0], guest_spin, at(PAGE_DATA), 0, 0);
	s->stolen = peek(s->g, PAGE_STEAL, steal) - s->stolen;
	return NULL;
}

static void pin_thread(pthread_t thread, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	TEST_ASSERT(!pthread_setaffinity_np(thread, sizeof(set), &set), "cannot pin a thread");
}

SEALED_TEST(steal_time)
{
	struct gmem_vm *g = &self->g;
	struct spinner s = { .g = g };
	/* With two CPUs the other vCPU can watch while this one waits. */
	int cpu = sysconf(_SC_NPROCESSORS_ONLN) > 1;
	pthread_t spinner, burner;
	u64 seen, first;

	gmem_guest_call(g->vcpus[0], guest_clear, at(PAGE_STEAL), sizeof(struct kvm_steal_time), 0);
	/* Leave an odd version there, as an earlier use of the page could. */
	gmem_guest_call(g->vcpus[0], guest_poke,
			at(PAGE_STEAL) + offsetof(struct kvm_steal_time, version), 5, 0);
	write_msr(g, 0, MSR_KVM_STEAL_TIME, at(PAGE_STEAL) | KVM_MSR_ENABLED);
	first = (u32)peek(g, PAGE_STEAL, offsetof(struct kvm_steal_time, version));
	TEST_ASSERT(first > 5 && !(first & 1), "version %lu", first);

	/*
	 * Two threads share one CPU: the vCPU loses time, and the other vCPU
	 * sees that.
	 */
	gmem_guest_call(g->vcpus[0], guest_poke, at(PAGE_DATA), 1, 0);
	WRITE_ONCE(stop, false);
	pthread_create(&spinner, NULL, run_spin, &s);
	while (!READ_ONCE(s.ready))
		sched_yield();
	pthread_create(&burner, NULL, burn, NULL);
	pin_thread(burner, cpu);
	pin_thread(spinner, cpu);
	seen = gmem_guest_call(g->vcpus[1], guest_wait_preempted, at(PAGE_STEAL),
			       PREEMPTED_MS * __vcpu_ioctl(g->vcpus[1], KVM_GET_TSC_KHZ, NULL),
			       at(PAGE_DATA));
	WRITE_ONCE(stop, true);
	pthread_join(burner, NULL);
	pthread_join(spinner, NULL);
	TEST_ASSERT(seen, "the guest never saw that the vCPU was preempted");
	/*
	 * At NONE KVM writes by reference, and elsewhere by the user address.
	 */
	expect_shared(variant->level == NONE);
	TEST_ASSERT(s.stolen && s.stolen < TIMEOUT * NSEC_PER_SEC, "%lu ns were stolen", s.stolen);
	TEST_ASSERT((u32)peek(g, PAGE_STEAL, offsetof(struct kvm_steal_time, version)) > first,
		    "the version stands at %lu", first);
	TEST_ASSERT(!(peek(g, PAGE_STEAL, offsetof(struct kvm_steal_time, preempted)) & 0xff),
		    "preempted while it runs");
	write_msr(g, 0, MSR_KVM_STEAL_TIME, 0);
	expect_shared(0);
}

/* Interrupts */

static volatile u64 nr_irqs, nr_pv_eoi, apf_token;

static void eoi_handler(struct ex_regs *regs)
{
	bool done;

	/*
	 * This is the whole EOI where KVM allows it; KVM revokes that at each
	 * exit.
	 */
	asm volatile("btrl $0, %0" : "+m"(*(u32 *)at(PAGE_EOI)), "=@ccc"(done));
	if (done)
		nr_pv_eoi++;
	else
		x2apic_write_reg(APIC_EOI, 0);
	nr_irqs++;
}

static u64 guest_pv_eoi(u64 times, u64 b, u64 c)
{
	u64 i;

	x2apic_enable();
	WRITE_ONCE(*(u32 *)at(PAGE_EOI), 0);
	nr_irqs = 0;
	nr_pv_eoi = 0;
	GUEST_ASSERT(!wrmsr_safe(MSR_KVM_PV_EOI_EN, at(PAGE_EOI) | KVM_MSR_ENABLED));
	sti();
	for (i = 1; i <= times; i++) {
		x2apic_write_reg(APIC_ICR, APIC_DEST_SELF | APIC_INT_ASSERT | EOI_VECTOR);
		while (nr_irqs < i)
			cpu_relax();
	}
	cli();
	GUEST_ASSERT(!wrmsr_safe(MSR_KVM_PV_EOI_EN, 0));
	return nr_pv_eoi;
}

SEALED_TEST(pv_eoi)
{
	struct gmem_vm *g = &self->g;
	u64 without_exit;

	vm_install_exception_handler(g->vm, EOI_VECTOR, eoi_handler);
	without_exit = gmem_guest_call(g->vcpus[0], guest_pv_eoi, 100, 0, 0);
	/* With APICv an EOI never exits, so KVM does not use the page. */
	if (host_cpu_is_intel && get_kvm_intel_param_bool("enable_apicv"))
		TEST_ASSERT_EQ(without_exit, 0);
	else	/* A timer of the host may interrupt some of them. */
		TEST_ASSERT(without_exit > 50, "%lu of 100", without_exit);
}

static void apf_handler(struct ex_regs *regs)
{
	apf_token = READ_ONCE(*(u32 *)(at(PAGE_APF) + 4));
	nr_irqs++;
	x2apic_write_reg(APIC_EOI, 0);
}

static u64 guest_async_pf(u64 times, u64 b, u64 c)
{
	u64 i, flags = KVM_ASYNC_PF_ENABLED | KVM_ASYNC_PF_DELIVERY_AS_INT;

	x2apic_enable();
	nr_irqs = 0;
	GUEST_ASSERT(!wrmsr_safe(MSR_KVM_ASYNC_PF_INT, APF_VECTOR));
	for (i = 1; i <= times; i++) {
		WRITE_ONCE(*(u64 *)at(PAGE_APF), 0);
		apf_token = 0;
		sti();
		/* This wakes all waiters, by a token that means all. */
		GUEST_ASSERT(!wrmsr_safe(MSR_KVM_ASYNC_PF_EN, at(PAGE_APF) | flags));
		while (nr_irqs < i)
			cpu_relax();
		cli();
		GUEST_ASSERT_EQ(apf_token, 0xffffffff);
		WRITE_ONCE(*(u64 *)at(PAGE_APF), 0);
		GUEST_ASSERT(!wrmsr_safe(MSR_KVM_ASYNC_PF_ACK, 1));
		GUEST_ASSERT(!wrmsr_safe(MSR_KVM_ASYNC_PF_EN, 0));
	}
	return nr_irqs;
}

SEALED_TEST(async_pf)
{
	struct gmem_vm *g = &self->g;

	vm_install_exception_handler(g->vm, APF_VECTOR, apf_handler);
	TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[0], guest_async_pf, 5, 0, 0), 5);
}

/* The emulator */

static void answer_mmio(struct kvm_run *run, struct device *d)
{
	u64 byte = run->mmio.phys_addr - MMIO_GPA;

	TEST_ASSERT(byte + run->mmio.len <= sizeof(d->bytes), "MMIO at 0x%llx",
		    run->mmio.phys_addr);
	if (run->mmio.is_write) {
		memcpy(d->bytes + byte, run->mmio.data, run->mmio.len);
		d->writes += run->mmio.len;
	} else {
		memcpy(run->mmio.data, d->bytes + byte, run->mmio.len);
		d->reads += run->mmio.len;
	}
}

static void answer_io(struct kvm_run *run, struct device *d)
{
	char *data = (char *)run + run->io.data_offset;
	u64 *done = run->io.direction == KVM_EXIT_IO_OUT ? &d->writes : &d->reads;
	size_t n = run->io.size * run->io.count;

	TEST_ASSERT(*done + n <= sizeof(d->bytes), "too many bytes");
	if (run->io.direction == KVM_EXIT_IO_OUT)
		memcpy(d->bytes + *done, data, n);
	else
		memcpy(data, d->bytes + *done, n);
	*done += n;
}

/*
 * Run until the guest has completed the posted call, and emulate its device
 * meanwhile.
 */
static u64 run_with_device(struct kvm_vcpu *vcpu, struct device *d)
{
	struct kvm_run *run = vcpu->run;

	for (;;) {
		vcpu_run(vcpu);
		if (run->exit_reason == KVM_EXIT_MMIO)
			answer_mmio(run, d);
		else if (run->exit_reason == KVM_EXIT_IO && run->io.port == PORT)
			answer_io(run, d);
		else if (run->exit_reason != KVM_EXIT_HYPERV)
			break;
	}
	return gmem_guest_result(vcpu);
}

static u64 call_with_device(struct kvm_vcpu *vcpu, struct device *d, const char *insn, u64 a,
			    u64 b, u64 c)
{
	insn_args[0] = a;
	insn_args[1] = b;
	insn_args[2] = c;
	sync_global_to_guest(vcpu->vm, insn_args);
	gmem_guest_post(vcpu, guest_call_insn, insn - insns, 0, 0);
	return run_with_device(vcpu, d);
}

/* Instructions in guest memory whose operand is a device. */
SEALED_TEST(mmio)
{
	struct kvm_vcpu *vcpu = self->g.vcpus[0];
	struct device *d = &self->device;
	u64 *words = (u64 *)d->bytes;
	unsigned int i;

	call_with_device(vcpu, d, insn_store, MMIO_GPA + 8, 0x1122334455667788, 0);
	TEST_ASSERT_EQ(words[1], 0x1122334455667788);
	words[2] = 0x8877665544332211;
	TEST_ASSERT_EQ(call_with_device(vcpu, d, insn_load, MMIO_GPA + 16, 0, 0), words[2]);
	TEST_ASSERT_EQ(d->writes, 8);
	TEST_ASSERT_EQ(d->reads, 8);

	/* Move from the device into memory across a page boundary, and back. */
	for (i = 0; i < 32; i++)
		words[i] = gmem_word(~self->seed, i);
	call_with_device(vcpu, d, insn_move, at(PAGE_STRING) - 128, MMIO_GPA, 256);
	for (i = 0; i < 16; i++) {
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING - 1, GMEM_PAGE - 128 + i * 8), words[i]);
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING, i * 8), words[16 + i]);
	}
	call_with_device(vcpu, d, insn_move, MMIO_GPA + 1024, at(PAGE_STRING) - 128, 256);
	TEST_ASSERT(!memcmp(d->bytes, d->bytes + 1024, 256), "not what was in memory");
}

SEALED_TEST(string_io)
{
	const size_t len = 3000;
	struct kvm_vcpu *vcpu = self->g.vcpus[0];
	struct device *d = &self->device;
	unsigned int i;

	call_with_device(vcpu, d, insn_out, 0, at(PAGE_STRING), len);
	TEST_ASSERT_EQ(d->writes, len);
	for (i = 0; i < len / 8; i++)
		TEST_ASSERT_EQ(((u64 *)d->bytes)[i], gmem_word(self->seed, i));

	/* Read into two pages. */
	for (i = 0; i < len / 8; i++)
		((u64 *)d->bytes)[i] = gmem_word(~self->seed, i);
	call_with_device(vcpu, d, insn_in, at(PAGE_STRING) - 1024, 0, len);
	TEST_ASSERT_EQ(d->reads, len);
	for (i = 0; i < 128; i++)
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING - 1, GMEM_PAGE - 1024 + i * 8),
			       gmem_word(~self->seed, i));
	for (i = 0; i < 128; i++)
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING, i * 8),
			       gmem_word(~self->seed, 128 + i));
}

static void check_cmpxchg(struct gmem_vm *g, const char *insn, unsigned int size)
{
	const u64 mask = size == 8 ? ~0UL : (1UL << size * 8) - 1;
	const u64 old = 0x1213141516171819, new = 0x2223242526272829;
	const u64 gva = at(PAGE_DATA) + 64;
	struct device d = {};
	u64 got;

	gmem_guest_call(g->vcpus[0], guest_poke, gva, old, 0);
	got = call_with_device(g->vcpus[0], &d, insn, gva, old, new);
	TEST_ASSERT_EQ(got, old);
	TEST_ASSERT_EQ(peek(g, PAGE_DATA, 64), (old & ~mask) | (new & mask));
	/* The memory now contains another value. */
	got = call_with_device(g->vcpus[0], &d, insn, gva, old, ~new);
	TEST_ASSERT_EQ(got & mask, new & mask);
	TEST_ASSERT_EQ(peek(g, PAGE_DATA, 64), (old & ~mask) | (new & mask));
}

SEALED_TEST(cmpxchg)
{
	unsigned int was = gmem_set_forced_emulation(1), i;
	struct device d = {};

	check_cmpxchg(&self->g, insn_cmpxchg1, 1);
	check_cmpxchg(&self->g, insn_cmpxchg2, 2);
	check_cmpxchg(&self->g, insn_cmpxchg4, 4);
	check_cmpxchg(&self->g, insn_cmpxchg8, 8);

	/* The operands of this emulated instruction are not a device. */
	call_with_device(self->g.vcpus[0], &d, insn_move_fep, at(PAGE_STRING) - 128,
			 at(PAGE_HOLE), 256);
	for (i = 0; i < 16; i++) {
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING - 1, GMEM_PAGE - 128 + i * 8),
			       gmem_word(self->seed, i));
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING, i * 8),
			       gmem_word(self->seed, 16 + i));
	}
	gmem_set_forced_emulation(was);
}

/* Guest: adds to a shared number, by emulated and by real instructions. */
static u64 guest_add(u64 gva, u64 times, u64 emulated)
{
	insn_fn cmpxchg8 = guest_insn(insn_cmpxchg8);
	u64 i, old;

	for (i = 0; i < times; i++) {
		if (!emulated) {
			__sync_fetch_and_add((u64 *)gva, 1);
			continue;
		}
		do
			old = READ_ONCE(*(u64 *)gva);
		while (cmpxchg8(gva, old, old + 1) != old);
	}
	return 0;
}

/* As many changes as fit into the trace buffer. */
#define MAX_CHANGES	600

struct adder {
	struct kvm_vcpu *vcpu;
	bool emulated;
	bool done;
};

static void *run_adder(void *arg)
{
	struct adder *a = arg;

	gmem_guest_call(a->vcpu, guest_add, at(PAGE_DATA), STEPS, a->emulated);
	WRITE_ONCE(a->done, true);
	return NULL;
}

/*
 * Locked instructions are atomic, also while the level changes in the mapped
 * variant.
 */
SEALED_TEST(locked)
{
	static const u32 levels[] = { NONE, USER, KERNEL, USER, NONE, KERNEL };
	unsigned int was = gmem_set_forced_emulation(1), changes = 0, i;
	struct gmem_vm *g = &self->g;
	struct adder adders[3];
	pthread_t threads[3];

	gmem_guest_call(g->vcpus[0], guest_poke, at(PAGE_DATA), 0, 0);
	for (i = 0; i < ARRAY_SIZE(adders); i++) {
		adders[i] = (struct adder) { .vcpu = g->vcpus[i], .emulated = i < 2 };
		pthread_create(&threads[i], NULL, run_adder, &adders[i]);
	}
	while (variant->level == USER && changes < MAX_CHANGES &&
	       !(READ_ONCE(adders[0].done) && READ_ONCE(adders[1].done))) {
		/* A concurrent access may hold a reference to a page; retry. */
		if (!__gmem_set_access(g->fd, 0, SIZE, levels[changes % ARRAY_SIZE(levels)], NULL))
			changes++;
		else
			TEST_ASSERT(errno == EAGAIN, "errno %d", errno);
	}
	for (i = 0; i < ARRAY_SIZE(adders); i++)
		pthread_join(threads[i], NULL);
	gmem_set_forced_emulation(was);
	if (variant->level == USER) {
		ksft_print_msg("%u changes of the level\n", changes);
		gmem_set_access(g->fd, 0, SIZE, USER);
	}
	TEST_ASSERT_EQ(peek(g, PAGE_DATA, 0), 3 * STEPS);
}

/* Page tables */

static u64 root_gva, nr_levels;

/*
 * Guest: builds page tables in the memory, and makes one access that only KVM
 * translates.
 */
static u64 guest_walk(u64 data_gpa, u64 b, u64 c)
{
	u64 *tables = (u64 *)at(PAGE_TABLES), cr3 = get_cr3(), gva, got, i;
	unsigned int slot = 5;

	/*
	 * Copy the current root and add one entry; below it build a chain of
	 * tables.
	 */
	memcpy(tables, (void *)root_gva, GMEM_PAGE);
	for (i = 1; i < nr_levels; i++) {
		memset(tables + i * 512, 0, GMEM_PAGE);
		tables[(i - 1) * 512 + (i == 1 ? slot : 0)] =
			(at(PAGE_TABLES) + i * GMEM_PAGE) | PT_RW;
	}
	tables[(i - 1) * 512] = data_gpa | PT_RW;
	gva = (u64)slot << (PAGE_SHIFT + 9 * (nr_levels - 1));

	WRITE_ONCE(*(u64 *)data_gpa, 41);
	set_cr3(at(PAGE_TABLES));
	got = guest_insn(insn_cmpxchg8)(gva, 41, 42);
	set_cr3(cr3);
	GUEST_ASSERT_EQ(got, 41);
	GUEST_ASSERT_EQ(READ_ONCE(*(u64 *)data_gpa), 42);
	for (i = 1; i < nr_levels; i++)
		GUEST_ASSERT(tables[(i - 1) * 512 + (i == 1 ? slot : 0)] & PT_ACCESSED);
	GUEST_ASSERT_EQ(tables[(i - 1) * 512], data_gpa | PT_RW | PT_ACCESSED | PT_DIRTY);
	return 0;
}

/* KVM's walker reads the tables, and sets accessed and dirty bits in them. */
SEALED_TEST(walker)
{
	unsigned int was = gmem_set_forced_emulation(1);
	struct gmem_vm *g = &self->g;
	struct kvm_vm *vm = g->vm;

	nr_levels = vm->mmu.pgtable_levels;
	root_gva = vm_alloc_page(vm);
	memcpy(addr_gva2hva(vm, root_gva), addr_gpa2hva(vm, vm->mmu.pgd), GMEM_PAGE);
	sync_global_to_guest(vm, nr_levels);
	sync_global_to_guest(vm, root_gva);
	gmem_guest_call(g->vcpus[0], guest_walk, at(PAGE_DATA), 0, 0);
	gmem_set_forced_emulation(was);
}

/* Nested guests */

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
	expect_shared(0);
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
	ms = gmem_wait(none_left, &g->fd, GMEM_REFERENCE_MS);
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
	expect_shared(NR_APIC_PAGES);
	punch_apic(g);
	self->punched = true;
	if (is_hidden())
		gmem_assert_counts(g->fd, NR_PAGES - NR_APIC_PAGES, 0);
	post_interrupt(g, vcpu);
	finish_nested_apic(vcpu);
	if (is_hidden())
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
	expect_shared(NR_APIC_PAGES);
	gmem_vm_unbind(g);
	ms = gmem_wait(none_referenced, &g->fd, GMEM_REFERENCE_MS);
	ksft_print_msg("the references ended within %lu ms\n", ms);
	expect_shared(0);
	gmem_vm_bind(g, self->address);
	post_interrupt(g, vcpu);
	finish_nested_apic(vcpu);
	expect_shared(0);
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
	expect_shared(NR_APIC_PAGES);
	punch_apic(g);
	self->punched = true;
	/* The vCPU maps the new pages without ending the halt. */
	while (!vcpu_get_stat(vcpu, blocking))
		usleep(1000);
	if (is_hidden())
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
		if (is_hidden())
			gmem_wait(apic_referenced, &g->fd, 10 * GMEM_REFERENCE_MS);
		punch_apic(g);
	}
	self->punched = true;
	post_interrupt(g, vcpu);
	gmem_guest_call(g->vcpus[0], guest_poke, at(PAGE_DATA), 0, 0);
	kvm_pthread_join(thread, NULL);
	if (is_hidden())
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

/* Other hypervisors' guests */

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
	expect_shared(1);
	set_xen_vcpu(g, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, at(PAGE_VCPU_INFO));
	TEST_ASSERT((u32)peek(g, PAGE_VCPU_INFO, XEN_VCPU_TIME), "no time in the vCPU info");
	set_xen_vcpu(g, KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR, at(PAGE_RUNSTATE));
	/* The time of the last change, and how long the vCPU ran. */
	TEST_ASSERT(peek(g, PAGE_RUNSTATE, 8) && peek(g, PAGE_RUNSTATE, 16), "no run state");
	expect_shared(3);

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
	expect_shared(0);
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
		expect_shared(0);
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
	expect_shared(2);

	set_xen_vcpu(g, info, 0);
	attr.u.shared_info.hva = 0;
	vm_ioctl(g->vm, KVM_XEN_HVM_SET_ATTR, &attr);
	expect_shared(0);
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

/* Writing some of these MSRs exits to the VMM. */
static void write_hv_msr(struct kvm_vcpu *vcpu, u32 msr, u64 value)
{
	u64 vector;

	gmem_guest_post(vcpu, guest_wrmsr, msr, value, 0);
	vector = run_with_device(vcpu, NULL);
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
	TEST_ASSERT_EQ(run_with_device(vcpu, &self->device), HV_TIMER_MSG);
	expect_shared(0);

	write_hv_msr(vcpu, HV_X64_MSR_STIMER0_CONFIG, 0);
	write_hv_msr(vcpu, HV_X64_MSR_SIMP, 0);
	write_hv_msr(vcpu, HV_X64_MSR_SIEFP, 0);
	write_hv_msr(vcpu, HV_X64_MSR_VP_ASSIST_PAGE, 0);
	write_hv_msr(vcpu, HV_X64_MSR_REFERENCE_TSC, 0);
	write_hv_msr(vcpu, HV_X64_MSR_HYPERCALL, 0);
}

/* A page that KVM populates is clean and hidden. */
SEALED_TEST(absent)
{
	struct gmem_vm *g = &self->g;

	self->punched = true;
	gmem_punch(g->fd, PAGE_HOLE * GMEM_PAGE, GMEM_PAGE);
	write_msr(g, 0, MSR_KVM_WALL_CLOCK_NEW, at(PAGE_HOLE));
	if (is_hidden())
		gmem_assert_counts(g->fd, NR_PAGES, 0);
	TEST_ASSERT_EQ((u32)peek(g, PAGE_HOLE, 0), 2);
	TEST_ASSERT((u32)(peek(g, PAGE_HOLE, 0) >> 32), "no time");
	gmem_guest_call(g->vcpus[0], gmem_guest_check_zero, at(PAGE_HOLE) + 16, GMEM_PAGE - 16, 0);

	/* KVM populates the page by a cache, and by a read. */
	gmem_punch(g->fd, PAGE_HOLE * GMEM_PAGE, GMEM_PAGE);
	write_msr(g, 0, MSR_KVM_SYSTEM_TIME_NEW, at(PAGE_HOLE) | KVM_MSR_ENABLED);
	gmem_guest_call(g->vcpus[0], guest_clock, at(PAGE_HOLE), 0, 0);
	write_msr(g, 0, MSR_KVM_SYSTEM_TIME_NEW, 0);
	gmem_punch(g->fd, PAGE_HOLE * GMEM_PAGE, GMEM_PAGE);
	call_with_device(g->vcpus[0], &self->device, insn_out, 0, at(PAGE_HOLE), 64);
	TEST_ASSERT_EQ(self->device.writes, 64);
	TEST_ASSERT_EQ(*(u64 *)self->device.bytes, 0);
	if (is_hidden())
		gmem_assert_counts(g->fd, NR_PAGES, 0);
}

/*
 * In a VM whose memory may be private by hardware, KVM does not access plain
 * files through the file, and user space cannot raise their level.  For hidden
 * files the levels alone decide.
 */
TEST(private_memory)
{
	struct kvm_xen_hvm_config config = {
		.flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL, .msr = 0x40000000,
	};
	struct kvm_xen_hvm_attr attr = {
		.type = KVM_XEN_ATTR_TYPE_SHARED_INFO, .u.shared_info.gfn = GMEM_GPA / GMEM_PAGE,
	};
	static const u64 flags[] = { GUEST_MEMFD_FLAG_MMAP, HIDDEN };
	unsigned int level, i;
	struct kvm_vm *vm;
	bool hidden;
	int fd, r;

	if (!(kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM)))
		SKIP(return, "no VMs with private memory");
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		hidden = flags[i] & GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
		vm = vm_create_barebones_type(KVM_X86_SW_PROTECTED_VM);
		fd = vm_create_guest_memfd(vm, SIZE, flags[i]);
		vm_set_user_memory_region2(vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA, SIZE,
					   NULL, fd, 0);
		for (level = USER; level <= KERNEL; level++) {
			r = __gmem_set_access(fd, 0, SIZE, level, NULL);
			TEST_ASSERT(hidden ? !r : r && errno == EOPNOTSUPP,
				    "file %u, level %u: %d, errno %d", i, level, r, errno);
		}
		gmem_set_access(fd, 0, SIZE, NONE);
		vm_ioctl(vm, KVM_XEN_HVM_CONFIG, &config);
		r = __vm_ioctl(vm, KVM_XEN_HVM_SET_ATTR, &attr);
		TEST_ASSERT(hidden ? !r : r && errno == EFAULT, "file %u: %d, errno %d", i, r,
			    errno);
		kvm_vm_free(vm);
		kvm_close(fd);
	}
}

int main(int argc, char *argv[])
{
	gmem_require();
	TEST_REQUIRE(!gmem_plain());
	return test_harness_run(argc, argv);
}
