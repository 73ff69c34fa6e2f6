/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stdint.h>

/* Memory begins at 1 GiB, above all devices, and has no hole. */
#define MEMORY_BASE		0x40000000ULL
#define MEMORY_LOW_MAX		UINT64_MAX
#define MEMORY_HIGH_BASE	UINT64_MAX

/* The command line of every guest; the VMM appends the words of the user. */
#define MACHINE_CMDLINE		"console=ttyS0 earlycon panic=-1"
/* Linux finds the disk in the device tree and needs no words for it. */
#define MACHINE_DISK_WORDS	""
#define MACHINE_KERNELS		"Image"
#define MACHINE_PC		"pc"

/* Guests have no hypercall that makes a part of their memory private. */
#define MACHINE_CONVERSIONS	false

/* KVM supports protected VMs: pKVM takes their memory from the host. */
#define MACHINE_PROTECTED	true

/* A halted Linux runs in an endless loop. */
#define MACHINE_HALT_SPINS	true

struct arch_vcpu {
	uint64_t last_pc;		/* program counter at the last arch_look() */
	unsigned long long last_exits;	/* vcpu->exits at the last arch_look() */
	bool stepping;			/* the next KVM_RUN executes one instruction */
};

#endif
