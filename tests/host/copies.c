// SPDX-License-Identifier: GPL-2.0-only
/*
 * copies: runs on the host. Reads the output of "guestmem scan --list", and
 * counts the pages in it by their use on the host, which /proc/kpageflags
 * reports:
 *
 *   copies: pages=N process=N cache=N slab=N kernel=N free=N
 *
 * @process: anonymous memory; @cache: the page cache; @slab: slab objects;
 * @kernel: whole pages that the kernel uses, for example in socket buffers;
 * @free: pages in the buddy allocator. A free page on a per-CPU list has no
 * flag and counts as @kernel.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#define HAS(flags, flag)	((flags) >> KPF_##flag & 1)

int main(void)
{
	unsigned long pages = 0, process = 0, cache = 0, slab = 0, kernel = 0, freed = 0;
	unsigned long long pfn;
	char line[256];
	int fd;

	fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err(1, "cannot read /proc/kpageflags");
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t flags;

		if (sscanf(line, "pfn=%llx", &pfn) != 1)
			continue;
		if (pread(fd, &flags, sizeof(flags), pfn * sizeof(flags)) != sizeof(flags))
			err(1, "cannot read /proc/kpageflags of 0x%llx", pfn);
		pages++;
		if (HAS(flags, BUDDY))
			freed++;
		else if (HAS(flags, SLAB))
			slab++;
		else if (HAS(flags, ANON))
			process++;
		else if (HAS(flags, LRU) || HAS(flags, MMAP) || HAS(flags, UNEVICTABLE) ||
			 HAS(flags, SWAPBACKED) || HAS(flags, UPTODATE))
			cache++;
		else
			kernel++;
	}
	printf("copies: pages=%lu process=%lu cache=%lu slab=%lu kernel=%lu free=%lu\n",
	       pages, process, cache, slab, kernel, freed);
	return 0;
}
