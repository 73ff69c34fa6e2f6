// SPDX-License-Identifier: GPL-2.0-only
/* Tests a kernel without guest_memfd: any descriptor that is not of KVM acts like one. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "guestmem.h"
#include "tap.h"

int main(void)
{
	struct guestmem_slot slot = { .fd = -1, .size = 4096 };
	int fd = open("/dev/null", O_RDWR);
	uint64_t flags = 0;
	char text[128];
	void *addr;

	ok(guestmem_supported_flags(fd, &flags) == -EOPNOTSUPP, "no flags");
	ok(guestmem_create(fd, 4096, 0) == -EOPNOTSUPP, "nothing is created");
	ok(guestmem_explain(fd, GUESTMEM_MMAP, text, sizeof(text)) == -EOPNOTSUPP &&
	   strstr(text, "no guest_memfd"), "it says why: %s", text);
	ok(guestmem_explain(fd, 0, NULL, 0) == -EOPNOTSUPP, "without room for the words");
	ok(guestmem_explain(fd, 0, text, 5) == -EOPNOTSUPP && strlen(text) == 4,
	   "with little room for them");
	ok(guestmem_bind(fd, &slot) == -EINVAL, "a slot without a file");
	slot.fd = fd;
	slot.size = 0;
	ok(guestmem_bind(fd, &slot) == -EINVAL, "a slot without a size");
	ok(guestmem_map(-1, 0, 4096, &addr) == -EBADF, "mapping nothing");
	ok(guestmem_unmap(NULL, 4096) == 0, "unmapping nothing");
	close(fd);
	return done_testing();
}
