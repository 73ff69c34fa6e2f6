// SPDX-License-Identifier: GPL-2.0-only
/* Tests how the scanner parses the headers of /proc/kcore, correct ones and wrong ones. */
#define _GNU_SOURCE
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kcore.h"
#include "tap.h"

#define BASE	0xffff888000000000ULL
#define TEXT	0xffffffff81000000ULL

static Elf64_Ehdr eh;
static Elf64_Phdr ph[8];

/* Describes 4 GiB of RAM in three unsorted segments, and the other segments of a host. */
static void usual(void)
{
	memset(&eh, 0, sizeof(eh));
	memset(ph, 0, sizeof(ph));
	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	eh.e_type = ET_CORE;
	eh.e_machine = EM_X86_64;
	eh.e_phoff = sizeof(eh);
	eh.e_phentsize = sizeof(ph[0]);
	eh.e_phnum = 7;
	ph[0] = (Elf64_Phdr) { .p_type = PT_NOTE, .p_offset = 0x400, .p_filesz = 0x123 };
	ph[1] = (Elf64_Phdr) { .p_type = PT_LOAD, .p_vaddr = TEXT, .p_paddr = 0x1000000,
			       .p_offset = 0x7fff81002000, .p_filesz = 0x2400000 };
	ph[2] = (Elf64_Phdr) { .p_type = PT_LOAD, .p_vaddr = 0xffffc90000000000ULL,
			       .p_paddr = (Elf64_Addr)-1, .p_offset = 0x410000002000,
			       .p_filesz = 0x1fffffffffff };
	ph[3] = (Elf64_Phdr) { .p_type = PT_LOAD, .p_vaddr = BASE + 0x100000000, .p_paddr = 0x100000000,
			       .p_offset = 0x100002000, .p_filesz = 0x80000000 };
	ph[4] = (Elf64_Phdr) { .p_type = PT_LOAD, .p_vaddr = BASE + 0x1000, .p_paddr = 0x1000,
			       .p_offset = 0x3000, .p_filesz = 0x9e000 };
	ph[5] = (Elf64_Phdr) { .p_type = PT_LOAD, .p_vaddr = BASE + 0x100000, .p_paddr = 0x100000,
			       .p_offset = 0x102000, .p_filesz = 0x7fedf000 };
	ph[6] = (Elf64_Phdr) { .p_type = PT_LOAD, .p_vaddr = 0xffffea0000000000ULL,
			       .p_paddr = (Elf64_Addr)-1, .p_offset = 0x620000002000, .p_filesz = 0x2000000 };
}

static int parse(struct kcore *kc, char *why, size_t size, size_t cut)
{
	int fd = memfd_create("kcore", 0), ret;

	if (fd < 0 || write(fd, &eh, sizeof(eh)) != sizeof(eh) ||
	    write(fd, ph, sizeof(ph)) != sizeof(ph) || (cut && ftruncate(fd, (off_t)cut)))
		abort();
	ret = kcore_parse(kc, fd, why, size);
	close(fd);
	return ret;
}

static void refused(const char *what)
{
	char why[160] = "";
	struct kcore kc;
	int ret = parse(&kc, why, sizeof(why), 0);

	ok(ret < 0 && why[0] && !kc.ram, "refused: %s (%s)", what, why);
	if (!ret)
		kcore_free(&kc);
	usual();
}

static void test_usual(void)
{
	char why[160];
	struct kcore kc;

	usual();
	if (!ok(!parse(&kc, why, sizeof(why), 0), "a usual host"))
		return;
	ok(kc.nr_ram == 3, "three pieces of RAM");
	ok(kc.base == BASE, "the base of the direct map");
	ok(kc.ram_bytes == 0x9e000 + 0x7fedf000 + 0x80000000ULL, "all of the RAM");
	ok(kc.ram[0].start == 0x1000 && kc.ram[0].end == 0x9f000 && kc.ram[0].offset == 0x3000 &&
	   kc.ram[1].start == 0x100000 && kc.ram[2].end == 0x180000000, "sorted");
	ok(kc.image.offset == ph[1].p_offset && kc.image.start == ph[1].p_paddr &&
	   kc.image.end == 0x3400000 && kc.image_base == TEXT - 0x1000000, "the kernel's image is told from RAM");
	kcore_free(&kc);
}

static void test_kaslr(void)
{
	char why[160];
	struct kcore kc;
	uint64_t by = 0x1234ULL << 30;

	usual();
	for (int i = 3; i < 6; i++)
		ph[i].p_vaddr += by;
	ph[1].p_vaddr += 0x15000000;
	ok(!parse(&kc, why, sizeof(why), 0) && kc.base == BASE + by && kc.nr_ram == 3,
	   "a direct map and an image elsewhere");
	kcore_free(&kc);
	usual();
}

