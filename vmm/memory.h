/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: one file or one anonymous mapping.  It has one memslot, or two
 * on an architecture with a hole in its address space.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine.h"

enum memory_kind {
	MEMORY_BEST,	/* hidden if the host kernel supports it, else the next best */
	MEMORY_PLAIN,	/* anonymous memory */
	MEMORY_THP,	/* anonymous memory in huge pages of 2 MiB */
	MEMORY_GMEM,	/* guest_memfd, in the direct map */
	MEMORY_HIDDEN,	/* guest_memfd, not in the direct map */
	MEMORY_SEALED,	/* MEMORY_HIDDEN at level NONE after the guest is loaded */
	MEMORY_GUEST_CONTROLLED,	/* MEMORY_HIDDEN at the levels that the guest asks for */
	MEMORY_KINDS
};

struct memory {
	enum memory_kind kind;
	int fd;			/* of the guest_memfd; -1 for anonymous memory */
	void *range;		/* the user addresses of the memslots */
	uint8_t *base;		/* @range while the memory is mapped there, else NULL */
	uint8_t *shared;	/* see memory_shared_at() */
	uint64_t size;
};

const char *memory_kind_name(enum memory_kind kind);

/* Returns 0, or prints a message and returns an exit status. */
int memory_create(struct memory *memory, int vm_fd, enum memory_kind kind, uint64_t size);
void memory_destroy(struct memory *memory);

/*
 * Must be called when the guest is loaded.  Removes the VMM's own access to
 * memory of the kind MEMORY_SEALED.
 * Return: 0, or an exit status after a message.
 */
int memory_seal(struct memory *memory);

/* Return the number of bytes of memory below the hole, and above it. */
uint64_t memory_low(const struct memory *memory);
uint64_t memory_high(const struct memory *memory);

/*
 * Stores the offset of the guest's [addr, addr + len) in the memory.
 * Return: false if a part of it is not memory or belongs to another memslot.
 */
bool memory_offset(const struct memory *memory, uint64_t addr, uint64_t len, uint64_t *offset);

/*
 * Returns the VMM's address of the same; NULL if it is not memory or is sealed.
 */
void *memory_at(const struct memory *memory, uint64_t addr, uint64_t len);

/*
 * A device accesses guest memory by system calls only.  At a page that the
 * guest does not share with the host, a system call fails with EFAULT, while a
 * load or a store of the VMM would raise a signal.
 *
 * memory_share() maps sealed memory for these system calls; a protected VM
 * shares it page by page.  It returns 0, or prints a message and returns an
 * exit status.
 *
 * memory_shared_at() returns the address for a system call, or NULL if [addr,
 * addr + len) is not memory.
 */
int memory_share(struct memory *memory);
void *memory_shared_at(const struct memory *memory, uint64_t addr, uint64_t len);

/*
 * Return whether the VMM may access all of the range now.  If not, they may
 * have copied a part of it.
 */
bool memory_read(const struct memory *memory, uint64_t addr, void *to, size_t len);
bool memory_write(const struct memory *memory, uint64_t addr, const void *from, size_t len);

/*
 * memory_read() and memory_write() are not atomic: the kernel may copy byte by
 * byte while another CPU accesses the same number.  memory_add() atomically
 * adds 1 << @bit to the number of 32 bits at @addr, a multiple of 4.
 * Return: false if the VMM may not access it now; then the number is unchanged.
 */
bool memory_add(const struct memory *memory, uint64_t addr, unsigned int bit);

/*
 * Checks that the system calls of the functions above work.  The kernel may not
 * implement them, or a seccomp filter may refuse them.
 * Return: NULL, or the reason why they fail.
 */
const char *memory_check_copies(void);

#endif
