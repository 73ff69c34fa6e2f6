/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BENCH_BUSY_H
#define BENCH_BUSY_H

/* Binds this thread to one CPU. */
void busy_pin(unsigned int cpu);

/* Starts threads in a loop of system calls, on CPUs 1 to @nr. */
void busy_start(unsigned int nr);
void busy_stop(void);

#endif
