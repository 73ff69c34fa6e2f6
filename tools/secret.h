/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The secret that the demo's guest writes to its pages and that the scanner
 * looks for. Both calculate it word by word from a seed, so neither program
 * file contains it. Word i of a page is secret_word(seed, i % SECRET_WORDS).
 */
#ifndef GUESTMEM_SECRET_H
#define GUESTMEM_SECRET_H

#include <stdint.h>

#define SECRET_WORDS	4

/* Applies a bijective mixer (multiply and xor-shift, twice) to a counter. */
static inline uint64_t secret_word(uint64_t seed, unsigned int i)
{
	uint64_t x = (seed + 1) * 0x9ddfea08eb382d69ULL + (i + 1) * 0xd1342543de82ef95ULL;

	x ^= x >> 32;
	x *= 0xaef17502108ef2d9ULL;
	x ^= x >> 29;
	x *= 0xdb4f0b9175ae2165ULL;
	x ^= x >> 32;
	return x;
}

#endif
