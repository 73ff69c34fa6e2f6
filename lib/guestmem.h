/* SPDX-License-Identifier: MIT OR LGPL-2.1-or-later */
/*
 * libguestmem: guest memory that lives in a guest_memfd, optionally outside
 * the host kernel's direct map.
 *
 * Conventions of every function here:
 *  - sizes, offsets and guest addresses are bytes and multiples of the page
 *    size; counters are pages of 4 KiB unless named otherwise;
 *  - a result of type int is 0 or a file descriptor on success and a negative
 *    errno value on failure; errno itself is not part of the interface;
 *  - file descriptors and mappings that a function returns belong to the
 *    caller; descriptors that are passed in stay the caller's;
 *  - there is no global state: all functions may be called from any thread at
 *    any time.  Order calls on the same slot or the same mapping yourself.
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
#define GUESTMEM_NO_DIRECT_MAP	(1ULL << 2)	/* pages leave the direct map */

/**
 * guestmem_supported_flags - which flags this kernel offers
 * @fd:    of a VM, or of /dev/kvm when there is no VM yet
 * @flags: where the set of GUESTMEM_* flags is stored
 *
 * Return: 0; -EOPNOTSUPP when there is no guest_memfd at all.  A kernel that
 * has guest_memfd but no flags gives 0 and an empty set.
 */
int guestmem_supported_flags(int fd, uint64_t *flags);

/**
 * guestmem_explain - say in words whether memory with @flags can be had
 * @fd:    of a VM, or of /dev/kvm
 * @flags: GUESTMEM_* flags that the caller would like
 * @text:  where one line without a newline is stored, "" if all is well
 * @size:  of @text in bytes
 *
 * Return: 0 if guestmem_create() would accept @flags, else -EOPNOTSUPP.
 */
int guestmem_explain(int fd, uint64_t flags, char *text, size_t size);

/**
 * guestmem_create - make a guest_memfd
 * @vm_fd: of the VM that it will belong to
 * @size:  of the file, fixed for its life
 * @flags: GUESTMEM_* flags
 *
 * The memory is populated at first use, zeroed, and is freed when the last
 * descriptor and mapping of the file are gone; a memslot does not hold it.  The
 * descriptor is close-on-exec.
 *
 * Return: a file descriptor; -EOPNOTSUPP when the kernel does not offer
 * guest_memfd or one of the flags (see guestmem_explain()); -EINVAL for a
 * size that is zero or not a multiple of the page size; or what the kernel
 * says (-EMFILE, -ENOMEM).
 */
int guestmem_create(int vm_fd, uint64_t size, uint64_t flags);

/**
 * guestmem_map - map a part of the file, readable and writable
 * @fd:     from guestmem_create() with GUESTMEM_MMAP
 * @offset: of the first byte in the file
 * @size:   of the mapping
 * @addr:   where its address is stored
 *
 * An access beyond the end of the file, or to a page that the host may not
 * touch, is a SIGBUS.  Of NO_DIRECT_MAP memory only the caller's own loads and
 * stores and copying system calls reach the pages, unless they are at level
 * KERNEL (see guestmem_set_access()): O_DIRECT, vmsplice and registered buffers
 * are refused with EFAULT.
 *
 * Return: 0; -ENODEV when the file was made without GUESTMEM_MMAP; -ENOMEM.
 */
int guestmem_map(int fd, uint64_t offset, size_t size, void **addr);

/**
 * guestmem_unmap - undo guestmem_map()
 * @addr: from guestmem_map(); NULL is ignored
 * @size: as given to guestmem_map()
 *
 * Return: 0; -EINVAL.
 */
int guestmem_unmap(void *addr, size_t size);

