// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files and directories of the guestmem file system.
 *
 * A regular file is the memory of a guest, initially at level USER.  Its size
 * can be set once.  Before that the file has no pages; after that the library
 * (levels, blocks) can rely on a constant size.  There is no read() and no
 * write(), because the kernel does not copy from or to hidden memory on behalf
 * of user space.
 */

#include <linux/dcache.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/guest_memfd.h>
#include <linux/huge_mm.h>
#include <linux/iversion.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rculist.h>
#include <linux/rcupdate_wait.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/xarray.h>
#include <linux/xattr.h>

#include "file.h"
#include "fs.h"
#include "limit.h"

/**
 * struct gm_fs_inode - a file or a directory
 * @gm: The library's part of a file; all zeroes in a directory.
 * @xattrs: List of extended attributes.
 * @xattr_limits: Counts the extended attributes.
 * @vfs_inode: The VFS's part.
 */
struct gm_fs_inode {
	struct guest_memfd gm;
	struct list_head xattrs;
	struct simple_xattr_limits xattr_limits;
	struct inode vfs_inode;
};

static struct kmem_cache *inode_cache __ro_after_init;

static struct gm_fs_inode *to_gm_fs(struct inode *inode)
{
	return container_of(inode, struct gm_fs_inode, vfs_inode);
}

/* Callbacks for the library */

/*
 * Nothing to invalidate: the file system has no mapping of a page besides the
 * user mappings, which the library unmaps.
 */
static void gm_fs_invalidate(struct guest_memfd *gm, pgoff_t start, pgoff_t end)
{
}

static const struct guest_memfd_operations gm_fs_ops = {
	.invalidate_start = gm_fs_invalidate,
	.invalidate_end	= gm_fs_invalidate,
};

static const struct address_space_operations gm_fs_aops = {
	.dirty_folio	= noop_dirty_folio,
	.migrate_folio	= guest_memfd_migrate_folio,
	.error_remove_folio = guest_memfd_error_folio,
	.free_folio	= guest_memfd_free_folio,
};

/* Files */

/*
 * Return: The number of pages of a range that are not in the file.  It can
 * change concurrently.
 */
static unsigned long count_absent(struct address_space *mapping, pgoff_t start,
				  pgoff_t end)
{
	XA_STATE(xas, &mapping->i_pages, start);
	unsigned long nr = end - start;
	struct folio *folio;
	pgoff_t base, size;

	guard(rcu)();
	xas_for_each(&xas, folio, end - 1) {
		if (xas_retry(&xas, folio))
			continue;
		size = 1UL << xas_get_order(&xas);
		base = xas.xa_index & ~(size - 1);
		nr -= min(end, base + size) - max(start, base);
		if (need_resched()) {
			xas_pause(&xas);
			cond_resched_rcu();
		}
	}
	return nr;
}

/*
 * Is there room for all of a range?  If there clearly is not, fallocate() fails
 * before it populates a part of the range.
 */
static bool room_for(struct file *file, loff_t offset, loff_t len)
{
	struct guest_memfd *gm = gm_of_mapping(file->f_mapping);

	/* guest_memfd_fallocate() refuses such a range. */
	if (offset + len > i_size_read(gm->inode) || !PAGE_ALIGNED(offset | len))
		return true;
	return gm_limit_could_have(gm->limit,
				   count_absent(file->f_mapping,
						offset >> PAGE_SHIFT,
						(offset + len) >> PAGE_SHIFT));
}

static long gm_fs_fallocate(struct file *file, int mode, loff_t offset,
			    loff_t len)
{
	/*
	 * fallocate() never changes the size: a range beyond the end is an
	 * error.
	 */
	if (!mode)
		mode = FALLOC_FL_KEEP_SIZE;
	if (mode == FALLOC_FL_KEEP_SIZE && !room_for(file, offset, len))
		return -ENOSPC;
	return guest_memfd_fallocate(file, mode, offset, len);
}

