// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings of a file in user space.
 *
 * A fault maps what the level of the range permits, and a whole block at once.
 */

#include <linux/guest_memfd.h>
#include <linux/file.h>
#include <linux/highmem.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/userfaultfd_k.h>

#include "../internal.h"
#include "access.h"
#include "file.h"
#include "limit.h"
#include "page_state.h"

/* The kernel's default for fault_around_bytes. */
#define FAULT_AROUND_PAGES (65536UL / PAGE_SIZE)

/*
 * Map the present pages of [start, end] that have the level of the page that
 * faults.
 */
static vm_fault_t map_allowed(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	struct guest_memfd *gm = gm_of_mapping(vmf->vma->vm_file->f_mapping);
	pgoff_t first, last;

	if (!guest_memfd_access_run(gm, vmf->pgoff, &first, &last))
		return 0;
	/* The change in progress would have to unmap the pages again. */
	if (vmf->pgoff >= gm->change_start && vmf->pgoff < gm->change_end)
		return 0;
	return filemap_map_pages(vmf, max(start, first), min(end, last));
}

/*
 * The kernel maps neighbouring pages at read faults only, which does not help a
 * file that is written first.  In a whole block all neighbouring pages are
 * present.
 */
static vm_fault_t map_around(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long start = vmf->address & ~(FAULT_AROUND_PAGES * PAGE_SIZE - 1);
	unsigned long end = start + FAULT_AROUND_PAGES * PAGE_SIZE;

	start = max(start, vma->vm_start);
	end = min(end, vma->vm_end);
	return map_allowed(vmf, linear_page_index(vma, start),
			   linear_page_index(vma, end) - 1);
}

static vm_fault_t guest_memfd_map_pages(struct vm_fault *vmf, pgoff_t start,
					pgoff_t end)
{
	struct address_space *mapping = vmf->vma->vm_file->f_mapping;
	vm_fault_t ret;

	/*
	 * Fault-around must not sleep.  The fault itself can wait for a change
	 * of levels.
	 */
	if (!filemap_invalidate_trylock_shared(mapping))
		return 0;
	ret = map_allowed(vmf, start, end);
	filemap_invalidate_unlock_shared(mapping);
	return ret;
}

static void clear_new(struct folio *folio)
{
	if (!folio_test_uptodate(folio)) {
		clear_highpage(folio_page(folio, 0));
		folio_mark_uptodate(folio);
	}
}

/*
 * Grab a page of a plain file for a user fault.  The fault takes no
 * invalidate_lock, because populations and changes of level elsewhere in the
 * file would delay it.
 *
 * Return: A locked folio of a range that user space may map, or an ERR_PTR();
 * NULL if the fault must read the level under the invalidate_lock.
 */
static struct folio *grab_plain_for_user(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio;

	/* Do not take a reference to a page that is being lowered. */
	if (!guest_memfd_access_user_allowed(gm, index))
		return NULL;
	folio = guest_memfd_grab_folio(gm, index);
	if (IS_ERR(folio) || guest_memfd_access_user_allowed(gm, index))
		return folio;
	folio_unlock(folio);
	folio_put(folio);
	return NULL;
}

/*
 * The invalidate_lock keeps the page in the file, but a concurrent split of its
 * block is possible.
 */
static bool block_is_there(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio = xa_load(&gm->inode->i_mapping->i_pages, index);

	return folio && folio_test_large(folio);
}

/*
 * As guest_memfd_grab_folio(), but charge what is allocated to the cgroup of
 * the VMA's mm, because KVM's worker and debuggers fault on behalf of other
 * processes.
 */
static struct folio *grab_for(struct vm_area_struct *vma, struct guest_memfd *gm,
			      pgoff_t index)
{
	struct mem_cgroup *memcg, *old;
	struct folio *folio;

	if (current->mm == vma->vm_mm)
		return guest_memfd_grab_folio(gm, index);
	memcg = get_mem_cgroup_from_mm(vma->vm_mm);
	old = set_active_memcg(memcg);
	folio = guest_memfd_grab_folio(gm, index);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	return folio;
}

