/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writes an SVG of coloured boxes and lines of text. A drawing begins with
 * svg_begin() and ends with svg_end(), which reports whether all of it was
 * written. An SVG pixel is half a unit wide. Colours are 0xrrggbb.
 */
#ifndef GUESTMEM_SVG_H
#define GUESTMEM_SVG_H

#include <stdint.h>
#include <stdio.h>

/* The size of a character, in units. */
#define TEXT_WIDTH	6
#define TEXT_HEIGHT	7

void svg_begin(FILE *out, unsigned int width, unsigned int height, uint32_t background);

/* Writes nothing for a box without width or height. */
void svg_box(FILE *out, unsigned int x, unsigned int y,
	     unsigned int width, unsigned int height, uint32_t color);

/* Writes one line whose top left corner is @x, @y; cuts it after 111 bytes. */
__attribute__((format(printf, 5, 6)))
void svg_text(FILE *out, unsigned int x, unsigned int y, uint32_t color, const char *fmt, ...);

/* Returns 0, or -1 when any write to @out has failed. */
int svg_end(FILE *out);

#endif
