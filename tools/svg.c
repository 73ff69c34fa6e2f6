// SPDX-License-Identifier: GPL-2.0-only
#include <stdarg.h>

#include "svg.h"

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

void svg_begin(FILE *out, unsigned int width, unsigned int height, uint32_t background)
{
	fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
		"viewBox=\"0 0 %u %u\" shape-rendering=\"crispEdges\" "
		"font-family=\"monospace\" font-size=\"10\" xml:space=\"preserve\">\n",
		2 * width, 2 * height, width, height);
	svg_box(out, 0, 0, width, height, background);
}

void svg_box(FILE *out, unsigned int x, unsigned int y,
	     unsigned int width, unsigned int height, uint32_t color)
{
	if (!width || !height)
		return;
	fprintf(out, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"#%06x\"/>\n",
		x, y, width, height, color);
}

void svg_text(FILE *out, unsigned int x, unsigned int y, uint32_t color, const char *fmt, ...)
{
	char words[112];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	fprintf(out, "<text x=\"%u\" y=\"%u\" fill=\"#%06x\">", x, y + TEXT_HEIGHT, color);
	escape(words, out);
	fputs("</text>\n", out);
}

int svg_end(FILE *out)
{
	fputs("</svg>\n", out);
	return fflush(out) || ferror(out) ? -1 : 0;
}
