// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guestmem.h"
#include "memory.h"
#include "message.h"
#include "status.h"

#define GMEM_FLAGS	(GUESTMEM_MMAP | GUESTMEM_INIT_SHARED)
#define HIDDEN_FLAGS	(GMEM_FLAGS | GUESTMEM_NO_DIRECT_MAP)

const char *memory_kind_name(enum memory_kind kind)
{
	static const char * const names[] = {
		[MEMORY_BEST] = "best", [MEMORY_PLAIN] = "plain",
		[MEMORY_GMEM] = "gmem", [MEMORY_HIDDEN] = "hidden",
	};

	return names[kind];
}

uint64_t memory_low(const struct memory *memory)
{
	return memory->size < MEMORY_LOW_MAX ? memory->size : MEMORY_LOW_MAX;
}

uint64_t memory_high(const struct memory *memory)
{
	return memory->size - memory_low(memory);
}

void *memory_at(const struct memory *memory, uint64_t addr, uint64_t len)
{
	uint64_t low = memory_low(memory);

	if (addr < low)
		return len <= low - addr ? memory->base + addr : NULL;
	if (addr < MEMORY_HIGH_BASE)
		return NULL;
	addr -= MEMORY_HIGH_BASE;
	if (addr >= memory_high(memory) || len > memory_high(memory) - addr)
		return NULL;
	return memory->base + low + addr;
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
	memory->base = base;
	return 0;
}

static int create_guest_memfd(struct memory *memory, int vm_fd, uint64_t flags)
{
	char why[160];
	void *base;
	int ret;

	if (guestmem_explain(vm_fd, flags, why, sizeof(why)))
		return fail(STATUS_ERROR, "--memory %s: %s", memory_kind_name(memory->kind), why);
	memory->fd = guestmem_create(vm_fd, memory->size, flags);
	if (memory->fd < 0)
		return fail(STATUS_ERROR, "cannot create guest memory: %s", strerror(-memory->fd));
	ret = guestmem_map(memory->fd, 0, memory->size, &base);
	if (ret)
		return fail(STATUS_ERROR, "cannot map guest memory: %s", strerror(-ret));
	memory->base = base;
	return 0;
}

static int bind(struct memory *memory, int vm_fd, uint32_t slot, uint64_t addr,
		uint64_t offset, uint64_t size)
{
	int ret;

	if (memory->fd < 0) {
		struct kvm_userspace_memory_region region = {
			.slot = slot, .guest_phys_addr = addr, .memory_size = size,
			.userspace_addr = (uintptr_t)memory->base + offset,
		};

		ret = ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region) ? -errno : 0;
	} else {
		struct guestmem_slot gslot = {
			.slot = slot, .fd = memory->fd, .offset = offset,
			.guest_addr = addr, .size = size, .host_addr = memory->base + offset,
		};

		ret = guestmem_bind(vm_fd, &gslot);
	}
	if (ret)
		return fail(STATUS_ERROR, "cannot give the guest its memory: %s", strerror(-ret));
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
	else
		ret = create_guest_memfd(memory, vm_fd,
					 kind == MEMORY_HIDDEN ? HIDDEN_FLAGS : GMEM_FLAGS);
	if (!ret)
		ret = bind(memory, vm_fd, 0, 0, 0, memory_low(memory));
	if (!ret && memory_high(memory))
		ret = bind(memory, vm_fd, 1, MEMORY_HIGH_BASE, memory_low(memory),
			   memory_high(memory));
	if (ret)
		memory_destroy(memory);
	return ret;
}

void memory_destroy(struct memory *memory)
{
	guestmem_unmap(memory->base, memory->size);
	if (memory->fd >= 0)
		close(memory->fd);
	memory->base = NULL;
	memory->fd = -1;
}
