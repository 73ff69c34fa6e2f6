/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_GUEST_MEMFD_H
#define _UAPI_LINUX_GUEST_MEMFD_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Access levels: what the host may do with a range of a guest_memfd.  The guest
 * can access its memory at every level.
 *
 * NONE: processes cannot map the range, and the kernel does not pin its pages.
 *
 * USER: processes can map the range, but the kernel does not pin its pages if
 * the memory of the file is hidden.
 *
 * KERNEL: processes and the kernel can use the range like ordinary memory.
 *
 * If the memory of the file is hidden, the kernel's direct map has an entry for
 * a page at NONE or USER only while KVM needs to access the page for the guest.
 */
#define GUEST_MEMFD_ACCESS_NONE		0
#define GUEST_MEMFD_ACCESS_USER		1
#define GUEST_MEMFD_ACCESS_KERNEL	2

/**
 * struct guest_memfd_access - the access level of a range of a guest_memfd
 * @offset: Start of the range in bytes, page-aligned.
 * @size: Length of the range in bytes, page-aligned, not zero.
 *	GUEST_MEMFD_GET_ACCESS ignores the value and stores the number of bytes
 *	from @offset that have the same level.
 * @level: GUEST_MEMFD_ACCESS_*.  GUEST_MEMFD_GET_ACCESS ignores the value and
 *	stores the level at @offset.
 * @flags: Must be zero.
 * @error_offset: GUEST_MEMFD_SET_ACCESS stores it when it fails with EAGAIN or
 *	EHWPOISON.  EAGAIN: the page at this offset, or another page of its
 *	block, has other references, for instance a pin.  EHWPOISON: the page at
 *	this offset is poisoned.
 * @reserved: Must be zero.
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

/*
 * ioctls on a guest_memfd file descriptor.  GUEST_MEMFD_SET_ACCESS changes the
 * level of the whole range or of nothing.
 */
#define GUEST_MEMFD_SET_ACCESS	_IOWR(GUEST_MEMFD_IOC_TYPE, 0x00, struct guest_memfd_access)
#define GUEST_MEMFD_GET_ACCESS	_IOWR(GUEST_MEMFD_IOC_TYPE, 0x01, struct guest_memfd_access)

/* The f_type that statfs() returns for the guestmem file system: "GMFS". */
#define GUESTMEM_MAGIC		0x474d4653

#endif /* _UAPI_LINUX_GUEST_MEMFD_H */
