// SPDX-License-Identifier: GPL-2.0-only
/* Tests how sizes and numbers in options are parsed. */
#include "size.h"
#include "tap.h"

static const struct {
	const char *text;
	bool good;
	uint64_t size;
} sizes[] = {
	{ "0", true, 0 },
	{ "4096", true, 4096 },
	{ "64K", true, 64 << 10 },
	{ "64k", true, 64 << 10 },
	{ "512M", true, 512ULL << 20 },
	{ "4G", true, 4ULL << 30 },
	{ "18446744073709551615", true, UINT64_MAX },
	{ "18446744073709551616", false, 0 },
	{ "17179869183G", true, 17179869183ULL << 30 },
	{ "17179869184G", false, 0 },
	{ "", false, 0 },
	{ "M", false, 0 },
	{ "-1", false, 0 },
	{ "+1", false, 0 },
	{ " 1", false, 0 },
	{ "1 ", false, 0 },
	{ "1MB", false, 0 },
	{ "1T", false, 0 },
	{ "0x10", false, 0 },
	{ "1.5G", false, 0 },
};

static const struct {
	const char *text;
	bool good;
} numbers[] = {
	{ "1", true }, { "16", true }, { "0", false }, { "17", false }, { "", false },
	{ "-1", false }, { "4x", false }, { "4294967297", false },
	{ "99999999999999999999", false },
};

int main(void)
{
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t size = 0;
		bool good = parse_size(sizes[i].text, &size);

		ok(good == sizes[i].good && size == sizes[i].size, "size '%s'", sizes[i].text);
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		unsigned long number = 0;
		bool good = parse_number(numbers[i].text, 1, 16, &number);

		ok(good == numbers[i].good && (number != 0) == good, "number '%s' of 1 to 16",
		   numbers[i].text);
	}
	return done_testing();
}
