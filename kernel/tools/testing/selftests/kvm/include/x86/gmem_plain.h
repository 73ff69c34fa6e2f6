/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of the tests of plain memslots, without a guest_memfd, over a
 * mapping of hidden memory (x86/guest_memfd_plain*_test.c): a VM on a memfd, on
 * hidden memory at USER or on hidden memory at KERNEL, and a record of what it
 * does, which must be the same on all of them.
 *
 * With GMEM_DIR=directory the hidden memory is a file in that directory, on a
 * mount of the guestmem file system, and not a guest_memfd.
 */
#ifndef SELFTEST_KVM_GMEM_PLAIN_H
#define SELFTEST_KVM_GMEM_PLAIN_H

#include <errno.h>
#include <fcntl.h>
#include <linux/sizes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define BLOCK		SZ_2M
#define SIZE		(4 * BLOCK)
#define NR_PAGES	(SIZE / GMEM_PAGE)
#define TIMEOUT		600
#define OTHER_SLOT	11
#define OTHER_GPA	(GMEM_GPA + SZ_1G)

/* The kinds of memory that a VM uses. */
enum kind {
	MEMFD,
	USER,
	KERNEL,
	NR_KINDS,
};

static const char * const kind_names[NR_KINDS] = { "memfd", "user", "kernel" };

struct world {
	enum kind kind;
	struct kvm_vm *owner;	/* holds a guest_memfd */
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	int fd;
	char *mem;
	u64 seed;
	/* The results of the steps. */
	u64 seen[512];
	const char *what[512];
	unsigned int nr_seen;
};

/* Records a result that must be equal on all kinds of memory. */
static inline void see(struct world *w, const char *what, u64 value)
{
	TEST_ASSERT(w->nr_seen < ARRAY_SIZE(w->seen), "too much was seen");
	w->what[w->nr_seen] = what;
	w->seen[w->nr_seen++] = value;
}

static inline int open_hidden(struct world *w)
{
	const char *dir = getenv("GMEM_DIR");
	int fd;

	if (!dir) {
		w->owner = vm_create_barebones();
		return vm_create_guest_memfd(w->owner, SIZE, GUEST_MEMFD_FLAG_MMAP |
					     GUEST_MEMFD_FLAG_INIT_SHARED |
					     GUEST_MEMFD_FLAG_NO_DIRECT_MAP);
	}
	fd = open(dir, O_RDWR | O_TMPFILE, 0600);
	TEST_ASSERT(fd >= 0, "O_TMPFILE in %s: %s", dir, strerror(errno));
	TEST_ASSERT(!ftruncate(fd, SIZE), "ftruncate: %s", strerror(errno));
	return fd;
}

/* Maps the file at an address that allows PMD mappings. */
static inline char *map_aligned(int fd)
{
	char *mem = kvm_mmap(SIZE + BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *start = (char *)(((unsigned long)mem + BLOCK - 1) & ~(BLOCK - 1));

	kvm_munmap(mem, SIZE + BLOCK);
	mem = mmap(start, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	TEST_ASSERT(mem == start, "mmap: %s", strerror(errno));
	return mem;
}

static inline void world_open(struct world *w, enum kind kind)
{
	memset(w, 0, sizeof(*w));
	w->kind = kind;
	w->seed = 0x1234567;
	if (kind == MEMFD)
		w->fd = kvm_memfd_alloc(SIZE, false);
	else
		w->fd = open_hidden(w);
	w->mem = map_aligned(w->fd);
	if (kind == KERNEL)
		gmem_set_access(w->fd, 0, SIZE, GUEST_MEMFD_ACCESS_KERNEL);
}

static inline void guest_loop_of(struct world *w, u64 dirty_ring)
{
	struct gmem_vm g = {};

	gmem_vm_create_bare(&g, 1, 2 * SIZE, dirty_ring);
	w->vm = g.vm;
	w->vcpu = g.vcpus[0];
	virt_map(w->vm, GMEM_GVA, GMEM_GPA, NR_PAGES);
	virt_map(w->vm, OTHER_GPA, OTHER_GPA, NR_PAGES);
}

static inline int slot_set(struct world *w, unsigned int slot, u32 flags, u64 gpa, u64 size)
{
	return __vm_set_user_memory_region(w->vm, slot, flags, gpa, size, w->mem) ? errno : 0;
}

static inline void vm_open(struct world *w)
{
	guest_loop_of(w, 0);
	see(w, "slot", slot_set(w, GMEM_SLOT, 0, GMEM_GPA, SIZE));
}

static inline void vm_close(struct world *w)
{
	kvm_vm_free(w->vm);
	w->vm = NULL;
}

static inline void world_close(struct world *w)
{
	if (w->vm)
		vm_close(w);
	kvm_munmap(w->mem, SIZE);
	close(w->fd);
	if (w->owner)
		kvm_vm_free(w->owner);
}

static inline u64 call(struct world *w, gmem_guest_fn fn, u64 a, u64 b, u64 c)
{
	return gmem_guest_call(w->vcpu, fn, a, b, c);
}

static inline u64 pre_fault(struct world *w, u64 gpa, u64 size)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = size };
	int r = __vcpu_ioctl(w->vcpu, KVM_PRE_FAULT_MEMORY, &range);

	return r ? errno : range.size;
}

