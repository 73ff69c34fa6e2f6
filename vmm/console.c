// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "console.h"

#define ESCAPE	1	/* Ctrl-A */

/* The line by which a kernel without a special driver reports a panic. */
static const char panic_text[] = "Kernel panic - not syncing";

uint64_t console_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ULL + now.tv_nsec / 1000000;
}

/* A background process must neither read nor configure the terminal. */
static bool in_foreground(void)
{
	return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

void console_open(struct console *console, const char *mark, const atomic_int *ending)
{
	struct termios raw;

	*console = (struct console){ .ending = ending, .input = true };
	match_init(&console->mark, mark);
	match_init(&console->panic, panic_text);
	if (!isatty(STDIN_FILENO))
		return;
	console->input = in_foreground() && !tcgetattr(STDIN_FILENO, &console->saved);
	if (!console->input)
		return;
	raw = console->saved;
	raw.c_iflag &= ~(ICRNL | IXON | ISTRIP | INLCR | IGNCR);
	raw.c_lflag &= ~(ICANON | ECHO | ISIG | IEXTEN);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	console->raw = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

void console_close(struct console *console)
{
	console_flush(console);
	if (console->raw && in_foreground())
		tcsetattr(STDIN_FILENO, TCSANOW, &console->saved);
}

/* Waits for a slow reader of standard output, but not for a closed one. */
void console_flush(struct console *console)
{
	struct pollfd writable = { .fd = STDOUT_FILENO, .events = POLLOUT };
	size_t done = 0;
	ssize_t n;

	while (done < console->used) {
		/* Wait in poll(), not in write(), to notice that the VM ends. */
		n = poll(&writable, 1, 100);
		if (n > 0)
			n = write(STDOUT_FILENO, console->buffer + done, console->used - done);
		if (n > 0) {
			done += n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			break;
		if (atomic_load(console->ending))
			break;
	}
	console->used = 0;
}

void console_put(struct console *console, uint8_t byte)
{
	if (match_byte(&console->mark, byte) && !console->mark_ms)
		console->mark_ms = console_now_ms();
	if (match_byte(&console->panic, byte))
		console->panicked = true;

	console->buffer[console->used++] = byte;
	if (byte == '\n' || console->used == sizeof(console->buffer))
		console_flush(console);
}

int console_get(struct console *console, uint8_t *bytes, size_t max)
{
	ssize_t n = read(STDIN_FILENO, bytes, max);
	int kept = 0;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		console->input = false;
		return 0;
	}
	if (!console->raw)
		return n;
	for (ssize_t i = 0; i < n; i++) {
		if (console->escape) {
			console->escape = false;
			if (bytes[i] == 'x')
				return -1;
		} else if (bytes[i] == ESCAPE) {
			console->escape = true;
			continue;
		}
		bytes[kept++] = bytes[i];
	}
	return kept;
}
