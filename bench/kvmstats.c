// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvmstats.h"
#include "measure.h"

#define MAX_NAME	256
#define MAX_DESC	4096

static bool get(int fd, void *to, size_t size, off_t offset)
{
	return pread(fd, to, size, offset) == (ssize_t)size;
}

int kvmstats_read(int fd, const char *name, uint64_t *value)
{
	/* The name follows the descriptor. */
	union {
		struct kvm_stats_desc desc;
		char bytes[sizeof(struct kvm_stats_desc) + MAX_NAME];
	} d;
	struct kvm_stats_header header;
	size_t size;

	if (!get(fd, &header, sizeof(header), 0) || !header.name_size ||
	    header.name_size > MAX_NAME || header.num_desc > MAX_DESC)
		return -EPROTO;
	size = sizeof(d.desc) + header.name_size;
	for (uint32_t i = 0; i < header.num_desc; i++) {
		const char *this = d.bytes + sizeof(d.desc);

		if (!get(fd, &d, size, header.desc_offset + (off_t)(i * size)))
			return -EPROTO;
		if (strnlen(this, header.name_size) != strlen(name) ||
		    memcmp(this, name, strlen(name)))
			continue;
		if (d.desc.size != 1 ||
		    !get(fd, value, sizeof(*value), (off_t)header.data_offset + d.desc.offset))
			return -EPROTO;
		return 0;
	}
	return -ENOENT;
}

uint64_t kvmstat(int kvm_object, const char *name)
{
	int fd = ioctl(kvm_object, KVM_GET_STATS_FD, NULL), ret;
	uint64_t value = 0;

	if (fd < 0)
		die(errno, "KVM_GET_STATS_FD");
	ret = kvmstats_read(fd, name, &value);
	close(fd);
	if (ret)
		die(-ret, "KVM's statistic %s", name);
	return value;
}
