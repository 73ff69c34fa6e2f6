// SPDX-License-Identifier: GPL-2.0-only
#include <stdbool.h>
#include <string.h>

#include "view.h"

#define GIB	(1ULL << 30)

const char *const cell_names[CELL_STATES] = {
	[CELL_HOLE] = "no RAM",
	[CELL_1G] = "1 GiB entries",
	[CELL_2M] = "2 MiB entries",
	[CELL_4K] = "4 KiB entries",
	[CELL_PART] = "partly not mapped",
	[CELL_NONE] = "not mapped",
};

enum cell cell_state(const struct pttally *t)
{
	uint64_t mapped = t->bytes[PT_4K] + t->bytes[PT_2M] + t->bytes[PT_1G];

	if (!mapped)
		return t->bytes[PT_NONE] ? CELL_NONE : CELL_HOLE;
	if (t->bytes[PT_NONE])
		return CELL_PART;
	if (t->bytes[PT_1G] >= t->bytes[PT_2M] && t->bytes[PT_1G] >= t->bytes[PT_4K])
		return CELL_1G;
	return t->bytes[PT_2M] >= t->bytes[PT_4K] ? CELL_2M : CELL_4K;
}

static void add_panel(struct view *v, uint64_t start, size_t *nr)
{
	if (*nr && *nr <= MAX_PANELS && v->panel[*nr - 1] == start)
		return;
	if (*nr < MAX_PANELS)
		v->panel[*nr] = start;
	++*nr;
}

size_t view_panels(struct view *v, uint64_t panel_bytes)
{
	size_t nr = 0;

	for (size_t i = 0; i < v->kc->nr_ram && nr <= MAX_PANELS; i++) {
		uint64_t at = v->kc->ram[i].start & ~(panel_bytes - 1);

		for (; at < v->kc->ram[i].end && nr <= MAX_PANELS; at += panel_bytes)
			add_panel(v, at, &nr);
	}
	v->cell_bytes = panel_bytes / CELLS_PER_PANEL;
	v->nr_panels = nr <= MAX_PANELS ? nr : 0;
	return v->nr_panels;
}

void view_init(struct view *v, const struct kcore *kc, const struct ptdump *pt)
{
	*v = (struct view) { .kc = kc, .pt = pt };
	for (uint64_t panel = GIB; !view_panels(v, panel); panel *= 2)
		;
}

static const char *glyph(enum cell state, enum view_style style)
{
	static const char *const glyphs[][CELL_STATES] = {
		[VIEW_ASCII] = { " ", "G", "M", "k", "o", "." },
		[VIEW_UTF8] = { " ", "█", "▓", "▒", "◒", "·" },
	};

	return glyphs[style][state];
}

/* Numbers of colours, for terminals with 256 colours. */
static const unsigned char term_color[CELL_STATES] = { 236, 25, 68, 153, 215, 160 };

static enum cell cell_at(const struct view *v, size_t panel, unsigned int cell)
{
	uint64_t start = v->panel[panel] + cell * v->cell_bytes;
	struct pttally t;

	ptdump_tally(v->pt, v->kc, start, start + v->cell_bytes, &t);
	return cell_state(&t);
}

/* Prints two rows of cells, one above the other, in each terminal line. */
static void print_colored(const struct view *v, size_t panel, FILE *out)
{
	for (unsigned int cell = 0; cell < CELLS_PER_PANEL; cell++) {
		if (cell % CELLS_PER_ROW == 0)
			fputs("  ", out);
		fprintf(out, "\033[38;5;%u;48;5;%um▀", term_color[cell_at(v, panel, cell)],
			term_color[cell_at(v, panel, cell + CELLS_PER_ROW)]);
		if (cell % CELLS_PER_ROW == CELLS_PER_ROW - 1) {
			fputs("\033[0m\n", out);
			cell += CELLS_PER_ROW;
		}
	}
}

static void print_plain(const struct view *v, size_t panel, enum view_style style, FILE *out)
{
	for (unsigned int cell = 0; cell < CELLS_PER_PANEL; cell++)
		fprintf(out, "%s%s%s", cell % CELLS_PER_ROW ? "" : "  |",
			glyph(cell_at(v, panel, cell), style),
			cell % CELLS_PER_ROW == CELLS_PER_ROW - 1 ? "|\n" : "");
}

static void print_legend(const struct view *v, enum view_style style, FILE *out)
{
	fprintf(out, "One cell is %llu MiB:", mib(v->cell_bytes));
	for (int i = CELL_1G; i < CELL_STATES; i++) {
		if (style == VIEW_COLOR)
			fprintf(out, "  \033[38;5;%um█\033[0m %s", term_color[i], cell_names[i]);
		else
			fprintf(out, "  %s %s", glyph(i, style), cell_names[i]);
	}
	fputs("\n", out);
}

void view_print(const struct view *v, enum view_style style, FILE *out)
{
	uint64_t size = v->cell_bytes * CELLS_PER_PANEL;

	print_legend(v, style, out);
	for (size_t i = 0; i < v->nr_panels; i++) {
		struct pttally t;

		ptdump_tally(v->pt, v->kc, v->panel[i], v->panel[i] + size, &t);
		fprintf(out, "%llu GiB: in MiB by 1 GiB entries %llu, 2 MiB %llu, 4 KiB %llu; "
			"not mapped %llu KiB; no RAM %llu\n",
			(unsigned long long)(v->panel[i] / GIB),
			mib(t.bytes[PT_1G]), mib(t.bytes[PT_2M]),
			mib(t.bytes[PT_4K]),
			kib(t.bytes[PT_NONE]), mib(t.hole));
		if (style == VIEW_COLOR)
			print_colored(v, i, out);
		else
			print_plain(v, i, style, out);
	}
}
