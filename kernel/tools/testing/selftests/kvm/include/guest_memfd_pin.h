/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests of guest_memfd: all that gets hold of user pages by
 * get_user_pages() and keeps them, and CONFIG_GUP_TEST's ioctls.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_PIN_H
#define SELFTEST_KVM_GUEST_MEMFD_PIN_H

#include <linux/types.h>

#include "test_util.h"

/* debugfs gup_test, mm/gup_test.h */
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

/* linux/io_uring.h, which does not mix with the headers of tools/include. */
#define IORING_REGISTER_BUFFERS		0
#define IORING_UNREGISTER_BUFFERS	1
#define IORING_PARAMS_SIZE		120
#define IORING_OP_READ_FIXED		4
#define IORING_OP_WRITE_FIXED		5

/* How many bytes of @mem one of the ioctls of gup_test gets hold of. */
u64 gmem_gup(int fd, unsigned long cmd, void *mem, size_t size, u32 flags);

/* Who keeps pages: FOLL_LONGTERM of three kinds, a pipe, io_uring. */
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
/* What the kernel reads through the pages pinned.  A pipe can be read once. */
void gmem_pin_read(struct gmem_pin *pin, void *to);
/*
 * I/O at the start of a file by one of IORING_OP_*_FIXED, with all of what a
 * ring has pinned.  Return: what the ring says.
 */
int gmem_ring_io(struct gmem_pin *pin, u8 op, int fd);
/* The two halves of it; one I/O at a time. */
void gmem_ring_submit(struct gmem_pin *pin, u8 op, int fd);
int gmem_ring_wait(struct gmem_pin *pin);
/* The ring lets go of its buffers, when no I/O uses them any more. */
void gmem_ring_unregister(struct gmem_pin *pin);
void gmem_unpin(struct gmem_pin *pin);

/* A block device that takes O_DIRECT, of 1 MiB; -1 when there is none. */
int gmem_open_direct(void);
void gmem_close_direct(int fd);

#endif /* SELFTEST_KVM_GUEST_MEMFD_PIN_H */
