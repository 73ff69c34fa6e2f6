// SPDX-License-Identifier: GPL-2.0-only
/*
 * An owner of guest_memfd files that is not KVM and needs no hardware: user
 * space drives its guests by ioctls on /dev/test_guest_memfd.
 *
 * It models a hypervisor such as pKVM or Gunyah.  At first the host shares all
 * memory with the guest and may use it (GUEST_MEMFD_ACCESS_KERNEL).  A guest
 * makes a range private by a hypercall.  The host has then lent the memory to
 * the guest: no process maps it, the direct map has no entry for it, and the
 * host cannot raise its level (GUEST_MEMFD_ACCESS_NONE).  The guest may share
 * the memory again.  When the guest is dead, the host reclaims the memory after
 * its contents were discarded.
 */

#include <linux/bitmap.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/guest_memfd.h>
#include <linux/highmem.h>
#include <linux/kref.h>
#include <linux/kvm.h>
#include <linux/magic.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/mutex.h>
#include <linux/pfn.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "test_guest_memfd.h"

#define MAX_SIZE	(1ULL << 40)

/**
 * struct test_guest - a guest
 * @refs: One for its device file, one for each file of its memory.
 * @lock: Protects all fields.  Hypercalls hold it, so they are serialised.
 *	Taken before the invalidate_lock.
 * @files: List of the files of its memory.
 * @dead: True if the guest was killed.
 */
struct test_guest {
	struct kref refs;
	struct mutex lock; /* see above */
	struct list_head files;
	bool dead;
};

/**
 * struct test_inode - a file of a guest's memory
 * @gm: The library's part.
 * @inode: The VFS's part.
 * @guest: The guest; valid while the file is open.
 * @entry: Entry in the guest's list; protected by the guest's lock.
 * @lock: Protects the fields that follow.  Taken under the invalidate_lock.
 * @wait: Woken when @nr_invalidating becomes zero.
 * @nr_invalidating: Number of invalidations in progress.  While it is not zero,
 *	guest faults map nothing.
 * @dead: Copy of the guest's @dead.  If true, guest faults map nothing.
 * @stage2: The pages that the guest has mapped.  The array holds no references,
 *	because an invalidation unmaps a page before the library removes it from
 *	the file.
 * @lent: Bitmap of the pages that are lent to the guest.  Written with the
 *	guest's lock held, too.
 */
struct test_inode {
	struct guest_memfd gm;
	struct inode inode;
	struct test_guest *guest;
	struct list_head entry;
	struct mutex lock; /* see above */
	wait_queue_head_t wait;
	unsigned int nr_invalidating;
	bool dead;
	struct xarray stage2;
	unsigned long *lent;
};

/*
 * Each guest and each of its files pins the mount, and the mount pins the
 * module.
 */
static struct vfsmount *test_mnt;
static int test_mnt_count;

static struct test_inode *to_test(struct inode *inode)
{
	return container_of(inode, struct test_inode, inode);
}

static pgoff_t nr_pages(struct test_inode *ti)
{
	return i_size_read(&ti->inode) >> PAGE_SHIFT;
}

static void guest_free(struct kref *refs)
{
	kfree(container_of(refs, struct test_guest, refs));
	simple_release_fs(&test_mnt, &test_mnt_count);
}

static void guest_put(struct test_guest *guest)
{
	kref_put(&guest->refs, guest_free);
}

/* Mappings of the guest */

static void stage2_unmap(struct test_inode *ti, pgoff_t start, pgoff_t end)
{
	struct folio *folio;
	unsigned long index;

	lockdep_assert_held(&ti->lock);
	xa_for_each_range(&ti->stage2, index, folio, start, end - 1)
		xa_erase(&ti->stage2, index);
}

static void test_invalidate_start(struct guest_memfd *gm, pgoff_t start,
				  pgoff_t end)
{
	struct test_inode *ti = to_test(gm->inode);

	guard(mutex)(&ti->lock);
	ti->nr_invalidating++;
	stage2_unmap(ti, start, end);
}

static void test_invalidate_end(struct guest_memfd *gm, pgoff_t start,
				pgoff_t end)
{
	struct test_inode *ti = to_test(gm->inode);

	guard(mutex)(&ti->lock);
	if (!--ti->nr_invalidating)
		wake_up_all(&ti->wait);
}

/*
 * Handle a page fault of the guest.  Return: 0; -EAGAIN if the caller must
 * retry; or another error.
 */
