// SPDX-License-Identifier: MIT OR LGPL-2.1-or-later
/* Ask the running kernel which flags it supports. */
#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "guestmem.h"
#include "guestmem_abi.h"

static const struct {
	uint64_t flag;
	const char *name;
} flag_names[] = {
	{ GUESTMEM_MMAP, "MMAP" },
	{ GUESTMEM_INIT_SHARED, "INIT_SHARED" },
	{ GUESTMEM_NO_DIRECT_MAP, "NO_DIRECT_MAP" },
};

int guestmem_supported_flags(int fd, uint64_t *flags)
{
	int mask;

	if (ioctl(fd, GUESTMEM_ABI_CHECK_EXTENSION, GUESTMEM_ABI_CAP_GUEST_MEMFD) <= 0 ||
	    ioctl(fd, GUESTMEM_ABI_CHECK_EXTENSION, GUESTMEM_ABI_CAP_USER_MEMORY2) <= 0)
		return -EOPNOTSUPP;

	mask = ioctl(fd, GUESTMEM_ABI_CHECK_EXTENSION, GUESTMEM_ABI_CAP_GUEST_MEMFD_FLAGS);
	*flags = mask > 0 ? (uint64_t)mask : 0;
	return 0;
}

static void name_flags(uint64_t flags, char *text, size_t size)
{
	size_t used = 0;
	int n;

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		if (!(flags & flag_names[i].flag))
			continue;
		n = snprintf(text + used, size - used, "%s%s", used ? " and " : "",
			     flag_names[i].name);
		if (n < 0 || (size_t)n >= size - used)
			return;
		used += n;
		flags &= ~flag_names[i].flag;
	}
	if (flags)
		snprintf(text + used, size - used, "%s0x%llx", used ? " and " : "",
			 (unsigned long long)flags);
}

int guestmem_explain(int fd, uint64_t flags, char *text, size_t size)
{
	uint64_t supported;
	char names[80];

	if (guestmem_supported_flags(fd, &supported)) {
		snprintf(text, size, "this kernel has no guest_memfd");
		return -EOPNOTSUPP;
	}
	if (flags & ~supported) {
		name_flags(flags & ~supported, names, sizeof(names));
		snprintf(text, size, "this kernel's guest_memfd does not offer %s", names);
		return -EOPNOTSUPP;
	}
	if (size)
		text[0] = '\0';
	return 0;
}
