// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guestmem file system: files of hidden memory without a VM.
 *
 *	mount -t guestmem -o size=50% guestmem /dev/guestmem
 *
 * A VMM that maps its guest's memory from a file by mmap() can use such a file
 * without changes.  The file system is an owner of the library, like KVM, with
 * ordinary inodes (fs_inode.c) and a limit on the memory of all files of a
 * mount (limit.c).
 */

#include <linux/bits.h>
#include <linux/cred.h>
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/guest_memfd.h>
#include <linux/init.h>
#include <linux/kdev_t.h>
#include <linux/kstrtox.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/string.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "fs.h"
#include "limit.h"

/* Defaults of the mount options. */
#define DEFAULT_PERCENT	50
#define DEFAULT_INODES	65536UL
#define DEFAULT_MODE	0755

enum {
	OPT_SIZE,
	OPT_NR_INODES,
	OPT_MODE,
	OPT_UID,
	OPT_GID,
};

/**
 * struct gm_fs_options - the options of one mount() or remount
 * @seen: Bitmap of the options that were given.
 * @max_pages: Maximum size in pages.
 * @max_inodes: Maximum number of inodes.
 * @mode: Permissions of the root directory.
 * @uid: Owner of the root directory.
 * @gid: Group of the root directory.
 */
struct gm_fs_options {
	unsigned int seen;
	unsigned long max_pages;
	unsigned long max_inodes;
	umode_t mode;
	kuid_t uid;
	kgid_t gid;
};

static const struct fs_parameter_spec gm_fs_parameters[] = {
	fsparam_string("size",		OPT_SIZE),
	fsparam_string("nr_inodes",	OPT_NR_INODES),
	fsparam_u32oct("mode",		OPT_MODE),
	fsparam_uid("uid",		OPT_UID),
	fsparam_gid("gid",		OPT_GID),
	{}
};

static int gm_fs_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	struct gm_fs_info *info = gm_fs_info(dentry->d_sb);
	struct gm_limit_info limit;

	gm_limit_read(info->limit, &limit);
	buf->f_type = GUESTMEM_MAGIC;
	buf->f_bsize = PAGE_SIZE;
	buf->f_namelen = NAME_MAX;
	buf->f_fsid = u64_to_fsid(huge_encode_dev(dentry->d_sb->s_dev));
	buf->f_blocks = limit.max;
	buf->f_bfree = limit.max - limit.used;
	buf->f_bavail = buf->f_bfree;
	guard(spinlock)(&info->lock);
	buf->f_files = info->max_inodes;
	buf->f_ffree = info->max_inodes - info->nr_inodes;
	return 0;
}

static int gm_fs_show_options(struct seq_file *m, struct dentry *root)
{
	struct gm_fs_info *info = gm_fs_info(root->d_sb);
	struct gm_limit_info limit;

	gm_limit_read(info->limit, &limit);
	seq_printf(m, ",size=%luk,nr_inodes=%lu,mode=%03o",
		   limit.max << (PAGE_SHIFT - 10), READ_ONCE(info->max_inodes),
		   info->mode);
	seq_printf(m, ",uid=%u,gid=%u", from_kuid_munged(&init_user_ns, info->uid),
		   from_kgid_munged(&init_user_ns, info->gid));
	return 0;
}

static const struct super_operations gm_fs_super_operations = {
	.alloc_inode	= gm_fs_alloc_inode,
	.free_inode	= gm_fs_free_inode,
	.evict_inode	= gm_fs_evict_inode,
	.drop_inode	= inode_just_drop,
	.statfs		= gm_fs_statfs,
	.show_options	= gm_fs_show_options,
};

/*
 * Parse a decimal number, which k, m, g, t or % can follow.
 *
 * Return: 0, or -EINVAL.
 */
