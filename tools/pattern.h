/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pattern that the scanner looks for. The scanner keeps it xor-ed with a
 * mask and compares it word by word, so its memory never contains the plain
 * pattern.
 */
#ifndef GUESTMEM_PATTERN_H
#define GUESTMEM_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_MIN	16
#define PATTERN_MAX	256
#define PATTERN_STEP	64	/* the scanner looks at multiples of this, unless --anywhere */
#define PATTERN_NONE	((size_t)-1)

struct pattern {
	uint64_t mask;
	uint64_t words[PATTERN_MAX / 8];	/* masked */
	uint8_t tail[8];			/* masked: the bytes after the last whole word */
	size_t len;
	uint8_t seen[65536 / 8];		/* a bit for each 16-bit value: see fill_seen() */
};

void pattern_from_seed(struct pattern *p, uint64_t seed);

/*
 * Parses hex digits for PATTERN_MIN to PATTERN_MAX bytes. Returns 0, or -1 for
 * other text.
 */
int pattern_from_hex(struct pattern *p, const char *hex);

/* Returns whether the pattern is at @mem, which must have p->len bytes. */
bool pattern_at(const struct pattern *p, const uint8_t *mem);

/*
 * Looks for the pattern at the offsets from, from + step, ... below @size.
 * Returns the first offset at which it starts, or PATTERN_NONE. The pattern
 * must end by @avail, which may be larger than @size.
 */
size_t pattern_find(const struct pattern *p, const uint8_t *mem, size_t from,
		    size_t size, size_t avail, size_t step);

#endif
