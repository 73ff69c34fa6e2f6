/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A picture made of coloured boxes and lines of text, written as SVG or PNG.
 * Units are half pixels of the PNG; text is 6 units a character, 7 high.
 */
#ifndef GUESTMEM_PICTURE_H
#define GUESTMEM_PICTURE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TEXT_WIDTH	6
#define TEXT_HEIGHT	7

struct box {
	unsigned int x, y, width, height;
	uint8_t color;		/* index into the palette */
};

struct text {
	unsigned int x, y;	/* left, top */
	uint8_t color;
	char words[112];
};

struct picture {
	unsigned int width, height;
	const uint32_t *palette;	/* 0xrrggbb; number 0 is the background */
	size_t nr_colors;
	struct box *box;
	size_t nr_boxes, room_boxes;
	struct text *text;
	size_t nr_texts, room_texts;
	int out_of_memory;
};

void picture_box(struct picture *pic, unsigned int x, unsigned int y,
		 unsigned int width, unsigned int height, uint8_t color);
__attribute__((format(printf, 5, 6)))
void picture_text(struct picture *pic, unsigned int x, unsigned int y,
		  uint8_t color, const char *fmt, ...);
void picture_free(struct picture *pic);

/* 0, or -1 when memory is short or @out has failed. */
int picture_svg(const struct picture *pic, FILE *out);
int picture_png(const struct picture *pic, FILE *out);

/* Seven rows of five pixels, bit 4 the leftmost; a blank for what the font lacks. */
const uint8_t *font_glyph(char c);

#endif
