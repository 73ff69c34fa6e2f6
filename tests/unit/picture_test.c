// SPDX-License-Identifier: GPL-2.0-only
/* Pictures: what is drawn can be read back from the PNG, and the SVG is well-formed. */
#include <stdlib.h>
#include <string.h>

#include "picture.h"
#include "tap.h"

static const uint32_t palette[] = { 0xffffff, 0x112233, 0xc0392b };

struct input {
	const uint8_t *data;
	size_t size, at;	/* in bits */
};

static unsigned int bits(struct input *in, unsigned int nr)
{
	unsigned int value = 0;

	for (unsigned int i = 0; i < nr; i++, in->at++)
		if (in->at / 8 < in->size)
			value |= (in->data[in->at / 8] >> in->at % 8 & 1U) << i;
	return value;
}

static unsigned int code(struct input *in, unsigned int value, unsigned int nr)
{
	while (nr--)
		value = value << 1 | bits(in, 1);
	return value;
}

/* RFC 1951, 3.2.6: the fixed code, read the slow way. */
static unsigned int symbol(struct input *in)
{
	unsigned int c = code(in, 0, 7);

	if (c < 0x18)
		return 256 + c;
	c = code(in, c, 1);
	if (c >= 0x30 && c < 0xc0)
		return c - 0x30;
	if (c >= 0xc0 && c < 0xc8)
		return 280 + c - 0xc0;
	return code(in, c, 1) - 0x190 + 144;
}

static size_t inflate(struct input *in, uint8_t *out, size_t room)
{
	static const unsigned short base[] = {
		3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59,
		67, 83, 99, 115, 131, 163, 195, 227, 258
	};
	static const unsigned char extra[] = {
		0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,
		4, 4, 4, 4, 5, 5, 5, 5, 0
	};
	size_t nr = 0;

	if (bits(in, 8) != 0x78 || bits(in, 8) != 0x01 || bits(in, 1) != 1 || bits(in, 2) != 1)
		return 0;
	while (in->at / 8 < in->size) {
		unsigned int s = symbol(in), length;

		if (s == 256)
			return nr;
		if (s < 256) {
			if (nr == room)
				return 0;
			out[nr++] = (uint8_t)s;
			continue;
		}
		if (s > 285)
			return 0;
		length = base[s - 257] + bits(in, extra[s - 257]);
		if (code(in, 0, 5) || !nr || length > room - nr)
			return 0;
		memset(out + nr, out[nr - 1], length);
		nr += length;
	}
	return 0;
}

