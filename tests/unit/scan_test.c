// SPDX-License-Identifier: GPL-2.0-only
/* Tests guestmem scan on files that describe a host with 6 MiB of RAM in two segments. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "commands.h"
#include "secret.h"
#include "tap.h"

#define BASE	0xffff888000000000ULL
#define FIRST	0x1000		/* [4 KiB, 1 MiB) */
#define SECOND	0x300000	/* [3 MiB, 8 MiB + 8 KiB) */
#define END	0x802000
#define DATA	0x1000		/* offset in the file of physical address 0 */

static int kcore = -1, tables = -1;
static char kcore_path[64], tables_path[64];

/* Only on arm64: the linear map begins at the first RAM, and does not map the image. */
#define LINEAR	0xffff000000000000ULL
#define IMAGE	0xffff800080000000ULL
#define IMAGE_PHYS	0x400000
#define IMAGE_SIZE	0x3000
#define IMAGE_DATA	(DATA + END)

static void put(const void *data, size_t size, uint64_t phys)
{
	if (pwrite(kcore, data, size, (off_t)(DATA + phys)) != (ssize_t)size)
		abort();
}

static void put_secret(uint64_t phys, uint64_t seed)
{
	for (unsigned int i = 0; i < SECRET_WORDS; i++) {
		uint64_t w = secret_word(seed, i);

		put(&w, 8, phys + 8 * i);
	}
}

static void make_host(void)
{
	Elf64_Ehdr eh = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB },
		.e_type = ET_CORE, .e_machine = EM_X86_64, .e_phoff = sizeof(eh), .e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	Elf64_Phdr ph[] = {
		{ .p_type = PT_LOAD, .p_vaddr = BASE + SECOND, .p_paddr = SECOND,
		  .p_offset = DATA + SECOND, .p_filesz = END - SECOND },
		{ .p_type = PT_LOAD, .p_vaddr = BASE + FIRST, .p_paddr = FIRST,
		  .p_offset = DATA + FIRST, .p_filesz = 0x100000 - FIRST },
	};
	static const char text[] =
		"0xffff888000000000-0xffff888000400000        4M     RW         PSE     GLB NX pmd\n"
		"0xffff888000400000-0xffff888000402000        8K                               pte\n"
		"0xffff888000402000-0xffff888000802000        4M     RW                 GLB NX pte\n";

	kcore = memfd_create("kcore", 0);
	tables = memfd_create("tables", 0);
	if (kcore < 0 || tables < 0 || ftruncate(kcore, DATA + END) ||
	    pwrite(kcore, &eh, sizeof(eh), 0) != sizeof(eh) ||
	    pwrite(kcore, ph, sizeof(ph), sizeof(eh)) != sizeof(ph) ||
	    write(tables, text, sizeof(text) - 1) != sizeof(text) - 1)
		abort();
	snprintf(kcore_path, sizeof(kcore_path), "/proc/self/fd/%d", kcore);
	snprintf(tables_path, sizeof(tables_path), "/proc/self/fd/%d", tables);
}

