/* SPDX-License-Identifier: MIT OR LGPL-2.1-or-later */
/*
 * libguestmem: guest memory in a guest_memfd, optionally hidden, which means
 * absent from the host kernel's direct map.
 *
 * Conventions of every function here:
 *  - Sizes, offsets and guest addresses are in bytes and are multiples of the
 *    page size.  Counters are in pages of 4 KiB unless noted otherwise.
 *  - A result of type int is 0 or a file descriptor on success, and a negative
 *    errno value on failure.  The functions do not promise a value of errno.
 *  - The caller owns the file descriptors and mappings that a function returns,
 *    and keeps the descriptors that it passes in.
 *  - The library has no global state, so any thread may call any function at
 *    any time.  The caller orders calls on the same memslot or mapping.
 */
#ifndef GUESTMEM_H
#define GUESTMEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Flags of guestmem_create(), with the values of KVM_CREATE_GUEST_MEMFD. */
#define GUESTMEM_MMAP		(1ULL << 0)	/* the host may map the file */
#define GUESTMEM_INIT_SHARED	(1ULL << 1)	/* the host may use the memory from the start */
#define GUESTMEM_NO_DIRECT_MAP	(1ULL << 2)	/* the file's pages are hidden */

/**
 * guestmem_supported_flags - get the flags that this kernel supports
 * @fd:    file descriptor of a VM, or of /dev/kvm when there is no VM yet
 * @flags: receives the set of GUESTMEM_* flags
 *
 * Return: 0; -EOPNOTSUPP when the kernel has no guest_memfd at all.  For a
 * kernel that has guest_memfd but no flags it returns 0 and stores an empty
 * set.
 */
int guestmem_supported_flags(int fd, uint64_t *flags);

/**
 * guestmem_explain - say why this kernel cannot create memory with @flags
 * @fd:    file descriptor of a VM, or of /dev/kvm
 * @flags: GUESTMEM_* flags that the caller intends to use
 * @text:  receives one line without a newline, or "" if @flags are supported
 * @size:  size of @text in bytes
 *
 * Return: 0 if guestmem_create() would accept @flags, else -EOPNOTSUPP.
 */
int guestmem_explain(int fd, uint64_t flags, char *text, size_t size);

/**
 * guestmem_create - create a guest_memfd
 * @vm_fd: file descriptor of the VM to which the file will belong
 * @size:  size of the file; it never changes
 * @flags: GUESTMEM_* flags
 *
 * The kernel populates each page with zeroes at its first use.  It frees the
 * memory when the last descriptor and the last mapping of the file are closed;
 * a memslot holds no reference to the file.  The descriptor is close-on-exec.
 *
 * Return: a file descriptor; -EOPNOTSUPP when the kernel does not support
 * guest_memfd or one of the flags (see guestmem_explain()); -EINVAL for a
 * size that is zero or not a multiple of the page size; or another error of the
 * ioctl (-EMFILE, -ENOMEM).
 */
int guestmem_create(int vm_fd, uint64_t size, uint64_t flags);

/**
 * guestmem_map - map a part of the file, readable and writable
 * @fd:     descriptor from guestmem_create() with GUESTMEM_MMAP
 * @offset: offset of the mapping's first byte in the file
 * @size:   size of the mapping
 * @addr:   receives the address of the mapping
 *
 * An access beyond the end of the file, or to a page at level NONE, raises
 * SIGBUS.  Only loads and stores of the process, and system calls that copy,
 * can access a hidden page.  The kernel refuses to pin it for O_DIRECT,
 * vmsplice or registered buffers, with EFAULT, unless the page is at level
 * KERNEL (see guestmem_set_access()).
 *
 * Return: 0; -ENODEV when the file was created without GUESTMEM_MMAP; -ENOMEM.
 */
int guestmem_map(int fd, uint64_t offset, size_t size, void **addr);

/**
 * guestmem_unmap - remove a mapping
 * @addr: address from guestmem_map(); the function does nothing for NULL
 * @size: the size that was passed to guestmem_map()
 *
 * Return: 0; -EINVAL.
 */
int guestmem_unmap(void *addr, size_t size);

/**
 * struct guestmem_slot - a range of guest-physical memory backed by the file
 * @slot:       number of the memslot, unique in the VM
 * @fd:         descriptor from guestmem_create() on the same VM
 * @offset:     offset of the range's first byte in the file
 * @guest_addr: guest-physical address of the range
 * @size:       size of the range
 * @host_addr:  address of the same bytes in a mapping by guestmem_map().  KVM
 *              uses it for its own accesses on behalf of the guest.  A range
 *              that stays at level NONE needs no mapping; then this is the
 *              address of @size bytes at which the process will never map
 *              anything else, for example a reservation with PROT_NONE.
 */
