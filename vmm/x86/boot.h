/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BOOT_H
#define BOOT_H

#include "kernel.h"

/*
 * Put what the 64-bit boot protocol asks for into guest memory: the boot
 * parameters with the memory map, the command line, the initrd, a GDT and
 * page tables.  @initrd may be NULL.
 *
 * Return: NULL, or why it cannot be done.
 */
const char *boot_write(const struct memory *memory, const struct kernel *kernel,
		       const struct blob *initrd, const char *cmdline);

#endif
