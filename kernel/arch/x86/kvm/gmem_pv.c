// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steal time and PV EOI in guest memory that has no user mapping.
 *
 * Elsewhere KVM writes these structures by the user address of the memslot.  At
 * level NONE nothing is mapped there, and KVM keeps a gfn_to_pfn_cache of the
 * page instead, with a direct-map reference, as it does for kvm-clock.  So the
 * scheduler can mark a vCPU preempted with a plain store, without looking up
 * the page in the file and without switching the address space.
 *
 * KVM activates the cache when it first finds the page without a user mapping.
 * The cache stays active until the guest writes the MSR again or the vCPU is
 * reset: like kvm-clock, it keeps its reference over changes of the level.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>

#include "cpuid.h"
#include "gmem.h"
#include "trace.h"
#include "x86.h"

/* Confidential VMs protect their memory by hardware instead. */
bool kvm_arch_supports_gmem_no_direct_map(struct kvm *kvm)
{
	return guest_memfd_can_hide() &&
	       (!kvm || kvm->arch.vm_type == KVM_X86_DEFAULT_VM ||
		kvm->arch.vm_type == KVM_X86_SW_PROTECTED_VM);
}

/*
 * Must KVM access the structure through @gpc?  This function activates @gpc if
 * it is the first to find the page without a user mapping.
 *
 * Context: May sleep; kvm->srcu is held.
 */
static bool uses_reference(struct kvm_vcpu *vcpu, struct gfn_to_pfn_cache *gpc,
			   struct gfn_to_hva_cache *ghc, unsigned int len)
{
	if (gpc->active)
		return true;
	/*
	 * If the memslot in @ghc is stale, an access by the user address looks
	 * it up again.
	 */
	if (ghc->generation != kvm_memslots(vcpu->kvm)->generation)
		return false;
	if (!kvm_gmem_user_disabled(ghc->memslot, gpa_to_gfn(ghc->gpa)))
		return false;
	/*
	 * If this fails, the cache is active without a page, and each use of
	 * the cache tries again to look up the page.
	 */
	kvm_gpc_activate(gpc, ghc->gpa, len);
	return gpc->active;
}

/*
 * Lock @gpc and make sure that it is valid.
 *
 * Return: The structure, with interrupts disabled until unlock_cache(); or NULL
 * when KVM cannot reach the page.
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
 * @ghc: The structure's cache by user address, initialized.
 * @data: The data to write.
 * @len: Number of bytes, at most a page.
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
	/*
	 * This writes by the user address or, at level NONE, through the file.
	 * Neither needs memory for a direct-map reference.
	 */
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
 * @ghc: The structure's cache by user address, initialized.
 * @data: Where to store the data.
 * @len: Number of bytes, at most a page.
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
 * KVM could not write the structure: there is no memory for a direct-map
 * reference, or a concurrent change lowered the level to NONE and raised it
 * again.  While the vCPU is marked preempted, its guest delegates flushes of
 * its TLB to KVM, so KVM must clear the mark before the vCPU runs.  If even
 * that fails (no page, poison), KVM flushes once, because it cannot read
 * whether the guest has requested a flush.
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

	/*
	 * The memory can contain three values: the one that KVM expects, the
	 * mark, and the mark with a flush request that the guest has added
	 * since.
	 */
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
 * Return: False if the page has a user mapping, which the caller then uses.
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

	/*
	 * The version is odd while KVM writes.  Before KVM's first write the
	 * guest's memory may contain any value, including an odd one.
	 */
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
 * A concurrent change may have lowered the level to NONE, so that
 * record_steal_time() wrote nothing or only a part; and the level may have been
 * raised again since.
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
	/* An odd version makes the guest wait for the end of an update. */
	if (!kvm_gmem_read_value(ghc->memslot, gpa_to_gfn(ghc->gpa), &version,
				 &st->version, sizeof(version)) && (version & 1))
		kvm_make_request(KVM_REQ_STEAL_UPDATE, vcpu);
}

/**
 * kvm_gmem_steal_time_preempted - mark a vCPU preempted by reference
 * @vcpu: The vCPU that is being scheduled out.
 *
 * If the cache is invalid, or another task holds its lock for writing, KVM does
 * not mark the vCPU, as when a store by the user address faults.
 *
 * Context: In the scheduler; kvm->srcu is held.
 * Return: False if KVM does not access the structure by reference.
 */
bool kvm_gmem_steal_time_preempted(struct kvm_vcpu *vcpu)
{
	struct gfn_to_pfn_cache *gpc = &vcpu->arch.st.gpc;
	struct kvm_steal_time *st;
	unsigned long flags;

	if (!gpc->active)
		return false;

	/*
	 * The preempted task may itself be waiting to acquire the lock for
	 * writing.
	 */
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
 * kvm_gmem_pv_init - initialize the caches by reference of a new vCPU
 * @vcpu: The vCPU.
 */
void kvm_gmem_pv_init(struct kvm_vcpu *vcpu)
{
	kvm_gpc_init(&vcpu->arch.st.gpc, vcpu->kvm);
	kvm_gpc_init(&vcpu->arch.pv_eoi.gpc, vcpu->kvm);
}

/**
 * kvm_gmem_pv_off - stop accessing a paravirtual structure by reference
 * @gpc: The structure's cache.  The guest of its vCPU has written the MSR.
 *
 * Context: May sleep.
 */
void kvm_gmem_pv_off(struct gfn_to_pfn_cache *gpc)
{
	kvm_gpc_deactivate(gpc);
}

/**
 * kvm_gmem_pv_reset - put the references of a vCPU
 * @vcpu: A vCPU whose MSRs are reset, or that is being destroyed.
 *
 * Context: May sleep.
 */
void kvm_gmem_pv_reset(struct kvm_vcpu *vcpu)
{
	kvm_gpc_deactivate(&vcpu->arch.st.gpc);
	kvm_gpc_deactivate(&vcpu->arch.pv_eoi.gpc);
}
