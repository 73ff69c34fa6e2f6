// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"
#include "kvmstats.h"
#include "measure.h"
#include "procfs.h"
#include "tiny.h"

/* The firmware, at guest address 0: page tables, then code. */
#define L1		0x1000UL
#define L2		0x2000UL	/* four of them */
#define CODE		0x8000UL
/* There is no memory at this address, so a write ends KVM_RUN. */
#define DOOR		FIRMWARE_SIZE

/* Descriptors: a table; a block of inner shareable, accessed normal memory. */
#define TABLE_ENTRY	3UL
#define BLOCK_ENTRY	(1UL | 3UL << 8 | 1UL << 10)

#define MAIR		0xffUL		/* attribute 0: normal memory, write-back */
/* TTBR0: 39 bits, walks in cacheable memory; TTBR1: disabled; IPA: 40 bits. */
#define TCR		(25UL | 1UL << 8 | 1UL << 10 | 3UL << 12 | 1UL << 23 | 2UL << 32)
#define SCTLR		0x30d01805UL	/* RES1, I, C, M */

#define CORE_REGISTER(name) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(name))
#define X(n)		CORE_REGISTER(regs.regs[n])

#define TRACEFS		"/sys/kernel/tracing"
#define FAULT_EVENT	TRACEFS "/events/kvm/kvm_guest_fault/id"

/*
 * Registers: x0 and x1 have the memory range, x2 the count or the step, x3 the
 * state of the walk, x9 the address DOOR, and x10 the address of the function.
 * The walk uses the upper bits of a linear congruential generator as addresses,
 * as on x86.
 */
asm(".pushsection .rodata\n"
    ".balign 8\n"
    "tiny_code:\n"
    "	str xzr, [x9]\n"
    "tiny_code_start:\n"
    "	br x10\n"
    "tiny_code_touch:\n"
    "	mov w4, #1\n"
    "1:	cmp x0, x1\n"
    "	b.hs tiny_code\n"
    "	strb w4, [x0]\n"
    "	add x0, x0, x2\n"
    "	b 1b\n"
    "tiny_code_walk:\n"
    "	ldr x4, =6364136223846793005\n"
    "	ldr x5, =1442695040888963407\n"
    "2:	madd x3, x3, x4, x5\n"
    "	and x6, x1, x3, lsr #24\n"
    "	ldr x6, [x0, x6]\n"
    "	subs x2, x2, #1\n"
    "	b.ne 2b\n"
    "	b tiny_code\n"
    "	.ltorg\n"
    "tiny_code_end:\n"
    ".popsection\n");
/*
 * Hidden visibility: the linker drops the addend of a local symbol in the GOT.
 */
extern const char tiny_code[] __attribute__((visibility("hidden")));
extern const char tiny_code_start[] __attribute__((visibility("hidden")));
extern const char tiny_code_touch[] __attribute__((visibility("hidden")));
extern const char tiny_code_walk[] __attribute__((visibility("hidden")));
extern const char tiny_code_end[] __attribute__((visibility("hidden")));

void guest_write_firmware(char *memory)
{
	uint64_t *l1 = (uint64_t *)(memory + L1), *l2 = (uint64_t *)(memory + L2);

	for (unsigned int i = 0; i < 4; i++)
		l1[i] = (L2 + i * PAGE) | TABLE_ENTRY;
	for (uint64_t i = 0; i < 4 * 512; i++)
		l2[i] = i * BLOCK | BLOCK_ENTRY;
	memcpy(memory + CODE, tiny_code, tiny_code_end - tiny_code);
}

static void set(int vcpu, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	if (ioctl(vcpu, KVM_SET_ONE_REG, &reg))
		die(errno, "register 0x%llx", (unsigned long long)id);
}

static uint64_t get(int vcpu, uint64_t id)
{
	uint64_t value;
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	if (ioctl(vcpu, KVM_GET_ONE_REG, &reg))
		die(errno, "register 0x%llx", (unsigned long long)id);
	return value;
}

static uint64_t code_address(const char *label)
{
	return CODE + (label - tiny_code);
}

