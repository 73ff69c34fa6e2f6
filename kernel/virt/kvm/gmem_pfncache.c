// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lookup of a gfn_to_pfn_cache in the file, for guest pages that KVM cannot
 * find by the user address.  pfncache.c implements the rest of the caches, and
 * gmem_reference.c puts their references.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>

#include "gmem_access.h"
#include "kvm_mm.h"

/*
 * The counterpart of hva_to_pfn_retry() for hidden memory, which KVM accesses
 * with a direct-map reference, and for plain memory that has no user mapping.
 * KVM looks up the pfn in the file, because the user address may map another
 * page, or none.
 *
 * The cache holds no reference to a plain page, just as it holds none to a page
 * that KVM found by the user address: the file invalidates the cache before it
 * frees the page.
 */
static int gmem_to_pfn(struct gfn_to_pfn_cache *gpc, struct kvm_memory_slot *slot)
{
	gfn_t gfn = hva_to_gfn_memslot(gpc->uhva, slot);
	struct page *page;
	struct file *file;
	bool plain;

	lockdep_assert_held(&gpc->refresh_lock);
	lockdep_assert_held_write(&gpc->lock);

	/*
	 * As in hva_to_pfn_retry(): a concurrent kvm_gpc_check() must not
	 * succeed while the fields of the cache are inconsistent.
	 */
	gpc->valid = false;
	write_unlock_irq(&gpc->lock);

	page = kvm_gmem_get_direct_map(slot, gfn, &file);

	write_lock_irq(&gpc->lock);
	if (IS_ERR(page))
		return -EFAULT;

	/*
	 * gpc->refresh_lock excludes other refreshes.  The worker that puts
	 * references (gmem_reference.c) ignores this cache, which holds none
	 * yet.
	 */
	plain = !kvm_slot_is_hidden(slot);
	gpc->pfn = page_to_pfn(page);
	gpc->khva = page_address(page) + offset_in_page(gpc->uhva);
	gpc->source = plain ? GPC_PLAIN : GPC_DIRECT_MAP;
	gpc->valid = true;
	write_unlock_irq(&gpc->lock);

	if (plain)
		guest_memfd_put_direct_map(page);
	kvm_gmem_get_direct_map_done(file);

	write_lock_irq(&gpc->lock);
	return 0;
}

/*
 * Find a memslot that contains the user address of the cache and whose page KVM
 * can reach only through the file.  The cache does not store this memslot: a
 * cache without a guest address marks no page dirty.
 */
static struct kvm_memory_slot *gpc_gmem_slot(struct gfn_to_pfn_cache *gpc)
{
	struct kvm_memslots *slots = kvm_memslots(gpc->kvm);
	struct interval_tree_node *node;

	gpc->generation = slots->generation;
	for (node = interval_tree_iter_first(&slots->hva_tree, gpc->uhva, gpc->uhva);
	     node; node = interval_tree_iter_next(node, gpc->uhva, gpc->uhva)) {
		struct kvm_memory_slot *slot =
			container_of(node, struct kvm_memory_slot,
				     hva_node[slots->node_idx]);

		if (slot->flags & KVM_MEMSLOT_INVALID)
			continue;
		if (kvm_slot_is_hidden(slot) ||
		    kvm_gmem_user_disabled(slot, hva_to_gfn_memslot(gpc->uhva, slot)))
			return slot;
	}
	return NULL;
}

/* Does any memslot contain the user address of the cache? */
static bool has_slot(struct gfn_to_pfn_cache *gpc)
{
	struct kvm_memslots *slots = kvm_memslots(gpc->kvm);

	return interval_tree_iter_first(&slots->hva_tree, gpc->uhva, gpc->uhva);
}

/**
 * gpc_to_pfn - look up the page of a cache that is being refreshed
 * @gpc: The cache, with refresh_lock held and gpc->lock held for writing.
 *
 * KVM looks up the page by the user address where it may use that address, and
 * in the file otherwise.  On success the cache is valid.
 *
 * Context: May sleep; drops gpc->lock and acquires it again.  kvm->srcu is
 * held.
 * Return: 0 or -EFAULT.
 */
int gpc_to_pfn(struct gfn_to_pfn_cache *gpc)
{
	struct kvm_memory_slot *slot = gpc->memslot;
	gfn_t gfn = gpa_to_gfn(gpc->gpa);
	struct page *page;
	int ret;

	/*
	 * Put the reference before the lookup, because user space can delay the
	 * page fault of the lookup without limit.
	 */
	page = gpc_take_direct_map(gpc);
	if (page) {
		write_unlock_irq(&gpc->lock);
		guest_memfd_put_direct_map(page);
		write_lock_irq(&gpc->lock);
	}

	if (kvm_slot_is_hidden(slot) || kvm_gmem_user_disabled(slot, gfn))
		return gmem_to_pfn(gpc, slot);

	/*
	 * A lookup by a user address alone can return a hidden page.
	 * kvm_gpc_check() then compares the generation of the memslots, so it
	 * must be stored before the lookup.
	 */
	if (kvm_is_error_gpa(gpc->gpa))
		gpc->generation = kvm_memslots(gpc->kvm)->generation;
	ret = hva_to_pfn_retry(gpc, kvm_may_hide(gpc->kvm) && !kvm_is_error_gpa(gpc->gpa));
	if (!ret)
		return 0;

	/*
	 * The lookup by the user address failed.  A cache that has only a user
	 * address means the page that user space maps there, so KVM consults
	 * the memslots only after that lookup.  The page of a cache with a
	 * guest address may have been lowered to NONE since the test above.
	 */
	if (kvm_is_error_gpa(gpc->gpa)) {
		slot = gpc_gmem_slot(gpc);
		/*
		 * No memslot with a guest_memfd contains the address, so the
		 * page can be hidden memory behind a plain memslot.
		 */
		if (!slot && kvm_may_hide(gpc->kvm) && has_slot(gpc))
			return hva_to_pfn_retry(gpc, true);
	} else if (!kvm_gmem_user_disabled(slot, gfn)) {
		slot = NULL;
	}
	return slot ? gmem_to_pfn(gpc, slot) : ret;
}
