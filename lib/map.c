// SPDX-License-Identifier: MIT OR LGPL-2.1-or-later
#include <errno.h>
#include <sys/mman.h>

#include "guestmem.h"

int guestmem_map(int fd, uint64_t offset, size_t size, void **addr)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	if (p == MAP_FAILED)
		return -errno;
	*addr = p;
	return 0;
}

int guestmem_unmap(void *addr, size_t size)
{
	if (addr && munmap(addr, size))
		return -errno;
	return 0;
}
