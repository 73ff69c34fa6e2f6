// SPDX-License-Identifier: GPL-2.0-only
/*
 * How KVM puts its direct-map references when a page leaves its file or its
 * memslot.
 *
 * An invalidation cannot put a reference itself: it holds spinlocks, and a put
 * sleeps.  It marks the caches invalid and queues a worker of the VM.  The
 * worker removes the references from the invalid caches and puts them, whether
 * or not a vCPU ever refreshes those caches again.  It does the same with the
 * revocable mappings of kvm_vcpu_map_revocable(), which are in use while a vCPU
 * runs a nested guest.
 *
 * The task that removes a reference from its cache also puts it: the worker, a
 * refresh, or kvm_gpc_deactivate().  It removes the reference under gpc->lock,
 * in gpc_take_direct_map().  A refresh does that before it looks up the pfn
 * again, so that the worker never waits for gpc->refresh_lock, which a refresh
 * holds across page faults.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "gmem_access.h"
#include "kvm_mm.h"

/*
 * The number of references that the worker collects before it drops gpc_lock to
 * put them.
 */
#define REFERENCE_BATCH 16

/**
 * gpc_take_direct_map - remove the direct-map reference from a cache
 * @gpc: A cache, with gpc->lock held for writing.
 *
 * If the cache holds a reference, it is invalid afterwards and has no pfn.
 *
 * Context: Any.
 * Return: The page, whose reference the caller puts after it has dropped
 * gpc->lock; or NULL if the cache holds no such reference.
 */
struct page *gpc_take_direct_map(struct gfn_to_pfn_cache *gpc)
{
	struct page *page;

	lockdep_assert_held_write(&gpc->lock);
	if (gpc->source != GPC_DIRECT_MAP && gpc->source != GPC_USER_DIRECT_MAP)
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

static void drop_caches(struct kvm *kvm)
{
	struct page *pages[REFERENCE_BATCH];
	unsigned int i, n;

	do {
		n = take_invalid(kvm, pages);
		for (i = 0; i < n; i++)
			guest_memfd_put_direct_map(pages[i]);
		cond_resched();
	} while (n == REFERENCE_BATCH);
}

/*
 * Make the vCPU map its pages again before it next enters the guest or blocks.
 *
 * Return: True if the vCPU has a mapping whose page has left its file or
 * memslot.
 */
static bool request_remap(struct kvm_vcpu *vcpu)
{
	struct kvm_host_map *map;
	bool found = false;

	/*
	 * The task that marked a mapping queued this work afterwards.  If the
	 * list is empty here, the vCPU has unmapped that mapping since.
	 */
	if (list_empty(&vcpu->gmem_maps))
		return false;
	spin_lock(&vcpu->gmem_maps_lock);
	list_for_each_entry(map, &vcpu->gmem_maps, link) {
		if (map->revoke != KVM_MAP_LEFT)
			continue;
		map->revoke = KVM_MAP_REVOKING;
		found = true;
	}
	spin_unlock(&vcpu->gmem_maps_lock);
	if (!found)
		return false;

#ifdef KVM_REQ_GET_NESTED_STATE_PAGES
	kvm_make_request(KVM_REQ_GET_NESTED_STATE_PAGES, vcpu);
#endif
	/*
	 * A vCPU that blocks in the guest's HLT serves the request and blocks
	 * again.
	 */
	kvm_make_request(KVM_REQ_UNBLOCK, vcpu);
	kvm_vcpu_wake_up(vcpu);
	return true;
}

static struct page *take_revoking(struct kvm_vcpu *vcpu)
{
	struct page *page = NULL;
	struct kvm_host_map *map;

	spin_lock(&vcpu->gmem_maps_lock);
	list_for_each_entry(map, &vcpu->gmem_maps, link) {
		if (map->revoke != KVM_MAP_REVOKING)
			continue;
		page = map->page;
		list_del(&map->link);
		map->revoke = KVM_MAP_REVOKED;
		map->page = NULL;
		WRITE_ONCE(map->hva, NULL);
		break;
	}
	spin_unlock(&vcpu->gmem_maps_lock);
	return page;
}

/*
 * Revoke the mappings whose page has left its file or memslot.  KVM must
 * exclude three users of such a mapping:
 *
 * The CPU uses the page by its physical address while the vCPU is in guest
 * mode.  KVM makes a request: the vCPU leaves guest mode and serves the request
 * before it enters guest mode again.
 *
 * KVM uses the kernel address, but only with vcpu->gmem_maps_lock held.
 *
 * The vCPU that serves the request unmaps, which removes the mapping from the
 * list, and maps the page that is at the gfn then.  If that page leaves as
 * well, it is marked KVM_MAP_LEFT, and only the next run of the worker makes a
 * request for it and revokes the mapping.
 */
static void drop_maps(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	bool found = false;
	struct page *page;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm)
		found |= request_remap(vcpu);
	if (!found)
		return;

