/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BLOB_H
#define BLOB_H

#include <stddef.h>
#include <stdint.h>

/* A file that the VMM has read into its own memory. */
struct blob {
	const char *path;
	uint8_t *data;
	size_t size;
};

/* Returns NULL, or the reason why the VMM cannot use the file. */
const char *blob_read(struct blob *blob, const char *path);
void blob_free(struct blob *blob);

#endif
