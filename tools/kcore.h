/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reads RAM by physical address from /proc/kcore, which reads kernel memory
 * through the kernel's own mappings, here those of the direct map.
 */
#ifndef GUESTMEM_KCORE_H
#define GUESTMEM_KCORE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KCORE_PAGE_SHIFT	12
#define KCORE_PAGE_SIZE		(1UL << KCORE_PAGE_SHIFT)

/* A range [start, end) of physical memory, and its offset in the file. */
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
	 * The physical addresses of the kernel image, and the virtual address
	 * that physical address 0 would have in its mapping; 0 if not known.
	 */
	struct kcore_ram image;
	uint64_t image_base;
	uint16_t machine;		/* EM_X86_64 or EM_AARCH64 */
};

/*
 * Reads the headers of an open kcore file and checks every number in them.
 * Returns 0, or -1 with a one-line reason in @why.
 */
int kcore_parse(struct kcore *kc, int fd, char *why, size_t why_size);
void kcore_free(struct kcore *kc);

/*
 * Reads all of [offset, offset + size) of the file.  Returns 0, or -1 with
 * errno, which is EFAULT if the kernel has not mapped a part of the range.
 */
int kcore_read(int fd, void *buf, size_t size, uint64_t offset);

#endif