/*
 * The limit of the file's mount has no room for @nr pages: wait.  If the fault
 * may be retried, release the fault lock first, because other tasks need it to
 * map memory meanwhile.
 *
 * Return: 0 if the caller must look again; otherwise the result of the fault,
 * and the caller must not use @vmf any more.
 */
static vm_fault_t wait_for_room(struct vm_fault *vmf, struct guest_memfd *gm,
				unsigned long nr)
{
	const bool again = vmf->flags & FAULT_FLAG_TRIED;
	unsigned int state = TASK_KILLABLE;
	struct file *file;
	int err;

	/*
	 * No reservation will end: fail instead of retrying, because KVM would
	 * repeat the retried fault forever.
	 */
	if (!gm_limit_could_have(gm->limit, 1))
		return VM_FAULT_SIGBUS;
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY)) {
		err = gm_limit_wait(gm->limit, nr, state);
		return err ? vmf_error(err) : 0;
	}
	/*
	 * KVM's worker faults on behalf of a process that may have been killed
	 * and whose memory other tasks wait for.  Fail, and the guest will
	 * fault again.
	 */
	if (current->flags & PF_KTHREAD && again)
		return VM_FAULT_SIGBUS;

	/*
	 * The kernel's own access continues after any signal but a fatal one.
	 */
	if (vmf->flags & FAULT_FLAG_INTERRUPTIBLE &&
	    !(again && !(vmf->flags & FAULT_FLAG_USER) && signal_pending(current)))
		state = TASK_INTERRUPTIBLE;
	file = get_file(vmf->vma->vm_file);
	release_fault_lock(vmf);
	gm_limit_wait(gm->limit, nr, state);
	fput(file);
	return VM_FAULT_RETRY;
}

static vm_fault_t guest_memfd_fault(struct vm_fault *vmf)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	struct guest_memfd *gm = gm_of_mapping(inode->i_mapping);
	struct folio *folio;
	struct page *page;
	vm_fault_t ret = 0;

	if (((loff_t)vmf->pgoff << PAGE_SHIFT) >= i_size_read(inode))
		return VM_FAULT_SIGBUS;

	folio = gm_hides(gm) ? NULL : grab_plain_for_user(gm, vmf->pgoff);
	if (IS_ERR(folio))
		return vmf_error(PTR_ERR(folio));
	if (folio) {
		clear_new(folio);
		vmf->page = folio_file_page(folio, vmf->pgoff);
		return VM_FAULT_LOCKED;
	}

again:
	guest_memfd_access_wait_unmap(gm, vmf->pgoff);
	/*
	 * A change of levels waits for this lock, and then for the folio lock,
	 * which this fault holds until it has mapped the page.
	 */
	filemap_invalidate_lock_shared(inode->i_mapping);
	if (!guest_memfd_access_level(gm, vmf->pgoff)) {
		folio = ERR_PTR(-EACCES);
		goto out;
	}
	/* map_around() locks the folio itself. */
	if ((vmf->flags & FAULT_FLAG_WRITE) && block_is_there(gm, vmf->pgoff) &&
	    !uffd_disable_fault_around(vmf->vma))
		ret = map_around(vmf);
	if (ret) {
		filemap_invalidate_unlock_shared(inode->i_mapping);
		return ret;
	}
	folio = grab_for(vmf->vma, gm, vmf->pgoff);
	if (IS_ERR(folio))
		goto out;

	page = folio_file_page(folio, vmf->pgoff);
	if (PageHWPoison(page)) {
		/*
		 * For VM_FAULT_LOCKED with a poisoned page the core would unmap
		 * the whole block and remove userfaultfd's markers.
		 */
		folio_unlock(folio);
		folio_put(folio);
		filemap_invalidate_unlock_shared(inode->i_mapping);
		return VM_FAULT_HWPOISON;
	}
	clear_new(folio);
	vmf->page = page;
