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
 * @limit: How much memory its files may have; outlives the mount.
 * @xattr_cache: Finds the extended attributes of all inodes.
 * @mode: Permissions of the root directory when it was mounted.
 * @uid: Its owner then.
 * @gid: Its group then.
 * @lock: Protects the fields that follow.  The lock of @limit is taken under it.
 * @max_inodes: How many files and directories there may be, the root included.
 * @nr_inodes: How many there are, those without a name included.
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
