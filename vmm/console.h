/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The user's side of the serial port: standard output, and standard input,
 * raw while it is a terminal.  Ctrl-A x leaves, Ctrl-A Ctrl-A is a Ctrl-A.
 */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

#include "match.h"

struct console {
	const atomic_int *ending;	/* nonzero: output may be dropped */
	bool input;			/* standard input is of use */
	bool raw, escape;
	struct termios saved;
	char buffer[512];
	size_t used;
	struct match mark, panic;
	uint64_t mark_ms;		/* time of the first mark, 0 if not seen */
	bool panicked;
};

/* @mark: text to look for in the output, or NULL; @ending: of the VM. */
void console_open(struct console *console, const char *mark, const atomic_int *ending);
void console_close(struct console *console);

void console_put(struct console *console, uint8_t byte);
void console_flush(struct console *console);

/*
 * Read up to @max bytes of input, without waiting.
 * Return: their number, or -1 when the user wants to leave.
 */
int console_get(struct console *console, uint8_t *bytes, size_t max);

/* Milliseconds of a clock that never jumps. */
uint64_t console_now_ms(void);

#endif
