/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_GMEM_ARCH_H
#define SELFTEST_KVM_GMEM_ARCH_H

/* What the tests of hidden guest memory have to know of arm64. */

#include <stdbool.h>
#include <string.h>

#include "kvm_util.h"

/* The kernel's page table, the line above the linear map in it, and what an entry shows. */
#define GMEM_PTDUMP		"kernel_page_tables"
#define GMEM_PTDUMP_MAP		"Linear Mapping start"

/* A hidden entry keeps its flags, and has an F as it would fault. */
static inline bool gmem_ptdump_absent(const char *line)
{
	return strstr(line, " F ") || (!strstr(line, " RW ") && !strstr(line, " ro "));
}

/* A segment of /proc/kcore with a physical address: the kernel's image has one as well. */
static inline bool gmem_kcore_is_direct_map(u64 vaddr)
{
	return !(vaddr & (1ULL << 47));
}

/* The kernel counts no flushes: a CPU tells the others by TLBI. */
#define GMEM_FLUSH_COUNTERS	{}
/* Nor faults, but what makes a guest exit. */
#define gmem_guest_faults(vcpu)	vcpu_get_stat(vcpu, exits)

#endif /* SELFTEST_KVM_GMEM_ARCH_H */
