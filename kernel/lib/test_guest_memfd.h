/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LIB_TEST_GUEST_MEMFD_H
#define _LIB_TEST_GUEST_MEMFD_H

/*
 * What user space says to /dev/test_guest_memfd.  An open file of it is a guest,
 * which ends with it, at the latest.
 */

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct test_gmem_create - a file of the guest's memory
 * @size: Size in bytes, page-aligned.
 * @flags: GUEST_MEMFD_FLAG_*.  With INIT_SHARED the guest begins with nothing
 *	that is private to it, and the level is GUEST_MEMFD_ACCESS_KERNEL; without,
 *	all is lent to it.
 */
struct test_gmem_create {
	__u64 size;
	__u64 flags;
};

/**
 * struct test_gmem_range - a range of a file of the guest
 * @fd: The file.
 * @reserved: Zero.
 * @offset: Start of the range in bytes, page-aligned.
 * @size: Length of the range in bytes, page-aligned, not zero.
 * @error_offset: Stored on EAGAIN and EHWPOISON: the page that they are about.
 */
struct test_gmem_range {
	__s32 fd;
	__u32 reserved;
	__u64 offset;
	__u64 size;
	__u64 error_offset;
};

/**
 * struct test_gmem_io - a load or store of the guest
 * @fd: The file.
 * @write: Is it a store?
 * @offset: Where in the file, in bytes.
 * @size: How many bytes.
 * @addr: Address in user space of the bytes, or of where to put them.
 */
struct test_gmem_io {
	__s32 fd;
	__u32 write;
	__u64 offset;
	__u64 size;
	__u64 addr;
};

#define TEST_GMEM_IOC_TYPE	0xBD

/* Returns a file descriptor. */
#define TEST_GMEM_CREATE	_IOW(TEST_GMEM_IOC_TYPE, 0x00, struct test_gmem_create)
/* Page faults of the guest, and what the hypervisor may do at any time. */
#define TEST_GMEM_MAP		_IOW(TEST_GMEM_IOC_TYPE, 0x01, struct test_gmem_range)
#define TEST_GMEM_UNMAP		_IOW(TEST_GMEM_IOC_TYPE, 0x02, struct test_gmem_range)
/* EFAULT where the guest has not mapped the page. */
#define TEST_GMEM_IO		_IOW(TEST_GMEM_IOC_TYPE, 0x03, struct test_gmem_io)
/* Hypercalls of the guest: make shared memory private, and the other way. */
#define TEST_GMEM_LEND		_IOWR(TEST_GMEM_IOC_TYPE, 0x04, struct test_gmem_range)
#define TEST_GMEM_SHARE		_IOWR(TEST_GMEM_IOC_TYPE, 0x05, struct test_gmem_range)
/* The guest dies; what was lent to it is nobody's until it is reclaimed. */
#define TEST_GMEM_KILL		_IO(TEST_GMEM_IOC_TYPE, 0x06)
/* The host takes memory back from a dead guest: EBUSY while it lives. */
#define TEST_GMEM_RECLAIM	_IOWR(TEST_GMEM_IOC_TYPE, 0x07, struct test_gmem_range)

/*
 * No part of an owner: a load by the direct map, as a module makes by mistake.  In: the
 * pfn.  Out: the first word of the page, if the task is still there.
 */
#define TEST_GMEM_STRAY_LOAD	_IOWR(TEST_GMEM_IOC_TYPE, 0x08, __u64)

#endif /* _LIB_TEST_GUEST_MEMFD_H */
