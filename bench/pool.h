/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Controls the kernel's pool of hidden, cleared blocks.  A kernel without a
 * pool behaves like one whose pool is empty.
 */
#ifndef BENCH_POOL_H
#define BENCH_POOL_H

#include <stdbool.h>
#include <stdint.h>

/* The state of the pool when the figure populates memory. */
enum pool {
	POOL_WARM,	/* it has all blocks that the figure populates */
	POOL_EMPTY,	/* it is empty and turned off */
	NR_POOLS
};

/* Returns "pool=warm" or "pool=empty". */
const char *pool_name(enum pool pool);

/*
 * Puts the pool into that state for @size bytes of memory and waits until the
 * kernel has done so.  A filled pool takes blocks back, but the kernel does not
 * refill it while @size bytes are in use; otherwise a worker that allocates and
 * clears blocks would be part of the figure.  The program restores the original
 * setting when it ends.
 */
void pool_prepare(enum pool pool, uint64_t size);

/* Sets the watermarks in bytes and waits until the pool has reached @low. */
void pool_set(uint64_t low, uint64_t high);

/* Returns the size of the pool in bytes; 0 if the kernel has no pool. */
uint64_t pool_size(void);

/*
 * Returns the sum of the numbers that follow @key in a text: "blocks 5",
 * "blocks: 5" or "node 0 blocks 5 hits 7", in any number of lines.
 */
uint64_t pool_parse(const char *text, const char *key);

#endif
