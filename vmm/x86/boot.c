// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "boot.h"
#include "layout.h"

#define PAGE_SIZE	4096ULL
#define PRESENT_WRITE	0x3ULL
#define LARGE		0x80ULL

#define E820_RAM	1
#define E820_RESERVED	2

static void add_range(struct boot_params *params, uint64_t start, uint64_t end, uint32_t type)
{
	if (start >= end)
		return;
	params->e820_table[params->e820_entries++] = (struct boot_e820_entry){
		.addr = start, .size = end - start, .type = type,
	};
}

static void write_memory_map(struct boot_params *params, const struct memory *memory)
{
	add_range(params, 0, LAYOUT_MPTABLE, E820_RAM);
	add_range(params, LAYOUT_MPTABLE, LAYOUT_BASE_END, E820_RESERVED);
	add_range(params, LAYOUT_ROM, LAYOUT_HIGH, E820_RESERVED);
	add_range(params, LAYOUT_HIGH, memory_low(memory), E820_RAM);
	add_range(params, MEMORY_HIGH_BASE, MEMORY_HIGH_BASE + memory_high(memory), E820_RAM);
}

/*
 * Places the initrd at the highest supported address that the kernel does not
 * use.
 */
static const char *write_initrd(struct boot_params *params, const struct memory *memory,
				const struct kernel *kernel, const struct blob *initrd)
{
	uint64_t limit = (uint64_t)params->hdr.initrd_addr_max + 1;
	uint64_t addr;

	if (limit > memory_low(memory))
		limit = memory_low(memory);
	if (initrd->size > limit)
		return "the guest's memory is too small for this initrd";
	addr = (limit - initrd->size) & ~(PAGE_SIZE - 1);
	if (addr < kernel->end)
		return "the guest's memory is too small for this kernel and initrd";

	memcpy(memory_at(memory, addr, initrd->size), initrd->data, initrd->size);
	params->hdr.ramdisk_image = addr;
	params->hdr.ramdisk_size = initrd->size;
	return NULL;
}

static const char *write_cmdline(struct boot_params *params, const struct memory *memory,
				 const char *cmdline)
{
	size_t max = params->hdr.cmdline_size;
	size_t len = strlen(cmdline);

	if (max > LAYOUT_CMDLINE_MAX - 1)
		max = LAYOUT_CMDLINE_MAX - 1;
	if (len > max)
		return "the command line is longer than this kernel accepts";
	memcpy(memory_at(memory, LAYOUT_CMDLINE, len + 1), cmdline, len + 1);
	params->hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	return NULL;
}

/* Writes flat segments; long mode ignores most fields of a descriptor. */
static void write_gdt(const struct memory *memory)
{
	uint64_t *gdt = memory_at(memory, LAYOUT_GDT, 6 * 8);

	gdt[LAYOUT_CODE_SELECTOR / 8] = 0x00af9b000000ffffULL;
	gdt[LAYOUT_DATA_SELECTOR / 8] = 0x00cf93000000ffffULL;
	gdt[LAYOUT_TASK_SELECTOR / 8] = 0x00008b0000000067ULL;
}

/*
 * Writes page tables that map the first 4 GiB to themselves by pages of 2 MiB.
 */
static void write_page_tables(const struct memory *memory)
{
	uint64_t *pml4 = memory_at(memory, LAYOUT_PML4, 6 * PAGE_SIZE);
	uint64_t *pdpt = pml4 + 512;
	uint64_t *pd = pdpt + 512;

	pml4[0] = (LAYOUT_PML4 + PAGE_SIZE) | PRESENT_WRITE;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (LAYOUT_PML4 + (2 + i) * PAGE_SIZE) | PRESENT_WRITE;
	for (uint64_t i = 0; i < 4 * 512; i++)
		pd[i] = i << 21 | LARGE | PRESENT_WRITE;
}

const char *boot_write(const struct memory *memory, const struct kernel *kernel,
		       const struct blob *initrd, const char *cmdline)
{
	struct boot_params *params = memory_at(memory, LAYOUT_BOOT_PARAMS, sizeof(*params));
	const char *error;

	params->hdr = kernel->header;
	params->hdr.type_of_loader = 0xff;	/* a boot loader without an assigned number */
	write_memory_map(params, memory);
	error = write_cmdline(params, memory, cmdline);
	if (!error && initrd)
		error = write_initrd(params, memory, kernel, initrd);
	if (error)
		return error;
	write_gdt(memory);
	write_page_tables(memory);
	return NULL;
}
