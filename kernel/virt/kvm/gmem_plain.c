// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hidden memory behind a plain memslot.
 *
 * A plain memslot has no guest_memfd, so KVM finds its pages by the user address,
 * as it finds those of any other mapping.  A page that is hidden differs in two
 * ways: only get_user_pages_no_direct_map() returns it, and KVM itself uses it
 * through the user address or with a direct-map reference.
 *
 * A guest mapping of such a page needs nothing else.  As for any other mapping,
 * mmu_lock, mmu_invalidate_in_progress and mmu_invalidate_seq keep a fault from
 * installing a page that user space has lost: every change of a level, hole,
 * munmap() and split of a block ends the user mapping, and the MMU notifier
 * runs before that.
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
 * @refcounted_page: Where to store the page whose reference the caller drops
 *	after it has installed the mapping, or NULL.
 *
 * This is __kvm_faultin_pfn() for a caller that maps the page into a guest, and
 * does not use it through the direct map: the page can be hidden.
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
 * Take a direct-map reference to @page, which GUP returned, if it is hidden memory,
 * and store it in @held, which was NULL.
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

/* Is @page what the user address maps, without a page fault?  Get it then. */
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
 * kvm_hva_to_held_pfn - hva_to_pfn() with a direct-map reference to hidden memory
 * @kfp: What to look up.
 * @held: The page that the last call took a direct-map reference to, or NULL;
 *	replaced with the page that this call finds if that is hidden memory, and
 *	with NULL otherwise.
 *
 * A caller that repeats a lookup until no MMU notifier interferes mostly finds
 * the same page.  The reference to that page is kept, so a repeated lookup does
 * not change the direct map.
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
	/* The lookup may block in a page fault for as long as user space likes. */
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
		/* A hole has removed the page since GUP found it: look again. */
		if (err != -ESTALE || fatal_signal_pending(current))
			return KVM_PFN_ERR_FAULT;
		cond_resched();
	}
}

/**
 * kvm_put_hidden - drop the reference that kvm_hva_to_held_pfn() took
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
 * Has an MMU notifier run since @seq was read, or does one run?  pfncache.c has
 * the same test, and the comment about the order.
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
	 * The mapping must be in the list before notifier_ran() reads the count
	 * of active notifiers.  Pairs with the barrier in
	 * kvm_gmem_user_maps_left(): either the notifier finds the mapping, or
	 * notifier_ran() finds the notifier.
	 */
	smp_mb();
}

/* Map @page, which is hidden memory and has a direct-map reference for @map. */
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
 * kvm_gmem_map_again - map a page that kvm_vcpu_map() could not, or must not, pin
 * @vcpu: The vCPU.
 * @slot: The memslot, or NULL; kept by kvm->srcu.
 * @map: Where to put the mapping; gfn, writable and local are set.
 *
 * The page may have reached level NONE in the meantime, or it may be hidden memory
 * of a plain memslot.  A pin that exists is dropped.
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
		/* This is no hidden memory, so the failure stands. */
		if (!hidden)
			break;
		if (map->local)
			return kvm_gmem_map(vcpu, slot, map);
		/* A hole has removed the page since GUP found it: look again. */
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
		/* The worker may have revoked the mapping, with its reference. */
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
 * kvm_gmem_must_revoke - is a pin the wrong way to map a page?
 * @map: A mapping that kvm_vcpu_map() has pinned.
 *
 * At level KERNEL hidden memory can be pinned.  A pin that stays for as long as a
 * nested guest runs would keep the range at that level.
 *
 * Context: Any.
 * Return: True if kvm_gmem_map_again() has to map it.
 */
bool kvm_gmem_must_revoke(const struct kvm_host_map *map)
{
	return map->revocable && map->pinned_page && guest_memfd_owns_pfn(map->pfn);
}

/**
 * kvm_gmem_user_maps_left - mark revocable mappings whose user address is invalidated
 * @kvm: The VM.
 * @start: The first user address of the range.
 * @end: The address after the range.
 *
 * Context: The MMU notifier of the range has increased
 * kvm->mn_active_invalidate_count.
 * Return: True if the worker has to be armed.
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
			/* A mapping that is being revoked is not used again. */
			if (map->revoke == KVM_MAP_STAYS)
				map->revoke = KVM_MAP_LEFT;
			found = true;
		}
		spin_unlock(&vcpu->gmem_maps_lock);
	}
	return found;
}

/**
 * kvm_gmem_lose_slot - end KVM's references to the hidden memory of a plain memslot
 * @kvm: The VM.
 * @slot: A memslot without a guest_memfd that no vCPU can find any more.
 *
 * User space keeps the mapping, so no MMU notifier ends the references.
 *
 * Context: kvm->slots_lock is held.
 */
void kvm_gmem_lose_slot(struct kvm *kvm, struct kvm_memory_slot *slot)
{
	if (kvm_may_hide(kvm) && slot->npages)
		gfn_to_pfn_cache_invalidate_gmem(kvm, slot, kvm_gmem_pgoff(slot),
						 kvm_gmem_pgoff(slot) + slot->npages);
}
