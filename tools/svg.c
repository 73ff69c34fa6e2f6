// SPDX-License-Identifier: GPL-2.0-only
#include "picture.h"

static void escape(const char *s, FILE *out)
{
	for (; *s; s++) {
		switch (*s) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		default:
			fputc((unsigned char)*s < ' ' ? ' ' : *s, out);
		}
	}
}

int picture_svg(const struct picture *pic, FILE *out)
{
	if (pic->out_of_memory)
		return -1;
	fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
		"viewBox=\"0 0 %u %u\" shape-rendering=\"crispEdges\" "
		"font-family=\"monospace\" font-size=\"10\" xml:space=\"preserve\">\n",
		2 * pic->width, 2 * pic->height, pic->width, pic->height);
	fprintf(out, "<rect width=\"%u\" height=\"%u\" fill=\"#%06x\"/>\n",
		pic->width, pic->height, pic->palette[0]);
	for (size_t i = 0; i < pic->nr_boxes; i++) {
		const struct box *b = &pic->box[i];

		fprintf(out,
			"<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"#%06x\"/>\n",
			b->x, b->y, b->width, b->height, pic->palette[b->color]);
	}
	for (size_t i = 0; i < pic->nr_texts; i++) {
		const struct text *t = &pic->text[i];

		fprintf(out, "<text x=\"%u\" y=\"%u\" fill=\"#%06x\">",
			t->x, t->y + TEXT_HEIGHT, pic->palette[t->color]);
		escape(t->words, out);
		fputs("</text>\n", out);
	}
	fputs("</svg>\n", out);
	return fflush(out) || ferror(out) ? -1 : 0;
}
