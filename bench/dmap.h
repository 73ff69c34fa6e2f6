/* SPDX-License-Identifier: GPL-2.0-only */
/* Reads the direct map from the page-table dump of the kernel. */
#ifndef BENCH_DMAP_H
#define BENCH_DMAP_H

#include "kcore.h"
#include "ptdump.h"

struct dmap {
	struct kcore ram;
	struct ptdump pt;
};

/* Ends the program if it cannot read the dump. */
void dmap_read(struct dmap *d);
void dmap_free(struct dmap *d);

/* Counts the bytes of all RAM by the kind of entry that maps them. */
void dmap_tally(const struct dmap *d, struct pttally *sum);

#endif
