/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_GMEM_FILE_H__
#define __KVM_GMEM_FILE_H__

/*
 * The files and inodes of guest_memfd.c, which the gmem_*.c files use as well.
 */

#include <linux/fs.h>
#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/xarray.h>

/*
 * A guest_memfd instance can be associated multiple VMs, each with its own
 * "view" of the underlying physical memory.
 *
 * The gmem's inode is effectively the raw underlying physical storage, and is
 * used to track properties of the physical memory, while each gmem file is
 * effectively a single VM's view of that storage, and is used to track assets
 * specific to its associated VM, e.g. memslots=>gmem bindings.
 */
struct gmem_file {
	struct kvm *kvm;
	struct xarray bindings;
	struct list_head entry;
};

struct gmem_inode {
	struct guest_memfd gm;
	struct inode vfs_inode;
	struct list_head gmem_file_list;
	/*
	 * A page of the file may be at level NONE.  Protected by the
	 * invalidate_lock.
	 */
	bool may_disable_user;
};

static __always_inline struct gmem_inode *GMEM_I(struct inode *inode)
{
	return container_of(inode, struct gmem_inode, vfs_inode);
}

#define kvm_gmem_for_each_file(f, inode) \
	list_for_each_entry(f, &GMEM_I(inode)->gmem_file_list, entry)

/*
 * KVM can map a huge page only if gfn and index are aligned alike.  The library
 * aligns the pfn like the index.
 */
static inline int kvm_gmem_order(struct file *file,
				 const struct kvm_memory_slot *slot,
				 pgoff_t index)
{
	int order = guest_memfd_max_order(&GMEM_I(file_inode(file))->gm, index);

	if ((slot->base_gfn ^ slot->gmem.pgoff) & ((1UL << order) - 1))
		return 0;
	/* KVM has no guest mappings between PAGE_SIZE and PMD_SIZE. */
	return order < PMD_ORDER ? 0 : order;
}

struct folio *__kvm_gmem_get_pfn(struct file *file,
				 struct kvm_memory_slot *slot, pgoff_t index,
				 kvm_pfn_t *pfn, int *max_order);
void kvm_gmem_publish_levels(struct kvm *kvm, struct kvm_memory_slot *slot,
			     struct guest_memfd *gm);
bool kvm_gmem_flags_valid(struct kvm *kvm, u64 flags);
int kvm_gmem_may_set_access(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			    unsigned int level);

#endif /* __KVM_GMEM_FILE_H__ */