/*
 * How many faults a call takes when the guest maps nothing of the memory.
 * Takes the minimum of several rounds: in the first one the guest's own code
 * and page tables are not mapped, and compaction can move them in any.
 */
static inline u64 fewest_faults(struct world *w, bool pre, gmem_guest_fn fn, u64 a, u64 b, u64 c)
{
	u64 before, fewest = ~0ULL;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		TEST_ASSERT(!madvise(w->mem, SIZE, MADV_DONTNEED), "MADV_DONTNEED: %s",
			    strerror(errno));
		if (pre)
			see(w, "mapped", pre_fault(w, GMEM_GPA, SIZE));
		before = vcpu_get_stat(w->vcpu, pf_taken);
		call(w, fn, a, b, c);
		fewest = min(fewest, vcpu_get_stat(w->vcpu, pf_taken) - before);
	}
	return fewest;
}

static inline u64 guest_load(u64 gva, u64 b, u64 c)
{
	return READ_ONCE(*(u64 *)gva);
}

static inline u64 guest_store(u64 gva, u64 value, u64 c)
{
	WRITE_ONCE(*(u64 *)gva, value);
	return 0;
}

/* The guest's access must fail; records how.  The vCPU can run again. */
static inline void see_fault(struct world *w, gmem_guest_fn fn, u64 gva, u64 value)
{
	struct kvm_run *run = w->vcpu->run;
	int r;

	gmem_guest_post(w->vcpu, fn, gva, value, 0);
	run->exit_reason = 0;
	memset(&run->memory_fault, 0xff, sizeof(run->memory_fault));
	r = _vcpu_run(w->vcpu);
	see(w, "KVM_RUN", r);
	see(w, "errno", r ? errno : 0);
	see(w, "exit reason", run->exit_reason);
	TEST_ASSERT(r == -1 && errno == EFAULT && run->exit_reason == KVM_EXIT_MEMORY_FAULT,
		    "%s: KVM_RUN: %d, errno %d, exit reason %u", kind_names[w->kind], r, errno,
		    run->exit_reason);
	see(w, "gpa", run->memory_fault.gpa);
	see(w, "size", run->memory_fault.size);
	see(w, "flags", run->memory_fault.flags);
	TEST_ASSERT_EQ(run->memory_fault.gpa, gva);
}

/* Completes the access that failed. */
static inline u64 finish(struct world *w)
{
	vcpu_run(w->vcpu);
	return gmem_guest_result(w->vcpu);
}

static inline void *map_at(struct world *w, int fd, u64 offset, u64 size, u64 pgoff)
{
	void *mem = mmap(w->mem + offset, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, pgoff);

	TEST_ASSERT(mem != MAP_FAILED, "mmap: %s", strerror(errno));
	return mem;
}

static inline void compare(const char *step, const struct world *a, const struct world *b)
{
	unsigned int i;

	for (i = 0; i < a->nr_seen && i < b->nr_seen; i++)
		TEST_ASSERT(a->what[i] == b->what[i] && a->seen[i] == b->seen[i],
			    "%s: %s is 0x%lx on %s; %s is 0x%lx on %s", step, a->what[i],
			    a->seen[i], kind_names[a->kind], b->what[i], b->seen[i],
			    kind_names[b->kind]);
	TEST_ASSERT_EQ(a->nr_seen, b->nr_seen);
}

FIXTURE(plain) {
	struct world worlds[NR_KINDS];
	int kmsg;
};

FIXTURE_SETUP(plain)
{
	gmem_kmsg_open(&self->kmsg);
}

FIXTURE_TEARDOWN(plain)
{
	gmem_assert_nothing_left(&self->kmsg);
}

#define PLAIN_TEST(name) TEST_F_TIMEOUT(plain, name, TIMEOUT)

#endif /* SELFTEST_KVM_GMEM_PLAIN_H */
