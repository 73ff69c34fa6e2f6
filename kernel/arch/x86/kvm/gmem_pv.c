// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steal time and PV EOI in guest memory that has no user mapping.
 *
 * Elsewhere KVM writes these structures by the user address of the memslot.  At
 * level NONE nothing is mapped there, and KVM keeps a gfn_to_pfn_cache of the page
 * instead, with a direct-map reference, as it does for kvm-clock.  So the scheduler
 * can mark a vCPU preempted with a plain store, without a walk of the file and
 * without a change of address space.
 *
 * The cache becomes active when KVM first finds the page without a user mapping,
 * and stays so until the guest writes the MSR again or the vCPU is reset: like
 * kvm-clock, it keeps its reference over changes of the level.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>

#include "cpuid.h"
#include "gmem.h"
#include "trace.h"
#include "x86.h"

/* Confidential VMs protect their memory by other means. */
bool kvm_arch_supports_gmem_no_direct_map(struct kvm *kvm)
{
	return guest_memfd_can_hide() &&
	       (!kvm || kvm->arch.vm_type == KVM_X86_DEFAULT_VM ||
		kvm->arch.vm_type == KVM_X86_SW_PROTECTED_VM);
}

/*
 * The caller holds kvm->srcu.
 *
 * Return: True when the structure is to be accessed through @gpc.
 */
static bool uses_reference(struct kvm_vcpu *vcpu, struct gfn_to_pfn_cache *gpc,
			   struct gfn_to_hva_cache *ghc, unsigned int len)
{
	if (gpc->active)
		return true;
	/* A stale memslot: the access by user address looks it up again. */
	if (ghc->generation != kvm_memslots(vcpu->kvm)->generation)
		return false;
	if (!kvm_gmem_user_disabled(ghc->memslot, gpa_to_gfn(ghc->gpa)))
		return false;
	/* If this fails the cache is active without a page; each use tries again. */
	kvm_gpc_activate(gpc, ghc->gpa, len);
	return gpc->active;
}

/*
 * Return: The structure, until unlock_cache(), with interrupts off; or NULL when
 * KVM cannot reach the page.
 */
static void *lock_cache(struct gfn_to_pfn_cache *gpc, unsigned int len,
			unsigned long *flags)
{
	read_lock_irqsave(&gpc->lock, *flags);
	while (!kvm_gpc_check(gpc, len)) {
		read_unlock_irqrestore(&gpc->lock, *flags);
		if (kvm_gpc_refresh(gpc, len))
			return NULL;
		read_lock_irqsave(&gpc->lock, *flags);
	}
	return gpc->khva;
}

static void unlock_cache(struct gfn_to_pfn_cache *gpc, unsigned long flags)
{
	read_unlock_irqrestore(&gpc->lock, flags);
}

/**
 * kvm_gmem_pv_write - write a paravirtual structure
 * @vcpu: The vCPU, which is the caller's.
 * @gpc: The structure's cache by reference.
 * @ghc: Its cache by user address, initialized.
 * @data: What to write.
 * @len: How much, at most a page.
 *
 * Context: May sleep; kvm->srcu is held.
 * Return: 0 or -EFAULT.
 */
int kvm_gmem_pv_write(struct kvm_vcpu *vcpu, struct gfn_to_pfn_cache *gpc,
		      struct gfn_to_hva_cache *ghc, void *data,
		      unsigned int len)
{
	unsigned long flags;
	void *to;

	if (!uses_reference(vcpu, gpc, ghc, len))
		return kvm_write_guest_cached(vcpu->kvm, ghc, data, len);

	to = lock_cache(gpc, len, &flags);
	/* By the file, which needs no memory. */
	if (!to)
		return kvm_write_guest_cached(vcpu->kvm, ghc, data, len);
	memcpy(to, data, len);
	kvm_gpc_mark_dirty_in_slot(gpc);
	unlock_cache(gpc, flags);
	return 0;
}

/**
 * kvm_gmem_pv_read - read a paravirtual structure
 * @vcpu: The vCPU, which is the caller's.
 * @gpc: The structure's cache by reference.
 * @ghc: Its cache by user address, initialized.
 * @data: Where to put it.
 * @len: How much, at most a page.
 *
 * Context: May sleep; kvm->srcu is held.
 * Return: 0 or -EFAULT.
 */