/* The linear map lacks the image, of which the kernel has freed and hidden the last page. */
static void make_host_arm64(void)
{
	Elf64_Ehdr eh = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB },
		.e_type = ET_CORE, .e_machine = EM_AARCH64, .e_phoff = sizeof(eh),
		.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 3,
	};
	Elf64_Phdr ph[] = {
		{ .p_type = PT_LOAD, .p_vaddr = IMAGE, .p_paddr = IMAGE_PHYS,
		  .p_offset = IMAGE_DATA, .p_filesz = IMAGE_SIZE },
		{ .p_type = PT_LOAD, .p_vaddr = LINEAR, .p_paddr = FIRST,
		  .p_offset = DATA + FIRST, .p_filesz = 0x100000 - FIRST },
		{ .p_type = PT_LOAD, .p_vaddr = LINEAR + SECOND - FIRST, .p_paddr = SECOND,
		  .p_offset = DATA + SECOND, .p_filesz = END - SECOND },
	};
	static const char text[] =
		"---[ Linear Mapping start ]---\n"
		"0xffff000000000000-0xffff0000003ff000        4092K PTE       RW NX SHD AF UXN MEM/NORMAL\n"
		"0xffff0000003ff000-0xffff000000402000          12K PTE F     RW NX SHD AF NG UXN MEM/NORMAL\n"
		"0xffff000000402000-0xffff000000801000        4092K PTE       RW NX SHD AF UXN MEM/NORMAL\n"
		"---[ Linear Mapping end ]---\n"
		"0xffff800080000000-0xffff800080002000           8K PTE       RW NX SHD AF UXN MEM/NORMAL\n"
		"0xffff800080002000-0xffff800080003000           4K PTE\n";

	close(kcore);
	close(tables);
	kcore = memfd_create("kcore", 0);
	tables = memfd_create("tables", 0);
	if (kcore < 0 || tables < 0 || ftruncate(kcore, IMAGE_DATA + IMAGE_SIZE) ||
	    pwrite(kcore, &eh, sizeof(eh), 0) != sizeof(eh) ||
	    pwrite(kcore, ph, sizeof(ph), sizeof(eh)) != sizeof(ph) ||
	    write(tables, text, sizeof(text) - 1) != sizeof(text) - 1)
		abort();
	snprintf(kcore_path, sizeof(kcore_path), "/proc/self/fd/%d", kcore);
	snprintf(tables_path, sizeof(tables_path), "/proc/self/fd/%d", tables);
}

static char output[4096];

/* Runs the command and stores its output in output[]. */
static int scan(const char *a, const char *b, const char *c, const char *d)
{
	const char *argv[] = { "scan", "--kcore", kcore_path, "--page-tables", tables_path,
			       a, b, c, d, NULL };
	int argc = 0, out = memfd_create("output", 0), keep = dup(STDOUT_FILENO), ret;
	ssize_t n;

	while (argv[argc])
		argc++;
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	ret = cmd_scan(argc, (char **)argv);
	fflush(stdout);
	dup2(keep, STDOUT_FILENO);
	n = pread(out, output, sizeof(output) - 1, 0);
	output[n > 0 ? n : 0] = '\0';
	close(out);
	close(keep);
	return ret;
}

static bool says(const char *line)
{
	size_t len = strlen(line);

	for (const char *s = output; (s = strstr(s, line)); s++)
		if ((s == output || s[-1] == '\n') && s[len] == '\n')
			return true;
	return false;
}

static void test_found(void)
{
	ok(!scan("--seed", "1", NULL, NULL) && says("found_pages=0") && says("ram_pages=1537") &&
	   says("unreadable_pages=2") && says("unreadable_blank=2") && says("read_pages=1535") &&
	   says("stale_pages=0"), "nothing found where nothing is");
	put_secret(FIRST, 1);			/* the first page of RAM */
	put_secret(0xff000 + 4096 - 64, 1);	/* the last page of the first segment */
	put_secret(0x400000 - 4096, 1);		/* the last page of a chunk */
	put_secret(END - 64, 1);		/* the end of the last page of RAM */
	put_secret(0x500000, 2);		/* another secret */
	put_secret(0x600000, 1);		/* twice in one page */
	put_secret(0x600400, 1);
	put_secret(0x700010, 1);		/* not at a multiple of 64 */
	ok(!scan("--seed", "1", "--list", NULL) && says("found_pages=5"), "found, each page once");
	ok(says("pfn=0x1 offset=0") && says("pfn=0xff offset=4032") && says("pfn=0x3ff offset=0") &&
	   says("pfn=0x801 offset=4032") && says("pfn=0x600 offset=0"), "listed");
	ok(!scan("--seed", "2", "--list", NULL) && says("found_pages=1") &&
	   says("pfn=0x500 offset=0"), "another secret is told apart");
	ok(!scan("--seed", "1", "--every-cpu", NULL) && says("found_pages=5") &&
	   says("ram_pages=1537") && says("read_pages=1535"), "every CPU: each page counts once");
	ok(!scan("--seed", "1", "--cpus", "1") && says("found_pages=5") && says("cpus=1"), "one CPU");
}

