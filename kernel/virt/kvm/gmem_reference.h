/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_GMEM_REFERENCE_H__
#define __KVM_GMEM_REFERENCE_H__

/* KVM's direct-map references to hidden memory, and how they end. */

#include <linux/kvm_host.h>

struct guest_memfd;

/* How KVM found the pfn of a cache, and which reference the cache holds. */
enum gpc_source {
	GPC_USER,	/* the user address; no reference */
	GPC_DIRECT_MAP,	/* the file; a direct-map reference */
	GPC_USER_DIRECT_MAP, /* the user address; a direct-map reference */
	GPC_PLAIN,	/* a file in the direct map; no reference */
};

/* In pfncache.c: look up the page by the user address. */
kvm_pfn_t hva_to_pfn_retry(struct gfn_to_pfn_cache *gpc, bool hidden);

#ifdef CONFIG_KVM_GUEST_MEMFD
int gpc_to_pfn(struct gfn_to_pfn_cache *gpc);
void kvm_gmem_reference_init(struct kvm *kvm);
void kvm_gmem_reference_destroy(struct kvm *kvm);
void kvm_gmem_reference_arm(struct kvm *kvm);
int kvm_gmem_reference_file(struct kvm *kvm, struct guest_memfd *gm);
int kvm_gmem_map(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot,
		 struct kvm_host_map *map);
void kvm_gmem_unmap(struct kvm_vcpu *vcpu, struct kvm_host_map *map);
struct page *gpc_take_direct_map(struct gfn_to_pfn_cache *gpc);
void gfn_to_pfn_cache_invalidate_gmem(struct kvm *kvm,
				      const struct kvm_memory_slot *slot,
				      pgoff_t start, pgoff_t end);
#else
static inline int gpc_to_pfn(struct gfn_to_pfn_cache *gpc)
{
	return hva_to_pfn_retry(gpc, false);
}

static inline void kvm_gmem_reference_init(struct kvm *kvm)
{
}

static inline void kvm_gmem_reference_destroy(struct kvm *kvm)
{
}

static inline void kvm_gmem_reference_arm(struct kvm *kvm)
{
}

static inline int kvm_gmem_map(struct kvm_vcpu *vcpu,
			       struct kvm_memory_slot *slot,
			       struct kvm_host_map *map)
{
	WARN_ON_ONCE(1);
	return -EIO;
}

static inline void kvm_gmem_unmap(struct kvm_vcpu *vcpu,
				  struct kvm_host_map *map)
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