static int parse_number(const char *text, u64 *number, bool *percent)
{
	size_t len = strspn(text, "0123456789");
	unsigned int shift = 0;
	char digits[24];

	if (!len || len >= sizeof(digits) || (text[len] && text[len + 1]))
		return -EINVAL;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (kstrtou64(digits, 10, number))
		return -EINVAL;
	*percent = text[len] == '%';
	switch (tolower(text[len])) {
	case 't':
		shift += 10;
		fallthrough;
	case 'g':
		shift += 10;
		fallthrough;
	case 'm':
		shift += 10;
		fallthrough;
	case 'k':
		shift += 10;
		break;
	case '%':
	case '\0':
		break;
	default:
		return -EINVAL;
	}
	return check_shl_overflow(*number, shift, number) ? -EINVAL : 0;
}

static int parse_size(const char *text, unsigned long *pages)
{
	bool percent;
	u64 number;

	if (parse_number(text, &number, &percent) || !number)
		return -EINVAL;
	if (percent) {
		if (number > 100)
			return -EINVAL;
		*pages = mult_frac(totalram_pages(), (unsigned long)number, 100UL) ?: 1;
		return 0;
	}
	if (number > MAX_LFS_FILESIZE)
		return -EINVAL;
	*pages = DIV_ROUND_UP_ULL(number, PAGE_SIZE);
	return 0;
}

static int parse_inodes(const char *text, unsigned long *nr)
{
	bool percent;
	u64 number;

	if (parse_number(text, &number, &percent) || percent || !number ||
	    number > LONG_MAX)
		return -EINVAL;
	*nr = number;
	return 0;
}

static int gm_fs_parse_param(struct fs_context *fc, struct fs_parameter *param)
{
	struct gm_fs_options *options = fc->fs_private;
	struct fs_parse_result result;
	int opt, err = 0;

	opt = fs_parse(fc, gm_fs_parameters, param, &result);
	if (opt < 0)
		return opt;
	switch (opt) {
	case OPT_SIZE:
		err = parse_size(param->string, &options->max_pages);
		break;
	case OPT_NR_INODES:
		err = parse_inodes(param->string, &options->max_inodes);
		break;
	case OPT_MODE:
		if (result.uint_32 & ~07777U)
			err = -EINVAL;
		options->mode = result.uint_32;
		break;
	case OPT_UID:
		if (!kuid_has_mapping(fc->user_ns, result.uid))
			err = -EINVAL;
		options->uid = result.uid;
		break;
	case OPT_GID:
		if (!kgid_has_mapping(fc->user_ns, result.gid))
			err = -EINVAL;
		options->gid = result.gid;
		break;
	}
	if (err)
		return invalfc(fc, "bad value for '%s'", param->key);
	options->seen |= BIT(opt);
	return 0;
}

static int gm_fs_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct gm_fs_options *options = fc->fs_private;
	struct gm_fs_info *info = kzalloc_obj(*info, GFP_KERNEL);
	struct inode *inode;

	if (!info)
		return -ENOMEM;
	/* gm_fs_kill_sb() frees info after this. */
	sb->s_fs_info = info;
	spin_lock_init(&info->lock);
	info->max_inodes = options->max_inodes;
	info->mode = options->mode;
	info->uid = options->uid;
	info->gid = options->gid;
	info->limit = gm_limit_alloc(options->max_pages);
	if (!info->limit)
		return -ENOMEM;

	sb->s_magic = GUESTMEM_MAGIC;
	sb->s_op = &gm_fs_super_operations;
	sb->s_xattr = gm_fs_xattr_handlers;
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_time_gran = 1;
	sb->s_d_flags = DCACHE_DONTCACHE;
	/* Guest memory contains neither programs nor device nodes. */
	sb->s_iflags |= SB_I_NOEXEC | SB_I_NODEV;
	/*
	 * overlayfs and similar file systems read and write the files below
	 * them, which hidden memory does not support.
	 */
	sb->s_stack_depth = FILESYSTEM_MAX_STACK_DEPTH;

	inode = gm_fs_new_inode(&nop_mnt_idmap, sb, NULL, S_IFDIR | info->mode);
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	inode->i_uid = info->uid;
	inode->i_gid = info->gid;
	sb->s_root = d_make_root(inode);
	return sb->s_root ? 0 : -ENOMEM;
}

