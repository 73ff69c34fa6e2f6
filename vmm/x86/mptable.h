/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MPTABLE_H
#define MPTABLE_H

#include "memory.h"

/*
 * Write the table of the Intel MultiProcessor Specification 1.4 that tells the
 * guest of its vCPUs (APIC IDs 0 to nr_cpus - 1) and of the I/O APIC.
 */
void mptable_write(const struct memory *memory, unsigned int nr_cpus);

#endif
