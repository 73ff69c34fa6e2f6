// SPDX-License-Identifier: GPL-2.0-only
/* Tests the parser of x86's page-table dump, and the picture of RAM that it results in. */
#include <stdlib.h>
#include <string.h>

#include "ptdump.h"
#include "tap.h"
#include "view.h"

#define BASE	0xffff888000000000ULL
#define MIB	(1ULL << 20)
#define GIB	(1ULL << 30)

#define FLAT	"    RW                     GLB NX "
#define HUGE	"    RW         PSE         GLB NX "
#define BLANK	"                              "

/* 2 GiB of RAM, in which the last 2 MiB of the first GiB and other pages are not mapped. */
static const char usual[] =
	"---[ User Space ]---\n"
	"0x0000000000000000-0xffff800000000000   16777088T " BLANK "pgd\n"
	"---[ Kernel Space ]---\n"
	"0xffff800000000000-0xffff888000000000        8T " BLANK "pgd\n"
	"---[ Low Kernel Mapping ]---\n"
	"0xffff888000000000-0xffff888000098000      608K " FLAT "pte\n"
	"0xffff888000098000-0xffff888000099000        4K     ro                     GLB x  pte\n"
	"0xffff888000099000-0xffff888000200000     1436K " FLAT "pte\n"
	"0xffff888000200000-0xffff88803fe00000     1020M " HUGE "pmd\n"
	"0xffff88803fe00000-0xffff888040000000        2M " BLANK "pte\n"
	"0xffff888040000000-0xffff888080000000        1G " HUGE "pud\n"
	"0xffff888080000000-0xffff8880c0000000        1G " BLANK "pud\n"
	"0xffff8880c0000000-0xffff8880c0001000        4K USR ro PWT PCD         GLB x  pte\n"
	"0xffff8880c0001000-0xffffc88000000000    65533G " BLANK "pgd\n"
	"---[ vmalloc() Area ]---\n"
	"0xffffc90000000000-0xffffc90000001000        4K " FLAT "pte\n"
	"... 7 entries skipped ... \n"
	"0xffffffffff600000-0x0000000000000000       10M " BLANK "pmd\n";

static struct kcore_ram ram[] = {
	{ .start = 0x1000, .end = 0xa0000 },
	{ .start = MIB, .end = 2 * GIB },
};

static const struct kcore kc = {
	.ram = ram, .nr_ram = 2, .base = BASE, .ram_bytes = 2 * GIB - MIB + 0x9f000,
};

static int parse_as(const struct ptdump_format *format, struct ptdump *pt, const char *text,
		    uint64_t base, uint64_t limit, char *why, size_t size)
{
	FILE *in = fmemopen((void *)text, strlen(text), "r");
	int ret;

	if (!in)
		abort();
	ret = ptdump_parse(pt, format, in, base, limit, why, size);
	fclose(in);
	return ret;
}

static int parse(struct ptdump *pt, const char *text, uint64_t limit, char *why, size_t size)
{
	return parse_as(&ptdump_x86, pt, text, BASE, limit, why, size);
}

static void test_levels(struct ptdump *pt)
{
	struct pttally t;

	ok(ptdump_level(pt, 0) == PT_4K && ptdump_level(pt, 2 * MIB - 1) == PT_4K, "4 KiB entries");
	ok(ptdump_level(pt, 2 * MIB) == PT_2M && ptdump_level(pt, 1022 * MIB - 1) == PT_2M,
	   "2 MiB entries");
	ok(ptdump_level(pt, 1022 * MIB) == PT_NONE && ptdump_level(pt, GIB - 1) == PT_NONE,
	   "not mapped, one page at a time");
	ok(ptdump_level(pt, GIB) == PT_1G && ptdump_level(pt, 2 * GIB - 1) == PT_1G, "1 GiB entries");
	ok(ptdump_level(pt, 2 * GIB) == PT_NONE, "nothing there");

	ptdump_tally(pt, &kc, 0, GIB, &t);
	ok(t.bytes[PT_4K] == MIB + 0x9f000 && t.bytes[PT_2M] == 1020 * MIB &&
	   t.bytes[PT_NONE] == 2 * MIB && t.bytes[PT_1G] == 0, "sums of the first GiB");
	ok(t.hole == MIB - 0x9f000, "what is no RAM counts for nothing else");
	ptdump_tally(pt, &kc, 0, 4 * GIB, &t);
	ok(t.bytes[PT_1G] == GIB && t.bytes[PT_NONE] == 2 * MIB, "no RAM: not mapped, not hidden");
	ok(t.bytes[PT_1G] + t.bytes[PT_2M] + t.bytes[PT_4K] + t.bytes[PT_NONE] == kc.ram_bytes,
	   "the sums are all of the RAM");
	ptdump_tally(pt, &kc, 0x8000, 0x9000, &t);
	ok(t.bytes[PT_4K] == 0x1000 && !t.hole, "the sums of one page");
}

