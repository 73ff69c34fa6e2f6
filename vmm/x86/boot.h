/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BOOT_H
#define BOOT_H

#include "kernel.h"

/*
 * Writes to guest memory what the 64-bit boot protocol requires: the boot
 * parameters with the memory map, the command line, the initrd, a GDT and page
 * tables.  @initrd may be NULL.
 *
 * Return: NULL, or the reason why that failed.
 */
const char *boot_write(const struct memory *memory, const struct kernel *kernel,
		       const struct blob *initrd, const char *cmdline);

#endif
