/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MATCH_H
#define MATCH_H

#include <stdbool.h>
#include <stddef.h>

/* Looks for a text in a stream that comes byte by byte. */
struct match {
	const char *text;	/* not empty; NULL: nothing matches */
	size_t length, matched;
};

void match_init(struct match *match, const char *text);

/* Return: whether @byte completes an occurrence of the text. */
bool match_byte(struct match *match, char byte);

#endif
