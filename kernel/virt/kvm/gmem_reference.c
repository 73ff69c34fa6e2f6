// SPDX-License-Identifier: GPL-2.0-only
/*
 * How KVM's direct-map references end when the page leaves its file or its
 * memslot.
 *
 * An invalidation cannot drop a reference itself: it holds spinlocks, and a put
 * sleeps.  It marks the caches invalid and queues a worker of the VM.  The worker
 * takes the references out of the invalid caches and puts them, whether or not a
 * vCPU ever refreshes those caches again.
 *
 * A reference is put by the one who took it out of its cache under gpc->lock, in
 * gpc_take_direct_map(): the worker, a refresh, or kvm_gpc_deactivate().  A
 * refresh does that before it looks up the pfn again, so that the worker never
 * waits for gpc->refresh_lock, which is held across page faults.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>
#include <linux/workqueue.h>

#include "kvm_mm.h"

/* References that the worker collects before it drops gpc_lock to put them. */
#define REFERENCE_BATCH 16

/**
 * gpc_take_direct_map - take the direct-map reference out of a cache
 * @gpc: A cache, with gpc->lock held for writing.
 *
 * The cache is invalid afterwards and has no pfn.
 *
 * Context: Any.
 * Return: The page, whose reference the caller puts after it has dropped
 * gpc->lock; or NULL when the cache holds no such reference.
 */
struct page *gpc_take_direct_map(struct gfn_to_pfn_cache *gpc)
{
	struct page *page;

	lockdep_assert_held_write(&gpc->lock);
	if (gpc->source != GPC_DIRECT_MAP)
		return NULL;

	page = pfn_to_page(gpc->pfn);
	gpc->valid = false;
	gpc->source = GPC_USER;
	gpc->pfn = KVM_PFN_ERR_FAULT;
	gpc->khva = NULL;
	return page;
}

static unsigned int take_invalid(struct kvm *kvm, struct page **pages)
{
	struct gfn_to_pfn_cache *gpc;
	unsigned int n = 0;

	spin_lock(&kvm->gpc_lock);
	list_for_each_entry(gpc, &kvm->gpc_list, list) {
		write_lock_irq(&gpc->lock);
		if (!gpc->valid) {
			pages[n] = gpc_take_direct_map(gpc);
			n += !!pages[n];
		}
		write_unlock_irq(&gpc->lock);
		if (n == REFERENCE_BATCH)
			break;
	}
	spin_unlock(&kvm->gpc_lock);
	return n;
}

static void drop_references(struct work_struct *work)
{
	struct kvm *kvm = container_of(work, struct kvm, gmem_reference_work);
	struct page *pages[REFERENCE_BATCH];
	unsigned int i, n;

	do {
		n = take_invalid(kvm, pages);
		for (i = 0; i < n; i++)
			guest_memfd_put_direct_map(page_folio(pages[i]));
		cond_resched();
	} while (n == REFERENCE_BATCH);
}

/**
 * kvm_gmem_reference_arm - have the references of invalid caches dropped soon
 * @kvm: The VM, which cannot be destroyed meanwhile.
 *
 * To be called after the caches were marked invalid, by the invalidation of a
 * file or by the MMU notifier.
 *
 * Context: Any.
 */
void kvm_gmem_reference_arm(struct kvm *kvm)
{
	queue_work(system_unbound_wq, &kvm->gmem_reference_work);
}

/**
 * gfn_to_pfn_cache_invalidate_gmem - invalidate the caches of a range of a file
 * @kvm: The VM.
 * @slot: A memslot that is bound to the file, or was until just now.
 * @start: First index of the range, in pages of the file.
 * @end: Index after the range.
 *
 * Every cache has its address in the memslot, mapped or not, also one that was
 * activated by guest address.  A cache that is being refreshed is not valid yet,
 * and it is not missed: kvm_gmem_get_direct_map() holds the invalidate_lock for
 * reading until the cache is valid.
 *
 * A user of the cache that holds gpc->lock just now reads its own page: the
 * reference keeps the page out of reuse until the worker has put it.
 *
 * Context: The file's invalidate_lock is held for writing.
 */
void gfn_to_pfn_cache_invalidate_gmem(struct kvm *kvm,
				      const struct kvm_memory_slot *slot,
				      pgoff_t start, pgoff_t end)
{
	pgoff_t pgoff = slot->gmem.pgoff;
	unsigned long uhva = slot->userspace_addr;
	unsigned long first = uhva + (max(start, pgoff) - pgoff) * PAGE_SIZE;
	unsigned long last = uhva + (min(end - pgoff, slot->npages) * PAGE_SIZE) - 1;
	struct gfn_to_pfn_cache *gpc;
	bool arm = false;

	spin_lock(&kvm->gpc_lock);
	list_for_each_entry(gpc, &kvm->gpc_list, list) {
		write_lock_irq(&gpc->lock);
		if (gpc->source != GPC_USER && gpc->uhva >= first && gpc->uhva <= last) {
			gpc->valid = false;
			/* Also when the MMU notifier invalidated it before. */
			arm |= gpc->source == GPC_DIRECT_MAP;
		}
		write_unlock_irq(&gpc->lock);
	}
	spin_unlock(&kvm->gpc_lock);
	if (arm)
		kvm_gmem_reference_arm(kvm);
}

void kvm_gmem_reference_init(struct kvm *kvm)
{
	INIT_WORK(&kvm->gmem_reference_work, drop_references);
}

/*
 * No memslot has a file any more, because each file keeps the VM, and the MMU
 * notifier is gone: nothing queues the work again.  The caches, which vCPUs embed,
 * must still be there.
 */
void kvm_gmem_reference_destroy(struct kvm *kvm)
{
	cancel_work_sync(&kvm->gmem_reference_work);
}