/**
 * struct guestmem_slot - a range of guest-physical memory backed by the file
 * @slot:       number of the memslot, unique in the VM
 * @fd:         from guestmem_create() on the same VM
 * @offset:     of the range's first byte in the file
 * @guest_addr: guest-physical address
 * @size:       of the range
 * @host_addr:  address of the same bytes in a mapping by guestmem_map(); KVM
 *              uses it for its own accesses on the guest's behalf.  Where the
 *              range is at level NONE for good there need be no mapping: an
 *              address of the same size that nothing else will come to, such
 *              as a reservation with PROT_NONE
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
 * guestmem_bind - give a range to the guest
 * @vm_fd: of the VM
 * @slot:  what to bind; not kept
 *
 * The slot cannot be changed afterwards, only unbound.  Keep a descriptor or a
 * mapping of the file for as long as the guest is to have the memory: with the
 * last of them it is gone from the slot too.
 *
 * Return: 0; -EEXIST when the range overlaps another slot; -EINVAL, also when
 * this part of the file is bound already.
 */
int guestmem_bind(int vm_fd, const struct guestmem_slot *slot);

/**
 * guestmem_unbind - take a slot away from the guest
 * @vm_fd: of the VM
 * @slot:  number of the memslot
 *
 * Return: 0; -EINVAL when there is no such slot.
 */
int guestmem_unbind(int vm_fd, uint32_t slot);

/*
 * Access levels: what the host may do with a range of the file.  The guest may
 * always use its memory, and its contents survive every change.
 */
#define GUESTMEM_ACCESS_NONE	0	/* nothing; a mapping gives SIGBUS */
#define GUESTMEM_ACCESS_USER	1	/* processes may map it and copy */
#define GUESTMEM_ACCESS_KERNEL	2	/* the host kernel too: O_DIRECT, vhost, io_uring, ... */

/**
 * guestmem_supported_access - does the kernel have access levels?
 * @fd: from guestmem_create()
 *
 * A file starts at level USER if made with NO_DIRECT_MAP and INIT_SHARED, at
 * KERNEL with INIT_SHARED alone, and else at NONE.  Without NO_DIRECT_MAP a
 * level only says what user mappings may do.
 *
 * Return: 0; -EOPNOTSUPP when it has none.
 */
int guestmem_supported_access(int fd);

/**
 * guestmem_set_access - change the level of a range
 * @fd:           from guestmem_create()
 * @offset:       of the range in the file
 * @size:         of the range, not zero
 * @level:        GUESTMEM_ACCESS_*
 * @error_offset: NULL, or where the offset of the page in the way is stored when
 *                the result is -EAGAIN or -EHWPOISON; else it is not written
 *
 * All of the range changes or nothing does.  It may be called while the guest
 * runs.  Pages that do not exist yet will come at the level of their range.
 *
 * Return: 0; -EAGAIN when somebody still holds a page, for instance a read with
 * O_DIRECT that has not ended; -EHWPOISON for a page that the hardware has
 * reported as bad; -EINVAL, also for USER in a file without GUESTMEM_MMAP;
 * -EOPNOTSUPP when the kernel has no levels; -ENOMEM; -EINTR.
 */
int guestmem_set_access(int fd, uint64_t offset, uint64_t size, uint32_t level,
			uint64_t *error_offset);

/**
 * guestmem_get_access - the level at an offset
 * @fd:     from guestmem_create()
 * @offset: in the file
 * @level:  where GUESTMEM_ACCESS_* is stored
 * @size:   NULL, or where it is stored how far from @offset on the level runs
 *
 * Return: 0; -EINVAL; -EOPNOTSUPP.
 */
int guestmem_get_access(int fd, uint64_t offset, uint32_t *level, uint64_t *size);

/**
 * struct guestmem_range - a part of the file with one level
 * @offset: of its first byte
 * @size:   in bytes
 * @level:  GUESTMEM_ACCESS_*
 */
struct guestmem_range {
	uint64_t offset;
	uint64_t size;
	uint32_t level;
};

