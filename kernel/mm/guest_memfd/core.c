// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory object: a file whose pages are a guest's memory.
 *
 * A page of a NO_DIRECT_MAP file is hidden before it enters the file (alloc.c), and
 * restored after it has left and has been cleared (scrub.c).  In between only
 * a direct-map reference makes it visible to the kernel.
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

/* Files that may hold hidden memory. */
static atomic_t nr_hidden_files;

/**
 * guest_memfd_can_hide - can GM_FILE_NO_DIRECT_MAP be offered?
 *
 * Context: Any.
 * Return: True if the architecture keeps what the flag promises, this machine's
 * direct map can be changed page by page, and its caches need no maintenance
 * through the direct map.
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
 * Return: True while a NO_DIRECT_MAP file exists or a page of one is hidden.  The
 * pool frees its pages when hibernation begins, so that they count only after that.
 */
bool guest_memfd_active(void)
{
	return atomic_read(&nr_hidden_files) ||
	       direct_map_nr_hidden() > gm_pool_unsaved_pages();
}

/**
 * guest_memfd_get_direct_map - take a right to use a page through the direct map
 * @page: A page of a guest_memfd file; its folio is locked.
 *
 * The first reference to a hidden page restores its direct map entry.  It holds a
 * reference to the folio: it survives truncation, and keeps the page from reuse.
 *
 * Context: May sleep; the folio is locked, and the invalidate_lock of its file is
 * held.
 * Return: 0; -ESTALE when the folio has left its file; -EFAULT when the page is
 * donated; -EOVERFLOW; -ENOMEM.
 */
int guest_memfd_get_direct_map(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio->mapping)
		return -ESTALE;
	lockdep_assert_held(&folio->mapping->invalidate_lock);
	if (gm_page_has_state(folio))
		return gm_get_direct_map(page);
	/* A plain file's page is in the direct map: the reference will do. */
	folio_get(folio);
	return 0;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_get_direct_map, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_get_direct_map_user - take such a right to a page found by its user address
 * @page: Any page, with a reference for the caller.
 *
 * The caller found the page by get_user_pages_no_direct_map(), and does not know
 * its file.  The page can have left the file by now.
 *
 * Context: May sleep; the caller holds no lock of the file.
 * Return: 1 with a direct-map reference; 0 if the page is not hidden memory, and
 * needs none; -ESTALE when the page has left its file; -EFAULT when it is donated;
 * -EHWPOISON; -EOVERFLOW; -ENOMEM.
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
 * guest_memfd_put_direct_map - drop a right to use a page through the direct map
 * @page: A page that the caller has a direct-map reference to.
 *
 * The last put hides the page again: within 100 ms, if the file has a queue for
 * lazy puts, else at once.  If the page has left its file in the meantime, it is
 * then cleared and freed.
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
		/* It may have been split in the meantime. */
		folio = page_folio(page);
		own = gm_folio_has_own_words(folio);
		ret = gm_put_direct_map(page);
		/*
		 * The first reference has split the large mapping, so this
		 * cannot fail.  If it does, the page stays visible and is leaked
		 * with the caller's reference.
		 */
		if (WARN_ON_ONCE(ret < 0)) {
			folio_unlock(folio);
			return;
		}
		/* It is on no list, so no other path frees it. */
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
 * As filemap_lock_folio(), but to wait for the lock of a block does not keep the holder of
 * the lock from splitting it.
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
 * Never changes the state of a folio that is already there.  A new folio of a
 * NO_DIRECT_MAP file is cleared, hidden and up to date, or visible if its range
 * is at GUEST_MEMFD_ACCESS_KERNEL; one of a plain file is not up to date until
 * the caller has cleared or filled it and says so.
 *
 * Context: May sleep; the mapping's invalidate_lock is held, except for a plain
 * file.  Flushes TLBs when it hides a new folio.
 * Return: A locked folio with a reference for the caller, or an ERR_PTR();
 * -ENOSPC or -EAGAIN, if the file has a limit, as guest_memfd_block_populate().
 */
