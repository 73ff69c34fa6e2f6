/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_GUEST_MEMFD_H
#define _LINUX_GUEST_MEMFD_H

/*
 * Guest memory as a file, for hypervisor drivers.  An owner embeds a struct
 * guest_memfd in its inode; the memory of a file created with
 * GM_FILE_NO_DIRECT_MAP is hidden: the kernel's direct map has no
 * entry for it, except while somebody holds a share of the page.
 */

#include <linux/bits.h>
#include <linux/fs.h>
#include <linux/maple_tree.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <uapi/linux/guest_memfd.h>

struct gm_left;
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

/**
 * struct guest_memfd - the memory of one file
 * @inode: The inode that this is embedded in.
 * @ops: The owner's callbacks.
 * @flags: GM_FILE_* the file was created with, fixed from then on.
 * @policy: NUMA policy, set by mbind() on a mapping of the file.
 * @blocks: The library's: what it knows of each block of the file.
 * @levels: The library's: access levels that are not the file's first one.
 * @block_order: The library's: order of the blocks, 0 for single pages.
 * @left: The library's: counts pages that left the file and are still referenced.
 * @put_queue: The library's: for the lazy last put of the pages, or NULL.
 */
struct guest_memfd {
	struct inode *inode;
	const struct guest_memfd_operations *ops;
	u64 flags;
	struct shared_policy policy;
	struct xarray blocks;
	struct maple_tree levels;
	unsigned int block_order;
	struct gm_left *left;
	struct guest_memfd_put_queue *put_queue;
};

#ifdef CONFIG_GUEST_MEMFD

/* The modules that own guest memory. */
#define GUEST_MEMFD_OWNERS "kvm,test_guest_memfd"

/* Of the state word in folio->private; the rest is in mm/guest_memfd/. */
#define GUEST_MEMFD_PAGE_MASK		GENMASK(63, 48)
#define GUEST_MEMFD_PAGE_MAGIC		(0x6d67UL << 48)
/* The kernel may pin the page: its range is at the level for that. */
#define GUEST_MEMFD_PAGE_PINNABLE	BIT(1)

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

struct folio *guest_memfd_grab_folio(struct guest_memfd *gm, pgoff_t index);
struct folio *guest_memfd_get_folio(struct guest_memfd *gm, pgoff_t index);
void *guest_memfd_map_local(struct folio *folio);
void guest_memfd_unmap_local(struct folio *folio, void *vaddr);
unsigned int guest_memfd_max_order(struct guest_memfd *gm, pgoff_t index);
int guest_memfd_get_direct_map(struct folio *folio);
void guest_memfd_put_direct_map(struct folio *folio);
struct guest_memfd_put_queue *guest_memfd_put_queue_alloc(void);
void guest_memfd_put_queue_free(struct guest_memfd_put_queue *queue);
void guest_memfd_set_put_queue(struct guest_memfd *gm,
			       struct guest_memfd_put_queue *queue);

unsigned int guest_memfd_access_level(struct guest_memfd *gm, pgoff_t index);
int guest_memfd_set_access(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			   unsigned int level, pgoff_t *error_index);
void guest_memfd_punch_hole(struct guest_memfd *gm, pgoff_t start, pgoff_t end);

int guest_memfd_mmap(struct file *file, struct vm_area_struct *vma);
long guest_memfd_fallocate(struct file *file, int mode, loff_t offset,
			   loff_t len);
long guest_memfd_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
void guest_memfd_show_fdinfo(struct seq_file *m, struct file *file);

bool guest_memfd_can_hide(void);
bool guest_memfd_active(void);
bool guest_memfd_hidden_mapping(const struct address_space *mapping);
bool vma_is_guest_memfd_hidden(const struct vm_area_struct *vma);
void guest_memfd_memory_failure(struct folio *folio);

/**
 * guest_memfd_folio_owned - is this a folio of a NO_DIRECT_MAP file?
 * @folio: Any folio; a reference keeps the answer true.
 *
 * Also true of a folio that has left its file and was not given back yet.  No
 * other user of folio->private writes such a word: it is no kernel address.
 *
 * Return: True for such a folio.
 */
static inline bool guest_memfd_folio_owned(const struct folio *folio)
{
	unsigned long state = (unsigned long)READ_ONCE(folio->private);

	return (state & GUEST_MEMFD_PAGE_MASK) == GUEST_MEMFD_PAGE_MAGIC;
}

/**
 * guest_memfd_gup_allowed - may get_user_pages() hand out this folio?
 * @folio: A folio found in a user page table, with a reference held (GUP-fast)
 *	or under the page table lock.
 *
 * The answer is per page and needs no mapping.  It holds as long as the reference
 * for a page that is still in the user page table afterwards, as GUP-fast makes
 * sure: a page that was there is given back only when its reference count could
 * be frozen.
 *
 * Return: False when the kernel must not touch the page.
 */
static inline bool guest_memfd_gup_allowed(const struct folio *folio)
{
	unsigned long state = (unsigned long)READ_ONCE(folio->private);

	return (state & GUEST_MEMFD_PAGE_MASK) != GUEST_MEMFD_PAGE_MAGIC ||
	       (state & GUEST_MEMFD_PAGE_PINNABLE);
}

#else /* !CONFIG_GUEST_MEMFD */

static inline bool guest_memfd_can_hide(void)
{
	return false;
}

static inline bool guest_memfd_active(void)
{
	return false;
}

static inline bool
guest_memfd_hidden_mapping(const struct address_space *mapping)
{
	return false;
}

static inline bool vma_is_guest_memfd_hidden(const struct vm_area_struct *vma)
{
	return false;
}

static inline bool guest_memfd_folio_owned(const struct folio *folio)
{
	return false;
}

static inline bool guest_memfd_gup_allowed(const struct folio *folio)
{
	return true;
}

static inline void guest_memfd_memory_failure(struct folio *folio)
{
}

static inline void guest_memfd_put_direct_map(struct folio *folio)
{
}

#endif /* CONFIG_GUEST_MEMFD */

#endif /* _LINUX_GUEST_MEMFD_H */
