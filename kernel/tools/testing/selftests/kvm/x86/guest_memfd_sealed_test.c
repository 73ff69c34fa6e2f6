// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's own accesses to guest memory that has no user mapping: clocks, steal
 * time and interrupts.
 *
 * Proves that KVM's reads and writes for the guest work at level NONE, where
 * the memslot's user address maps nothing, or other memory that must not
 * change: clocks, steal time, asynchronous page faults and PV EOI.  The
 * contents are right; the host's direct map shows only the pages that have
 * direct-map references at that time, and none in the end.  gmem_sealed.h
 * describes the variants.
 *
 * Catches: an access that still uses the user address (a fault, or the bytes
 * there change), a reference that is leaked or not taken (each test's end,
 * clocks), VMs with private memory that are treated like others
 * (private_memory).
 *
 * Not covered: the emulator (guest_memfd_sealed_emulator_test), nested guests
 * (guest_memfd_sealed_nested_test), guests of Xen and Hyper-V
 * (guest_memfd_sealed_hv_test), SMM.
 */
#include <asm/kvm_para.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "apic.h"
#include "gmem_sealed.h"
#include "ucall_common.h"

#define APF_VECTOR	0xf1
/* A vCPU that shares its CPU is preempted within this time. */
#define PREEMPTED_MS	8000UL

/* Clocks */

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
		expect_shared(self, 1);
	}
	for (i = 0; i < NR_VCPUS; i++)
		write_msr(g, i, MSR_KVM_SYSTEM_TIME_NEW, 0);
	expect_shared(self, 0);
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
	expect_shared(self, variant->level == NONE);
	TEST_ASSERT(s.stolen && s.stolen < TIMEOUT * NSEC_PER_SEC, "%lu ns were stolen", s.stolen);
	TEST_ASSERT((u32)peek(g, PAGE_STEAL, offsetof(struct kvm_steal_time, version)) > first,
		    "the version stands at %lu", first);
	TEST_ASSERT(!(peek(g, PAGE_STEAL, offsetof(struct kvm_steal_time, preempted)) & 0xff),
		    "preempted while it runs");
	write_msr(g, 0, MSR_KVM_STEAL_TIME, 0);
	expect_shared(self, 0);
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
