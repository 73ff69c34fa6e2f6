/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_GUEST_MEMFD_H
#define _UAPI_LINUX_GUEST_MEMFD_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * What the host may do with a range of a guest_memfd; the guest may always use
 * its memory.  NONE: nothing.  USER: processes may map it, but the kernel has
 * it in no mapping of its own and does not pin it.  KERNEL: all that ordinary
 * memory is good for.
 */
#define GUEST_MEMFD_ACCESS_NONE		0
#define GUEST_MEMFD_ACCESS_USER		1
#define GUEST_MEMFD_ACCESS_KERNEL	2

/**
 * struct guest_memfd_access - the access level of a range of a guest_memfd
 * @offset: Start of the range in bytes, page-aligned.
 * @size: Length of the range in bytes, page-aligned, not zero.
 *	GUEST_MEMFD_GET_ACCESS ignores it, and stores how far from @offset on the
 *	level runs.
 * @level: GUEST_MEMFD_ACCESS_*; ignored and stored by GUEST_MEMFD_GET_ACCESS.
 * @flags: Zero.
 * @error_offset: Stored when GUEST_MEMFD_SET_ACCESS fails with EAGAIN (the page at this
 *	offset, or another page of its block, has other references, a pin for
 *	instance) or EHWPOISON (it is poisoned).
 * @reserved: Zero.
 */
struct guest_memfd_access {
	__u64 offset;
	__u64 size;
	__u32 level;
	__u32 flags;
	__u64 error_offset;
	__u64 reserved[4];
};

#define GUEST_MEMFD_IOC_TYPE	0xBC

/* Of the guest_memfd itself: all of the range changes, or nothing. */
#define GUEST_MEMFD_SET_ACCESS	_IOWR(GUEST_MEMFD_IOC_TYPE, 0x00, struct guest_memfd_access)
#define GUEST_MEMFD_GET_ACCESS	_IOWR(GUEST_MEMFD_IOC_TYPE, 0x01, struct guest_memfd_access)

/* What statfs() says of the guestmem file system: "GMFS". */
#define GUESTMEM_MAGIC		0x474d4653

#endif /* _UAPI_LINUX_GUEST_MEMFD_H */
