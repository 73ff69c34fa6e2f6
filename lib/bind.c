// SPDX-License-Identifier: MIT OR LGPL-2.1-or-later
#include <errno.h>
#include <sys/ioctl.h>

#include "guestmem.h"
#include "guestmem_abi.h"

static int set_region(int vm_fd, struct guestmem_abi_region2 *region)
{
	return ioctl(vm_fd, GUESTMEM_ABI_SET_USER_MEMORY_REGION2, region) ? -errno : 0;
}

int guestmem_bind(int vm_fd, const struct guestmem_slot *slot)
{
	struct guestmem_abi_region2 region = {
		.slot = slot->slot,
		.flags = GUESTMEM_ABI_MEM_GUEST_MEMFD,
		.guest_phys_addr = slot->guest_addr,
		.memory_size = slot->size,
		.userspace_addr = (uintptr_t)slot->host_addr,
		.guest_memfd_offset = slot->offset,
		.guest_memfd = slot->fd,
	};

	/* KVM deletes the memslot if the size is zero. */
	if (!slot->size || slot->fd < 0)
		return -EINVAL;
	return set_region(vm_fd, &region);
}

int guestmem_unbind(int vm_fd, uint32_t slot)
{
	struct guestmem_abi_region2 region = { .slot = slot };

	return set_region(vm_fd, &region);
}
