// SPDX-License-Identifier: GPL-2.0-only
#include <stdarg.h>
#include <stdlib.h>

#include "picture.h"

static int grow(void **array, size_t nr, size_t *room, size_t size)
{
	void *more;

	if (nr < *room)
		return 0;
	more = reallocarray(*array, *room ? *room * 2 : 256, size);
	if (!more)
		return -1;
	*array = more;
	*room = *room ? *room * 2 : 256;
	return 0;
}

void picture_box(struct picture *pic, unsigned int x, unsigned int y,
		 unsigned int width, unsigned int height, uint8_t color)
{
	if (!width || !height)
		return;
	if (grow((void **)&pic->box, pic->nr_boxes, &pic->room_boxes, sizeof(*pic->box))) {
		pic->out_of_memory = 1;
		return;
	}
	pic->box[pic->nr_boxes++] = (struct box) { x, y, width, height, color };
}

void picture_text(struct picture *pic, unsigned int x, unsigned int y,
		  uint8_t color, const char *fmt, ...)
{
	struct text *text;
	va_list ap;

	if (grow((void **)&pic->text, pic->nr_texts, &pic->room_texts, sizeof(*pic->text))) {
		pic->out_of_memory = 1;
		return;
	}
	text = &pic->text[pic->nr_texts++];
	text->x = x;
	text->y = y;
	text->color = color;
	va_start(ap, fmt);
	vsnprintf(text->words, sizeof(text->words), fmt, ap);
	va_end(ap);
}

void picture_free(struct picture *pic)
{
	free(pic->box);
	free(pic->text);
	pic->box = NULL;
	pic->text = NULL;
	pic->nr_boxes = pic->room_boxes = 0;
	pic->nr_texts = pic->room_texts = 0;
}
