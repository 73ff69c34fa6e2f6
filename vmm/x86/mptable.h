/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MPTABLE_H
#define MPTABLE_H

#include "memory.h"

/*
 * Writes the table of the Intel MultiProcessor Specification 1.4 that describes
 * the vCPUs (APIC IDs 0 to nr_cpus - 1) and the I/O APIC to the guest.
 */
void mptable_write(const struct memory *memory, unsigned int nr_cpus);

#endif
