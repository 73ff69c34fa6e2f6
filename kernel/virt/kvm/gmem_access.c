// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's own accesses to guest memory that has no user mapping, and the requests
 * by which a protected guest donates and shares its pages.
 *
 * A memslot points to its guest_memfd without a reference.  kvm->srcu protects
 * the pointer: kvm_gmem_release() clears it and then waits for all readers, so
 * the file, its inode and the levels exist until the reader leaves the section.
 * An access by KVM therefore modifies no memory that vCPUs share, except the
 * reference count of the page that it reads or writes.
 *
 * slot->gmem.levels is NULL as long as no page of the file can be at level
 * NONE.  Such a memslot costs one test in the inline functions of
 * <linux/kvm_gmem_access.h>, and no code of this file runs.
 */

#include <linux/delay.h>
#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>
#include <linux/pagemap.h>

#include "gmem_access.h"
#include "gmem_file.h"

/*
 * A concurrent change can lower the level to NONE and raise it again between
 * the test of the level and the access by the user address.  After each failed
 * access KVM tests the level again; it tries at most this many times.
 */
#define ACCESS_TRIES	8

static pgoff_t slot_index(const struct kvm_memory_slot *slot, gfn_t gfn)
{
	return gfn - slot->base_gfn + slot->gmem.pgoff;
}

/*
 * slot_file - the guest_memfd to which a memslot is bound
 * @slot: A memslot with a guest_memfd.
 *
 * This function takes no reference: kvm_gmem_release() waits for the readers of
 * kvm->srcu before the file and its inode can be freed.  The reference count of
 * the file may already be zero.
 *
 * Context: kvm->srcu or kvm->slots_lock is held, and protects the file.
 * Return: The file, or NULL after it was closed.
 */
static struct file *slot_file(const struct kvm_memory_slot *slot)
{
	struct file *file = READ_ONCE(slot->gmem.file);
	struct gmem_file *f;

	if (!file)
		return NULL;
	f = file->private_data;
	RCU_LOCKDEP_WARN(!srcu_read_lock_held(&f->kvm->srcu) &&
			 !lockdep_is_held(&f->kvm->slots_lock),
			 "guest_memfd of a memslot is used unprotected");
	return file;
}

/*
 * slot_folio - get or populate the page behind a gfn of a memslot
 * @slot: A memslot with a guest_memfd.
 * @gfn: A gfn in it.
 *
 * Context: May sleep; the invalidate_lock of the file is held.
 * Return: A locked folio that is up to date, with a reference for the caller; or
 * an ERR_PTR().
 */
static struct folio *slot_folio(struct kvm_memory_slot *slot, gfn_t gfn)
{
	struct file *file = READ_ONCE(slot->gmem.file);
	struct folio *folio;
	kvm_pfn_t pfn;

	/* The file was closed before the caller acquired the invalidate_lock. */
	if (!file)
		return ERR_PTR(-EFAULT);
	folio = __kvm_gmem_get_pfn(file, slot, slot_index(slot, gfn), &pfn,
				   NULL);
	if (!IS_ERR(folio) && !folio_test_uptodate(folio)) {
		clear_highpage(folio_page(folio, 0));
		folio_mark_uptodate(folio);
	}
	return folio;
}

static struct guest_memfd *slot_levels(const struct kvm_memory_slot *slot)
{
	/* slot_file() is called only for its lockdep assertion. */
	if (IS_ENABLED(CONFIG_PROVE_RCU))
		slot_file(slot);
	return READ_ONCE(slot->gmem.levels);
}

/**
 * __kvm_gmem_user_disabled - must KVM access a gfn through the file?
 * @slot: A gmem-only memslot.
 * @gfn: A gfn in it.
 *
 * Context: Any; kvm->srcu or kvm->slots_lock is held.
 * Return: True when the page is at level NONE.  False when it is not, when the
 * file was closed, and for private memory that hardware protects, which the host
 * must not access at any level.
 */
bool __kvm_gmem_user_disabled(const struct kvm_memory_slot *slot, gfn_t gfn)
{
	struct guest_memfd *gm = slot_levels(slot);

	return gm && guest_memfd_user_disabled(gm, slot_index(slot, gfn));
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvm_gmem_user_disabled);

