// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "pattern.h"
#include "secret.h"
#include "tap.h"

#define SIZE	8192

static void plain(uint8_t *to, uint64_t seed)
{
	for (unsigned int i = 0; i < SECRET_WORDS; i++) {
		uint64_t w = secret_word(seed, i);

		memcpy(to + 8 * i, &w, 8);
	}
}

static void test_alignments(void)
{
	uint8_t *mem = calloc(1, SIZE), secret[32];
	struct pattern p;
	size_t wrong = 0, aligned = 0, missed = 0;

	pattern_from_seed(&p, 5);
	plain(secret, 5);
	for (size_t at = 0; at + sizeof(secret) <= SIZE; at++) {
		size_t found;

		memcpy(mem + at, secret, sizeof(secret));
		wrong += pattern_find(&p, mem, 0, SIZE, SIZE, 1) != at;
		found = pattern_find(&p, mem, 0, SIZE, SIZE, PATTERN_STEP);
		if (at % PATTERN_STEP)
			aligned += found != PATTERN_NONE;
		else
			missed += found != at;
		memset(mem + at, 0, sizeof(secret));
	}
	ok(!wrong, "anywhere: found at every offset (%zu were not)", wrong);
	ok(!missed, "in steps: found at every multiple (%zu were not)", missed);
	ok(!aligned, "in steps: nothing found between them (%zu were)", aligned);
	ok(pattern_find(&p, mem, 0, SIZE, SIZE, 1) == PATTERN_NONE, "nothing found in zeroes");
	free(mem);
}

static void test_ends(void)
{
	/* As long as the scanner may read, so that ASan detects a read beyond it. */
	uint8_t *mem = calloc(1, 64 + 32);
	struct pattern p;

	pattern_from_seed(&p, 9);
	plain(mem + 64, 9);
	ok(pattern_find(&p, mem, 0, 96, 96, 1) == 64, "found at the very end");
	ok(pattern_find(&p, mem, 0, 96, 95, 1) == PATTERN_NONE, "not found without its end");
	ok(pattern_find(&p, mem, 0, 64, 96, 1) == PATTERN_NONE, "not found when it starts behind");
	ok(pattern_find(&p, mem, 0, 65, 96, 1) == 64, "found when it reaches over the page's end");
	ok(pattern_find(&p, mem, 65, 96, 96, 1) == PATTERN_NONE, "not found before where to start");
	ok(pattern_find(&p, mem, 0, 8, 8, 1) == PATTERN_NONE, "memory shorter than the pattern");
	free(mem);
}

static void test_near_misses(void)
{
	uint8_t mem[32];
	struct pattern p;
	unsigned int found = 0;

	pattern_from_seed(&p, 3);
	for (unsigned int bit = 0; bit < 256; bit++) {
		plain(mem, 3);
		mem[bit / 8] ^= (uint8_t)(1 << bit % 8);
		found += pattern_at(&p, mem);
	}
	ok(!found, "one wrong bit is not the pattern (%u were)", found);
}

/* The memory in which the scanner keeps the pattern must not contain the pattern. */
static void test_not_itself(void)
{
	struct pattern p, h;
	char hex[2 * 35 + 1] = "";
	uint8_t secret[35];

	pattern_from_seed(&p, 11);
	ok(pattern_find(&p, (uint8_t *)&p, 0, sizeof(p), sizeof(p), 1) == PATTERN_NONE,
	   "a pattern from a seed does not find itself");
	for (size_t i = 0; i < sizeof(secret); i++) {
		secret[i] = (uint8_t)(i * 37 + 1);
		sprintf(hex + 2 * i, i % 2 ? "%02x" : "%02X", secret[i]);
	}
	ok(!pattern_from_hex(&h, hex) && h.len == sizeof(secret), "hex digits, in both cases");
	ok(pattern_at(&h, secret), "a pattern from hex digits is what they say");
	secret[34] ^= 1;
	ok(!pattern_at(&h, secret), "the bytes after the last whole word count");
	ok(pattern_find(&h, (uint8_t *)&h, 0, sizeof(h), sizeof(h), 1) == PATTERN_NONE,
	   "a pattern from hex digits does not find itself");
}

static void test_bad_hex(void)
{
	char longest[2 * PATTERN_MAX + 3];
	struct pattern p;

	memset(longest, 'a', sizeof(longest));
	longest[2 * PATTERN_MAX] = '\0';
	ok(!pattern_from_hex(&p, longest) && p.len == PATTERN_MAX, "the longest pattern");
	longest[2 * PATTERN_MAX] = 'a';
	longest[2 * PATTERN_MAX + 2] = '\0';
	longest[2 * PATTERN_MAX + 1] = 'a';
	ok(pattern_from_hex(&p, longest) < 0, "one byte too long");
	ok(pattern_from_hex(&p, "") < 0, "empty");
	ok(pattern_from_hex(&p, "0011223344556677") < 0, "too short");
	ok(pattern_from_hex(&p, "00112233445566778899aabbccddeef") < 0, "half a byte");
	ok(pattern_from_hex(&p, "00112233445566778899aabbccddeefg") < 0, "a letter too far");
	ok(pattern_from_hex(&p, "0x112233445566778899aabbccddeeff") < 0, "0x is no byte");
}

static void test_seeds(void)
{
	unsigned int same = 0, plain_byte = 0;

	for (uint64_t seed = 0; seed < 1000; seed++)
		for (unsigned int i = 0; i < SECRET_WORDS; i++) {
			same += secret_word(seed, i) == secret_word(seed + 1, i);
			same += secret_word(seed, i) == secret_word(seed, (i + 1) % SECRET_WORDS);
			plain_byte += secret_word(seed, i) == 0;
		}
	ok(!same && !plain_byte, "seeds and words differ");
}

int main(void)
{
	test_alignments();
	test_ends();
	test_near_misses();
	test_not_itself();
	test_bad_hex();
	test_seeds();
	return done_testing();
}
