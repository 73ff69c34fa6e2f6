// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "guest.h"
#include "kvmstats.h"
#include "measure.h"
#include "tiny.h"

/* The firmware, at guest address 0: page tables, then code. */
#define PML4		0x1000UL
#define PDPT		0x2000UL
#define PD		0x3000UL	/* four of them */
#define CODE		0x8000UL

#define MSR_KVM_CLOCK	0x4b564d01

/*
 * Registers: rdi and rsi have the memory range, rdx the count or the step. The
 * walk uses the upper bits of a linear congruential generator as addresses.
 */
asm(".pushsection .rodata\n"
    "tiny_code:\n"
    "tiny_code_touch:\n"
    "	cmp %rsi, %rdi\n"
    "	jae 1f\n"
    "	movb $1, (%rdi)\n"
    "	add %rdx, %rdi\n"
    "	jmp tiny_code_touch\n"
    "1:	hlt\n"
    "tiny_code_walk:\n"
    "	mov $6364136223846793005, %rbx\n"
    "	mov $1442695040888963407, %rcx\n"
    "2:	imul %rbx, %rax\n"
    "	add %rcx, %rax\n"
    "	mov %rax, %rbp\n"
    "	shr $24, %rbp\n"
    "	and %rsi, %rbp\n"
    "	mov (%rdi, %rbp), %rbp\n"
    "	dec %rdx\n"
    "	jnz 2b\n"
    "	hlt\n"
    "tiny_code_nested:\n"
    "	mov %rdx, %r8\n"
    "	mov $0xc0000080, %ecx\n"	/* EFER.SVME */
    "	rdmsr\n"
    "	or $0x1000, %eax\n"
    "	wrmsr\n"
    "	mov $0xc0010117, %ecx\n"	/* VM_HSAVE_PA */
    "	mov %rsi, %rax\n"
    "	xor %edx, %edx\n"
    "	wrmsr\n"
    "	mov %rdi, %rax\n"
    "3:	vmload\n"
    "	vmrun\n"
    "	vmsave\n"
    "	cmpq $0x81, 0x70(%rdi)\n"	/* if the exit is VMMCALL, */
    "	jne 4f\n"
    "	addq $3, 0x578(%rdi)\n"	/* skip its three bytes */
    "	dec %r8\n"
    "	jnz 3b\n"
    "	hlt\n"
    "4:	ud2\n"
    "tiny_code_l2:\n"
    "	vmmcall\n"
    "	jmp tiny_code_l2\n"
    "tiny_code_end:\n"
    ".popsection\n");
extern const char tiny_code[], tiny_code_touch[], tiny_code_walk[], tiny_code_nested[],
	tiny_code_l2[], tiny_code_end[];

void guest_write_firmware(char *memory)
{
	uint64_t *pml4 = (uint64_t *)(memory + PML4), *pdpt = (uint64_t *)(memory + PDPT);
	uint64_t *pd = (uint64_t *)(memory + PD);

	/* Flags: present and writable; the lowest level has large pages. */
	pml4[0] = PDPT | 3;
	for (unsigned int i = 0; i < 4; i++)
		pdpt[i] = (PD + i * PAGE) | 3;
	for (uint64_t i = 0; i < 4 * 512; i++)
		pd[i] = i * BLOCK | 0x83;
	memcpy(memory + CODE, tiny_code, tiny_code_end - tiny_code);
}

static struct {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[256];
} cpuid;

static void get_cpuid(int kvm)
{
	if (cpuid.head.nent)
		return;
	cpuid.head.nent = 256;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid))
		die(errno, "KVM_GET_SUPPORTED_CPUID");
}

/* KVM enables 64-bit mode only if CPUID reports it. */
static void set_cpuid(int kvm, int vcpu)
{
	get_cpuid(kvm);
	if (ioctl(vcpu, KVM_SET_CPUID2, &cpuid))
		die(errno, "KVM_SET_CPUID2");
}

void guest_init_vcpu(struct tiny *t, unsigned int id)
{
	struct kvm_segment code = { .limit = ~0U, .selector = 8, .type = 11, .present = 1,
				    .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = ~0U, .selector = 16, .type = 3, .present = 1,
				    .s = 1, .db = 1, .g = 1 };
	struct tiny_vcpu *v = &t->vcpu[id];
	struct kvm_sregs sregs;

	if (ioctl(v->fd, KVM_GET_SREGS, &sregs))
		die(errno, "KVM_GET_SREGS");
	set_cpuid(backing_kvm(), v->fd);
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = data;
	sregs.cr0 = 0x80010033;		/* PG WP NE ET MP PE */
	sregs.cr3 = PML4;
	sregs.cr4 = 0x20;		/* PAE */
	sregs.efer = 0x500;		/* LMA LME */
	if (ioctl(v->fd, KVM_SET_SREGS, &sregs))
		die(errno, "KVM_SET_SREGS");
}

