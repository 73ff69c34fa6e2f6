/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef ARCH_X86_KVM_GMEM_H
#define ARCH_X86_KVM_GMEM_H

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>

#include "cpuid.h"

/* Included by x86.c only. */

#ifdef CONFIG_KVM_GUEST_MEMFD
/*
 * Steal time in memory that has no user mapping.
 *
 * Return: False when it has one, which is to be used.
 */
static bool kvm_gmem_record_steal_time(struct kvm_vcpu *vcpu,
				       struct gfn_to_hva_cache *ghc)
{
	gfn_t gfn = gpa_to_gfn(ghc->gpa);
	struct kvm_steal_time *st;
	struct folio *folio;
	u8 preempted;
	u32 version;
	void *page;

	if (!kvm_gmem_user_disabled(ghc->memslot, gfn))
		return false;
	folio = kvm_gmem_access_folio(ghc->memslot, gfn, false);
	if (!folio)
		return false;

	page = guest_memfd_map_local(folio);
	st = page + offset_in_page(ghc->gpa);
	preempted = xchg(&st->preempted, 0);
	vcpu->arch.st.preempted = 0;

	/* Odd while the rest changes; it was odd if nobody has set it yet. */
	version = READ_ONCE(st->version);
	version += 1 + (version & 1);
	WRITE_ONCE(st->version, version);
	/* The guest sees the odd version before what it is about, */
	smp_wmb();
	WRITE_ONCE(st->steal, READ_ONCE(st->steal) +
		   current->sched_info.run_delay - vcpu->arch.st.last_steal);
	vcpu->arch.st.last_steal = current->sched_info.run_delay;
	/* and the even one after it. */
	smp_wmb();
	WRITE_ONCE(st->version, version + 1);
	guest_memfd_unmap_local(folio, page);
	folio_put(folio);

	if (guest_pv_has(vcpu, KVM_FEATURE_PV_TLB_FLUSH)) {
		bool flush = preempted & KVM_VCPU_FLUSH_TLB;

		trace_kvm_pv_tlb_flush(vcpu->vcpu_id, flush);
		if (flush)
			kvm_make_request(KVM_REQ_TLB_FLUSH_GUEST, vcpu);
	}
	return true;
}
#else
static bool kvm_gmem_record_steal_time(struct kvm_vcpu *vcpu,
				       struct gfn_to_hva_cache *ghc)
{
	return false;
}
#endif

#endif /* ARCH_X86_KVM_GMEM_H */
