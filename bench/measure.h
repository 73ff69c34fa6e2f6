/* SPDX-License-Identifier: GPL-2.0-only */
/* The clock and the output of the benchmark. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>

/*
 * Counts instructions from here on: under QEMU's -icount the CPU's clock
 * advances by the same number for every instruction. Ends the program if the
 * clock does not.
 */
void measure_instructions(void);

/* Return the time in nanoseconds or instructions, and the name of that unit. */
uint64_t now(void);
const char *now_unit(void);

/*
 * Prints "FIGURE BACKING PARAMETER REPETITION VALUE UNIT"; no word has a blank.
 */
void report(const char *figure, const char *backing, const char *parameter,
	    unsigned int repetition, double value, const char *unit);

/* Prints a comment, a line that begins with '#'. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the program with a message, and the text of @error unless that is 0. */
void die(int error, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

#endif
