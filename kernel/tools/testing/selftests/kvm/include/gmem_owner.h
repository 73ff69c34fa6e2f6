/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Another owner of guest_memfds than KVM, lib/test_guest_memfd.c: its module,
 * its guests and their files, for guest_memfd_owner_test.c and
 * guest_memfd_module_test.c.
 */
#ifndef SELFTEST_KVM_GMEM_OWNER_H
#define SELFTEST_KVM_GMEM_OWNER_H

#include <errno.h>
#include <fcntl.h>
#include <linux/guest_memfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../../../../lib/test_guest_memfd.h"

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#define DEVICE		"/dev/test_guest_memfd"
#define MODULE		"test_guest_memfd"
#define MODULE_FILE	"/lib/" MODULE ".ko"

static inline int load_module(void)
{
	int fd = open(MODULE_FILE, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -1;
	r = syscall(SYS_finit_module, fd, "", 0);
	close(fd);
	return r;
}

/* The call's result, or its negated errno. */
#define result(call) ({ long __r = (call); __r < 0 ? -errno : __r; })

static inline int guest_new(void)
{
	int dev = open(DEVICE, O_RDWR | O_CLOEXEC);

	TEST_ASSERT(dev >= 0, "cannot open %s", DEVICE);
	return dev;
}

static inline long file_new(int dev, u64 size, u64 flags)
{
	struct test_gmem_create create = { .size = size, .flags = flags };

	return result(ioctl(dev, TEST_GMEM_CREATE, &create));
}

static inline long on_range(int dev, unsigned long cmd, int fd, u64 first, u64 nr, u64 *error_page)
{
	struct test_gmem_range range = {
		.fd = fd,
		.offset = first * GMEM_PAGE,
		.size = nr * GMEM_PAGE,
		.error_offset = ~0ULL,
	};
	long r = result(ioctl(dev, cmd, &range));

	if (error_page)
		*error_page = range.error_offset / GMEM_PAGE;
	return r;
}

static inline long guest_io(int dev, int fd, u64 offset, void *buf, u64 size, bool write)
{
	struct test_gmem_io io = {
		.fd = fd,
		.write = write,
		.offset = offset,
		.size = size,
		.addr = (u64)buf,
	};

	return result(ioctl(dev, TEST_GMEM_IO, &io));
}

static inline void pin(int *p, void *page)
{
	struct iovec iov = { .iov_base = page, .iov_len = GMEM_PAGE };

	TEST_ASSERT(!pipe2(p, O_CLOEXEC), "pipe2");
	TEST_ASSERT_EQ(result(vmsplice(p[1], &iov, 1, 0)), GMEM_PAGE);
}

static inline void unpin(int *p)
{
	kvm_close(p[0]);
	kvm_close(p[1]);
}

/* Ends the program as skipped if this host cannot run the tests. */
static inline void owner_require(void)
{
	gmem_require();
	if (access(DEVICE, R_OK | W_OK) && load_module())
		ksft_exit_skip("no " DEVICE " and no module " MODULE_FILE "\n");
	/* The library may have been built into the kernel. */
	TEST_REQUIRE(!access(DEVICE, R_OK | W_OK));
}

#endif /* SELFTEST_KVM_GMEM_OWNER_H */