	/* Wait until the CPUs have left guest mode. */
	kvm_make_all_cpus_request(kvm, KVM_REQ_OUTSIDE_GUEST_MODE);

	kvm_for_each_vcpu(i, vcpu, kvm) {
		while ((page = take_revoking(vcpu)))
			guest_memfd_put_direct_map(page);
		cond_resched();
	}
}

static void drop_references(struct work_struct *work)
{
	struct kvm *kvm = container_of(work, struct kvm, gmem_reference_work);

	drop_caches(kvm);
	drop_maps(kvm);
}

/**
 * kvm_gmem_reference_arm - queue the worker that puts invalid references
 * @kvm: The VM, which cannot be destroyed meanwhile.
 *
 * The caller is an invalidation that has marked the caches invalid.
 *
 * Context: Any.
 */
void kvm_gmem_reference_arm(struct kvm *kvm)
{
	queue_work(system_dfl_wq, &kvm->gmem_reference_work);
}

static bool is_in_file_range(const struct gfn_to_pfn_cache *gpc,
			     unsigned long first, unsigned long last)
{
	return gpc->source != GPC_USER && gpc->uhva >= first && gpc->uhva <= last;
}

/*
 * Mark the revocable mappings that @vcpu has of the gfns.  Return: True if
 * there are any.
 */
static bool mark_left(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
		      gfn_t first, gfn_t last)
{
	struct kvm_host_map *map;
	bool found = false;

	/*
	 * Lockless, because no mapping of the range can be added concurrently:
	 * a mapping of a memslot with a guest_memfd is added with the
	 * invalidate_lock held for reading, and a mapping by user address in an
	 * SRCU section that has ended before kvm_gmem_lose_slot() runs.
	 */
	if (list_empty(&vcpu->gmem_maps))
		return false;
	spin_lock(&vcpu->gmem_maps_lock);
	list_for_each_entry(map, &vcpu->gmem_maps, link) {
		if (map->as_id != slot->as_id || map->gfn < first || map->gfn > last)
			continue;
		/* KVM does not use a mapping that is being revoked. */
		if (map->revoke == KVM_MAP_STAYS)
			map->revoke = KVM_MAP_LEFT;
		found = true;
	}
	spin_unlock(&vcpu->gmem_maps_lock);
	return found;
}

/**
 * gfn_to_pfn_cache_invalidate_gmem - invalidate references to a range of a file
 * @kvm: The VM.
 * @slot: A memslot that is bound to the file, or was until just now; or a plain
 *	memslot that KVM has deleted or moved.
 * @start: First index of the range, in pages of the file.
 * @end: Index after the range.
 *
 * Each cache of the range stores a user address in the memslot, whether or not
 * that address is mapped, and also if the cache was activated by guest address.
 * A cache that is being refreshed is not valid yet, but this function does not
 * miss it: kvm_gmem_get_direct_map() holds the invalidate_lock for reading
 * until the cache is valid.
 *
 * A reader that holds gpc->lock meanwhile accesses the old page, which is safe:
 * the reference keeps the page from being reused until the worker has put it.
 *
 * This function also marks the revocable mappings of the range.
 *
 * Context: The file's invalidate_lock is held for writing.  For a plain memslot
 * kvm->slots_lock is held instead, and no reader of kvm->srcu can find the
 * memslot any more.
 */
