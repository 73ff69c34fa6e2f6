// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdlib.h>

#include "size.h"

static bool parse_digits(const char *text, unsigned long long *value, const char **rest)
{
	char *end;

	/* strtoull() would accept a sign or leading white space. */
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	*rest = end;
	return !errno;
}

bool parse_size(const char *text, uint64_t *size)
{
	unsigned long long value;
	unsigned int shift = 0;
	const char *rest;

	if (!parse_digits(text, &value, &rest))
		return false;
	switch (*rest) {
	case 'G': case 'g':
		shift = 30;
		break;
	case 'M': case 'm':
		shift = 20;
		break;
	case 'K': case 'k':
		shift = 10;
		break;
	}
	if (shift)
		rest++;
	if (*rest || value > (UINT64_MAX >> shift))
		return false;
	*size = (uint64_t)value << shift;
	return true;
}

bool parse_number(const char *text, unsigned long min, unsigned long max,
		  unsigned long *number)
{
	unsigned long long value;
	const char *rest;

	if (!parse_digits(text, &value, &rest) || *rest || value < min || value > max)
		return false;
	*number = value;
	return true;
}
