// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest without an operating system that converts parts of its memory by the
 * hypercall KVM_HC_MAP_GPA_RANGE, which only kernel mode may use. It runs on
 * the first vCPU, with the page tables that the VMM has written, and prints
 * lines on the serial port:
 *
 *   convert: good TEXT              a check has passed
 *   convert: bad TEXT (0x...)       a check has failed, with the result
 *   convert: stage NAME             the guest now waits for a line of input
 *   convert: granted=N refused=N    the numbers that the VMM must have counted
 *
 * At the end it requests a reset.
 */
#include <stdbool.h>
#include <stdint.h>

#include "secret.h"

#define PAGE		4096UL
#define MIB		(1UL << 20)

/* The secret is in one block of 2 MiB and in half of each adjacent block. */
#define SECRET_SEED	4242
#define SECRET_START	(61 * MIB)
#define SECRET_PAGES	1024UL
#define CLOCK		(32 * MIB)	/* a page for kvm-clock */
#define OWN_START	MIB		/* the end of the first megabyte */

#define SERIAL		0x3f8
#define SERIAL_IER	1
#define SERIAL_MCR	4
#define SERIAL_LSR	5
#define RESET_PORT	0x64
#define RESET		0xfe

#define HC_MAP_GPA_RANGE	12
#define HC_UNKNOWN	99
#define SHARED		0UL
#define PRIVATE		(1UL << 4)
#define KVM_EINVAL	22
#define KVM_ENOSYS	1000
#define FEATURES	0x40000001
#define FEATURE_MAP_GPA_RANGE	(1u << 16)
#define MSR_KVM_CLOCK	0x4b564d01

static bool amd;
static unsigned long granted, refused;

/* The entry; the VMM has set up a stack. */
asm(".section .text.start, \"ax\"\n"
    ".globl start\n"
    "start:\n"
    "	call run\n"
    "1:	hlt\n"
    "	jmp 1b\n"
    ".previous\n");

static void outb(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t inb(uint16_t port)
{
	uint8_t value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void cpuid(uint32_t leaf, uint32_t regs[4])
{
	asm volatile("cpuid" : "=a"(regs[0]), "=b"(regs[1]), "=c"(regs[2]), "=d"(regs[3])
			     : "a"(leaf), "c"(0));
}

static void wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) :
		     "memory");
}

static long hypercall(unsigned long nr, unsigned long a0, unsigned long a1, unsigned long a2)
{
	long ret;

	if (amd)
		asm volatile("vmmcall" : "=a"(ret) : "a"(nr), "b"(a0), "c"(a1), "d"(a2) : "memory");
	else
		asm volatile("vmcall" : "=a"(ret) : "a"(nr), "b"(a0), "c"(a1), "d"(a2) : "memory");
	return ret;
}

static void print(const char *text)
{
	while (*text)
		outb(SERIAL, *text++);
}

static void print_number(unsigned long number, unsigned int base)
{
	char text[24], *at = text + sizeof(text) - 1;

	*at = '\0';
	do {
		unsigned int digit = number % base;

		*--at = digit < 10 ? '0' + digit : 'a' + digit - 10;
		number /= base;
	} while (number);
	print(at);
}

static void check(const char *text, unsigned long got, unsigned long want)
{
	print(got == want ? "convert: good " : "convert: bad ");
	print(text);
	if (got != want) {
		print(" (0x");
		print_number(got, 16);
		print(")");
	}
	print("\n");
}

static void stage(const char *name)
{
	print("convert: stage ");
	print(name);
	print("\n");
	do {
		while (!(inb(SERIAL + SERIAL_LSR) & 1))
			asm volatile("pause");
	} while (inb(SERIAL) != '\n');
}

/* Calls and counts a hypercall that KVM passes to the VMM. */
static long map(unsigned long start, unsigned long pages, unsigned long attributes)
{
	long ret = hypercall(HC_MAP_GPA_RANGE, start, pages, attributes);

	if (ret)
		refused++;
	else
		granted++;
	return ret;
}

static void fill(void)
{
	volatile uint64_t *mem = (uint64_t *)SECRET_START;

	for (unsigned int w = 0; w < SECRET_WORDS; w++) {
		uint64_t word = secret_word(SECRET_SEED, w);

		for (unsigned long i = w; i < SECRET_PAGES * PAGE / 8; i += SECRET_WORDS)
			mem[i] = word;
	}
}

static unsigned long intact(void)
{
	volatile uint64_t *mem = (uint64_t *)SECRET_START;
	unsigned long good = 0;

	for (unsigned int w = 0; w < SECRET_WORDS; w++) {
		uint64_t word = secret_word(SECRET_SEED, w);

		for (unsigned long i = w; i < SECRET_PAGES * PAGE / 8; i += SECRET_WORDS)
			good += mem[i] == word;
	}
	return good * 8 / PAGE;
}

