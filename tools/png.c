// SPDX-License-Identifier: GPL-2.0-only
/*
 * Draws a picture and writes it as a PNG with a palette. Of deflate's means it
 * uses runs of one byte and the fixed code: with each row stored as its
 * difference from the row above, boxes are little else than runs of zeroes.
 */
#include <stdlib.h>
#include <string.h>

#include "picture.h"

#define SCALE	2	/* pixels a unit */

struct bytes {
	uint8_t *data;
	size_t nr, room;
	uint32_t bits;		/* not yet written, the lowest first */
	unsigned int nr_bits;
	int failed;
};

static void put(struct bytes *b, uint8_t byte)
{
	if (b->nr == b->room) {
		size_t room = b->room ? b->room * 2 : 4096;
		uint8_t *data = realloc(b->data, room);

		if (!data) {
			b->failed = 1;
			return;
		}
		b->data = data;
		b->room = room;
	}
	b->data[b->nr++] = byte;
}

static void put32(struct bytes *b, uint32_t value)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		put(b, (uint8_t)(value >> shift));
}

static void put_bits(struct bytes *b, uint32_t value, unsigned int nr)
{
	b->bits |= value << b->nr_bits;
	b->nr_bits += nr;
	while (b->nr_bits >= 8) {
		put(b, (uint8_t)b->bits);
		b->bits >>= 8;
		b->nr_bits -= 8;
	}
}

/* Huffman codes go in with their highest bit first. */
static void put_code(struct bytes *b, uint32_t code, unsigned int nr)
{
	uint32_t turned = 0;

	for (unsigned int i = 0; i < nr; i++)
		turned |= (code >> i & 1) << (nr - 1 - i);
	put_bits(b, turned, nr);
}

/* Literals 0..255, 256 the end, 257..285 lengths. */
static void put_symbol(struct bytes *b, unsigned int symbol)
{
	if (symbol < 144)
		put_code(b, 0x30 + symbol, 8);
	else if (symbol < 256)
		put_code(b, 0x190 + symbol - 144, 9);
	else if (symbol < 280)
		put_code(b, symbol - 256, 7);
	else
		put_code(b, 0xc0 + symbol - 280, 8);
}

/* "Again the last byte, @length times", 3 to 258. */
static void put_run(struct bytes *b, unsigned int length)
{
	unsigned int extra = 0, over = length - 3;

	if (length == 258) {
		put_symbol(b, 285);
	} else {
		/* Four symbols for each number of extra bits, eight without any. */
		while (over >> extra >= 8)
			extra++;
		put_symbol(b, 257 + 4 * extra + (over >> extra));
		put_bits(b, over & ((1U << extra) - 1), extra);
	}
	put_code(b, 0, 5);	/* distance 1 */
}

static uint32_t adler32(const uint8_t *data, size_t size)
{
	uint32_t a = 1, b = 0;

	for (size_t i = 0; i < size; i++) {
		a = (a + data[i]) % 65521;
		b = (b + a) % 65521;
	}
	return b << 16 | a;
}

static void deflate(struct bytes *b, const uint8_t *data, size_t size)
{
	put(b, 0x78);
	put(b, 0x01);
	put_bits(b, 1, 1);	/* the last block, and the only one */
	put_bits(b, 1, 2);	/* fixed code */
	for (size_t i = 0; i < size;) {
		size_t run = 0;

		while (i && run < 258 && i + run < size && data[i + run] == data[i - 1])
			run++;
		if (run >= 3) {
			put_run(b, (unsigned int)run);
			i += run;
		} else {
			put_symbol(b, data[i++]);
		}
	}
	put_symbol(b, 256);
	put_bits(b, 0, 7);	/* to the next whole byte */
	b->bits = b->nr_bits = 0;
	put32(b, adler32(data, size));
}

static uint32_t crc32(const uint8_t *data, size_t size)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void put_chunk(struct bytes *b, const char *type, const uint8_t *data, size_t size)
{
	size_t from;

	put32(b, (uint32_t)size);
	from = b->nr;
	for (int i = 0; i < 4; i++)
		put(b, (uint8_t)type[i]);
	for (size_t i = 0; i < size; i++)
		put(b, data[i]);
	if (!b->failed)
		put32(b, crc32(b->data + from, b->nr - from));
}

