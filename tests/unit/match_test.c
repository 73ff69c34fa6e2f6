// SPDX-License-Identifier: GPL-2.0-only
/* Tests the search for a text in a stream of bytes. */
#include "match.h"
#include "tap.h"

static unsigned int count(const char *text, const char *stream)
{
	unsigned int found = 0;
	struct match match;

	match_init(&match, text);
	while (*stream)
		found += match_byte(&match, *stream++);
	return found;
}

int main(void)
{
	ok(count("ready", "not yet\nready\n") == 1, "in a line");
	ok(count("ready", "rea\nready") == 1, "after a false start");
	ok(count("ready", "read") == 0, "not all of it");
	ok(count("aab", "aaab") == 1, "a start that overlaps the match");
	ok(count("abab", "ababab") == 2, "two that overlap");
	ok(count("abacabad", "abacabacabad") == 1, "a long overlap");
	ok(count("x", "xxx") == 3, "one character");
	ok(count(NULL, "xxx") == 0, "nothing to look for");
	return done_testing();
}
