/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_GUEST_MEMFD_H
#define _LINUX_GUEST_MEMFD_H

/*
 * Guest memory as a file, for hypervisor drivers.  An owner embeds a struct
 * guest_memfd in its inode; the memory of a file created with
 * GM_FILE_NO_DIRECT_MAP is hidden: the kernel's direct map has no entry for it,
 * except while the page has a direct-map reference.
 */

#include <linux/bits.h>
#include <linux/fs.h>
#include <linux/guest_memfd_mm.h>
#include <linux/maple_tree.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <uapi/linux/guest_memfd.h>

struct gm_left;
struct gm_limit;
struct guest_memfd;
struct guest_memfd_put_queue;
struct seq_file;

/*
 * Flags of a file, fixed when guest_memfd_init() creates it.  The owner checks
 * what its user space may ask for.  fdinfo shows these values, so they are ABI.
 */
/* User space may map the file. */
#define GM_FILE_MMAP		BIT(0)
/* The file starts at the highest level that keeps its memory hidden. */
#define GM_FILE_INIT_ACCESS	BIT(1)
/* The pages of the file are out of the direct map. */
#define GM_FILE_NO_DIRECT_MAP	BIT(2)

/**
 * struct guest_memfd_operations - what the library asks of a file's owner
 * @invalidate_start: Unmap [start, end) from every guest and from every cache
 *	of the owner, and keep new mappings out until @invalidate_end.  May
 *	sleep; the mapping's invalidate_lock is held alone.
 * @invalidate_end: Pairs with @invalidate_start, same range and same lock.
 * @may_set_access: Optional.  May user space change the level of [start, end) to
 *	@level?  Asked with the invalidate_lock held alone, before anything is
 *	changed; the change can still fail.  Not asked of what the owner does
 *	itself by guest_memfd_set_access().  Return: 0, or an error that the
 *	user gets.
 */
struct guest_memfd_operations {
	void (*invalidate_start)(struct guest_memfd *gm, pgoff_t start,
				 pgoff_t end);
	void (*invalidate_end)(struct guest_memfd *gm, pgoff_t start,
			       pgoff_t end);
	int (*may_set_access)(struct guest_memfd *gm, pgoff_t start,
			      pgoff_t end, unsigned int level);
};

#define GM_POPULATE_LOCKS	8

/**
 * struct guest_memfd - the memory of one file
 * @inode: The inode that this is embedded in.
 * @ops: The owner's callbacks.
 * @flags: GM_FILE_* the file was created with, fixed from then on.
 * @policy: NUMA policy, set by mbind() on a mapping of the file.
 * @nr_blocks: The library's: large folios in the file.
 * @orphans: The library's: folios that have left the file and are not cleared yet, by
 *	folio->lru.
 * @levels: The library's: access levels that are not the file's first one.
 * @block_order: The library's: order of the blocks, 0 for single pages.
 * @populate_locks: By the block, hashed: tasks that want the same block wait for the first
 *	of them, and need no memory then.  Taken under the invalidate_lock, and
 *	folio locks under it.
 * @change_lock: Serialises changes of levels and holes.  Taken before the
 *	invalidate_lock, never under the mmap_lock.
 * @change_start: First index of the range whose level is being changed to or from
 *	KERNEL, or in a plain file to NONE; written with the invalidate_lock held
 *	exclusively.
 * @change_end: Index after that range, 0 when there is none; written likewise.
 * @change_raises: The change is one to KERNEL; written likewise.
 * @unmap_lock: A change holds it exclusively while it unmaps and lowers a few
 *	pages; it is taken under @change_lock, and for plain files also under the
 *	invalidate_lock.  A user fault on these pages waits for it and releases it
 *	before it takes another lock of the file.
 * @unmap_start: First index of these pages; written under @unmap_lock.
 * @unmap_end: Index after them, 0 when there are none; written likewise.
 * @nr_referenced: The library's: pages in the file that have a direct-map
 *	reference; protected by the lock of the mapping's i_pages.
 * @users: The library's: one of the inode, and one of each memory_failure() that
 *	has found the file by a page of it; eviction waits for those.
 * @left: The library's: counts pages that left the file and are still referenced.
 * @put_queue: The library's: for the lazy last put of the pages, or NULL.
 * @nr_donated: The library's: pages of the file that a guest has for itself; protected by
 *	the lock of the mapping's i_pages.
 * @nr_shared: The library's: those that a guest has, and shares with the host; likewise.
 * @nr_holes: The library's: holes that are being punched.  No page of the file is donated
 *	meanwhile.  Incremented with the invalidate_lock held exclusively.
 * @limit: What the pages are reserved against (mm/guest_memfd/limit.c), or NULL.  Set
 *	between guest_memfd_init() and the first page.
 */
struct guest_memfd {
	struct inode *inode;
	const struct guest_memfd_operations *ops;
	u64 flags;
	struct shared_policy policy;
	atomic_long_t nr_blocks;
	struct list_head orphans;
	struct maple_tree levels;
	unsigned int block_order;
	struct mutex populate_locks[GM_POPULATE_LOCKS]; /* Of tasks that want the same block. */
	struct mutex change_lock; /* Serialises changes of levels and holes. */
	pgoff_t change_start, change_end;
	bool change_raises;
	struct rw_semaphore unmap_lock; /* Held while user faults wait. */
	pgoff_t unmap_start, unmap_end;
	unsigned long nr_referenced;
	atomic_t users;
	struct gm_left *left;
	struct guest_memfd_put_queue *put_queue;
	struct gm_limit *limit;
#ifdef CONFIG_GUEST_MEMFD_DONATE
	unsigned long nr_donated;
	unsigned long nr_shared;
	atomic_t nr_holes;
#endif
};

