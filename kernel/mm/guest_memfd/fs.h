/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_GUEST_MEMFD_FS_H
#define _MM_GUEST_MEMFD_FS_H

#include <linux/fs.h>
#include <linux/guest_memfd.h>
#include <linux/spinlock.h>
#include <linux/xattr.h>

struct gm_limit;

/**
 * struct gm_fs_info - a mount of the guestmem file system
 * @limit: Limits the memory of the mount's files.  It can outlive the mount.
 * @xattr_cache: Finds the extended attributes of all inodes.
 * @mode: Permissions of the root directory at the time of the mount.
 * @uid: Owner of the root directory at the time of the mount.
 * @gid: Group of the root directory at the time of the mount.
 * @lock: Protects @max_inodes and @nr_inodes.  The lock of @limit nests inside.
 * @max_inodes: Maximum number of files and directories, the root included.
 * @nr_inodes: Number of files and directories, unlinked ones included.
 */
struct gm_fs_info {
	struct gm_limit *limit;
	struct simple_xattr_cache xattr_cache;
	umode_t mode;
	kuid_t uid;
	kgid_t gid;
	spinlock_t lock; /* Protects the numbers of inodes. */
	unsigned long max_inodes;
	unsigned long nr_inodes;
};

static inline struct gm_fs_info *gm_fs_info(const struct super_block *sb)
{
	return sb->s_fs_info;
}

extern const struct xattr_handler * const gm_fs_xattr_handlers[];

int gm_fs_init_inodes(void);
struct inode *gm_fs_alloc_inode(struct super_block *sb);
void gm_fs_free_inode(struct inode *inode);
void gm_fs_evict_inode(struct inode *inode);
struct inode *gm_fs_new_inode(struct mnt_idmap *idmap, struct super_block *sb,
			      struct inode *dir, umode_t mode);

#endif /* _MM_GUEST_MEMFD_FS_H */
