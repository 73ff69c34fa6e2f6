// SPDX-License-Identifier: GPL-2.0-only
/* Tests the loader of an Image with correct, truncated and other files, and its layout. */
#include <string.h>

#include "guest_ram.h"
#include "image.h"
#include "tap.h"

#define MIB		(1ULL << 20)
#define FILE_SIZE	0x3000
#define IMAGE_SIZE	0x8000
#define ENTRY		0x2000		/* target of the header's branch */
#define PE		0x40
#define OPTIONAL_SIZE	0xa0
#define SECTIONS	(PE + 24 + OPTIONAL_SIZE)

static uint8_t file[FILE_SIZE];

static void set(size_t at, uint64_t value, size_t size)
{
	memcpy(file + at, &value, size);
}

static void good_image(void)
{
	memset(file, 0xcc, sizeof(file));
	memset(file, 0, 64);
	set(0, 0xd503201f, 4);				/* nop */
	set(4, 0x14000000 | (ENTRY - 4) / 4, 4);	/* b ENTRY */
	set(16, IMAGE_SIZE, 8);
	set(24, 0xa, 8);
	memcpy(file + 56, "ARM\x64", 4);
	file[FILE_SIZE - 1] = 0xdd;
}

/* Adds an EFI header with two sections, the last of which ends with the file. */
static void efi_image(void)
{
	good_image();
	set(60, PE, 4);
	memset(file + PE, 0, SECTIONS + 80 - PE);
	memcpy(file + PE, "PE\0\0", 4);
	set(PE + 6, 2, 2);
	set(PE + 20, OPTIONAL_SIZE, 2);
	set(SECTIONS + 16, 0x1000, 4);
	set(SECTIONS + 20, 0x1000, 4);
	set(SECTIONS + 40 + 16, 0x1000, 4);
	set(SECTIONS + 40 + 20, 0x2000, 4);
}

/* Checks a copy of exactly that size, so that ASan detects reads beyond it. */
static const char *check(size_t size)
{
	struct blob blob = { .data = malloc(size), .size = size };
	const char *error;

	memcpy(blob.data, file, size);
	error = image_check(&blob);
	free(blob.data);
	return error;
}

static void refused(size_t size, const char *word, const char *name)
{
	const char *error = check(size);

	ok(error && strstr(error, word), "%s: %s", name, error ? error : "accepted");
}

static void test_check(void)
{
	good_image();
	ok(!check(FILE_SIZE), "an Image");
	ok(!check(ENTRY + 4), "one that ends with the first instruction");
	refused(ENTRY + 3, "truncated", "one that ends before it");
	refused(64, "truncated", "its header alone");
	refused(63, "too short", "less than that");
	refused(1, "too short", "a byte");

	good_image();
	set(0, 0x14000000 | ENTRY / 4, 4);
	set(4, 0, 4);
	ok(!check(ENTRY + 4), "the first instruction is the branch");
	refused(ENTRY + 3, "truncated", "the same, truncated");

	good_image();
	set(56, 0, 1);
	refused(FILE_SIZE, "not an Image", "a wrong magic number");
	good_image();
	set(16, 0, 8);
	refused(FILE_SIZE, "3.17", "no size");
	good_image();
	set(16, FILE_SIZE - 1, 8);
	refused(FILE_SIZE, "damaged", "less memory than what is in the file");
	set(16, UINT64_MAX, 8);
	refused(FILE_SIZE, "damaged", "memory without end");
	good_image();
	set(8, 2 * MIB, 8);
	refused(FILE_SIZE, "damaged", "an offset of 2 MiB");
	good_image();
	set(24, 0xb, 8);
	refused(FILE_SIZE, "big-endian", "a big-endian kernel");
}

static void test_efi(void)
{
	efi_image();
	ok(!check(FILE_SIZE), "a header for EFI");
	refused(FILE_SIZE - 1, "truncated", "a byte of the last section is missing");
	set(SECTIONS + 40 + 16, 0xffffffff, 4);
	refused(FILE_SIZE, "truncated", "a section of 4 GiB");
	efi_image();
	set(PE + 6, 0xffff, 2);
	refused(FILE_SIZE, "truncated", "more sections than the file has room for");
	efi_image();
	set(60, 0xfffffff0, 4);
	refused(FILE_SIZE, "truncated", "a header for EFI beyond the end");
	efi_image();
	set(60, FILE_SIZE - 24, 4);
	memcpy(file + FILE_SIZE - 24, "PE\0\0", 4);
	refused(FILE_SIZE, "truncated", "its table beyond the end");
	efi_image();
	file[PE] = 0;
	ok(!check(FILE_SIZE), "another header there is not read");
}

static void test_others(void)
{
	good_image();
	memcpy(file + 0x202, "HdrS", 4);
	refused(FILE_SIZE, "for x86", "a bzImage");
	good_image();
	memcpy(file, "\x7f" "ELF", 4);
	refused(FILE_SIZE, "ELF", "an ELF file");
	memcpy(file, "\x1f\x8b", 2);
	refused(FILE_SIZE, "uncompressed", "what gzip has packed");
	memcpy(file, "MZ\0\0zimg", 8);
	refused(FILE_SIZE, "uncompressed", "a compressed kernel for EFI");
}

static void test_load(void)
{
	struct blob blob = { .data = file, .size = FILE_SIZE };
	struct memory memory = guest_ram(MIB);
	uint64_t entry, end;

	good_image();
	set(8, 0x80000, 8);
	ok(!image_load(&blob, &memory, &entry, &end) && entry == MEMORY_BASE + 0x80000 &&
	   end == entry + IMAGE_SIZE, "it is loaded at its offset");
	ok(!memcmp(memory.base + 0x80000, file, FILE_SIZE) && !memory.base[0x80000 - 1] &&
	   !memory.base[0x80000 + FILE_SIZE], "all of it, and nothing else");
	set(8, MIB - IMAGE_SIZE, 8);
	ok(!image_load(&blob, &memory, &entry, &end), "up to the end of memory");
	set(8, MIB - IMAGE_SIZE + 1, 8);
	ok(image_load(&blob, &memory, &entry, &end), "no further");
	free(memory.base);
}

static void test_memory(void)
{
	uint8_t *base = (uint8_t *)0x10000000;
	struct memory memory = { .base = base, .size = 4096 * MIB };

	ok(memory_low(&memory) == memory.size && !memory_high(&memory), "memory has no hole");
	ok(memory_at(&memory, MEMORY_BASE, memory.size) == base, "all of it");
	ok(!memory_at(&memory, MEMORY_BASE, memory.size + 1), "one byte more");
	ok(!memory_at(&memory, MEMORY_BASE - 1, 2), "from the byte before it");
	ok(!memory_at(&memory, 0, 1), "address 0");
	ok(!memory_at(&memory, MEMORY_BASE + memory.size, 1), "at the end");
	ok(!memory_at(&memory, UINT64_MAX, 1) && !memory_at(&memory, UINT64_MAX, 2),
	   "the last address");
}

int main(void)
{
	test_check();
	test_efi();
	test_others();
	test_load();
	test_memory();
	return done_testing();
}
