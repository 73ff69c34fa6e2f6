/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>

/* Memory begins at 0 and has a hole below 4 GiB, where the APICs are. */
#define MEMORY_BASE		0
#define MEMORY_LOW_MAX		0xc0000000ULL	/* the hole starts here ... */
#define MEMORY_HIGH_BASE	0x100000000ULL	/* ... and ends here */

/* What every guest of this VMM needs; the user's own words come after it. */
#define MACHINE_CMDLINE		"console=ttyS0 reboot=k panic=-1 acpi=off"
/* What else it needs for a disk: see layout.h. */
#define MACHINE_DISK_WORDS	" virtio_mmio.device=4K@0xd0000000:5"
#define MACHINE_KERNELS		"bzImage or vmlinux"
#define MACHINE_PC		"rip"

/* The guest has a hypercall that makes a part of its memory private. */
#define MACHINE_CONVERSIONS	true

/* There are no protected VMs, whose memory the hypervisor takes from the host. */
#define MACHINE_PROTECTED	false

/* A CPU that has halted waits, so the threads of a halted guest need no CPU time. */
#define MACHINE_HALT_SPINS	false

struct arch_vcpu {
};

#endif
