// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loads a compressed kernel.  The file has a boot sector, the setup code for
 * real mode, of which the VMM uses only the header, and the code for protected
 * and long mode.  See Documentation/arch/x86/boot.rst of the kernel.
 */
#include <stddef.h>
#include <string.h>

#include "kernel.h"
#include "layout.h"

#define HEADER_START		0x1f1
#define HEADER_JUMP_LENGTH	0x201	/* the header ends this many bytes after 0x202 */
#define HEADER_MIN_VERSION	0x020c	/* the first with a 64-bit entry */
#define HEADER_MAGIC		0x53726448	/* HdrS */
#define ENTRY_64		0x200

/* Reads only the fields that the kernel's version of the header has. */
static void read_header(struct setup_header *header, const struct blob *file)
{
	size_t size = 0x202 - HEADER_START + file->data[HEADER_JUMP_LENGTH];

	memset(header, 0, sizeof(*header));
	memcpy(header, file->data + HEADER_START,
	       size < sizeof(*header) ? size : sizeof(*header));
}

/* Returns the size of boot sector and setup code, which are not loaded. */
static size_t setup_size(const struct setup_header *header)
{
	return ((header->setup_sects ? header->setup_sects : 4) + 1) * 512;
}

const char *bzimage_check(const struct blob *file)
{
	struct setup_header header;
	uint64_t size;

	if (file->size < HEADER_START + sizeof(header))
		return "too short for a Linux kernel";
	read_header(&header, file);
	if (header.boot_flag != 0xaa55 || header.header != HEADER_MAGIC)
		return "neither a bzImage nor a vmlinux";
	if (header.version < HEADER_MIN_VERSION || !(header.xloadflags & XLF_KERNEL_64))
		return "the kernel has no 64-bit entry";
	if (!(header.loadflags & LOADED_HIGH))
		return "a zImage; only a bzImage can be booted";
	if (header.pref_address < LAYOUT_HIGH)
		return "the load address of the kernel is below 1 MiB";

	if (file->size <= setup_size(&header) + ENTRY_64)
		return "the file is truncated";
	size = file->size - setup_size(&header);
	/* syssize is in units of 16 bytes; the last unit may be partial. */
	if ((uint64_t)header.syssize * 16 > size + 15)
		return "the file is truncated";
	return NULL;
}

const char *bzimage_load(struct kernel *kernel, const struct blob *file,
			 const struct memory *memory)
{
	uint64_t size, need;
	void *to;

	read_header(&kernel->header, file);
	size = file->size - setup_size(&kernel->header);
	need = kernel->header.init_size > size ? kernel->header.init_size : size;
	kernel->start = kernel->header.pref_address;
	to = memory_at(memory, kernel->start, need);
	if (!to || kernel->start >= MEMORY_HIGH_BASE)
		return "the guest's memory is too small for this kernel";
	memcpy(to, file->data + file->size - size, size);

	kernel->end = kernel->start + need;
	kernel->entry = kernel->start + ENTRY_64;
	return NULL;
}
