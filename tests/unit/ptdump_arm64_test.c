// SPDX-License-Identifier: GPL-2.0-only
/* Tests the parser of arm64's page-table dump: which entries map memory, wrong lines. */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "ptdump.h"
#include "tap.h"

/* RAM, and thus the linear map, begins at 1 GiB. */
#define BASE	0xfffeffffc0000000ULL
#define RAM	(1ULL << 30)
#define KIB	(1ULL << 10)
#define MIB	(1ULL << 20)
#define GIB	(1ULL << 30)

#define NORMAL	"UXN    MEM/NORMAL-TAGGED\n"

/*
 * 3 GiB of RAM are mapped by pages, blocks, contiguous groups of blocks, and 2
 * blocks of 1 GiB.  Of the pages 16 KiB are hidden in a contiguous group and
 * 48 KiB by single entries; of the blocks 4 MiB are hidden.
 */
static const char usual[] =
	"---[ Linear Mapping start ]---\n"
	"0xffff000000000000-0xffff000000010000          64K PTE       RW NX SHD AF    CON     " NORMAL
	"0xffff000000010000-0xffff000000014000          16K PTE F     RW NX SHD AF NG CON     " NORMAL
	"0xffff000000014000-0xffff000000020000          48K PTE F     RW NX SHD AF NG         " NORMAL
	"0xffff000000020000-0xffff000000200000        1920K PTE       ro NX SHD AF            UXN    MEM/NORMAL\n"
	"0xffff000000200000-0xffff000000600000           4M PMD F     RW NX SHD AF NG         " NORMAL
	"0xffff000000600000-0xffff000002000000          26M PMD       RW NX SHD AF        BLK " NORMAL
	"0xffff000002000000-0xffff000040000000         992M PMD       RW NX SHD AF    CON BLK " NORMAL
	"0xffff000040000000-0xffff0000c0000000           2G PUD       RW NX SHD AF        BLK " NORMAL
	"0xffff0000c0000000-0xffff0000c0200000           2M PMD\n"
	"0xffff0000c0200000-0xffff008000000000      521214M PUD\n"
	"0xffff008000000000-0xffff800000000000      130560G PGD\n"
	"---[ Linear Mapping end ]---\n"
	"---[ vmalloc() area ]---\n"
	"0xffff800080000000-0xffff800080010000          64K PTE       ro x  SHD AF            UXN    MEM/NORMAL\n"
	"0xffff800080010000-0xffff800080011000           4K PTE       RW NX SHD AF            UXN    DEVICE/nGnRE\n"
	"0xffffffffff800000-0x0000000000000000           8M PMD\n";

static int parse(struct ptdump *pt, const char *text, char *why, size_t size)
{
	FILE *in = fmemopen((void *)text, strlen(text), "r");
	int ret;

	if (!in)
		abort();
	ret = ptdump_parse(pt, &ptdump_arm64, in, BASE, RAM + 4 * GIB, why, size);
	fclose(in);
	return ret;
}

static bool all(const struct ptdump *pt, uint64_t from, uint64_t to, enum ptlevel level)
{
	return ptdump_level(pt, RAM + from) == level && ptdump_level(pt, RAM + to - 1) == level;
}

static void test_levels(const struct ptdump *pt)
{
	struct kcore_ram ram = { .start = RAM, .end = RAM + 3 * GIB };
	struct kcore kc = { .ram = &ram, .nr_ram = 1, .base = BASE, .ram_bytes = 3 * GIB };
	struct pttally t;

	ok(all(pt, 0, 64 * KIB, PT_4K), "pages in a contiguous group");
	ok(all(pt, 64 * KIB, 80 * KIB, PT_NONE), "an F in a contiguous group maps nothing");
	ok(all(pt, 80 * KIB, 128 * KIB, PT_NONE), "an F alone maps nothing");
	ok(all(pt, 128 * KIB, 2 * MIB, PT_4K), "pages that are read-only");
	ok(all(pt, 2 * MIB, 6 * MIB, PT_NONE), "a block with an F maps nothing");
	ok(all(pt, 6 * MIB, 32 * MIB, PT_2M), "blocks of 2 MiB");
	ok(all(pt, 32 * MIB, GIB, PT_2M), "the same in contiguous groups");
	ok(all(pt, GIB, 3 * GIB, PT_1G), "blocks of 1 GiB");
	ok(all(pt, 3 * GIB, 4 * GIB, PT_NONE), "empty entries of every level");
	ok(ptdump_level(pt, 0) == PT_NONE && ptdump_level(pt, RAM - 1) == PT_NONE,
	   "nothing below the linear map");
	ptdump_tally(pt, &kc, 0, RAM + 3 * GIB, &t);
	ok(t.bytes[PT_NONE] == 4 * MIB + 64 * KIB && t.bytes[PT_4K] == 2 * MIB - 64 * KIB &&
	   t.bytes[PT_2M] == GIB - 6 * MIB && t.bytes[PT_1G] == 2 * GIB && t.hole == RAM, "sums");
}

static void test_file(void)
{
	struct kcore arm64 = { .machine = EM_AARCH64 }, x86 = { .machine = EM_X86_64 };

	ok(!strcmp(ptdump_file(&arm64), "/sys/kernel/debug/kernel_page_tables") &&
	   !strcmp(ptdump_file(&x86), "/sys/kernel/debug/page_tables/kernel"),
	   "each architecture has its file");
}

static void refused(const char *what, const char *text)
{
	char why[160] = "";
	struct ptdump pt;
	int ret = parse(&pt, text, why, sizeof(why));

	ok(ret < 0 && why[0] && !pt.range, "refused: %s (%s)", what, why);
	if (!ret)
		ptdump_free(&pt);
}

static void test_hostile(void)
{
	refused("an empty file", "\n");
	refused("no level", "0xffff000000000000-0xffff000000200000           2M\n");
	refused("attributes without a level",
		"0xffff000000000000-0xffff000000200000           2M RW NX SHD AF BLK " NORMAL);
	refused("an unknown level",
		"0xffff000000000000-0xffff000000200000           2M PXD       RW NX SHD AF BLK " NORMAL);
	refused("a level that cannot map",
		"0xffff000000000000-0xffff008000000000         512G PGD       RW NX SHD AF BLK " NORMAL);
	refused("a dump of x86",
		"0xffff000000000000-0xffff000000200000        2M     RW         PSE         GLB NX pmd\n");
	refused("ranges that go back",
		"0xffff000000200000-0xffff000000400000           2M PMD       RW NX SHD AF BLK " NORMAL
		"0xffff000000000000-0xffff000000200000           2M PMD       RW NX SHD AF BLK " NORMAL);
	refused("nothing about the linear map",
		"0xffff800080000000-0xffff800080010000          64K PTE       ro x  SHD AF " NORMAL);
}

int main(void)
{
	struct ptdump pt;
	char why[160] = "";

	if (ok(!parse(&pt, usual, why, sizeof(why)), "a usual host %s", why)) {
		test_levels(&pt);
		ptdump_free(&pt);
	}
	test_file();
	test_hostile();
	return done_testing();
}
