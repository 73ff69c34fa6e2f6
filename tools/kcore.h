/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /proc/kcore: the kernel's memory, read through the kernel's own mappings.
 * Of interest here is RAM in the direct map, by physical address.
 */
#ifndef GUESTMEM_KCORE_H
#define GUESTMEM_KCORE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KCORE_PAGE_SHIFT	12
#define KCORE_PAGE_SIZE		(1UL << KCORE_PAGE_SHIFT)

/* A piece of physical memory: [start, end) in bytes, and where the file has it. */
struct kcore_ram {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
};

struct kcore {
	struct kcore_ram *ram;		/* sorted by start, never overlapping */
	size_t nr_ram;
	uint64_t ram_bytes;
	uint64_t base;			/* virtual address of physical address 0 */
	/*
	 * The kernel image where it runs, or all 0: its physical addresses, and the
	 * address that physical address 0 would have there.
	 */
	struct kcore_ram image;
	uint64_t image_base;
	uint16_t machine;		/* EM_X86_64 or EM_AARCH64 */
};

/*
 * Reads the headers of an open kcore file. Returns 0, or -1 with a one-line
 * reason in @why. Nothing in the headers is trusted.
 */
int kcore_parse(struct kcore *kc, int fd, char *why, size_t why_size);
void kcore_free(struct kcore *kc);

/*
 * All of [offset, offset + size) of the file.  Returns 0, or -1 with errno, of
 * which EFAULT is an answer: something in the range is not mapped.
 */
int kcore_read(int fd, void *buf, size_t size, uint64_t offset);

#endif
