// SPDX-License-Identifier: GPL-2.0-only
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hardware.h"
#include "measure.h"

#define CALIBRATION	1000000UL

static uint64_t ticks_per_instruction;

/* Returns the ticks of 2 * @n instructions and of few others. */
static uint64_t ticks_of_loop(uint64_t n)
{
	uint64_t start = hardware_ticks();

	hardware_loop(n);
	return hardware_ticks() - start;
}

void measure_instructions(void)
{
	/* Retry if a timer interrupt has made a loop longer. */
	for (int i = 0; i < 10; i++) {
		uint64_t ticks = ticks_of_loop(CALIBRATION);
		uint64_t each = ticks / (2 * CALIBRATION);

		if (each && ticks % (2 * CALIBRATION) < CALIBRATION / 100) {
			ticks_per_instruction = each;
			return;
		}
	}
	die(0, "the clock does not count instructions; this needs run-vm --icount");
}

uint64_t now(void)
{
	struct timespec ts;

	if (ticks_per_instruction)
		return hardware_ticks() / ticks_per_instruction;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

const char *now_unit(void)
{
	return ticks_per_instruction ? "instructions" : "ns";
}

void report(const char *figure, const char *backing, const char *parameter,
	    unsigned int repetition, double value, const char *unit)
{
	printf("%s %s %s %u %.10g %s\n", figure, backing, parameter, repetition, value, unit);
	fflush(stdout);
}

void note(const char *format, ...)
{
	va_list ap;

	fputs("# ", stdout);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	fputs("\n", stdout);
	fflush(stdout);
}

void die(int error, const char *format, ...)
{
	va_list ap;

	fputs("bench: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "%s%s\n", error ? ": " : "", error ? strerror(error) : "");
	exit(1);
}
