// SPDX-License-Identifier: GPL-2.0-only
/* Tests the loader of vmlinux files with correct, truncated and hostile ones. */
#include <elf.h>
#include <string.h>

#include "guest_ram.h"
#include "kernel.h"
#include "tap.h"

#define LOAD_ADDR	0x1000000
#define MEMORY_SIZE	(32 << 20)
#define CODE		0x345

static struct {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[2];
	uint8_t code[CODE];
} __attribute__((packed)) image;

static void good_image(void)
{
	memset(&image, 0, sizeof(image));
	memcpy(image.ehdr.e_ident, ELFMAG, SELFMAG);
	image.ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	image.ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	image.ehdr.e_machine = EM_X86_64;
	image.ehdr.e_type = ET_EXEC;
	image.ehdr.e_entry = LOAD_ADDR + 0x10;
	image.ehdr.e_phoff = sizeof(Elf64_Ehdr);
	image.ehdr.e_phentsize = sizeof(Elf64_Phdr);
	image.ehdr.e_phnum = 2;
	image.phdr[0] = (Elf64_Phdr){
		.p_type = PT_LOAD, .p_offset = sizeof(image) - CODE, .p_paddr = LOAD_ADDR,
		.p_filesz = CODE, .p_memsz = 0x2000, .p_vaddr = 0xffffffff81000000,
	};
	image.phdr[1] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_paddr = UINT64_MAX };
	memset(image.code, 0x90, CODE);
}

static const char *load(struct kernel *kernel, size_t size, const struct memory *memory)
{
	struct blob file = { .path = "test", .data = malloc(size ? size : 1), .size = size };
	const char *error;

	memcpy(file.data, &image, size);
	error = kernel_load(kernel, &file, memory);
	free(file.data);
	return error;
}

static void refused(const struct memory *memory, const char *word, const char *name)
{
	struct kernel kernel;
	const char *error = load(&kernel, sizeof(image), memory);

	ok(error && strstr(error, word), "%s: %s", name, error ? error : "loaded");
	good_image();
}

static void test_good(const struct memory *memory)
{
	struct kernel kernel;
	const char *error;

	good_image();
	memset(memory->base + LOAD_ADDR, 0xff, 0x3000);
	error = load(&kernel, sizeof(image), memory);
	ok(!error, "a good file is loaded%s%s", error ? ": " : "", error ? error : "");
	ok(kernel.entry == LOAD_ADDR + 0x10, "the entry");
	ok(kernel.start == LOAD_ADDR && kernel.end == LOAD_ADDR + 0x2000, "its extent");
	ok(memory->base[LOAD_ADDR + CODE - 1] == 0x90, "its code is there");
	ok(memory->base[LOAD_ADDR + CODE] == 0 && memory->base[LOAD_ADDR + 0x1fff] == 0 &&
	   memory->base[LOAD_ADDR + 0x2000] == 0xff, "its bss is zero, and no more");
	ok(kernel.header.header == 0x53726448 && kernel.header.boot_flag == 0xaa55,
	   "boot parameters for it");
}

static void test_truncated(const struct memory *memory)
{
	struct kernel kernel;
	size_t loaded = 0;

	for (size_t size = 0; size < sizeof(image); size++)
		loaded += !load(&kernel, size, memory);
	ok(loaded == 0, "no truncated file is loaded");
}

static void test_fuzzed(const struct memory *memory)
{
	unsigned int refusals = 0, seed = 7;
	struct kernel kernel;

	for (int i = 0; i < 20000; i++) {
		for (int n = 0; n < 3; n++) {
			seed = seed * 1103515245 + 12345;
			((uint8_t *)&image)[4 + (seed >> 8) % (sizeof(image) - CODE - 4)] = seed >> 24;
		}
		refusals += load(&kernel, sizeof(image), memory) != NULL;
		if (i % 3 == 2)
			good_image();
	}
	ok(refusals > 0, "20000 damaged headers: %u refused", refusals);
	good_image();
}

int main(void)
{
	struct memory memory = guest_ram(MEMORY_SIZE);

	test_good(&memory);
	test_truncated(&memory);
	image.ehdr.e_ident[EI_CLASS] = ELFCLASS32;
	refused(&memory, "x86-64", "32 bits");
	image.ehdr.e_machine = EM_AARCH64;
	refused(&memory, "x86-64", "another machine");
	image.ehdr.e_type = ET_DYN;
	refused(&memory, "vmlinux", "a shared object");
	image.phdr[0].p_vaddr = 0x400000;
	refused(&memory, "not a kernel", "a program");
	image.ehdr.e_phnum = 0;
	refused(&memory, "program headers", "no program headers");
	image.ehdr.e_phnum = 0xffff;
	refused(&memory, "truncated", "more program headers than the file has");
	image.ehdr.e_phoff = UINT64_MAX - 8;
	refused(&memory, "truncated", "program headers at an offset that wraps");
	image.ehdr.e_phentsize = 1;
	refused(&memory, "program headers", "program headers of one byte");
	image.phdr[0].p_filesz = 0x2001;
	refused(&memory, "larger in the file", "more bytes in the file than in memory");
	image.phdr[0].p_offset = UINT64_MAX;
	refused(&memory, "truncated", "a segment at an offset that wraps");
	image.phdr[0].p_filesz = CODE + 1;
	refused(&memory, "truncated", "a segment one byte beyond the file");
	image.phdr[0].p_paddr = 0x1000;
	refused(&memory, "below", "a segment over the boot parameters");
	image.phdr[0].p_paddr = MEMORY_SIZE - 0x1000;
	refused(&memory, "too small", "a segment across the end of memory");
	image.phdr[0].p_memsz = UINT64_MAX;
	refused(&memory, "too small", "a segment as large as everything");
	image.ehdr.e_entry = 0xffffffff81000000;
	refused(&memory, "entry", "a virtual entry");
	image.phdr[0].p_type = PT_NULL;
	refused(&memory, "entry", "nothing to load");
	test_fuzzed(&memory);
	free(memory.base);
	return done_testing();
}
