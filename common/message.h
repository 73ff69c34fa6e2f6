/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MESSAGE_H
#define MESSAGE_H

/* Prints one line to stderr, with the prefix "guestmem: ". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints such a line and returns @status: return fail(STATUS_USAGE, "..."); */
int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
