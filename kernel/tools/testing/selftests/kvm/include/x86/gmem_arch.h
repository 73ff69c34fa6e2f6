/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_GMEM_ARCH_H
#define SELFTEST_KVM_GMEM_ARCH_H

/* What the tests of hidden guest memory have to know of x86. */

#include <stdbool.h>
#include <string.h>

#include "kvm_util.h"

/* The kernel's page table, the line above the direct map in it, and what an entry shows. */
#define GMEM_PTDUMP		"page_tables/kernel"
#define GMEM_PTDUMP_MAP		"Low Kernel Mapping"

static inline bool gmem_ptdump_absent(const char *line)
{
	return !strstr(line, " RW ") && !strstr(line, " ro ");
}

/* A segment of /proc/kcore with a physical address: the kernel's image has one as well. */
static inline bool gmem_kcore_is_direct_map(u64 vaddr)
{
	return vaddr < 0xffffffff80000000ULL;
}

/* Counters of flushes, of which each CPU counts its own; and of faults of guests. */
#define GMEM_FLUSH_COUNTERS	{ "nr_tlb_local_flush_one", "nr_tlb_local_flush_all", \
				  "nr_tlb_remote_flush_received" }
#define gmem_guest_faults(vcpu)	vcpu_get_stat(vcpu, pf_taken)

#endif /* SELFTEST_KVM_GMEM_ARCH_H */