/**
 * guestmem_next_range - go through the levels of the file
 * @fd:    from guestmem_create()
 * @range: all zero before the first call, then as the last call left it
 *
 * While levels change, each range is right for a moment; the ranges adjoin all
 * the same.
 *
 *	struct guestmem_range range = { 0 };
 *
 *	while ((ret = guestmem_next_range(fd, &range)) > 0)
 *		use(range.offset, range.size, range.level);
 *
 * Return: 1 with the next range in @range; 0 after the last; -EOPNOTSUPP; -EBADF.
 */
int guestmem_next_range(int fd, struct guestmem_range *range);

/**
 * guestmem_make_accessible - let the host kernel use a range
 * @fd:           from guestmem_create()
 * @offset:       of the range in the file
 * @size:         of the range
 * @timeout_ms:   how long to try again while a page is held; 0: try once
 * @error_offset: as for guestmem_set_access()
 *
 * Sets the level KERNEL.
 *
 * Return: as guestmem_set_access(); -EAGAIN when the time is over.
 */
int guestmem_make_accessible(int fd, uint64_t offset, uint64_t size, unsigned int timeout_ms,
			     uint64_t *error_offset);

/**
 * guestmem_make_inaccessible - leave a range to the guest alone
 * @fd:           from guestmem_create()
 * @offset:       of the range in the file
 * @size:         of the range
 * @timeout_ms:   how long to try again while a page is held; 0: try once
 * @error_offset: as for guestmem_set_access()
 *
 * Sets the level NONE.  Whoever holds a page, for I/O that is under way, must
 * let go of it first; after -EAGAIN all of the range is as it was.
 *
 * Return: as guestmem_set_access(); -EAGAIN when the time is over.
 */
int guestmem_make_inaccessible(int fd, uint64_t offset, uint64_t size, unsigned int timeout_ms,
			       uint64_t *error_offset);

/* Which members of struct guestmem_counters the kernel told. */
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
 * @has:          GUESTMEM_HAS_* of the members below; the others are 0
 * @size:         of the file, bytes
 * @flags:        GUESTMEM_* flags that it was made with
 * @populated:    pages that exist
 * @blocks:       its blocks of 2 MiB, and its single pages
 * @hidden:       pages without an entry in the direct map
 * @referenced:   pages with a direct-map reference of the kernel
 * @put_pending:  those of them whose last reference was put; they are hidden
 *                within 100 ms unless the kernel takes a reference again
 * @left_referenced: pages that left the file and still have such a reference
 * @donated:      pages that a protected VM has for itself; kernels for arm64 tell it
 * @shared:       pages that it shares with the host; the same
 * @level_none:   pages of the file, populated or not, at level NONE
 * @level_user:   the same at level USER
 * @level_kernel: the same at level KERNEL
 *
 * The kernel adds them up page by page while the guest runs: each is right
 * for a moment, together they need not be of the same moment.
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
 * @fd:       from guestmem_create()
 * @counters: where they are stored
 *
 * Return: 0; -ENODATA when the kernel shows none for this descriptor;
 * -EBADF; -EPROTO when the text is not understood.
 */
int guestmem_read_counters(int fd, struct guestmem_counters *counters);

/**
 * guestmem_read_counters_of - the same for a descriptor of another process
 * @pid:      of the process
 * @fd:       number of the descriptor there
 * @counters: where they are stored
 *
 * Return: as guestmem_read_counters(); -ESRCH; -EACCES.
 */
int guestmem_read_counters_of(pid_t pid, int fd, struct guestmem_counters *counters);

/**
 * guestmem_parse_counters - read counters from the text of an fdinfo file
 * @text:     the whole text, NUL-terminated
 * @counters: where they are stored
 *
 * Return: 0; -ENODATA when none is in it; -EPROTO for a malformed number.
 */
int guestmem_parse_counters(const char *text, struct guestmem_counters *counters);

#ifdef __cplusplus
}
#endif

#endif
