// SPDX-License-Identifier: GPL-2.0-only
/*
 * How KVM's direct-map references end when the page leaves its file or its
 * memslot.
 *
 * An invalidation cannot drop a reference itself: it holds spinlocks, and a put
 * sleeps.  It marks the caches invalid and queues a worker of the VM.  The worker
 * takes the references out of the invalid caches and puts them, whether or not a
 * vCPU ever refreshes those caches again.  It does the same with the revocable
 * mappings of kvm_vcpu_map_revocable(), which are in use while a vCPU runs a
 * nested guest.
 *
 * A reference is put by the one who took it out of its cache under gpc->lock, in
 * gpc_take_direct_map(): the worker, a refresh, or kvm_gpc_deactivate().  A
 * refresh does that before it looks up the pfn again, so that the worker never
 * waits for gpc->refresh_lock, which is held across page faults.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "gmem_access.h"
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
 * Make the vCPU map again before it enters the guest, or blocks, the next time.
 *
 * Return: True if it has a mapping whose page has left.
 */
static bool request_remap(struct kvm_vcpu *vcpu)
{
	struct kvm_host_map *map;
	bool found = false;

	/* A mapping that was marked can only be gone. */
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
	/* A vCPU that blocks for the guest's HLT serves the request, and blocks again. */
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
 * End the revocable mappings whose page has left.  Three users of a mapping have
 * to be excluded:
 *
 * The CPU, which uses the page by its physical address while the vCPU is in guest
 * mode.  The vCPU gets a request and leaves guest mode, and does not enter it
 * again before it has served the request.
 *
 * KVM, which uses the kernel address with vcpu->gmem_maps_lock held.
 *
 * The vCPU that serves the request: it unmaps, which takes the mapping out of the
 * list, and maps what is at the gfn then.  A page that leaves again is marked
 * KVM_MAP_LEFT, and only the next run makes a request for that and ends the
 * mapping.
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
 * kvm_gmem_reference_arm - have the references of invalid caches dropped soon
 * @kvm: The VM, which cannot be destroyed meanwhile.
 *
 * To be called after the invalidation of a file has marked the caches invalid.
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

/* Does @vcpu have revocable mappings of the gfns?  Mark them. */
static bool mark_left(struct kvm_vcpu *vcpu, const struct kvm_memory_slot *slot,
		      gfn_t first, gfn_t last)
{
	struct kvm_host_map *map;
	bool found = false;

	/*
	 * A mapping of a memslot with a guest_memfd is added with the invalidate_lock held
	 * for reading; one by a user address within the SRCU section that
	 * kvm_gmem_lose_slot() runs after.
	 */
	if (list_empty(&vcpu->gmem_maps))
		return false;
	spin_lock(&vcpu->gmem_maps_lock);
	list_for_each_entry(map, &vcpu->gmem_maps, link) {
		if (map->as_id != slot->as_id || map->gfn < first || map->gfn > last)
			continue;
		/* One that is being revoked is not used again. */
		if (map->revoke == KVM_MAP_STAYS)
			map->revoke = KVM_MAP_LEFT;
		found = true;
	}
	spin_unlock(&vcpu->gmem_maps_lock);
	return found;
}

/**
 * gfn_to_pfn_cache_invalidate_gmem - invalidate KVM's references to a range of a file
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
 * Revocable mappings of the range are marked likewise.
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
	gfn_t gfn = slot->base_gfn + max(start, pgoff) - pgoff;
	gfn_t last_gfn = slot->base_gfn + min(end - pgoff, slot->npages) - 1;
	struct gfn_to_pfn_cache *gpc;
	struct kvm_vcpu *vcpu;
	bool arm = false;
	unsigned long i;

	spin_lock(&kvm->gpc_lock);
	list_for_each_entry(gpc, &kvm->gpc_list, list) {
		/*
		 * A writer blocks interrupt handlers of other vCPUs that read, so
		 * only caches of the range are locked for writing.  A refresh cannot
		 * make one of those valid in between: it holds the invalidate_lock.
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
			/* Also when the MMU notifier invalidated it before. */
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
 * kvm_gmem_reference_file - have a new file use the VM's queue for lazy puts
 * @kvm: The VM.
 * @gm: The memory of a file that holds hidden memory.
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
 * The copy of a page for a short kvm_vcpu_map(), and behind it the page as it was
 * read, to find what the caller has changed.
 */
#define COPY_WORDS	(PAGE_SIZE / sizeof(u64))

static int map_copy(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot,
		    struct kvm_host_map *map)
{
	/* A nested exit that fails would end L1. */
	u64 *copy = kmalloc(map->writable ? 2 * PAGE_SIZE : PAGE_SIZE,
			    GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);

	map->pfn = KVM_PFN_ERR_FAULT;
	/* By the file where the user address maps nothing. */
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
 * Write what has changed, and no other word: the guest may have written those.  If
 * the page has left its file, what was written is lost, as it would be with a
 * mapping of that page.
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
		/* By the file where the user address, or the memslot, is gone. */
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
	/* From here on an invalidation finds the mapping. */
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
 * kvm_gmem_map - kvm_vcpu_map() of memory that KVM cannot map by the user address
 * @vcpu: The vCPU.
 * @slot: A hidden memslot, or one with the gfn at level NONE; kept by kvm->srcu.
 * @map: Where to put the mapping; gfn, writable and local are set.
 *
 * A mapping that the same function unmaps is a copy of the page; what has changed
 * in it is written back at the end.  Nested virtualization maps VMCBs and MSR
 * bitmaps at each entry and exit in this way, and with a direct-map reference each
 * would cost the flush of all TLBs.  What hardware uses by its physical address,
 * or the guest changes meanwhile, gets a direct-map reference.  It ends with
 * kvm_gmem_unmap(), or by revocation if the mapping is revocable.
 *
 * Context: May sleep.
 * Return: 0, -ENOMEM or -EFAULT.
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
 * The caches, which vCPUs embed, must still be there.  The memslots that KVM made
 * itself are deleted later, which must not queue the work again.  Deactivation of
 * the caches puts what they hold then.
 */
void kvm_gmem_reference_destroy(struct kvm *kvm)
{
	disable_work_sync(&kvm->gmem_reference_work);
	guest_memfd_put_queue_free(kvm->gmem_put_queue);
}
