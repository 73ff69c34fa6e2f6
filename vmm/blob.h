/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BLOB_H
#define BLOB_H

#include <stddef.h>
#include <stdint.h>

/* A file read into our own memory. */
struct blob {
	const char *path;
	uint8_t *data;
	size_t size;
};

/* Return: NULL, or why the file cannot be used. */
const char *blob_read(struct blob *blob, const char *path);
void blob_free(struct blob *blob);

#endif
