/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the scanner looks for. The plain pattern is nowhere in the scanner's
 * memory: it is kept xor-ed with a mask, and compared word by word.
 */
#ifndef GUESTMEM_PATTERN_H
#define GUESTMEM_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_MIN	16
#define PATTERN_MAX	256
#define PATTERN_STEP	64	/* where it is looked for, unless "anywhere" */
#define PATTERN_NONE	((size_t)-1)

struct pattern {
	uint64_t mask;
	uint64_t words[PATTERN_MAX / 8];	/* masked */
	uint8_t tail[8];			/* masked: the bytes after the last whole word */
	size_t len;
	uint8_t seen[65536 / 8];		/* masked: see look_anywhere() */
};

void pattern_from_seed(struct pattern *p, uint64_t seed);

/* Hex digits, PATTERN_MIN to PATTERN_MAX bytes. Returns -1 for anything else. */
int pattern_from_hex(struct pattern *p, const char *hex);

/* Is the pattern at @mem, which has at least p->len bytes? */
bool pattern_at(const struct pattern *p, const uint8_t *mem);

/*
 * The first offset in [from, size) at which the pattern starts, PATTERN_NONE
 * if there is none. It has to end by @avail, which may lie behind @size. Only
 * from, from + step, ... are looked at.
 */
size_t pattern_find(const struct pattern *p, const uint8_t *mem, size_t from,
		    size_t size, size_t avail, size_t step);

#endif
