// SPDX-License-Identifier: GPL-2.0-only
/*
 * The access levels and counters of a guest_memfd, the parameters of the
 * library, and the counters of the host.  guest_memfd_hide.h documents the
 * helpers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "gmem_arch.h"
#include "guest_memfd_hide.h"

void gmem_read_info(int fd, struct gmem_info *info)
{
	struct {
		const char *name;
		u64 *value;
		bool seen;
	} fields[] = {
		{ "size",		&info->size },
		{ "flags",		&info->flags },
		{ "populated",		&info->populated },
		{ "blocks",		&info->blocks },
		{ "hidden",		&info->hidden },
		{ "referenced",	&info->referenced },
		{ "put-pending",	&info->put_pending },
		{ "left-referenced",	&info->left_referenced },
		{ "level-none",		&info->level_none },
		{ "level-user",		&info->level_user },
		{ "level-kernel",	&info->level_kernel },
	};
	char path[64], line[256], name[64];
	unsigned int i;
	FILE *f;
	u64 v;

	memset(info, 0, sizeof(*info));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	TEST_ASSERT(f, "cannot open %s", path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "guest_memfd-%63[^:]:\t%li", name, (long *)&v) != 2)
			continue;
		for (i = 0; i < ARRAY_SIZE(fields); i++) {
			if (!strcmp(name, fields[i].name)) {
				*fields[i].value = v;
				fields[i].seen = true;
			}
		}
	}
	fclose(f);
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		TEST_ASSERT(fields[i].seen, "fdinfo does not show guest_memfd-%s", fields[i].name);
}

/*
 * A 1 ms sleep that takes longer than this shows that other work uses the CPUs
 * of the emulated host.  Do not count the excess, up to a limit, because the
 * kernel itself might delay the wakeup.
 */
#define OVERSLEPT_US		10000
#define MAX_NOT_OURS_US		200000

static u64 now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return timespec_to_ns(t) / 1000;
}

/* Workers of a debug kernel on a slow machine took 6 s for what takes one. */
#define HANGS_MS		60000

u64 gmem_wait(bool (*done)(void *), void *arg)
{
	u64 start = now_us(), not_ours = 0, slept, ms;
	bool is;

	do {
		/*
		 * Call done() before reading the clock: a late success then
		 * counts as late.
		 */
		is = done(arg);
		slept = now_us();
		ms = (slept - start - not_ours) / 1000;
		if (!is) {
			usleep(1000);
			slept = now_us() - slept;
			not_ours += slept > OVERSLEPT_US ? slept - OVERSLEPT_US : 0;
			not_ours = min_t(u64, not_ours, MAX_NOT_OURS_US);
		}
	} while (!is && ms < HANGS_MS);
	TEST_ASSERT(is, "not after %lu ms", ms);
	return ms;
}

u64 gmem_wait_within(bool (*done)(void *), void *arg, u64 limit_ms)
{
	u64 ms = gmem_wait(done, arg);

	TEST_ASSERT(ms <= limit_ms, "after %lu ms, the limit is %lu", ms, limit_ms);
	return ms;
}

char *gmem_read_dump(void)
{
	bool inside = false;
	char line[256];
	char *dump;
	size_t size;
	FILE *f, *out;

	f = fopen(GMEM_PTDUMP, "r");
	TEST_ASSERT(f, "cannot open %s", GMEM_PTDUMP);
	out = open_memstream(&dump, &size);
	TEST_ASSERT(out, "out of memory");
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "---[", 4)) {
			if (inside)
				break;
			inside = strstr(line, GMEM_PTDUMP_MAP);
		}
		if (inside)
			fputs(line, out);
	}
	fclose(f);
	fclose(out);
	TEST_ASSERT(strstr(dump, "\n0x"), "%s does not show the direct map", GMEM_PTDUMP);
	return dump;
}

/* Free single pages wait in a cut block. */
static bool dump_is(void *dump)
{
	char *now;
	bool same;

	gmem_free_singles();
	now = gmem_read_dump();
	same = !strcmp(now, dump);
	free(now);
	return same;
}

void gmem_wait_dump(char *dump)
{
	u64 start = now_us();
	char *now;

	while (!dump_is(dump)) {
		if (now_us() - start < HANGS_MS * 1000) {
			usleep(100000);
			continue;
		}
		now = gmem_read_dump();
		TEST_FAIL("the page tables of the direct map were:\n%sand are:\n%s", dump, now);
	}
}

static bool none_pending(void *fd)
{
	struct gmem_info i;

	gmem_read_info(*(int *)fd, &i);
	return !i.put_pending;
}