/*
 * Unlock a folio that slot_folio() returned.  Return: The page of @gfn, or NULL
 * for an ERR_PTR().
 */
static struct page *unlock_folio(struct folio *folio, struct kvm_memory_slot *slot,
				 gfn_t gfn)
{
	if (IS_ERR(folio))
		return NULL;
	folio_unlock(folio);
	return folio_file_page(folio, slot_index(slot, gfn));
}

/**
 * kvm_gmem_access_page - get the page behind a gfn at level NONE
 * @slot: A gmem-only memslot.
 * @gfn: A gfn in it.
 * @atomic: Do not sleep, and do not populate an absent page.
 *
 * Context: kvm->srcu or kvm->slots_lock is held.  May sleep unless @atomic.
 * Return: A page with a reference that the caller puts soon, because a change
 * of levels waits for it; or NULL.
 */
struct page *kvm_gmem_access_page(struct kvm_memory_slot *slot, gfn_t gfn,
				  bool atomic)
{
	struct guest_memfd *gm = slot_levels(slot);
	struct folio *folio;
	struct page *page;

	if (!gm)
		return NULL;
	page = guest_memfd_get_page(gm, slot_index(slot, gfn));
	if (page || atomic)
		return page;

	guest_memfd_fault_lock(gm);
	folio = slot_folio(slot, gfn);
	guest_memfd_fault_unlock(gm);
	return unlock_folio(folio, slot, gfn);
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvm_gmem_access_page);

/* Access @page and put its reference.  If @page is NULL, the access fails. */
static int read_and_put(struct page *page, unsigned int offset, void *data,
			unsigned int len)
{
	int ret;

	if (!page)
		return -EFAULT;
	ret = guest_memfd_read_page(page, offset, data, len);
	put_page(page);
	return ret;
}

static int write_and_put(struct page *page, unsigned int offset,
			 const void *data, unsigned int len)
{
	int ret;

	if (!page)
		return -EFAULT;
	ret = guest_memfd_write_page(page, offset, data, len);
	put_page(page);
	return ret;
}

/**
 * __kvm_gmem_read - read guest memory of a gmem-only memslot
 * @slot: The memslot.
 * @gfn: A gfn in it.
 * @data: Where to store the data.
 * @from: The user address of the first byte, in the page of @gfn.
 * @len: Number of bytes, all in that page.
 * @atomic: Do not sleep; page faults are disabled.  KVM does not retry a failed
 *	access by the user address, because usually no page is mapped there yet.
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
			return read_and_put(kvm_gmem_access_page(slot, gfn, atomic),
					    offset_in_page(from), data, len);
		if (atomic && tries)
			break;
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
 * @data: The data to write.
 * @len: Number of bytes, all in that page.
 *
 * Context: May sleep; kvm->srcu or kvm->slots_lock is held.
 * Return: 0 or -EFAULT.
 */
