// SPDX-License-Identifier: GPL-2.0-only
/* ioctls on a file for access levels, and the statistics in fdinfo. */

#include <linux/fs.h>
#include <linux/guest_memfd.h>
#include <linux/pagemap.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "access.h"
#include "file.h"
#include "page_state.h"
#include "reference.h"

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
	/* A file that cannot be mapped has no level USER. */
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
					access.level, true, NULL, &error_index);
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
 * Context: May sleep.
 * Return: 0; -ENOTTY for another command; -EFAULT; -EINVAL if a field of the
 * structure is invalid; the error of the owner's may_set_access(); or an error
 * of guest_memfd_set_access().
 */
long guest_memfd_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct guest_memfd *gm = gm_of_mapping(file->f_mapping);
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
 * @m: The seq_file to write to.  The text is ABI.
 * @file: The file.
 *
 * Context: May sleep.
 */
void guest_memfd_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct guest_memfd *gm = gm_of_mapping(file->f_mapping);
	unsigned long pages = READ_ONCE(file->f_mapping->nrpages);
	unsigned long referenced = READ_ONCE(gm->nr_referenced);
	pgoff_t index, last, ignored, nr = i_size_read(gm->inode) >> PAGE_SHIFT;
	unsigned long levels[GUEST_MEMFD_ACCESS_KERNEL + 1] = {};
	unsigned long nr_blocks = atomic_long_read(&gm->nr_blocks);
	bool hides = gm_hides(gm);

	/*
	 * Read each run without a lock: the sums can mix levels from before and
	 * after a concurrent change.
	 */
	for (index = 0; index < nr; index = last + 1) {
		unsigned int level;

		level = guest_memfd_access_run(gm, index, &ignored, &last);
		last = min(last, nr - 1);
		levels[level] += last - index + 1;
		cond_resched();
	}
	/* fdinfo counts a single page as a block. */
	if (hides)
		nr_blocks += pages - min(pages, nr_blocks * GM_BLOCK_PAGES);

	seq_printf(m, "guest_memfd-size:\t%lld\n", i_size_read(gm->inode));
	seq_printf(m, "guest_memfd-flags:\t0x%llx\n", gm->flags);
	seq_printf(m, "guest_memfd-populated:\t%lu\n", pages);
	seq_printf(m, "guest_memfd-blocks:\t%lu\n", nr_blocks);
	/*
	 * A page that was inserted into the file after @pages was read may be
	 * included in @referenced.
	 */
	seq_printf(m, "guest_memfd-hidden:\t%lu\n",
		   hides ? pages - min(pages, referenced) : 0);
	seq_printf(m, "guest_memfd-referenced:\t%lu\n", referenced);
	/*
	 * These pages are included in guest_memfd-referenced, and will be
	 * hidden soon unless a get takes back the reference.
	 */
	seq_printf(m, "guest_memfd-put-pending:\t%lu\n",
		   gm_references_pending(gm));
	/*
	 * These pages are in no other number, because they are not in the file.
	 */
	seq_printf(m, "guest_memfd-left-referenced:\t%lu\n",
		   gm_references_left(gm));
#ifdef CONFIG_GUEST_MEMFD_DONATE
	seq_printf(m, "guest_memfd-donated:\t%lu\n", READ_ONCE(gm->nr_donated));
	seq_printf(m, "guest_memfd-shared:\t%lu\n", READ_ONCE(gm->nr_shared));
#endif
	/* These numbers include pages of the file that are not populated. */
	seq_printf(m, "guest_memfd-level-none:\t%lu\n",
		   levels[GUEST_MEMFD_ACCESS_NONE]);
	seq_printf(m, "guest_memfd-level-user:\t%lu\n",
		   levels[GUEST_MEMFD_ACCESS_USER]);
	seq_printf(m, "guest_memfd-level-kernel:\t%lu\n",
		   levels[GUEST_MEMFD_ACCESS_KERNEL]);
}
EXPORT_SYMBOL_FOR_MODULES(guest_memfd_show_fdinfo, GUEST_MEMFD_OWNERS);
