// SPDX-License-Identifier: GPL-2.0-only
/*
 * Plain memslots over hidden memory against those over a memfd.
 *
 * Proves that a plain memslot over hidden memory does what one over a memfd
 * does: "steps" runs one table of steps on a memfd, on hidden memory at USER
 * and on hidden memory at KERNEL, and compares all results.
 *
 * Catches: GUP that refuses KVM, a stale guest mapping after munmap(),
 * mprotect(), mremap() or a hole punch, a dirty log that misses a page.
 *
 * Not covered: what only hidden memory does (guest_memfd_plain_hidden_test),
 * races between these events (guest_memfd_plain_stress_test).
 *
 * gmem_plain.h describes the environment variable GMEM_DIR.
 */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "gmem_plain.h"

#define SMM_SLOT	(1 << 16 | GMEM_SLOT)
#define RING_SIZE	4096

/* mov $42, %eax; ret */
static const u8 code_42[] = { 0xb8, 42, 0, 0, 0, 0xc3 };

static u64 guest_jump(u64 gva, u64 b, u64 c)
{
	return ((u32 (*)(void))gva)();
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
				compare(steps[s].name, &self->worlds[0], &self->worlds[k]);
		}
		seen += self->worlds[0].nr_seen;
	}
	for (k = 0; k < NR_KINDS; k++)
		world_close(&self->worlds[k]);
	ksft_print_msg("%lu steps, %u results equal on %u kinds of memory\n", ARRAY_SIZE(steps),
		       seen, NR_KINDS);
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
