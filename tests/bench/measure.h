/* SPDX-License-Identifier: GPL-2.0-only */
/* The benchmark's clock, and the lines it prints. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>

/*
 * Under QEMU's -icount the CPU's clock advances by the same number for every
 * instruction: count instructions from here on. Ends the program where that is not so.
 */
void measure_instructions(void);

/* Nanoseconds, or instructions; and the name of that unit. */
uint64_t now(void);
const char *now_unit(void);

/* One result: "FIGURE BACKING PARAMETER REPETITION VALUE UNIT", none with a blank in it. */
void report(const char *figure, const char *backing, const char *parameter,
	    unsigned int repetition, double value, const char *unit);

/* A line for the reader, who knows it by its '#'. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the program; with the text of @error unless that is 0. */
void die(int error, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

#endif