static int map_page(struct test_inode *ti, pgoff_t index)
{
	struct address_space *mapping = ti->inode.i_mapping;
	struct folio *folio;
	struct page *page;
	int err = 0;

	filemap_invalidate_lock_shared(mapping);
	folio = guest_memfd_grab_folio(&ti->gm, index);
	if (IS_ERR(folio)) {
		err = PTR_ERR(folio);
		goto unlock;
	}
	/* Clear a new page of a file whose memory is not hidden. */
	if (!folio_test_uptodate(folio)) {
		clear_highpage(folio_page(folio, 0));
		folio_mark_uptodate(folio);
	}
	folio_unlock(folio);
	page = folio_file_page(folio, index);

	/* The invalidate_lock keeps the page in the file. */
	mutex_lock(&ti->lock);
	if (ti->dead)
		err = -EIO;
	else if (ti->nr_invalidating)
		err = -EAGAIN;
	else if (PageHWPoison(page))
		err = -EHWPOISON;
	else
		err = xa_err(xa_store(&ti->stage2, index, page,
				      GFP_KERNEL_ACCOUNT));
	mutex_unlock(&ti->lock);
	folio_put(folio);
unlock:
	filemap_invalidate_unlock_shared(mapping);
	return err;
}

static int guest_map(struct test_inode *ti, pgoff_t start, pgoff_t end)
{
	pgoff_t index = start;
	int err;

	while (index < end) {
		if (signal_pending(current))
			return -EINTR;
		err = map_page(ti, index);
		if (err == -EAGAIN) {
			wait_event(ti->wait, !READ_ONCE(ti->nr_invalidating));
			continue;
		}
		if (err)
			return err;
		index++;
		cond_resched();
	}
	return 0;
}

static int guest_unmap(struct test_inode *ti, pgoff_t start, pgoff_t end)
{
	guard(mutex)(&ti->lock);
	stage2_unmap(ti, start, end);
	return 0;
}

/*
 * Do what the guest's processor would do with a page that the guest has mapped.
 */
static int access_page(struct test_inode *ti, loff_t pos, void *buf, size_t len,
		       bool write)
{
	struct page *page;

	guard(mutex)(&ti->lock);
	page = xa_load(&ti->stage2, pos >> PAGE_SHIFT);
	if (!page)
		return -EFAULT;
	if (write)
		return guest_memfd_write_page(page, offset_in_page(pos), buf, len);
	return guest_memfd_read_page(page, offset_in_page(pos), buf, len);
}

static int guest_io(struct test_inode *ti, const struct test_gmem_io *io)
{
	void __user *user = u64_to_user_ptr(io->addr);
	u64 done, len, end;
	void *buf;
	int err = 0;

	if (check_add_overflow(io->offset, io->size, &end) ||
	    end > i_size_read(&ti->inode))
		return -EINVAL;
	buf = kmalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return -ENOMEM;

	for (done = 0; done < io->size && !err; done += len) {
		u64 pos = io->offset + done;

		len = min(PAGE_SIZE - offset_in_page(pos), io->size - done);
		if (io->write && copy_from_user(buf, user + done, len))
			err = -EFAULT;
		if (!err)
			err = access_page(ti, pos, buf, len, io->write);
		if (!err && !io->write && copy_to_user(user + done, buf, len))
			err = -EFAULT;
		cond_resched();
	}
	/* Clear the host's only copy of the guest's data. */
	kfree_sensitive(buf);
	return err;
}

/* Lending of memory to the guest */

static void set_lent(struct test_inode *ti, pgoff_t start, pgoff_t end,
		     bool lent)
{
	guard(mutex)(&ti->lock);
	if (lent)
		bitmap_set(ti->lent, start, end - start);
	else
		bitmap_clear(ti->lent, start, end - start);
}

/*
 * The host may lower the level of memory that is lent to a guest, but must not
 * raise it.
 */
static int test_may_set_access(struct guest_memfd *gm, pgoff_t start,
			       pgoff_t end, unsigned int level)
{
	struct test_inode *ti = to_test(gm->inode);

	guard(mutex)(&ti->lock);
	if (level != GUEST_MEMFD_ACCESS_NONE &&
	    find_next_bit(ti->lent, end, start) < end)
		return -EPERM;
	return 0;
}

static const struct guest_memfd_operations test_ops = {
	.invalidate_start = test_invalidate_start,
	.invalidate_end	= test_invalidate_end,
	.may_set_access	= test_may_set_access,
};