static void call(struct tiny *t, unsigned int id, const char *function, uint64_t rdi,
		 uint64_t rsi, uint64_t rdx)
{
	struct kvm_regs regs = {
		.rip = CODE + (function - tiny_code), .rflags = 2,
		.rdi = rdi, .rsi = rsi, .rdx = rdx, .rax = id + 1,
	};
	struct tiny_vcpu *v = &t->vcpu[id];

	if (ioctl(v->fd, KVM_SET_REGS, &regs))
		die(errno, "KVM_SET_REGS");
	guest_run(t, id);
	if (v->run->exit_reason == KVM_EXIT_HLT)
		return;
	ioctl(v->fd, KVM_GET_REGS, &regs);
	die(0, "vCPU %u went wrong: exit reason %u, rip 0x%llx, rdi 0x%llx", id,
	    v->run->exit_reason, regs.rip, regs.rdi);
}

void guest_call(struct tiny *t, unsigned int id, enum guest_function function, uint64_t a,
		uint64_t b, uint64_t c)
{
	call(t, id, function == GUEST_TOUCH ? tiny_code_touch : tiny_code_walk, a, b, c);
}

void guest_read_stats(const struct tiny *t, struct guest_stats *stats)
{
	stats->faults = kvmstat(t->vcpu[0].fd, "pf_taken");
	stats->exits = kvmstat(t->vcpu[0].fd, "exits");
	stats->maps_4k = kvmstat(t->memory.vm, "pages_4k");
	stats->maps_2m = kvmstat(t->memory.vm, "pages_2m");
}

bool tiny_can_nest(void)
{
	get_cpuid(backing_kvm());
	for (unsigned int i = 0; i < cpuid.head.nent; i++) {
		if (cpuid.entries[i].function == 0x80000001)
			return cpuid.entries[i].ecx & 1U << 2;
	}
	return false;
}

/* A segment of a VMCB. */
struct vmcb_segment {
	uint16_t selector, attributes;
	uint32_t limit;
	uint64_t base;
};

static void vmcb_set(char *vmcb, unsigned int offset, uint64_t value)
{
	memcpy(vmcb + offset, &value, sizeof(value));
}

void tiny_nested(struct tiny *t, uint64_t count)
{
	const struct vmcb_segment code = { .selector = 8, .attributes = 0xa9b, .limit = ~0U };
	const struct vmcb_segment data = { .selector = 16, .attributes = 0xc93, .limit = ~0U };
	const uint64_t offset = BLOCK + 8 * PAGE;
	char *vmcb = (char *)t->memory.base + offset;

	/* The nested guest uses the address space of the guest. */
	memset(vmcb, 0, PAGE);
	vmcb_set(vmcb, 0x010, 3);		/* intercept VMRUN and VMMCALL */
	vmcb_set(vmcb, 0x058, 1);		/* ASID */
	memcpy(vmcb + 0x400, &data, sizeof(data));	/* ES, CS, SS, DS */
	memcpy(vmcb + 0x410, &code, sizeof(code));
	memcpy(vmcb + 0x420, &data, sizeof(data));
	memcpy(vmcb + 0x430, &data, sizeof(data));
	vmcb_set(vmcb, 0x4d0, 0x1500);		/* EFER: SVME LMA LME */
	vmcb_set(vmcb, 0x548, 0x20);		/* CR4 */
	vmcb_set(vmcb, 0x550, PML4);		/* CR3 */
	vmcb_set(vmcb, 0x558, 0x80010033);	/* CR0 */
	vmcb_set(vmcb, 0x560, 0x400);		/* DR7 */
	vmcb_set(vmcb, 0x568, 0xffff0ff0);	/* DR6 */
	vmcb_set(vmcb, 0x570, 2);		/* RFLAGS */
	vmcb_set(vmcb, 0x578, CODE + (tiny_code_l2 - tiny_code));
	call(t, 0, tiny_code_nested, TINY_BASE + offset, TINY_BASE + offset + PAGE, count);
}

static void set_clock(struct tiny *t, uint64_t value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = {
		.head.nmsrs = 1,
		.entry = { .index = MSR_KVM_CLOCK, .data = value },
	};

	if (ioctl(t->vcpu[0].fd, KVM_SET_MSRS, &msrs) != 1)
		die(errno, "kvm-clock");
}

void tiny_clock_on(struct tiny *t, uint64_t offset)
{
	set_clock(t, (TINY_BASE + offset) | 1);
}

void tiny_clock_off(struct tiny *t)
{
	set_clock(t, 0);
}
