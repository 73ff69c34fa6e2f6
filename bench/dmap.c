// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "dmap.h"
#include "measure.h"

void dmap_read(struct dmap *d)
{
	int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	char why[160];

	if (fd < 0)
		die(errno, "/proc/kcore");
	if (kcore_parse(&d->ram, fd, why, sizeof(why)))
		die(0, "/proc/kcore: %s", why);
	close(fd);
	if (ptdump_load(&d->pt, ptdump_file(&d->ram), &d->ram, why, sizeof(why)))
		die(0, "%s: %s", ptdump_file(&d->ram), why);
}

void dmap_free(struct dmap *d)
{
	ptdump_free(&d->pt);
	kcore_free(&d->ram);
}

void dmap_tally(const struct dmap *d, struct pttally *sum)
{
	ptdump_tally(&d->pt, &d->ram, 0, d->ram.ram[d->ram.nr_ram - 1].end, sum);
}
