// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "layout.h"
#include "registers.h"

#define CR0_PE			(1u << 0)
#define CR0_ET			(1u << 4)
#define CR0_PG			(1u << 31)
#define CR4_PAE			(1u << 5)
#define EFER_LME		(1u << 8)
#define EFER_LMA		(1u << 10)
#define RFLAGS_FIXED		(1u << 1)

#define MSR_MISC_ENABLE		0x1a0
#define MISC_FAST_STRINGS	1
#define MSR_MTRR_DEF_TYPE	0x2ff
#define MTRR_ENABLE_WRITE_BACK	(1 << 11 | 6)

#define LAPIC_LVT0		0x350
#define LAPIC_LVT1		0x360
#define LVT_NMI			(4 << 8)
#define LVT_EXTINT		(7 << 8)

static void set_lapic(struct kvm_lapic_state *lapic, unsigned int reg, uint32_t value)
{
	memcpy(lapic->regs + reg, &value, sizeof(value));
}

int registers_set_firmware(int vcpu_fd)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} msrs = {
		.head.nmsrs = 2,
		.entries = {
			{ .index = MSR_MISC_ENABLE, .data = MISC_FAST_STRINGS },
			{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE_WRITE_BACK },
		},
	};
	struct kvm_lapic_state lapic;

	if (ioctl(vcpu_fd, KVM_SET_MSRS, &msrs) < 0)
		return -errno;
	if (ioctl(vcpu_fd, KVM_GET_LAPIC, &lapic))
		return -errno;
	set_lapic(&lapic, LAPIC_LVT0, LVT_EXTINT);
	set_lapic(&lapic, LAPIC_LVT1, LVT_NMI);
	return ioctl(vcpu_fd, KVM_SET_LAPIC, &lapic) ? -errno : 0;
}

static void set_segments(struct kvm_sregs *sregs)
{
	struct kvm_segment code = {
		.selector = LAYOUT_CODE_SELECTOR, .limit = 0xffffffff,
		.type = 11, .present = 1, .s = 1, .l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.selector = LAYOUT_DATA_SELECTOR, .limit = 0xffffffff,
		.type = 3, .present = 1, .s = 1, .db = 1, .g = 1,
	};
	struct kvm_segment task = {
		.selector = LAYOUT_TASK_SELECTOR, .limit = 0x67, .type = 11, .present = 1,
	};

	sregs->cs = code;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = task;
	sregs->gdt.base = LAYOUT_GDT;
	sregs->gdt.limit = LAYOUT_TASK_SELECTOR + 16 - 1;
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
}

int registers_set_entry(int vcpu_fd, uint64_t entry, uint64_t boot_params)
{
	struct kvm_regs regs = {
		.rip = entry, .rsi = boot_params, .rsp = LAYOUT_STACK,
		.rflags = RFLAGS_FIXED,
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs))
		return -errno;
	set_segments(&sregs);
	sregs.cr0 = CR0_PE | CR0_ET | CR0_PG;
	sregs.cr3 = LAYOUT_PML4;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) || ioctl(vcpu_fd, KVM_SET_REGS, &regs))
		return -errno;
	return 0;
}
