/* SPDX-License-Identifier: GPL-2.0-only */
/* The kinds of memory that are compared, and a piece of one of them. */
#ifndef BENCH_BACKING_H
#define BENCH_BACKING_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE	4096UL
#define BLOCK	(2UL << 20)
#define MIB	(1UL << 20)

enum backing {
	PLAIN,		/* a guest_memfd in the direct map */
	HIDDEN,		/* one outside it, in blocks of 2 MiB */
	HIDDEN_0,	/* the same page by page: block_order 0 */
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
/* Those that figures compare unless the command line names others. */
#define USUAL_BACKINGS	(ALL_BACKINGS & ~(BACKING_BIT(MOUNT) | BACKING_BIT(TMPFS)))
/* Those that can be a guest's memory. */
#define GUEST_BACKINGS	(ALL_BACKINGS & ~BACKING_BIT(SECRET))

const char *backing_name(enum backing backing);

/* Of comma-separated names; 0 if one is not known. */
unsigned int backing_parse(const char *names);

/* Which of these the kernel has; says which it has not. */
unsigned int backing_offered(unsigned int wanted);

static inline bool backing_is_guest_memfd(enum backing backing)
{
	return backing <= HIDDEN_0;
}

/* Out of the direct map by blocks of 2 MiB, which come from the kernel's pool if it has some. */
static inline bool backing_has_blocks(enum backing backing)
{
	return backing == HIDDEN || backing == MOUNT;
}

/*
 * hugetlbfs takes its pages from a pool of its own.  region_create() fills that pool
 * before it makes a region of it, and empties it when it makes the first region of
 * another kind.  A figure that measures free memory first calls this, which returns
 * all pages of the pool that no region needs.
 */
void backing_return_huge_pages(void);

/* How many of @want huge pages the kernel can allocate now; returns them at once. */
uint64_t backing_try_huge_pages(uint64_t want);

/* /dev/kvm */
int backing_kvm(void);

/* A file of that kind, mapped, and a VM that it may belong to. */
struct region {
	enum backing backing;
	uint64_t size;
	int vm;
	int fd;			/* -1 for THP */
	char *base;
};

/* All of these end the program when they fail. */
void region_create(struct region *r, enum backing backing, uint64_t size);
void region_touch(struct region *r, uint64_t step);
void region_fallocate(struct region *r);	/* THP: MADV_POPULATE_WRITE */
void region_unmap(struct region *r);
void region_punch(struct region *r);		/* THP: MADV_DONTNEED */
/* The file and its mapping, but for the VM. */
void region_close(struct region *r);
/* Returns when the memory is free. */
void region_destroy(struct region *r);
/* Free bytes of all zones, and of the lists that the CPUs have. */
uint64_t free_memory(void);

/* As the kernel clears a page, one page after the other. */
void region_clear(struct region *r);

#endif
