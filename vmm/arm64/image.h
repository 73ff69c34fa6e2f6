/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdint.h>

#include "blob.h"
#include "memory.h"

/*
 * Each returns NULL, or why the file cannot be booted.  image_load() sets where
 * the kernel is entered, which is its first byte, and the end of the memory that
 * it needs before it knows what else there is.
 */
const char *image_check(const struct blob *file);
const char *image_load(const struct blob *file, const struct memory *memory,
		       uint64_t *entry, uint64_t *end);

#endif
