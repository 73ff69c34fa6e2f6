// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parses the headers of /proc/kcore. Every PT_LOAD segment describes one range
 * of kernel addresses: the direct map of each range of RAM, but also vmalloc,
 * modules and vmemmap, whose p_paddr is -1 because they have no physical
 * address, and the kernel image, which has a physical address although it is
 * mapped outside the direct map. In the direct map p_vaddr - p_paddr is the
 * same for all of RAM. This distinguishes it from the image, and it is the base
 * address that KASLR has chosen. On arm64 RAM begins far above physical address
 * 0, so this base may lie below the first address of the linear map; this is
 * harmless because the base is only used to calculate differences.
 */
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kcore.h"

/* Physical addresses have at most 52 bits on x86-64 and arm64. */
#define MAX_PHYS	(1ULL << 52)

__attribute__((format(printf, 3, 4)))
static int fail(char *why, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
	return -1;
}

int kcore_read(int fd, void *buf, size_t size, uint64_t offset)
{
	char *p = buf;

	while (size) {
		ssize_t n = pread(fd, p, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (!n)
				errno = ENODATA;
			return -1;
		}
		p += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

static int check_header(const Elf64_Ehdr *eh, char *why, size_t why_size)
{
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG))
		return fail(why, why_size, "not an ELF file");
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB)
		return fail(why, why_size, "not a 64-bit little-endian ELF file");
	if (eh->e_type != ET_CORE)
		return fail(why, why_size, "not a core file (ELF type %u)", eh->e_type);
	if (eh->e_machine != EM_X86_64 && eh->e_machine != EM_AARCH64)
		return fail(why, why_size, "neither of x86-64 nor of arm64 (ELF machine %u)",
			    eh->e_machine);
	if (eh->e_phentsize != sizeof(Elf64_Phdr))
		return fail(why, why_size, "program headers of %u bytes", eh->e_phentsize);
	if (eh->e_phnum == 0 || eh->e_phnum == PN_XNUM)
		return fail(why, why_size, "%s program headers", eh->e_phnum ? "too many" : "no");
	return 0;
}

/* Returns whether the segment is in the file and has a physical address. */
static int has_paddr(const Elf64_Phdr *ph)
{
	return ph->p_type == PT_LOAD && ph->p_filesz && ph->p_paddr != (Elf64_Addr)-1;
}

static int check_segment(const Elf64_Phdr *ph, size_t i, char *why, size_t why_size)
{
	if ((ph->p_paddr | ph->p_vaddr | ph->p_filesz) & (KCORE_PAGE_SIZE - 1))
		return fail(why, why_size, "segment %zu does not consist of whole pages", i);
	if (ph->p_paddr >= MAX_PHYS || ph->p_filesz > MAX_PHYS - ph->p_paddr)
		return fail(why, why_size, "segment %zu reaches beyond physical memory", i);
	if (ph->p_vaddr + (ph->p_filesz - 1) < ph->p_vaddr ||
	    ph->p_offset > INT64_MAX || ph->p_filesz > INT64_MAX - ph->p_offset)
		return fail(why, why_size, "segment %zu wraps around", i);
	return 0;
}

/* The direct map has the p_vaddr - p_paddr that covers the most bytes. */
static uint64_t direct_map_base(const Elf64_Phdr *ph, size_t nr)
{
	uint64_t base = 0, most = 0;

	for (size_t i = 0; i < nr; i++) {
		uint64_t delta, sum = 0;

		if (!has_paddr(&ph[i]))
			continue;
		delta = ph[i].p_vaddr - ph[i].p_paddr;
		for (size_t j = 0; j < nr; j++)
			if (has_paddr(&ph[j]) && ph[j].p_vaddr - ph[j].p_paddr == delta)
				sum += ph[j].p_filesz;
		if (sum > most) {
			most = sum;
			base = delta;
		}
	}
	return base;
}

static int by_start(const void *a, const void *b)
{
	const struct kcore_ram *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int take_segments(struct kcore *kc, const Elf64_Phdr *ph, size_t nr,
			 char *why, size_t why_size)
{
	kc->base = direct_map_base(ph, nr);
	for (size_t i = 0; i < nr; i++) {
		if (!has_paddr(&ph[i]))
			continue;
		if (ph[i].p_vaddr - ph[i].p_paddr != kc->base) {
			kc->image = (struct kcore_ram) {
				.start = ph[i].p_paddr,
				.end = ph[i].p_paddr + ph[i].p_filesz,
				.offset = ph[i].p_offset,
			};
			kc->image_base = ph[i].p_vaddr - ph[i].p_paddr;
			continue;
		}
		kc->ram[kc->nr_ram++] = (struct kcore_ram) {
			.start = ph[i].p_paddr,
			.end = ph[i].p_paddr + ph[i].p_filesz,
			.offset = ph[i].p_offset,
		};
		kc->ram_bytes += ph[i].p_filesz;
	}
	if (!kc->nr_ram)
		return fail(why, why_size, "no RAM in it");
	qsort(kc->ram, kc->nr_ram, sizeof(*kc->ram), by_start);
	for (size_t i = 1; i < kc->nr_ram; i++)
		if (kc->ram[i].start < kc->ram[i - 1].end)
			return fail(why, why_size, "two segments contain the RAM at 0x%llx",
				    (unsigned long long)kc->ram[i].start);
	return 0;
}

int kcore_parse(struct kcore *kc, int fd, char *why, size_t why_size)
{
	Elf64_Phdr *ph = NULL;
	Elf64_Ehdr eh;
	int ret = -1;

	memset(kc, 0, sizeof(*kc));
	if (kcore_read(fd, &eh, sizeof(eh), 0))
		return fail(why, why_size, "no ELF header: %s", strerror(errno));
	if (check_header(&eh, why, why_size))
		return -1;
	kc->machine = eh.e_machine;
	ph = calloc(eh.e_phnum, sizeof(*ph));
	kc->ram = calloc(eh.e_phnum, sizeof(*kc->ram));
	if (!ph || !kc->ram) {
		fail(why, why_size, "out of memory");
		goto out;
	}
	if (eh.e_phoff > INT64_MAX - eh.e_phnum * sizeof(*ph) ||
	    kcore_read(fd, ph, eh.e_phnum * sizeof(*ph), eh.e_phoff)) {
		fail(why, why_size, "program headers cannot be read");
		goto out;
	}
	for (size_t i = 0; i < eh.e_phnum; i++)
		if (has_paddr(&ph[i]) && check_segment(&ph[i], i, why, why_size))
			goto out;
	ret = take_segments(kc, ph, eh.e_phnum, why, why_size);
out:
	free(ph);
	if (ret)
		kcore_free(kc);
	return ret;
}

void kcore_free(struct kcore *kc)
{
	free(kc->ram);
	memset(kc, 0, sizeof(*kc));
}