#ifdef CONFIG_GUEST_MEMFD

/* The modules that own guest memory; a test module only where it is built. */
#if IS_MODULE(CONFIG_TEST_GUEST_MEMFD)
#define GUEST_MEMFD_OWNERS "kvm,test_guest_memfd"
#else
#define GUEST_MEMFD_OWNERS "kvm"
#endif

struct inode *guest_memfd_new_inode(struct super_block *sb, const char *name,
				    loff_t size);
void guest_memfd_init(struct guest_memfd *gm, struct inode *inode,
		      const struct address_space_operations *aops,
		      const struct guest_memfd_operations *ops, u64 flags);
void guest_memfd_evict_inode(struct inode *inode);

/* For the owner's address_space_operations. */
int guest_memfd_migrate_folio(struct address_space *mapping, struct folio *dst,
			      struct folio *src, enum migrate_mode mode);
int guest_memfd_error_folio(struct address_space *mapping, struct folio *folio);
void guest_memfd_free_folio(struct folio *folio);

/**
 * guest_memfd_fault_lock - keep levels stable while a guest's fault inserts a page
 * @gm: The file's memory.
 *
 * A new page of a NO_DIRECT_MAP file gets the state that the level of its range
 * demands.  The pages of a plain file have no state, so a guest's fault on one
 * takes no lock.
 *
 * Context: May sleep; takes the invalidate_lock of a NO_DIRECT_MAP file.
 */
static inline void guest_memfd_fault_lock(struct guest_memfd *gm)
{
	if (gm->flags & GM_FILE_NO_DIRECT_MAP)
		filemap_invalidate_lock_shared(gm->inode->i_mapping);
}

/**
 * guest_memfd_fault_unlock - undo guest_memfd_fault_lock()
 * @gm: The file's memory.
 */
static inline void guest_memfd_fault_unlock(struct guest_memfd *gm)
{
	if (gm->flags & GM_FILE_NO_DIRECT_MAP)
		filemap_invalidate_unlock_shared(gm->inode->i_mapping);
}

struct folio *guest_memfd_grab_folio(struct guest_memfd *gm, pgoff_t index);
struct page *guest_memfd_get_page(struct guest_memfd *gm, pgoff_t index);
int guest_memfd_read_page(struct page *page, unsigned int offset, void *buf,
			  unsigned int len);
int guest_memfd_write_page(struct page *page, unsigned int offset,
			   const void *buf, unsigned int len);
int guest_memfd_cmpxchg_page(struct page *page, unsigned int offset,
			     void *old, const void *new, unsigned int size);
unsigned int guest_memfd_max_order(struct guest_memfd *gm, pgoff_t index);
int guest_memfd_get_direct_map(struct page *page);
int guest_memfd_get_direct_map_user(struct page *page);
void guest_memfd_put_direct_map(struct page *page);
struct guest_memfd_put_queue *guest_memfd_put_queue_alloc(void);
void guest_memfd_put_queue_free(struct guest_memfd_put_queue *queue);
void guest_memfd_set_put_queue(struct guest_memfd *gm,
			       struct guest_memfd_put_queue *queue);

unsigned int guest_memfd_access_level(struct guest_memfd *gm, pgoff_t index);
int guest_memfd_set_access(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			   unsigned int level, pgoff_t *error_index);
int guest_memfd_punch_hole(struct guest_memfd *gm, pgoff_t start, pgoff_t end);

#ifdef CONFIG_GUEST_MEMFD_DONATE
int guest_memfd_donate(struct page *page);
int guest_memfd_guest_request(struct guest_memfd *gm, pgoff_t index, bool share,
			      int (*commit)(void *arg), void *arg);
bool guest_memfd_is_shared(struct guest_memfd *gm, pgoff_t index);
void guest_memfd_undo_donation(struct page *page);
bool guest_memfd_end_donation(struct page *page);
#endif

int guest_memfd_mmap(struct file *file, struct vm_area_struct *vma);
long guest_memfd_fallocate(struct file *file, int mode, loff_t offset,
			   loff_t len);
long guest_memfd_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
void guest_memfd_show_fdinfo(struct seq_file *m, struct file *file);

bool guest_memfd_can_hide(void);

/**
 * guest_memfd_user_disabled - is a page at GUEST_MEMFD_ACCESS_NONE?
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 *
 * A file whose levels never changed is decided without a walk of the tree.
 *
 * Context: Any.  The answer stays true while the invalidate_lock is held.
 * Return: True when user space and KVM's user-address accesses cannot use it.
 */
static inline bool guest_memfd_user_disabled(struct guest_memfd *gm,
					     pgoff_t index)
{
	if (!rcu_access_pointer(gm->levels.ma_root))
		return !(gm->flags & GM_FILE_INIT_ACCESS);
	return guest_memfd_access_level(gm, index) == GUEST_MEMFD_ACCESS_NONE;
}

#else /* !CONFIG_GUEST_MEMFD */

static inline bool guest_memfd_can_hide(void)
{
	return false;
}

static inline void guest_memfd_put_direct_map(struct page *page)
{
}

#endif /* CONFIG_GUEST_MEMFD */

#endif /* _LINUX_GUEST_MEMFD_H */
