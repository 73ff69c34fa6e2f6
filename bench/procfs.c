// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "measure.h"
#include "procfs.h"

uint64_t procfs_number(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	size_t len = strlen(key);
	unsigned long long n;
	char line[256];

	if (!f)
		die(errno, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, len) || sscanf(line + len, "%*[: \t]%llu", &n) != 1)
			continue;
		fclose(f);
		return n;
	}
	die(0, "%s has no %s", path, key);
}

void procfs_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(errno, "%s: %s", path, text);
	close(fd);
}

bool procfs_cpu_has(const char *flag)
{
	static char text[8192];
	char word[32];
	FILE *f;

	if (!*text) {
		f = fopen("/proc/cpuinfo", "re");
		if (!f || !fread(text, 1, sizeof(text) - 1, f))
			die(errno, "/proc/cpuinfo");
		fclose(f);
	}
	snprintf(word, sizeof(word), " %s ", flag);
	return strstr(text, word) != NULL;
}