/*
 * Make memory private on behalf of the guest.  Mark the memory as lent first,
 * so that user space cannot raise the level concurrently.  The hypercall
 * returns to the guest only after the level was lowered.
 */
static int guest_lend(struct test_inode *ti, pgoff_t start, pgoff_t end,
		      pgoff_t *error_index)
{
	int err;

	if (ti->guest->dead)
		return -EIO;
	if (find_next_bit(ti->lent, end, start) < end)
		return -EINVAL;
	set_lent(ti, start, end, true);
	err = guest_memfd_set_access(&ti->gm, start, end,
				     GUEST_MEMFD_ACCESS_NONE, error_index);
	if (err)
		set_lent(ti, start, end, false);
	return err;
}

/*
 * Undo guest_lend() in the reverse order: raise the level first, then clear the
 * mark.
 */
static int end_loan(struct test_inode *ti, pgoff_t start, pgoff_t end,
		    pgoff_t *error_index)
{
	int err;

	err = guest_memfd_set_access(&ti->gm, start, end,
				     GUEST_MEMFD_ACCESS_KERNEL, error_index);
	if (!err)
		set_lent(ti, start, end, false);
	return err;
}

static int guest_share(struct test_inode *ti, pgoff_t start, pgoff_t end,
		       pgoff_t *error_index)
{
	if (ti->guest->dead)
		return -EIO;
	if (find_next_zero_bit(ti->lent, end, start) < end)
		return -EINVAL;
	return end_loan(ti, start, end, error_index);
}

static int host_reclaim(struct test_inode *ti, pgoff_t start, pgoff_t end,
			pgoff_t *error_index)
{
	if (!ti->guest->dead)
		return -EBUSY;
	if (find_next_zero_bit(ti->lent, end, start) < end)
		return -EINVAL;
	guest_memfd_punch_hole(&ti->gm, start, end);
	return end_loan(ti, start, end, error_index);
}

static void guest_kill(struct test_guest *guest)
{
	struct test_inode *ti;

	lockdep_assert_held(&guest->lock);
	guest->dead = true;
	list_for_each_entry(ti, &guest->files, entry) {
		guard(mutex)(&ti->lock);
		ti->dead = true;
		xa_destroy(&ti->stage2);
	}
}

/*
 * No task can call RECLAIM any more, so discard the contents and clear the
 * marks.  The host may raise the level itself.
 */
static void reclaim_all(struct test_guest *guest)
{
	unsigned long start, end;
	struct test_inode *ti;

	lockdep_assert_held(&guest->lock);
	list_for_each_entry(ti, &guest->files, entry) {
		for_each_set_bitrange(start, end, ti->lent, nr_pages(ti)) {
			guest_memfd_punch_hole(&ti->gm, start, end);
			set_lent(ti, start, end, false);
		}
	}
}

/* Files */

static struct inode *test_alloc_inode(struct super_block *sb)
{
	struct test_inode *ti = kzalloc_obj(*ti, GFP_KERNEL_ACCOUNT);

	if (!ti)
		return NULL;
	inode_init_once(&ti->inode);
	mutex_init(&ti->lock);
	init_waitqueue_head(&ti->wait);
	xa_init(&ti->stage2);
	return &ti->inode;
}

static void test_evict_inode(struct inode *inode)
{
	guest_memfd_evict_inode(inode);
	kvfree(to_test(inode)->lent);
}

static void test_free_inode(struct inode *inode)
{
	kfree(to_test(inode));
}

static const struct super_operations test_super_operations = {
	.statfs		= simple_statfs,
	.alloc_inode	= test_alloc_inode,
	.evict_inode	= test_evict_inode,
	.free_inode	= test_free_inode,
};

static int test_init_fs_context(struct fs_context *fc)
{
	struct pseudo_fs_context *ctx = init_pseudo(fc, GUEST_MEMFD_MAGIC);

	if (!ctx)
		return -ENOMEM;
	ctx->ops = &test_super_operations;
	return 0;
}

static struct file_system_type test_fs = {
	.name		 = "test_guest_memfd",
	.owner		 = THIS_MODULE,
	.init_fs_context = test_init_fs_context,
	.kill_sb	 = kill_anon_super,
};

