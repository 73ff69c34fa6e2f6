/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The direct map divided for drawing: panels of 1 GiB, each with 512 cells, each
 * with one state. A cell is 2 MiB; on a host with much RAM cells and panels are
 * larger.
 */
#ifndef GUESTMEM_VIEW_H
#define GUESTMEM_VIEW_H

#include <stdio.h>

#include "kcore.h"
#include "ptdump.h"

#define CELLS_PER_PANEL	512
#define CELLS_PER_ROW	64
#define MAX_PANELS	64

enum cell {
	CELL_HOLE,	/* no RAM */
	CELL_1G,	/* all of its RAM is mapped, most of it by such entries */
	CELL_2M,
	CELL_4K,
	CELL_PART,	/* some of its RAM is not mapped */
	CELL_NONE,	/* none of its RAM is mapped */
	CELL_STATES
};

struct view {
	const struct kcore *kc;
	const struct ptdump *pt;
	uint64_t cell_bytes;
	uint64_t panel[MAX_PANELS];	/* start addresses, of panels with RAM only */
	size_t nr_panels;
};

enum view_style { VIEW_ASCII, VIEW_UTF8, VIEW_COLOR };

extern const char *const cell_names[CELL_STATES];

enum cell cell_state(const struct pttally *t);
void view_init(struct view *v, const struct kcore *kc, const struct ptdump *pt);
/*
 * Divides RAM into panels of @panel_bytes, a power of two.  Returns their
 * number, or 0 if there would be more than MAX_PANELS.
 */
size_t view_panels(struct view *v, uint64_t panel_bytes);

void view_print(const struct view *v, enum view_style style, FILE *out);
/* Draws an SVG; returns 0, or -1 when any write to @out has failed. */
int view_svg(const struct view *v, const char *title, FILE *out);

/* These return a type that printf() can print. */
static inline unsigned long long mib(uint64_t bytes)
{
	return bytes >> 20;
}

static inline unsigned long long kib(uint64_t bytes)
{
	return bytes >> 10;
}

#endif