void guest_init_vcpu(struct tiny *t, unsigned int id)
{
	int vcpu = t->vcpu[id].fd;
	struct kvm_vcpu_init init;

	if (ioctl(t->memory.vm, KVM_ARM_PREFERRED_TARGET, &init) ||
	    ioctl(vcpu, KVM_ARM_VCPU_INIT, &init))
		die(errno, "the registers of vCPU %u", id);
	set(vcpu, ARM64_SYS_REG(3, 0, 10, 2, 0), MAIR);
	set(vcpu, ARM64_SYS_REG(3, 0, 2, 0, 2), TCR);
	set(vcpu, ARM64_SYS_REG(3, 0, 2, 0, 0), L1);	/* TTBR0_EL1 */
	set(vcpu, ARM64_SYS_REG(3, 0, 1, 0, 0), SCTLR);
	set(vcpu, X(3), id + 1);
	set(vcpu, X(9), DOOR);
	set(vcpu, CORE_REGISTER(regs.pc), code_address(tiny_code_start));
}

/* After the first call KVM_RUN first completes the pending write to DOOR. */
void guest_call(struct tiny *t, unsigned int id, enum guest_function function, uint64_t a,
		uint64_t b, uint64_t c)
{
	const struct tiny_vcpu *v = &t->vcpu[id];

	set(v->fd, X(0), a);
	set(v->fd, X(1), b);
	set(v->fd, X(2), c);
	set(v->fd, X(10), code_address(function == GUEST_TOUCH ? tiny_code_touch : tiny_code_walk));
	guest_run(t, id);
	if (v->run->exit_reason != KVM_EXIT_MMIO || v->run->mmio.phys_addr != DOOR)
		die(0, "vCPU %u went wrong: exit reason %u, pc 0x%llx, x0 0x%llx", id,
		    v->run->exit_reason,
		    (unsigned long long)get(v->fd, CORE_REGISTER(regs.pc)),
		    (unsigned long long)get(v->fd, X(0)));
}

/*
 * KVM/arm64 has a tracepoint for faults, but no statistic. A perf event counts
 * the faults with an address in guest memory, for this thread, which runs vCPU
 * 0, and for threads that it creates later.
 */
static uint64_t count_faults(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .inherit = 1,
	};
	static int fd = -1;
	unsigned long long id;
	char filter[64];
	uint64_t count;
	FILE *f;

	if (fd < 0) {
		if (access(FAULT_EVENT, R_OK) && mount("tracefs", TRACEFS, "tracefs", 0, NULL))
			die(errno, TRACEFS);
		f = fopen(FAULT_EVENT, "re");
		if (!f || fscanf(f, "%llu", &id) != 1)
			die(errno, FAULT_EVENT);
		fclose(f);
		attr.config = id;
		fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
		snprintf(filter, sizeof(filter), "ipa >= 0x%lx", TINY_BASE);
		if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter))
			die(errno, "a perf event of guest faults");
	}
	if (read(fd, &count, sizeof(count)) != sizeof(count))
		die(errno, "the count of guest faults");
	return count;
}

/* Counts blocks and pages in the dump of KVM's page tables. */
static void count_maps(const struct tiny *t, struct guest_stats *stats)
{
	unsigned long start, end;
	char line[256];
	FILE *f;

	snprintf(line, sizeof(line), "/sys/kernel/debug/kvm/%d-%d/stage2_page_tables", getpid(),
		 t->memory.vm);
	f = fopen(line, "re");
	if (!f)
		die(errno, "%s", line);
	stats->maps_4k = stats->maps_2m = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "0x%lx-0x%lx", &start, &end) != 2 || start < TINY_BASE)
			continue;
		if (strstr(line, " BLK"))
			stats->maps_2m += (end - start) / BLOCK;
		else if (strstr(line, " R"))
			stats->maps_4k += (end - start) / PAGE;
	}
	fclose(f);
}

void guest_read_stats(const struct tiny *t, struct guest_stats *stats)
{
	stats->faults = count_faults();
	stats->exits = kvmstat(t->vcpu[0].fd, "exits");
	count_maps(t, stats);
}

/* On arm64 there is no kvm-clock that KVM writes to. */
void tiny_clock_on(struct tiny *t, uint64_t offset)
{
	(void)t;
	(void)offset;
}

void tiny_clock_off(struct tiny *t)
{
	(void)t;
}
