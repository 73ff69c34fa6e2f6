// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backing.h"
#include "measure.h"
#include "pool.h"

#define PARAMETER	"/sys/module/guest_memfd/parameters/pool"
#define STATE		"/sys/kernel/debug/guest_memfd/pool"
#define WAIT_MS		30000

/* One block above the mark below which the kernel refills, and one more. */
#define SPARE		(2 * BLOCK)

static char at_first[64];

const char *pool_name(enum pool pool)
{
	return pool == POOL_WARM ? "pool=warm" : "pool=empty";
}

uint64_t pool_parse(const char *text, const char *key)
{
	size_t len = strlen(key);
	uint64_t sum = 0;

	for (const char *at = text; (at = strstr(at, key)); at += len) {
		const char *end = at + len;

		if ((at > text && !isspace(at[-1])) || (*end != ':' && *end != ' ' && *end != '\t'))
			continue;
		sum += strtoull(end + 1, NULL, 10);
	}
	return sum;
}

static void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	if (n < 0)
		die(errno, "%s", path);
	text[n] = '\0';
	close(fd);
}

static void set(const char *text)
{
	int fd = open(PARAMETER, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(errno, PARAMETER ": %s", text);
	close(fd);
}

static void restore(void)
{
	int fd = open(PARAMETER, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, at_first, strlen(at_first)) < 0)
		fprintf(stderr, "bench: " PARAMETER ": %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static bool offered(void)
{
	static bool asked, there;

	if (!asked)
		there = !access(PARAMETER, F_OK);
	asked = true;
	return there;
}

/* Saves the first setting; returns false if the kernel has no pool. */
static bool begin(void)
{
	static bool begun;

	if (!begun && offered()) {
		read_text(PARAMETER, at_first, sizeof(at_first));
		atexit(restore);
	} else if (!begun) {
		note("no " PARAMETER ": pool=warm is measured without a pool");
	}
	begun = true;
	return offered();
}

uint64_t pool_size(void)
{
	char text[4096];

	if (!offered())
		return 0;
	read_text(STATE, text, sizeof(text));
	return pool_parse(text, "blocks") * BLOCK;
}

static void set_pages(uint64_t low, uint64_t high)
{
	char text[64];

	snprintf(text, sizeof(text), "%llu,%llu", (unsigned long long)(low / PAGE),
		 (unsigned long long)(high / PAGE));
	set(text);
}

static void wait_for(uint64_t least, uint64_t most)
{
	for (unsigned int ms = 0; pool_size() < least || pool_size() > most; ms += 10) {
		if (ms >= WAIT_MS)
			die(0, "the pool has %llu MiB after %u s, not %llu to %llu",
			    (unsigned long long)(pool_size() / MIB), WAIT_MS / 1000,
			    (unsigned long long)(least / MIB), (unsigned long long)(most / MIB));
		usleep(10000);
	}
}

void pool_set(uint64_t low, uint64_t high)
{
	if (!begin())
		return;
	set_pages(low, high);
	wait_for(low, UINT64_MAX);
}

void pool_prepare(enum pool pool, uint64_t size)
{
	if (!begin())
		return;
	if (pool == POOL_EMPTY) {
		set("0");
		wait_for(0, 0);
		return;
	}
	set_pages(size + SPARE, size + SPARE);
	wait_for(size + SPARE, UINT64_MAX);
	set_pages(BLOCK, size + SPARE);
}
