// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE	/* process_vm_readv(), syscall() */
#include <errno.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guestmem.h"
#include "memory.h"
#include "message.h"
#include "status.h"

#define GMEM_FLAGS	(GUESTMEM_MMAP | GUESTMEM_INIT_SHARED)
#define HIDDEN_FLAGS	(GMEM_FLAGS | GUESTMEM_NO_DIRECT_MAP)
#define CLOSED_FLAGS	(GUESTMEM_MMAP | GUESTMEM_NO_DIRECT_MAP)	/* starts at level NONE */

#define HUGE_PAGE_SIZE	(2UL << 20)

static const struct kind {
	const char *name;
	uint64_t flags;
	uint32_t level;		/* first level, if has_level */
	bool has_level;
} kinds[MEMORY_KINDS] = {
	[MEMORY_BEST] = { .name = "best" },
	[MEMORY_PLAIN] = { .name = "plain" },
	[MEMORY_THP] = { .name = "thp" },
	[MEMORY_GMEM] = { .name = "gmem", .flags = GMEM_FLAGS },
	[MEMORY_HIDDEN] = { .name = "hidden", .flags = HIDDEN_FLAGS },
	[MEMORY_SEALED] = { .name = "sealed", .flags = CLOSED_FLAGS, .has_level = true,
			    .level = GUESTMEM_ACCESS_USER },
	[MEMORY_GUEST_CONTROLLED] = { .name = "guest-controlled", .flags = CLOSED_FLAGS,
				      .has_level = true, .level = GUESTMEM_ACCESS_KERNEL },
};

const char *memory_kind_name(enum memory_kind kind)
{
	return kinds[kind].name;
}

uint64_t memory_low(const struct memory *memory)
{
	return memory->size < MEMORY_LOW_MAX ? memory->size : MEMORY_LOW_MAX;
}

uint64_t memory_high(const struct memory *memory)
{
	return memory->size - memory_low(memory);
}

bool memory_offset(const struct memory *memory, uint64_t addr, uint64_t len, uint64_t *offset)
{
	uint64_t low = memory_low(memory);

	/* An address below MEMORY_BASE wraps to an offset that is too large. */
	*offset = addr - MEMORY_BASE;
	if (*offset < low)
		return len <= low - *offset;
	if (addr < MEMORY_HIGH_BASE)
		return false;
	addr -= MEMORY_HIGH_BASE;
	*offset = low + addr;
	return addr < memory_high(memory) && len <= memory_high(memory) - addr;
}

void *memory_at(const struct memory *memory, uint64_t addr, uint64_t len)
{
	uint64_t offset;

	if (!memory->base || !memory_offset(memory, addr, len, &offset))
		return NULL;
	return memory->base + offset;
}

void *memory_shared_at(const struct memory *memory, uint64_t addr, uint64_t len)
{
	uint64_t offset;

	if (!memory->shared || !memory_offset(memory, addr, len, &offset))
		return NULL;
	return memory->shared + offset;
}

/*
 * process_vm_readv() and process_vm_writev() pin the pages of the remote side,
 * and hidden pages cannot be pinned.  They copy from or to the local side as
 * read(2) and write(2) do, so guest memory is the local side of a copy within
 * this process.
 */
bool memory_read(const struct memory *memory, uint64_t addr, void *to, size_t len)
{
	struct iovec guest = { memory_shared_at(memory, addr, len), len };
	struct iovec ours = { to, len };

	return guest.iov_base &&
	       process_vm_writev(getpid(), &guest, 1, &ours, 1, 0) == (ssize_t)len;
}

bool memory_write(const struct memory *memory, uint64_t addr, const void *from, size_t len)
{
	struct iovec guest = { memory_shared_at(memory, addr, len), len };
	struct iovec ours = { (void *)from, len };

	return guest.iov_base &&
	       process_vm_readv(getpid(), &guest, 1, &ours, 1, 0) == (ssize_t)len;
}

