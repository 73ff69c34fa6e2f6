// SPDX-License-Identifier: GPL-2.0-only
/* The parts of guest_memfd_hide.h that depend on arm64. */
#include <linux/perf_event.h>
#include <linux/sizes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest_memfd_hide.h"

/* /proc/meminfo of arm64 does not show how the linear map is mapped. */
u64 gmem_mapped_by_pages(void)
{
	return (gmem_vmstat("direct_map_level2_splits") -
		gmem_vmstat("direct_map_level2_collapses")) * (SZ_2M / SZ_1K);
}

/*
 * KVM/arm64 has no such counter, but the dump of the stage-2 page tables marks
 * blocks.
 */
u64 gmem_pages_2m(struct kvm_vm *vm)
{
	u64 start, end, size = 0;
	char line[256];
	FILE *f;

	snprintf(line, sizeof(line), "/sys/kernel/debug/kvm/%d-%d/stage2_page_tables", getpid(),
		 vm->fd);
	f = fopen(line, "r");
	TEST_ASSERT(f, "cannot open %s, errno %d", line, errno);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "0x%lx-0x%lx", &start, &end) == 2 && start >= GMEM_GPA &&
		    strstr(line, " BLK"))
			size += end - start;
	}
	fclose(f);
	return size / SZ_2M;
}

/*
 * KVM/arm64 counts only exits, not faults, so a perf event counts its
 * tracepoint.
 */
u64 gmem_guest_faults(struct kvm_vcpu *vcpu)
{
	static const char event[] = "/sys/kernel/tracing/events/kvm/kvm_guest_fault/id";
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .inherit = 1,
	};
	static int fd = -1;
	char filter[64];
	u64 count;
	FILE *f;

	if (fd < 0) {
		f = fopen(event, "r");
		TEST_ASSERT(f && fscanf(f, "%llu", &attr.config) == 1, "cannot read %s", event);
		fclose(f);
		fd = syscall(__NR_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
		TEST_ASSERT(fd >= 0, "no perf event, errno %d", errno);
		snprintf(filter, sizeof(filter), "ipa >= 0x%llx", GMEM_GPA);
		TEST_ASSERT(!ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter),
			    "no filter of the perf event, errno %d", errno);
	}
	TEST_ASSERT(read(fd, &count, sizeof(count)) == sizeof(count), "no count, errno %d", errno);
	return count;
}
