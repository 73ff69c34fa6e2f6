// SPDX-License-Identifier: MIT OR LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "guestmem.h"
#include "guestmem_abi.h"

int guestmem_create(int vm_fd, uint64_t size, uint64_t flags)
{
	struct guestmem_abi_create args = { .size = size, .flags = flags };
	uint64_t supported;
	int fd, ret;

	/* KVM returns EINVAL for an unknown flag as well as for a bad size. */
	ret = guestmem_supported_flags(vm_fd, &supported);
	if (ret)
		return ret;
	if (flags & ~supported)
		return -EOPNOTSUPP;

	fd = ioctl(vm_fd, GUESTMEM_ABI_CREATE_GUEST_MEMFD, &args);
	if (fd < 0)
		return -errno;
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}