out:
	filemap_invalidate_unlock_shared(inode->i_mapping);
	if (folio == ERR_PTR(-ENOSPC) || folio == ERR_PTR(-EAGAIN)) {
		ret = wait_for_room(vmf, gm,
				    folio == ERR_PTR(-EAGAIN) ? GM_BLOCK_PAGES : 1);
		if (ret)
			return ret;
		if (fatal_signal_pending(current))
			return VM_FAULT_SIGBUS;
		goto again;
	}
	return IS_ERR(folio) ? vmf_error(PTR_ERR(folio)) : VM_FAULT_LOCKED;
}

#ifdef CONFIG_NUMA
static int guest_memfd_set_policy(struct vm_area_struct *vma,
				  struct mempolicy *policy)
{
	struct guest_memfd *gm = gm_of_mapping(vma->vm_file->f_mapping);

	return mpol_set_shared_policy(&gm->policy, vma, policy);
}

/* Return NULL, not the task's policy, if mbind() has set no policy here. */
static struct mempolicy *guest_memfd_get_policy(struct vm_area_struct *vma,
						unsigned long addr,
						pgoff_t *ilx)
{
	struct guest_memfd *gm = gm_of_mapping(vma->vm_file->f_mapping);

	*ilx = gm->inode->i_ino;
	return mpol_shared_policy_lookup(&gm->policy,
					 linear_page_index(vma, addr));
}
#endif

#ifdef CONFIG_USERFAULTFD
/*
 * Support only write protection, whose state is in the page tables.  It does
 * not stop a guest that maps the file by its guest_memfd instead of by the user
 * address.
 */
static bool guest_memfd_can_userfault(struct vm_area_struct *vma, vm_flags_t flags)
{
	return !(flags & ~VM_UFFD_WP);
}

/*
 * UFFDIO_COPY calls this without checking the registered mode, and fails with
 * ENOMEM.
 */
static struct folio *guest_memfd_uffd_alloc(struct vm_area_struct *vma,
					    unsigned long addr)
{
	return NULL;
}

static const struct vm_uffd_ops guest_memfd_uffd_ops = {
	.can_userfault	= guest_memfd_can_userfault,
	.alloc_folio	= guest_memfd_uffd_alloc,
};
#endif

static const struct vm_operations_struct hidden_vm_ops = {
	.fault		= guest_memfd_fault,
	.map_pages	= guest_memfd_map_pages,
#ifdef CONFIG_NUMA
	.get_policy	= guest_memfd_get_policy,
	.set_policy	= guest_memfd_set_policy,
#endif
#ifdef CONFIG_USERFAULTFD
	.uffd_ops	= &guest_memfd_uffd_ops,
#endif
};

static const struct vm_operations_struct plain_vm_ops = {
	.fault		= guest_memfd_fault,
#ifdef CONFIG_NUMA
	.get_policy	= guest_memfd_get_policy,
	.set_policy	= guest_memfd_set_policy,
#endif
};

/**
 * guest_memfd_mmap - the mmap file operation of an owner's file
 * @file: The file.
 * @vma: The mapping to set up; must be shared.
 *
 * Return: 0; -ENODEV without GM_FILE_MMAP; or -EINVAL.
 */
int guest_memfd_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct guest_memfd *gm = gm_of_mapping(file->f_mapping);

	if (!(gm->flags & GM_FILE_MMAP))
		return -ENODEV;
	/*
	 * A shared mapping without VM_SHARED maps a file that was opened for
	 * reading only.
	 */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;

	/*
	 * A core dump cannot read hidden pages, so exclude the mapping from
	 * core dumps.
	 */
	if (gm_hides(gm))
		vm_flags_set(vma, VM_DONTDUMP);
	vma->vm_ops = gm_hides(gm) ? &hidden_vm_ops : &plain_vm_ops;
	return 0;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_mmap, GUEST_MEMFD_OWNERS);
