/* SPDX-License-Identifier: GPL-2.0-only */
/* The direct map, as the kernel's page tables show it. */
#ifndef BENCH_DMAP_H
#define BENCH_DMAP_H

#include "kcore.h"
#include "ptdump.h"

struct dmap {
	struct kcore ram;
	struct ptdump pt;
};

/* Ends the program when it cannot be read. */
void dmap_read(struct dmap *d);
void dmap_free(struct dmap *d);

/* All RAM by what maps it. */
void dmap_tally(const struct dmap *d, struct pttally *sum);

#endif
