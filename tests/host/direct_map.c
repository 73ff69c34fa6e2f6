// SPDX-License-Identifier: GPL-2.0-only
/*
 * direct_map PID SIZE: runs on the host. Counts which pages of a process are in
 * the direct map. It reads the frames of all pages in mappings of at least SIZE
 * bytes from /proc/PID/pagemap, and looks up each frame in the page-table dump
 * of the kernel.
 *
 *   pages=N    present pages of the process in these mappings
 *   mapped=N   those that are in the direct map
 *   absent=N   those that are not in the direct map
 */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kcore.h"
#include "ptdump.h"

#define PRESENT	(1ULL << 63)
#define PFN	((1ULL << 55) - 1)

static unsigned long nr[PT_LEVELS];

static void load(struct kcore *kc, struct ptdump *pt)
{
	int fd = open("/proc/kcore", O_RDONLY);
	char why[160];

	if (fd < 0)
		err(1, "cannot open /proc/kcore");
	if (kcore_parse(kc, fd, why, sizeof(why)))
		errx(1, "/proc/kcore: %s", why);
	close(fd);
	if (ptdump_load(pt, ptdump_file(kc), kc, why, sizeof(why)))
		errx(1, "%s: %s", ptdump_file(kc), why);
}

static void look_up(const struct ptdump *pt, int pagemap, uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end; at += KCORE_PAGE_SIZE) {
		uint64_t entry;

		if (pread(pagemap, &entry, sizeof(entry),
			  (off_t)(at / KCORE_PAGE_SIZE * sizeof(entry))) != sizeof(entry))
			err(1, "cannot read pagemap");
		if (!(entry & PRESENT))
			continue;
		if (!(entry & PFN))
			errx(1, "pagemap shows no frames");
		nr[ptdump_level(pt, (entry & PFN) << KCORE_PAGE_SHIFT)]++;
	}
}

int main(int argc, char **argv)
{
	unsigned long long start, end;
	struct ptdump pt;
	struct kcore kc;
	char path[64], line[512];
	unsigned long size, mapped;
	int pagemap;
	FILE *maps;

	if (argc != 3) {
		fprintf(stderr, "usage: direct_map PID SIZE\n");
		return 2;
	}
	size = strtoul(argv[2], NULL, 0);
	snprintf(path, sizeof(path), "/proc/%s/pagemap", argv[1]);
	pagemap = open(path, O_RDONLY);
	snprintf(path, sizeof(path), "/proc/%s/maps", argv[1]);
	maps = fopen(path, "r");
	if (pagemap < 0 || !maps)
		err(1, "cannot open the files of process %s", argv[1]);
	load(&kc, &pt);
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%llx-%llx", &start, &end) == 2 && end - start >= size)
			look_up(&pt, pagemap, start, end);
	mapped = nr[PT_4K] + nr[PT_2M] + nr[PT_1G];
	printf("pages=%lu\nmapped=%lu\nabsent=%lu\n", mapped + nr[PT_NONE], mapped, nr[PT_NONE]);
	ptdump_free(&pt);
	kcore_free(&kc);
	return 0;
}
