// SPDX-License-Identifier: GPL-2.0-only
/*
 * scan_process PID SEED SIZE: runs on the host. Counts the pages of guest
 * memory that a VMM has mapped, in mappings of at least SIZE bytes, and the
 * pages of its whole address space in which /proc/PID/mem shows the secret of
 * SEED:
 *
 *   guest_pages=N       pages of readable mappings of at least SIZE bytes
 *   guest_rss_pages=N   those that are in the page tables of the process
 *   read_pages=N        pages of all mappings that this program has read
 *   unreadable_pages=N  pages of all mappings that it could not read
 *   found_pages=N       pages with the secret
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pattern.h"

#define PAGE	4096UL
#define CHUNK	(1UL << 20)

static struct pattern pattern;
static uint8_t buffer[CHUNK];
static unsigned long guest, guest_rss, readable, unreadable, found;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void look(size_t size)
{
	for (size_t at = 0; at < size; at += PAGE)
		found += pattern_find(&pattern, buffer, at, at + PAGE, size, PATTERN_STEP) !=
			 PATTERN_NONE;
	readable += size / PAGE;
}

static void scan(int mem, unsigned long start, unsigned long end)
{
	for (unsigned long at = start, size; at < end; at += size) {
		size = end - at < CHUNK ? end - at : CHUNK;
		if (pread(mem, buffer, size, (off_t)at) == (ssize_t)size) {
			look(size);
			continue;
		}
		for (unsigned long page = at; page < at + size; page += PAGE) {
			if (pread(mem, buffer, PAGE, (off_t)page) == (ssize_t)PAGE)
				look(PAGE);
			else
				unreadable++;
		}
	}
}

int main(int argc, char **argv)
{
	unsigned long start, end, kb, size;
	char path[64], line[512], read;
	bool is_guest = false;
	FILE *maps;
	int mem;

	if (argc != 4) {
		fprintf(stderr, "usage: scan_process PID SEED SIZE\n");
		return 2;
	}
	pattern_from_seed(&pattern, strtoull(argv[2], NULL, 0));
	size = strtoul(argv[3], NULL, 0);
	snprintf(path, sizeof(path), "/proc/%s/mem", argv[1]);
	mem = open(path, O_RDONLY);
	snprintf(path, sizeof(path), "/proc/%s/smaps", argv[1]);
	maps = fopen(path, "r");
	if (mem < 0 || !maps)
		die(path);

	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %c", &start, &end, &read) == 3) {
			is_guest = read == 'r' && end - start >= size;
			guest += is_guest ? (end - start) / PAGE : 0;
			/* The vsyscall page is not a page of the process. */
			if (end >> 63 == 0)
				scan(mem, start, end);
		} else if (is_guest && sscanf(line, "Rss: %lu kB", &kb) == 1) {
			guest_rss += kb * 1024 / PAGE;
		}
	}
	/* Do not leave copies that the next scan would find. */
	explicit_bzero(buffer, sizeof(buffer));
	printf("guest_pages=%lu\nguest_rss_pages=%lu\nread_pages=%lu\nunreadable_pages=%lu\n"
	       "found_pages=%lu\n", guest, guest_rss, readable, unreadable, found);
	return 0;
}