static long gm_fs_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	/*
	 * A task that opened the file for reading only must not disable user
	 * access for other tasks.
	 */
	if (cmd == GUEST_MEMFD_SET_ACCESS && !(file->f_mode & FMODE_WRITE))
		return -EBADF;
	return guest_memfd_ioctl(file, cmd, arg);
}

static int gm_fs_mmap(struct file *file, struct vm_area_struct *vma)
{
	file_accessed(file);
	return guest_memfd_mmap(file, vma);
}

static const struct file_operations gm_fs_file_operations = {
	.open		= generic_file_open,
	.llseek		= generic_file_llseek,
	.mmap		= gm_fs_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
	.fsync		= noop_fsync,
	.fallocate	= gm_fs_fallocate,
	.unlocked_ioctl	= gm_fs_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.show_fdinfo	= guest_memfd_show_fdinfo,
};

static int set_size(struct inode *inode, loff_t size)
{
	struct guest_memfd_put_queue *queue;

	if (size == inode->i_size)
		return 0;
	if (inode->i_size || !PAGE_ALIGNED(size))
		return -EINVAL;
	/*
	 * The queue makes last puts lazy, for instance for a guest that turns
	 * its clock on and off.
	 */
	queue = guest_memfd_put_queue_alloc();
	if (!queue)
		return -ENOMEM;
	guest_memfd_set_put_queue(&to_gm_fs(inode)->gm, queue);
	guest_memfd_put_queue_free(queue);
	i_size_write(inode, size);
	inode_set_mtime_to_ts(inode, inode_set_ctime_current(inode));
	return 0;
}

static int gm_fs_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
			 struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	int err;

	err = setattr_prepare(idmap, dentry, attr);
	if (!err && attr->ia_valid & ATTR_SIZE)
		err = set_size(inode, attr->ia_size);
	if (err)
		return err;
	setattr_copy(idmap, inode, attr);
	mark_inode_dirty(inode);
	return 0;
}

static int gm_fs_getattr(struct mnt_idmap *idmap, const struct path *path,
			 struct kstat *stat, u32 request_mask,
			 unsigned int query_flags)
{
	struct inode *inode = d_inode(path->dentry);

	generic_fillattr(idmap, request_mask, inode, stat);
	stat->blocks = (u64)READ_ONCE(inode->i_mapping->nrpages) << (PAGE_SHIFT - SECTOR_SHIFT);
	return 0;
}

/* Extended attributes */

static int gm_fs_xattr_get(const struct xattr_handler *handler,
			   struct dentry *dentry, struct inode *inode,
			   const char *name, void *buffer, size_t size)
{
	return simple_xattr_get(&gm_fs_info(inode->i_sb)->xattr_cache,
				&to_gm_fs(inode)->xattrs,
				xattr_full_name(handler, name), buffer, size);
}

static int gm_fs_xattr_set(const struct xattr_handler *handler,
			   struct mnt_idmap *idmap, struct dentry *dentry,
			   struct inode *inode, const char *name,
			   const void *value, size_t size, int flags)
{
	struct gm_fs_inode *gi = to_gm_fs(inode);
	int err;

	err = simple_xattr_set_limited(&gm_fs_info(inode->i_sb)->xattr_cache,
				       &gi->xattrs, &gi->xattr_limits,
				       xattr_full_name(handler, name), value,
				       size, flags);
	if (!err) {
		inode_set_ctime_current(inode);
		inode_inc_iversion(inode);
	}
	return err;
}

static const struct xattr_handler security_handler = {
	.prefix	= XATTR_SECURITY_PREFIX,
	.get	= gm_fs_xattr_get,
	.set	= gm_fs_xattr_set,
};

static const struct xattr_handler trusted_handler = {
	.prefix	= XATTR_TRUSTED_PREFIX,
	.get	= gm_fs_xattr_get,
	.set	= gm_fs_xattr_set,
};

const struct xattr_handler * const gm_fs_xattr_handlers[] = {
	&security_handler,
	&trusted_handler,
	NULL
};

