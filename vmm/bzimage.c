// SPDX-License-Identifier: GPL-2.0-only
/*
 * A compressed kernel: a boot sector, the setup code for real mode, which is
 * of no use here but for the header in it, and the code for protected and long
 * mode.  See Documentation/arch/x86/boot.rst of the kernel.
 */
#include <stddef.h>
#include <string.h>

#include "kernel.h"
#include "layout.h"

#define HEADER_START		0x1f1
#define HEADER_JUMP_LENGTH	0x201	/* the header ends this many bytes after 0x202 */
#define HEADER_MIN_VERSION	0x020c	/* the first that tells of a 64-bit entry */
#define HEADER_MAGIC		0x53726448	/* HdrS */
#define ENTRY_64		0x200

static const char *read_header(struct setup_header *header, const struct blob *file)
{
	size_t len;

	memset(header, 0, sizeof(*header));
	if (file->size < HEADER_START + sizeof(*header))
		return "too short for a Linux kernel";
	/* Read no more than the kernel's own version of the header has. */
	len = 0x202 - HEADER_START + file->data[HEADER_JUMP_LENGTH];
	if (len > sizeof(*header))
		len = sizeof(*header);
	memcpy(header, file->data + HEADER_START, len);

	if (header->boot_flag != 0xaa55 || header->header != HEADER_MAGIC)
		return "neither a bzImage nor a vmlinux";
	if (header->version < HEADER_MIN_VERSION || !(header->xloadflags & XLF_KERNEL_64))
		return "the kernel has no 64-bit entry";
	if (!(header->loadflags & LOADED_HIGH))
		return "a zImage; only a bzImage can be booted";
	return NULL;
}

const char *bzimage_load(struct kernel *kernel, const struct blob *file,
			 const struct memory *memory)
{
	struct setup_header *header = &kernel->header;
	uint64_t setup_size, size, need;
	const char *error;
	void *to;

	error = read_header(header, file);
	if (error)
		return error;

	setup_size = ((header->setup_sects ? header->setup_sects : 4) + 1) * 512;
	if (file->size < setup_size + ENTRY_64 + 1)
		return "the file is cut off";
	size = file->size - setup_size;
	/* syssize counts in units of 16 bytes; what follows it is a signature */
	if (size < (uint64_t)header->syssize * 16 - (header->syssize ? 15 : 0))
		return "the file is cut off";

	kernel->start = header->pref_address;
	if (kernel->start < LAYOUT_HIGH)
		return "the kernel wants to be loaded below 1 MiB";
	need = header->init_size > size ? header->init_size : size;
	to = memory_at(memory, kernel->start, need);
	if (!to || kernel->start >= MEMORY_HIGH_BASE)
		return "the guest's memory is too small for this kernel";
	memcpy(to, file->data + setup_size, size);

	kernel->end = kernel->start + need;
	kernel->entry = kernel->start + ENTRY_64;
	return NULL;
}
