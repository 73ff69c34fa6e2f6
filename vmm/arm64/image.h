/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdint.h>

#include "blob.h"
#include "memory.h"

/*
 * Each returns NULL, or the reason why the VMM cannot boot the file.
 * image_load() stores the entry point, which is the kernel's first byte, and
 * the end of the memory that the kernel uses before it has read the device
 * tree.
 */
const char *image_check(const struct blob *file);
const char *image_load(const struct blob *file, const struct memory *memory,
		       uint64_t *entry, uint64_t *end);

#endif