static ssize_t gm_fs_listxattr(struct dentry *dentry, char *buffer, size_t size)
{
	struct inode *inode = d_inode(dentry);

	return simple_xattr_list(inode, &to_gm_fs(inode)->xattrs, buffer, size);
}

/* Store the attributes with which a security module labels a new inode. */
static int init_xattrs(struct inode *inode, const struct xattr *xattrs, void *unused)
{
	const struct xattr *xattr;
	char *name;
	int err = 0;

	for (xattr = xattrs; !err && xattr->name; xattr++) {
		name = kasprintf(GFP_KERNEL, XATTR_SECURITY_PREFIX "%s", xattr->name);
		if (!name)
			return -ENOMEM;
		err = simple_xattr_set_limited(&gm_fs_info(inode->i_sb)->xattr_cache,
					       &to_gm_fs(inode)->xattrs,
					       &to_gm_fs(inode)->xattr_limits,
					       name, xattr->value,
					       xattr->value_len, XATTR_CREATE);
		kfree(name);
	}
	return err;
}

/* Directories */

static struct inode *make_inode(struct mnt_idmap *idmap, struct inode *dir,
				const struct qstr *name, umode_t mode)
{
	struct inode *inode = gm_fs_new_inode(idmap, dir->i_sb, dir, mode);
	int err;

	if (IS_ERR(inode))
		return inode;
	err = security_inode_init_security(inode, dir, name, init_xattrs, NULL);
	if (!err)
		return inode;
	iput(inode);
	return ERR_PTR(err);
}

static int make_node(struct mnt_idmap *idmap, struct inode *dir,
		     struct dentry *dentry, umode_t mode)
{
	struct inode *inode = make_inode(idmap, dir, &dentry->d_name, mode);

	if (IS_ERR(inode))
		return PTR_ERR(inode);
	d_make_persistent(dentry, inode);
	inode_set_mtime_to_ts(dir, inode_set_ctime_current(dir));
	return 0;
}

static int gm_fs_create(struct mnt_idmap *idmap, struct inode *dir,
			struct dentry *dentry, umode_t mode)
{
	return make_node(idmap, dir, dentry, mode | S_IFREG);
}

static struct dentry *gm_fs_mkdir(struct mnt_idmap *idmap, struct inode *dir,
				  struct dentry *dentry, umode_t mode)
{
	int err = make_node(idmap, dir, dentry, mode | S_IFDIR);

	if (!err)
		inc_nlink(dir);
	return ERR_PTR(err);
}

static int gm_fs_tmpfile(struct mnt_idmap *idmap, struct inode *dir,
			 struct file *file, umode_t mode)
{
	struct inode *inode = make_inode(idmap, dir, &file_dentry(file)->d_name,
					 mode | S_IFREG);

	if (!IS_ERR(inode))
		d_tmpfile(file, inode);
	return finish_open_simple(file, PTR_ERR_OR_ZERO(inode));
}

/* Permit one name for each inode, so that nr_inodes limits the names, too. */
static int gm_fs_link(struct dentry *old_dentry, struct inode *dir,
		      struct dentry *dentry)
{
	if (d_inode(old_dentry)->i_nlink)
		return -EPERM;
	return simple_link(old_dentry, dir, dentry);
}

static const struct inode_operations gm_fs_file_inode_operations = {
	.getattr	= gm_fs_getattr,
	.setattr	= gm_fs_setattr,
	.listxattr	= gm_fs_listxattr,
};

static const struct inode_operations gm_fs_dir_inode_operations = {
	.create		= gm_fs_create,
	.lookup		= simple_lookup,
	.link		= gm_fs_link,
	.unlink		= simple_unlink,
	.mkdir		= gm_fs_mkdir,
	.rmdir		= simple_rmdir,
	.rename		= simple_rename,
	.tmpfile	= gm_fs_tmpfile,
	.getattr	= simple_getattr,
	.setattr	= gm_fs_setattr,
	.listxattr	= gm_fs_listxattr,
};

/* Inodes */

static bool count_inode(struct gm_fs_info *info)
{
	guard(spinlock)(&info->lock);
	if (info->nr_inodes >= info->max_inodes)
		return false;
	info->nr_inodes++;
	return true;
}