static const struct address_space_operations test_aops = {
	.dirty_folio	= noop_dirty_folio,
	.migrate_folio	= guest_memfd_migrate_folio,
	.error_remove_folio = guest_memfd_error_folio,
	.free_folio	= guest_memfd_free_folio,
};

static int test_file_release(struct inode *inode, struct file *file)
{
	struct test_inode *ti = to_test(inode);
	struct test_guest *guest = ti->guest;

	/*
	 * This was the last user of the file, so no task can map a page any
	 * more.
	 */
	mutex_lock(&guest->lock);
	list_del(&ti->entry);
	mutex_unlock(&guest->lock);
	mutex_lock(&ti->lock);
	xa_destroy(&ti->stage2);
	mutex_unlock(&ti->lock);
	guest_put(guest);
	return 0;
}

/*
 * No .owner: the file's mount pins the module, and does so longer than the file
 * would.
 */
static const struct file_operations test_file_fops = {
	.release	= test_file_release,
	.mmap		= guest_memfd_mmap,
	.fallocate	= guest_memfd_fallocate,
	.show_fdinfo	= guest_memfd_show_fdinfo,
	.unlocked_ioctl	= guest_memfd_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static u64 supported_flags(void)
{
	u64 flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;

	if (guest_memfd_can_hide())
		flags |= GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
	return flags;
}

static struct file *new_file(struct test_guest *guest, loff_t size, u64 flags)
{
	static const char *name = "[test-gmem]";
	pgoff_t nr = size >> PAGE_SHIFT, ignored;
	struct test_inode *ti;
	struct inode *inode;
	struct file *file;
	int err;

	inode = guest_memfd_new_inode(test_mnt->mnt_sb, name, size);
	if (IS_ERR(inode))
		return ERR_CAST(inode);
	ti = to_test(inode);
	guest_memfd_init(&ti->gm, inode, &test_aops, &test_ops, flags);

	err = -ENOMEM;
	ti->lent = kvcalloc(BITS_TO_LONGS(nr), sizeof(long), GFP_KERNEL_ACCOUNT);
	if (!ti->lent)
		goto put;
	if (!(flags & GUEST_MEMFD_FLAG_INIT_SHARED)) {
		bitmap_set(ti->lent, 0, nr);
	} else {
		err = guest_memfd_set_access(&ti->gm, 0, nr,
					     GUEST_MEMFD_ACCESS_KERNEL,
					     &ignored);
		if (err)
			goto put;
	}

	file = alloc_file_pseudo(inode, test_mnt, name, O_RDWR, &test_file_fops);
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		goto put;
	}
	file->f_flags |= O_LARGEFILE;
	return file;
put:
	iput(inode);
	return ERR_PTR(err);
}

static int guest_create(struct test_guest *guest,
			const struct test_gmem_create *create)
{
	struct test_inode *ti;
	struct file *file;
	int fd;

	if (create->flags & ~supported_flags() || !create->size ||
	    !PAGE_ALIGNED(create->size) || create->size > MAX_SIZE)
		return -EINVAL;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	file = new_file(guest, create->size, create->flags);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}

	ti = to_test(file_inode(file));
	mutex_lock(&guest->lock);
	ti->dead = guest->dead;
	kref_get(&guest->refs);
	ti->guest = guest;
	list_add(&ti->entry, &guest->files);
	mutex_unlock(&guest->lock);
	fd_install(fd, file);
	return fd;
}

/* ioctls on the guest */

static bool range_valid(struct test_inode *ti,
			const struct test_gmem_range *range)
{
	u64 end;

	return !range->reserved && range->size && PAGE_ALIGNED(range->offset) &&
	       PAGE_ALIGNED(range->size) &&
	       !check_add_overflow(range->offset, range->size, &end) &&
	       end <= i_size_read(&ti->inode);
}

/* Return: The file's inode if it is a file of this guest, or NULL. */
static struct test_inode *guest_file(struct test_guest *guest, struct file *file)
{
	struct test_inode *ti;

	if (file->f_op != &test_file_fops)
		return NULL;
	ti = to_test(file_inode(file));
	return ti->guest == guest ? ti : NULL;
}

static int ioctl_range(struct test_guest *guest, unsigned int cmd,
		       struct test_gmem_range __user *arg)
{
	struct test_gmem_range range;
	pgoff_t start, end, error_index;
	struct test_inode *ti;
	int err;

