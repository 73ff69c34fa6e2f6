// SPDX-License-Identifier: GPL-2.0-only
#include <elf.h>
#include <string.h>

#include "kernel.h"

const char *kernel_load(struct kernel *kernel, const struct blob *file,
			const struct memory *memory)
{
	if (file->size >= SELFMAG && !memcmp(file->data, ELFMAG, SELFMAG))
		return elf_load(kernel, file, memory);
	return bzimage_load(kernel, file, memory);
}
