/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BENCH_PROCFS_H
#define BENCH_PROCFS_H

/* Ends the program when it fails. */
void procfs_write(const char *path, const char *text);

#endif
