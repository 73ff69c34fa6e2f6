// SPDX-License-Identifier: GPL-2.0-only
/*
 * The events of the guest_memfd trace system.  guest_memfd_hide.h documents the
 * helpers.
 */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest_memfd_hide.h"

static void write_file(const char *dir, const char *name, const char *value)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open_path_or_exit(path, O_WRONLY | O_TRUNC);
	TEST_ASSERT(write(fd, value, strlen(value)) == (ssize_t)strlen(value),
		    "cannot write '%s' to %s", value, path);
	close(fd);
}

void gmem_trace_start_event(struct gmem_trace *trace, const char *event)
{
	char path[64];

	memset(trace, 0, sizeof(*trace));
	if (gmem_plain())
		return;

	snprintf(trace->dir, sizeof(trace->dir), GMEM_TRACEFS "/instances/gmem-%d", getpid());
	TEST_ASSERT(!mkdir(trace->dir, 0700), "cannot make %s", trace->dir);
	trace->on = true;
	write_file(trace->dir, "buffer_size_kb", "4096");
	snprintf(path, sizeof(path), "events/guest_memfd/%s%senable", event ?: "",
		 event ? "/" : "");
	write_file(trace->dir, path, "1");
}

void gmem_trace_start(struct gmem_trace *trace)
{
	gmem_trace_start_event(trace, NULL);
}

static FILE *open_trace(struct gmem_trace *trace)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/trace", trace->dir);
	f = fopen(path, "r");
	TEST_ASSERT(f, "cannot open %s", path);
	return f;
}

/*
 * Returns the text after the event's name, or NULL if the line is another
 * event's.  The head of the file reports lost events; then the caller cannot
 * count.
 */
static char *text_of_event(char *line, const char *event)
{
	u64 kept, written;
	char want[64], *at;

	if (sscanf(line, "# entries-in-buffer/entries-written: %lu/%lu", &kept, &written) == 2)
		TEST_ASSERT(kept == written, "the trace buffer has %lu of %lu events", kept,
			    written);
	snprintf(want, sizeof(want), ": %s: ", event);
	at = strstr(line, want);
	return line[0] == '#' || !at ? NULL : at + strlen(want);
}

u64 gmem_trace_count(struct gmem_trace *trace, const char *event, const char *with)
{
	char line[512], *at;
	u64 count = 0;
	FILE *f;

	if (!trace->on)
		return 0;

	f = open_trace(trace);
	while (fgets(line, sizeof(line), f)) {
		at = text_of_event(line, event);
		at = at ? strstr(at, with) : NULL;
		count += at && isspace(at[strlen(with)]);
	}
	fclose(f);
	return count;
}

u64 gmem_trace_pages(struct gmem_trace *trace, const char *event, u64 *pfns, size_t max)
{
	char line[512];
	u64 pages = 0, pfn, n;
	FILE *f;

	if (!trace->on)
		return 0;

	f = open_trace(trace);
	while (fgets(line, sizeof(line), f)) {
		char *at = text_of_event(line, event), *arg;

		if (!at)
			continue;
		arg = strstr(at, "pfn=");
		TEST_ASSERT(arg, "no pfn in event '%s'", line);
		pfn = strtoull(arg + 4, NULL, 0);
		arg = strstr(at, "nr_pages=");
		n = arg ? strtoull(arg + 9, NULL, 0) : 1;
		for (; n; n--, pfn++, pages++) {
			if (pfns && pages < max)
				pfns[pages] = pfn;
		}
	}
	fclose(f);
	return pages;
}

void gmem_trace_stop(struct gmem_trace *trace)
{
	if (!trace->on)
		return;
	write_file(trace->dir, "events/guest_memfd/enable", "0");
	TEST_ASSERT(!rmdir(trace->dir), "cannot remove %s", trace->dir);
	trace->on = false;
}
