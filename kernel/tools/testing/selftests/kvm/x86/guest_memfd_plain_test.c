// SPDX-License-Identifier: GPL-2.0-only
/*
 * Plain memslots, without a guest_memfd, over a mapping of hidden memory.
 *
 * Proves that a plain memslot over hidden memory does what one over a memfd
 * does: "steps" runs one table of steps on a memfd, on hidden memory at USER
 * and on hidden memory at KERNEL, and compares all results.  Proves that the
 * memory stays hidden meanwhile, that only KVM gets its pages by
 * get_user_pages(), that a range at NONE ends the guest's run with
 * KVM_EXIT_MEMORY_FAULT, that KVM creates 2 MiB mappings, again after dirty
 * logging, and that KVM's clocks hold a direct-map reference which KVM puts
 * within 100 ms when the memory leaves the user address or the memslot.
 *
 * Catches: GUP that refuses KVM (steps), GUP that returns hidden pages to all
 * callers (hidden), a fault at NONE that repeats for ever as an asynchronous
 * page fault (none), a stale guest mapping after munmap(), mprotect(), mremap()
 * or a hole punch (steps), guest mappings of 4 KiB only (huge), a clock that
 * KVM updates through an absent direct map entry (clock: the host oopses), a
 * reference that waits for the vCPU (clock), a fault on a full mount that
 * repeats for ever, fails although memory becomes free, or ignores a signal
 * (full).
 *
 * Not covered: races between these events (guest_memfd_plain_stress_test).
 *
 * With GMEM_DIR=directory the hidden memory is a file in that directory, on a
 * mount of the guestmem file system, and not a guest_memfd.
 */
#include <asm/kvm_para.h>
#include <asm/pvclock-abi.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "guest_memfd_pin.h"
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
#define SMM_SLOT	(1 << 16 | GMEM_SLOT)
#define RING_SIZE	4096

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
static void see(struct world *w, const char *what, u64 value)
{
	TEST_ASSERT(w->nr_seen < ARRAY_SIZE(w->seen), "too much was seen");
	w->what[w->nr_seen] = what;
	w->seen[w->nr_seen++] = value;
}

