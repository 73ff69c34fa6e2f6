/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KERNEL_H
#define KERNEL_H

#include <asm/bootparam.h>
#include <stdint.h>

#include "blob.h"
#include "memory.h"

/* What a loader tells about the kernel that it put into guest memory. */
struct kernel {
	uint64_t entry;			/* of the 64-bit boot protocol */
	uint64_t start, end;		/* memory that it needs to unpack and run */
	struct setup_header header;	/* to start the boot parameters from */
};

/* Return: NULL, or why the file cannot be booted. */
const char *kernel_load(struct kernel *kernel, const struct blob *file,
			const struct memory *memory);
const char *bzimage_load(struct kernel *kernel, const struct blob *file,
			 const struct memory *memory);
const char *elf_load(struct kernel *kernel, const struct blob *file,
		     const struct memory *memory);

#endif
