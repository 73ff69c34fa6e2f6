/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reads the page-table dump of the kernel in debugfs (CONFIG_PTDUMP_DEBUGFS)
 * and finds out which kind of entry maps each physical address in the direct
 * map, which arm64 calls the linear map.
 */
#ifndef GUESTMEM_PTDUMP_H
#define GUESTMEM_PTDUMP_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kcore.h"

enum ptlevel {
	PT_NONE,	/* no entry maps it */
	PT_4K,
	PT_2M,
	PT_1G,
	PT_LEVELS
};

/* The physical addresses [start, end) are mapped by entries of one kind. */
struct ptrange {
	uint64_t start;
	uint64_t end;
	enum ptlevel level;
};

struct ptdump {
	struct ptrange *range;	/* sorted; an address in no range is not mapped */
	size_t nr;
};

/* The bytes of RAM by the kind of entry, and the bytes that are not RAM. */
struct pttally {
	uint64_t bytes[PT_LEVELS];
	uint64_t hole;
};

/*
 * The properties of a dump that differ between architectures: the machine in
 * the ELF header of /proc/kcore, the file in debugfs, and the words after the
 * size of a range. level() parses these words; it returns 0, or -1 for unknown
 * words.
 */
struct ptdump_format {
	uint16_t machine;
	const char *file;
	int (*level)(const char *words, enum ptlevel *level);
};

extern const struct ptdump_format ptdump_x86;
extern const struct ptdump_format ptdump_arm64;

/*
 * Parses the dump @in and keeps the ranges of the virtual addresses from @base
 * to @base + @limit, as physical addresses. Returns 0, or -1 with a one-line
 * reason.
 */
int ptdump_parse(struct ptdump *pt, const struct ptdump_format *format, FILE *in,
		 uint64_t base, uint64_t limit, char *why, size_t why_size);

/* Returns the path of the dump in debugfs on the architecture of @kc. */
const char *ptdump_file(const struct kcore *kc);

/* Parses the dump in the file @path for the direct map of all RAM of @kc. */
int ptdump_load(struct ptdump *pt, const char *path, const struct kcore *kc,
		char *why, size_t why_size);
/* Parses it for the mapping of the kernel image, which @kc must know. */
int ptdump_load_image(struct ptdump *pt, const char *path, const struct kcore *kc,
		      char *why, size_t why_size);
void ptdump_free(struct ptdump *pt);

enum ptlevel ptdump_level(const struct ptdump *pt, uint64_t phys);

/* Counts the bytes of [start, end) by the kind of entry that maps them. */
void ptdump_tally(const struct ptdump *pt, const struct kcore *kc,
		  uint64_t start, uint64_t end, struct pttally *sum);

#endif
