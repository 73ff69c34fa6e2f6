// SPDX-License-Identifier: GPL-2.0-only
/*
 * image_pages: runs on the host. Checks that the mapping of the kernel image,
 * which exists beside the direct map, maps only pages of the image. The freed
 * pages of the image, and the pages after it in its last large page, belong to
 * the page allocator and may become hidden memory, so this mapping must not
 * contain them.
 *
 * Compares the page-table dump of the kernel (debugfs) with the page flags:
 * only pages of the image are reserved.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE		4096UL
#define LARGE		(512 * PAGE)
#define KPF_NOPAGE	(1ULL << 20)
#define KPF_RESERVED	(1ULL << 32)
#define MAX_PAGES	(1UL << 18)	/* KERNEL_IMAGE_SIZE */

static uint64_t text, text_phys;	/* virtual and physical address of _text */
static bool mapped[MAX_PAGES];		/* whether _text + index * PAGE is mapped */
static bool ours[MAX_PAGES];		/* whether that page is reserved or not RAM */
static size_t nr_mapped, nr_results, nr_failed;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("Bail out! ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	exit(1);
}

static void __attribute__((format(printf, 2, 3))) result(bool good, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("%sok %zu - ", good ? "" : "not ", ++nr_results);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	nr_failed += !good;
}

static FILE *open_file(const char *path)
{
	FILE *f = fopen(path, "r");

	if (!f)
		die("cannot open %s", path);
	return f;
}

static uint64_t symbol(const char *name)
{
	FILE *f = open_file("/proc/kallsyms");
	unsigned long long at, found = 0;
	char line[512], is[256];

	while (!found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx %*c %255s", &at, is) == 2 && !strcmp(is, name))
			found = at;
	fclose(f);
	if (!found)
		die("no symbol %s", name);
	return found;
}

static uint64_t load_address(void)
{
	FILE *f = open_file("/proc/iomem");
	unsigned long long start, found = 0;
	char line[256];

	while (!found && fgets(line, sizeof(line), f))
		if (strstr(line, ": Kernel code") && sscanf(line, " %llx-", &start) == 1)
			found = start;
	fclose(f);
	if (!found)
		die("/proc/iomem does not say where the kernel is");
	return found;
}

/* Reads a variable of the kernel. */
static uint64_t read_kernel(uint64_t address)
{
	int fd = open("/proc/kcore", O_RDONLY);
	Elf64_Ehdr head;
	Elf64_Phdr seg;
	uint64_t value;

	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head))
		die("cannot read /proc/kcore");
	for (int i = 0; i < head.e_phnum; i++) {
		if (pread(fd, &seg, sizeof(seg), head.e_phoff + i * sizeof(seg)) != sizeof(seg))
			die("/proc/kcore has no program header %d", i);
		if (seg.p_type != PT_LOAD || address < seg.p_vaddr ||
		    address - seg.p_vaddr + sizeof(value) > seg.p_memsz)
			continue;
		if (pread(fd, &value, sizeof(value), seg.p_offset + address - seg.p_vaddr) !=
		    sizeof(value))
			break;
		close(fd);
		return value;
	}
	die("/proc/kcore does not show 0x%llx", (unsigned long long)address);
}

/* Finds the pages from _text to the end of the image's area that are mapped. */
static void read_mapped(void)
{
	FILE *f = open_file("/sys/kernel/debug/page_tables/kernel");
	unsigned long long start, end;
	bool inside = false;
	char line[256];

	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "---[", 4)) {
			inside = strstr(line, "High Kernel Mapping");
			continue;
		}
		/* The line of a range that is not present has neither RW nor ro. */
		if (!inside || sscanf(line, "0x%llx-0x%llx", &start, &end) != 2 ||
		    (!strstr(line, " RW ") && !strstr(line, " ro ")))
			continue;
		for (; start < end; start += PAGE) {
			if (start < text || (start - text) / PAGE >= MAX_PAGES)
				die("0x%llx is mapped, outside the image's area", start);
			mapped[(start - text) / PAGE] = true;
			nr_mapped++;
		}
	}
	fclose(f);
}

static void read_flags(size_t pages)
{
	int fd = open("/proc/kpageflags", O_RDONLY);
	uint64_t flags;

	for (size_t i = 0; i < pages; i++) {
		if (pread(fd, &flags, sizeof(flags), (text_phys / PAGE + i) * sizeof(flags)) !=
		    sizeof(flags))
			die("cannot read the flags of page %zu of the image", i);
		ours[i] = flags & (KPF_RESERVED | KPF_NOPAGE);
	}
	close(fd);
}

/* Checks that no page is mapped in [start, end), which the kernel has freed. */
static void check_gone(const char *what, uint64_t start, uint64_t end)
{
	size_t pages = 0, freed = 0, there = 0;

	for (start = (start + PAGE - 1) & -PAGE; start + PAGE <= end; start += PAGE) {
		size_t i = (start - text) / PAGE;

		pages++;
		freed += !ours[i];
		there += mapped[i];
	}
	/* If the kernel freed no page, the check would prove nothing. */
	result(freed && !there, "%s: %zu pages, %zu freed, %zu still mapped", what, pages, freed,
	       there);
}

int main(void)
{
	uint64_t end, tail, tail_end;
	size_t pages, foreign = 0;

	printf("TAP version 13\n1..6\n");
	text = symbol("_text");
	text_phys = load_address();
	end = symbol("_end");
	/* The kernel uses the early heap up to here and frees the rest. */
	tail = read_kernel(symbol("_brk_end"));
	if (tail < symbol("__brk_base") || tail > end)
		die("_brk_end is 0x%llx", (unsigned long long)tail);
	tail_end = (tail + LARGE - 1) & -LARGE;
	read_mapped();
	pages = ((tail_end > end ? tail_end : end) - text) / PAGE;
	for (size_t i = pages; i < MAX_PAGES; i++)
		if (mapped[i])
			die("0x%llx is mapped, far behind the image",
			    (unsigned long long)(text + i * PAGE));
	read_flags(pages);

	result(mapped[0] && ours[0] && mapped[(symbol("_sdata") - text) / PAGE],
	       "code and data are seen: %zu pages are mapped", nr_mapped);
	check_gone("between code and constants", symbol("_etext"), symbol("__start_rodata"));
	check_gone("between constants and data", symbol("__end_rodata"), symbol("_sdata"));
	check_gone("what is only for booting", symbol("__init_begin"), symbol("__init_end"));
	check_gone("the tail of the last large page", tail, tail_end);
	for (size_t i = 0; i < pages; i++) {
		if (!mapped[i] || ours[i])
			continue;
		if (!foreign++)
			printf("# the first is 0x%llx\n", (unsigned long long)(text + i * PAGE));
	}
	result(!foreign, "%zu pages of others are mapped with the image", foreign);
	return nr_failed != 0;
}
