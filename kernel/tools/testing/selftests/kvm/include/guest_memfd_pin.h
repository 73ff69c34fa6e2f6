/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests of guest_memfd: the ways to pin user pages by get_user_pages() for
 * a long time, and the ioctls of CONFIG_GUP_TEST.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_PIN_H
#define SELFTEST_KVM_GUEST_MEMFD_PIN_H

#include <linux/types.h>

#include "test_util.h"

/* The interface of debugfs gup_test, from mm/gup_test.h. */
struct gup_test {
	u64 get_delta_usec;
	u64 put_delta_usec;
	u64 addr;
	u64 size;
	u32 nr_pages_per_call;
	u32 gup_flags;
	u32 test_flags;
	u32 which_pages[8];
};

struct pin_longterm_test {
	u64 addr;
	u64 size;
	u32 flags;
};

#define GUP_TEST_FILE		"/sys/kernel/debug/gup_test"
#define GUP_FAST_BENCHMARK	_IOWR('g', 1, struct gup_test)
#define PIN_FAST_BENCHMARK	_IOWR('g', 2, struct gup_test)
#define PIN_LONGTERM_BENCHMARK	_IOWR('g', 3, struct gup_test)
#define GUP_BASIC_TEST		_IOWR('g', 4, struct gup_test)
#define PIN_BASIC_TEST		_IOWR('g', 5, struct gup_test)
#define PIN_LONGTERM_TEST_START	_IOW('g', 7, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_STOP	_IO('g', 8)
#define PIN_LONGTERM_TEST_READ	_IOW('g', 9, u64)
#define PIN_LONGTERM_WRITE	1
#define PIN_LONGTERM_FAST	2
#define FOLL_WRITE		1

/* From linux/io_uring.h, which conflicts with the headers of tools/include. */
#define IORING_REGISTER_BUFFERS		0
#define IORING_UNREGISTER_BUFFERS	1
#define IORING_PARAMS_SIZE		120
#define IORING_OP_READ_FIXED		4
#define IORING_OP_WRITE_FIXED		5

/* The number of bytes of @mem that one of the ioctls of gup_test gets. */
u64 gmem_gup(int fd, unsigned long cmd, void *mem, size_t size, u32 flags);

/* What pins the pages: FOLL_LONGTERM of three kinds, a pipe, io_uring. */
enum gmem_pin_kind {
	GMEM_PIN_READ,
	GMEM_PIN_WRITE,
	GMEM_PIN_FAST,
	GMEM_PIN_PIPE,
	GMEM_PIN_RING,
	NR_GMEM_PINS,
};

struct gmem_pin {
	enum gmem_pin_kind kind;
	void *mem;
	size_t size;
	int fd[2];
	u32 ring[IORING_PARAMS_SIZE / sizeof(u32)];
};

const char *gmem_pin_name(enum gmem_pin_kind kind);
/* Return: 0, or -1 with errno and nothing pinned. */
int gmem_pin(struct gmem_pin *pin, enum gmem_pin_kind kind, void *mem, size_t size);
/* Reads the pinned pages through the kernel.  A pipe can be read once. */
void gmem_pin_read(struct gmem_pin *pin, void *to);
/*
 * I/O at the start of a file by one of IORING_OP_*_FIXED, with the whole buffer
 * that the ring has pinned.  Return: the result in the ring's completion.
 */
int gmem_ring_io(struct gmem_pin *pin, u8 op, int fd);
/* gmem_ring_io() in two steps; only one I/O at a time. */
void gmem_ring_submit(struct gmem_pin *pin, u8 op, int fd);
int gmem_ring_wait(struct gmem_pin *pin);
/* The ring unpins its buffers when no I/O uses them any more. */
void gmem_ring_unregister(struct gmem_pin *pin);
void gmem_unpin(struct gmem_pin *pin);

/*
 * Opens a block device of 1 MiB that supports O_DIRECT; returns -1 if there is
 * none.
 */
int gmem_open_direct(void);
void gmem_close_direct(int fd);

#endif /* SELFTEST_KVM_GUEST_MEMFD_PIN_H */
