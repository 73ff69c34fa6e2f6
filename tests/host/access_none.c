// SPDX-License-Identifier: GPL-2.0-only
/*
 * access_none STEP...: runs on the host. Makes KVM access guest memory at level
 * NONE, with one kind of access for each STEP, without running the guest. The
 * first access of each step must fail, because tests/host/machine-check injects
 * a machine check into it. Then the program repeats all steps with the same
 * pages, the same vCPU and the same CPUs of the host, and each step must
 * succeed.
 *
 *   load64, cmpxchg64   KVM_TRANSLATE walks page tables with entries of 8 bytes
 *                       and sets their accessed bits
 *   load32, cmpxchg32   KVM_TRANSLATE does so with entries of 4 bytes
 *   store32             KVM_SET_MSRS writes the 4 bytes of Hyper-V's hypercall page
 *   words, bytes        KVM_SET_MSRS writes 9 bytes if Xen's hypercalls are on
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "guestmem.h"

#define PAGE		4096UL
#define PAGES		16UL
#define MSR_HV_GUEST_OS	0x40000000
#define MSR_HV_HYPERCALL 0x40000001
#define MSR_XEN		0x40000200	/* KVM_XEN_HVM_CONFIG turns Xen on by naming this MSR */
#define PTE		(1 | 2)		/* present, writable */

/* The numbers of the pages in guest memory. */
enum { PML4 = 1, PDPT, PD, PT, PD32, PT32, HYPERCALL, DATA };

static int vm, vcpu;

static void set_mode(unsigned long cr3, bool wide)
{
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		err(1, "KVM_GET_SREGS");
	sregs.cr0 = 0x80000011;			/* PG, ET, PE */
	sregs.cr4 = wide ? 1 << 5 : 0;		/* PAE */
	sregs.efer = wide ? 1 << 8 | 1 << 10 : 0;	/* LME, LMA */
	sregs.cs.l = wide;
	sregs.cs.db = !wide;
	sregs.cr3 = cr3;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs))
		err(1, "KVM_SET_SREGS");
}

/*
 * Writes page tables that map the guest's address 0 to the page DATA in both
 * modes.
 */
static void write_tables(uint8_t *mem)
{
	*(uint64_t *)(mem + PML4 * PAGE) = PDPT * PAGE | PTE;
	*(uint64_t *)(mem + PDPT * PAGE) = PD * PAGE | PTE;
	*(uint64_t *)(mem + PD * PAGE) = PT * PAGE | PTE;
	*(uint64_t *)(mem + PT * PAGE) = DATA * PAGE | PTE;
	*(uint32_t *)(mem + PD32 * PAGE) = PT32 * PAGE | PTE;
	*(uint32_t *)(mem + PT32 * PAGE) = DATA * PAGE | PTE;
}

static void create(void)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[128];
	} cpuid = { .head.nent = 128 };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct guestmem_slot slot = { .size = PAGES * PAGE };
	void *mem;

	vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0UL);
	vcpu = vm < 0 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0UL);
	if (vcpu < 0)
		err(1, "cannot create a VM");
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) || ioctl(vcpu, KVM_SET_CPUID2, &cpuid))
		err(1, "cannot set CPUID");
	slot.fd = guestmem_create(vm, slot.size,
				  GUESTMEM_MMAP | GUESTMEM_INIT_SHARED | GUESTMEM_NO_DIRECT_MAP);
	if (slot.fd < 0)
		errx(1, "cannot create a hidden guest_memfd: %s", strerror(-slot.fd));
	if (guestmem_map(slot.fd, 0, slot.size, &mem))
		errx(1, "cannot map the guest_memfd");
	write_tables(mem);
	slot.host_addr = mem;
	if (guestmem_bind(vm, &slot))
		errx(1, "cannot bind the guest_memfd");
	if (guestmem_set_access(slot.fd, 0, slot.size, GUESTMEM_ACCESS_NONE, NULL))
		errx(1, "cannot lower the memory to level NONE");
}

static bool translate(unsigned long cr3, bool wide)
{
	struct kvm_translation tr = { .linear_address = 0 };

	set_mode(cr3, wide);
	if (ioctl(vcpu, KVM_TRANSLATE, &tr))
		err(1, "KVM_TRANSLATE");
	return tr.valid && tr.physical_address == DATA * PAGE;
}

static bool set_msr(uint32_t index, uint64_t data)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry = { .index = index, .data = data } };
	int ret = ioctl(vcpu, KVM_SET_MSRS, &msrs);

	if (ret < 0)
		err(1, "KVM_SET_MSRS");
	return ret == 1;
}

static bool write_hypercall_page(bool xen)
{
	struct kvm_xen_hvm_config config = {
		.flags = xen ? KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL : 0,
		.msr = xen ? MSR_XEN : 0,
	};

	if (ioctl(vm, KVM_XEN_HVM_CONFIG, &config))
		err(1, "KVM_XEN_HVM_CONFIG");
	if (!set_msr(MSR_HV_GUEST_OS, 1))
		errx(1, "cannot name the guest's OS");
	return set_msr(MSR_HV_HYPERCALL, HYPERCALL * PAGE | 1);
}

static bool step(const char *name)
{
	if (!strcmp(name, "load64") || !strcmp(name, "cmpxchg64"))
		return translate(PML4 * PAGE, true);
	if (!strcmp(name, "load32") || !strcmp(name, "cmpxchg32"))
		return translate(PD32 * PAGE, false);
	if (!strcmp(name, "store32"))
		return write_hypercall_page(false);
	if (!strcmp(name, "words") || !strcmp(name, "bytes"))
		return write_hypercall_page(true);
	errx(2, "unknown step %s", name);
}

int main(int argc, char **argv)
{
	int failed = 0, nr = 0;
	bool good;

	create();
	setlinebuf(stdout);
	for (int again = 0; again < 2; again++) {
		for (int i = 1; i < argc; i++) {
			good = step(argv[i]) == again;
			printf("%sok %d - %s %s\n", good ? "" : "not ", ++nr, argv[i],
			       again ? "succeeds again" : "fails with a machine check");
			failed += !good;
		}
	}
	printf("1..%d\n", nr);
	return failed ? 1 : 0;
}
