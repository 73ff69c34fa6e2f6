/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DEVICETREE_H
#define DEVICETREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm.h"

#define DEVICETREE_MAX	0x10000

/* What the device tree tells, beside the devices that every guest has. */
struct machine {
	uint64_t memory_size;
	unsigned int nr_cpus;
	uint64_t mpidr[VM_MAX_CPUS];	/* by which each CPU is known to the others */
	uint64_t initrd, initrd_size;	/* the size is 0 if there is none */
	const char *cmdline;
	bool has_disk;
	uint8_t seed[40];		/* random, for the guest alone */
};

/* Write it to @to, DEVICETREE_MAX bytes.  Return: NULL, or why it cannot be done. */
const char *devicetree_write(void *to, const struct machine *machine);

#endif
