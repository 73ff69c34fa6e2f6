/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_GMEM_ARCH_H
#define SELFTEST_KVM_GMEM_ARCH_H

/* The parts of the guest_memfd tests that depend on x86. */

#include <stdbool.h>
#include <string.h>

#include "kvm_util.h"

/* The page-table dump in debugfs, and its marker above the direct map. */
#define GMEM_PTDUMP		"/sys/kernel/debug/page_tables/kernel"
#define GMEM_PTDUMP_MAP		"Low Kernel Mapping"

static inline bool gmem_ptdump_absent(const char *line)
{
	return !strstr(line, " RW ") && !strstr(line, " ro ");
}

/*
 * Excludes segments of the kernel image, which also have a physical address in
 * /proc/kcore.
 */
static inline bool gmem_kcore_is_direct_map(u64 vaddr)
{
	return vaddr < 0xffffffff80000000ULL;
}

/* Counters of TLB flushes: each CPU counts its own. */
#define GMEM_FLUSH_COUNTERS	{ "nr_tlb_local_flush_one", "nr_tlb_local_flush_all", \
				  "nr_tlb_remote_flush_received" }
/* In a flush of all CPUs each CPU increments one of these. */
#define GMEM_ROUND_COUNTERS	{ "nr_tlb_local_flush_one", "nr_tlb_remote_flush_received" }
#define GMEM_ROUND_IS_LOCAL	true

#endif /* SELFTEST_KVM_GMEM_ARCH_H */
