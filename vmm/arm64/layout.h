/* SPDX-License-Identifier: GPL-2.0-only */
/* The guest addresses of the devices, and their interrupts. */
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

/* Interrupt IDs of the GIC; the shared peripheral interrupts begin at 32. */
#define LAYOUT_SHARED_INTERRUPTS	32
#define LAYOUT_SERIAL_INTERRUPT		32
#define LAYOUT_DISK_INTERRUPT		33
#define LAYOUT_NR_INTERRUPTS		64

#endif
