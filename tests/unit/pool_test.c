// SPDX-License-Identifier: GPL-2.0-only
/* Tests how the benchmark parses the pool's counters, in each format of a line. */
#include "pool.h"
#include "tap.h"

int main(void)
{
	const char *text = "blocks 12\nhits 3400\nmisses 0\n";
	const char *nodes = "node 0 blocks 5 hits 7\nnode 1 blocks 6 hits 8\n";

	ok(pool_parse(text, "blocks") == 12 && pool_parse(text, "hits") == 3400, "a key a line");
	ok(pool_parse("blocks:\t12\nhits: 1\n", "blocks") == 12, "with a colon");
	ok(pool_parse(nodes, "blocks") == 11 && pool_parse(nodes, "hits") == 15,
	   "the sum of the nodes");
	ok(pool_parse("free_blocks 4\nblocks_max 5\nblocks 6\n", "blocks") == 6,
	   "not a part of another key");
	ok(pool_parse(text, "flushes") == 0 && pool_parse("", "blocks") == 0, "a key that is not there");
	ok(pool_parse("blocks", "blocks") == 0, "a key without a number");
	return done_testing();
}
