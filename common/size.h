/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SIZE_H
#define SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* Parses a decimal number, as in "512M", that may end with K, M or G. */
bool parse_size(const char *text, uint64_t *size);

/* Parses a decimal number within [min, max]. */
bool parse_number(const char *text, unsigned long min, unsigned long max,
		  unsigned long *number);

#endif
