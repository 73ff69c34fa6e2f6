/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's pool of hidden, clean blocks.  A kernel without one behaves as one
 * whose pool is empty.
 */
#ifndef BENCH_POOL_H
#define BENCH_POOL_H

#include <stdbool.h>
#include <stdint.h>

/* What the pool has when memory is populated. */
enum pool {
	POOL_WARM,	/* all blocks that the figure populates */
	POOL_EMPTY,	/* nothing, and it is off */
	NR_POOLS
};

/* "pool=warm", "pool=empty" */
const char *pool_name(enum pool pool);

/*
 * Put the pool into that state for @size bytes of memory, and return when the kernel
 * has done so.  A pool that was filled takes blocks back, but is not refilled while
 * @size bytes are in use: a worker that allocates and clears would be part of the
 * figure.  The program's end restores the setting that the kernel had.
 */
void pool_prepare(enum pool pool, uint64_t size);

/* The watermarks, in bytes; waits until the pool has reached @low. */
void pool_set(uint64_t low, uint64_t high);

/* Bytes that the pool has; 0 without a pool. */
uint64_t pool_size(void);

/*
 * The sum of the numbers that follow @key in a text: "blocks 5", "blocks: 5" or
 * "node 0 blocks 5 hits 7", in any number of lines.
 */
uint64_t pool_parse(const char *text, const char *key);

#endif
