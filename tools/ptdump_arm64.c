// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page-table dump of arm64. The size of a range is followed by its level
 * and then by its attributes:
 * 0xffff000000e00000-0xffff000002000000     18M PMD       RW NX SHD AF    BLK UXN ...
 * An empty entry has no attributes. Linux hides a page by clearing the valid
 * bit and keeps all other bits of the entry: the dump then shows the attributes
 * behind an "F", which an entry that maps memory never has. An entry with CON
 * is part of a contiguous group; it maps no more than one without.
 */
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "ptdump.h"

/* What an entry of the level called @word maps, if it maps memory. */
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
	/* With pages of 4 KiB no entry of these levels can map memory. */
	return *level == PT_NONE ? -1 : 0;
}

const struct ptdump_format ptdump_arm64 = {
	.machine = EM_AARCH64,
	.file = "/sys/kernel/debug/kernel_page_tables",
	.level = level,
};
