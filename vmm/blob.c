// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blob.h"

static const char *read_all(struct blob *blob, int fd)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st))
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "not a regular file";
	if (!st.st_size)
		return "the file is empty";

	blob->data = malloc(st.st_size);
	if (!blob->data)
		return "not enough memory to read the file";
	while (blob->size < (size_t)st.st_size) {
		n = read(fd, blob->data + blob->size, st.st_size - blob->size);
		if (n < 0)
			return strerror(errno);
		if (!n)
			return "the file became shorter while it was read";
		blob->size += n;
	}
	return NULL;
}

const char *blob_read(struct blob *blob, const char *path)
{
	const char *error;
	int fd;

	*blob = (struct blob){ .path = path };
	/* O_NONBLOCK: do not wait for a writer of a named pipe. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return strerror(errno);
	error = read_all(blob, fd);
	close(fd);
	if (error)
		blob_free(blob);
	return error;
}

void blob_free(struct blob *blob)
{
	free(blob->data);
	blob->data = NULL;
	blob->size = 0;
}