/*
 * FUTEX_WAKE_OP adds atomically.  It then wakes the threads that wait for two
 * words, but no thread waits.  The key of a private futex is its address, so
 * the kernel does not pin the page; hidden pages cannot be pinned.
 */
bool memory_add(const struct memory *memory, uint64_t addr, unsigned int bit)
{
	const uint32_t add = FUTEX_OP_ADD | FUTEX_OP_OPARG_SHIFT;
	const uint32_t op = FUTEX_OP(add, bit, FUTEX_OP_CMP_EQ, 0);
	uint32_t *word = memory_shared_at(memory, addr, sizeof(*word));
	uint32_t ours = 0;

	return word && syscall(SYS_futex, &ours, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, 1UL, word,
			       op) >= 0;
}

const char *memory_check_copies(void)
{
	uint32_t word = 0, ours = 0;
	struct memory memory = {
		.base = (void *)&word, .shared = (void *)&word, .size = sizeof(word),
	};

	if (!memory_read(&memory, MEMORY_BASE, &ours, sizeof(ours)) ||
	    !memory_write(&memory, MEMORY_BASE, &ours, sizeof(ours)) ||
	    !memory_add(&memory, MEMORY_BASE, 0))
		return strerror(errno);
	return NULL;
}

static enum memory_kind best_kind(int vm_fd)
{
	char why[160];

	if (!guestmem_explain(vm_fd, HIDDEN_FLAGS, why, sizeof(why)))
		return MEMORY_HIDDEN;
	if (!guestmem_explain(vm_fd, GMEM_FLAGS, NULL, 0)) {
		say("warning: guest memory stays in the host's direct map: %s", why);
		return MEMORY_GMEM;
	}
	say("warning: guest memory is anonymous memory, in the host's direct map: %s", why);
	return MEMORY_PLAIN;
}

