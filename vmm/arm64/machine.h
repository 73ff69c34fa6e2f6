/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stdint.h>

/* Memory begins at 1 GiB, above all devices, and has no hole. */
#define MEMORY_BASE		0x40000000ULL
#define MEMORY_LOW_MAX		UINT64_MAX
#define MEMORY_HIGH_BASE	UINT64_MAX

/* What every guest of this VMM needs; the user's own words come after it. */
#define MACHINE_CMDLINE		"console=ttyS0 earlycon panic=-1"
/* What else it needs for a disk, of which the device tree tells. */
#define MACHINE_DISK_WORDS	""
#define MACHINE_KERNELS		"Image"
#define MACHINE_PC		"pc"

/* Guests know no hypercall by which they make a part of their memory private. */
#define MACHINE_CONVERSIONS	false

/* KVM has protected VMs, whose memory pKVM takes from the host. */
#define MACHINE_PROTECTED	true

/* Linux halts in an endless loop. */
#define MACHINE_HALT_SPINS	true

struct arch_vcpu {
	uint64_t last_pc;		/* at the last arch_look() */
	unsigned long long last_exits;	/* by then */
	bool stepping;			/* KVM_RUN executes one instruction */
};

#endif
