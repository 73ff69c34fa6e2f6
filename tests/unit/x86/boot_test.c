// SPDX-License-Identifier: GPL-2.0-only
/* Tests what guestmem run writes into guest memory for the kernel. */
#include <string.h>

#include "boot.h"
#include "guest_ram.h"
#include "layout.h"
#include "tap.h"

#define MIB		(1ULL << 20)
#define MEMORY_SIZE	(64 * MIB)

static struct kernel a_kernel(void)
{
	return (struct kernel){
		.start = 16 * MIB, .end = 20 * MIB, .entry = 16 * MIB,
		.header = { .initrd_addr_max = 0x7fffffff, .cmdline_size = 100,
			    .boot_flag = 0xaa55 },
	};
}

static bool has_range(const struct boot_params *params, uint64_t addr, uint64_t size,
		   uint32_t type)
{
	for (int i = 0; i < params->e820_entries; i++)
		if (params->e820_table[i].addr == addr && params->e820_table[i].size == size &&
		    params->e820_table[i].type == type)
			return true;
	return false;
}

static void test_disk_words(void)
{
	char words[64];

	snprintf(words, sizeof(words), " virtio_mmio.device=%lluK@0x%llx:%d", LAYOUT_DISK_SIZE / 1024,
		 LAYOUT_DISK, LAYOUT_DISK_IRQ);
	ok(!strcmp(words, MACHINE_DISK_WORDS), "the command line says where the disk is");
}

static void test_memory_map(void)
{
	struct memory memory = guest_ram(MEMORY_SIZE);
	struct boot_params *params = (void *)(memory.base + LAYOUT_BOOT_PARAMS);
	struct kernel kernel = a_kernel();
	uint64_t end = 0;
	bool sorted = true;

	ok(!boot_write(&memory, &kernel, NULL, "quiet"), "boot parameters are written");
	ok(has_range(params, 0, LAYOUT_MPTABLE, 1), "base memory is RAM");
	ok(has_range(params, LAYOUT_MPTABLE, 0x400, 2), "the MP table is reserved");
	ok(has_range(params, MIB, MEMORY_SIZE - MIB, 1), "the rest is RAM");
	for (int i = 0; i < params->e820_entries; i++) {
		sorted &= params->e820_table[i].addr >= end && params->e820_table[i].size;
		end = params->e820_table[i].addr + params->e820_table[i].size;
	}
	ok(sorted, "ranges are in order, apart and not empty");
	ok(end == MEMORY_SIZE, "nothing above memory");
	ok(params->hdr.type_of_loader == 0xff && params->hdr.boot_flag == 0xaa55, "the header");
	ok(!strcmp((char *)memory.base + params->hdr.cmd_line_ptr, "quiet"), "the command line");
	ok(!params->hdr.ramdisk_size, "no initrd");
	free(memory.base);
}

/* calloc() reserves 4 GiB, of which the test touches only the first pages. */
static void test_high_memory(void)
{
	struct memory memory = guest_ram(4096 * MIB);
	struct boot_params *params = (void *)(memory.base + LAYOUT_BOOT_PARAMS);
	struct kernel kernel = a_kernel();

	ok(!boot_write(&memory, &kernel, NULL, ""), "4 GiB: boot parameters are written");
	ok(has_range(params, MIB, MEMORY_LOW_MAX - MIB, 1), "4 GiB: RAM up to the hole");
	ok(has_range(params, MEMORY_HIGH_BASE, 1024 * MIB, 1), "4 GiB: the rest above it");
	free(memory.base);
}

static void test_initrd(void)
{
	struct memory memory = guest_ram(MEMORY_SIZE);
	struct boot_params *params = (void *)(memory.base + LAYOUT_BOOT_PARAMS);
	struct kernel kernel = a_kernel();
	struct blob initrd = { .data = malloc(44 * MIB + 1) };
	const char *error;

	memset(initrd.data, 0xab, 44 * MIB + 1);
	initrd.size = 12345;
	ok(!boot_write(&memory, &kernel, &initrd, ""), "an initrd is placed");
	ok(params->hdr.ramdisk_size == 12345 && params->hdr.ramdisk_image % 4096 == 0 &&
	   params->hdr.ramdisk_image + 12345 <= MEMORY_SIZE &&
	   memory.base[params->hdr.ramdisk_image + 12344] == 0xab, "it is whole, and aligned");

	initrd.size = 44 * MIB;
	ok(!boot_write(&memory, &kernel, &initrd, ""), "an initrd that just fits");
	ok(params->hdr.ramdisk_image == kernel.end, "it is next to the kernel");
	initrd.size = 44 * MIB + 1;
	error = boot_write(&memory, &kernel, &initrd, "");
	ok(error && strstr(error, "too small"), "one byte more is refused");
	initrd.size = SIZE_MAX;
	error = boot_write(&memory, &kernel, &initrd, "");
	ok(error && strstr(error, "too small"), "one larger than memory is refused");

	kernel.header.initrd_addr_max = 24 * MIB - 1;
	initrd.size = MIB;
	ok(!boot_write(&memory, &kernel, &initrd, "") &&
	   params->hdr.ramdisk_image + MIB <= 24 * MIB, "the kernel's limit is kept");
	free(initrd.data);
	free(memory.base);
}

static void test_cmdline(void)
{
	struct memory memory = guest_ram(MEMORY_SIZE);
	struct kernel kernel = a_kernel();
	char cmdline[102];
	const char *error;

	memset(cmdline, 'x', sizeof(cmdline));
	cmdline[100] = '\0';
	ok(!boot_write(&memory, &kernel, NULL, cmdline), "a command line that just fits");
	cmdline[100] = 'x';
	cmdline[101] = '\0';
	error = boot_write(&memory, &kernel, NULL, cmdline);
	ok(error && strstr(error, "command line"), "one character more is refused");
	free(memory.base);
}

/* Walks the page tables as a CPU does. */
static void test_page_tables(void)
{
	struct memory memory = guest_ram(MEMORY_SIZE);
	struct kernel kernel = a_kernel();
	bool identical = true;

	boot_write(&memory, &kernel, NULL, "");
	for (uint64_t addr = 0; addr < 1ULL << 32; addr += 2 * MIB) {
		uint64_t table = LAYOUT_PML4, entry = 0;

		for (int shift = 39; shift >= 21; shift -= 9) {
			memcpy(&entry, memory.base + table + (addr >> shift & 511) * 8, 8);
			table = entry & 0xffffffffff000ULL;
			identical &= (entry & 3) == 3 && !(entry & 0x80) == (shift > 21);
		}
		identical &= table == addr;
	}
	ok(identical, "page tables map the first 4 GiB to themselves");
	free(memory.base);
}

int main(void)
{
	test_disk_words();
	test_memory_map();
	test_high_memory();
	test_initrd();
	test_cmdline();
	test_page_tables();
	return done_testing();
}
