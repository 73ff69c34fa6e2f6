/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BENCH_PROCFS_H
#define BENCH_PROCFS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Returns the number in the line that starts with @key; ends the program if
 * none does.
 */
uint64_t procfs_number(const char *path, const char *key);

void procfs_write(const char *path, const char *text);

/* Returns whether x86's /proc/cpuinfo has @flag. */
bool procfs_cpu_has(const char *flag);

#endif
