// SPDX-License-Identifier: GPL-2.0-only
/* Lays out the drawing of the direct map, in the units of svg.h. */
#include "svg.h"
#include "view.h"

#define MARGIN		16
#define LABEL		44	/* "1234 GiB" at the left of a panel */
#define CELL		6
#define GRID		(CELLS_PER_ROW * CELL)
#define ROWS		(CELLS_PER_PANEL / CELLS_PER_ROW)
#define GAP		14	/* between the grid and the bar, and between panels */
#define BAR		250
#define BAR_HEIGHT	16
#define PANEL		(ROWS * CELL + GAP)
#define HEAD		62	/* title and legend */

#define BACKGROUND	0xffffff
#define INK		0x222222
#define FAINT		0x777777

/* A cell of state CELL_PART has the colours of CELL_4K and CELL_NONE. */
static const uint32_t colors[CELL_STATES] = {
	[CELL_HOLE] = 0xeeeeee,
	[CELL_1G] = 0x1d4e89,
	[CELL_2M] = 0x4f8fcb,
	[CELL_4K] = 0xb5d3ee,
	[CELL_NONE] = 0xc0392b,
};

static void draw_head(const struct view *v, const char *title, FILE *out)
{
	unsigned int x = MARGIN, y = MARGIN + 20;
	struct pttally t;
	uint64_t end = v->kc->ram[v->kc->nr_ram - 1].end;

	ptdump_tally(v->pt, v->kc, 0, end, &t);
	svg_text(out, MARGIN, MARGIN, INK, "%s", title);
	svg_text(out, MARGIN, MARGIN + 11, FAINT,
		 "%llu MiB of RAM, %llu KiB of it not mapped. One cell is %llu MiB.",
		 mib(v->kc->ram_bytes), kib(t.bytes[PT_NONE]), mib(v->cell_bytes));
	y += 6;
	for (int i = CELL_HOLE; i < CELL_STATES; i++) {
		unsigned int width = 0;

		for (const char *s = cell_names[i]; *s; s++)
			width += TEXT_WIDTH;
		if (i == CELL_PART) {
			svg_box(out, x, y, CELL + 1, CELL + 1, colors[CELL_4K]);
			svg_box(out, x, y + 3, CELL + 1, CELL - 2, colors[CELL_NONE]);
		} else {
			svg_box(out, x, y, CELL + 1, CELL + 1, colors[i]);
		}
		svg_text(out, x + CELL + 5, y, INK, "%s", cell_names[i]);
		x += CELL + 5 + width + 14;
	}
}

/* Draws a cell of state CELL_PART; the red part is what is not mapped. */
static void draw_part(FILE *out, unsigned int x, unsigned int y, const struct pttally *t)
{
	uint64_t ram = t->bytes[PT_NONE] + t->bytes[PT_4K] + t->bytes[PT_2M] + t->bytes[PT_1G];
	unsigned int height = (unsigned int)((t->bytes[PT_NONE] * (CELL - 1) + ram / 2) / ram);

	if (height < 1)
		height = 1;
	if (height > CELL - 2)
		height = CELL - 2;
	svg_box(out, x, y, CELL - 1, CELL - 1 - height, colors[CELL_4K]);
	svg_box(out, x, y + CELL - 1 - height, CELL - 1, height, colors[CELL_NONE]);
}

static void draw_grid(const struct view *v, size_t panel, unsigned int top, FILE *out)
{
	for (unsigned int i = 0; i < CELLS_PER_PANEL; i++) {
		unsigned int x = MARGIN + LABEL + i % CELLS_PER_ROW * CELL;
		unsigned int y = top + i / CELLS_PER_ROW * CELL;
		uint64_t start = v->panel[panel] + i * v->cell_bytes;
		struct pttally t;
		enum cell state;

		ptdump_tally(v->pt, v->kc, start, start + v->cell_bytes, &t);
		state = cell_state(&t);
		if (state == CELL_PART)
			draw_part(out, x, y, &t);
		else
			svg_box(out, x, y, CELL - 1, CELL - 1, colors[state]);
	}
}

/* Draws a bar, divided by the kinds of entries, and the numbers below it. */
static void draw_bar(const struct view *v, size_t panel, unsigned int top, FILE *out)
{
	static const struct { enum ptlevel level; enum cell color; } part[] = {
		{ PT_1G, CELL_1G }, { PT_2M, CELL_2M }, { PT_4K, CELL_4K }, { PT_NONE, CELL_NONE },
	};
	uint64_t size = v->cell_bytes * CELLS_PER_PANEL, sum = 0;
	unsigned int x = MARGIN + LABEL + GRID + GAP, from = 0;
	struct pttally t;

	ptdump_tally(v->pt, v->kc, v->panel[panel], v->panel[panel] + size, &t);
	svg_box(out, x, top, BAR, BAR_HEIGHT, colors[CELL_HOLE]);
	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		unsigned int to;

		sum += t.bytes[part[i].level];
		to = (unsigned int)(sum / (size / 1024) * BAR / 1024);
		if (to == from && t.bytes[part[i].level] && to < BAR)
			to++;
		svg_box(out, x + from, top, to - from, BAR_HEIGHT, colors[part[i].color]);
		from = to;
	}
	svg_text(out, x, top + BAR_HEIGHT + 5, INK,
		 "MiB by 1 GiB: %llu  2 MiB: %llu  4 KiB: %llu",
		 mib(t.bytes[PT_1G]), mib(t.bytes[PT_2M]), mib(t.bytes[PT_4K]));
	svg_text(out, x, top + BAR_HEIGHT + 16,
		 t.bytes[PT_NONE] ? colors[CELL_NONE] : FAINT,
		 "not mapped: %llu KiB", kib(t.bytes[PT_NONE]));
}

int view_svg(const struct view *v, const char *title, FILE *out)
{
	svg_begin(out, MARGIN + LABEL + GRID + GAP + BAR + MARGIN,
		  MARGIN + HEAD + (unsigned int)v->nr_panels * PANEL - GAP + MARGIN, BACKGROUND);
	draw_head(v, title, out);
	for (size_t i = 0; i < v->nr_panels; i++) {
		unsigned int top = MARGIN + HEAD + (unsigned int)i * PANEL;

		svg_text(out, MARGIN, top, INK, "%llu GiB",
			 (unsigned long long)(v->panel[i] >> 30));
		draw_grid(v, i, top, out);
		draw_bar(v, i, top, out);
	}
	return svg_end(out);
}
