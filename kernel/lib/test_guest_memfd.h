/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LIB_TEST_GUEST_MEMFD_H
#define _LIB_TEST_GUEST_MEMFD_H

/*
 * The ioctl interface of /dev/test_guest_memfd.  An open file of the device is
 * a guest.  Closing the file kills the guest.
 */

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct test_gmem_create - parameters of a file of the guest's memory
 * @size: Size in bytes, page-aligned.
 * @flags: GUEST_MEMFD_FLAG_*.  With INIT_SHARED no memory is private to the
 *	guest at first, and the level is GUEST_MEMFD_ACCESS_KERNEL.  Without it,
 *	all memory is lent to the guest.
 */
struct test_gmem_create {
	__u64 size;
	__u64 flags;
};

/**
 * struct test_gmem_range - a range of a file of the guest
 * @fd: The file.
 * @reserved: Must be zero.
 * @offset: Start of the range in bytes, page-aligned.
 * @size: Length of the range in bytes, page-aligned, not zero.
 * @error_offset: Receives the offset of the page that caused EAGAIN or
 *	EHWPOISON.
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
 * @write: Nonzero for a store.
 * @offset: Offset in the file, in bytes.
 * @size: Number of bytes.
 * @addr: Address in user space of the buffer to copy from or to.
 */
struct test_gmem_io {
	__s32 fd;
	__u32 write;
	__u64 offset;
	__u64 size;
	__u64 addr;
};

#define TEST_GMEM_IOC_TYPE	0xBD

/* Creates a file and returns its descriptor. */
#define TEST_GMEM_CREATE	_IOW(TEST_GMEM_IOC_TYPE, 0x00, struct test_gmem_create)
/*
 * Page faults of the guest, and removal of mappings, which a hypervisor may do
 * at any time.
 */
#define TEST_GMEM_MAP		_IOW(TEST_GMEM_IOC_TYPE, 0x01, struct test_gmem_range)
#define TEST_GMEM_UNMAP		_IOW(TEST_GMEM_IOC_TYPE, 0x02, struct test_gmem_range)
/* Fails with EFAULT if the guest has not mapped the page. */
#define TEST_GMEM_IO		_IOW(TEST_GMEM_IOC_TYPE, 0x03, struct test_gmem_io)
/* Hypercalls of the guest: make shared memory private, and share it again. */
#define TEST_GMEM_LEND		_IOWR(TEST_GMEM_IOC_TYPE, 0x04, struct test_gmem_range)
#define TEST_GMEM_SHARE		_IOWR(TEST_GMEM_IOC_TYPE, 0x05, struct test_gmem_range)
/*
 * Kills the guest.  The memory that was lent to it stays lent until the host
 * reclaims it.
 */
#define TEST_GMEM_KILL		_IO(TEST_GMEM_IOC_TYPE, 0x06)
/* Reclaims memory of a dead guest.  Fails with EBUSY if the guest lives. */
#define TEST_GMEM_RECLAIM	_IOWR(TEST_GMEM_IOC_TYPE, 0x07, struct test_gmem_range)

/*
 * This ioctl is not part of an owner.  It loads a word through the direct map,
 * as a buggy module might.  Input: the pfn.  Output: the first word of the
 * page, if the task survives the load.
 */
#define TEST_GMEM_STRAY_LOAD	_IOWR(TEST_GMEM_IOC_TYPE, 0x08, __u64)

#endif /* _LIB_TEST_GUEST_MEMFD_H */
