// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hidden memory behind a plain memslot.
 *
 * A plain memslot has no guest_memfd, so KVM finds its pages by the user
 * address, as it does for any other mapping.  A hidden page differs in two
 * ways: only get_user_pages_no_direct_map() returns it, and KVM itself accesses
 * it through the user address or with a direct-map reference.
 *
 * A guest mapping of such a page needs no special treatment.  mmu_lock,
 * mmu_invalidate_in_progress and mmu_invalidate_seq keep a fault from
 * installing a page that user space no longer maps: every change of a level,
 * punched hole, munmap() and split of a block unmaps the page from user space,
 * and the MMU notifier runs before that.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>

#include "kvm_mm.h"

/**
 * kvm_faultin_guest_pfn - get the page that a guest's fault maps
 * @kvm: The VM.
 * @slot: The memslot, or NULL.
 * @gfn: The gfn that faults.
 * @foll: FOLL_* flags.
 * @writable: Where to store whether the page may be mapped for writing.
 * @refcounted_page: Where to store the page whose reference the caller puts
 *	after it has installed the mapping, or NULL.
 *
 * This is __kvm_faultin_pfn() for a caller that maps the page into a guest and
 * does not use it through the direct map.  The page can therefore be hidden.
 *
 * Context: May sleep; kvm->srcu is held.
 * Return: The pfn, or a KVM_PFN_ERR_* value.
 */
kvm_pfn_t kvm_faultin_guest_pfn(struct kvm *kvm,
				const struct kvm_memory_slot *slot, gfn_t gfn,
				unsigned int foll, bool *writable,
				struct page **refcounted_page)
{
	struct kvm_follow_pfn kfp = {
		.slot = slot,
		.gfn = gfn,
		.flags = foll,
		.map_writable = writable,
		.refcounted_page = refcounted_page,
		.hidden = kvm_may_hide(kvm),
	};

	*writable = false;
	*refcounted_page = NULL;
	return kvm_follow_pfn(&kfp);
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvm_faultin_guest_pfn);

/*
 * If @page, which GUP returned, is hidden memory, take a direct-map reference
 * to it and store it in @held.  @held contains NULL before the call.
 */
static int hold_hidden(struct page *page, struct page **held)
{
	int ret;

	ret = page ? guest_memfd_get_direct_map_user(page) : 0;
	if (ret < 0)
		return ret;
	if (ret)
		*held = page;
	return 0;
}

/*
 * Does the user address map @page, without a page fault?  If so, @kfp gets a
 * reference to @page.
 */
static bool is_mapped(struct kvm_follow_pfn *kfp, struct page *page)
{
	if (!kvm_get_page_fast(kfp, kfp->refcounted_page))
		return false;
	if (*kfp->refcounted_page == page)
		return true;
	put_page(*kfp->refcounted_page);
	return false;
}

/**
 * kvm_hva_to_held_pfn - hva_to_pfn() that takes a direct-map reference
 * @kfp: What to look up.
 * @held: The page to which the last call took a direct-map reference, or NULL.
 *	This call replaces it with the page that it finds if that page is hidden
 *	memory, and with NULL otherwise.
 *
 * A caller repeats the lookup until no MMU notifier interferes, and mostly
 * finds the same page.  This function then keeps the reference to that page, so
 * a repeated lookup does not change the direct map.
 *
 * Context: May sleep.
 * Return: As hva_to_pfn().
 */
kvm_pfn_t kvm_hva_to_held_pfn(struct kvm_follow_pfn *kfp, struct page **held)
{
	kvm_pfn_t pfn;
	int err;

	if (*held && is_mapped(kfp, *held))
		return page_to_pfn(*held);
	/* User space can delay the page fault of the lookup without limit. */
	kvm_put_hidden(*held);
	*held = NULL;
	for (;;) {
		pfn = hva_to_pfn(kfp);
		if (is_error_noslot_pfn(pfn))
			return pfn;
		err = hold_hidden(*kfp->refcounted_page, held);
		if (!err)
			return pfn;
		kvm_release_page_unused(*kfp->refcounted_page);
		/*
		 * -ESTALE: a hole punch removed the page after GUP found it;
		 * retry.
		 */
		if (err != -ESTALE || fatal_signal_pending(current))
			return KVM_PFN_ERR_FAULT;
		cond_resched();
	}
}

