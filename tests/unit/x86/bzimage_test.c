// SPDX-License-Identifier: GPL-2.0-only
/* Tests the loader of bzImages with correct, truncated and hostile files. */
#include <stddef.h>
#include <string.h>

#include "guest_ram.h"
#include "kernel.h"
#include "tap.h"

#define HEADER		0x1f1
#define SETUP_SECTS	2
#define SETUP_SIZE	((SETUP_SECTS + 1) * 512)
#define PAYLOAD		0x1230
#define FILE_SIZE	(SETUP_SIZE + PAYLOAD)
#define LOAD_ADDR	0x1000000
#define MEMORY_SIZE	(32 << 20)

static uint8_t image[FILE_SIZE];

static void set(size_t field, uint64_t value, size_t size)
{
	memcpy(image + HEADER + field, &value, size);
}

#define SET(field, value) \
	set(offsetof(struct setup_header, field), value, \
	    sizeof(((struct setup_header *)0)->field))

static void good_image(void)
{
	memset(image, 0, sizeof(image));
	memset(image + SETUP_SIZE, 0xcc, PAYLOAD);
	image[FILE_SIZE - 1] = 0xdd;
	SET(setup_sects, SETUP_SECTS);
	SET(boot_flag, 0xaa55);
	SET(header, 0x53726448);
	SET(version, 0x020f);
	SET(loadflags, LOADED_HIGH);
	SET(xloadflags, XLF_KERNEL_64);
	SET(syssize, (PAYLOAD + 15) / 16);
	SET(pref_address, LOAD_ADDR);
	SET(init_size, 0x20000);
	SET(initrd_addr_max, 0x7fffffff);
	SET(cmdline_size, 2047);
	image[0x201] = 0x6a;	/* the header ends at 0x26c */
}

static const char *load(struct kernel *kernel, size_t size, const struct memory *memory)
{
	/* Load a copy of exactly that size, so that ASan detects reads beyond it. */
	struct blob file = { .path = "test", .data = malloc(size ? size : 1), .size = size };
	const char *error;

	memcpy(file.data, image, size);
	error = kernel_load(kernel, &file, memory);
	free(file.data);
	return error;
}

static void refused(const struct memory *memory, const char *word, const char *name)
{
	struct kernel kernel;
	const char *error = load(&kernel, FILE_SIZE, memory);

	ok(error && strstr(error, word), "%s: %s", name, error ? error : "loaded");
	good_image();
}

static void test_good(const struct memory *memory)
{
	struct kernel kernel;
	const char *error;

	good_image();
	error = load(&kernel, FILE_SIZE, memory);
	ok(!error, "a good file is loaded%s%s", error ? ": " : "", error ? error : "");
	ok(kernel.entry == LOAD_ADDR + 0x200, "the entry");
	ok(kernel.start == LOAD_ADDR && kernel.end == LOAD_ADDR + 0x20000, "what it needs");
	ok(memory->base[LOAD_ADDR] == 0xcc &&
	   memory->base[LOAD_ADDR + PAYLOAD - 1] == 0xdd, "the payload is there");
	ok(kernel.header.cmdline_size == 2047, "the header is kept");

	image[0x201] = 0x2e;	/* a header that ends before pref_address */
	error = load(&kernel, FILE_SIZE, memory);
	ok(error != NULL, "nothing behind the end of the header is believed");
	good_image();
	image[0x201] = 0xff;
	ok(!load(&kernel, FILE_SIZE, memory), "a header longer than we know");
	good_image();
}

static void test_truncated(const struct memory *memory)
{
	struct kernel kernel;
	size_t loaded = 0;

	for (size_t size = 0; size < FILE_SIZE - 15; size++)
		loaded += !load(&kernel, size, memory);
	ok(loaded == 0, "no truncated file is loaded");
}

/* With any header the loader returns, and accesses only the file and guest memory. */
static void test_fuzzed(const struct memory *memory)
{
	struct kernel kernel;
	unsigned int refusals = 0, seed = 1;

	for (int i = 0; i < 20000; i++) {
		for (int n = 0; n < 4; n++) {
			seed = seed * 1103515245 + 12345;
			image[HEADER + (seed >> 8) % sizeof(struct setup_header)] = seed >> 24;
		}
		refusals += load(&kernel, FILE_SIZE, memory) != NULL;
		if (i % 4 == 3)
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
	SET(boot_flag, 0);
	refused(&memory, "neither", "no boot flag");
	SET(header, 0);
	refused(&memory, "neither", "no magic");
	SET(version, 0x020b);
	refused(&memory, "64-bit", "an old header");
	SET(xloadflags, 0);
	refused(&memory, "64-bit", "a 32-bit kernel");
	SET(loadflags, 0);
	refused(&memory, "zImage", "a zImage");
	SET(setup_sects, 255);
	refused(&memory, "truncated", "more setup sectors than the file has");
	SET(syssize, UINT32_MAX);
	refused(&memory, "truncated", "a payload larger than the file");
	SET(pref_address, 0);
	refused(&memory, "below", "load address 0");
	SET(pref_address, MEMORY_SIZE);
	refused(&memory, "too small", "load address beyond memory");
	SET(pref_address, UINT64_MAX);
	refused(&memory, "too small", "load address that wraps");
	SET(init_size, UINT32_MAX);
	refused(&memory, "too small", "more memory needed than there is");
	SET(init_size, MEMORY_SIZE - LOAD_ADDR + 1);
	refused(&memory, "too small", "one byte more needed than there is");
	test_fuzzed(&memory);
	free(memory.base);
	return done_testing();
}