	if (copy_from_user(&range, arg, sizeof(range)))
		return -EFAULT;
	CLASS(fd, f)(range.fd);
	if (fd_empty(f))
		return -EBADF;
	ti = guest_file(guest, fd_file(f));
	if (!ti || !range_valid(ti, &range))
		return -EINVAL;
	start = range.offset >> PAGE_SHIFT;
	end = start + (range.size >> PAGE_SHIFT);

	if (cmd == TEST_GMEM_MAP)
		return guest_map(ti, start, end);
	if (cmd == TEST_GMEM_UNMAP)
		return guest_unmap(ti, start, end);

	mutex_lock(&guest->lock);
	if (cmd == TEST_GMEM_LEND)
		err = guest_lend(ti, start, end, &error_index);
	else if (cmd == TEST_GMEM_SHARE)
		err = guest_share(ti, start, end, &error_index);
	else
		err = host_reclaim(ti, start, end, &error_index);
	mutex_unlock(&guest->lock);
	if ((err == -EAGAIN || err == -EHWPOISON) &&
	    put_user((u64)error_index << PAGE_SHIFT, &arg->error_offset))
		return -EFAULT;
	return err;
}

static int ioctl_io(struct test_guest *guest, struct test_gmem_io __user *arg)
{
	struct test_gmem_io io;
	struct test_inode *ti;

	if (copy_from_user(&io, arg, sizeof(io)))
		return -EFAULT;
	CLASS(fd, f)(io.fd);
	if (fd_empty(f))
		return -EBADF;
	ti = guest_file(guest, fd_file(f));
	return ti ? guest_io(ti, &io) : -EINVAL;
}

static long stray_load(u64 __user *argp)
{
	u64 pfn;

	if (get_user(pfn, argp))
		return -EFAULT;
	if (!pfn_valid(pfn))
		return -EINVAL;
	return put_user(READ_ONCE(*(u64 *)__va(PFN_PHYS(pfn))), argp);
}

static long test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct test_guest *guest = file->private_data;
	void __user *argp = (void __user *)arg;
	struct test_gmem_create create;

	switch (cmd) {
	case TEST_GMEM_CREATE:
		if (copy_from_user(&create, argp, sizeof(create)))
			return -EFAULT;
		return guest_create(guest, &create);
	case TEST_GMEM_MAP:
	case TEST_GMEM_UNMAP:
	case TEST_GMEM_LEND:
	case TEST_GMEM_SHARE:
	case TEST_GMEM_RECLAIM:
		return ioctl_range(guest, cmd, argp);
	case TEST_GMEM_IO:
		return ioctl_io(guest, argp);
	case TEST_GMEM_STRAY_LOAD:
		return stray_load(argp);
	case TEST_GMEM_KILL:
		mutex_lock(&guest->lock);
		guest_kill(guest);
		mutex_unlock(&guest->lock);
		return 0;
	default:
		return -ENOTTY;
	}
}

static int test_open(struct inode *inode, struct file *file)
{
	struct test_guest *guest;
	int err;

	guest = kzalloc_obj(*guest, GFP_KERNEL_ACCOUNT);
	if (!guest)
		return -ENOMEM;
	err = simple_pin_fs(&test_fs, &test_mnt, &test_mnt_count);
	if (err) {
		kfree(guest);
		return err;
	}
	kref_init(&guest->refs);
	mutex_init(&guest->lock);
	INIT_LIST_HEAD(&guest->files);
	file->private_data = guest;
	return 0;
}

static int test_release(struct inode *inode, struct file *file)
{
	struct test_guest *guest = file->private_data;

	mutex_lock(&guest->lock);
	guest_kill(guest);
	reclaim_all(guest);
	mutex_unlock(&guest->lock);
	guest_put(guest);
	return 0;
}

static const struct file_operations test_fops = {
	.owner		= THIS_MODULE,
	.open		= test_open,
	.release	= test_release,
	.unlocked_ioctl	= test_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice test_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "test_guest_memfd",
	.fops	= &test_fops,
	.mode	= 0600,
};

static int __init test_guest_memfd_init(void)
{
	return misc_register(&test_device);
}

static void __exit test_guest_memfd_exit(void)
{
	misc_deregister(&test_device);
	/* Wait for test_free_inode(), which RCU calls after a grace period. */
	rcu_barrier();
}

module_init(test_guest_memfd_init);
module_exit(test_guest_memfd_exit);

MODULE_DESCRIPTION("Owner of guest_memfd files without a hypervisor");
MODULE_LICENSE("GPL");
