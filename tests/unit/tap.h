/* SPDX-License-Identifier: GPL-2.0-only */
/* Test Anything Protocol, as much as the unit tests need. */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_nr, tap_failed;

__attribute__((format(printf, 2, 3)))
static inline bool ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", good ? "" : "not ", ++tap_nr);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	tap_failed += !good;
	return good;
}

/* The plan comes last; the exit status says the same as the lines. */
static inline int done_testing(void)
{
	printf("1..%d\n", tap_nr);
	return tap_failed || !tap_nr ? 1 : 0;
}

#endif