static void test_anywhere(void)
{
	ok(!scan("--seed", "1", "--anywhere", NULL) && says("found_pages=6"), "anywhere in a page");
	put_secret(0x380000 - 5, 1);
	put_secret(0x600000 - 1, 1);	/* across the end of a chunk */
	ok(!scan("--seed", "1", "--anywhere", "--list") && says("found_pages=8") &&
	   says("pfn=0x37f offset=4091") && says("pfn=0x5ff offset=4095"),
	   "over the end of a page and of a chunk");
}

static void test_hex(void)
{
	put("0123456789abcdefghi", 19, 0x480000);
	ok(!scan("--pattern", "30313233343536373839616263646566676869", NULL, NULL) &&
	   says("found_pages=1"), "a pattern in hex");
}

static void test_stale(void)
{
	put("x", 1, 0x400000 + 77);
	ok(!scan("--seed", "1", "--list", NULL) && says("stale_pages=1") && says("stale_pfn=0x400") &&
	   says("unreadable_pages=1"), "a page read that nothing maps is reported");
	put("", 1, 0x400000 + 77);
}

static void test_errors(void)
{
	ok(scan(NULL, NULL, NULL, NULL) == 2, "nothing to look for");
	ok(scan("--seed", "x", NULL, NULL) == 2, "a seed that is no number");
	ok(scan("--seed", "-1", NULL, NULL) == 2, "a seed below 0");
	ok(scan("--seed", " -5", NULL, NULL) == 2, "the same after a blank");
	ok(!scan("--seed", "18446744073709551615", NULL, NULL), "the largest seed");
	ok(scan("--pattern", "00", NULL, NULL) == 2, "a pattern too short");
	ok(scan("--seed", "1", "--cpus", "0") == 2, "no CPUs");
	ok(scan("--seed", "1", "more", NULL) == 2, "one word too many");
	ok(scan("--seed", "1", "--kcore", "/nowhere") == 1, "no kcore");
	ok(scan("--seed", "1", "--kcore", "/dev/null") == 1, "no headers");
	ok(!scan("--seed", "1", "--page-tables", "/nowhere") && says("page_tables=no") &&
	   says("read_pages=1537"), "no page tables: goes without");
	if (!ftruncate(kcore, DATA + END - 1))
		ok(scan("--seed", "1", NULL, NULL) == 1, "RAM that ends too early is an error");
}

static void test_image(void)
{
	ok(!scan("--seed", "1", NULL, NULL) && says("found_pages=0") && says("ram_pages=1537") &&
	   says("read_pages=1536") && says("unreadable_blank=1") && says("stale_pages=0"),
	   "arm64: the image is read where it runs");
	put_secret(0x500000, 1);
	put_secret(IMAGE_DATA - DATA + 0x1040, 1);
	ok(!scan("--seed", "1", "--list", NULL) && says("found_pages=2") &&
	   says("pfn=0x401 offset=64") && says("pfn=0x500 offset=0"),
	   "arm64: found in the image and in the linear map");
	put_secret(IMAGE_DATA - DATA + 0x2000, 1);
	ok(!scan("--seed", "1", NULL, NULL) && says("found_pages=2"),
	   "arm64: a page that the image's mapping lacks is not read there");
	put_secret(IMAGE_DATA - DATA + 0x1000 - 5, 2);
	ok(!scan("--seed", "2", "--anywhere", "--list") && says("found_pages=1") &&
	   says("pfn=0x400 offset=4091"), "arm64: over the end of a page of the image");
	put("x", 1, IMAGE_PHYS + 1);
	put("x", 1, IMAGE_PHYS + 0x2000);
	ok(!scan("--seed", "1", "--list", NULL) && says("stale_pages=2") &&
	   says("stale_pfn=0x400") && says("stale_pfn=0x402") && says("found_pages=2"),
	   "arm64: a page read by an entry with F is reported, in the image and beside it");
}

int main(void)
{
	make_host();
	test_found();
	test_anywhere();
	test_hex();
	test_stale();
	test_errors();
	make_host_arm64();
	test_image();
	return done_testing();
}