static int open_hidden(struct world *w)
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
static char *map_aligned(int fd)
{
	char *mem = kvm_mmap(SIZE + BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *start = (char *)(((unsigned long)mem + BLOCK - 1) & ~(BLOCK - 1));

	kvm_munmap(mem, SIZE + BLOCK);
	mem = mmap(start, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	TEST_ASSERT(mem == start, "mmap: %s", strerror(errno));
	return mem;
}

static void world_open(struct world *w, enum kind kind)
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

static void guest_loop_of(struct world *w, u64 dirty_ring)
{
	struct gmem_vm g = {};

	gmem_vm_create_bare(&g, 1, 2 * SIZE, dirty_ring);
	w->vm = g.vm;
	w->vcpu = g.vcpus[0];
	virt_map(w->vm, GMEM_GVA, GMEM_GPA, NR_PAGES);
	virt_map(w->vm, OTHER_GPA, OTHER_GPA, NR_PAGES);
}

static int slot_set(struct world *w, unsigned int slot, u32 flags, u64 gpa, u64 size)
{
	return __vm_set_user_memory_region(w->vm, slot, flags, gpa, size, w->mem) ? errno : 0;
}

static void vm_open(struct world *w)
{
	guest_loop_of(w, 0);
	see(w, "slot", slot_set(w, GMEM_SLOT, 0, GMEM_GPA, SIZE));
}

static void vm_close(struct world *w)
{
	kvm_vm_free(w->vm);
	w->vm = NULL;
}

static void world_close(struct world *w)
{
	if (w->vm)
		vm_close(w);
	kvm_munmap(w->mem, SIZE);
	close(w->fd);
	if (w->owner)
		kvm_vm_free(w->owner);
}

static u64 call(struct world *w, gmem_guest_fn fn, u64 a, u64 b, u64 c)
{
	return gmem_guest_call(w->vcpu, fn, a, b, c);
}

static u64 pre_fault(struct world *w, u64 gpa, u64 size)
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
static u64 fewest_faults(struct world *w, bool pre, gmem_guest_fn fn, u64 a, u64 b, u64 c)
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

static u64 guest_load(u64 gva, u64 b, u64 c)
{
	return READ_ONCE(*(u64 *)gva);
}

static u64 guest_store(u64 gva, u64 value, u64 c)
{
	WRITE_ONCE(*(u64 *)gva, value);
	return 0;
}

/* mov $42, %eax; ret */
static const u8 code_42[] = { 0xb8, 42, 0, 0, 0, 0xc3 };

static u64 guest_jump(u64 gva, u64 b, u64 c)
{
	return ((u32 (*)(void))gva)();
}

/* Guest: loads with interrupts enabled, as an asynchronous page fault needs. */
static u64 guest_sti_load(u64 gva, u64 b, u64 c)
{
	u64 value;

	/* The CPU still blocks interrupts during the instruction after sti. */
	asm volatile("sti; nop");
	value = READ_ONCE(*(u64 *)gva);
	asm volatile("cli");
	return value;
}

/* The guest's access must fail; records how.  The vCPU can run again. */
static void see_fault(struct world *w, gmem_guest_fn fn, u64 gva, u64 value)
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
static u64 finish(struct world *w)
{
	vcpu_run(w->vcpu);
	return gmem_guest_result(w->vcpu);
}

static void step_access(struct world *w)
{
	call(w, gmem_guest_fill, GMEM_GVA, SIZE, w->seed);
	gmem_assert_filled(w->mem, SIZE, w->seed);
	gmem_fill(w->mem, SIZE, w->seed + 1);
	call(w, gmem_guest_check, GMEM_GVA, SIZE, w->seed + 1);
}

static void step_exec(struct world *w)
{
	memcpy(w->mem + 5 * GMEM_PAGE, code_42, sizeof(code_42));
	see(w, "42", call(w, guest_jump, GMEM_GVA + 5 * GMEM_PAGE, 0, 0));
}

static void see_bitmap(struct world *w)
{
	u64 bitmap[NR_PAGES / 64], i;

	memset(bitmap, 0, sizeof(bitmap));
	kvm_vm_get_dirty_log(w->vm, GMEM_SLOT, bitmap);
	for (i = 0; i < ARRAY_SIZE(bitmap); i++)
		if (bitmap[i])
			see(w, "dirty", i << 32 ^ bitmap[i]);
	see(w, "end of bitmap", 0);
}

static void step_dirty_log(struct world *w)
{
	see(w, "log on", slot_set(w, GMEM_SLOT, KVM_MEM_LOG_DIRTY_PAGES, GMEM_GPA, SIZE));
	see_bitmap(w);
	call(w, guest_store, GMEM_GVA + 3 * GMEM_PAGE, 1, 0);
	call(w, guest_store, GMEM_GVA + BLOCK + 77 * GMEM_PAGE, 1, 0);
	call(w, guest_load, GMEM_GVA + 9 * GMEM_PAGE, 0, 0);
	see_bitmap(w);
	see_bitmap(w);
	call(w, guest_store, GMEM_GVA + 3 * GMEM_PAGE, 2, 0);
	see_bitmap(w);
	see(w, "log off", slot_set(w, GMEM_SLOT, 0, GMEM_GPA, SIZE));
	call(w, guest_store, GMEM_GVA + 3 * GMEM_PAGE, 3, 0);
}

static void step_manual_protect(struct world *w)
{
	u64 bitmap[NR_PAGES / 64] = {};

	vm_close(w);
	guest_loop_of(w, 0);
	vm_enable_cap(w->vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
	see(w, "slot", slot_set(w, GMEM_SLOT, KVM_MEM_LOG_DIRTY_PAGES, GMEM_GPA, SIZE));
	call(w, guest_store, GMEM_GVA + 4 * GMEM_PAGE, 1, 0);
	see_bitmap(w);
	/*
	 * KVM has not write-protected the page again, so it logs nothing more.
	 */
	call(w, guest_store, GMEM_GVA + 4 * GMEM_PAGE, 2, 0);
	bitmap[0] = BIT(4);
	kvm_vm_clear_dirty_log(w->vm, GMEM_SLOT, bitmap, 0, NR_PAGES);
	see_bitmap(w);
	call(w, guest_store, GMEM_GVA + 4 * GMEM_PAGE, 3, 0);
	see_bitmap(w);
	vm_close(w);
	vm_open(w);
}

static void step_dirty_ring(struct world *w)
{
	struct kvm_dirty_gfn *ring;
	unsigned int i;

	if (!kvm_has_cap(KVM_CAP_DIRTY_LOG_RING))
		return;
	vm_close(w);
	guest_loop_of(w, RING_SIZE);
	see(w, "slot", slot_set(w, GMEM_SLOT, KVM_MEM_LOG_DIRTY_PAGES, GMEM_GPA, SIZE));
	ring = vcpu_map_dirty_ring(w->vcpu);
	call(w, guest_store, GMEM_GVA + 6 * GMEM_PAGE, 1, 0);
	call(w, guest_store, GMEM_GVA + BLOCK + GMEM_PAGE, 1, 0);
	for (i = 0; i < RING_SIZE / sizeof(*ring) && ring[i].flags & KVM_DIRTY_GFN_F_DIRTY; i++) {
		if ((ring[i].slot & 0xffff) != GMEM_SLOT)
			continue;
		see(w, "ring", ring[i].offset);
	}
	see(w, "end of ring", 0);
	vm_close(w);
	vm_open(w);
}

static void step_readonly(struct world *w)
{
	struct kvm_run *run = w->vcpu->run;

	see(w, "delete", slot_set(w, GMEM_SLOT, 0, GMEM_GPA, 0));
	see(w, "read-only", slot_set(w, GMEM_SLOT, KVM_MEM_READONLY, GMEM_GPA, SIZE));
	*(u64 *)(w->mem + BLOCK) = 4711;
	see(w, "load", call(w, guest_load, GMEM_GVA + BLOCK, 0, 0));
	gmem_guest_post(w->vcpu, guest_store, GMEM_GVA + BLOCK, 1234, 0);
	vcpu_run(w->vcpu);
	see(w, "exit reason", run->exit_reason);
	see(w, "MMIO address", run->mmio.phys_addr);
	see(w, "MMIO write", run->mmio.is_write);
	see(w, "result", finish(w));
	see(w, "what is there", *(u64 *)(w->mem + BLOCK));
	see(w, "delete", slot_set(w, GMEM_SLOT, 0, GMEM_GPA, 0));
	see(w, "slot", slot_set(w, GMEM_SLOT, 0, GMEM_GPA, SIZE));
}

static void step_move(struct world *w)
{
	*(u64 *)(w->mem + 8) = 99;
	see(w, "before", call(w, guest_load, GMEM_GVA + 8, 0, 0));
	see(w, "move", slot_set(w, GMEM_SLOT, 0, OTHER_GPA, SIZE));
	see(w, "after", call(w, guest_load, OTHER_GPA + 8, 0, 0));
	see(w, "back", slot_set(w, GMEM_SLOT, 0, GMEM_GPA, SIZE));
	see(w, "at last", call(w, guest_load, GMEM_GVA + 8, 0, 0));
}

static void step_overlap(struct world *w)
{
	see(w, "second slot", slot_set(w, OTHER_SLOT, 0, OTHER_GPA, BLOCK));
	call(w, guest_store, GMEM_GVA + 16, 5, 0);
	see(w, "by the other", call(w, guest_load, OTHER_GPA + 16, 0, 0));
	call(w, guest_store, OTHER_GPA + 16, 6, 0);
	see(w, "by the first", call(w, guest_load, GMEM_GVA + 16, 0, 0));
	see(w, "SMM's", slot_set(w, SMM_SLOT, 0, GMEM_GPA, SIZE));
	see(w, "SMM's, read-only", slot_set(w, SMM_SLOT | 1, KVM_MEM_READONLY, OTHER_GPA, SIZE));
	see(w, "delete", slot_set(w, SMM_SLOT, 0, GMEM_GPA, 0));
	see(w, "delete", slot_set(w, SMM_SLOT | 1, 0, OTHER_GPA, 0));
	see(w, "delete", slot_set(w, OTHER_SLOT, 0, OTHER_GPA, 0));
	see(w, "still there", call(w, guest_load, GMEM_GVA + 16, 0, 0));
}

/*
 * Two VMs share the memory at once; a new VM finds the contents that the former
 * one left.
 */
static void step_vms(struct world *w)
{
	struct world first;

	call(w, guest_store, GMEM_GVA + 24, 7, 0);
	first = *w;
	vm_open(w);
	see(w, "other VM", call(w, guest_load, GMEM_GVA + 24, 0, 0));
	call(w, guest_store, GMEM_GVA + 24, 8, 0);
	see(w, "first VM", call(&first, guest_load, GMEM_GVA + 24, 0, 0));
	kvm_vm_free(first.vm);
	see(w, "left alone", call(w, guest_load, GMEM_GVA + 24, 0, 0));
	vm_close(w);
	vm_open(w);
	see(w, "next VM", call(w, guest_load, GMEM_GVA + 24, 0, 0));
}

static void *map_at(struct world *w, int fd, u64 offset, u64 size, u64 pgoff)
{
	void *mem = mmap(w->mem + offset, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, pgoff);

	TEST_ASSERT(mem != MAP_FAILED, "mmap: %s", strerror(errno));
	return mem;
}

/* Unmap one page of a block, then the block, and map both again. */
static void step_munmap(struct world *w)
{
	u64 sizes[] = { GMEM_PAGE, BLOCK }, i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		*(u64 *)(w->mem + BLOCK) = 11 + i;
		*(u64 *)(w->mem + BLOCK + GMEM_PAGE) = 22;
		see(w, "before", call(w, guest_load, GMEM_GVA + BLOCK, 0, 0));
		kvm_munmap(w->mem + BLOCK, sizes[i]);
		if (sizes[i] == GMEM_PAGE)
			see(w, "beside", call(w, guest_load, GMEM_GVA + BLOCK + GMEM_PAGE, 0, 0));
		see_fault(w, guest_load, GMEM_GVA + BLOCK, 0);
		map_at(w, w->fd, BLOCK, sizes[i], BLOCK);
		see(w, "after", finish(w));
	}
}

static void step_mprotect(struct world *w)
{
	u64 sizes[] = { GMEM_PAGE, BLOCK }, i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		call(w, guest_store, GMEM_GVA + BLOCK, 33, 0);
		TEST_ASSERT(!mprotect(w->mem + BLOCK, sizes[i], PROT_READ), "mprotect");
		see(w, "load", call(w, guest_load, GMEM_GVA + BLOCK, 0, 0));
		see_fault(w, guest_store, GMEM_GVA + BLOCK, 44);
		TEST_ASSERT(!mprotect(w->mem + BLOCK, sizes[i], PROT_NONE), "mprotect");
		see_fault(w, guest_store, GMEM_GVA + BLOCK, 44);
		TEST_ASSERT(!mprotect(w->mem + BLOCK, sizes[i], PROT_READ | PROT_WRITE),
			    "mprotect");
		finish(w);
		see(w, "stored", *(u64 *)(w->mem + BLOCK));
	}
}

static void step_mremap(struct world *w)
{
	char *away = kvm_mmap(BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	void *to;

	*(u64 *)(w->mem + BLOCK) = 55;
	see(w, "before", call(w, guest_load, GMEM_GVA + BLOCK, 0, 0));
	to = mremap(w->mem + BLOCK, BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, away);
	TEST_ASSERT(to == away, "mremap: %s", strerror(errno));
	see_fault(w, guest_load, GMEM_GVA + BLOCK, 0);
	see(w, "there", *(u64 *)away);
	to = mremap(away, BLOCK, BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, w->mem + BLOCK);
	TEST_ASSERT(to == w->mem + BLOCK, "mremap: %s", strerror(errno));
	see(w, "after", finish(w));
}

/* Map other memory at the same address, and other pages of the same file. */
static void step_fixed(struct world *w)
{
	int fd = kvm_memfd_alloc(BLOCK, false);

	*(u64 *)(w->mem + BLOCK) = 66;
	*(u64 *)(w->mem + 2 * BLOCK) = 77;
	see(w, "before", call(w, guest_load, GMEM_GVA + BLOCK, 0, 0));
	map_at(w, fd, BLOCK, BLOCK, 0);
	see(w, "other memory", call(w, guest_load, GMEM_GVA + BLOCK, 0, 0));
	map_at(w, w->fd, BLOCK, BLOCK, 2 * BLOCK);
	see(w, "other pages", call(w, guest_load, GMEM_GVA + BLOCK, 0, 0));
	map_at(w, w->fd, BLOCK, BLOCK, BLOCK);
	see(w, "after", call(w, guest_load, GMEM_GVA + BLOCK, 0, 0));
	close(fd);
}

static void step_fork(struct world *w)
{
	int status;
	pid_t pid;

	call(w, guest_store, GMEM_GVA + 32, 1, 0);
	pid = fork();
	if (!pid) {
		*(u64 *)(w->mem + 40) = *(u64 *)(w->mem + 32) + 1;
		_exit(0);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && !status, "the child: %d", status);
	see(w, "child's", call(w, guest_load, GMEM_GVA + 40, 0, 0));
	call(w, guest_store, GMEM_GVA + 32, 9, 0);
	see(w, "guest's", *(u64 *)(w->mem + 32));
}

static void step_hole(struct world *w)
{
	u64 sizes[] = { GMEM_PAGE, BLOCK }, i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		call(w, gmem_guest_fill, GMEM_GVA + BLOCK, BLOCK, w->seed);
		gmem_punch(w->fd, BLOCK, sizes[i]);
		call(w, gmem_guest_check_zero, GMEM_GVA + BLOCK, sizes[i], 0);
		see(w, "beside", call(w, guest_load, GMEM_GVA + 2 * BLOCK, 0, 0));
		gmem_assert_zero(w->mem + BLOCK, sizes[i]);
		call(w, guest_store, GMEM_GVA + BLOCK, 88, 0);
		see(w, "stored", *(u64 *)(w->mem + BLOCK));
	}
	TEST_ASSERT(!madvise(w->mem + BLOCK, BLOCK, MADV_REMOVE), "MADV_REMOVE: %s",
		    strerror(errno));
	see(w, "removed", call(w, guest_load, GMEM_GVA + BLOCK, 0, 0));
	see(w, "MADV_DONTNEED", madvise(w->mem, SIZE, MADV_DONTNEED));
	see(w, "after", call(w, guest_load, GMEM_GVA + 2 * BLOCK, 0, 0));
	see(w, "MADV_POPULATE_WRITE", madvise(w->mem, SIZE, MADV_POPULATE_WRITE));
}

struct wp_handler {
	int uffd;
	char *mem;
	u64 events, last;
};

/*
 * Removes the write protection of each page that faults, until the thread is
 * cancelled.
 */
static void *handle_wp(void *arg)
{
	struct uffdio_writeprotect wp = {};
	struct wp_handler *h = arg;
	struct uffd_msg msg;

	while (read(h->uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		if (!(msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP))
			break;
		h->events++;
		h->last = msg.arg.pagefault.address - (u64)h->mem;
		wp.range.start = msg.arg.pagefault.address & ~(GMEM_PAGE - 1);
		wp.range.len = GMEM_PAGE;
		if (ioctl(h->uffd, UFFDIO_WRITEPROTECT, &wp))
			break;
	}
	return NULL;
}

/* The background snapshots of QEMU and of Cloud Hypervisor. */
static void step_uffd_wp(struct world *w)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	struct uffdio_register reg = {
		.range = { (u64)w->mem, SIZE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect wp = {
		.range = { (u64)w->mem + BLOCK, BLOCK },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	struct wp_handler h = { .mem = w->mem };
	pthread_t thread;

	call(w, gmem_guest_fill, GMEM_GVA + BLOCK, BLOCK, w->seed);
	h.uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	TEST_ASSERT(h.uffd >= 0, "userfaultfd: %s", strerror(errno));
	TEST_ASSERT(!ioctl(h.uffd, UFFDIO_API, &api), "UFFDIO_API: %s", strerror(errno));
	see(w, "register", ioctl(h.uffd, UFFDIO_REGISTER, &reg) ? errno : 0);
	see(w, "protect", ioctl(h.uffd, UFFDIO_WRITEPROTECT, &wp) ? errno : 0);
	pthread_create(&thread, NULL, handle_wp, &h);
	call(w, gmem_guest_check, GMEM_GVA + BLOCK, BLOCK, w->seed);
	see(w, "reads", h.events);
	call(w, guest_store, GMEM_GVA + BLOCK + 10 * GMEM_PAGE + 8, 5, 0);
	see(w, "writes", h.events);
	see(w, "address", h.last & ~(GMEM_PAGE - 1));
	call(w, guest_store, GMEM_GVA + BLOCK + 10 * GMEM_PAGE + 8, 6, 0);
	see(w, "the same page again", h.events);
	*(u64 *)(w->mem + BLOCK + 11 * GMEM_PAGE) = 7;
	see(w, "the host", h.events);
	see(w, "stored", *(u64 *)(w->mem + BLOCK + 10 * GMEM_PAGE + 8));
	/* Punch a hole beside protected pages, as a balloon does. */
	gmem_punch(w->fd, BLOCK + 20 * GMEM_PAGE, GMEM_PAGE);
	h.events = 0;
	call(w, guest_store, GMEM_GVA + BLOCK + 21 * GMEM_PAGE, 5, 0);
	see(w, "beside a hole", h.events);
	TEST_ASSERT_EQ(h.events, 1);
	see(w, "unregister", ioctl(h.uffd, UFFDIO_UNREGISTER, &reg.range) ? errno : 0);
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	close(h.uffd);
	call(w, guest_store, GMEM_GVA + BLOCK + 12 * GMEM_PAGE, 8, 0);
}

static void step_pre_fault(struct world *w)
{
	see(w, "faults", fewest_faults(w, true, guest_load, GMEM_GVA + 3 * BLOCK, 0, 0));
	kvm_munmap(w->mem + BLOCK, BLOCK);
	memset(&w->vcpu->run->memory_fault, 0xff, sizeof(w->vcpu->run->memory_fault));
	w->vcpu->run->exit_reason = 4711;
	see(w, "not mapped", pre_fault(w, GMEM_GPA + BLOCK, BLOCK));
	TEST_ASSERT(w->vcpu->run->exit_reason == 4711 && w->vcpu->run->memory_fault.gpa == ~0ULL,
		    "KVM_PRE_FAULT_MEMORY wrote an exit");
	map_at(w, w->fd, BLOCK, BLOCK, BLOCK);
	see(w, "mapped again", pre_fault(w, GMEM_GPA + BLOCK, BLOCK));
}

static const struct step {
	const char *name;
	void (*run)(struct world *w);
} steps[] = {
	{ "access", step_access },
	{ "exec", step_exec },
	{ "dirty log", step_dirty_log },
	{ "manual protect", step_manual_protect },
	{ "dirty ring", step_dirty_ring },
	{ "read-only", step_readonly },
	{ "move", step_move },
	{ "overlap", step_overlap },
	{ "VMs", step_vms },
	{ "munmap", step_munmap },
	{ "mprotect", step_mprotect },
	{ "mremap", step_mremap },
	{ "MAP_FIXED", step_fixed },
	{ "fork", step_fork },
	{ "hole", step_hole },
	{ "userfaultfd", step_uffd_wp },
	{ "KVM_PRE_FAULT_MEMORY", step_pre_fault },
	{ "access", step_access },
};

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

static void compare(const struct step *step, const struct world *a, const struct world *b)
{
	unsigned int i;

	for (i = 0; i < a->nr_seen && i < b->nr_seen; i++)
		TEST_ASSERT(a->what[i] == b->what[i] && a->seen[i] == b->seen[i],
			    "%s: %s is 0x%lx on %s; %s is 0x%lx on %s", step->name, a->what[i],
			    a->seen[i], kind_names[a->kind], b->what[i], b->seen[i],
			    kind_names[b->kind]);
	TEST_ASSERT_EQ(a->nr_seen, b->nr_seen);
}

PLAIN_TEST(steps)
{
	unsigned int s, k, seen = 0;

	for (k = 0; k < NR_KINDS; k++) {
		world_open(&self->worlds[k], k);
		vm_open(&self->worlds[k]);
	}
	for (s = 0; s < ARRAY_SIZE(steps); s++) {
		for (k = 0; k < NR_KINDS; k++) {
			self->worlds[k].nr_seen = 0;
			steps[s].run(&self->worlds[k]);
			if (k)
				compare(&steps[s], &self->worlds[0], &self->worlds[k]);
		}
		seen += self->worlds[0].nr_seen;
	}
	for (k = 0; k < NR_KINDS; k++)
		world_close(&self->worlds[k]);
	ksft_print_msg("%lu steps, %u results equal on %u kinds of memory\n", ARRAY_SIZE(steps),
		       seen, NR_KINDS);
}

static void none_and_back(struct world *w, gmem_guest_fn fn, u64 offset, u64 size, u32 level)
{
	const u64 value = *(u64 *)(w->mem + offset);

	gmem_set_access(w->fd, offset, size, GUEST_MEMFD_ACCESS_NONE);
	call(w, gmem_guest_check, GMEM_GVA + offset + size, GMEM_PAGE, w->seed);
	see_fault(w, fn, GMEM_GVA + offset, 0);
	/* A VMM that does nothing about it gets the same exit again. */
	TEST_ASSERT(_vcpu_run(w->vcpu) == -1 && errno == EFAULT, "errno %d", errno);
	TEST_ASSERT_EQ(w->vcpu->run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	gmem_set_access(w->fd, offset, size, level);
	TEST_ASSERT_EQ(finish(w), value);
}

/*
 * The guest's access ends KVM_RUN, whether or not the guest accepts interrupts.
 */
PLAIN_TEST(none)
{
	struct world *w = &self->worlds[0];

	world_open(w, USER);
	vm_open(w);
	call(w, gmem_guest_fill, GMEM_GVA, SIZE, w->seed);
	none_and_back(w, guest_load, BLOCK, BLOCK, GUEST_MEMFD_ACCESS_USER);
	none_and_back(w, guest_sti_load, BLOCK, BLOCK, GUEST_MEMFD_ACCESS_USER);
	none_and_back(w, guest_sti_load, GMEM_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_KERNEL);
	call(w, gmem_guest_check, GMEM_GVA, SIZE, w->seed);
	world_close(w);
}

static int vmsplice_page(void *mem)
{
	struct iovec iov = { mem, GMEM_PAGE };
	int fd[2], r;

	TEST_ASSERT(!pipe(fd), "pipe: %s", strerror(errno));
	r = vmsplice(fd[1], &iov, 1, 0) < 0 ? errno : 0;
	close(fd[0]);
	close(fd[1]);
	return r;
}

/* KVM gets the pages, and no other caller of get_user_pages() does. */
PLAIN_TEST(hidden)
{
	int gup = open(GUP_TEST_FILE, O_RDWR);
	struct world *w = &self->worlds[0];
	struct gmem_info info;

	TEST_ASSERT(gup >= 0, "%s: %s", GUP_TEST_FILE, strerror(errno));
	world_open(w, USER);
	vm_open(w);
	call(w, gmem_guest_fill, GMEM_GVA, SIZE, w->seed);
	gmem_assert_hidden(w->mem, SIZE, w->seed);
	gmem_read_info(w->fd, &info);
	TEST_ASSERT_EQ(info.hidden, NR_PAGES);

	TEST_ASSERT_EQ(gmem_gup(gup, GUP_BASIC_TEST, w->mem, BLOCK, FOLL_WRITE), 0);
	TEST_ASSERT_EQ(gmem_gup(gup, GUP_FAST_BENCHMARK, w->mem, BLOCK, FOLL_WRITE), 0);
	TEST_ASSERT_EQ(gmem_gup(gup, PIN_FAST_BENCHMARK, w->mem, BLOCK, FOLL_WRITE), 0);
	TEST_ASSERT_EQ(gmem_gup(gup, PIN_LONGTERM_BENCHMARK, w->mem, BLOCK, FOLL_WRITE), 0);
	TEST_ASSERT_EQ(vmsplice_page(w->mem), EFAULT);

	/* The same for pages that are mapped by PTEs. */
	gmem_punch(w->fd, 0, GMEM_PAGE);
	call(w, gmem_guest_check, GMEM_GVA + GMEM_PAGE, BLOCK - GMEM_PAGE, w->seed);
	TEST_ASSERT_EQ(gmem_gup(gup, GUP_BASIC_TEST, w->mem + GMEM_PAGE, GMEM_PAGE, 0), 0);
	TEST_ASSERT_EQ(gmem_gup(gup, GUP_FAST_BENCHMARK, w->mem + GMEM_PAGE, GMEM_PAGE, 0), 0);
	TEST_ASSERT_EQ(vmsplice_page(w->mem + GMEM_PAGE), EFAULT);

	gmem_set_access(w->fd, BLOCK, BLOCK, GUEST_MEMFD_ACCESS_KERNEL);
	TEST_ASSERT_EQ(gmem_gup(gup, GUP_FAST_BENCHMARK, w->mem + BLOCK, BLOCK, FOLL_WRITE), BLOCK);
	TEST_ASSERT_EQ(vmsplice_page(w->mem + BLOCK), 0);
	close(gup);
	world_close(w);
}

static u64 pages_2m(struct world *w)
{
	return vm_get_stat(w->vm, pages_2m);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	TEST_ASSERT(fd >= 0 && write(fd, text, strlen(text)) == strlen(text), "%s: %s", path,
		    strerror(errno));
	close(fd);
}

#define SHMEM_THP "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static void see_2m(struct world *w, const char *what, u64 want)
{
	TEST_ASSERT(pages_2m(w) == want, "%s, %s: %lu mappings of 2 MiB, not %lu",
		    kind_names[w->kind], what, pages_2m(w), want);
	see(w, what, pages_2m(w));
}

/*
 * The numbers of 2 MiB mappings and of faults equal those of a memfd with huge
 * pages.
 */
PLAIN_TEST(huge)
{
	int k;

	write_file(SHMEM_THP, "always");
	for (k = 0; k < NR_KINDS; k++) {
		struct world *w = &self->worlds[k];

		world_open(w, k);
		vm_open(w);
		see(w, "faults", fewest_faults(w, false, gmem_guest_fill, GMEM_GVA, SIZE,
					       w->seed));
		TEST_ASSERT_EQ(w->seen[w->nr_seen - 1], SIZE / BLOCK);
		see_2m(w, "filled", SIZE / BLOCK);

		slot_set(w, GMEM_SLOT, KVM_MEM_LOG_DIRTY_PAGES, GMEM_GPA, SIZE);
		call(w, gmem_guest_fill, GMEM_GVA, SIZE, w->seed);
		see_2m(w, "logged", 0);
		slot_set(w, GMEM_SLOT, 0, GMEM_GPA, SIZE);
		call(w, gmem_guest_fill, GMEM_GVA, SIZE, w->seed);
		see_2m(w, "not logged", SIZE / BLOCK);

		gmem_punch(w->fd, BLOCK, GMEM_PAGE);
		call(w, gmem_guest_fill, GMEM_GVA, SIZE, w->seed);
		see_2m(w, "with a hole", SIZE / BLOCK - 1);
		compare(&(struct step){ .name = "huge" }, &self->worlds[0], w);
	}
	write_file(SHMEM_THP, "never");
	for (k = 0; k < NR_KINDS; k++)
		world_close(&self->worlds[k]);
}

static u64 guest_clock(u64 gva, u64 on, u64 c)
{
	struct pvclock_vcpu_time_info *pvti = (void *)gva;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, on ? gva | KVM_MSR_ENABLED : 0);
	return on ? READ_ONCE(pvti->tsc_to_system_mul) : 0;
}

static u64 referenced(struct world *w)
{
	struct gmem_info info;

	gmem_read_info(w->fd, &info);
	return info.referenced + info.left_referenced - info.put_pending;
}

static bool not_referenced(void *w)
{
	return !referenced(w);
}

static void assert_ends(struct world *w, const char *how)
{
	TEST_ASSERT(gmem_wait(not_referenced, w, 1000) <= GMEM_REFERENCE_MS,
		    "KVM keeps its reference after %s", how);
}

/* KVM puts the reference of a clock although the vCPU does not run. */
PLAIN_TEST(clock)
{
	struct world *w = &self->worlds[0];
	const u64 clock = GMEM_GVA + BLOCK + 5 * GMEM_PAGE;

	world_open(w, USER);
	vm_open(w);
	call(w, gmem_guest_fill, GMEM_GVA, SIZE, w->seed);
	TEST_ASSERT(call(w, guest_clock, clock, 1, 0), "no clock");
	TEST_ASSERT_EQ(referenced(w), 1);
	TEST_ASSERT(call(w, guest_clock, clock, 0, 0) == 0, "off");
	assert_ends(w, "the clock was turned off");

	TEST_ASSERT(call(w, guest_clock, clock, 1, 0), "no clock");
	kvm_munmap(w->mem + BLOCK, BLOCK);
	assert_ends(w, "munmap()");
	map_at(w, w->fd, BLOCK, BLOCK, BLOCK);

	call(w, guest_clock, clock, 1, 0);
	TEST_ASSERT_EQ(referenced(w), 1);
	gmem_punch(w->fd, BLOCK + 5 * GMEM_PAGE, GMEM_PAGE);
	assert_ends(w, "a hole");

	call(w, guest_clock, clock, 1, 0);
	TEST_ASSERT_EQ(referenced(w), 1);
	slot_set(w, GMEM_SLOT, 0, GMEM_GPA, 0);
	assert_ends(w, "the memslot was deleted");
	slot_set(w, GMEM_SLOT, 0, GMEM_GPA, SIZE);

	/* A range at NONE has no user mapping, so a plain memslot loses it. */
	call(w, guest_clock, clock, 1, 0);
	TEST_ASSERT_EQ(referenced(w), 1);
	gmem_set_access(w->fd, BLOCK, BLOCK, GUEST_MEMFD_ACCESS_NONE);
	assert_ends(w, "the range went to NONE");
	gmem_set_access(w->fd, BLOCK, BLOCK, GUEST_MEMFD_ACCESS_USER);

	slot_set(w, GMEM_SLOT, 0, OTHER_GPA, SIZE);
	slot_set(w, GMEM_SLOT, 0, GMEM_GPA, SIZE);
	call(w, guest_clock, clock, 1, 0);
	TEST_ASSERT_EQ(referenced(w), 1);
	slot_set(w, GMEM_SLOT, 0, OTHER_GPA, SIZE);
	assert_ends(w, "the memslot was moved");
	slot_set(w, GMEM_SLOT, 0, GMEM_GPA, SIZE);

	TEST_ASSERT(call(w, guest_clock, clock, 1, 0), "no clock");
	TEST_ASSERT_EQ(referenced(w), 1);
	vm_close(w);
	assert_ends(w, "the VM was destroyed");
	gmem_wait_put(w->fd);
	gmem_assert_hidden(w->mem + 2 * BLOCK, 2 * BLOCK, w->seed);
	world_close(w);
}

/*
 * A process creates a VM with a clock, and exits while another process has its
 * descriptors: KVM must not keep a reference to memory of the freed address
 * space.
 */
PLAIN_TEST(process_ends)
{
	struct world *w = &self->worlds[0];
	const u64 clock = GMEM_GVA + BLOCK;
	int fd[2], status;
	pid_t pid;
	char c;

	TEST_ASSERT(!pipe(fd), "pipe: %s", strerror(errno));
	world_open(w, USER);
	pid = fork();
	if (!pid) {
		vm_open(w);
		TEST_ASSERT(call(w, guest_clock, clock, 1, 0), "no clock");
		TEST_ASSERT_EQ(referenced(w), 1);
		if (fork())
			_exit(0);
		/*
		 * This child still has the VM's descriptors after their creator
		 * has exited.
		 */
		gmem_wait(not_referenced, w, 1000);
		_exit(write(fd[1], "", 1) != 1);
	}
	close(fd[1]);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && !status, "the child: %d", status);
	TEST_ASSERT(read(fd[0], &c, 1) == 1, "KVM keeps its reference");
	close(fd[0]);
	world_close(w);
}

#define FULL_DIR	"/tmp/guestmem-full"

static int full_file(u64 size)
{
	int fd = open(FULL_DIR, O_RDWR | O_TMPFILE, 0600);

	TEST_ASSERT(fd >= 0 && !ftruncate(fd, size), "a file in %s: %s", FULL_DIR,
		    strerror(errno));
	return fd;
}

/* Uses up a block of the mount until the pin ends. */
static void hold_block(struct gmem_pin *pin, u64 seed)
{
	int fd = full_file(BLOCK);
	char *mem = kvm_mmap(BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd);

	gmem_fill(mem, BLOCK, seed);
	gmem_set_access(fd, 0, BLOCK, GUEST_MEMFD_ACCESS_KERNEL);
	TEST_ASSERT(!gmem_pin(pin, GMEM_PIN_WRITE, mem, GMEM_PAGE), "no pin: errno %d", errno);
	kvm_munmap(mem, BLOCK);
	close(fd);
}

static bool is_back(void *unused)
{
	struct statfs s;

	return !statfs(FULL_DIR, &s) && s.f_bfree == BLOCK / GMEM_PAGE;
}

static void let_go(struct gmem_pin *pin)
{
	gmem_unpin(pin);
	gmem_wait(is_back, NULL, 10000);
}

static void wake_up(int nr)
{
}

/*
 * A guest faults while its mount is full: it gets memory that becomes free, an
 * error if none does, and a signal ends the wait.
 */
PLAIN_TEST(full)
{
	static const gmem_guest_fn loads[] = { guest_load, guest_sti_load };
	struct itimerval timer = { .it_value.tv_usec = 200000 };
	struct sigaction action = { .sa_handler = wake_up };
	struct world *w = &self->worlds[0];
	struct gmem_pin pin;
	unsigned int i;
	int fd, r;

	mkdir("/tmp", 0777);
	mkdir(FULL_DIR, 0700);
	TEST_ASSERT(!mount("guestmem", FULL_DIR, "guestmem", 0, "size=8m"), "no mount: %s",
		    strerror(errno));
	w->seed = 0x1234567;
	w->kind = USER;
	w->fd = full_file(SIZE);
	w->mem = map_aligned(w->fd);
	vm_open(w);

	/* All memory of the mount was freed just now. */
	for (i = 0; i < 10; i++) {
		gmem_punch(w->fd, 0, SIZE);
		fd = full_file(SIZE);
		kvm_fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, SIZE);
		close(fd);
		call(w, gmem_guest_fill, GMEM_GVA, SIZE, w->seed);
	}

	/*
	 * One block stays pinned.  If KVM_RUN handled the error wrongly, it
	 * would retry for ever.
	 */
	for (i = 0; i < ARRAY_SIZE(loads); i++) {
		gmem_punch(w->fd, 3 * BLOCK, BLOCK);
		hold_block(&pin, w->seed);
		alarm(60);
		see_fault(w, loads[i], GMEM_GVA + 3 * BLOCK, 0);
		alarm(0);
		let_go(&pin);
		TEST_ASSERT_EQ(finish(w), 0);
	}

	sigaction(SIGALRM, &action, NULL);
	/*
	 * On a busy machine the wait may end before the signal arrives; retry.
	 */
	for (i = 0, r = EFAULT; i < 20 && r == EFAULT; i++) {
		gmem_punch(w->fd, 3 * BLOCK, BLOCK);
		hold_block(&pin, w->seed);
		gmem_guest_post(w->vcpu, guest_load, GMEM_GVA + 3 * BLOCK, 0, 0);
		setitimer(ITIMER_REAL, &timer, NULL);
		r = __vcpu_run(w->vcpu) ? errno : 0;
		let_go(&pin);
		TEST_ASSERT_EQ(finish(w), 0);
	}
	TEST_ASSERT_EQ(r, EINTR);
	world_close(w);
	TEST_ASSERT(!umount(FULL_DIR), "umount: %s", strerror(errno));
}

PLAIN_TEST(all_back)
{
	gmem_assert_all_back();
}

int main(int argc, char **argv)
{
	gmem_require();
	return test_harness_run(argc, argv);
}
