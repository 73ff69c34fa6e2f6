// SPDX-License-Identifier: GPL-2.0-only
/* KVM's own accesses to guest memory that has no user mapping. */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>

#include "guest_memfd.h"

/*
 * The level can change between the test of the level and the access by the user
 * address.  Each failed access tests the level again, at most so many times.
 */
#define ACCESS_TRIES	8

/*
 * Copy 4 or 8 aligned bytes with one load and one store, because the guest may
 * modify them concurrently.
 */
static void copy_once(void *to, const void *from, unsigned int len)
{
	if (len == 8 && IS_ALIGNED((unsigned long)to | (unsigned long)from, 8))
		WRITE_ONCE(*(u64 *)to, READ_ONCE(*(u64 *)from));
	else if (len == 4 && IS_ALIGNED((unsigned long)to | (unsigned long)from, 4))
		WRITE_ONCE(*(u32 *)to, READ_ONCE(*(u32 *)from));
	else
		memcpy(to, from, len);
}

static int read_folio(struct folio *folio, unsigned int offset, void *data,
		      unsigned int len)
{
	void *page = guest_memfd_map_local(folio);

	copy_once(data, page + offset, len);
	guest_memfd_unmap_local(folio, page);
	return 0;
}

static int write_folio(struct folio *folio, unsigned int offset,
		       const void *data, unsigned int len)
{
	void *page = guest_memfd_map_local(folio);

	copy_once(page + offset, data, len);
	guest_memfd_unmap_local(folio, page);
	return 0;
}

/* Return: 0; 1 after storing the different value found to *@old; or -EFAULT. */
static int cmpxchg_folio(struct folio *folio, unsigned int offset, void *old,
			 const void *new, unsigned int size)
{
	void *page = guest_memfd_map_local(folio);
	void *at = page + offset;
	int ret = -EFAULT;

	switch (size) {
	case 1:
		ret = !try_cmpxchg((u8 *)at, (u8 *)old, *(u8 *)new);
		break;
	case 2:
		ret = !try_cmpxchg((u16 *)at, (u16 *)old, *(u16 *)new);
		break;
	case 4:
		ret = !try_cmpxchg((u32 *)at, (u32 *)old, *(u32 *)new);
		break;
	case 8:
		ret = !try_cmpxchg((u64 *)at, (u64 *)old, *(u64 *)new);
		break;
	default:
		WARN_ON_ONCE(1);
	}
	guest_memfd_unmap_local(folio, page);
	return ret;
}

static int read_file(struct kvm_memory_slot *slot, gfn_t gfn,
		     unsigned int offset, void *data, unsigned int len,
		     bool atomic)
{
	struct folio *folio = kvm_gmem_access_folio(slot, gfn, atomic);
	int ret;

	if (!folio)
		return -EFAULT;
	ret = read_folio(folio, offset, data, len);
	folio_put(folio);
	return ret;
}

static int write_file(struct kvm_memory_slot *slot, gfn_t gfn,
		      unsigned int offset, const void *data, unsigned int len,
		      bool atomic)
{
	struct folio *folio;
	int ret;

	/*
	 * folio_put() may drop the last reference to a plain page that was
	 * truncated concurrently, and then frees it, which takes locks that an
	 * atomic caller may hold.  The library frees a hidden page itself, after
	 * it has frozen the reference count.
	 */
	if (atomic && !kvm_slot_is_hidden(slot))
		return -EFAULT;
	folio = kvm_gmem_access_folio(slot, gfn, atomic);
	if (!folio)
		return -EFAULT;
	ret = write_folio(folio, offset, data, len);
	folio_put(folio);
	return ret;
}

static int cmpxchg_file(struct kvm_memory_slot *slot, gfn_t gfn,
			unsigned int offset, void *old, const void *new,
			unsigned int size)
{
	struct folio *folio = kvm_gmem_access_folio(slot, gfn, false);
	int ret;

	if (!folio)
		return -EFAULT;
	ret = cmpxchg_folio(folio, offset, old, new, size);
	folio_put(folio);
	return ret;
}

/**
 * __kvm_gmem_read - read guest memory of a gmem-only memslot
 * @slot: The memslot.
 * @gfn: A gfn in it.
 * @data: Where to store what is read.
 * @from: The user address of the first byte, in the page of @gfn.
 * @len: How many bytes, all in that page.
 * @atomic: Do not sleep; page faults are disabled.
 *
 * Context: kvm->srcu or kvm->slots_lock is held.  May sleep unless @atomic.
 * Return: 0 or -EFAULT.
 */