static void check_secret(void)
{
	fill();
	stage("shared");
	check("all to private", map(SECRET_START, SECRET_PAGES, PRIVATE), 0);
	check("contents after that", intact(), SECRET_PAGES);
	stage("private");
	fill();
	check("private memory can be written", intact(), SECRET_PAGES);
	check("the same again", map(SECRET_START, SECRET_PAGES, PRIVATE), 0);
	check("100 pages back", map(SECRET_START + 500 * PAGE, 100, SHARED), 0);
	check("contents after that", intact(), SECRET_PAGES);
	stage("part");
	check("all back", map(SECRET_START, SECRET_PAGES, SHARED), 0);
	check("contents after that", intact(), SECRET_PAGES);
	stage("shared-again");
}

static void check_often(void)
{
	unsigned long bad = 0;

	for (unsigned int i = 0; i < 200; i++) {
		unsigned long page = SECRET_START + i * 7 % SECRET_PAGES * PAGE;

		bad += map(page, 1, PRIVATE) != 0;
		bad += map(page, 1, SHARED) != 0;
	}
	check("200 single pages there and back", bad, 0);
	check("contents after that", intact(), SECRET_PAGES);
}

static void check_refusals(unsigned long memory)
{
	check("a page beyond the end", map(memory - PAGE, 2, PRIVATE), -KVM_EINVAL);
	check("no memory", map(0xfee00000, 1, PRIVATE), -KVM_EINVAL);
	check("an unknown attribute", map(SECRET_START, 1, PRIVATE << 1), -KVM_EINVAL);
	check("an unknown page size", map(SECRET_START, 1, PRIVATE | 7), -KVM_EINVAL);
	check("more pages than there are", map(SECRET_START, 1UL << 51, PRIVATE), -KVM_EINVAL);
	/* KVM refuses these itself, so do not count them. */
	check("an address within a page",
	      hypercall(HC_MAP_GPA_RANGE, SECRET_START + 8, 1, PRIVATE), -KVM_EINVAL);
	check("no pages", hypercall(HC_MAP_GPA_RANGE, SECRET_START, 0, PRIVATE), -KVM_EINVAL);
	check("an unknown hypercall", hypercall(HC_UNKNOWN, 0, 0, 0), -KVM_ENOSYS);
	check("contents after that", intact(), SECRET_PAGES);
}

/* Turns kvm-clock on and returns whether KVM has written its structure. */
static unsigned long clock_ticks(void)
{
	volatile uint32_t *version = (uint32_t *)CLOCK;
	volatile uint64_t *stamp = (uint64_t *)(CLOCK + 8);

	version[0] = 0;
	stamp[0] = 0;
	wrmsr(MSR_KVM_CLOCK, CLOCK | 1);
	/* Cause an exit: KVM writes the structure before the next entry. */
	inb(SERIAL + SERIAL_LSR);
	return version[0] && stamp[0];
}

static void check_clock(void)
{
	check("kvm-clock in shared memory", clock_ticks(), 1);
	check("its page to private", map(CLOCK, 1, PRIVATE), 0);
	check("kvm-clock in private memory", clock_ticks(), 1);
	check("its page back", map(CLOCK, 1, SHARED), 0);
	check("kvm-clock in shared memory again", clock_ticks(), 1);
	wrmsr(MSR_KVM_CLOCK, 0);
}

static void check_own(unsigned long memory)
{
	check("everything that this program has to private",
	      map(OWN_START, (memory - OWN_START) / PAGE, PRIVATE), 0);
	check("the first megabyte, with stack and page tables", map(0, OWN_START / PAGE, PRIVATE), 0);
	check("contents after that", intact(), SECRET_PAGES);
	stage("all-private");
}

/* Returns the end of the last entry of the memory map, RAM below the hole. */
static unsigned long memory_end(const uint8_t *boot_params)
{
	const uint8_t *entry = boot_params + 0x2d0 + (boot_params[0x1e8] - 1) * 20;

	return *(const uint64_t *)entry + *(const uint64_t *)(entry + 8);
}

/* The boot protocol passes @boot_params in rsi, the second argument. */
__attribute__((used)) void run(unsigned long unused, const uint8_t *boot_params)
{
	unsigned long memory = memory_end(boot_params);
	uint32_t regs[4];

	(void)unused;
	/* The VMM passes input on when OUT2 and the receive interrupt are set. */
	outb(SERIAL + SERIAL_MCR, 8);
	outb(SERIAL + SERIAL_IER, 1);
	cpuid(0, regs);
	amd = regs[1] == 0x68747541;	/* Auth(enticAMD) */
	cpuid(FEATURES, regs);
	check("the feature is offered", !!(regs[0] & FEATURE_MAP_GPA_RANGE), 1);
	check_secret();
	check_often();
	check_refusals(memory);
	check_clock();
	check_own(memory);
	print("convert: granted=");
	print_number(granted, 10);
	print(" refused=");
	print_number(refused, 10);
	print("\n");
	outb(RESET_PORT, RESET);
}