struct guestmem_slot {
	uint32_t slot;
	int fd;
	uint64_t offset;
	uint64_t guest_addr;
	uint64_t size;
	void *host_addr;
};

/**
 * guestmem_bind - make a range of the file a memslot of the guest
 * @vm_fd: file descriptor of the VM
 * @slot:  the memslot; the library does not keep the pointer
 *
 * A memslot cannot be changed afterwards, only unbound.  Keep a descriptor or a
 * mapping of the file for as long as the guest needs the memory: when the last
 * of them is closed, the kernel removes the memory from the memslot.
 *
 * Return: 0; -EEXIST when the range overlaps another memslot; -EINVAL, also
 * when this part of the file is bound already.
 */
int guestmem_bind(int vm_fd, const struct guestmem_slot *slot);

/**
 * guestmem_unbind - delete a memslot of the guest
 * @vm_fd: file descriptor of the VM
 * @slot:  number of the memslot
 *
 * Return: 0; -EINVAL when there is no such memslot.
 */
int guestmem_unbind(int vm_fd, uint32_t slot);

/*
 * The access level of a range says how the host may access it.  The guest may
 * always access its memory, and a change of the level keeps the contents.
 */
#define GUESTMEM_ACCESS_NONE	0	/* not at all; user accesses raise SIGBUS */
#define GUESTMEM_ACCESS_USER	1	/* by user mappings and system calls that copy */
#define GUESTMEM_ACCESS_KERNEL	2	/* the host kernel too: O_DIRECT, vhost, io_uring, ... */

/**
 * guestmem_supported_access - find out whether the kernel has access levels
 * @fd: descriptor from guestmem_create()
 *
 * A file that was created with NO_DIRECT_MAP and INIT_SHARED starts at level
 * USER, a file with INIT_SHARED alone at KERNEL, and any other file at NONE.
 * In a file without NO_DIRECT_MAP the level restricts user mappings only.
 *
 * Return: 0; -EOPNOTSUPP when the kernel has no access levels.
 */
int guestmem_supported_access(int fd);

/**
 * guestmem_set_access - change the access level of a range
 * @fd:           descriptor from guestmem_create()
 * @offset:       offset of the range in the file
 * @size:         size of the range, not zero
 * @level:        GUESTMEM_ACCESS_*
 * @error_offset: NULL, or receives the offset of the page that prevented the
 *                change when the result is -EAGAIN or -EHWPOISON; the function
 *                does not write it in any other case
 *
 * The kernel changes all of the range or nothing.  The guest may run meanwhile.
 * A page that is populated later has the level of its range.
 *
 * Return: 0; -EAGAIN when a page is still pinned, for example by a read with
 * O_DIRECT that has not ended; -EHWPOISON for a page that the hardware has
 * reported as bad; -EINVAL, also for USER in a file without GUESTMEM_MMAP;
 * -EOPNOTSUPP when the kernel has no access levels; -ENOMEM; -EINTR.
 */
int guestmem_set_access(int fd, uint64_t offset, uint64_t size, uint32_t level,
			uint64_t *error_offset);

/**
 * guestmem_get_access - get the access level at an offset
 * @fd:     descriptor from guestmem_create()
 * @offset: offset in the file
 * @level:  receives GUESTMEM_ACCESS_*
 * @size:   NULL, or receives the number of bytes from @offset on that have this
 *          level
 *
 * Return: 0; -EINVAL; -EOPNOTSUPP.
 */
int guestmem_get_access(int fd, uint64_t offset, uint32_t *level, uint64_t *size);

/**
 * struct guestmem_range - a part of the file with one access level
 * @offset: offset of its first byte in the file
 * @size:   size of the part in bytes
 * @level:  GUESTMEM_ACCESS_*
 */
struct guestmem_range {
	uint64_t offset;
	uint64_t size;
	uint32_t level;
};

/**
 * guestmem_next_range - get the next range of the file that has one level
 * @fd:    descriptor from guestmem_create()
 * @range: all zero before the first call, then unchanged since the previous
 *         call
 *
 * A range may be out of date if another thread changes levels meanwhile, but
 * each range starts where the previous one ended.
 *
 *	struct guestmem_range range = { 0 };
 *
 *	while ((ret = guestmem_next_range(fd, &range)) > 0)
 *		use(range.offset, range.size, range.level);
 *
 * Return: 1 with the next range in @range; 0 after the last; -EOPNOTSUPP;
 * -EBADF.
 */
int guestmem_next_range(int fd, struct guestmem_range *range);

/**
 * guestmem_make_accessible - allow the host kernel to access a range
 * @fd:           descriptor from guestmem_create()
 * @offset:       offset of the range in the file
 * @size:         size of the range
 * @timeout_ms:   how long to retry while a page is pinned; 0: try once
 * @error_offset: as for guestmem_set_access()
 *
 * Sets the access level KERNEL.
 *
 * Return: as guestmem_set_access(); -EAGAIN when the timeout has expired.
 */