/**
 * kvm_put_hidden - put the reference that kvm_hva_to_held_pfn() took
 * @held: What kvm_hva_to_held_pfn() stored.
 *
 * Context: May sleep.
 */
void kvm_put_hidden(struct page *held)
{
	if (held)
		guest_memfd_put_direct_map(held);
}

/*
 * Is an MMU notifier running, or has one completed since the caller read @seq?
 * mmu_notifier_retry_cache() in pfncache.c is the same test and explains its
 * order.
 */
static bool notifier_ran(struct kvm *kvm, unsigned long seq)
{
	if (READ_ONCE(kvm->mn_active_invalidate_count))
		return true;
	/* Pairs with the smp_wmb() in kvm_mmu_notifier_invalidate_range_end(). */
	smp_rmb();
	return READ_ONCE(kvm->gpc_invalidate_seq) != seq;
}

static void add_user_map(struct kvm_vcpu *vcpu, struct kvm_host_map *map)
{
	atomic_inc(&vcpu->kvm->gmem_user_maps);
	spin_lock(&vcpu->gmem_maps_lock);
	list_add(&map->link, &vcpu->gmem_maps);
	spin_unlock(&vcpu->gmem_maps_lock);
	/*
	 * The mapping must be in the list before notifier_ran() reads the
	 * number of active notifiers.  Pairs with the barrier in
	 * kvm_gmem_user_maps_left(): either the notifier finds the mapping, or
	 * notifier_ran() sees the notifier.
	 */
	smp_mb();
}

/*
 * Describe @page in @map.  @page is hidden memory with a direct-map reference
 * for @map.
 */
static void set_user_map(struct kvm_memory_slot *slot, struct kvm_host_map *map,
			 struct page *page, unsigned long uhva)
{
	map->pfn = page_to_pfn(page);
	map->page = page;
	map->hva = page_address(page);
	map->direct_map_ref = true;
	map->as_id = slot->as_id;
	map->uhva = uhva;
}

/**
 * kvm_gmem_map_again - map a page that kvm_vcpu_map() cannot pin
 * @vcpu: The vCPU.
 * @slot: The memslot, or NULL; protected by kvm->srcu.
 * @map: Where to store the mapping; the caller has set gfn, writable and local.
 *
 * The page may have been lowered to NONE in the meantime, or it may be hidden
 * memory of a plain memslot.  If kvm_vcpu_map() has pinned the page, this
 * function unpins it.
 *
 * Context: May sleep.
 * Return: 0, or a negative error.
 */
int kvm_gmem_map_again(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot,
		       struct kvm_host_map *map)
{
	struct page *page = NULL, *held = NULL;
	struct kvm *kvm = vcpu->kvm;
	struct kvm_follow_pfn kfp = {
		.slot = slot,
		.gfn = map->gfn,
		.flags = map->writable ? FOLL_WRITE : 0,
		.refcounted_page = &page,
		.hidden = true,
	};
	unsigned long seq;
	bool hidden;
	int err;

	if (map->pinned_page)
		unpin_user_page(map->pinned_page);
	map->pinned_page = NULL;
	if (kvm_gmem_user_disabled(slot, map->gfn))
		return kvm_gmem_map(vcpu, slot, map);
	if (!kvm_may_hide(kvm) || is_noslot_pfn(map->pfn))
		return -EINVAL;