static uint32_t big(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t crc_of(const uint8_t *p, size_t n)
{
	uint32_t crc = ~0U;

	while (n--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
	}
	return ~crc;
}

static const uint8_t *chunk(const uint8_t *png, size_t size, const char *type, uint32_t *length)
{
	size_t at = 8;

	while (at + 12 <= size) {
		*length = big(png + at);
		if (*length > size - at - 12)
			return NULL;
		if (big(png + at + 8 + *length) != crc_of(png + at + 4, *length + 4))
			return NULL;
		if (!memcmp(png + at + 4, type, 4))
			return png + at + 8;
		at += 12 + *length;
	}
	return NULL;
}

static void draw(struct picture *pic)
{
	*pic = (struct picture) { .width = 300, .height = 40, .palette = palette, .nr_colors = 3 };
	picture_box(pic, 0, 0, 5, 5, 2);
	picture_box(pic, 295, 35, 50, 50, 1);	/* over the edge */
	picture_box(pic, 10, 10, 0, 5, 1);	/* nothing */
	for (unsigned int x = 20; x < 290; x += 2)	/* runs of every length */
		picture_box(pic, x, 20, 1 + x % 2, x % 19, 1 + x / 2 % 2);
	picture_text(pic, 100, 3, 1, "T <&> %d", 1);
}

static void test_png(void)
{
	struct picture pic;
	char *file = NULL;
	const uint8_t *png, *head, *colors, *data;
	size_t size = 0, got, room = 600 * 80 + 80, wrong = 0;
	uint8_t *rows = malloc(room), *pixel;
	struct input in;
	uint32_t length;
	FILE *out = open_memstream(&file, &size);

	draw(&pic);
	ok(!picture_png(&pic, out), "a PNG is written");
	fclose(out);
	png = (const uint8_t *)file;
	ok(size > 8 && !memcmp(png, "\x89PNG\r\n\x1a\n", 8), "its signature");
	head = chunk(png, size, "IHDR", &length);
	ok(head && length == 13 && big(head) == 600 && big(head + 4) == 80 && head[8] == 8 &&
	   head[9] == 3, "its head");
	colors = chunk(png, size, "PLTE", &length);
	ok(colors && length == 9 && !memcmp(colors + 3, "\x11\x22\x33\xc0\x39\x2b", 6), "its palette");
	ok(chunk(png, size, "IEND", &length) && !length, "its end, and every checksum before");
	data = chunk(png, size, "IDAT", &length);
	if (!ok(data != NULL, "its data"))
		goto out;
	in = (struct input) { .data = data, .size = length };
	got = inflate(&in, rows, room);
	ok(got == (600 + 1) * 80, "as many bytes as it has pixels and rows");
	if (got != (600 + 1) * 80)
		goto out;
	for (size_t y = 0; y < 80; y++) {
		wrong += rows[y * 601] != 2;
		for (size_t x = 1; y && x < 601; x++)
			rows[y * 601 + x] = (uint8_t)(rows[y * 601 + x] + rows[(y - 1) * 601 + x]);
	}
	ok(!wrong, "every row by its difference");
	pixel = rows + 1;
	ok(pixel[0] == 2 && pixel[9 * 601 + 9] == 2 && !pixel[9 * 601 + 10] && !pixel[10 * 601],
	   "a box is where it should be");
	ok(pixel[79 * 601 + 599] == 1 && pixel[70 * 601 + 590] == 1 && !pixel[69 * 601 + 590],
	   "a box over the edge is cut");
	ok(pixel[6 * 601 + 200] == 1 && pixel[6 * 601 + 209] == 1 && !pixel[8 * 601 + 200] &&
	   pixel[19 * 601 + 204] == 1, "the letter T");
	for (unsigned int x = 20; x < 290; x += 2)
		wrong += pixel[40 * 601 + 2 * x] != (x % 19 ? 1 + x / 2 % 2 : 0);
	ok(!wrong, "a row of many colours");
out:
	free(rows);
	free(file);
	picture_free(&pic);
}

static void test_svg(void)
{
	struct picture pic;
	char *text = NULL;
	size_t size = 0, open = 0, boxes = 0;
	FILE *out = open_memstream(&text, &size);

	draw(&pic);
	ok(!picture_svg(&pic, out), "an SVG is written");
	fclose(out);
	for (const char *s = text; *s; s++)
		open += *s == '<' ? 1 : *s == '>' ? (size_t)-1 : 0;
	for (const char *s = text; (s = strstr(s, "<rect ")); s++)
		boxes++;
	ok(!open, "as many < as >");
	ok(boxes == pic.nr_boxes + 1, "every box, and the background");
	ok(strstr(text, ">T &lt;&amp;&gt; 1</text>") != NULL, "text is escaped");
	ok(size > 7 && !strcmp(text + size - 7, "</svg>\n"), "it ends");
	free(text);
	picture_free(&pic);
}

static void test_full_disk(void)
{
	struct picture pic;
	FILE *out = fopen("/dev/full", "w");

	if (!out)
		return;
	draw(&pic);
	ok(picture_png(&pic, out) < 0, "a PNG that cannot be written is an error");
	fclose(out);
	out = fopen("/dev/full", "w");
	ok(out && picture_svg(&pic, out) < 0, "an SVG that cannot be written is an error");
	if (out)
		fclose(out);
	picture_free(&pic);
}

int main(void)
{
	test_png();
	test_svg();
	test_full_disk();
	return done_testing();
}
