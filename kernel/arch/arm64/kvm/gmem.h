/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef ARCH_ARM64_KVM_GMEM_H
#define ARCH_ARM64_KVM_GMEM_H

#include <linux/kvm_host.h>

struct kvm_s2_trans;

/**
 * struct kvm_gmem_range - what a fault on a guest_memfd maps at stage 2
 * @order: Of the memory around the page that can be mapped as one, as kvm_gmem_get_pfn() says.
 * @ipa: Where it begins for the guest.
 * @phys: Where it begins in memory.
 * @size: PAGE_SIZE or PMD_SIZE.
 */
struct kvm_gmem_range {
	int order;
	phys_addr_t ipa;
	phys_addr_t phys;
	u64 size;
};

#ifdef CONFIG_KVM_GUEST_MEMFD
void kvm_gmem_range(const struct kvm_memory_slot *slot, const struct kvm_s2_trans *nested,
		    phys_addr_t ipa, kvm_pfn_t pfn, struct kvm_gmem_range *range);
#else
static inline void kvm_gmem_range(const struct kvm_memory_slot *slot,
				  const struct kvm_s2_trans *nested, phys_addr_t ipa,
				  kvm_pfn_t pfn, struct kvm_gmem_range *range)
{
}
#endif

#endif /* ARCH_ARM64_KVM_GMEM_H */