struct canvas {
	uint8_t *pixel;
	unsigned int width, height;
};

static void draw_box(struct canvas *c, unsigned int x, unsigned int y,
		     unsigned int width, unsigned int height, uint8_t color)
{
	unsigned int right = (x + width) * SCALE, bottom = (y + height) * SCALE;

	for (unsigned int row = y * SCALE; row < bottom && row < c->height; row++)
		for (unsigned int col = x * SCALE; col < right && col < c->width; col++)
			c->pixel[(size_t)row * c->width + col] = color;
}

static void draw_text(struct canvas *c, const struct text *t)
{
	unsigned int x = t->x;

	for (const char *s = t->words; *s; s++, x += TEXT_WIDTH) {
		const uint8_t *glyph = font_glyph(*s);

		for (unsigned int row = 0; row < TEXT_HEIGHT; row++)
			for (unsigned int col = 0; col < 5; col++)
				if (glyph[row] & 0x10 >> col)
					draw_box(c, x + col, t->y + row, 1, 1, t->color);
	}
}

/* All rows, each after the number of its filter: 2, the difference from the row above. */
static uint8_t *filter_rows(const struct canvas *c, size_t *size)
{
	uint8_t *rows, *to;

	*size = (size_t)c->height * (c->width + 1);
	rows = to = malloc(*size);
	if (!rows)
		return NULL;
	for (unsigned int row = 0; row < c->height; row++) {
		const uint8_t *pixel = c->pixel + (size_t)row * c->width;

		*to++ = 2;
		for (unsigned int col = 0; col < c->width; col++)
			*to++ = (uint8_t)(pixel[col] - (row ? pixel[col - (size_t)c->width] : 0));
	}
	return rows;
}

static void put_header(struct bytes *b, const struct picture *pic, const struct canvas *c)
{
	static const uint8_t signature[] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
	uint8_t colors[256 * 3], head[13] = {
		[0] = (uint8_t)(c->width >> 24), (uint8_t)(c->width >> 16),
		(uint8_t)(c->width >> 8), (uint8_t)c->width,
		[4] = (uint8_t)(c->height >> 24), (uint8_t)(c->height >> 16),
		(uint8_t)(c->height >> 8), (uint8_t)c->height,
		[8] = 8,	/* bits a pixel */
		[9] = 3,	/* palette */
	};

	for (size_t i = 0; i < sizeof(signature); i++)
		put(b, signature[i]);
	put_chunk(b, "IHDR", head, sizeof(head));
	for (size_t i = 0; i < pic->nr_colors; i++)
		for (unsigned int j = 0; j < 3; j++)
			colors[3 * i + j] = (uint8_t)(pic->palette[i] >> (16 - 8 * j));
	put_chunk(b, "PLTE", colors, 3 * pic->nr_colors);
}

int picture_png(const struct picture *pic, FILE *out)
{
	struct canvas c = { .width = pic->width * SCALE, .height = pic->height * SCALE };
	struct bytes file = {}, packed = {};
	uint8_t *rows = NULL;
	size_t size;
	int ret = -1;

	c.pixel = calloc(c.height, c.width);
	if (!c.pixel || pic->out_of_memory || pic->nr_colors > 256)
		goto out;
	for (size_t i = 0; i < pic->nr_boxes; i++)
		draw_box(&c, pic->box[i].x, pic->box[i].y, pic->box[i].width,
			 pic->box[i].height, pic->box[i].color);
	for (size_t i = 0; i < pic->nr_texts; i++)
		draw_text(&c, &pic->text[i]);
	rows = filter_rows(&c, &size);
	if (!rows)
		goto out;
	deflate(&packed, rows, size);
	put_header(&file, pic, &c);
	put_chunk(&file, "IDAT", packed.data, packed.nr);
	put_chunk(&file, "IEND", NULL, 0);
	if (!packed.failed && !file.failed && fwrite(file.data, file.nr, 1, out) == 1 &&
	    !fflush(out))
		ret = 0;
out:
	free(rows);
	free(packed.data);
	free(file.data);
	free(c.pixel);
	return ret;
}