int guestmem_make_accessible(int fd, uint64_t offset, uint64_t size, unsigned int timeout_ms,
			     uint64_t *error_offset);

/**
 * guestmem_make_inaccessible - allow nothing but the guest to access a range
 * @fd:           descriptor from guestmem_create()
 * @offset:       offset of the range in the file
 * @size:         size of the range
 * @timeout_ms:   how long to retry while a page is pinned; 0: try once
 * @error_offset: as for guestmem_set_access()
 *
 * Sets the access level NONE.  The change fails while a page of the range is
 * pinned, for example by I/O that has not ended.  After -EAGAIN the level of
 * the whole range is unchanged.
 *
 * Return: as guestmem_set_access(); -EAGAIN when the timeout has expired.
 */
int guestmem_make_inaccessible(int fd, uint64_t offset, uint64_t size, unsigned int timeout_ms,
			       uint64_t *error_offset);

/* Bits for the members of struct guestmem_counters that the kernel prints. */
#define GUESTMEM_HAS_SIZE		(1U << 0)
#define GUESTMEM_HAS_FLAGS		(1U << 1)
#define GUESTMEM_HAS_POPULATED		(1U << 2)
#define GUESTMEM_HAS_BLOCKS		(1U << 3)
#define GUESTMEM_HAS_HIDDEN		(1U << 4)
#define GUESTMEM_HAS_REFERENCED		(1U << 5)
#define GUESTMEM_HAS_LEVEL_NONE		(1U << 6)
#define GUESTMEM_HAS_LEVEL_USER		(1U << 7)
#define GUESTMEM_HAS_LEVEL_KERNEL	(1U << 8)
#define GUESTMEM_HAS_PUT_PENDING	(1U << 9)
#define GUESTMEM_HAS_LEFT_REFERENCED	(1U << 10)
#define GUESTMEM_HAS_DONATED		(1U << 11)
#define GUESTMEM_HAS_SHARED		(1U << 12)

/**
 * struct guestmem_counters - the state of one guest_memfd
 * @has:          GUESTMEM_HAS_* bits of the members that the kernel has
 *                printed; all other members are 0
 * @size:         size of the file in bytes
 * @flags:        GUESTMEM_* flags with which the file was created
 * @populated:    pages that are populated
 * @blocks:       number of blocks of 2 MiB plus number of order-0 pages
 * @hidden:       pages that are absent from the direct map
 * @referenced:   pages for which the kernel holds a direct-map reference
 * @put_pending:  those of @referenced whose last reference was put; the kernel
 *                hides them within 100 ms unless it takes a reference again
 * @left_referenced: pages that were removed from the file while the kernel
 *                holds a direct-map reference
 * @donated:      pages that pKVM has taken from the host for a protected VM;
 *                arm64 kernels only
 * @shared:       pages that a protected VM shares with the host; arm64 kernels
 *                only
 * @level_none:   pages of the file, populated or not, at level NONE
 * @level_user:   pages of the file, populated or not, at level USER
 * @level_kernel: pages of the file, populated or not, at level KERNEL
 *
 * The kernel counts page by page while the guest runs, so two counters need not
 * describe the same moment.
 */
struct guestmem_counters {
	uint32_t has;
	uint64_t size;
	uint64_t flags;
	uint64_t populated;
	uint64_t blocks;
	uint64_t hidden;
	uint64_t referenced;
	uint64_t level_none;
	uint64_t level_user;
	uint64_t level_kernel;
	uint64_t put_pending;
	uint64_t left_referenced;
	uint64_t donated;
	uint64_t shared;
};

/**
 * guestmem_read_counters - read the counters of a file of this process
 * @fd:       descriptor from guestmem_create()
 * @counters: receives the counters
 *
 * Return: 0; -ENODATA when the kernel prints no counters for this descriptor;
 * -EBADF; -EPROTO when the text is malformed.
 */
int guestmem_read_counters(int fd, struct guestmem_counters *counters);

/**
 * guestmem_read_counters_of - read the counters of a file of another process
 * @pid:      ID of the process
 * @fd:       number of the descriptor in that process
 * @counters: receives the counters
 *
 * Return: as guestmem_read_counters(); -ESRCH; -EACCES.
 */
int guestmem_read_counters_of(pid_t pid, int fd, struct guestmem_counters *counters);

/**
 * guestmem_parse_counters - read counters from the text of an fdinfo file
 * @text:     the whole text, NUL-terminated
 * @counters: receives the counters
 *
 * Return: 0; -ENODATA when the text has no counters; -EPROTO for a malformed
 * number.
 */
int guestmem_parse_counters(const char *text, struct guestmem_counters *counters);

#ifdef __cplusplus
}
#endif

#endif
