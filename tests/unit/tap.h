/* SPDX-License-Identifier: GPL-2.0-only */
/* The part of the Test Anything Protocol that the unit tests use. */
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

/* Prints the plan. Returns the exit status: 0 if all results passed and there is one. */
static inline int done_testing(void)
{
	printf("1..%d\n", tap_nr);
	return tap_failed || !tap_nr ? 1 : 0;
}

#endif
