// SPDX-License-Identifier: GPL-2.0-only
/*
 * The format of the page-table dump of arm64. The level of a range follows its
 * size, and the attributes follow the level:
 * 0xffff000000e00000-0xffff000002000000     18M PMD       RW NX SHD AF    BLK UXN ...
 * An empty entry has no attributes. To hide a page, Linux clears the valid bit
 * and keeps all other bits of the entry. The dump then prints "F" before the
 * attributes, which it never does for an entry that maps memory. An entry with
 * CON is part of a contiguous group; it maps as much memory as one without CON.
 */
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "ptdump.h"

/* Stores how much an entry of the level called @word maps if it maps memory. */
static int level_named(const char *word, enum ptlevel *level)
{
	if (!strcmp(word, "PTE"))
		*level = PT_4K;
	else if (!strcmp(word, "PMD"))
		*level = PT_2M;
	else if (!strcmp(word, "PUD"))
		*level = PT_1G;
	else if (!strcmp(word, "P4D") || !strcmp(word, "PGD"))
		*level = PT_NONE;
	else
		return -1;
	return 0;
}

static int level(const char *words, enum ptlevel *level)
{
	char name[8], word[24];
	int n;

	if (sscanf(words, " %7s%n", name, &n) != 1 || level_named(name, level))
		return -1;
	words += n;
	if (sscanf(words, " %23s%n", word, &n) != 1 || !strcmp(word, "F")) {
		*level = PT_NONE;
		return 0;
	}
	/* With 4 KiB pages an entry of these levels cannot map memory. */
	return *level == PT_NONE ? -1 : 0;
}

const struct ptdump_format ptdump_arm64 = {
	.machine = EM_AARCH64,
	.file = "/sys/kernel/debug/kernel_page_tables",
	.level = level,
};
