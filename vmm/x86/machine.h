/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>

/* Memory begins at 0 and has a hole below 4 GiB for the APICs. */
#define MEMORY_BASE		0
#define MEMORY_LOW_MAX		0xc0000000ULL	/* the hole starts here ... */
#define MEMORY_HIGH_BASE	0x100000000ULL	/* ... and ends here */

/* The command line of every guest; the VMM appends the words of the user. */
#define MACHINE_CMDLINE		"console=ttyS0 reboot=k panic=-1 acpi=off"
/* The VMM adds these words for a disk: see layout.h. */
#define MACHINE_DISK_WORDS	" virtio_mmio.device=4K@0xd0000000:5"
#define MACHINE_KERNELS		"bzImage or vmlinux"
#define MACHINE_PC		"rip"

/* The guest has a hypercall that makes a part of its memory private. */
#define MACHINE_CONVERSIONS	true

/* KVM on x86 has no protected VMs. */
#define MACHINE_PROTECTED	false

/* A halted CPU waits, so the threads of a halted guest use no CPU time. */
#define MACHINE_HALT_SPINS	false

struct arch_vcpu {
};

#endif