static void test_gap(void)
{
	static const char text[] =
		"0xffff888000000000-0xffff888000200000        2M " HUGE "pmd\n"
		"0xffff888000400000-0xffff888000600000        2M " HUGE "pmd\n";
	struct kcore_ram all = { .end = 8 * MIB };
	struct kcore host = { .ram = &all, .nr_ram = 1, .base = BASE, .ram_bytes = 8 * MIB };
	struct pttally t;
	struct ptdump pt;
	char why[160];

	if (!ok(!parse(&pt, text, 8 * MIB, why, sizeof(why)), "a gap in the lines"))
		return;
	ptdump_tally(&pt, &host, 0, 8 * MIB, &t);
	ok(t.bytes[PT_2M] == 4 * MIB && t.bytes[PT_NONE] == 4 * MIB, "what no line tells is not mapped");
	ptdump_free(&pt);
}

static void refused(const char *what, const char *text)
{
	char why[160] = "";
	struct ptdump pt;
	int ret = parse(&pt, text, 2 * GIB, why, sizeof(why));

	ok(ret < 0 && why[0] && !pt.range, "refused: %s (%s)", what, why);
	if (!ret)
		ptdump_free(&pt);
}

static void test_hostile(void)
{
	refused("an empty file", "\n");
	refused("another file", "root:x:0:0:root:/root:/bin/bash\n");
	refused("nothing about the direct map",
		"0x0000000000000000-0xffff800000000000   16777088T " BLANK "pgd\n");
	refused("a range that is none", "0xffff888000200000-0xffff888000100000        1M " HUGE "pmd\n");
	refused("no level", "0xffff888000200000-0xffff888000400000        2M \n");
	refused("a mapping by an unknown level",
		"0xffff888000200000-0xffff888000400000        2M " HUGE "pxd\n");
	refused("ranges that go back",
		"0xffff888000200000-0xffff888000400000        2M " HUGE "pmd\n"
		"0xffff888000000000-0xffff888000200000        2M " HUGE "pmd\n");
	refused("half a line", "0xffff888000200000-0xffff8880");
}

static struct pttally sums(uint64_t none, uint64_t k, uint64_t m, uint64_t g)
{
	return (struct pttally) { .bytes = { none, k, m, g } };
}

static void test_cells(void)
{
	struct pttally t;

	t = sums(0, 0, 0, 0);
	ok(cell_state(&t) == CELL_HOLE, "cell: no RAM");
	t = sums(0, 5, 3, 2);
	ok(cell_state(&t) == CELL_4K, "cell: mostly 4 KiB");
	t = sums(0, 3, 5, 2);
	ok(cell_state(&t) == CELL_2M, "cell: mostly 2 MiB");
	t = sums(0, 0, 0, 2);
	ok(cell_state(&t) == CELL_1G, "cell: 1 GiB");
	t = sums(1, 0, 0, 2000);
	ok(cell_state(&t) == CELL_PART, "cell: the least bit that is not mapped shows");
	t = sums(7, 0, 0, 0);
	ok(cell_state(&t) == CELL_NONE, "cell: not mapped");
}

static void test_panels(const struct ptdump *pt)
{
	struct kcore_ram far[] = { { .end = GIB }, { .start = 4 * GIB, .end = 5 * GIB + MIB } };
	struct kcore host = { .ram = far, .nr_ram = 2 };
	struct kcore_ram big = { .start = GIB, .end = 1024 * GIB };
	struct kcore server = { .ram = &big, .nr_ram = 1 };
	struct view v;

	view_init(&v, &host, pt);
	ok(v.nr_panels == 3 && v.panel[0] == 0 && v.panel[1] == 4 * GIB && v.panel[2] == 5 * GIB &&
	   v.cell_bytes == 2 * MIB, "a panel for each GiB that has RAM");
	view_init(&v, &server, pt);
	ok(v.nr_panels == 64 && v.cell_bytes == 32 * MIB && !v.panel[0], "a large host gets larger cells");
}

static void test_print(const struct ptdump *pt)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct view v;
	const char *row;

	view_init(&v, &kc, pt);
	view_print(&v, VIEW_ASCII, out);
	fclose(out);
	row = strstr(text, "  |");
	ok(row && !strncmp(row + 3, "kMMM", 4), "the first cells in the terminal");
	for (int i = 0; row && i < 7; i++)
		row = strstr(row + 3, "  |");
	ok(row && !strncmp(row + 3 + 62, "M.|", 3), "the last cells of the first GiB");
	row = row ? strstr(row + 3, "  |") : NULL;
	ok(row && !strncmp(row + 3, "GGGG", 4), "the second GiB");
	free(text);
}

int main(void)
{
	struct ptdump pt;
	char why[160] = "";

	if (ok(!parse(&pt, usual, 2 * GIB, why, sizeof(why)), "a usual host %s", why)) {
		test_levels(&pt);
		test_panels(&pt);
		test_print(&pt);
		ptdump_free(&pt);
	}
	test_gap();
	test_hostile();
	test_cells();
	return done_testing();
}