static int create_anonymous(struct memory *memory)
{
	void *base = mmap(NULL, memory->size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return fail(STATUS_ERROR, "cannot reserve guest memory: %s", strerror(errno));
	memory->range = memory->base = base;
	return 0;
}

/*
 * The kernel maps a huge page only at a multiple of its size, and the guest
 * address is such a multiple.  Reserve a huge page more than the size of the
 * memory and unmap the rest on both sides.
 */
static int create_huge_anonymous(struct memory *memory)
{
	uint64_t reserved = memory->size + HUGE_PAGE_SIZE;
	uint8_t *start, *base;

	start = mmap(NULL, reserved, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return fail(STATUS_ERROR, "cannot reserve guest memory: %s", strerror(errno));
	base = start + -(uintptr_t)start % HUGE_PAGE_SIZE;
	if (base > start)
		munmap(start, base - start);
	munmap(base + memory->size, start + reserved - (base + memory->size));
	memory->range = memory->base = base;
	if (madvise(base, memory->size, MADV_HUGEPAGE))
		return fail(STATUS_ERROR, "thp memory: the kernel has no transparent huge pages: %s",
			    strerror(errno));
	return 0;
}

static int set_first_level(struct memory *memory, const struct kind *kind)
{
	int ret = guestmem_supported_access(memory->fd);

	if (ret == -EOPNOTSUPP)
		return fail(STATUS_ERROR, "%s memory: this kernel's guest_memfd has no access levels",
			    kind->name);
	if (!ret)
		ret = guestmem_set_access(memory->fd, 0, memory->size, kind->level, NULL);
	if (ret)
		return fail(STATUS_ERROR, "cannot set the access level of guest memory: %s",
			    strerror(-ret));
	return 0;
}

static int create_guest_memfd(struct memory *memory, int vm_fd)
{
	const struct kind *kind = &kinds[memory->kind];
	char why[160];
	void *base;
	int ret;

	if (guestmem_explain(vm_fd, kind->flags, why, sizeof(why)))
		return fail(STATUS_ERROR, "%s memory: %s", kind->name, why);
	memory->fd = guestmem_create(vm_fd, memory->size, kind->flags);
	if (memory->fd < 0)
		return fail(STATUS_ERROR, "cannot create guest memory: %s", strerror(-memory->fd));
	if (kind->has_level) {
		ret = set_first_level(memory, kind);
		if (ret)
			return ret;
	}
	ret = guestmem_map(memory->fd, 0, memory->size, &base);
	if (ret)
		return fail(STATUS_ERROR, "cannot map guest memory: %s", strerror(-ret));
	memory->range = memory->base = base;
	return 0;
}

static int bind(struct memory *memory, int vm_fd, uint32_t slot, uint64_t addr,
		uint64_t offset, uint64_t size)
{
	int ret;

	if (memory->fd < 0) {
		struct kvm_userspace_memory_region region = {
			.slot = slot, .guest_phys_addr = addr, .memory_size = size,
			.userspace_addr = (uintptr_t)memory->range + offset,
		};

		ret = ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region) ? -errno : 0;
	} else {
		struct guestmem_slot gslot = {
			.slot = slot, .fd = memory->fd, .offset = offset,
			.guest_addr = addr, .size = size, .host_addr = (char *)memory->range + offset,
		};

		ret = guestmem_bind(vm_fd, &gslot);
	}
	if (ret)
		return fail(STATUS_ERROR, "cannot create a memslot: %s", strerror(-ret));
	return 0;
}

int memory_create(struct memory *memory, int vm_fd, enum memory_kind kind, uint64_t size)
{
	int ret;

	if (kind == MEMORY_BEST)
		kind = best_kind(vm_fd);
	*memory = (struct memory){ .kind = kind, .fd = -1, .size = size };

	if (kind == MEMORY_PLAIN)
		ret = create_anonymous(memory);
	else if (kind == MEMORY_THP)
		ret = create_huge_anonymous(memory);
	else
		ret = create_guest_memfd(memory, vm_fd);
	memory->shared = memory->base;
	if (!ret)
		ret = bind(memory, vm_fd, 0, MEMORY_BASE, 0, memory_low(memory));
	if (!ret && memory_high(memory))
		ret = bind(memory, vm_fd, 1, MEMORY_HIGH_BASE, memory_low(memory),
			   memory_high(memory));
	if (ret)
		memory_destroy(memory);
	return ret;
}

int memory_seal(struct memory *memory)
{
	uint64_t at;
	int ret;

	if (memory->kind != MEMORY_SEALED)
		return 0;
	/*
	 * KVM does not use the user address of a memslot at level NONE.  If
	 * another mapping were at that address, a bug in KVM could access it,
	 * so atomically replace the mapping by a reservation.
	 */
	if (mmap(memory->range, memory->size, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		return fail(STATUS_ERROR, "cannot unmap guest memory: %s", strerror(errno));
	memory->base = memory->shared = NULL;
	ret = guestmem_make_inaccessible(memory->fd, 0, memory->size, 0, &at);
	if (ret == -EAGAIN || ret == -EHWPOISON)
		return fail(STATUS_ERROR, "cannot set level NONE at offset 0x%llx of guest memory: %s",
			    (unsigned long long)at, strerror(-ret));
	if (ret)
		return fail(STATUS_ERROR, "cannot set level NONE of guest memory: %s", strerror(-ret));
	return 0;
}

int memory_share(struct memory *memory)
{
	void *shared;
	int ret;

	if (memory->kind != MEMORY_SEALED)
		return 0;
	ret = guestmem_map(memory->fd, 0, memory->size, &shared);
	if (ret)
		return fail(STATUS_ERROR, "cannot map guest memory for the disk: %s", strerror(-ret));
	memory->shared = shared;
	return 0;
}

void memory_destroy(struct memory *memory)
{
	if (memory->shared && memory->shared != memory->base)
		munmap(memory->shared, memory->size);
	if (memory->range)
		munmap(memory->range, memory->size);
	if (memory->fd >= 0)
		close(memory->fd);
	memory->range = memory->base = memory->shared = NULL;
	memory->fd = -1;
}