void gfn_to_pfn_cache_invalidate_gmem(struct kvm *kvm,
				      const struct kvm_memory_slot *slot,
				      pgoff_t start, pgoff_t end)
{
	pgoff_t pgoff = slot->gmem.pgoff;
	unsigned long uhva = slot->userspace_addr;
	unsigned long first = uhva + (max(start, pgoff) - pgoff) * PAGE_SIZE;
	unsigned long last = uhva + (min(end - pgoff, slot->npages) * PAGE_SIZE) - 1;
	gfn_t gfn = slot->base_gfn + max(start, pgoff) - pgoff;
	gfn_t last_gfn = slot->base_gfn + min(end - pgoff, slot->npages) - 1;
	struct gfn_to_pfn_cache *gpc;
	struct kvm_vcpu *vcpu;
	bool arm = false;
	unsigned long i;

	spin_lock(&kvm->gpc_lock);
	list_for_each_entry(gpc, &kvm->gpc_list, list) {
		/*
		 * gpc->lock held for writing blocks interrupt handlers of other
		 * vCPUs that read the cache, so acquire it only for caches of
		 * the range.  No refresh can make such a cache valid between
		 * the two locks: it would have to hold the invalidate_lock for
		 * reading.
		 */
		read_lock_irq(&gpc->lock);
		if (!is_in_file_range(gpc, first, last)) {
			read_unlock_irq(&gpc->lock);
			continue;
		}
		read_unlock_irq(&gpc->lock);

		write_lock_irq(&gpc->lock);
		if (is_in_file_range(gpc, first, last)) {
			gpc->valid = false;
			/*
			 * The MMU notifier may have invalidated the cache
			 * before; it does not queue the worker for a cache of
			 * the file.
			 */
			arm |= gpc->source != GPC_PLAIN;
		}
		write_unlock_irq(&gpc->lock);
	}
	spin_unlock(&kvm->gpc_lock);

	kvm_for_each_vcpu(i, vcpu, kvm)
		arm |= mark_left(vcpu, slot, gfn, last_gfn);

	if (arm)
		kvm_gmem_reference_arm(kvm);
}

/**
 * kvm_gmem_reference_file - make a new file use the VM's queue for lazy puts
 * @kvm: The VM.
 * @gm: The memory of a file that contains hidden memory.
 *
 * Context: May sleep; takes kvm->lock.
 * Return: 0 or -ENOMEM.
 */
int kvm_gmem_reference_file(struct kvm *kvm, struct guest_memfd *gm)
{
	guard(mutex)(&kvm->lock);
	if (!kvm->gmem_put_queue)
		kvm->gmem_put_queue = guest_memfd_put_queue_alloc();
	if (!kvm->gmem_put_queue)
		return -ENOMEM;
	guest_memfd_set_put_queue(gm, kvm->gmem_put_queue);
	return 0;
}

/*
 * A short kvm_vcpu_map() gets a copy of the page.  A second copy behind the
 * first stays as it was read, so that unmapping finds what the caller has
 * changed.
 */
#define COPY_WORDS	(PAGE_SIZE / sizeof(u64))

static int map_copy(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot,
		    struct kvm_host_map *map)
{
	/*
	 * The allocation must not fail: if KVM could not map L1's structures at
	 * a nested exit, it would have to end L1.
	 */
	u64 *copy = kmalloc(map->writable ? 2 * PAGE_SIZE : PAGE_SIZE,
			    GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);

	map->pfn = KVM_PFN_ERR_FAULT;
	/* If the user address maps nothing, read through the file. */
	if (kvm_vcpu_read_guest_page(vcpu, map->gfn, copy, 0, PAGE_SIZE) &&
	    kvm_gmem_read_file(slot, map->gfn, 0, copy, PAGE_SIZE)) {
		kfree_sensitive(copy);
		return -EFAULT;
	}
	if (map->writable)
		memcpy(copy + COPY_WORDS, copy, PAGE_SIZE);
	map->hva = copy;
	map->slot = slot;
	map->copied = true;
	return 0;
}

/*
 * Write the words that the caller has changed, and no others, because the guest
 * may have written those.  If the page has left its file, the write is lost, as
 * it would be with a mapping of that page.
 *
 * Return: 0 or -EFAULT.
 */
static int write_copy(struct kvm_vcpu *vcpu, struct kvm_host_map *map)
{
	const u64 *copy = map->hva, *was = copy + COPY_WORDS;
	unsigned int first, end, offset, len;

	for (first = 0; first < COPY_WORDS; first = end) {
		end = first + 1;
		if (copy[first] == was[first])
			continue;
		while (end < COPY_WORDS && copy[end] != was[end])
			end++;
		offset = first * sizeof(u64);
		len = (end - first) * sizeof(u64);
		/*
		 * If the user address is unmapped or the memslot was deleted,
		 * write through the file.
		 */
		if (kvm_vcpu_write_guest_page(vcpu, map->gfn, copy + first, offset, len) &&
		    kvm_gmem_write_file(map->slot, map->gfn, offset, copy + first, len))
			return -EFAULT;
	}
	return 0;
}

