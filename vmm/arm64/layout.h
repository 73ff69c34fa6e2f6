/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the devices are in the guest's address space, and their interrupts. */
#ifndef LAYOUT_H
#define LAYOUT_H

#define LAYOUT_GIC_DISTRIBUTOR		0x08000000ULL
#define LAYOUT_GIC_DISTRIBUTOR_SIZE	0x10000ULL
#define LAYOUT_GIC_REDISTRIBUTORS	0x080a0000ULL
#define LAYOUT_GIC_REDISTRIBUTOR_SIZE	0x20000ULL	/* for each vCPU */
#define LAYOUT_SERIAL			0x09000000ULL
#define LAYOUT_SERIAL_SIZE		0x1000ULL
#define LAYOUT_DISK			0x0a000000ULL
#define LAYOUT_DISK_SIZE		0x1000ULL

/* Interrupt IDs of the GIC: those of all CPUs begin at 32. */
#define LAYOUT_SHARED_INTERRUPTS	32
#define LAYOUT_SERIAL_INTERRUPT		32
#define LAYOUT_DISK_INTERRUPT		33
#define LAYOUT_NR_INTERRUPTS		64

#endif
