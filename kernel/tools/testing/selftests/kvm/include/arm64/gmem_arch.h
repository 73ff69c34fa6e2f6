/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_GMEM_ARCH_H
#define SELFTEST_KVM_GMEM_ARCH_H

/* The parts of the guest_memfd tests that depend on arm64. */

#include <stdbool.h>
#include <string.h>

#include "kvm_util.h"

/* The page-table dump in debugfs, and its marker above the linear map. */
#define GMEM_PTDUMP		"/sys/kernel/debug/kernel_page_tables"
#define GMEM_PTDUMP_MAP		"Linear Mapping start"

/*
 * The dump marks an entry whose valid bit is clear with an F and still shows
 * its other flags.
 */
static inline bool gmem_ptdump_absent(const char *line)
{
	return strstr(line, " F ") || (!strstr(line, " RW ") && !strstr(line, " ro "));
}

/*
 * Excludes segments of the kernel image, which also have a physical address in
 * /proc/kcore.
 */
static inline bool gmem_kcore_is_direct_map(u64 vaddr)
{
	return !(vaddr & (1ULL << 47));
}

/*
 * TLBI reaches all CPUs without an interrupt, so the CPU that broadcasts it
 * counts it.
 */
#define GMEM_FLUSH_COUNTERS	{ "nr_tlb_remote_flush" }
#define GMEM_ROUND_COUNTERS	{ "nr_tlb_remote_flush" }
#define GMEM_ROUND_IS_LOCAL	false

#endif /* SELFTEST_KVM_GMEM_ARCH_H */
