/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_GMEM_PLAIN_H__
#define __KVM_GMEM_PLAIN_H__

/* Hidden memory behind a plain memslot, which KVM finds by the user address. */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>

#ifdef CONFIG_KVM_GUEST_MEMFD
/*
 * get_user_page_fast_only(), which also returns hidden pages if @kfp->hidden.
 */
static inline bool kvm_get_page_fast(const struct kvm_follow_pfn *kfp,
				     struct page **page)
{
	if (kfp->hidden)
		return get_user_pages_no_direct_map(kfp->hva, 1, FOLL_WRITE, true, page) == 1;
	return get_user_page_fast_only(kfp->hva, FOLL_WRITE, page);
}

/*
 * get_user_pages_unlocked(), which also returns hidden pages if @kfp->hidden.
 */
static inline long kvm_get_page(const struct kvm_follow_pfn *kfp,
				unsigned int flags, struct page **page)
{
	if (kfp->hidden)
		return get_user_pages_no_direct_map(kfp->hva, 1, flags, false, page);
	return get_user_pages_unlocked(kfp->hva, 1, page, flags);
}

/* Can a memslot of this VM contain hidden memory? */
static inline bool kvm_may_hide(struct kvm *kvm)
{
	return kvm_arch_supports_gmem_no_direct_map(kvm);
}

kvm_pfn_t kvm_hva_to_held_pfn(struct kvm_follow_pfn *kfp, struct page **held);
void kvm_put_hidden(struct page *held);
int kvm_gmem_map_again(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot,
		       struct kvm_host_map *map);
bool kvm_gmem_must_revoke(const struct kvm_host_map *map);
bool kvm_gmem_user_maps_left(struct kvm *kvm, unsigned long start,
			     unsigned long end);
void kvm_gmem_lose_slot(struct kvm *kvm, struct kvm_memory_slot *slot);
#else
static inline bool kvm_get_page_fast(const struct kvm_follow_pfn *kfp,
				     struct page **page)
{
	return get_user_page_fast_only(kfp->hva, FOLL_WRITE, page);
}

static inline long kvm_get_page(const struct kvm_follow_pfn *kfp,
				unsigned int flags, struct page **page)
{
	return get_user_pages_unlocked(kfp->hva, 1, page, flags);
}

static inline bool kvm_may_hide(struct kvm *kvm)
{
	return false;
}

static inline kvm_pfn_t kvm_hva_to_held_pfn(struct kvm_follow_pfn *kfp,
					    struct page **held)
{
	return hva_to_pfn(kfp);
}

static inline void kvm_put_hidden(struct page *held)
{
}

static inline int kvm_gmem_map_again(struct kvm_vcpu *vcpu,
				     struct kvm_memory_slot *slot,
				     struct kvm_host_map *map)
{
	return -EINVAL;
}

static inline bool kvm_gmem_must_revoke(const struct kvm_host_map *map)
{
	return false;
}

static inline bool kvm_gmem_user_maps_left(struct kvm *kvm, unsigned long start,
					   unsigned long end)
{
	return false;
}

static inline void kvm_gmem_lose_slot(struct kvm *kvm,
				      struct kvm_memory_slot *slot)
{
}
#endif

#endif /* __KVM_GMEM_PLAIN_H__ */
