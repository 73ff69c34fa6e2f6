// SPDX-License-Identifier: GPL-2.0-only
/* Addresses of guest memory around the hole; nothing is dereferenced. */
#include "memory.h"
#include "tap.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

int main(void)
{
	uint8_t *base = (uint8_t *)0x10000000;
	struct memory small = { .base = base, .size = 64 * MIB };
	struct memory large = { .base = base, .size = 4 * GIB };
	uint64_t offset;

	ok(memory_low(&small) == 64 * MIB && memory_high(&small) == 0, "64 MiB: all is low");
	ok(memory_low(&large) == 3 * GIB && memory_high(&large) == GIB,
	   "4 GiB: 3 below the hole, 1 above");

	ok(memory_at(&small, 0, 1) == base, "the first byte");
	ok(memory_at(&small, 64 * MIB - 1, 1) == base + 64 * MIB - 1, "the last byte");
	ok(!memory_at(&small, 64 * MIB - 1, 2), "one byte beyond the end");
	ok(!memory_at(&small, 64 * MIB, 1), "at the end");
	ok(!memory_at(&small, 0, UINT64_MAX), "a length that is too large");
	ok(!memory_at(&small, UINT64_MAX, 2), "an address that would wrap");
	ok(!memory_at(&small, MEMORY_HIGH_BASE, 1), "above the hole with no memory there");

	ok(memory_at(&large, 3 * GIB - 1, 1) == base + 3 * GIB - 1, "the last below the hole");
	ok(!memory_at(&large, 3 * GIB - 1, 2), "into the hole");
	ok(!memory_at(&large, 3 * GIB, 1), "in the hole");
	ok(!memory_at(&large, MEMORY_HIGH_BASE - 1, 2), "out of the hole");
	ok(memory_at(&large, MEMORY_HIGH_BASE, GIB) == base + 3 * GIB, "all above the hole");
	ok(!memory_at(&large, MEMORY_HIGH_BASE, GIB + 1), "beyond all above the hole");
	ok(!memory_at(&large, MEMORY_HIGH_BASE + 1, UINT64_MAX), "high and much too long");
	ok(memory_offset(&large, MEMORY_HIGH_BASE, GIB, &offset) && offset == 3 * GIB,
	   "above the hole: its place in the memory");
	ok(!memory_offset(&large, 3 * GIB - MIB, 2 * MIB, &offset), "not across the hole");
	large.base = NULL;
	ok(!memory_at(&large, 0, 1) && memory_offset(&large, 0, 1, &offset) && !offset,
	   "sealed memory has a place, but no address");
	return done_testing();
}
