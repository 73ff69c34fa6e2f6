/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_GUEST_MEMFD_H
#define _LINUX_GUEST_MEMFD_H

/*
 * Guest memory as a file, for hypervisor drivers.
 *
 * A hypervisor driver, called the owner here, embeds a struct guest_memfd in
 * its inode.  The library hides the memory of a file that was created with
 * GM_FILE_NO_DIRECT_MAP: the kernel's direct map has no entry for a page of it,
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
 * Flags of a file.  guest_memfd_init() stores them, and they do not change
 * afterwards.  The owner checks which of them its user space may ask for.
 * fdinfo shows these values, so they are ABI.
 */
/* User space may map the file. */
#define GM_FILE_MMAP		BIT(0)
/* The initial level: USER with GM_FILE_NO_DIRECT_MAP, else KERNEL.  Without the flag: NONE. */
#define GM_FILE_INIT_ACCESS	BIT(1)
/* The library hides the pages of the file. */
#define GM_FILE_NO_DIRECT_MAP	BIT(2)

/**
 * struct guest_memfd_operations - callbacks into the owner of a file
 * @invalidate_start: Unmap [start, end) from every guest and from every cache
 *	of the owner, and prevent new mappings of the range until
 *	@invalidate_end.  The callback may sleep.  The library holds the
 *	mapping's invalidate_lock exclusively.
 * @invalidate_end: Allow new mappings again.  The library calls it with the
 *	same range as @invalidate_start and under the same lock.
 * @may_set_access: Optional.  Decides whether user space may change the level
 *	of [start, end) to @level.  The library calls it with the
 *	invalidate_lock held exclusively, before it changes anything; the change
 *	can still fail afterwards.  The library does not call it when the owner
 *	itself changes a level by guest_memfd_set_access().  Return: 0, or an
 *	error that the ioctl returns to user space.
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
 * @inode: The inode that embeds this structure.
 * @ops: The owner's callbacks.
 * @flags: The GM_FILE_* flags that the file was created with; constant.
 * @policy: The NUMA policy that mbind() sets on a mapping of the file.
 * @nr_blocks: Private to the library: number of large folios in the file.
 * @orphans: Private to the library: list, by folio->lru, of folios that have
 *	been removed from the file and are not cleared yet.
 * @levels: Private to the library: access levels of the ranges that are not at
 *	the file's initial level.
 * @block_order: Private to the library: order of the blocks, 0 for single
 *	pages.
 * @populate_locks: Hashed by block.  Tasks that populate the same block
 *	serialise on its lock, so that the later ones find the pages that the
 *	first has inserted.  Taken under the invalidate_lock; folio locks nest
 *	inside.
 * @change_lock: Serialises changes of levels and hole punches.  Taken before
 *	the invalidate_lock and never under the mmap_lock.
 * @change_start: First index of the range whose level is being changed.  A
 *	change of a plain file to a level above NONE does not set it.  Written
 *	with the invalidate_lock held exclusively.
 * @change_end: Index after that range, or 0 when no change is in progress;
 *	written with the invalidate_lock held exclusively.
 * @change_raises: True if that change raises the range to KERNEL; written with
 *	the invalidate_lock held exclusively.
 * @unmap_lock: A change of level holds it exclusively while it unmaps and
 *	lowers a few pages, or splits a block.  Taken under @change_lock, and
 *	for plain files also under the invalidate_lock.  A user fault on one of
 *	these pages waits for it and releases it before it takes another lock of
 *	the file.
 * @unmap_start: First index of these pages; written under @unmap_lock.
 * @unmap_end: Index after them, or 0 when no page is being unmapped; written
 *	under @unmap_lock.
 * @nr_referenced: Private to the library: number of pages in the file that have
 *	a direct-map reference; protected by the lock of the mapping's i_pages.
 * @users: Private to the library: one for the inode, and one for each task that
 *	has found the file by one of its pages (memory_failure(), or KVM for a
 *	plain memslot).  Eviction of the inode waits for these tasks.
 * @left: Private to the library: counts pages that have been removed from the
 *	file while they still had direct-map references.
 * @put_queue: Private to the library: queue for lazy last puts of direct-map
 *	references, or NULL.
 * @nr_donated: Private to the library: number of pages of the file that are
 *	donated to a guest and that the guest does not share with the host;
 *	protected by the lock of the mapping's i_pages.
 * @nr_shared: Private to the library: number of pages that are donated to a
 *	guest and that the guest shares with the host; protected by the lock of
 *	the mapping's i_pages.
 * @nr_holes: Private to the library: number of hole punches in progress.  While
 *	it is not zero, no page of the file can be donated.  Incremented with
 *	the invalidate_lock held exclusively.
 * @limit: The limit that the pages are reserved against
 *	(mm/guest_memfd/limit.c), or NULL.  Set after guest_memfd_init() and
 *	before the first page is allocated.
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
	struct mutex populate_locks[GM_POPULATE_LOCKS]; /* Hashed by block. */
	struct mutex change_lock; /* Serialises level changes and holes. */
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

/* Modules that may call the library.  A test module only if it is built. */
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

/* Callbacks for the owner's address_space_operations. */
int guest_memfd_migrate_folio(struct address_space *mapping, struct folio *dst,
			      struct folio *src, enum migrate_mode mode);
int guest_memfd_error_folio(struct address_space *mapping, struct folio *folio);
void guest_memfd_free_folio(struct folio *folio);

/**
 * guest_memfd_fault_lock - keep levels stable during a guest fault
 * @gm: The file's memory.
 *
 * A guest fault that populates a NO_DIRECT_MAP file initialises the state of
 * the new page from the level of its range, so the level must not change
 * meanwhile.  The pages of a plain file have no state, so a guest fault on a
 * plain file takes no lock.
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
 *
 * Context: Any.
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
 * guest_memfd_user_disabled - is user access to a page disabled?
 * @gm: The file's memory.
 * @index: Index in the file, in pages.
 *
 * User access is disabled at level GUEST_MEMFD_ACCESS_NONE.  If no level of the
 * file has ever changed, the tree of levels is empty and the file's flags
 * decide, without a walk of the tree.
 *
 * Context: Any.  The result stays valid while the invalidate_lock is held.
 * Return: True if neither user space nor KVM can access the page by a user
 * address.
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
