/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "vm.h"

struct options {
	struct vm_options vm;
	const char *kernel, *initrd, *disk;
	const char *cmdline;
	bool statistics;
	bool help;
};

/*
 * Parses the options of guestmem run.
 * Return: true, or false with one line in @error.
 */
bool options_parse(struct options *options, int argc, char **argv, char *error, size_t size);

#endif
