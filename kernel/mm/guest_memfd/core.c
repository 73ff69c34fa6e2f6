// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory object: a file whose pages are a guest's memory.
 *
 * A page of a NO_DIRECT_MAP file is hidden before it enters the file (alloc.c), and
 * restored after it has left and has been cleared (scrub.c).  In between only
 * a direct-map reference makes it visible to the kernel.
 */

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/guest_memfd.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/temp_map.h>
#include <linux/userfaultfd_k.h>
#include <linux/wait_bit.h>

#include <trace/events/guest_memfd.h>

#include "../internal.h"
#include "access.h"
#include "block.h"
#include "direct_map.h"
#include "page_state.h"
#include "pool.h"
#include "reference.h"
#include "scrub.h"
#include "teardown.h"

/* Files that may hold hidden memory. */
static atomic_t nr_hidden_files;

static struct guest_memfd *mapping_gm(const struct address_space *mapping)
{
	return mapping->host->i_private;
}

/**
 * guest_memfd_can_hide - can GM_FILE_NO_DIRECT_MAP be offered?
 *
 * Context: Any.
 * Return: True if the architecture keeps what the flag promises and this
 * machine's direct map can be changed page by page.
 */
bool guest_memfd_can_hide(void)
{
	return IS_ENABLED(CONFIG_GUEST_MEMFD_NO_DIRECT_MAP) &&
	       direct_map_can_hide() && guest_memfd_block_ready();
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
 * Return: 0; -ESTALE when the folio has left its file; -EOVERFLOW; -ENOMEM.
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
		guest_memfd_block_release(folio);
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
 * Return: A locked folio with a reference for the caller, or an ERR_PTR().
 */
struct folio *guest_memfd_grab_folio(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio;
	int err;

	if (gm_hides(gm))
		lockdep_assert_held(&gm->inode->i_mapping->invalidate_lock);
	do {
		/* The usual case, and the cheap one: no policy lookup. */
		folio = filemap_lock_folio(gm->inode->i_mapping, index);
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
 */
static bool check_access(unsigned int offset, unsigned int len)
{
	return !WARN_ON_ONCE(offset > PAGE_SIZE || len > PAGE_SIZE - offset);
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
 * Return: 0, or -EFAULT if the memory has an uncorrectable error.
 */
int guest_memfd_read_page(struct page *page, unsigned int offset, void *buf,
			  unsigned int len)
{
	unsigned long left;
	void *vaddr;

	if (!check_access(offset, len))
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
 * Return: 0, or -EFAULT if the memory has an uncorrectable error.
 */
int guest_memfd_write_page(struct page *page, unsigned int offset,
			   const void *buf, unsigned int len)
{
	unsigned long left;
	void *vaddr;

	if (!check_access(offset, len))
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
 * Return: 0; 1 if something else than @old was there; -EFAULT if the memory has
 * an uncorrectable error.
 */
int guest_memfd_cmpxchg_page(struct page *page, unsigned int offset,
			     void *old, const void *new, unsigned int size)
{
	void *vaddr;
	int ret;

	if (!check_access(offset, size))
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

/* The kernel's own default for fault_around_bytes. */
#define FAULT_AROUND_PAGES (65536UL / PAGE_SIZE)

/* Maps what is there of [start, end] and has the level of the page that faults. */
static vm_fault_t map_allowed(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	struct guest_memfd *gm = mapping_gm(vmf->vma->vm_file->f_mapping);
	pgoff_t first, last;

	if (!guest_memfd_access_run(gm, vmf->pgoff, &first, &last))
		return 0;
	/* A change of the level would have to unmap them again. */
	if (vmf->pgoff >= gm->change_start && vmf->pgoff < gm->change_end)
		return 0;
	return filemap_map_pages(vmf, max(start, first), min(end, last));
}

/*
 * The kernel maps the neighbours at a read fault, which is of no use for a file
 * that is written first.  Where the block is whole all of them are there.
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

	if (!gm_hides(mapping_gm(mapping)))
		return 0;
	/* No sleep here; the fault itself can wait for a change of levels. */
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
 * Faults on plain memory take no invalidate_lock: populations and changes of
 * level elsewhere in the file would stall them.
 *
 * Return: A locked folio of a range that the user may map, or an ERR_PTR();
 * NULL when only the invalidate_lock can tell.
 */
static struct folio *grab_plain_for_user(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio;

	/* Do not hold a reference while the level is being lowered. */
	if (!guest_memfd_access_user_allowed(gm, index))
		return NULL;
	folio = guest_memfd_grab_folio(gm, index);
	if (IS_ERR(folio) || guest_memfd_access_user_allowed(gm, index))
		return folio;
	folio_unlock(folio);
	folio_put(folio);
	return NULL;
}

/* The invalidate_lock keeps the page in the file, though its block may be split. */
static bool block_is_there(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio = xa_load(&gm->inode->i_mapping->i_pages, index);

	return folio && folio_test_large(folio);
}

static vm_fault_t guest_memfd_fault(struct vm_fault *vmf)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	struct guest_memfd *gm = mapping_gm(inode->i_mapping);
	struct folio *folio;
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

	guest_memfd_access_wait_unmap(gm, vmf->pgoff);
	/*
	 * A change of levels waits for this lock, and then for the folio lock,
	 * which is held until the page is mapped.
	 */
	filemap_invalidate_lock_shared(inode->i_mapping);
	if (!guest_memfd_access_level(gm, vmf->pgoff)) {
		folio = ERR_PTR(-EACCES);
		goto out;
	}
	/* It locks the folio itself. */
	if ((vmf->flags & FAULT_FLAG_WRITE) && block_is_there(gm, vmf->pgoff) &&
	    !uffd_disable_fault_around(vmf->vma))
		ret = map_around(vmf);
	if (ret) {
		filemap_invalidate_unlock_shared(inode->i_mapping);
		return ret;
	}
	folio = guest_memfd_grab_folio(gm, vmf->pgoff);
	if (IS_ERR(folio))
		goto out;

	clear_new(folio);
	vmf->page = folio_file_page(folio, vmf->pgoff);
out:
	filemap_invalidate_unlock_shared(inode->i_mapping);
	return IS_ERR(folio) ? vmf_error(PTR_ERR(folio)) : VM_FAULT_LOCKED;
}

#ifdef CONFIG_NUMA
static int guest_memfd_set_policy(struct vm_area_struct *vma,
				  struct mempolicy *policy)
{
	struct guest_memfd *gm = mapping_gm(vma->vm_file->f_mapping);

	return mpol_set_shared_policy(&gm->policy, vma, policy);
}

/* NULL, not the task's policy, says that mbind() has set none here. */
static struct mempolicy *guest_memfd_get_policy(struct vm_area_struct *vma,
						unsigned long addr,
						pgoff_t *ilx)
{
	struct guest_memfd *gm = mapping_gm(vma->vm_file->f_mapping);

	*ilx = gm->inode->i_ino;
	return mpol_shared_policy_lookup(&gm->policy,
					 linear_page_index(vma, addr));
}
#endif

static const struct vm_operations_struct guest_memfd_vm_ops = {
	.fault		= guest_memfd_fault,
	.map_pages	= guest_memfd_map_pages,
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
 * Return: 0, -ENODEV without GM_FILE_MMAP, or -EINVAL.
 */
int guest_memfd_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct guest_memfd *gm = mapping_gm(file->f_mapping);

	if (!(gm->flags & GM_FILE_MMAP))
		return -ENODEV;
	if (!(vma->vm_flags & VM_SHARED) || !(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;

	/* A core dump could not read hidden pages: do not let it try. */
	if (gm_hides(gm))
		vm_flags_set(vma, VM_DONTDUMP);
	vma->vm_ops = &guest_memfd_vm_ops;
	return 0;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_mmap, GUEST_MEMFD_OWNERS);

/*
 * A guest may be about to map a block as a whole because of a fault beside the
 * range: whole blocks are invalidated, so that it notices.
 */
static void invalidate_start(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	unsigned long nr = 1UL << gm->block_order;

	gm->ops->invalidate_start(gm, round_down(start, nr), round_up(end, nr));
}

static void invalidate_end(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	unsigned long nr = 1UL << gm->block_order;

	gm->ops->invalidate_end(gm, round_down(start, nr), round_up(end, nr));
}

/*
 * Holes and populations of plain files release the invalidate_lock after this
 * many pages, which is as many as a block of 2 MiB has.
 */
#define PAGES_PER_STEP 512

/*
 * Return: The end of the first step of a hole.  At most PAGES_PER_STEP pages
 * are in the file before it.
 */
static pgoff_t step_end(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	XA_STATE(xas, &gm->inode->i_mapping->i_pages, start);
	struct folio *folio;
	pgoff_t nr = 0;

	lockdep_assert_held_write(&gm->inode->i_mapping->invalidate_lock);
	guard(rcu)();
	xas_for_each(&xas, folio, end - 1) {
		if (xas_retry(&xas, folio))
			continue;
		if (nr && nr + folio_nr_pages(folio) > PAGES_PER_STEP)
			return folio->index;
		nr += folio_nr_pages(folio);
	}
	return end;
}

/* Does a block have pages on both sides of @index? */
static bool is_in_block(struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio;

	lockdep_assert_held_write(&gm->inode->i_mapping->invalidate_lock);
	folio = xa_load(&gm->inode->i_mapping->i_pages, index);
	return folio && folio_test_large(folio) && folio->index < index;
}

/*
 * Return: The index up to which [@start, @end) is punched; @start if a block is to be
 * split first.
 */
static pgoff_t punch_step(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = gm->inode->i_mapping;

	/* The lock also keeps the owner's bindings the same from start to end. */
	filemap_invalidate_lock(mapping);
	end = step_end(gm, start, end);
	/*
	 * A fault may have populated it after split_for_hole() found nothing to split.
	 * Truncation would remove it whole.
	 */
	if (is_in_block(gm, start) || is_in_block(gm, end)) {
		filemap_invalidate_unlock(mapping);
		return start;
	}
	invalidate_start(gm, start, end);
	/* Truncation would do it folio by folio. */
	unmap_mapping_pages(mapping, start, end - start, false);
	if (gm_hides(gm)) {
		guest_memfd_access_take_back(gm, start, end);
		gm_references_drain(gm, start, end);
		gm_references_leave(gm, start, end);
		gm_untag_range(mapping, start, end);
	}
	truncate_inode_pages_range(mapping, (loff_t)start << PAGE_SHIFT,
				   ((loff_t)end << PAGE_SHIFT) - 1);
	/* References that were put lazily since the first drain. */
	if (gm_hides(gm))
		gm_references_drain(gm, start, end);
	invalidate_end(gm, start, end);
	filemap_invalidate_unlock(mapping);
	return end;
}

/*
 * Clear pages of a block that cannot be split, as a device has pinned it for instance.  They
 * stay in the file.
 */
static void clear_in_place(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = gm->inode->i_mapping;
	struct folio *folio;
	pgoff_t index;

	filemap_invalidate_lock(mapping);
	invalidate_start(gm, start, end);
	unmap_mapping_pages(mapping, start, end - start, false);
	for (index = start; index < end; index++) {
		folio = xa_load(&mapping->i_pages, index);
		if (folio && !PageHWPoison(folio_file_page(folio, index)))
			direct_map_zero_hidden(folio_file_page(folio, index));
	}
	invalidate_end(gm, start, end);
	filemap_invalidate_unlock(mapping);
}

/* A split waits so often for short references, up to a millisecond each time. */
#define SPLIT_SLEEPS	100

/*
 * A part of a block cannot leave the file: split the blocks at both ends of a hole.  Where
 * that is impossible the part is cleared, and the hole ends before it.
 */
static void split_for_hole(struct guest_memfd *gm, pgoff_t *start, pgoff_t *end)
{
	pgoff_t part = min(*end, round_up(*start, GM_BLOCK_PAGES));
	unsigned int sleeps = SPLIT_SLEEPS;

	if (guest_memfd_access_split(gm, *start, &sleeps)) {
		clear_in_place(gm, *start, part);
		*start = part;
	}
	part = max(*start, round_down(*end, GM_BLOCK_PAGES));
	if (part < *end && guest_memfd_access_split(gm, *end, &sleeps)) {
		clear_in_place(gm, part, *end);
		*end = part;
	}
}

/**
 * guest_memfd_punch_hole - take a range of memory away from everybody
 * @gm: The file's memory.
 * @start: First index of the range, in pages.
 * @end: Index after the range, above @start.
 *
 * The guests lose it, and what was in it is lost.  The next access to the range
 * gets new pages, cleared, at the access level that the range has.  A hidden
 * page is cleared before the kernel sees it again; one of a plain file as any
 * other page that is freed.  The range is punched in steps: a concurrent fault
 * may populate a part that is punched already while the rest still has its
 * pages.
 *
 * Context: May sleep; takes gm->change_lock and the invalidate_lock.  Cannot
 * fail.
 */
void guest_memfd_punch_hole(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	while (start < end) {
		/* A change of levels relies on pages that stay in the file. */
		scoped_guard(mutex, &gm->change_lock) {
			if (gm_hides(gm))
				split_for_hole(gm, &start, &end);
			if (start < end)
				start = punch_step(gm, start, end);
		}
		if (gm_hides(gm))
			guest_memfd_block_reap(gm);
		cond_resched();
	}
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_punch_hole, GUEST_MEMFD_OWNERS);

/*
 * Put the pages of a plain file into [@start, @end).
 *
 * Return: 0, or a negative error code.
 */
static int populate_plain(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = gm->inode->i_mapping;
	struct folio *folio;
	int err = 0;

	filemap_invalidate_lock_shared(mapping);
	while (start < end) {
		folio = guest_memfd_grab_folio(gm, start);
		if (IS_ERR(folio)) {
			err = PTR_ERR(folio);
			break;
		}
		start = folio_next_index(folio);
		folio_unlock(folio);
		folio_put(folio);
	}
	filemap_invalidate_unlock_shared(mapping);
	return err;
}

/*
 * The invalidate_lock is released between steps: a writer that waits for it
 * blocks every fault on hidden memory.
 */
static long populate(struct guest_memfd *gm, loff_t offset, loff_t len)
{
	pgoff_t next, index = offset >> PAGE_SHIFT;
	pgoff_t end = (offset + len) >> PAGE_SHIFT;
	long ret;

	for (; index < end; index = next) {
		if (signal_pending(current))
			return -EINTR;
		if (gm_hides(gm)) {
			/* By blocks, and past what is there then. */
			ret = guest_memfd_block_populate_range(gm, index, end);
			if (ret)
				return ret;
			next = min(index + PAGES_PER_STEP, end);
			scoped_guard(rcu)
				next = page_cache_next_miss(gm->inode->i_mapping,
							    index, next - index);
			next = clamp(next, index + 1, end);
		} else {
			next = min(index + PAGES_PER_STEP, end);
			ret = populate_plain(gm, index, next);
			if (ret)
				return ret;
		}
		cond_resched();
	}
	return 0;
}

/**
 * guest_memfd_fallocate - the fallocate file operation of an owner's file
 * @file: The file.
 * @mode: FALLOC_FL_KEEP_SIZE to populate, with FALLOC_FL_PUNCH_HOLE to free.
 * @offset: Start of the range in bytes, page-aligned.
 * @len: Length of the range in bytes, page-aligned.
 *
 * Return: 0; -EOPNOTSUPP for another mode; -EINVAL for a range that is not
 * aligned or, when populating, not inside the file; -EINTR or -ENOMEM with a
 * part of the range populated.
 */
long guest_memfd_fallocate(struct file *file, int mode, loff_t offset,
			   loff_t len)
{
	struct guest_memfd *gm = mapping_gm(file->f_mapping);
	long ret = 0;

	if (mode != FALLOC_FL_KEEP_SIZE &&
	    mode != (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		return -EOPNOTSUPP;
	if (!PAGE_ALIGNED(offset) || !PAGE_ALIGNED(len))
		return -EINVAL;

	if (mode & FALLOC_FL_PUNCH_HOLE)
		guest_memfd_punch_hole(gm, offset >> PAGE_SHIFT,
				       (offset + len) >> PAGE_SHIFT);
	else if (offset + len > i_size_read(gm->inode))
		ret = -EINVAL;
	else
		ret = populate(gm, offset, len);

	if (!ret)
		file_modified(file);
	return ret;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_fallocate, GUEST_MEMFD_OWNERS);

static bool access_valid(struct guest_memfd *gm,
			 const struct guest_memfd_access *access)
{
	u64 end;

	if (access->flags || !mem_is_zero(access->reserved, sizeof(access->reserved)))
		return false;
	return PAGE_ALIGNED(access->offset) && PAGE_ALIGNED(access->size) &&
	       access->size &&
	       !check_add_overflow(access->offset, access->size, &end) &&
	       end <= i_size_read(gm->inode);
}

static bool level_valid(struct guest_memfd *gm, unsigned int level)
{
	/* Without a mapping there is nothing at USER. */
	if (level == GUEST_MEMFD_ACCESS_USER)
		return gm->flags & GM_FILE_MMAP;
	return level == GUEST_MEMFD_ACCESS_NONE ||
	       level == GUEST_MEMFD_ACCESS_KERNEL;
}

static int ioctl_set_access(struct guest_memfd *gm,
			    struct guest_memfd_access __user *arg)
{
	struct guest_memfd_access access;
	pgoff_t error_index;
	int err;

	if (copy_from_user(&access, arg, sizeof(access)))
		return -EFAULT;
	if (!access_valid(gm, &access) || !level_valid(gm, access.level))
		return -EINVAL;

	err = guest_memfd_access_change(gm, access.offset >> PAGE_SHIFT,
					(access.offset + access.size) >> PAGE_SHIFT,
					access.level, true, &error_index);
	if ((err == -EAGAIN || err == -EHWPOISON) &&
	    put_user((u64)error_index << PAGE_SHIFT, &arg->error_offset))
		return -EFAULT;
	return err;
}

static int ioctl_get_access(struct guest_memfd *gm,
			    struct guest_memfd_access __user *arg)
{
	pgoff_t index, nr = i_size_read(gm->inode) >> PAGE_SHIFT;
	struct guest_memfd_access access;
	pgoff_t first, last;

	if (copy_from_user(&access, arg, sizeof(access)))
		return -EFAULT;
	access.size = PAGE_SIZE;
	if (!access_valid(gm, &access))
		return -EINVAL;

	index = access.offset >> PAGE_SHIFT;
	filemap_invalidate_lock_shared(gm->inode->i_mapping);
	access.level = guest_memfd_access_run(gm, index, &first, &last);
	filemap_invalidate_unlock_shared(gm->inode->i_mapping);
	access.size = (u64)(min(last, nr - 1) + 1 - index) << PAGE_SHIFT;
	return copy_to_user(arg, &access, sizeof(access)) ? -EFAULT : 0;
}

/**
 * guest_memfd_ioctl - the unlocked_ioctl file operation of an owner's file
 * @file: The file.
 * @cmd: GUEST_MEMFD_SET_ACCESS or GUEST_MEMFD_GET_ACCESS.
 * @arg: Address of a struct guest_memfd_access in user space.
 *
 * Return: 0; -ENOTTY for another command; -EFAULT; -EINVAL for what the structure
 * does not allow; what the owner's veto says; or as guest_memfd_set_access().
 */
long guest_memfd_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct guest_memfd *gm = mapping_gm(file->f_mapping);
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case GUEST_MEMFD_SET_ACCESS:
		return ioctl_set_access(gm, argp);
	case GUEST_MEMFD_GET_ACCESS:
		return ioctl_get_access(gm, argp);
	default:
		return -ENOTTY;
	}
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_ioctl, GUEST_MEMFD_OWNERS);

/**
 * guest_memfd_show_fdinfo - the show_fdinfo file operation of an owner's file
 * @m: Where to write; the text is ABI.
 * @file: The file.
 */
void guest_memfd_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct guest_memfd *gm = mapping_gm(file->f_mapping);
	unsigned long pages = READ_ONCE(file->f_mapping->nrpages);
	unsigned long referenced = READ_ONCE(gm->nr_referenced);
	pgoff_t index, last, ignored, nr = i_size_read(gm->inode) >> PAGE_SHIFT;
	unsigned long levels[GUEST_MEMFD_ACCESS_KERNEL + 1] = {};
	unsigned long nr_blocks = atomic_long_read(&gm->nr_blocks);
	bool hides = gm_hides(gm);

	/* Each run as it is when it is counted. */
	for (index = 0; index < nr; index = last + 1) {
		unsigned int level;

		level = guest_memfd_access_run(gm, index, &ignored, &last);
		last = min(last, nr - 1);
		levels[level] += last - index + 1;
		cond_resched();
	}
	/* A single page is a block of its own. */
	if (hides)
		nr_blocks += pages - min(pages, nr_blocks * GM_BLOCK_PAGES);

	seq_printf(m, "guest_memfd-size:\t%lld\n", i_size_read(gm->inode));
	seq_printf(m, "guest_memfd-flags:\t0x%llx\n", gm->flags);
	seq_printf(m, "guest_memfd-populated:\t%lu\n", pages);
	seq_printf(m, "guest_memfd-blocks:\t%lu\n", nr_blocks);
	/* A page that entered the file after @pages was read may be referenced. */
	seq_printf(m, "guest_memfd-hidden:\t%lu\n",
		   hides ? pages - min(pages, referenced) : 0);
	seq_printf(m, "guest_memfd-referenced:\t%lu\n", referenced);
	/* Counted above, and dropped unless they are taken over soon. */
	seq_printf(m, "guest_memfd-put-pending:\t%lu\n",
		   gm_references_pending(gm));
	/* In no other sum: these are not in the file any more. */
	seq_printf(m, "guest_memfd-left-referenced:\t%lu\n",
		   gm_references_left(gm));
	/* Of the file's pages, whether they are there or not. */
	seq_printf(m, "guest_memfd-level-none:\t%lu\n",
		   levels[GUEST_MEMFD_ACCESS_NONE]);
	seq_printf(m, "guest_memfd-level-user:\t%lu\n",
		   levels[GUEST_MEMFD_ACCESS_USER]);
	seq_printf(m, "guest_memfd-level-kernel:\t%lu\n",
		   levels[GUEST_MEMFD_ACCESS_KERNEL]);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_show_fdinfo, GUEST_MEMFD_OWNERS);

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

/*
 * memory_failure() knows a file by a page of it only.  An inode reference would
 * not keep the superblock, nor the module that owns the file, so eviction of
 * that one file waits instead.  The caller has locked a folio of the file:
 * truncation cannot finish before.
 *
 * Return: False when the file is being evicted.
 */
static bool get_file_user(struct guest_memfd *gm)
{
	return atomic_inc_not_zero(&gm->users);
}

/* The file may be freed as soon as the count is zero. */
static void put_file_user(struct guest_memfd *gm)
{
	if (atomic_dec_and_test(&gm->users))
		wake_up_var(&gm->users);
}

static void wait_for_file_users(struct guest_memfd *gm)
{
	if (!atomic_dec_and_test(&gm->users))
		wait_var_event(&gm->users, !atomic_read_acquire(&gm->users));
}

/* The folio of the page at @index is not locked. */
static void take_from_guests(struct guest_memfd *gm, pgoff_t index)
{
	struct address_space *mapping = gm->inode->i_mapping;

	/* Exclusively: the owner may be making a cache of a page valid. */
	filemap_invalidate_lock(mapping);
	invalidate_start(gm, index, index + 1);
	invalidate_end(gm, index, index + 1);
	filemap_invalidate_unlock(mapping);
}

/**
 * guest_memfd_error_folio - the error_remove_folio operation
 * @mapping: The mapping of a plain file.
 * @folio: A locked, poisoned folio in it, with a reference for the caller; it is
 *	unlocked in between.
 *
 * Takes the page away from the guests.  It stays in the file, so that the
 * next access finds the poison and the VMM decides what to do.
 *
 * Return: MF_DELAYED.
 */
int guest_memfd_error_folio(struct address_space *mapping, struct folio *folio)
{
	struct guest_memfd *gm = mapping_gm(mapping);

	if (!get_file_user(gm))
		return MF_DELAYED;
	/* Faults and truncation take these locks the other way round. */
	folio_unlock(folio);
	take_from_guests(gm, folio->index);
	put_file_user(gm);
	folio_lock(folio);
	return MF_DELAYED;
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_error_folio, GUEST_MEMFD_OWNERS);

/*
 * Split the block of a poisoned page, so that its other pages become ordinary single
 * ones.  Other references to the block, and a change of levels or a hole under way
 * in the file, can prevent that.  The wait is limited, as the caller's
 * mutex delays the memory failures of all other files.
 */
static void split_poisoned(struct guest_memfd *gm, struct page *page)
{
	struct address_space *mapping = gm->inode->i_mapping;
	unsigned int tries, none = 0;

	for (tries = 0; tries < SPLIT_SLEEPS; tries++) {
		int err = -EAGAIN;

		/* Only the holder of the lock splits blocks, and removes pages. */
		if (mutex_trylock(&gm->change_lock)) {
			struct folio *folio = page_folio(page);

			err = 0;
			if (folio_test_large(folio) && folio->mapping == mapping)
				err = guest_memfd_access_split(gm, folio->index + 1, &none);
			mutex_unlock(&gm->change_lock);
		}
		if (!err)
			return;
		usleep_range(500, 1000);
	}
}

/**
 * guest_memfd_memory_failure - take a poisoned page of a NO_DIRECT_MAP file out of use
 * @page: A page that is marked poisoned, with a reference for the caller.  Its folio
 *	is not locked: truncation takes the invalidate_lock before folio locks.
 *
 * User space and the guests lose the page.  If it is of a block, the block is split.  A
 * block that cannot be split is mapped page by page from then on, without this one.
 *
 * Context: May sleep, for 100 ms if other references to the block prevent the split.
 */
void guest_memfd_memory_failure(struct page *page)
{
	struct folio *folio = gm_lock_page(page);
	struct guest_memfd *gm;
	pgoff_t index;

	/* Before the block is unmapped, so that no fault maps it whole again. */
	if (folio_test_large(folio))
		gm_page_set_failed(page);
	/* Truncation waits for the folio: what is in a file now has its inode. */
	gm = folio->mapping ? mapping_gm(folio->mapping) : NULL;
	if (!gm || !get_file_user(gm)) {
		folio_unlock(folio);
		return;
	}
	index = folio->index + folio_page_idx(folio, page);
	if (folio_mapped(folio))
		unmap_mapping_folio(folio);
	folio_unlock(folio);
	take_from_guests(gm, index);
	split_poisoned(gm, page);
	put_file_user(gm);
}

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
	inode->i_private = gm;
	mapping->a_ops = aops;
	mapping_set_gfp_mask(mapping, GFP_HIGHUSER);
	mapping_set_inaccessible(mapping);
	/* Memory that cannot be moved must be unevictable too. */
	WARN_ON_ONCE(!mapping_unevictable(mapping));
	mpol_shared_policy_init(&gm->policy, NULL);
	atomic_long_set(&gm->nr_blocks, 0);
	INIT_LIST_HEAD(&gm->orphans);
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
	struct guest_memfd *gm = mapping_gm(mapping);
	bool hides = gm && gm_hides(gm);

	if (gm)
		wait_for_file_users(gm);

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
