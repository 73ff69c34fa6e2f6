/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BENCH_PROCFS_H
#define BENCH_PROCFS_H

#include <stdbool.h>
#include <stdint.h>

/* The number on the line of a file that starts with @key; ends the program without one. */
uint64_t procfs_number(const char *path, const char *key);

void procfs_write(const char *path, const char *text);

/* Is @flag one of the flags in x86's /proc/cpuinfo? */
bool procfs_cpu_has(const char *flag);

#endif
