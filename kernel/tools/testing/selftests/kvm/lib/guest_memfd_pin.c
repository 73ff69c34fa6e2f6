// SPDX-License-Identifier: GPL-2.0-only
/* Ways to make the kernel pin user pages; see guest_memfd_pin.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/sizes.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"

#define PAGE	4096UL

u64 gmem_gup(int fd, unsigned long cmd, void *mem, size_t size, u32 flags)
{
	struct gup_test t = {
		.addr = (u64)mem,
		.size = size,
		.nr_pages_per_call = size / PAGE,
		.gup_flags = flags,
	};

	TEST_ASSERT(!ioctl(fd, cmd, &t), "gup_test 0x%lx: errno %d", cmd, errno);
	return t.size;
}

const char *gmem_pin_name(enum gmem_pin_kind kind)
{
	static const char * const names[NR_GMEM_PINS] = {
		[GMEM_PIN_READ]		= "pin to read",
		[GMEM_PIN_WRITE]	= "pin to write",
		[GMEM_PIN_FAST]		= "fast pin",
		[GMEM_PIN_PIPE]		= "pipe",
		[GMEM_PIN_RING]		= "io_uring",
	};

	return names[kind];
}

static int pin_longterm(struct gmem_pin *pin, void *mem, u32 flags)
{
	struct pin_longterm_test t = {
		.addr = (u64)mem,
		.size = pin->size,
		.flags = flags,
	};

	pin->fd[0] = open(GUP_TEST_FILE, O_RDWR);
	if (pin->fd[0] < 0)
		return -1;
	return ioctl(pin->fd[0], PIN_LONGTERM_TEST_START, &t);
}

static int pin_pipe(struct gmem_pin *pin, void *mem)
{
	struct iovec iov = { .iov_base = mem, .iov_len = pin->size };
	ssize_t r;

	if (pipe(pin->fd) || fcntl(pin->fd[1], F_SETPIPE_SZ, pin->size) < 0)
		return -1;
	r = vmsplice(pin->fd[1], &iov, 1, SPLICE_F_NONBLOCK);
	if (r >= 0 && r < (ssize_t)pin->size) {
		/* The kernel refused the remaining pages. */
		errno = EFAULT;
		r = -1;
	}
	return r < 0 ? -1 : 0;
}

static int pin_ring(struct gmem_pin *pin, void *mem)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct iovec iov = { .iov_base = mem, .iov_len = pin->size };

	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	pin->fd[0] = syscall(__NR_io_uring_setup, 4, pin->ring);
	if (pin->fd[0] < 0)
		return -1;
	return syscall(__NR_io_uring_register, pin->fd[0], IORING_REGISTER_BUFFERS, &iov, 1);
}

/*
 * The fields of struct io_uring_sqe and struct io_uring_cqe that the tests
 * need.
 */
struct sqe {
	u8 opcode;
	u8 flags;
	u16 ioprio;
	s32 fd;
	u64 off;
	u64 addr;
	u32 len;
	u32 rw_flags;
	u64 user_data;
	u16 buf_index;
	u16 pad[11];
};

struct cqe {
	u64 user_data;
	s32 res;
	u32 flags;
};

/*
 * Words of struct io_uring_params that contain offsets in the page of the
 * rings.
 */
enum {
	SQ_TAIL = 11,
	SQ_MASK = 12,
	SQ_ARRAY = 16,
	CQ_HEAD = 20,
	CQ_TAIL = 21,
	CQ_MASK = 22,
	CQ_CQES = 25,
};

#define SQES_OFFSET	0x10000000
#define ENTER_GETEVENTS	1

/* Both rings are in one page (IORING_FEAT_SINGLE_MMAP). */
static void *map_ring(struct gmem_pin *pin, u64 offset)
{
	return __kvm_mmap(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, pin->fd[0], offset);
}

static void ring_enter(struct gmem_pin *pin, unsigned int submit, unsigned int wait)
{
	int r = syscall(__NR_io_uring_enter, pin->fd[0], submit, wait, ENTER_GETEVENTS, NULL, 0);

	TEST_ASSERT(r == (int)submit, "io_uring_enter: %d, errno %d", r, errno);
}

#define RING(word) ((u32 *)(rings + pin->ring[word]))

void gmem_ring_submit(struct gmem_pin *pin, u8 op, int fd)
{
	struct sqe *sqes = map_ring(pin, SQES_OFFSET);
	char *rings = map_ring(pin, 0);
	u32 tail = *RING(SQ_TAIL), i = tail & *RING(SQ_MASK);

	sqes[i] = (struct sqe) {
		.opcode = op, .fd = fd, .addr = (u64)pin->mem, .len = pin->size, .user_data = tail,
	};
	RING(SQ_ARRAY)[i] = i;
	__atomic_store_n(RING(SQ_TAIL), tail + 1, __ATOMIC_RELEASE);
	ring_enter(pin, 1, 0);
	kvm_munmap(sqes, PAGE);
	kvm_munmap(rings, PAGE);
}

