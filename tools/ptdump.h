/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's page tables as debugfs prints them (page_tables/kernel, from
 * CONFIG_PTDUMP_DEBUGFS), and of these the direct map: which entry maps which
 * physical address.
 */
#ifndef GUESTMEM_PTDUMP_H
#define GUESTMEM_PTDUMP_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kcore.h"

#define PTDUMP_FILE	"/sys/kernel/debug/page_tables/kernel"

enum ptlevel {
	PT_NONE,	/* nothing maps it */
	PT_4K,
	PT_2M,
	PT_1G,
	PT_LEVELS
};

/* Physical addresses [start, end) and the kind of entries that map them. */
struct ptrange {
	uint64_t start;
	uint64_t end;
	enum ptlevel level;
};

struct ptdump {
	struct ptrange *range;	/* sorted; what is in no range is not mapped */
	size_t nr;
};

/* Bytes of RAM by what maps them, and the bytes that are no RAM. */
struct pttally {
	uint64_t bytes[PT_LEVELS];
	uint64_t hole;
};

/*
 * Keeps what @in says of virtual addresses base..base+limit, as physical
 * addresses. Returns 0, or -1 with a one-line reason.
 */
int ptdump_parse(struct ptdump *pt, FILE *in, uint64_t base, uint64_t limit,
		 char *why, size_t why_size);
/* The same from a file, for all of kc's RAM. */
int ptdump_load(struct ptdump *pt, const char *path, const struct kcore *kc,
		char *why, size_t why_size);
void ptdump_free(struct ptdump *pt);

enum ptlevel ptdump_level(const struct ptdump *pt, uint64_t phys);

/* Adds up kc's RAM between two physical addresses. */
void ptdump_tally(const struct ptdump *pt, const struct kcore *kc,
		  uint64_t start, uint64_t end, struct pttally *sum);

#endif