static void uncount_inode(struct gm_fs_info *info)
{
	guard(spinlock)(&info->lock);
	info->nr_inodes--;
}

/**
 * gm_fs_new_inode - allocate a file or a directory
 * @idmap: The mount's id mapping.
 * @sb: The superblock.
 * @dir: The parent directory, or NULL for the root.
 * @mode: S_IFREG or S_IFDIR, and permissions.
 *
 * Context: May sleep.
 * Return: The inode; ERR_PTR(-ENOSPC) if the mount has nr_inodes inodes
 * already; or ERR_PTR(-ENOMEM).
 */
struct inode *gm_fs_new_inode(struct mnt_idmap *idmap, struct super_block *sb,
			      struct inode *dir, umode_t mode)
{
	struct gm_fs_info *info = gm_fs_info(sb);
	struct gm_fs_inode *gi;
	struct inode *inode;

	if (!count_inode(info))
		return ERR_PTR(-ENOSPC);
	inode = new_inode(sb);
	if (!inode) {
		uncount_inode(info);
		return ERR_PTR(-ENOMEM);
	}
	/* gm_fs_evict_inode() calls uncount_inode() after this. */
	inode->i_ino = get_next_ino();
	inode_init_owner(idmap, inode, dir, mode);
	simple_inode_init_ts(inode);
	if (S_ISDIR(mode)) {
		/* Count the link from the directory's own ".". */
		inc_nlink(inode);
		inode->i_op = &gm_fs_dir_inode_operations;
		inode->i_fop = &simple_dir_operations;
		lockdep_annotate_inode_mutex_key(inode);
		return inode;
	}
	inode->i_op = &gm_fs_file_inode_operations;
	inode->i_fop = &gm_fs_file_operations;
	gi = to_gm_fs(inode);
	guest_memfd_init(&gi->gm, inode, &gm_fs_aops, &gm_fs_ops,
			 GM_FILE_MMAP | GM_FILE_INIT_ACCESS | GM_FILE_NO_DIRECT_MAP);
	gi->gm.limit = info->limit;
	return inode;
}

/**
 * gm_fs_alloc_inode - the alloc_inode operation
 * @sb: The superblock.
 *
 * Return: The inode, or NULL.
 */
struct inode *gm_fs_alloc_inode(struct super_block *sb)
{
	struct gm_fs_inode *gi = alloc_inode_sb(sb, inode_cache, GFP_KERNEL);

	if (!gi)
		return NULL;
	memset(&gi->gm, 0, sizeof(gi->gm));
	INIT_LIST_HEAD_RCU(&gi->xattrs);
	simple_xattr_limits_init(&gi->xattr_limits);
	return &gi->vfs_inode;
}

/**
 * gm_fs_free_inode - the free_inode operation
 * @inode: An inode that was evicted.
 */
void gm_fs_free_inode(struct inode *inode)
{
	kmem_cache_free(inode_cache, to_gm_fs(inode));
}

/**
 * gm_fs_evict_inode - the evict_inode operation
 * @inode: An inode from gm_fs_new_inode().
 *
 * Workers scrub the memory of a file later.  Until then the limit counts it.
 */
void gm_fs_evict_inode(struct inode *inode)
{
	struct gm_fs_info *info = gm_fs_info(inode->i_sb);

	guest_memfd_evict_inode(inode);
	simple_xattrs_free(&info->xattr_cache, &to_gm_fs(inode)->xattrs, NULL);
	uncount_inode(info);
}

static void init_once(void *object)
{
	struct gm_fs_inode *gi = object;

	inode_init_once(&gi->vfs_inode);
}

/**
 * gm_fs_init_inodes - create the slab cache of the inodes
 *
 * Return: 0, or -ENOMEM.
 */
int __init gm_fs_init_inodes(void)
{
	inode_cache = kmem_cache_create("guestmem_inode", sizeof(struct gm_fs_inode), 0,
					SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT, init_once);
	return inode_cache ? 0 : -ENOMEM;
}