int __kvm_gmem_write(struct kvm_memory_slot *slot, gfn_t gfn, void __user *to,
		     const void *data, unsigned int len)
{
	unsigned int tries;
	int ret = -EFAULT;

	for (tries = 0; ret && tries < ACCESS_TRIES; tries++) {
		if (kvm_gmem_user_disabled(slot, gfn))
			return write_and_put(kvm_gmem_access_page(slot, gfn, false),
					     offset_in_page(to), data, len);
		ret = kvm_write_user(to, data, len);
	}
	return ret;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(__kvm_gmem_write);

#ifdef unsafe_try_cmpxchg_user
static int cmpxchg_file(struct kvm_memory_slot *slot, gfn_t gfn,
			unsigned int offset, void *old, const void *new,
			unsigned int size)
{
	struct page *page = kvm_gmem_access_page(slot, gfn, false);
	int ret;

	if (!page)
		return -EFAULT;
	ret = guest_memfd_cmpxchg_page(page, offset, old, new, size);
	put_page(page);
	return ret;
}

/**
 * __kvm_gmem_cmpxchg - compare and exchange in a gmem-only memslot
 * @slot: The memslot.
 * @gfn: A gfn in it.
 * @ptr: The user address, naturally aligned, in the page of @gfn.
 * @old: The value to compare with; updated when the memory contains another
 *	value.
 * @new: The value to store.
 * @size: Size of the values: 1, 2, 4 or 8 bytes.
 *
 * Context: May sleep; kvm->srcu or kvm->slots_lock is held.
 * Return: 0; 1 when the memory contained another value; or -EFAULT.
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

/* Return: The page behind a gfn at any level, with a reference; or NULL. */
static struct page *get_slot_page(struct kvm_memory_slot *slot, gfn_t gfn)
{
	struct file *file = slot_file(slot);
	struct folio *folio;

	if (!file)
		return NULL;
	filemap_invalidate_lock_shared(file->f_mapping);
	folio = slot_folio(slot, gfn);
	filemap_invalidate_unlock_shared(file->f_mapping);
	return unlock_folio(folio, slot, gfn);
}

/**
 * kvm_gmem_read_file - read a page of a memslot by its file, at any level
 * @slot: A gmem-only memslot.
 * @gfn: A gfn in it.
 * @offset: Offset of the first byte in the page.
 * @data: Where to store the data.
 * @len: Number of bytes, all in that page.
 *
 * Context: May sleep; kvm->srcu or kvm->slots_lock is held.
 * Return: 0 or -EFAULT.
 */
int kvm_gmem_read_file(struct kvm_memory_slot *slot, gfn_t gfn,
		       unsigned int offset, void *data, unsigned int len)
{
	return read_and_put(get_slot_page(slot, gfn), offset, data, len);
}

/**
 * kvm_gmem_write_file - write a page of a memslot by its file, at any level
 * @slot: A gmem-only memslot.
 * @gfn: A gfn in it.
 * @offset: Offset of the first byte in the page.
 * @data: The data to write.
 * @len: Number of bytes, all in that page.
 *
 * Context: May sleep; kvm->srcu or kvm->slots_lock is held.
 * Return: 0 or -EFAULT.
 */
int kvm_gmem_write_file(struct kvm_memory_slot *slot, gfn_t gfn,
			unsigned int offset, const void *data, unsigned int len)
{
	return write_and_put(get_slot_page(slot, gfn), offset, data, len);
}

/**
 * kvm_gmem_get_direct_map - take a direct-map reference to a guest page
 * @slot: A gmem-only memslot.
 * @gfn: A gfn in it.
 * @file: Where to store the file, for kvm_gmem_get_direct_map_done().
 *
 * On success the file's invalidate_lock is held for reading until
 * kvm_gmem_get_direct_map_done(), so the page cannot leave the file.  A later
 * invalidation finds a cache that the caller makes valid before that.
 *
 * Context: May sleep; kvm->srcu or kvm->slots_lock is held until
 * kvm_gmem_get_direct_map_done().
 * Return: The page, whose direct-map reference the caller puts when done; or an
 * ERR_PTR().
 */
struct page *kvm_gmem_get_direct_map(struct kvm_memory_slot *slot, gfn_t gfn,
				     struct file **file)
{
	struct folio *folio;
	struct page *page;
	int err;

	*file = slot_file(slot);
	if (!*file)
		return ERR_PTR(-EFAULT);

	filemap_invalidate_lock_shared((*file)->f_mapping);
	folio = slot_folio(slot, gfn);
	if (IS_ERR(folio)) {
		err = PTR_ERR(folio);
		goto err_unlock;
	}
	page = folio_file_page(folio, slot_index(slot, gfn));
	err = guest_memfd_get_direct_map(page);
	folio_unlock(folio);
	/* The direct-map reference holds a reference to the folio. */
	folio_put(folio);
	if (err)
		goto err_unlock;
	return page;

err_unlock:
	kvm_gmem_get_direct_map_done(*file);
	return ERR_PTR(err);
}

/**
 * kvm_gmem_get_direct_map_done - allow invalidation of the page again
 * @file: The file that kvm_gmem_get_direct_map() stored.
 *
 * Context: kvm->srcu or kvm->slots_lock has been held since
 * kvm_gmem_get_direct_map().
 */
void kvm_gmem_get_direct_map_done(struct file *file)
{
	filemap_invalidate_unlock_shared(file->f_mapping);
}

#ifdef CONFIG_GUEST_MEMFD_DONATE
/**
 * kvm_gmem_donate - donate the page behind a gfn to a protected guest
 * @slot: A gmem-only memslot.
 * @gfn: A gfn in it.
 * @map: Makes the hypervisor remove the page from the host and map it into the
 *	guest, under kvm->mmu_lock.  It returns -EAGAIN if the guest has the
 *	page already; other errors are returned to the caller.
 * @arg: For @map.
 *
 * KVM holds the invalidate_lock of the file and the lock of the page until @map
 * has returned, so that the page stays in the file and at level NONE.
 *
 * Context: May sleep; kvm->srcu is held.
 * Return: 0; -EAGAIN when the guest is to fault again; -EFAULT when the page is
 * not at level NONE or the file was closed; -EHWPOISON; -ENOMEM; or what @map
 * returns, which is -EFAULT for a gfn whose page EL2 has taken from the guest
 * by force.
 */
int kvm_gmem_donate(struct kvm_memory_slot *slot, gfn_t gfn,
		    int (*map)(void *arg, struct page *page), void *arg)
{
	struct file *file = slot_file(slot);
	struct guest_memfd *gm;
	struct folio *folio;
	struct page *page;
	bool wait = false;
	int err;

	if (!file)
		return -EFAULT;
	gm = &GMEM_I(file_inode(file))->gm;
	filemap_invalidate_lock_shared(file->f_mapping);
	/* Test the level before slot_folio() allocates a page. */
	if (!guest_memfd_user_disabled(gm, slot_index(slot, gfn))) {
		/*
		 * Another vCPU may have received the page since the fault, and
		 * shared it.
		 */
		err = guest_memfd_is_shared(gm, slot_index(slot, gfn)) ? -EAGAIN : -EFAULT;
		goto out_unlock;
	}
	folio = slot_folio(slot, gfn);
	if (IS_ERR(folio)) {
		err = PTR_ERR(folio);
		goto out_unlock;
	}
	page = folio_file_page(folio, slot_index(slot, gfn));
	err = guest_memfd_donate(page);
	if (!err) {
		err = map(arg, page);
		if (err)
			guest_memfd_undo_donation(page);
	} else if (err == -EEXIST) {
		/*
		 * Another vCPU may have faulted at the same time.  If not, the
		 * hypervisor refuses the mapping.
		 */
		err = map(arg, page);
	} else {
		wait = err == -EAGAIN;
	}
	folio_unlock(folio);
	folio_put(folio);
out_unlock:
	filemap_invalidate_unlock_shared(file->f_mapping);
	/*
	 * A change of levels, a hole punch or a direct-map reference is in the
	 * way.  Without a delay the guest's next fault would fail for the same
	 * reason.
	 */
	if (wait)
		usleep_range(500, 1000);
	return err;
}

/**
 * kvm_gmem_guest_request - share or unshare a page of a protected guest
 * @kvm: The VM.
 * @gfn: The page's gfn.
 * @share: As for guest_memfd_guest_request(): whether the guest asks to share
 *	the page.
 * @commit: Makes the hypervisor change the state of the page.
 * @arg: For @commit.
 *
 * Meanwhile KVM holds no lock of the VM, only a reference to the file: the
 * request waits for a concurrent change of levels, which may itself wait for
 * the readers of kvm->srcu.
 *
 * Context: May sleep; takes kvm->srcu.
 * Return: 0; -EOPNOTSUPP when no guest_memfd is behind @gfn; -ENOENT without a
 * memslot; -EFAULT after the file was closed; or what
 * guest_memfd_guest_request() returns.
 */
int kvm_gmem_guest_request(struct kvm *kvm, gfn_t gfn, bool share,
			   int (*commit)(void *arg), void *arg)
{
	struct kvm_memory_slot *slot;
	struct file *file = NULL;
	pgoff_t index = 0;
	int err = -EFAULT;

	scoped_guard(srcu, &kvm->srcu) {
		slot = gfn_to_memslot(kvm, gfn);
		if (!slot)
			return -ENOENT;
		if (!kvm_slot_has_gmem(slot))
			return -EOPNOTSUPP;
		index = slot_index(slot, gfn);
		file = get_file_active(&slot->gmem.file);
	}
	if (file) {
		err = guest_memfd_guest_request(&GMEM_I(file_inode(file))->gm, index, share,
						commit, arg);
		fput(file);
	}
	return err;
}
#endif
