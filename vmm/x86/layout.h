/* SPDX-License-Identifier: GPL-2.0-only */
/* The addresses of all that the VMM writes to guest memory, and of the disk. */
#ifndef LAYOUT_H
#define LAYOUT_H

#define LAYOUT_GDT		0x500
#define LAYOUT_BOOT_PARAMS	0x7000
#define LAYOUT_STACK		0x8ff0
#define LAYOUT_PML4		0x9000		/* followed by 1 PDPT and 4 page directories */
#define LAYOUT_CMDLINE		0x20000
#define LAYOUT_CMDLINE_MAX	0x10000
#define LAYOUT_MPTABLE		0x9fc00		/* last KiB of base memory: kernels search it */
#define LAYOUT_MPTABLE_MAX	0x400
#define LAYOUT_BASE_END		0xa0000
#define LAYOUT_ROM		0xf0000
#define LAYOUT_HIGH		0x100000	/* kernels load at or above this */
#define LAYOUT_DISK		0xd0000000ULL	/* in the hole below 4 GiB; MACHINE_DISK_WORDS */
#define LAYOUT_DISK_SIZE	0x1000ULL
#define LAYOUT_DISK_IRQ		5

#define LAYOUT_CODE_SELECTOR	0x10		/* as the boot protocol requires */
#define LAYOUT_DATA_SELECTOR	0x18
#define LAYOUT_TASK_SELECTOR	0x20

#endif
