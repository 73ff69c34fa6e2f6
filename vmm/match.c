// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "match.h"

void match_init(struct match *match, const char *text)
{
	*match = (struct match){ .text = text, .length = text ? strlen(text) : 0 };
}

/* Returns the length of the longest shorter prefix that ends the match. */
static size_t fall_back(const char *text, size_t matched)
{
	size_t n = matched - 1;

	while (n && memcmp(text, text + matched - n, n))
		n--;
	return n;
}

bool match_byte(struct match *match, char byte)
{
	if (!match->text)
		return false;
	while (match->matched && match->text[match->matched] != byte)
		match->matched = fall_back(match->text, match->matched);
	if (match->text[match->matched] == byte)
		match->matched++;
	if (match->matched < match->length)
		return false;
	match->matched = fall_back(match->text, match->matched);
	return true;
}