int kvm_gmem_pv_read(struct kvm_vcpu *vcpu, struct gfn_to_pfn_cache *gpc,
		     struct gfn_to_hva_cache *ghc, void *data, unsigned int len)
{
	unsigned long flags;
	void *from;

	if (!uses_reference(vcpu, gpc, ghc, len))
		return kvm_read_guest_cached(vcpu->kvm, ghc, data, len);

	from = lock_cache(gpc, len, &flags);
	if (!from)
		return kvm_read_guest_cached(vcpu->kvm, ghc, data, len);
	memcpy(data, from, len);
	unlock_cache(gpc, flags);
	return 0;
}

static void flush_if(struct kvm_vcpu *vcpu, bool flush)
{
	trace_kvm_pv_tlb_flush(vcpu->vcpu_id, flush);
	if (!flush)
		return;
	kvm_make_request(KVM_REQ_TLB_FLUSH_GUEST, vcpu);
	kvm_service_local_tlb_flush_requests(vcpu);
}

/*
 * KVM could not write the structure: it has no memory for a direct-map reference,
 * or the level was NONE for a moment.  While the vCPU is marked preempted its guest
 * leaves flushes of its TLB to KVM, so KVM clears the mark before the vCPU runs.
 * Where even that fails (no page, poison) KVM flushes once, as it knows of no later
 * request.
 *
 * The caller has just looked up the memslot in vcpu->arch.st.cache.
 */
static void clear_preempted(struct kvm_vcpu *vcpu)
{
	const struct gfn_to_hva_cache *ghc = &vcpu->arch.st.cache;
	struct kvm_steal_time __user *st = (void __user *)ghc->hva;
	u8 preempted = vcpu->arch.st.preempted, none = 0;
	gfn_t gfn = gpa_to_gfn(ghc->gpa);
	int ret, tries = 0;

	/* What KVM expects, the mark, and the mark with a request that came since. */
	do {
		ret = kvm_gmem_cmpxchg_slot(ghc->memslot, gfn, &st->preempted,
					    &preempted, &none, sizeof(preempted));
	} while (ret > 0 && ++tries < 3);
	if (!ret)
		mark_page_dirty_in_slot(vcpu->kvm, ghc->memslot, gfn);
	vcpu->arch.st.preempted = 0;
	if (guest_pv_has(vcpu, KVM_FEATURE_PV_TLB_FLUSH))
		flush_if(vcpu, ret || (preempted & KVM_VCPU_FLUSH_TLB));
}

/**
 * kvm_gmem_record_steal_time - record_steal_time() by reference
 * @vcpu: The vCPU, which is the caller's; its st.cache is up to date.
 *
 * The guest sees the same writes in the same order as by the user address.
 *
 * Context: May sleep; kvm->srcu is held.
 * Return: False when the page has a user mapping, which the caller uses then.
 */
bool kvm_gmem_record_steal_time(struct kvm_vcpu *vcpu)
{
	struct gfn_to_pfn_cache *gpc = &vcpu->arch.st.gpc;
	struct kvm_steal_time *st;
	unsigned long flags;
	u32 version;

	if (!uses_reference(vcpu, gpc, &vcpu->arch.st.cache, sizeof(*st)))
		return false;
	st = lock_cache(gpc, sizeof(*st), &flags);
	if (!st) {
		clear_preempted(vcpu);
		return true;
	}

	kvm_gpc_mark_dirty_in_slot(gpc);
	if (guest_pv_has(vcpu, KVM_FEATURE_PV_TLB_FLUSH)) {
		u8 preempted = xchg(&st->preempted, 0);

		vcpu->arch.st.preempted = 0;
		unlock_cache(gpc, flags);
		flush_if(vcpu, preempted & KVM_VCPU_FLUSH_TLB);
		st = lock_cache(gpc, sizeof(*st), &flags);
		if (!st)
			return true;
		kvm_gpc_mark_dirty_in_slot(gpc);
	} else {
		WRITE_ONCE(st->preempted, 0);
		vcpu->arch.st.preempted = 0;
	}

	/* Odd while KVM writes; junk may be odd before KVM first writes. */
	version = READ_ONCE(st->version);
	version += 1 + (version & 1);
	WRITE_ONCE(st->version, version);

	/* The guest sees the odd version before the new time. */
	smp_wmb();

	WRITE_ONCE(st->steal, READ_ONCE(st->steal) +
		   current->sched_info.run_delay - vcpu->arch.st.last_steal);
	vcpu->arch.st.last_steal = current->sched_info.run_delay;

	/* The guest sees the new time before the even version. */
	smp_wmb();

	WRITE_ONCE(st->version, version + 1);
	unlock_cache(gpc, flags);
	return true;
}

