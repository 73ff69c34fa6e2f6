/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_GMEM_REFERENCE_H__
#define __KVM_GMEM_REFERENCE_H__

/* KVM's direct-map references to hidden memory, and how they end. */

#include <linux/kvm_host.h>

#if defined(CONFIG_KVM_GUEST_MEMFD) && defined(CONFIG_HAVE_KVM_PFNCACHE)
void kvm_gmem_reference_init(struct kvm *kvm);
void kvm_gmem_reference_destroy(struct kvm *kvm);
void kvm_gmem_reference_arm(struct kvm *kvm);
struct page *gpc_take_direct_map(struct gfn_to_pfn_cache *gpc);
void gfn_to_pfn_cache_invalidate_gmem(struct kvm *kvm,
				      const struct kvm_memory_slot *slot,
				      pgoff_t start, pgoff_t end);
#else
static inline void kvm_gmem_reference_init(struct kvm *kvm)
{
}

static inline void kvm_gmem_reference_destroy(struct kvm *kvm)
{
}

static inline struct page *gpc_take_direct_map(struct gfn_to_pfn_cache *gpc)
{
	return NULL;
}

static inline void
gfn_to_pfn_cache_invalidate_gmem(struct kvm *kvm,
				 const struct kvm_memory_slot *slot,
				 pgoff_t start, pgoff_t end)
{
}
#endif

#endif /* __KVM_GMEM_REFERENCE_H__ */