/* On arm64 the image is the first segment, in the vmalloc area; RAM begins at 1 GiB. */
static void test_arm64(void)
{
	char why[160];
	struct kcore kc;

	memset(ph, 0, sizeof(ph));
	eh.e_machine = EM_AARCH64;
	eh.e_phnum = 5;
	ph[0] = (Elf64_Phdr) { .p_type = PT_NOTE, .p_offset = 0x190, .p_filesz = 0x1d20 };
	ph[1] = (Elf64_Phdr) { .p_type = PT_LOAD, .p_vaddr = 0xffff800080000000ULL,
			       .p_paddr = 0x40200000, .p_offset = 0x800080002000,
			       .p_filesz = 0xbe0000 };
	ph[2] = (Elf64_Phdr) { .p_type = PT_LOAD, .p_vaddr = 0xffff800080000000ULL,
			       .p_paddr = (Elf64_Addr)-1, .p_offset = 0x800080002000,
			       .p_filesz = 0x7dff3f800000 };
	ph[3] = (Elf64_Phdr) { .p_type = PT_LOAD, .p_vaddr = 0xffff000000000000ULL,
			       .p_paddr = 0x40000000, .p_offset = 0x2000, .p_filesz = 0x80000000 };
	ph[4] = (Elf64_Phdr) { .p_type = PT_LOAD, .p_vaddr = 0xfffffdffc0000000ULL,
			       .p_paddr = (Elf64_Addr)-1, .p_offset = 0xfdffc0002000,
			       .p_filesz = 0x2000000 };
	ok(!parse(&kc, why, sizeof(why), 0) && kc.nr_ram == 1 && kc.machine == EM_AARCH64,
	   "an arm64 host");
	ok(kc.base == 0xfffeffffc0000000ULL && kc.ram[0].start == 0x40000000 &&
	   kc.ram[0].end == 0xc0000000 && kc.ram[0].offset == 0x2000, "the linear map, not the first segment");
	ok(kc.image.start == 0x40200000 && kc.image.end == 0x40de0000 &&
	   kc.image_base + kc.image.start == 0xffff800080000000ULL, "the image");
	kcore_free(&kc);
	usual();
}

static void test_hostile(void)
{
	char why[160];
	struct kcore kc;

	for (size_t cut = 1; cut < sizeof(eh) + 7 * sizeof(ph[0]); cut += 13)
		if (!parse(&kc, why, sizeof(why), cut)) {
			ok(false, "accepted when cut to %zu bytes", cut);
			kcore_free(&kc);
		}
	ok(true, "cut short anywhere");
	eh.e_ident[0] = 0;
	refused("no ELF");
	eh.e_ident[EI_CLASS] = ELFCLASS32;
	refused("32 bits");
	eh.e_ident[EI_DATA] = ELFDATA2MSB;
	refused("big-endian");
	eh.e_type = ET_EXEC;
	refused("a program");
	eh.e_machine = EM_RISCV;
	refused("another machine");
	eh.e_phentsize = 55;
	refused("program headers of another size");
	eh.e_phnum = 0;
	refused("no program headers");
	eh.e_phnum = 0xffff;
	refused("the number of headers elsewhere");
	eh.e_phnum = 0xfffe;
	refused("more headers than the file has");
	eh.e_phoff = (Elf64_Off)-64;
	refused("headers at the end of the world");
	eh.e_phoff = INT64_MAX;
	refused("headers that wrap");
	ph[3].p_paddr += 1;
	refused("half a page");
	ph[3].p_filesz -= 0x800;
	refused("a size that is no page");
	ph[3].p_filesz = -0x1000ULL;
	refused("a size that wraps");
	ph[3].p_paddr = 1ULL << 52;
	refused("beyond physical memory");
	ph[3].p_offset = INT64_MAX - 0xfff;
	refused("an offset that wraps");
	ph[3].p_vaddr = -0x1000ULL;
	refused("addresses that wrap");
	ph[5].p_filesz = 0x100001000ULL;
	refused("RAM that overlaps");
	ph[5] = ph[3];
	refused("RAM that is there twice");
	for (int i = 1; i < 7; i++)
		ph[i].p_paddr = (Elf64_Addr)-1;
	refused("no RAM at all");
	for (int i = 1; i < 7; i++)
		ph[i].p_filesz = 0;
	refused("empty segments only");
}

int main(void)
{
	test_usual();
	test_kaslr();
	test_arm64();
	test_hostile();
	return done_testing();
}
