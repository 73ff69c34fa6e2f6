// SPDX-License-Identifier: GPL-2.0-only
/*
 * The format of the page-table dump of x86. The flags of a range follow its
 * size, and the level follows the flags:
 * 0xffff888000200000-0xffff888001000000     14M     RW         PSE     GLB NX pmd
 * A range that is not present has blanks instead of the flags.
 */
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "ptdump.h"

static int level(const char *words, enum ptlevel *level)
{
	char word[8] = "";
	int nr = 0, n;

	for (; sscanf(words, " %7s%n", word, &n) == 1; words += n)
		nr++;
	if (!nr)
		return -1;
	if (nr == 1)
		*level = PT_NONE;
	else if (!strcmp(word, "pte"))
		*level = PT_4K;
	else if (!strcmp(word, "pmd"))
		*level = PT_2M;
	else if (!strcmp(word, "pud"))
		*level = PT_1G;
	else
		return -1;
	return 0;
}

const struct ptdump_format ptdump_x86 = {
	.machine = EM_X86_64,
	.file = "/sys/kernel/debug/page_tables/kernel",
	.level = level,
};
