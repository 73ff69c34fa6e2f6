/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef STATISTICS_H
#define STATISTICS_H

#include <stdint.h>

struct vm;

/* Print what the VM used, as lines of key=value, while its memory still exists. */
void statistics_print(struct vm *vm, uint64_t start_ms);

#endif