	for (;;) {
		seq = READ_ONCE(kvm->gpc_invalidate_seq);
		/* Read the page tables after the sequence count. */
		smp_rmb();
		if (fatal_signal_pending(current) ||
		    is_error_noslot_pfn(kvm_follow_pfn(&kfp)))
			break;
		hidden = page && guest_memfd_owns_pfn(page_to_pfn(page));
		err = hidden && !map->local ? hold_hidden(page, &held) : 0;
		kvm_release_page_unused(page);
		/*
		 * The page is not hidden memory, so the first failure was
		 * final.
		 */
		if (!hidden)
			break;
		if (map->local)
			return kvm_gmem_map(vcpu, slot, map);
		/* A hole punch removed the page after GUP found it; retry. */
		if (err == -ESTALE) {
			cond_resched();
			continue;
		}
		if (err)
			break;
		set_user_map(slot, map, held, kfp.hva);
		if (!map->revocable)
			return 0;
		add_user_map(vcpu, map);
		if (!notifier_ran(kvm, seq))
			return 0;
		/*
		 * An MMU notifier ran concurrently, and the worker may already
		 * have revoked the mapping and put its reference.
		 */
		kvm_gmem_unmap(vcpu, map);
		map->page = NULL;
		map->hva = NULL;
		held = NULL;
		cond_resched();
	}
	map->pfn = KVM_PFN_ERR_FAULT;
	return -EINVAL;
}

/**
 * kvm_gmem_must_revoke - must a mapping be revocable instead of pinned?
 * @map: A mapping that kvm_vcpu_map() has pinned.
 *
 * Hidden memory can be pinned at level KERNEL.  A pin lasts as long as the
 * nested guest runs, and user space could not lower the range until then.
 *
 * Context: Any.
 * Return: True if the caller must replace the pin by kvm_gmem_map_again().
 */
bool kvm_gmem_must_revoke(const struct kvm_host_map *map)
{
	return map->revocable && map->pinned_page && guest_memfd_owns_pfn(map->pfn);
}

/**
 * kvm_gmem_user_maps_left - mark the revocable mappings of a user range
 * @kvm: The VM.
 * @start: The first user address of the range.
 * @end: The address after the range.
 *
 * Context: The MMU notifier of the range has incremented
 * kvm->mn_active_invalidate_count.
 * Return: True if the caller must queue the worker.
 */
bool kvm_gmem_user_maps_left(struct kvm *kvm, unsigned long start,
			     unsigned long end)
{
	struct kvm_host_map *map;
	struct kvm_vcpu *vcpu;
	bool found = false;
	unsigned long i;

	/* Pairs with the barrier in add_user_map(). */
	smp_mb();
	if (!atomic_read(&kvm->gmem_user_maps))
		return false;
	kvm_for_each_vcpu(i, vcpu, kvm) {
		spin_lock(&vcpu->gmem_maps_lock);
		list_for_each_entry(map, &vcpu->gmem_maps, link) {
			if (!map->uhva || map->uhva < start || map->uhva >= end)
				continue;
			/* KVM does not use a mapping that is being revoked. */
			if (map->revoke == KVM_MAP_STAYS)
				map->revoke = KVM_MAP_LEFT;
			found = true;
		}
		spin_unlock(&vcpu->gmem_maps_lock);
	}
	return found;
}

/**
 * kvm_gmem_lose_slot - invalidate the references of a deleted plain memslot
 * @kvm: The VM.
 * @slot: A deleted or moved memslot without a guest_memfd; no vCPU can find it
 *	any more.
 *
 * User space keeps its mapping, so no MMU notifier invalidates the references
 * to hidden memory of the memslot.
 *
 * Context: kvm->slots_lock is held.
 */
void kvm_gmem_lose_slot(struct kvm *kvm, struct kvm_memory_slot *slot)
{
	if (kvm_may_hide(kvm) && slot->npages)
		gfn_to_pfn_cache_invalidate_gmem(kvm, slot, kvm_gmem_pgoff(slot),
						 kvm_gmem_pgoff(slot) + slot->npages);
}
