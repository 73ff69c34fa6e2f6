/* SPDX-License-Identifier: MIT OR LGPL-2.1-or-later */
/*
 * The kernel's ABI of guest_memfd, for systems whose <linux/kvm.h> is older
 * than it.  The structures and constants have names of this library, so that a
 * source file can include a newer <linux/kvm.h> beside this header.
 */
#ifndef GUESTMEM_ABI_H
#define GUESTMEM_ABI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Arguments of KVM_CHECK_EXTENSION. */
#define GUESTMEM_ABI_CAP_USER_MEMORY2		231
#define GUESTMEM_ABI_CAP_GUEST_MEMFD		234
#define GUESTMEM_ABI_CAP_GUEST_MEMFD_FLAGS	244

/* This flag of a memslot makes guest_memfd and guest_memfd_offset valid. */
#define GUESTMEM_ABI_MEM_GUEST_MEMFD		(1U << 2)

#define GUESTMEM_ABI_KVMIO			0xAE
#define GUESTMEM_ABI_IOC_TYPE			0xBC

struct guestmem_abi_create {
	__u64 size;
	__u64 flags;
	__u64 reserved[6];
};

struct guestmem_abi_region2 {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u64 guest_memfd_offset;
	__u32 guest_memfd;
	__u32 pad1;
	__u64 pad2[14];
};

/* The argument of the ioctls on a guest_memfd: a range and its access level. */
struct guestmem_abi_access {
	__u64 offset;
	__u64 size;
	__u32 level;
	__u32 flags;
	__u64 error_offset;
	__u64 reserved[4];
};

#define GUESTMEM_ABI_CHECK_EXTENSION \
	_IO(GUESTMEM_ABI_KVMIO, 0x03)
#define GUESTMEM_ABI_SET_USER_MEMORY_REGION2 \
	_IOW(GUESTMEM_ABI_KVMIO, 0x49, struct guestmem_abi_region2)
#define GUESTMEM_ABI_CREATE_GUEST_MEMFD \
	_IOWR(GUESTMEM_ABI_KVMIO, 0xd4, struct guestmem_abi_create)
#define GUESTMEM_ABI_SET_ACCESS \
	_IOWR(GUESTMEM_ABI_IOC_TYPE, 0x00, struct guestmem_abi_access)
#define GUESTMEM_ABI_GET_ACCESS \
	_IOWR(GUESTMEM_ABI_IOC_TYPE, 0x01, struct guestmem_abi_access)

#endif