int gmem_ring_wait(struct gmem_pin *pin)
{
	char *rings = map_ring(pin, 0);
	u32 head = *RING(CQ_HEAD);
	struct cqe *cqe;
	int res;

	ring_enter(pin, 0, 1);
	TEST_ASSERT(__atomic_load_n(RING(CQ_TAIL), __ATOMIC_ACQUIRE) == head + 1,
		    "nothing is done");
	cqe = (struct cqe *)RING(CQ_CQES) + (head & *RING(CQ_MASK));
	TEST_ASSERT_EQ(cqe->user_data, *RING(SQ_TAIL) - 1);
	res = cqe->res;
	__atomic_store_n(RING(CQ_HEAD), head + 1, __ATOMIC_RELEASE);
	kvm_munmap(rings, PAGE);
	return res;
}

int gmem_ring_io(struct gmem_pin *pin, u8 op, int fd)
{
	gmem_ring_submit(pin, op, fd);
	return gmem_ring_wait(pin);
}

static int ring_unregister(struct gmem_pin *pin)
{
	return syscall(__NR_io_uring_register, pin->fd[0], IORING_UNREGISTER_BUFFERS, NULL, 0);
}

void gmem_ring_unregister(struct gmem_pin *pin)
{
	TEST_ASSERT(!ring_unregister(pin), "unregistering: errno %d", errno);
}

static void ring_read(struct gmem_pin *pin, void *to)
{
	int fd = memfd_create("gmem-ring", 0), r;

	TEST_ASSERT(fd >= 0, "memfd_create: errno %d", errno);
	r = gmem_ring_io(pin, IORING_OP_WRITE_FIXED, fd);
	TEST_ASSERT(r == (int)pin->size, "writing from the fixed buffer: %d", r);
	TEST_ASSERT_EQ(pread(fd, to, pin->size, 0), (ssize_t)pin->size);
	close(fd);
}

static void close_fds(struct gmem_pin *pin)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pin->fd); i++) {
		if (pin->fd[i] >= 0)
			close(pin->fd[i]);
		pin->fd[i] = -1;
	}
}

int gmem_pin(struct gmem_pin *pin, enum gmem_pin_kind kind, void *mem, size_t size)
{
	int r, err;

	*pin = (struct gmem_pin) {
		.kind = kind, .mem = mem, .size = size, .fd = { -1, -1 },
	};
	switch (kind) {
	case GMEM_PIN_PIPE:
		r = pin_pipe(pin, mem);
		break;
	case GMEM_PIN_RING:
		r = pin_ring(pin, mem);
		break;
	case GMEM_PIN_FAST:
		r = pin_longterm(pin, mem, PIN_LONGTERM_FAST);
		break;
	default:
		r = pin_longterm(pin, mem, kind == GMEM_PIN_WRITE ? PIN_LONGTERM_WRITE : 0);
	}
	if (r) {
		err = errno;
		close_fds(pin);
		errno = err;
	}
	return r;
}

void gmem_pin_read(struct gmem_pin *pin, void *to)
{
	u64 addr = (u64)to;

	if (pin->kind == GMEM_PIN_RING)
		ring_read(pin, to);
	else if (pin->kind == GMEM_PIN_PIPE)
		TEST_ASSERT(read(pin->fd[0], to, pin->size) == (ssize_t)pin->size,
			    "reading the pipe: errno %d", errno);
	else
		TEST_ASSERT(!ioctl(pin->fd[0], PIN_LONGTERM_TEST_READ, &addr),
			    "reading pinned pages: errno %d", errno);
}

void gmem_unpin(struct gmem_pin *pin)
{
	/* Closing the ring would do both of these asynchronously. */
	if (pin->kind == GMEM_PIN_RING)
		ring_unregister(pin);
	else if (pin->kind != GMEM_PIN_PIPE)
		ioctl(pin->fd[0], PIN_LONGTERM_TEST_STOP);
	close_fds(pin);
}

int gmem_open_direct(void)
{
	static const char backing[] = "/tmp/gmem-loop";
	int ctl, file, fd = -1, nr;
	char path[32];

	file = open(backing, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ctl = open("/dev/loop-control", O_RDWR);
	if (file < 0 || ctl < 0 || ftruncate(file, SZ_1M))
		goto out;
	nr = ioctl(ctl, LOOP_CTL_GET_FREE);
	if (nr < 0)
		goto out;
	snprintf(path, sizeof(path), "/dev/loop%d", nr);
	fd = open(path, O_RDWR);
	if (fd < 0)
		goto out;
	if (!ioctl(fd, LOOP_SET_FD, file)) {
		close(fd);
		fd = open(path, O_RDWR | O_DIRECT);
	} else {
		close(fd);
		fd = -1;
	}
out:
	if (ctl >= 0)
		close(ctl);
	if (file >= 0)
		close(file);
	unlink(backing);
	return fd;
}

void gmem_close_direct(int fd)
{
	ioctl(fd, LOOP_CLR_FD, 0);
	close(fd);
}
