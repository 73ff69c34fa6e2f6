/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DEVICETREE_H
#define DEVICETREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm.h"

#define DEVICETREE_MAX	0x10000

/* The properties of a guest; the device tree also has the fixed devices. */
struct machine {
	uint64_t memory_size;
	unsigned int nr_cpus;
	uint64_t mpidr[VM_MAX_CPUS];	/* the register MPIDR_EL1 of each CPU */
	uint64_t initrd, initrd_size;	/* initrd_size is 0 if there is none */
	const char *cmdline;
	bool has_disk;
	uint8_t seed[40];		/* random bytes for the guest */
};

/*
 * Writes up to DEVICETREE_MAX bytes to @to.  Returns NULL, or why that failed.
 */
const char *devicetree_write(void *to, const struct machine *machine);

#endif
