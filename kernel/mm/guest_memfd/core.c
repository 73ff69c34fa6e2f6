// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory object: a file whose pages are a guest's memory.
 *
 * The library hides a page of a NO_DIRECT_MAP file before it inserts the page
 * into the file (alloc.c).  After it has removed the page from the file and
 * cleared it, it restores the page or adds it to the pool (scrub.c).  In
 * between, the kernel's direct map has an entry for the page only while the
 * page has a direct-map reference.
 */

#include <linux/fs.h>
#include <linux/guest_memfd.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/temp_map.h>

#include <trace/events/guest_memfd.h>

#include "../internal.h"
#include "access.h"
#include "block.h"
#include "direct_map.h"
#include "donate.h"
#include "file.h"
#include "page_state.h"
#include "pool.h"
#include "reference.h"
#include "scrub.h"
#include "teardown.h"

/* Number of NO_DIRECT_MAP files, which may contain hidden memory. */
static atomic_t nr_hidden_files;

/**
 * guest_memfd_can_hide - does this machine support GM_FILE_NO_DIRECT_MAP?
 *
 * Context: Any.
 * Return: True if the architecture can keep guest memory out of the direct map,
 * this machine's direct map can be changed page by page, and cache maintenance
 * does not need the direct map.
 */
bool guest_memfd_can_hide(void)
{
	return IS_ENABLED(CONFIG_GUEST_MEMFD_NO_DIRECT_MAP) &&
	       arch_can_hide_guest_memory() && direct_map_can_hide() &&
	       guest_memfd_block_ready();
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_can_hide, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_active - is there memory that the kernel cannot save or dump?
 *
 * Context: Any.
 * Return: True while a NO_DIRECT_MAP file exists or a page of one is hidden.
 * The pool frees its pages when hibernation begins, so pages of the pool count
 * only after that.
 */
bool guest_memfd_active(void)
{
	return atomic_read(&nr_hidden_files) ||
	       direct_map_nr_hidden() > gm_pool_unsaved_pages();
}

/**
 * guest_memfd_get_direct_map - take a direct-map reference to a page
 * @page: A page of a guest_memfd file; its folio is locked.
 *
 * The first reference to a hidden page restores its direct map entry.  A
 * direct-map reference includes a reference to the folio, so the page is not
 * reused before the last one is dropped, even if the page is truncated.
 *
 * Context: May sleep.  The caller has locked the folio and holds the
 * invalidate_lock of its file.
 * Return: 0; -ESTALE if the folio was removed from its file; -EFAULT if the
 * page is donated; -EOVERFLOW; or -ENOMEM.
 */
int guest_memfd_get_direct_map(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio->mapping)
		return -ESTALE;
	lockdep_assert_held(&folio->mapping->invalidate_lock);
	if (gm_page_has_state(folio))
		return gm_get_direct_map(page);
	/* A plain file's page stays in the direct map: pin the folio only. */
	folio_get(folio);
	return 0;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_get_direct_map, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_get_direct_map_user - take a direct-map reference after GUP
 * @page: Any page, with a reference that the caller holds.
 *
 * The caller found the page by get_user_pages_no_direct_map() and does not know
 * its file.  Truncation may have removed the page from the file since then.
 *
 * Context: May sleep; the caller holds no lock of the file.
 * Return: 1 if the function took a direct-map reference; 0 if the page is not
 * hidden memory and needs none; -ESTALE if the page was removed from its file;
 * -EFAULT if it is donated; -EHWPOISON; -EOVERFLOW; or -ENOMEM.
 */
int guest_memfd_get_direct_map_user(struct page *page)
{
	struct guest_memfd *gm = NULL;
	struct folio *folio;
	int ret = -ESTALE;

	if (!guest_memfd_owns_pfn(page_to_pfn(page)))
		return 0;

	folio = gm_lock_page(page);
	if (folio->mapping && gm_get_user(gm_of_mapping(folio->mapping)))
		gm = gm_of_mapping(folio->mapping);
	folio_unlock(folio);
	if (!gm)
		return -ESTALE;

	filemap_invalidate_lock_shared(gm->inode->i_mapping);
	folio = gm_lock_page(page);
	if (PageHWPoison(page))
		ret = -EHWPOISON;
	else if (folio->mapping == gm->inode->i_mapping)
		ret = guest_memfd_get_direct_map(page);
	folio_unlock(page_folio(page));
	filemap_invalidate_unlock_shared(gm->inode->i_mapping);
	gm_put_user(gm);
	return ret ?: 1;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_get_direct_map_user, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_put_direct_map - drop a direct-map reference to a page
 * @page: A page to which the caller has a direct-map reference.
 *
 * The last put hides the page again: within 100 ms if the file has a queue for
 * lazy puts, else before this function returns.  If the page was removed from
 * its file in the meantime, the last put also clears and frees it.
 *
 * Context: May sleep; takes the folio lock.
 */
void guest_memfd_put_direct_map(struct page *page)
{
	struct folio *folio = gm_lock_page(page);
	bool own, release = false;
	int ret;

	if (gm_page_has_state(folio)) {
		if (gm_put_lazily(page)) {
			folio_unlock(page_folio(page));
			return;
		}
		/*
		 * gm_put_lazily() may have unlocked the folio, and another task
		 * may have split it.
		 */
		folio = page_folio(page);
		own = gm_folio_has_own_words(folio);
		ret = gm_put_direct_map(page);
		/*
		 * The first reference has split the large mapping, so hiding
		 * the page allocates nothing and cannot fail.  If it does fail,
		 * leak the page: it stays in the direct map and keeps the
		 * caller's reference.
		 */
		if (WARN_ON_ONCE(ret < 0)) {
			folio_unlock(folio);
			return;
		}
		/* The folio is on no list, so no other path frees it. */
		release = (ret || own) && gm_is_free_orphan(folio);
	}
	folio_unlock(folio);
	folio_put(folio);
	if (release)
		guest_memfd_block_release(folio, true);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_put_direct_map, GUEST_MEMFD_OWNERS);

static struct folio *grab_plain_folio(struct guest_memfd *gm, pgoff_t index)
{
	struct address_space *mapping = gm->inode->i_mapping;
	struct mempolicy *policy;
	struct folio *folio;

	policy = mpol_shared_policy_lookup(&gm->policy, index);
	folio = __filemap_get_folio_mpol(mapping, index, FGP_LOCK | FGP_CREAT,
					 mapping_gfp_mask(mapping), policy);
	mpol_cond_put(policy);
	return folio;
}

/*
 * Lock the folio at @index like filemap_lock_folio(), but drop the reference
 * while waiting for the lock.  A waiter's reference would prevent the holder of
 * the lock from splitting a block.
 */
static struct folio *lock_folio(struct guest_memfd *gm, pgoff_t index)
{
	struct address_space *mapping = gm->inode->i_mapping;
	struct folio *folio;

	for (;;) {
		folio = filemap_get_folio(mapping, index);
		if (IS_ERR(folio))
			return folio;
		if (!folio_trylock(folio)) {
			folio_put_wait_locked(folio, TASK_UNINTERRUPTIBLE);
			continue;
		}
		if (folio->mapping == mapping && folio_contains(folio, index))
			return folio;
		folio_unlock(folio);
		folio_put(folio);
	}
}

/**
 * guest_memfd_grab_folio - get the folio at an index, allocating it if absent
 * @gm: The file's memory.
 * @index: Index in the file, in pages, below its size.
 *
 * This function never changes the state of a folio that is already in the file.
 * A new folio of a NO_DIRECT_MAP file is cleared, up to date and hidden, or in
 * the direct map if its range is at GUEST_MEMFD_ACCESS_KERNEL.  A new folio of
 * a plain file is not up to date; the caller clears or fills it and marks it up
 * to date.
 *
 * Context: May sleep; the caller holds the mapping's invalidate_lock, except
 * for a plain file.  Flushes TLBs when it hides a new folio.
 * Return: A locked folio with a reference that the caller must drop, or an
 * ERR_PTR(): -ENOMEM; or -ENOSPC or -EAGAIN as from
 * guest_memfd_block_populate() if the file has a limit.
 */
struct folio *guest_memfd_grab_folio(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio;
	int err;

	if (gm_hides(gm))
		lockdep_assert_held(&gm->inode->i_mapping->invalidate_lock);
	do {
		/*
		 * The folio is usually present: look it up without the NUMA
		 * policy.
		 */
		folio = lock_folio(gm, index);
		if (!IS_ERR(folio))
			break;
		if (!gm_hides(gm)) {
			folio = grab_plain_folio(gm, index);
			break;
		}
		err = guest_memfd_block_populate(gm, index);
		if (err)
			return ERR_PTR(err);
		/* Look up and lock the folio that is now in the file. */
	} while (true);

	return folio;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_grab_folio, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_get_page - get the page at an index if it is present
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 *
 * Context: Any but interrupt.
 * Return: A page that is up to date, not poisoned and not locked, with a
 * reference that the caller must drop; or NULL.
 */
struct page *guest_memfd_get_page(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio = filemap_get_folio(gm->inode->i_mapping, index);
	struct page *page;

	if (IS_ERR(folio))
		return NULL;
	page = folio_file_page(folio, index);
	if (folio_test_uptodate(folio) && !PageHWPoison(page))
		return page;
	folio_put(folio);
	return NULL;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_get_page, GUEST_MEMFD_OWNERS);

/*
 * The read, write and cmpxchg functions access a page of a NO_DIRECT_MAP file
 * by a temporary mapping at every level, with or without direct-map references,
 * because both can change concurrently.
 *
 * They refuse a donated page.  The caller's reference to the page prevents a
 * donation until the access is over: see guest_memfd_donate().
 */
static bool check_access(struct page *page, unsigned int offset, unsigned int len)
{
	return !WARN_ON_ONCE(offset > PAGE_SIZE || len > PAGE_SIZE - offset) &&
	       !gm_page_is_donated(page);
}

/**
 * guest_memfd_read_page - read from a page at any access level
 * @page: A page of a guest_memfd file, with a reference that the caller holds.
 * @offset: Offset in the page, in bytes.
 * @buf: Kernel buffer to copy to.
 * @len: Number of bytes, up to the end of the page.
 *
 * A hidden page stays hidden.  An aligned word of 4 or 8 bytes is read by one
 * load.
 *
 * Context: Any but interrupt; does not sleep.  Interrupts are disabled during
 * the copy.
 * Return: 0, or -EFAULT if the page is donated or the memory has an
 * uncorrectable error.
 */
int guest_memfd_read_page(struct page *page, unsigned int offset, void *buf,
			  unsigned int len)
{
	unsigned long left;
	void *vaddr;

	if (!check_access(page, offset, len))
		return -EFAULT;
	if (gm_page_has_state(page_folio(page))) {
		left = direct_map_read_hidden(page, offset, buf, len);
	} else {
		vaddr = kmap_local_page(page);
		left = temp_copy(buf, vaddr + offset, len);
		kunmap_local(vaddr);
	}
	return left ? -EFAULT : 0;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_read_page, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_write_page - write to a page at any access level
 * @page: A page of a guest_memfd file, with a reference that the caller holds.
 * @offset: Offset in the page, in bytes.
 * @buf: Kernel buffer to copy from.
 * @len: Number of bytes, up to the end of the page.
 *
 * A hidden page stays hidden.  An aligned word of 4 or 8 bytes is written by
 * one store.
 *
 * Context: As guest_memfd_read_page().
 * Return: 0, or -EFAULT if the page is donated or the memory has an
 * uncorrectable error.
 */
int guest_memfd_write_page(struct page *page, unsigned int offset,
			   const void *buf, unsigned int len)
{
	unsigned long left;
	void *vaddr;

	if (!check_access(page, offset, len))
		return -EFAULT;
	if (gm_page_has_state(page_folio(page))) {
		left = direct_map_write_hidden(page, offset, buf, len);
	} else {
		vaddr = kmap_local_page(page);
		left = temp_copy(vaddr + offset, buf, len);
		kunmap_local(vaddr);
	}
	return left ? -EFAULT : 0;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_write_page, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_cmpxchg_page - compare and exchange in a page at any access level
 * @page: A page of a guest_memfd file, with a reference that the caller holds.
 * @offset: Offset in the page, in bytes.
 * @old: The expected value; receives the value that was found.
 * @new: The value to store.
 * @size: 1, 2, 4 or 8 bytes.
 *
 * Context: As guest_memfd_read_page().
 * Return: 0; 1 if the value found was not @old; -EFAULT if the page is donated
 * or the memory has an uncorrectable error.
 */
int guest_memfd_cmpxchg_page(struct page *page, unsigned int offset,
			     void *old, const void *new, unsigned int size)
{
	void *vaddr;
	int ret;

	if (!check_access(page, offset, size))
		return -EFAULT;
	if (gm_page_has_state(page_folio(page)))
		return direct_map_cmpxchg_hidden(page, offset, old, new,
						 size);
	vaddr = kmap_local_page(page);
	ret = temp_cmpxchg(vaddr + offset, old, new, size);
	kunmap_local(vaddr);
	return ret;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_cmpxchg_page, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_max_order - order of the largest mapping possible around an index
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 *
 * A naturally aligned range of this order around @index is present, physically
 * contiguous and equally aligned in physical memory, and the owner may map it
 * into a guest by one entry.
 *
 * Context: Any.  The result stays valid until the next invalidation of the
 * range.
 * Return: The order, 0 for a page.
 */
unsigned int guest_memfd_max_order(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio;

	guard(rcu)();
	folio = xa_load(&gm->inode->i_mapping->i_pages, index);
	if (!folio || !folio_test_large(folio) || folio_test_has_hwpoisoned(folio))
		return 0;
	return GM_BLOCK_MAX_ORDER;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_max_order, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_free_folio - the free_folio operation, or the last part of it
 * @folio: A locked folio that was just removed from its mapping.
 *
 * The folio may have other references, direct-map references among them, so
 * this function does not free it.  scrub.c clears and frees it when these
 * references have been dropped.
 */
void guest_memfd_free_folio(struct folio *folio)
{
	unsigned long state = gm_folio_state(folio);

	/* The folio is a page of a plain file. */
	if (!state)
		return;
	gm_folio_set_state(folio, state | GM_PAGE_ORPHAN);
	guest_memfd_block_orphan(folio);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_free_folio, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_migrate_folio - the migrate_folio operation: always refuses
 * @mapping: The file's mapping, which is unevictable.
 * @dst: Unused.
 * @src: Unused.
 * @mode: Unused.
 *
 * Return: -EINVAL.
 */
int guest_memfd_migrate_folio(struct address_space *mapping, struct folio *dst,
			      struct folio *src, enum migrate_mode mode)
{
	WARN_ON_ONCE(1);
	return -EINVAL;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_migrate_folio, GUEST_MEMFD_OWNERS);

/*
 * Levels, blocks and owners rely on a constant file size; the mode is constant,
 * too.
 */
static int guest_memfd_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
			       struct iattr *attr)
{
	return -EINVAL;
}

static const struct inode_operations guest_memfd_iops = {
	.setattr	= guest_memfd_setattr,
};

/**
 * guest_memfd_new_inode - allocate the inode of a new file
 * @sb: The owner's superblock, whose alloc_inode embeds a struct guest_memfd.
 * @name: The file's name, in brackets, by which security modules identify it.
 * @size: Size of the file in bytes, page-aligned; constant afterwards.
 *
 * Before guest_memfd_init() the caller may only use iput() on the inode.
 *
 * Return: The inode, or an ERR_PTR().
 */
struct inode *guest_memfd_new_inode(struct super_block *sb, const char *name,
				    loff_t size)
{
	struct inode *inode = anon_inode_make_secure_inode(sb, name, NULL);

	if (IS_ERR(inode))
		return inode;
	inode->i_op = &guest_memfd_iops;
	inode->i_mode |= S_IFREG;
	inode->i_size = size;
	return inode;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_new_inode, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_init - set up the memory of a new file
 * @gm: The memory object, embedded in @inode.
 * @inode: A new inode, for instance from guest_memfd_new_inode(), that no other
 *	task can find yet.
 * @aops: The owner's operations, which call the guest_memfd_*_folio() above.
 * @ops: The owner's callbacks.
 * @flags: GM_FILE_* flags that the owner has checked; GM_FILE_NO_DIRECT_MAP
 *	only if guest_memfd_can_hide() returned true.
 */
void guest_memfd_init(struct guest_memfd *gm, struct inode *inode,
		      const struct address_space_operations *aops,
		      const struct guest_memfd_operations *ops, u64 flags)
{
	struct address_space *mapping = inode->i_mapping;

	gm->inode = inode;
	atomic_set(&gm->users, 1);
	gm->ops = ops;
	gm->flags = flags;
	gm->left = NULL;
	gm->put_queue = NULL;
	gm->limit = NULL;
	inode->i_private = gm;
	mapping->a_ops = aops;
	mapping_set_gfp_mask(mapping, GFP_HIGHUSER);
	mapping_set_inaccessible(mapping);
	/* Memory that cannot be migrated must be unevictable, too. */
	WARN_ON_ONCE(!mapping_unevictable(mapping));
	mpol_shared_policy_init(&gm->policy, NULL);
	atomic_long_set(&gm->nr_blocks, 0);
	INIT_LIST_HEAD(&gm->orphans);
	gm_init_donated(gm);
	guest_memfd_access_init(gm);
	if (gm_hides(gm)) {
		mapping_set_no_direct_map(mapping);
		guest_memfd_block_init(gm);
		atomic_inc(&nr_hidden_files);
	}
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_init, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_evict_inode - the evict_inode operation of an owner's filesystem
 * @inode: An inode with a struct guest_memfd, or one for which
 *	guest_memfd_init() was not called.
 *
 * This function removes the hidden pages from the file.  A worker clears and
 * frees them; until then they stay hidden and charged.
 */
void guest_memfd_evict_inode(struct inode *inode)
{
	struct address_space *mapping = inode->i_mapping;
	struct guest_memfd *gm = gm_of_mapping(mapping);
	bool hides = gm && gm_hides(gm);

	if (gm)
		gm_wait_for_users(gm);

	filemap_invalidate_lock(mapping);
	if (hides)
		guest_memfd_access_take_back(gm, 0, i_size_read(inode) >>
						    PAGE_SHIFT);
	if (hides)
		gm_references_drain(gm, 0, ULONG_MAX);
	truncate_inode_pages_final(mapping);
	if (hides)
		gm_references_drain(gm, 0, ULONG_MAX);
	if (gm)
		guest_memfd_access_destroy(gm);
	filemap_invalidate_unlock(mapping);
	clear_inode(inode);
	if (gm)
		mpol_free_shared_policy(&gm->policy);
	if (hides) {
		gm_references_destroy(gm);
		guest_memfd_block_destroy(gm);
		atomic_dec(&nr_hidden_files);
	}
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_evict_inode, GUEST_MEMFD_OWNERS);
