/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef ARCH_X86_KVM_GMEM_H
#define ARCH_X86_KVM_GMEM_H

/*
 * Paravirtual structures in guest memory that has no user mapping (gmem_pv.c),
 * and the pages that KVM maps for a nested guest.
 */

#include <linux/kvm_host.h>

#ifdef CONFIG_KVM_GUEST_MEMFD
void kvm_gmem_pv_init(struct kvm_vcpu *vcpu);
void kvm_gmem_pv_reset(struct kvm_vcpu *vcpu);
void kvm_gmem_pv_off(struct gfn_to_pfn_cache *gpc);
int kvm_gmem_pv_write(struct kvm_vcpu *vcpu, struct gfn_to_pfn_cache *gpc,
		      struct gfn_to_hva_cache *ghc, void *data,
		      unsigned int len);
int kvm_gmem_pv_read(struct kvm_vcpu *vcpu, struct gfn_to_pfn_cache *gpc,
		     struct gfn_to_hva_cache *ghc, void *data, unsigned int len);
bool kvm_gmem_record_steal_time(struct kvm_vcpu *vcpu);
void kvm_gmem_end_steal_time(struct kvm_vcpu *vcpu);
bool kvm_gmem_steal_time_preempted(struct kvm_vcpu *vcpu);
#else
static inline void kvm_gmem_pv_init(struct kvm_vcpu *vcpu)
{
}

static inline void kvm_gmem_pv_reset(struct kvm_vcpu *vcpu)
{
}

static inline void kvm_gmem_pv_off(struct gfn_to_pfn_cache *gpc)
{
}

static inline int kvm_gmem_pv_write(struct kvm_vcpu *vcpu,
				    struct gfn_to_pfn_cache *gpc,
				    struct gfn_to_hva_cache *ghc,
				    void *data, unsigned int len)
{
	return kvm_write_guest_cached(vcpu->kvm, ghc, data, len);
}

static inline int kvm_gmem_pv_read(struct kvm_vcpu *vcpu,
				   struct gfn_to_pfn_cache *gpc,
				   struct gfn_to_hva_cache *ghc, void *data,
				   unsigned int len)
{
	return kvm_read_guest_cached(vcpu->kvm, ghc, data, len);
}

static inline bool kvm_gmem_record_steal_time(struct kvm_vcpu *vcpu)
{
	return false;
}

static inline void kvm_gmem_end_steal_time(struct kvm_vcpu *vcpu)
{
}

static inline bool kvm_gmem_steal_time_preempted(struct kvm_vcpu *vcpu)
{
	return false;
}
#endif

/*
 * Map the pages of the nested guest again if that was requested.  Return: False
 * if KVM_RUN must end with vcpu->run->exit_reason.
 */
static inline bool kvm_get_nested_state_pages(struct kvm_vcpu *vcpu)
{
	if (!kvm_check_request(KVM_REQ_GET_NESTED_STATE_PAGES, vcpu) ||
	    likely(kvm_nested_call(get_nested_state_pages)(vcpu)))
		return true;

	vcpu->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	vcpu->run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	vcpu->run->internal.ndata = 0;
	kvm_make_request(KVM_REQ_GET_NESTED_STATE_PAGES, vcpu);
	return false;
}

#endif /* ARCH_X86_KVM_GMEM_H */