int __kvm_gmem_read(struct kvm_memory_slot *slot, gfn_t gfn, void *data,
		    const void __user *from, unsigned int len, bool atomic)
{
	unsigned int tries;
	int ret = -EFAULT;

	for (tries = 0; ret && tries < ACCESS_TRIES; tries++) {
		if (kvm_gmem_user_disabled(slot, gfn))
			return read_file(slot, gfn, offset_in_page(from), data,
					 len, atomic);
		if (!atomic)
			ret = kvm_read_user(data, from, len);
		else if (!__copy_from_user_inatomic(data, from, len))
			ret = 0;
	}
	return ret;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvm_gmem_read);

/**
 * __kvm_gmem_write - write guest memory of a gmem-only memslot
 * @slot: The memslot.
 * @gfn: A gfn in it.
 * @to: The user address of the first byte, in the page of @gfn.
 * @data: What to write.
 * @len: How many bytes, all in that page.
 * @atomic: Do not sleep; the scheduler's locks may be held.
 *
 * Context: kvm->srcu or kvm->slots_lock is held.  May sleep unless @atomic.
 * Return: 0 or -EFAULT.
 */
int __kvm_gmem_write(struct kvm_memory_slot *slot, gfn_t gfn, void __user *to,
		     const void *data, unsigned int len, bool atomic)
{
	unsigned int tries;
	int ret = -EFAULT;

	for (tries = 0; ret && tries < ACCESS_TRIES; tries++) {
		if (kvm_gmem_user_disabled(slot, gfn))
			return write_file(slot, gfn, offset_in_page(to), data,
					  len, atomic);
		if (!atomic)
			ret = kvm_write_user(to, data, len);
		else
			ret = copy_to_user_nofault(to, data, len);
	}
	return ret;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvm_gmem_write);

#ifdef unsafe_try_cmpxchg_user
/**
 * __kvm_gmem_cmpxchg - compare and exchange in guest memory of a gmem-only memslot
 * @slot: The memslot.
 * @gfn: A gfn in it.
 * @ptr: The user address, naturally aligned, in the page of @gfn.
 * @old: The value to compare with; updated when another value is found.
 * @new: The value to store.
 * @size: Size of the values: 1, 2, 4 or 8 bytes.
 *
 * Context: May sleep; kvm->srcu or kvm->slots_lock is held.
 * Return: 0; 1 when another value was found; or -EFAULT.
 */
int __kvm_gmem_cmpxchg(struct kvm_memory_slot *slot, gfn_t gfn,
		       void __user *ptr, void *old, const void *new,
		       unsigned int size)
{
	unsigned int tries;
	int ret = -EFAULT;

	for (tries = 0; ret < 0 && tries < ACCESS_TRIES; tries++) {
		if (kvm_gmem_user_disabled(slot, gfn))
			return cmpxchg_file(slot, gfn, offset_in_page(ptr), old,
					    new, size);
		ret = kvm_cmpxchg_user(ptr, old, new, size);
	}
	return ret;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvm_gmem_cmpxchg);
#endif

/**
 * kvm_gmem_map_host - map a page for kvm_vcpu_map() by a direct-map reference
 * @slot: A hidden memslot, or one with the gfn at level NONE.
 * @map: The mapping to fill in; gfn and writable are set.
 *
 * The page is not invalidated while it is mapped.  Like a pinned page, it is the
 * page that the guest had at the gfn when it was mapped.
 *
 * Context: May sleep; kvm->srcu is held.
 * Return: 0 or -EFAULT.
 */
int kvm_gmem_map_host(struct kvm_memory_slot *slot, struct kvm_host_map *map)
{
	struct file *file;
	struct page *page;

	page = kvm_gmem_get_direct_map(slot, map->gfn, &file);
	if (IS_ERR(page)) {
		map->pfn = KVM_PFN_ERR_FAULT;
		return -EFAULT;
	}
	kvm_gmem_get_direct_map_done(file);

	map->pfn = page_to_pfn(page);
	map->page = page;
	map->hva = page_address(page);
	map->direct_map_ref = true;
	return 0;
}

/**
 * kvm_gmem_unmap_host - undo kvm_gmem_map_host()
 * @map: A mapping with direct_map_ref set.
 *
 * Context: May sleep.
 */
void kvm_gmem_unmap_host(struct kvm_host_map *map)
{
	guest_memfd_put_direct_map(page_folio(map->page));
	map->direct_map_ref = false;
}