static int gm_fs_get_tree(struct fs_context *fc)
{
	if (!guest_memfd_can_hide()) {
		errorfc(fc, "this machine cannot hide memory from its direct map");
		return -EOPNOTSUPP;
	}
	return get_tree_nodev(fc, gm_fs_fill_super);
}

/* On a remount, util-linux repeats the options from /proc/mounts. */
static int check_fixed(struct fs_context *fc, const struct gm_fs_options *options,
		       const struct gm_fs_info *info)
{
	if ((options->seen & BIT(OPT_MODE) && options->mode != info->mode) ||
	    (options->seen & BIT(OPT_UID) && !uid_eq(options->uid, info->uid)) ||
	    (options->seen & BIT(OPT_GID) && !gid_eq(options->gid, info->gid)))
		return invalfc(fc, "a remount changes neither mode nor uid nor gid");
	return 0;
}

static int gm_fs_reconfigure(struct fs_context *fc)
{
	struct gm_fs_info *info = gm_fs_info(fc->root->d_sb);
	struct gm_fs_options *options = fc->fs_private;
	const char *problem = NULL;
	int err;

	err = check_fixed(fc, options, info);
	if (err)
		return err;
	spin_lock(&info->lock);
	if (options->seen & BIT(OPT_NR_INODES) && options->max_inodes < info->nr_inodes)
		problem = "more inodes exist";
	else if (options->seen & BIT(OPT_SIZE) &&
		 !gm_limit_resize(info->limit, options->max_pages))
		problem = "more memory is in use, or waits to be scrubbed";
	else if (options->seen & BIT(OPT_NR_INODES))
		WRITE_ONCE(info->max_inodes, options->max_inodes);
	spin_unlock(&info->lock);
	return problem ? invalfc(fc, "%s", problem) : 0;
}

static void gm_fs_free_fc(struct fs_context *fc)
{
	kfree(fc->fs_private);
}

static const struct fs_context_operations gm_fs_context_operations = {
	.free		= gm_fs_free_fc,
	.parse_param	= gm_fs_parse_param,
	.get_tree	= gm_fs_get_tree,
	.reconfigure	= gm_fs_reconfigure,
};

static int gm_fs_init_fs_context(struct fs_context *fc)
{
	struct gm_fs_options *options = kzalloc_obj(*options, GFP_KERNEL);

	if (!options)
		return -ENOMEM;
	options->max_pages = mult_frac(totalram_pages(), DEFAULT_PERCENT, 100UL);
	options->max_inodes = DEFAULT_INODES;
	options->mode = DEFAULT_MODE;
	options->uid = current_fsuid();
	options->gid = current_fsgid();
	fc->fs_private = options;
	fc->ops = &gm_fs_context_operations;
	return 0;
}

static void gm_fs_kill_sb(struct super_block *sb)
{
	struct gm_fs_info *info = gm_fs_info(sb);

	kill_anon_super(sb);
	if (!info)
		return;
	/* The limit stays allocated until all memory has been scrubbed. */
	gm_limit_put(info->limit);
	simple_xattr_cache_cleanup(&info->xattr_cache);
	kfree(info);
}

/*
 * User namespaces must not mount the file system, because its memory cannot be
 * reclaimed.
 */
static struct file_system_type gm_fs_type = {
	.name		 = "guestmem",
	.init_fs_context = gm_fs_init_fs_context,
	.parameters	 = gm_fs_parameters,
	.kill_sb	 = gm_fs_kill_sb,
};

static int __init gm_fs_init(void)
{
	int err = gm_fs_init_inodes();

	return err ?: register_filesystem(&gm_fs_type);
}
fs_initcall(gm_fs_init);
