/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MATCH_H
#define MATCH_H

#include <stdbool.h>
#include <stddef.h>

/* Searches a stream of single bytes for a text. */
struct match {
	const char *text;	/* not empty, or NULL to find nothing */
	size_t length, matched;
};

void match_init(struct match *match, const char *text);

/* Returns whether @byte completes an occurrence of the text. */
bool match_byte(struct match *match, char byte);

#endif
