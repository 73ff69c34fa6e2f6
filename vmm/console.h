/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connects the serial port to standard output and standard input.  A terminal
 * is raw while the guest runs: Ctrl-A x ends the guest, and Ctrl-A Ctrl-A sends
 * a Ctrl-A.
 */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

#include "match.h"

struct console {
	const atomic_int *ending;	/* not 0: console_flush() may drop output */
	bool input;			/* whether to read standard input */
	bool raw, escape;
	struct termios saved;
	char buffer[512];
	size_t used;
	struct match mark, panic;
	uint64_t mark_ms;		/* time of the first mark, 0 if none yet */
	bool panicked;
};

/* @mark: a text to look for in the output, or NULL; @ending: vm->ending. */
void console_open(struct console *console, const char *mark, const atomic_int *ending);
void console_close(struct console *console);

void console_put(struct console *console, uint8_t byte);
void console_flush(struct console *console);

/*
 * Reads up to @max bytes of input, without waiting.
 * Return: the number of bytes, or -1 if the user has typed Ctrl-A x.
 */
int console_get(struct console *console, uint8_t *bytes, size_t max);

/* Returns the milliseconds of the monotonic clock. */
uint64_t console_now_ms(void);

#endif
