// SPDX-License-Identifier: GPL-2.0-only
#include <elf.h>
#include <stdbool.h>
#include <string.h>

#include "kernel.h"

static bool is_elf(const struct blob *file)
{
	return file->size >= SELFMAG && !memcmp(file->data, ELFMAG, SELFMAG);
}

const char *kernel_check(const struct blob *file)
{
	return is_elf(file) ? elf_check(file) : bzimage_check(file);
}

const char *kernel_load(struct kernel *kernel, const struct blob *file,
			const struct memory *memory)
{
	const char *error = kernel_check(file);

	if (error)
		return error;
	return is_elf(file) ? elf_load(kernel, file, memory) :
			      bzimage_load(kernel, file, memory);
}
