/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef STATISTICS_H
#define STATISTICS_H

#include <stdint.h>

struct vm;

/* Prints the statistics as lines of key=value; vm->memory must still exist. */
void statistics_print(struct vm *vm, uint64_t start_ms);

#endif
