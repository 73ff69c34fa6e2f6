// SPDX-License-Identifier: GPL-2.0-only
/*
 * hold_secret SEED PAGES: runs on the host, for a test of the scanner. Writes
 * the secret of SEED to PAGES pages, in each at a different multiple of 64,
 * prints "pfn=0x... offset=..." for each as the scanner does, prints "ready",
 * and keeps the pages until its standard input ends.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "secret.h"

#define PAGE	4096UL
#define PRESENT	(1ULL << 63)
#define PFN	((1ULL << 55) - 1)

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static unsigned long offset_in(unsigned long page)
{
	return page % 64 * 64;
}

int main(int argc, char **argv)
{
	unsigned long pages = argc == 3 ? strtoul(argv[2], NULL, 0) : 0;
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	volatile uint64_t *mem;
	char c;

	if (!pages) {
		fprintf(stderr, "usage: hold_secret SEED PAGES\n");
		return 2;
	}
	if (pagemap < 0)
		die("pagemap");
	mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED || mlock((void *)mem, pages * PAGE))
		die("memory");
	for (unsigned long i = 0; i < pages; i++) {
		uint64_t entry;

		for (unsigned int w = 0; w < SECRET_WORDS; w++)
			mem[(i * PAGE + offset_in(i)) / 8 + w] =
				secret_word(strtoull(argv[1], NULL, 0), w);
		if (pread(pagemap, &entry, 8, (off_t)(((uintptr_t)mem / PAGE + i) * 8)) != 8 ||
		    !(entry & PRESENT))
			die("pagemap");
		printf("pfn=0x%llx offset=%lu\n", (unsigned long long)(entry & PFN), offset_in(i));
	}
	printf("ready\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
