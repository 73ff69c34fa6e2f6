/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KERNEL_H
#define KERNEL_H

#include <asm/bootparam.h>
#include <stdint.h>

#include "blob.h"
#include "memory.h"

/* What a loader returns about the kernel that it has copied to guest memory. */
struct kernel {
	uint64_t entry;			/* entry point of the 64-bit boot protocol */
	uint64_t start, end;		/* memory that the kernel needs to unpack itself and run */
	struct setup_header header;	/* initial value for the boot parameters */
};

/*
 * Each returns NULL, or the reason why the VMM cannot boot the file.
 * kernel_check() checks the file before guest memory is created.
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
