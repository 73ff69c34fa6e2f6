/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's page tables as debugfs prints them (CONFIG_PTDUMP_DEBUGFS), and
 * of these the direct map, which arm64 calls the linear map: which entry maps
 * which physical address.
 */
#ifndef GUESTMEM_PTDUMP_H
#define GUESTMEM_PTDUMP_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kcore.h"

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
 * What differs between architectures: the machine of the ELF header, the file in
 * debugfs, and the words of a line behind the size of the range. level() returns
 * 0, or -1 for words that it does not know.
 */
struct ptdump_format {
	uint16_t machine;
	const char *file;
	int (*level)(const char *words, enum ptlevel *level);
};

extern const struct ptdump_format ptdump_x86;
extern const struct ptdump_format ptdump_arm64;

/*
 * Keeps what @in says of virtual addresses base..base+limit, as physical
 * addresses. Returns 0, or -1 with a one-line reason.
 */
int ptdump_parse(struct ptdump *pt, const struct ptdump_format *format, FILE *in,
		 uint64_t base, uint64_t limit, char *why, size_t why_size);

/* The file that a kernel of kc's architecture has in debugfs. */
const char *ptdump_file(const struct kcore *kc);

/* ptdump_parse() of a file, for the direct map of all of kc's RAM. */
int ptdump_load(struct ptdump *pt, const char *path, const struct kcore *kc,
		char *why, size_t why_size);
/* The same for the kernel image, which kc has to have. */
int ptdump_load_image(struct ptdump *pt, const char *path, const struct kcore *kc,
		      char *why, size_t why_size);
void ptdump_free(struct ptdump *pt);

enum ptlevel ptdump_level(const struct ptdump *pt, uint64_t phys);

/* Adds up kc's RAM between two physical addresses. */
void ptdump_tally(const struct ptdump *pt, const struct kcore *kc,
		  uint64_t start, uint64_t end, struct pttally *sum);

#endif