static void unmap_copy(struct kvm_vcpu *vcpu, struct kvm_host_map *map)
{
	if (map->writable && write_copy(vcpu, map))
		vcpu_debug_ratelimited(vcpu, "cannot write guest page 0x%llx\n", map->gfn);
	kfree_sensitive(map->hva);
	map->copied = false;
}

static int map_reference(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot,
			 struct kvm_host_map *map)
{
	struct file *file;
	struct page *page;

	page = kvm_gmem_get_direct_map(slot, map->gfn, &file);
	if (IS_ERR(page)) {
		map->pfn = KVM_PFN_ERR_FAULT;
		return -EFAULT;
	}
	map->pfn = page_to_pfn(page);
	map->page = page;
	map->hva = page_address(page);
	map->direct_map_ref = true;
	if (map->revocable) {
		map->as_id = slot->as_id;
		spin_lock(&vcpu->gmem_maps_lock);
		list_add(&map->link, &vcpu->gmem_maps);
		spin_unlock(&vcpu->gmem_maps_lock);
	}
	/*
	 * A revocable mapping is in the list now, so an invalidation finds it.
	 */
	kvm_gmem_get_direct_map_done(file);
	return 0;
}

static void unmap_reference(struct kvm_vcpu *vcpu, struct kvm_host_map *map)
{
	struct page *page = map->page;

	if (map->revocable) {
		if (map->uhva)
			atomic_dec(&vcpu->kvm->gmem_user_maps);
		spin_lock(&vcpu->gmem_maps_lock);
		page = map->page;
		if (map->revoke != KVM_MAP_REVOKED)
			list_del(&map->link);
		map->revoke = KVM_MAP_STAYS;
		map->hva = NULL;
		spin_unlock(&vcpu->gmem_maps_lock);
	}
	map->direct_map_ref = false;
	if (page)
		guest_memfd_put_direct_map(page);
}

/**
 * kvm_gmem_map - map memory that KVM cannot map by the user address
 * @vcpu: The vCPU.
 * @slot: A hidden memslot, or one with the gfn at level NONE; protected by
 *	kvm->srcu.
 * @map: Where to store the mapping; the caller has set gfn, writable and local.
 *
 * A local mapping, which the function that maps also unmaps, is a copy of the
 * page; unmapping writes back what has changed.  Nested virtualization maps
 * VMCBs and MSR bitmaps in this way at each entry and exit, and with a
 * direct-map reference each would cost a flush of all TLBs.  A page that
 * hardware uses by its physical address, or that the guest changes meanwhile,
 * gets a direct-map reference.  kvm_gmem_unmap() puts that reference, or the
 * worker does if the mapping is revocable.
 *
 * Context: May sleep.
 * Return: 0 or -EFAULT.
 */
int kvm_gmem_map(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot,
		 struct kvm_host_map *map)
{
	return map->local ? map_copy(vcpu, slot, map) : map_reference(vcpu, slot, map);
}

/**
 * kvm_gmem_unmap - undo kvm_gmem_map()
 * @vcpu: The vCPU.
 * @map: The mapping.
 *
 * Context: May sleep.
 */
void kvm_gmem_unmap(struct kvm_vcpu *vcpu, struct kvm_host_map *map)
{
	if (map->copied)
		unmap_copy(vcpu, map);
	else
		unmap_reference(vcpu, map);
}

void kvm_gmem_reference_init(struct kvm *kvm)
{
	INIT_WORK(&kvm->gmem_reference_work, drop_references);
}

/*
 * The worker uses the caches that vCPUs embed, so kvm_destroy_vm() calls this
 * before it destroys the vCPUs.  It deletes KVM's internal memslots later,
 * which must not queue the work again.  Deactivating a cache puts the reference
 * that it still holds.
 */
void kvm_gmem_reference_destroy(struct kvm *kvm)
{
	disable_work_sync(&kvm->gmem_reference_work);
	guest_memfd_put_queue_free(kvm->gmem_put_queue);
}
