// SPDX-License-Identifier: GPL-2.0-only
/* Tests how the benchmark parses KVM's statistics, in a correct file and in wrong ones. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvmstats.h"
#include "tap.h"

#define NAME_SIZE	48

static struct kvm_stats_header header = {
	.name_size = NAME_SIZE, .num_desc = 3, .id_offset = 24, .desc_offset = 72,
	.data_offset = 72 + 3 * (16 + NAME_SIZE),
};

static void put(int fd, const void *from, size_t size, off_t offset)
{
	if (pwrite(fd, from, size, offset) != (ssize_t)size)
		ok(false, "pwrite");
}

static void put_desc(int fd, unsigned int nr, const char *name, uint16_t size, uint32_t offset)
{
	char bytes[16 + NAME_SIZE] = { 0 };
	struct kvm_stats_desc desc = { .size = size, .offset = offset };

	memcpy(bytes, &desc, 16);
	memcpy(bytes + 16, name, strlen(name));
	put(fd, bytes, sizeof(bytes), header.desc_offset + nr * sizeof(bytes));
}

static int stats_file(const struct kvm_stats_header *h)
{
	static const uint64_t data[] = { 7, 0xffffffffffULL, 1, 2 };
	int fd = memfd_create("stats", MFD_CLOEXEC);

	put(fd, h, sizeof(*h), 0);
	put_desc(fd, 0, "pf_taken", 1, 0);
	put_desc(fd, 1, "exits", 1, 8);
	put_desc(fd, 2, "histogram", 2, 16);
	put(fd, data, sizeof(data), header.data_offset);
	return fd;
}

int main(void)
{
	struct kvm_stats_header bad;
	uint64_t value = 0;
	int fd = stats_file(&header);

	ok(!kvmstats_read(fd, "pf_taken", &value) && value == 7, "the first");
	ok(!kvmstats_read(fd, "exits", &value) && value == 0xffffffffffULL, "the second");
	ok(kvmstats_read(fd, "exit", &value) == -ENOENT, "a part of a name");
	ok(kvmstats_read(fd, "exits_more", &value) == -ENOENT, "more than a name");
	ok(kvmstats_read(fd, "", &value) == -ENOENT, "no name");
	ok(kvmstats_read(fd, "histogram", &value) == -EPROTO, "more than a number");
	ok(!ftruncate(fd, header.data_offset + 8) &&
	   kvmstats_read(fd, "exits", &value) == -EPROTO, "truncated data");
	ok(!ftruncate(fd, header.desc_offset + 10) &&
	   kvmstats_read(fd, "exits", &value) == -EPROTO, "truncated descriptors");
	ok(!ftruncate(fd, 0) && kvmstats_read(fd, "exits", &value) == -EPROTO, "empty");
	close(fd);

	bad = header;
	bad.name_size = 100000;
	fd = stats_file(&bad);
	ok(kvmstats_read(fd, "exits", &value) == -EPROTO, "names too long to be true");
	close(fd);
	bad = header;
	bad.num_desc = 1U << 30;
	fd = stats_file(&bad);
	ok(kvmstats_read(fd, "exits", &value) == -EPROTO, "descriptors too many to be true");
	close(fd);
	return done_testing();
}
