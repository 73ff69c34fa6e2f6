// SPDX-License-Identifier: GPL-2.0-only
/*
 * Plain memslots over hidden memory: what only hidden memory does.
 *
 * Proves that the memory stays hidden while a VM uses it, that only KVM gets
 * its pages by get_user_pages(), that a range at NONE ends the guest's run with
 * KVM_EXIT_MEMORY_FAULT, that KVM creates 2 MiB mappings, again after dirty
 * logging, and that KVM's clocks hold a direct-map reference which KVM puts
 * within 100 ms when the memory leaves the user address or the memslot.
 *
 * Catches: GUP that returns hidden pages to all callers (hidden), a fault at
 * NONE that repeats for ever as an asynchronous page fault (none), guest
 * mappings of 4 KiB only (huge), a clock that KVM updates through an absent
 * direct map entry (clock: the host oopses), a reference that waits for the
 * vCPU (clock), a fault on a full mount that repeats for ever, fails although
 * memory becomes free, or ignores a signal (full).
 *
 * Not covered: what hidden memory has in common with a memfd
 * (guest_memfd_plain_test), races between these events
 * (guest_memfd_plain_stress_test).
 *
 * gmem_plain.h describes the environment variable GMEM_DIR.
 */
#include <asm/kvm_para.h>
#include <asm/pvclock-abi.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "gmem_plain.h"
#include "guest_memfd_pin.h"

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
		compare("huge", &self->worlds[0], w);
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
	TEST_ASSERT(gmem_wait(not_referenced, w) <= GMEM_REFERENCE_MS,
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
		gmem_wait_within(not_referenced, w, 1000);
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
	gmem_wait(is_back, NULL);
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
