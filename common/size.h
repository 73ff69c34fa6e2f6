/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SIZE_H
#define SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* "512M" and the like: a decimal number, then nothing or one of K, M, G. */
bool parse_size(const char *text, uint64_t *size);

/* A decimal number within [min, max]. */
bool parse_number(const char *text, unsigned long min, unsigned long max,
		  unsigned long *number);

#endif