/**
 * kvm_gmem_end_steal_time - complete record_steal_time() by the user address
 * @vcpu: The vCPU, which is the caller's.
 *
 * The level may have become NONE meanwhile, so that nothing, or a part, was
 * written; and it may have been raised since.
 *
 * Context: May sleep; kvm->srcu is held.
 */
void kvm_gmem_end_steal_time(struct kvm_vcpu *vcpu)
{
	const struct gfn_to_hva_cache *ghc = &vcpu->arch.st.cache;
	struct kvm_steal_time __user *st = (void __user *)ghc->hva;
	u32 version;

	if (!kvm_gmem_has_levels(ghc->memslot) || kvm_gmem_record_steal_time(vcpu))
		return;
	if (vcpu->arch.st.preempted)
		clear_preempted(vcpu);
	/* The guest waits for the end of an update. */
	if (!kvm_gmem_read_value(ghc->memslot, gpa_to_gfn(ghc->gpa), &version,
				 &st->version, sizeof(version)) && (version & 1))
		kvm_make_request(KVM_REQ_STEAL_UPDATE, vcpu);
}

/**
 * kvm_gmem_steal_time_preempted - mark a vCPU preempted by reference
 * @vcpu: The vCPU that is being scheduled out.
 *
 * If the cache is invalid, or is being changed, the vCPU stays unmarked, as it
 * does when a store by the user address faults.
 *
 * Context: In the scheduler; kvm->srcu is held.
 * Return: False when KVM does not reach the structure by reference.
 */
bool kvm_gmem_steal_time_preempted(struct kvm_vcpu *vcpu)
{
	struct gfn_to_pfn_cache *gpc = &vcpu->arch.st.gpc;
	struct kvm_steal_time *st;
	unsigned long flags;

	if (!gpc->active)
		return false;

	/* The preempted task may itself be about to take the lock for writing. */
	local_irq_save(flags);
	if (read_trylock(&gpc->lock)) {
		if (kvm_gpc_check(gpc, sizeof(*st))) {
			st = gpc->khva;
			WRITE_ONCE(st->preempted, KVM_VCPU_PREEMPTED);
			vcpu->arch.st.preempted = KVM_VCPU_PREEMPTED;
			kvm_gpc_mark_dirty_in_slot(gpc);
		}
		read_unlock(&gpc->lock);
	}
	local_irq_restore(flags);
	return true;
}

/**
 * kvm_gmem_pv_init - set up the caches by reference of a new vCPU
 * @vcpu: The vCPU.
 */
void kvm_gmem_pv_init(struct kvm_vcpu *vcpu)
{
	kvm_gpc_init(&vcpu->arch.st.gpc, vcpu->kvm);
	kvm_gpc_init(&vcpu->arch.pv_eoi.gpc, vcpu->kvm);
}

/**
 * kvm_gmem_pv_off - stop to access a paravirtual structure by reference
 * @gpc: Its cache, of a vCPU whose guest wrote the MSR.
 *
 * Context: May sleep.
 */
void kvm_gmem_pv_off(struct gfn_to_pfn_cache *gpc)
{
	kvm_gpc_deactivate(gpc);
}

/**
 * kvm_gmem_pv_reset - drop the references of a vCPU
 * @vcpu: A vCPU whose MSRs are reset, or that is being destroyed.
 *
 * Context: May sleep.
 */
void kvm_gmem_pv_reset(struct kvm_vcpu *vcpu)
{
	kvm_gpc_deactivate(&vcpu->arch.st.gpc);
	kvm_gpc_deactivate(&vcpu->arch.pv_eoi.gpc);
}
