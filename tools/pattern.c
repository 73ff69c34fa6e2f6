// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <string.h>

#include "pattern.h"
#include "secret.h"

/* Keeps the compiler from calculating the plain pattern at build time. */
#define opaque(x)	__asm__("" : "+r"(x))

static uint64_t load(const uint8_t *mem)
{
	uint64_t w;

	memcpy(&w, mem, sizeof(w));
	return w;
}

static void start(struct pattern *p)
{
	uint64_t mask = 0xa5c3965a3c5a69e1ULL;

	opaque(mask);
	memset(p, 0, sizeof(*p));
	p->mask = mask;
}

/*
 * Wherever the pattern starts, one of the 8-byte words at its first eight bytes
 * lies at a multiple of 8. Sets a bit for the first 16 bits of each of the
 * eight.
 */
static void fill_seen(struct pattern *p)
{
	const uint8_t *masked = (const uint8_t *)p->words;

	for (size_t i = 0; i < 8; i++) {
		/* Byte i of the pattern is masked with byte i % 8 of the mask. */
		unsigned int lo = masked[i] ^ (uint8_t)(p->mask >> 8 * i);
		unsigned int hi = masked[i + 1] ^ (uint8_t)(p->mask >> 8 * ((i + 1) % 8));
		uint16_t key = (uint16_t)((lo | hi << 8) ^ p->mask);

		p->seen[key / 8] |= (uint8_t)(1 << key % 8);
	}
}

void pattern_from_seed(struct pattern *p, uint64_t seed)
{
	start(p);
	for (unsigned int i = 0; i < SECRET_WORDS; i++) {
		uint64_t w = secret_word(seed, i);

		opaque(w);
		p->words[i] = w ^ p->mask;
	}
	p->len = SECRET_WORDS * 8;
	fill_seen(p);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int pattern_from_hex(struct pattern *p, const char *hex)
{
	size_t digits = strlen(hex), len = digits / 2;
	uint8_t *words = (uint8_t *)p->words;
	uint8_t mask[8];

	if (digits % 2 || len < PATTERN_MIN || len > PATTERN_MAX)
		return -1;
	start(p);
	memcpy(mask, &p->mask, sizeof(mask));
	for (size_t i = 0; i < len; i++) {
		int hi = digit(hex[2 * i]), lo = digit(hex[2 * i + 1]);
		uint8_t masked;

		if (hi < 0 || lo < 0)
			return -1;
		masked = (uint8_t)((hi << 4 | lo) ^ mask[i % 8]);
		if (i < len / 8 * 8)
			words[i] = masked;
		else
			p->tail[i % 8] = masked;
	}
	p->len = len;
	fill_seen(p);
	return 0;
}

bool pattern_at(const struct pattern *p, const uint8_t *mem)
{
	const uint8_t *tail = mem + p->len / 8 * 8;
	uint8_t mask[8];

	for (size_t i = 0; i < p->len / 8; i++) {
		uint64_t w = load(mem + 8 * i) ^ p->mask;

		opaque(w);
		if (w != p->words[i])
			return false;
	}
	memcpy(mask, &p->mask, sizeof(mask));
	for (size_t i = 0; i < p->len % 8; i++)
		if ((tail[i] ^ mask[i]) != p->tail[i])
			return false;
	return true;
}

/*
 * Finds the pattern at any byte, with one table look-up for each aligned word.
 */
static size_t look_anywhere(const struct pattern *p, const uint8_t *mem, size_t from,
			    size_t end, size_t avail)
{
	uint16_t mask = (uint16_t)p->mask;

	/* A pattern that starts before @end may have its aligned word after it. */
	for (size_t at = from; at < end + 8 && at + 8 <= avail; at += 8) {
		uint16_t key = (uint16_t)load(mem + at) ^ mask;

		if (!(p->seen[key / 8] & 1 << key % 8))
			continue;
		for (size_t back = 8; back--;) {
			if (at < from + back || at - back >= end)
				continue;
			if (pattern_at(p, mem + at - back))
				return at - back;
		}
	}
	return PATTERN_NONE;
}

size_t pattern_find(const struct pattern *p, const uint8_t *mem, size_t from,
		    size_t size, size_t avail, size_t step)
{
	uint64_t mask = p->mask, first = p->words[0];
	size_t end;

	if (avail < p->len)
		return PATTERN_NONE;
	/* The pattern must start before @size and end by @avail. */
	end = size < avail - p->len + 1 ? size : avail - p->len + 1;
	if (step == 1)
		return look_anywhere(p, mem, from, end, avail);
	for (size_t at = from; at < end; at += step) {
		uint64_t w = load(mem + at) ^ mask;

		if (w == first && pattern_at(p, mem + at))
			return at;
	}
	return PATTERN_NONE;
}
