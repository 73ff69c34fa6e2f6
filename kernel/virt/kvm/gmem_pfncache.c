// SPDX-License-Identifier: GPL-2.0-only
/*
 * Caches of guest pages that KVM cannot find by the user address: the lookup in
 * the file.  pfncache.c has the rest, and gmem_reference.c ends the references.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>

#include "gmem_access.h"
#include "kvm_mm.h"

/*
 * As hva_to_pfn_retry(), for hidden memory, which KVM reaches by a direct-map reference, and
 * for plain memory that has no user mapping.  The pfn is looked up in the file,
 * because the user address may map another page, or none.
 *
 * The cache keeps no reference to a plain page, as it keeps none to a page found
 * by the user address: the file invalidates the cache before it frees the page.
 */
static int gmem_to_pfn(struct gfn_to_pfn_cache *gpc, struct kvm_memory_slot *slot)
{
	gfn_t gfn = hva_to_gfn_memslot(gpc->uhva, slot);
	struct page *page;
	struct file *file;
	bool plain;

	lockdep_assert_held(&gpc->refresh_lock);
	lockdep_assert_held_write(&gpc->lock);

	/* As in hva_to_pfn_retry(): no check() may succeed half way. */
	gpc->valid = false;
	write_unlock_irq(&gpc->lock);

	page = kvm_gmem_get_direct_map(slot, gfn, &file);

	write_lock_irq(&gpc->lock);
	if (IS_ERR(page))
		return -EFAULT;

	/*
	 * The refresh lock keeps other refreshes out, and the worker that drops
	 * references (gmem_reference.c) finds none in this cache.
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
 * A memslot that has a cache's user address, and its page in the file only.  The
 * cache does not keep it: its dirty bits go by the guest's address.
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

/* Does any memslot have a cache's user address? */
static bool has_slot(struct gfn_to_pfn_cache *gpc)
{
	struct kvm_memslots *slots = kvm_memslots(gpc->kvm);

	return interval_tree_iter_first(&slots->hva_tree, gpc->uhva, gpc->uhva);
}

/**
 * gpc_to_pfn - look up the page of a cache that is being refreshed
 * @gpc: The cache, with refresh_lock held and gpc->lock held for writing.
 *
 * By the user address where KVM may use it, and else by the file.  On success the
 * cache is valid.
 *
 * Context: May sleep; drops gpc->lock and acquires it again.  kvm->srcu is held.
 * Return: 0 or -EFAULT.
 */
int gpc_to_pfn(struct gfn_to_pfn_cache *gpc)
{
	struct kvm_memory_slot *slot = gpc->memslot;
	gfn_t gfn = gpa_to_gfn(gpc->gpa);
	struct page *page;
	int ret;

	/*
	 * Drop the reference before the lookup, which may block in a page fault
	 * for as long as user space likes.
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
	 * A page that is found by a user address alone can be hidden, and
	 * kvm_gpc_check() then compares the generation.
	 */
	if (kvm_is_error_gpa(gpc->gpa))
		gpc->generation = kvm_memslots(gpc->kvm)->generation;
	ret = hva_to_pfn_retry(gpc, kvm_may_hide(gpc->kvm) && !kvm_is_error_gpa(gpc->gpa));
	if (!ret)
		return 0;

	/*
	 * A user address means what user space has there, if KVM can have it: the
	 * memslots count only now.  By a guest address, the page may have gone
	 * down to NONE meanwhile.
	 */
	if (kvm_is_error_gpa(gpc->gpa)) {
		slot = gpc_gmem_slot(gpc);
		/* Hidden memory of a plain memslot is found by the address alone. */
		if (!slot && kvm_may_hide(gpc->kvm) && has_slot(gpc))
			return hva_to_pfn_retry(gpc, true);
	} else if (!kvm_gmem_user_disabled(slot, gfn)) {
		slot = NULL;
	}
	return slot ? gmem_to_pfn(gpc, slot) : ret;
}
