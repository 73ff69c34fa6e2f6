/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's memory: one file or one anonymous mapping, shown to the guest as
 * one memslot, or two around the hole that some architectures have.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine.h"

enum memory_kind {
	MEMORY_BEST,	/* hidden if the host can, else the next best */
	MEMORY_PLAIN,	/* anonymous memory */
	MEMORY_THP,	/* anonymous memory in huge pages of 2 MiB */
	MEMORY_GMEM,	/* guest_memfd, in the direct map */
	MEMORY_HIDDEN,	/* guest_memfd, not in the direct map */
	MEMORY_SEALED,	/* the same, and not ours to see once it is loaded */
	MEMORY_GUEST_CONTROLLED,	/* the same, and the guest says who may see what */
	MEMORY_KINDS
};

struct memory {
	enum memory_kind kind;
	int fd;			/* -1 for anonymous memory */
	void *range;		/* the addresses by which KVM knows it */
	uint8_t *base;		/* the same while it is mapped there, or NULL */
	uint8_t *shared;	/* see memory_shared_at() */
	uint64_t size;
};

const char *memory_kind_name(enum memory_kind kind);

/* Return: 0, or an exit status after a message. */
int memory_create(struct memory *memory, int vm_fd, enum memory_kind kind, uint64_t size);
void memory_destroy(struct memory *memory);

/*
 * The guest is loaded: what is MEMORY_SEALED is now for the guest alone, for
 * this process too.  Return: 0, or an exit status after a message.
 */
int memory_seal(struct memory *memory);

/* Bytes below the hole, and above it. */
uint64_t memory_low(const struct memory *memory);
uint64_t memory_high(const struct memory *memory);

/*
 * Where in the memory [addr, addr + len) of the guest lies.
 * Return: false if not all of it is memory of one slot.
 */
bool memory_offset(const struct memory *memory, uint64_t addr, uint64_t len, uint64_t *offset);

/* Our address of the same; NULL if it is not memory, or sealed. */
void *memory_at(const struct memory *memory, uint64_t addr, uint64_t len);

/*
 * What a device does in guest memory goes by system calls, to which the kernel says
 * EFAULT at a page that the guest does not share with us: we would get a signal.
 *
 * memory_share() makes this possible in sealed memory, which a protected VM shares
 * page by page.  Return: 0, or an exit status after a message.
 *
 * memory_shared_at() is the address for a system call; NULL if it is not memory.
 */
int memory_share(struct memory *memory);
void *memory_shared_at(const struct memory *memory, uint64_t addr, uint64_t len);

/* Return: whether all of it is memory that we may use now; if not, a part may be copied. */
bool memory_read(const struct memory *memory, uint64_t addr, void *to, size_t len);
bool memory_write(const struct memory *memory, uint64_t addr, const void *from, size_t len);

/*
 * The two above copy byte by byte, if the kernel likes to, so another CPU may see or
 * make half a number.  This adds 1 << @bit to the number of 32 bits at @addr, a
 * multiple of 4, at once.
 * Return: false if it is not memory that we may use now; then nothing has changed.
 */
bool memory_add(const struct memory *memory, uint64_t addr, unsigned int bit);

/*
 * A kernel may lack the system calls that these need, or a filter refuse them.
 * Return: NULL, or why they fail whatever the guest shares.
 */
const char *memory_check_copies(void);

#endif
