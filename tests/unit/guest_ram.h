/* SPDX-License-Identifier: GPL-2.0-only */
/* Allocates guest memory by calloc(), so that ASan detects accesses beyond its ends. */
#ifndef GUEST_RAM_H
#define GUEST_RAM_H

#include <stdlib.h>

#include "memory.h"

static inline struct memory guest_ram(uint64_t size)
{
	struct memory memory = { .kind = MEMORY_PLAIN, .fd = -1, .size = size };

	memory.base = memory.shared = calloc(1, size);
	if (!memory.base)
		abort();
	return memory;
}

#endif
