// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ptdump.h"

static const struct ptdump_format *const formats[] = { &ptdump_x86, &ptdump_arm64 };

/* Always finds one, because kcore_parse() rejects all other machines. */
static const struct ptdump_format *format_of(const struct kcore *kc)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i]->machine == kc->machine)
			return formats[i];
	abort();
}

const char *ptdump_file(const struct kcore *kc)
{
	return format_of(kc)->file;
}

/*
 * Parses one line: a range, its size, and words of the architecture about its
 * entries. Returns 1 for such a line, 0 for a marker
 * ("---[ vmalloc() Area ]---"), -1 for any other line.
 */
static int parse_line(const struct ptdump_format *format, const char *line,
		      uint64_t *start, uint64_t *end, enum ptlevel *level)
{
	unsigned long long from, to;
	int at = 0;

	if (!strncmp(line, "---[", 4) || !strncmp(line, "...", 3))
		return 0;
	if (sscanf(line, "0x%16llx-0x%16llx %*u%*[BKMGTPE]%n", &from, &to, &at) != 2 || !at)
		return -1;
	/* The end of the last range of the address space overflows to 0. */
	if (to && to <= from)
		return -1;
	*start = from;
	*end = to;
	return format->level(line + at, level) ? -1 : 1;
}

static int append(struct ptdump *pt, size_t *room, uint64_t start, uint64_t end,
		  enum ptlevel level)
{
	struct ptrange *last = pt->nr ? &pt->range[pt->nr - 1] : NULL;

	if (last && last->end == start && last->level == level) {
		last->end = end;
		return 0;
	}
	if (pt->nr == *room) {
		size_t more = *room ? *room * 2 : 1024;
		struct ptrange *range = reallocarray(pt->range, more, sizeof(*range));

		if (!range)
			return -1;
		pt->range = range;
		*room = more;
	}
	pt->range[pt->nr++] = (struct ptrange) { start, end, level };
	return 0;
}

int ptdump_parse(struct ptdump *pt, const struct ptdump_format *format, FILE *in,
		 uint64_t base, uint64_t limit, char *why, size_t why_size)
{
	uint64_t start, end, reached = 0;
	size_t room = 0, nr = 0, size = 0;
	enum ptlevel level;
	char *line = NULL;

	memset(pt, 0, sizeof(*pt));
	snprintf(why, why_size, "it is empty");
	while (getline(&line, &size, in) >= 0) {
		int kind = parse_line(format, line, &start, &end, &level);

		nr++;
		if (kind < 0) {
			snprintf(why, why_size, "cannot parse line %zu", nr);
			goto fail;
		}
		if (!kind || start >= base + limit || (end && end <= base))
			continue;
		start = start < base ? 0 : start - base;
		end = !end || end - base > limit ? limit : end - base;
		if (start < reached) {
			snprintf(why, why_size, "line %zu is below the line before it", nr);
			goto fail;
		}
		reached = end;
		if (append(pt, &room, start, end, level)) {
			snprintf(why, why_size, "out of memory");
			goto fail;
		}
	}
	if (ferror(in)) {
		snprintf(why, why_size, "%s", strerror(errno));
		goto fail;
	}
	if (!pt->nr) {
		if (nr)
			snprintf(why, why_size, "it does not describe the direct map at 0x%llx",
				 (unsigned long long)base);
		goto fail;
	}
	free(line);
	return 0;
fail:
	free(line);
	ptdump_free(pt);
	return -1;
}

static int load(struct ptdump *pt, const char *path, const struct kcore *kc,
		uint64_t base, uint64_t limit, char *why, size_t why_size)
{
	FILE *in = fopen(path, "r");
	int ret;

	if (!in) {
		memset(pt, 0, sizeof(*pt));
		snprintf(why, why_size, "%s%s", strerror(errno), errno == ENOENT ?
			 " (needs debugfs mounted, and a kernel with CONFIG_PTDUMP_DEBUGFS)" : "");
		return -1;
	}
	ret = ptdump_parse(pt, format_of(kc), in, base, limit, why, why_size);
	fclose(in);
	return ret;
}

int ptdump_load(struct ptdump *pt, const char *path, const struct kcore *kc,
		char *why, size_t why_size)
{
	return load(pt, path, kc, kc->base, kc->ram[kc->nr_ram - 1].end, why, why_size);
}

int ptdump_load_image(struct ptdump *pt, const char *path, const struct kcore *kc,
		      char *why, size_t why_size)
{
	return load(pt, path, kc, kc->image_base, kc->image.end, why, why_size);
}

void ptdump_free(struct ptdump *pt)
{
	free(pt->range);
	memset(pt, 0, sizeof(*pt));
}

/* Returns the index of the first range that ends after @phys, or pt->nr. */
static size_t first_behind(const struct ptdump *pt, uint64_t phys)
{
	size_t lo = 0, hi = pt->nr;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (pt->range[mid].end > phys)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

enum ptlevel ptdump_level(const struct ptdump *pt, uint64_t phys)
{
	size_t i = first_behind(pt, phys);

	return i < pt->nr && pt->range[i].start <= phys ? pt->range[i].level : PT_NONE;
}

static void tally_ram(const struct ptdump *pt, uint64_t start, uint64_t end, struct pttally *sum)
{
	uint64_t known = 0;

	for (size_t i = first_behind(pt, start); i < pt->nr && pt->range[i].start < end; i++) {
		uint64_t from = pt->range[i].start > start ? pt->range[i].start : start;
		uint64_t to = pt->range[i].end < end ? pt->range[i].end : end;

		sum->bytes[pt->range[i].level] += to - from;
		known += to - from;
	}
	sum->bytes[PT_NONE] += end - start - known;
}

void ptdump_tally(const struct ptdump *pt, const struct kcore *kc,
		  uint64_t start, uint64_t end, struct pttally *sum)
{
	uint64_t ram = 0;

	memset(sum, 0, sizeof(*sum));
	for (size_t i = 0; i < kc->nr_ram; i++) {
		uint64_t from = kc->ram[i].start > start ? kc->ram[i].start : start;
		uint64_t to = kc->ram[i].end < end ? kc->ram[i].end : end;

		if (from >= to)
			continue;
		tally_ram(pt, from, to, sum);
		ram += to - from;
	}
	sum->hole = end - start - ram;
}
