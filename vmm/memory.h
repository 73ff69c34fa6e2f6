/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's memory: one file or one anonymous mapping, shown to the guest as
 * one or two memslots around the hole below 4 GiB where the APICs live.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdint.h>

#define MEMORY_LOW_MAX		0xc0000000ULL	/* the hole starts here ... */
#define MEMORY_HIGH_BASE	0x100000000ULL	/* ... and ends here */

enum memory_kind {
	MEMORY_BEST,	/* hidden if the host can, else the next best */
	MEMORY_PLAIN,	/* anonymous memory */
	MEMORY_GMEM,	/* guest_memfd, in the direct map */
	MEMORY_HIDDEN,	/* guest_memfd, not in the direct map */
};

struct memory {
	enum memory_kind kind;
	int fd;			/* -1 for MEMORY_PLAIN */
	uint8_t *base;
	uint64_t size;
};

const char *memory_kind_name(enum memory_kind kind);

/* Return: 0, or an exit status after a message. */
int memory_create(struct memory *memory, int vm_fd, enum memory_kind kind, uint64_t size);
void memory_destroy(struct memory *memory);

/* Bytes below the hole, and above it. */
uint64_t memory_low(const struct memory *memory);
uint64_t memory_high(const struct memory *memory);

/* Our address of [addr, addr + len) of the guest; NULL if not all of it is memory. */
void *memory_at(const struct memory *memory, uint64_t addr, uint64_t len);

#endif
