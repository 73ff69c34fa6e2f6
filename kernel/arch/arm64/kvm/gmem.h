/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef ARCH_ARM64_KVM_GMEM_H
#define ARCH_ARM64_KVM_GMEM_H

#include <linux/kvm_host.h>

struct kvm_s2_trans;

/* Replaces a descriptor by the user address.  Returns 0, -EAGAIN or -EFAULT. */
typedef int (*kvm_swap_desc_t)(u64 __user *ptep, u64 old, u64 new);

/**
 * struct kvm_gmem_range - the range that a fault maps at stage 2
 * @order: The largest order at which the page can be mapped, from
 *	kvm_gmem_get_pfn().
 * @ipa: IPA of the start of the range.
 * @phys: Physical address of the start of the range.
 * @size: PAGE_SIZE or PMD_SIZE.
 */
struct kvm_gmem_range {
	int order;
	phys_addr_t ipa;
	phys_addr_t phys;
	u64 size;
};

bool pkvm_handle_mem_request(struct kvm_vcpu *vcpu, u32 func);

#ifdef CONFIG_KVM_GUEST_MEMFD
void kvm_gmem_range(const struct kvm_memory_slot *slot, const struct kvm_s2_trans *nested,
		    phys_addr_t ipa, kvm_pfn_t pfn, struct kvm_gmem_range *range);
int kvm_gmem_swap_desc(struct kvm_memory_slot *slot, gfn_t gfn, u64 __user *ptep,
		       u64 old, u64 new, kvm_swap_desc_t swap_user);
int kvm_gmem_prepare_slot(struct kvm *kvm, const struct kvm_memory_slot *slot);
bool kvm_gmem_refuses_vcpu(struct kvm *kvm, unsigned long features);
#else
static inline void kvm_gmem_range(const struct kvm_memory_slot *slot,
				  const struct kvm_s2_trans *nested, phys_addr_t ipa,
				  kvm_pfn_t pfn, struct kvm_gmem_range *range)
{
}

static inline int kvm_gmem_swap_desc(struct kvm_memory_slot *slot, gfn_t gfn,
				     u64 __user *ptep, u64 old, u64 new,
				     kvm_swap_desc_t swap_user)
{
	return swap_user(ptep, old, new);
}

static inline int kvm_gmem_prepare_slot(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	return 0;
}

static inline bool kvm_gmem_refuses_vcpu(struct kvm *kvm, unsigned long features)
{
	return false;
}
#endif

#ifdef CONFIG_GUEST_MEMFD_DONATE
int kvm_gmem_donate_fault(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot,
			  phys_addr_t ipa, void *memcache);
bool kvm_gmem_is_lost(struct page *page);
bool kvm_gmem_reclaimed(struct page *page);
#else
static inline int kvm_gmem_donate_fault(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot,
					phys_addr_t ipa, void *memcache)
{
	return -EIO;
}

static inline bool kvm_gmem_is_lost(struct page *page)
{
	return false;
}

static inline bool kvm_gmem_reclaimed(struct page *page)
{
	return false;
}
#endif

#endif /* ARCH_ARM64_KVM_GMEM_H */
