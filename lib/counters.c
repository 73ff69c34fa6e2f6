// SPDX-License-Identifier: MIT OR LGPL-2.1-or-later
/* Read the counters that the kernel prints in /proc/PID/fdinfo/FD. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guestmem.h"

static const char prefix[] = "guest_memfd-";

static const struct counter {
	const char *name;
	uint32_t has;
	size_t offset;
} counters_known[] = {
#define COUNTER(n, m, h) { n, GUESTMEM_HAS_##h, offsetof(struct guestmem_counters, m) }
	COUNTER("size", size, SIZE),
	COUNTER("flags", flags, FLAGS),
	COUNTER("populated", populated, POPULATED),
	COUNTER("blocks", blocks, BLOCKS),
	COUNTER("hidden", hidden, HIDDEN),
	COUNTER("referenced", referenced, REFERENCED),
	COUNTER("put-pending", put_pending, PUT_PENDING),
	COUNTER("left-referenced", left_referenced, LEFT_REFERENCED),
	COUNTER("donated", donated, DONATED),
	COUNTER("shared", shared, SHARED),
	COUNTER("level-none", level_none, LEVEL_NONE),
	COUNTER("level-user", level_user, LEVEL_USER),
	COUNTER("level-kernel", level_kernel, LEVEL_KERNEL),
#undef COUNTER
};

static const struct counter *find(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(counters_known) / sizeof(counters_known[0]); i++) {
		const struct counter *c = &counters_known[i];

		if (strlen(c->name) == len && !memcmp(c->name, name, len))
			return c;
	}
	return NULL;
}

/*
 * Parses "populated:\t123\n".  A newer kernel may print more counters, so a
 * name that this library does not know is skipped.
 */
static int parse_line(const char *line, const char *end, struct guestmem_counters *counters)
{
	const char *colon = memchr(line, ':', end - line);
	const struct counter *c;
	unsigned long long value;
	char *rest;

	if (!colon)
		return -EPROTO;
	c = find(line, colon - line);
	if (!c)
		return 0;

	line = colon + 1;
	while (line < end && (*line == '\t' || *line == ' '))
		line++;
	if (line == end || *line < '0' || *line > '9')
		return -EPROTO;
	errno = 0;
	value = strtoull(line, &rest, 0);
	if (errno || rest != end)
		return -EPROTO;

	*(uint64_t *)((char *)counters + c->offset) = value;
	counters->has |= c->has;
	return 0;
}

int guestmem_parse_counters(const char *text, struct guestmem_counters *counters)
{
	const char *end;
	int ret;

	memset(counters, 0, sizeof(*counters));
	for (; *text; text = *end ? end + 1 : end) {
		end = text + strcspn(text, "\n");
		if (strncmp(text, prefix, sizeof(prefix) - 1))
			continue;
		ret = parse_line(text + sizeof(prefix) - 1, end, counters);
		if (ret)
			return ret;
	}
	return counters->has ? 0 : -ENODATA;
}

static int read_file(const char *path, struct guestmem_counters *counters)
{
	char text[4096];
	size_t used = 0;
	ssize_t n;
	int fd, ret;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((n = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += n;
	ret = n < 0 ? -errno : 0;
	close(fd);
	if (ret)
		return ret;
	text[used] = '\0';
	return guestmem_parse_counters(text, counters);
}

int guestmem_read_counters(int fd, struct guestmem_counters *counters)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	ret = read_file(path, counters);
	return ret == -ENOENT ? -EBADF : ret;
}

int guestmem_read_counters_of(pid_t pid, int fd, struct guestmem_counters *counters)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/proc/%ld", (long)pid);
	if (pid <= 0 || access(path, F_OK))
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%ld/fdinfo/%d", (long)pid, fd);
	ret = read_file(path, counters);
	return ret == -ENOENT ? -EBADF : ret;
}