struct folio *guest_memfd_grab_folio(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio;
	int err;

	if (gm_hides(gm))
		lockdep_assert_held(&gm->inode->i_mapping->invalidate_lock);
	do {
		/* The usual case, and the cheap one: no policy lookup. */
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
		/* It may have left again: then once more. */
	} while (true);

	return folio;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_grab_folio, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_get_page - get the page at an index, if it is there
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 *
 * Context: Any but interrupt.
 * Return: A page that is up to date and not poisoned, with a reference for the
 * caller and not locked; or NULL.
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
 * A page of a NO_DIRECT_MAP file is accessed in the same way at every level and
 * with or without direct-map references: those may change at the same time.
 *
 * A donated page is not accessed.  The caller's reference to the page keeps it from
 * being donated until the access is over: see guest_memfd_donate().
 */
static bool check_access(struct page *page, unsigned int offset, unsigned int len)
{
	return !WARN_ON_ONCE(offset > PAGE_SIZE || len > PAGE_SIZE - offset) &&
	       !gm_page_is_donated(page);
}

/**
 * guest_memfd_read_page - read from a page, at whatever level it is
 * @page: A page of a guest_memfd file, with a reference.
 * @offset: Where in the page.
 * @buf: Kernel buffer; nothing else has to be mapped.
 * @len: Number of bytes, up to the end of the page.
 *
 * A hidden page stays hidden.  An aligned word of 4 or 8 bytes is one access.
 *
 * Context: Any but interrupt; does not sleep.  Interrupts are off for the time
 * of the copy.
 * Return: 0, or -EFAULT if the page is donated or the memory has an uncorrectable
 * error.
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
 * guest_memfd_write_page - write to a page, at whatever level it is
 * @page: A page of a guest_memfd file, with a reference.
 * @offset: Where in the page.
 * @buf: Kernel buffer.
 * @len: Number of bytes, up to the end of the page.
 *
 * As guest_memfd_read_page().
 *
 * Context: As guest_memfd_read_page().
 * Return: 0, or -EFAULT if the page is donated or the memory has an uncorrectable
 * error.
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
 * guest_memfd_cmpxchg_page - compare and exchange in a page, at whatever level
 * @page: A page of a guest_memfd file, with a reference.
 * @offset: Where in the page.
 * @old: What must be there; gets what was there.
 * @new: What to put there.
 * @size: 1, 2, 4 or 8 bytes.
 *
 * Context: As guest_memfd_read_page().
 * Return: 0; 1 if something else than @old was there; -EFAULT if the page is donated
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
 * guest_memfd_max_order - how much of the memory around an index is in one piece
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 *
 * That much of the file, naturally aligned, is there, contiguous, aligned in
 * physical memory in the same way, and may be mapped into a guest at once.
 *
 * Context: Any.  The answer is good until the next invalidation of the range.
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
 * @folio: A locked folio that has just left its mapping.
 *
 * It may have other references, those to the direct map among them, so the page is
 * not freed here: its block frees it when they are gone.
 */
void guest_memfd_free_folio(struct folio *folio)
{
	unsigned long state = gm_folio_state(folio);

	/* A page of a plain file. */
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

/* The size is fixed, as levels, blocks and owners rely on it; so is the mode. */
static int guest_memfd_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
			       struct iattr *attr)
{
	return -EINVAL;
}

static const struct inode_operations guest_memfd_iops = {
	.setattr	= guest_memfd_setattr,
};

/**
 * guest_memfd_new_inode - make the inode of a new file
 * @sb: The owner's superblock, whose alloc_inode embeds a struct guest_memfd.
 * @name: What the file is called, in brackets; security modules know it by that.
 * @size: Size of the file in bytes, page-aligned; fixed from then on.
 *
 * Until guest_memfd_init() nothing but iput() may be done with it.
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
 * @inode: What guest_memfd_new_inode() made, not yet visible to anybody.
 * @aops: The owner's operations, made of the guest_memfd_*_folio() above.
 * @ops: The owner's callbacks.
 * @flags: GM_FILE_*, checked by the owner;
 *	GM_FILE_NO_DIRECT_MAP only if guest_memfd_can_hide().
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
	/* Memory that cannot be moved must be unevictable too. */
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
 * @inode: An inode with a struct guest_memfd, or one that never got to it.
 *
 * Hidden pages leave the file here, but are cleared and freed by a worker; until
 * then they stay hidden and charged.
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