u64 gmem_wait_put(int fd)
{
	return gmem_plain() ? 0 : gmem_wait_within(none_pending, &fd, GMEM_REFERENCE_MS);
}

void gmem_assert_counts(int fd, u64 populated, u64 referenced)
{
	struct gmem_info i;

	/* A kernel without the feature has no counters. */
	if (gmem_plain())
		return;

	/* The tests of the clocks judge how long this may take. */
	gmem_wait_within(none_pending, &fd, 10 * GMEM_REFERENCE_MS);
	gmem_read_info(fd, &i);
	TEST_ASSERT(i.populated == populated, "fdinfo: %lu pages populated, want %lu",
		    i.populated, populated);
	TEST_ASSERT(i.referenced == referenced, "fdinfo: %lu pages referenced, want %lu",
		    i.referenced, referenced);
	TEST_ASSERT(i.hidden == populated - referenced, "fdinfo: %lu pages hidden, want %lu",
		    i.hidden, populated - referenced);
	/* Each page of the file has a level, populated or not. */
	TEST_ASSERT((i.level_none + i.level_user + i.level_kernel) * GMEM_PAGE == i.size,
		    "fdinfo: levels add up to %lu pages of %lu bytes",
		    i.level_none + i.level_user + i.level_kernel, i.size);
}

int __gmem_set_access(int fd, u64 offset, u64 size, u32 level, u64 *error_offset)
{
	struct guest_memfd_access a = {
		.offset = offset,
		.size = size,
		.level = level,
		.error_offset = ~0ULL,
	};
	int r = ioctl(fd, GUEST_MEMFD_SET_ACCESS, &a);

	if (error_offset)
		*error_offset = a.error_offset;
	return r;
}

void gmem_set_access(int fd, u64 offset, u64 size, u32 level)
{
	u64 at;
	int r;

	r = __gmem_set_access(fd, offset, size, level, &at);
	TEST_ASSERT(!r, "0x%lx bytes at 0x%lx to level %u: errno %d at 0x%lx", size, offset, level,
		    errno, at);
}

u32 gmem_get_access(int fd, u64 offset, u64 *size)
{
	struct guest_memfd_access a = { .offset = offset };
	int r;

	r = ioctl(fd, GUEST_MEMFD_GET_ACCESS, &a);
	TEST_ASSERT(!r, "level at 0x%lx: errno %d", offset, errno);
	if (size)
		*size = a.size;
	return a.level;
}

/* Does @path have a line for @name? */
static bool find_counter(const char *path, const char *name, u64 *value)
{
	size_t len = strlen(name);
	char line[256];
	bool found = false;
	FILE *f;

	f = fopen(path, "r");
	TEST_ASSERT(f, "cannot open %s", path);
	while (!found && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, name, len) && (line[len] == ' ' || line[len] == ':')) {
			*value = strtoull(line + len + 1, NULL, 10);
			found = true;
		}
	}
	fclose(f);
	return found;
}

static u64 read_counter(const char *path, const char *name)
{
	u64 v;

	TEST_ASSERT(find_counter(path, name, &v), "no %s in %s", name, path);
	return v;
}

static const char *const flush_counters[] = GMEM_FLUSH_COUNTERS;
static const char *const round_counters[] = GMEM_ROUND_COUNTERS;

static u64 add_vmstat(const char *const names[], size_t nr)
{
	u64 sum = 0;
	size_t i;

	for (i = 0; i < nr; i++)
		sum += gmem_vmstat(names[i]);
	return sum;
}

u64 gmem_flushes(void)
{
	return add_vmstat(flush_counters, ARRAY_SIZE(flush_counters));
}

u64 gmem_flush_rounds(void)
{
	u64 sum = add_vmstat(round_counters, ARRAY_SIZE(round_counters));

	return GMEM_ROUND_IS_LOCAL ? sum / sysconf(_SC_NPROCESSORS_ONLN) : sum;
}

bool gmem_counts_flushes(void)
{
	u64 unused;

	return find_counter("/proc/vmstat", flush_counters[0], &unused);
}

u64 gmem_vmstat(const char *name)
{
	return read_counter("/proc/vmstat", name);
}

u64 gmem_meminfo(const char *name)
{
	return read_counter("/proc/meminfo", name);
}

u64 gmem_free_pages(void)
{
	u64 pages = 0, n;
	char line[256];
	FILE *f;

	f = fopen("/proc/zoneinfo", "r");
	TEST_ASSERT(f, "cannot open /proc/zoneinfo");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " pages free %lu", &n) == 1 ||
		    sscanf(line, " count: %lu", &n) == 1)
			pages += n;
	}
	fclose(f);
	TEST_ASSERT(pages, "/proc/zoneinfo shows no free pages");
	return pages;
}
