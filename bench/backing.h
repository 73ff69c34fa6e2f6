/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kinds of memory that the benchmark compares, and a region of such memory.
 */
#ifndef BENCH_BACKING_H
#define BENCH_BACKING_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE	4096UL
#define BLOCK	(2UL << 20)
#define MIB	(1UL << 20)

enum backing {
	PLAIN,		/* a guest_memfd in the direct map */
	HIDDEN,		/* a hidden guest_memfd, in blocks of 2 MiB */
	HIDDEN_0,	/* a hidden guest_memfd of order-0 pages: block_order 0 */
	SECRET,		/* memfd_secret() */
	SHMEM,		/* memfd_create() */
	THP,		/* anonymous memory with MADV_HUGEPAGE */
	HUGE,		/* hugetlbfs, pages of 2 MiB */
	MOUNT,		/* a file on a mount of guestmem: hidden, a plain memslot */
	TMPFS,		/* a file on a mount of tmpfs with huge=always */
	NR_BACKINGS
};

#define BACKING_BIT(b)	(1U << (b))
#define ALL_BACKINGS	((1U << NR_BACKINGS) - 1)
/* The figures compare these unless the command line names others. */
#define USUAL_BACKINGS	(ALL_BACKINGS & ~(BACKING_BIT(MOUNT) | BACKING_BIT(TMPFS)))
/* These can be guest memory. */
#define GUEST_BACKINGS	(ALL_BACKINGS & ~BACKING_BIT(SECRET))

const char *backing_name(enum backing backing);

/* Parses comma-separated names; returns 0 if a name is unknown. */
unsigned int backing_parse(const char *names);

/*
 * Returns those that the kernel supports, and prints a note about the others.
 */
unsigned int backing_offered(unsigned int wanted);

static inline bool backing_is_guest_memfd(enum backing backing)
{
	return backing <= HIDDEN_0;
}

/*
 * Returns whether the memory is hidden in blocks, which the kernel's pool may
 * have.
 */
static inline bool backing_has_blocks(enum backing backing)
{
	return backing == HIDDEN || backing == MOUNT;
}

/*
 * hugetlbfs allocates from a pool of its own.  region_create() fills that pool
 * before it creates a region of hugetlbfs, and empties the pool when it creates
 * the first region of another kind.  A figure that measures free memory must
 * first call this function, which frees all pages of the pool that no region
 * needs.
 */
void backing_return_huge_pages(void);

/*
 * Returns how many of @want huge pages the kernel can allocate now; frees them
 * again.
 */
uint64_t backing_try_huge_pages(uint64_t want);

/* Returns a descriptor of /dev/kvm. */
int backing_kvm(void);

/*
 * A mapped file of one kind, and a VM that owns the file if it is a
 * guest_memfd.
 */
struct region {
	enum backing backing;
	uint64_t size;
	int vm;
	int fd;			/* -1 for THP */
	char *base;
};

/* All these functions end the program if they fail. */
void region_create(struct region *r, enum backing backing, uint64_t size);
void region_touch(struct region *r, uint64_t step);
void region_fallocate(struct region *r);	/* THP: MADV_POPULATE_WRITE */
void region_unmap(struct region *r);
void region_punch(struct region *r);		/* THP: MADV_DONTNEED */
/* Closes the file and removes its mapping; the VM stays. */
void region_close(struct region *r);
/* Closes everything; returns when the kernel has freed the memory. */
void region_destroy(struct region *r);
/* Returns the free bytes of all zones and of the per-CPU lists. */
uint64_t free_memory(void);

/* Clears the region page by page, as the kernel clears pages. */
void region_clear(struct region *r);

#endif
