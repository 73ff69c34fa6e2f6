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

/*
 * Each returns NULL, or why the file cannot be booted.  kernel_check() tells
 * what the file alone shows, before there is any guest memory.
 */
const char *kernel_check(const struct blob *file);
const char *kernel_load(struct kernel *kernel, const struct blob *file,
			const struct memory *memory);

const char *bzimage_check(const struct blob *file);
const char *bzimage_load(struct kernel *kernel, const struct blob *file,
			 const struct memory *memory);

const char *elf_check(const struct blob *file);
const char *elf_load(struct kernel *kernel, const struct blob *file,
		     const struct memory *memory);

#endif
