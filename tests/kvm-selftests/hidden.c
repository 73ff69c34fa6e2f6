// SPDX-License-Identifier: GPL-2.0-only
/*
 * Give the memory of every VM of the KVM selftests a guest_memfd behind it.
 *
 * A region that a test asked to be anonymous memory is mapped, at the same
 * address, from a new guest_memfd, and the same file backs the memslot.  The
 * tests do not notice, as long as they do nothing that KVM refuses for the
 * memslots of a guest_memfd: logging dirty pages, or read-only memory.
 *
 * KVM_SELFTEST_GMEM_FLAGS	flags of the files (default: MMAP | INIT_SHARED |
 *				NO_DIRECT_MAP); "none" gives ordinary memory
 * KVM_SELFTEST_GMEM_SLOTS	"slot0": only memslot 0, i.e. the guest's code,
 *				stack and page tables, not the memory that the
 *				test adds and may later log or make read-only
 * KVM_SELFTEST_GMEM_SEAL	"1": no process has the memory mapped in KVM_RUN: sealed.c
 * KVM_SELFTEST_GMEM_DIR	a mount of the guestmem file system, or "-": the
 *				memslots stay plain ones, over a mapping of a file
 *				there, or of a guest_memfd.  KVM refuses nothing then, so
 *				all memory is hidden.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_util.h"
#include "test_util.h"
#include "hidden.h"

#define FLAG_MMAP		(1ull << 0)
#define FLAG_INIT_SHARED	(1ull << 1)
#define FLAG_NO_DIRECT_MAP	(1ull << 2)

static bool hidden_flags(u64 *flags)
{
	const char *s = getenv("KVM_SELFTEST_GMEM_FLAGS");

	*flags = FLAG_MMAP | FLAG_INIT_SHARED | FLAG_NO_DIRECT_MAP;
	if (s && !strcmp(s, "none"))
		return false;
	if (s)
		*flags = strtoull(s, NULL, 0);
	return true;
}

/* Where the files of plain memslots are, or NULL. */
static const char *hidden_dir(void)
{
	return getenv("KVM_SELFTEST_GMEM_DIR");
}

static bool hidden_wants_slot(unsigned int slot)
{
	const char *s = getenv("KVM_SELFTEST_GMEM_SLOTS");

	return slot == 0 || !s || strcmp(s, "slot0");
}

/* A run that hides nothing must not pass for one that does. */
static void hidden_check(int fd, void *mem)
{
	unsigned long pages = 0;
	char path[64], line[128];
	FILE *f;

	WRITE_ONCE(*(char *)mem, 0);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	TEST_ASSERT(f, "cannot open %s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f))
		sscanf(line, "guest_memfd-hidden: %lu", &pages);
	fclose(f);
	TEST_ASSERT(pages >= 1, "a page was touched, and %lu pages are hidden", pages);
}

static int hidden_open(struct kvm_vm *vm, size_t size, u64 flags)
{
	u64 known = vm_check_cap(vm, KVM_CAP_GUEST_MEMFD_FLAGS);
	const char *dir = hidden_dir();
	int fd;

	TEST_ASSERT((known & flags) == flags,
		    "this kernel has guest_memfd flags 0x%lx, not 0x%lx",
		    known, flags);
	if (!dir || !strcmp(dir, "-"))
		return vm_create_guest_memfd(vm, size, flags);

	fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	TEST_ASSERT(fd >= 0, "cannot create a file in %s: %s", dir, strerror(errno));
	TEST_ASSERT(!ftruncate(fd, size), "ftruncate() failed: %s", strerror(errno));
	return fd;
}

/* A hidden file, mapped over the memory of @region. */
static void hidden_map(struct kvm_vm *vm, struct userspace_mem_region *region,
		       size_t size, u64 flags)
{
	int fd = hidden_open(vm, size, flags);
	void *mem;

	mem = mmap(region->host_mem, size, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED, fd, 0);
	TEST_ASSERT(mem == region->host_mem, "mmap() of a guest_memfd failed: %s",
		    strerror(errno));
	if (flags & FLAG_NO_DIRECT_MAP)
		hidden_check(fd, mem);
	if (hidden_dir()) {
		/* The mapping keeps the file. */
		close(fd);
		return;
	}
	sealed_add(fd, mem, size);

	region->region.guest_memfd = fd;
	region->region.guest_memfd_offset = 0;
}

/* Not a VM that keeps memory of its own for the guest. */
static bool hidden_wants_vm(struct kvm_vm *vm)
{
#ifdef __x86_64__
	return vm->type == KVM_X86_DEFAULT_VM;
#else
	return true;
#endif
}

/*
 * Called for a new region without a guest_memfd of its own, after its memory
 * was mapped and before its memslot exists; returns memslot flags to add.
 */
unsigned int hidden_back(struct kvm_vm *vm, struct userspace_mem_region *region,
			 unsigned int slot, unsigned int flags)
{
	u64 gmem_flags;

	if (!hidden_wants_vm(vm) || (flags && !hidden_dir()) ||
	    !hidden_wants_slot(slot) || !hidden_flags(&gmem_flags))
		return 0;
	if (region->backing_src_type != VM_MEM_SRC_ANONYMOUS &&
	    region->backing_src_type != VM_MEM_SRC_ANONYMOUS_THP)
		return 0;

	hidden_map(vm, region, region->mmap_size -
		   (region->host_mem - region->mmap_start), gmem_flags);
	return hidden_dir() ? 0 : KVM_MEM_GUEST_MEMFD;
}

/*
 * A guest_memfd belongs to one VM.  When a test destroys a VM and goes on with
 * its memory in a new one, do what migration does: copy.
 */
void hidden_restart(struct kvm_vm *vm, struct userspace_mem_region *region)
{
	size_t size = region->region.memory_size, off;
	int old = region->region.guest_memfd;
	static const char zero[4096];
	u64 flags;
	char *copy;

	if (!(region->region.flags & KVM_MEM_GUEST_MEMFD) || !hidden_flags(&flags))
		return;

	copy = kvm_mmap(size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	for (off = 0; off < size; off += sizeof(zero))
		if (memcmp(region->host_mem + off, zero, sizeof(zero)))
			memcpy(copy + off, region->host_mem + off, sizeof(zero));

	hidden_map(vm, region, size, flags);
	kvm_free_fd(old);

	for (off = 0; off < size; off += sizeof(zero))
		if (memcmp(copy + off, zero, sizeof(zero)))
			memcpy(region->host_mem + off, copy + off, sizeof(zero));
	kvm_munmap(copy, size);
}

/* KVM refuses to move the memslot of a guest_memfd: take it away first. */
void hidden_move(struct kvm_vm *vm, struct userspace_mem_region *region)
{
	struct kvm_userspace_memory_region2 gone = region->region;

	if (!(region->region.flags & KVM_MEM_GUEST_MEMFD))
		return;
	gone.memory_size = 0;
	vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &gone);
}
