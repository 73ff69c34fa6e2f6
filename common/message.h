/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MESSAGE_H
#define MESSAGE_H

/* One line on stderr, prefixed "guestmem: ". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, and the given status back: return fail(EXIT_USAGE, "..."); */
int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
