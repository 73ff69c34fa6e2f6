/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BENCH_BUSY_H
#define BENCH_BUSY_H

/* Keep to one CPU. */
void busy_pin(unsigned int cpu);

/* Threads in a loop of system calls, on CPUs 1 to @nr. */
void busy_start(unsigned int nr);
void busy_stop(void);

#endif
