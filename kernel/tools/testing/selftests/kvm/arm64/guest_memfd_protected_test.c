// SPDX-License-Identifier: GPL-2.0-only
/*
 * Protected VMs on hidden guest memory, whose pages pKVM takes from the host.
 *
 * Proves that a protected VM accepts a hidden guest_memfd and no other
 * guest_memfd; that its pages are donated at level NONE only; that neither a
 * change of level nor a hole punch takes a donated page from the guest; and
 * that all memory is returned to the host, clean, in whatever order the file,
 * the VM and the process end, with the page tables of the direct map as they
 * were.
 *
 * Catches: a capability that promises too much, a page that is donated while
 * the VMM can map it, a raise or a hole punch that succeeds, changes a part or
 * breaks the guest's memory, a page that is cleared or restored before EL2 has
 * returned it (the host's kernel would report the access, and the guest would
 * lose the page), and one that is never returned.
 *
 * Needs kvm-arm.mode=protected.
 */
#include <errno.h>
#include <linux/guest_memfd.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "gmem_pvm.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

/* A block, and a tail of single pages. */
#define TAIL		16
#define SIZE		(SZ_2M + TAIL * GMEM_PAGE)
/* The first page contains the code. */
#define DATA		(2 * GMEM_PAGE)
#define ALL_PAGES	((SIZE - DATA) / GMEM_PAGE)
#define DATA_PAGES	64
#define NR_VCPUS	GMEM_PVM_VCPUS

/*
 * Fills x1 pages at x0 as gmem_fill() does, and stores 1 at x3; then repeatedly
 * counts the words that differ, and stores their number at x3.  x2 is the first
 * word of a page without its bit 0, x4 is the difference between words.
 */
asm(".pushsection .rodata\n"
	".balign 8\n"
	".global guest_code_start\n"
	"guest_code_start:\n"
	"	mov	x9, x0\n"
	"	mov	x10, x1\n"
	"1:	mov	x11, x2\n"
	"	mov	x12, #512\n"
	"2:	orr	x13, x11, #1\n"
	"	str	x13, [x9], #8\n"
	"	add	x11, x11, x4\n"
	"	subs	x12, x12, #1\n"
	"	b.ne	2b\n"
	"	subs	x10, x10, #1\n"
	"	b.ne	1b\n"
	"	mov	w14, #1\n"
	"	str	w14, [x3]\n"
	"3:	mov	x9, x0\n"
	"	mov	x10, x1\n"
	"	mov	x14, #0\n"
	"4:	mov	x11, x2\n"
	"	mov	x12, #512\n"
	"5:	orr	x13, x11, #1\n"
	"	ldr	x15, [x9], #8\n"
	"	cmp	x13, x15\n"
	"	cinc	x14, x14, ne\n"
	"	add	x11, x11, x4\n"
	"	subs	x12, x12, #1\n"
	"	b.ne	5b\n"
	"	subs	x10, x10, #1\n"
	"	b.ne	4b\n"
	"	str	w14, [x3]\n"
	"	b	3b\n"
	".global guest_code_end\n"
	"guest_code_end:\n"
	".popsection\n");
extern const char guest_code_start[], guest_code_end[];

/*
 * In seconds; a kernel with debugging options needs minutes where another one
 * needs seconds.
 */
#define TIMEOUT		600
#define PROTECTED_TEST(name)	TEST_F_TIMEOUT(protected, name, TIMEOUT)

FIXTURE(protected) {
	struct gmem_pvm p;
	char *dump;
	u64 *pfns;
	u64 seed;
	int kmsg;
};

/* Creates the vCPUs, whose guest fills pages. */
static void create_guest(struct gmem_pvm *p, int nr_vcpus, u64 nr_pages, u64 seed)
{
	const u64 args[] = {
		GMEM_GPA + DATA, nr_pages, seed * 0x9e3779b97f4a7c15ULL, GMEM_PVM_MMIO,
		0xd1b54a32d192ed03ULL,
	};

	gmem_pvm_create_guest(p, nr_vcpus, args, guest_code_start, guest_code_end);
}

/* Creates the VM with its memory at level USER. */
static void create_pvm(struct gmem_pvm *p, int nr_vcpus, u64 nr_pages, u64 seed)
{
	gmem_pvm_create(p, SIZE);
	create_guest(p, nr_vcpus, nr_pages, seed);
}

static u64 nr_donated(int fd)
{
	return gmem_pvm_count(fd, "donated");
}

/* Runs until the guest stores a word at GMEM_PVM_MMIO; returns the word. */
static u32 run(struct gmem_pvm *p)
{
	TEST_ASSERT(!ioctl(p->vcpu[0], KVM_RUN, NULL), "KVM_RUN: errno %d, exit reason %u", errno,
		    p->run[0]->exit_reason);
	TEST_ASSERT_EQ(p->run[0]->exit_reason, KVM_EXIT_MMIO);
	TEST_ASSERT_EQ(p->run[0]->mmio.phys_addr, GMEM_PVM_MMIO);
	TEST_ASSERT(p->run[0]->mmio.is_write, "the guest reads");
	return *(u32 *)p->run[0]->mmio.data;
}

/* The guest fills its pages, and finds them unchanged. */
static void fill_and_check(struct gmem_pvm *p)
{
	TEST_ASSERT_EQ(run(p), 1);
	TEST_ASSERT_EQ(run(p), 0);
}

/* Assert that a change of a donated page's level, and a hole there, fail. */
static void assert_kept(struct gmem_pvm *p, u64 offset, u64 size)
{
	u32 level;

	for (level = GUEST_MEMFD_ACCESS_USER; level <= GUEST_MEMFD_ACCESS_KERNEL; level++) {
		TEST_ASSERT(__gmem_set_access(p->fd, offset, size, level, NULL) == -1 &&
			    errno == EPERM, "level %u at 0x%lx: errno %d", level, offset, errno);
	}
	TEST_ASSERT_EQ(gmem_get_access(p->fd, offset, NULL), GUEST_MEMFD_ACCESS_NONE);
	TEST_ASSERT(fallocate(p->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, size) &&
		    errno == EBUSY, "a hole at 0x%lx: errno %d", offset, errno);
}

FIXTURE_SETUP(protected)
{
	memset(self, 0, sizeof(*self));
	gmem_pvm_init(&self->p);
	self->p.size = SIZE;
	self->seed = gmem_new_seed();
	self->dump = gmem_read_dump();
	gmem_kmsg_open(&self->kmsg);
}

/* All of the test's memory is returned to the host, and clean. */
FIXTURE_TEARDOWN(protected)
{
	gmem_pvm_close_file(&self->p);
	gmem_pvm_close_vm(&self->p);
	if (self->pfns) {
		gmem_assert_given_back(self->pfns, SIZE / GMEM_PAGE, self->seed);
		free(self->pfns);
	}
	gmem_assert_all_back();
	gmem_wait_dump(self->dump);
	free(self->dump);
	gmem_assert_nothing_left(&self->kmsg);
}

PROTECTED_TEST(offered)
{
	int vm = gmem_pvm_create_vm();

	self->p.vm = vm;
	TEST_ASSERT_EQ(ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD), 1);
	TEST_ASSERT_EQ((u64)ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS),
		       GMEM_PVM_FLAGS);
	TEST_ASSERT(gmem_pvm_create_file(vm, SIZE, 0) == -1 && errno == EINVAL, "errno %d", errno);
	TEST_ASSERT(gmem_pvm_create_file(vm, SIZE, GMEM_PVM_FLAGS &
					 ~GUEST_MEMFD_FLAG_NO_DIRECT_MAP) == -1 &&
		    errno == EINVAL, "errno %d", errno);
	self->p.fd = gmem_pvm_create_file(vm, SIZE, GMEM_PVM_FLAGS);
	TEST_ASSERT(self->p.fd >= 0, "errno %d", errno);
}

/* KVM refuses hidden memory by its user address, at each level. */
PROTECTED_TEST(plain_slot)
{
	u32 level;

	self->p.vm = gmem_pvm_create_vm();
	self->p.fd = gmem_pvm_create_file(self->p.vm, SIZE, GMEM_PVM_FLAGS);
	self->p.mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->p.fd);
	for (level = GUEST_MEMFD_ACCESS_NONE; level <= GUEST_MEMFD_ACCESS_KERNEL; level++) {
		gmem_set_access(self->p.fd, 0, SIZE, level);
		TEST_ASSERT_EQ(gmem_pvm_add_slot(self->p.vm, 0, self->p.mem, SIZE, -1), EINVAL);
	}
	/* The gfns are still free for the file. */
	TEST_ASSERT_EQ(gmem_pvm_add_slot(self->p.vm, KVM_MEM_GUEST_MEMFD, self->p.mem, SIZE,
					 self->p.fd), 0);
}

/* pKVM still pins and unpins other memory. */
PROTECTED_TEST(anonymous)
{
	struct gmem_pvm *p = &self->p;

	p->vm = gmem_pvm_create_vm();
	p->mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	TEST_ASSERT_EQ(gmem_pvm_add_slot(p->vm, 0, p->mem, SIZE, -1), 0);
	create_guest(p, 1, DATA_PAGES, self->seed);
	fill_and_check(p);
	gmem_pvm_close_vm(p);
	gmem_assert_zero(p->mem + DATA, DATA_PAGES * GMEM_PAGE);
	gmem_fill(p->mem, SIZE, self->seed);
}

/* KVM donates no page that a process can map. */
PROTECTED_TEST(level)
{
	struct gmem_pvm *p = &self->p;
	u32 level;

	create_pvm(p, 1, DATA_PAGES, self->seed);
	self->pfns = gmem_pfns(p->mem, SIZE);
	for (level = GUEST_MEMFD_ACCESS_USER; level <= GUEST_MEMFD_ACCESS_KERNEL; level++) {
		gmem_set_access(p->fd, 0, SIZE, level);
		TEST_ASSERT(ioctl(p->vcpu[0], KVM_RUN, NULL) == -1 && errno == EFAULT, "errno %d",
			    errno);
		TEST_ASSERT_EQ(p->run[0]->exit_reason, KVM_EXIT_MEMORY_FAULT);
		TEST_ASSERT_EQ(p->run[0]->memory_fault.gpa, GMEM_GPA);
		TEST_ASSERT_EQ(p->run[0]->memory_fault.size, GMEM_PAGE);
		TEST_ASSERT_EQ(nr_donated(p->fd), 0);
	}
	/* All of the memory is sealed except the code and one page of data. */
	gmem_pvm_seal(p);
	gmem_set_access(p->fd, DATA + 5 * GMEM_PAGE, GMEM_PAGE, GUEST_MEMFD_ACCESS_USER);
	TEST_ASSERT(ioctl(p->vcpu[0], KVM_RUN, NULL) == -1 && errno == EFAULT, "errno %d", errno);
	TEST_ASSERT_EQ(p->run[0]->memory_fault.gpa, GMEM_GPA + DATA + 5 * GMEM_PAGE);
	TEST_ASSERT_EQ(nr_donated(p->fd), 6);
	gmem_pvm_seal(p);
	fill_and_check(p);
}

PROTECTED_TEST(kept)
{
	struct gmem_pvm *p = &self->p;
	u64 free = DATA + DATA_PAGES * GMEM_PAGE;
	struct gmem_info info, later;

	create_pvm(p, 1, DATA_PAGES, self->seed);
	self->pfns = gmem_pfns(p->mem, SIZE);
	gmem_pvm_seal(p);
	fill_and_check(p);
	TEST_ASSERT_EQ(nr_donated(p->fd), DATA_PAGES + 1);
	gmem_read_info(p->fd, &info);
	TEST_ASSERT_EQ(info.populated, SIZE / GMEM_PAGE);
	TEST_ASSERT_EQ(info.hidden, SIZE / GMEM_PAGE);
	TEST_ASSERT_EQ(gmem_scan(self->seed, NULL), 0);

	/*
	 * Try one page, all of the memory, and ranges that begin or end with a
	 * donated page.
	 */
	assert_kept(p, DATA, GMEM_PAGE);
	assert_kept(p, 0, SIZE);
	assert_kept(p, free - GMEM_PAGE, SIZE - free + GMEM_PAGE);
	assert_kept(p, 0, DATA + GMEM_PAGE);
	gmem_read_info(p->fd, &later);
	TEST_ASSERT(!memcmp(&info, &later, sizeof(info)), "the file has changed");
	TEST_ASSERT_EQ(run(p), 0);

	/*
	 * The host may change the level of pages that the guest has not
	 * touched; this splits the block.
	 */
	gmem_set_access(p->fd, free, GMEM_PAGE, GUEST_MEMFD_ACCESS_USER);
	gmem_assert_zero(p->mem + free, GMEM_PAGE);
	gmem_read_info(p->fd, &later);
	TEST_ASSERT_EQ(later.blocks, SIZE / GMEM_PAGE);
	TEST_ASSERT_EQ(nr_donated(p->fd), DATA_PAGES + 1);
	TEST_ASSERT_EQ(run(p), 0);
	gmem_set_access(p->fd, free, GMEM_PAGE, GUEST_MEMFD_ACCESS_KERNEL);
	gmem_set_access(p->fd, free, GMEM_PAGE, GUEST_MEMFD_ACCESS_NONE);
	gmem_punch(p->fd, free, SIZE - free);
	gmem_read_info(p->fd, &later);
	TEST_ASSERT_EQ(later.populated, free / GMEM_PAGE);

	/* The same for single pages. */
	assert_kept(p, DATA, GMEM_PAGE);
	assert_kept(p, 0, SIZE);
	TEST_ASSERT_EQ(run(p), 0);
}

/*
 * The guest continues without the file; its pages are returned when the VM
 * ends.
 */
PROTECTED_TEST(file_first)
{
	struct gmem_pvm *p = &self->p;

	create_pvm(p, 1, DATA_PAGES, self->seed);
	self->pfns = gmem_pfns(p->mem, SIZE);
	gmem_pvm_seal(p);
	fill_and_check(p);
	gmem_pvm_close_file(p);
	usleep(300000);
	TEST_ASSERT_EQ(run(p), 0);
	TEST_ASSERT(gmem_count_absent(self->pfns, SIZE / GMEM_PAGE) >= DATA_PAGES + 1,
		    "donated pages are present");
	gmem_pvm_close_vm(p);
}

PROTECTED_TEST(vm_first)
{
	struct gmem_pvm *p = &self->p;

	create_pvm(p, 1, DATA_PAGES, self->seed);
	self->pfns = gmem_pfns(p->mem, SIZE);
	gmem_pvm_seal(p);
	fill_and_check(p);
	gmem_pvm_close_vm(p);
	gmem_pvm_close_file(p);
}

/*
 * The block is split while some of its pages are donated, and then the file is
 * closed.
 */
PROTECTED_TEST(split_first)
{
	struct gmem_pvm *p = &self->p;

	create_pvm(p, 1, DATA_PAGES, self->seed);
	self->pfns = gmem_pfns(p->mem, SIZE);
	gmem_pvm_seal(p);
	fill_and_check(p);
	gmem_punch(p->fd, SZ_1M, GMEM_PAGE);
	TEST_ASSERT_EQ(run(p), 0);
	gmem_pvm_close_file(p);
	TEST_ASSERT_EQ(run(p), 0);
	gmem_pvm_close_vm(p);
}

struct vcpu_thread {
	struct gmem_pvm *p;
	int nr;
	bool stop;
	u64 faults, wrong;
	pthread_t thread;
};

/*
 * Runs until the guest has found its memory unchanged; runs again after each
 * fault.
 */
static void *run_vcpu(void *arg)
{
	struct vcpu_thread *t = arg;
	struct kvm_run *run = t->p->run[t->nr];
	bool filled = false;

	for (;;) {
		if (!ioctl(t->p->vcpu[t->nr], KVM_RUN, NULL)) {
			TEST_ASSERT_EQ(run->exit_reason, KVM_EXIT_MMIO);
			if (filled) {
				t->wrong = *(u32 *)run->mmio.data;
				break;
			}
			filled = true;
			continue;
		}
		TEST_ASSERT(errno == EFAULT && run->exit_reason == KVM_EXIT_MEMORY_FAULT,
			    "KVM_RUN: errno %d, exit reason %u", errno, run->exit_reason);
		t->faults++;
	}
	WRITE_ONCE(t->stop, true);
	return NULL;
}

/*
 * Two vCPUs touch the same pages while the VMM changes levels and punches holes
 * there.
 */
PROTECTED_TEST(race)
{
	u64 offset, round, refused = 0, busy = 0, raised = 0, holes = 0, faults = 0;
	struct gmem_pvm *p = &self->p;
	struct timespec start;
	unsigned int i;
	u32 level;

	srand(self->seed);
	clock_gettime(CLOCK_MONOTONIC, &start);
	/* Run each variant at least once, however slow the kernel is. */
	for (round = 0; round < 8; round++) {
		if (round >= 4 && timespec_elapsed(start).tv_sec > 60)
			break;
		struct vcpu_thread t[NR_VCPUS] = {};

		/* Run with a block, and with single pages only. */
		gmem_set_block_order(round & 1 ? 0 : 9);
		create_pvm(p, NR_VCPUS, ALL_PAGES, self->seed);
		gmem_pvm_seal(p);
		for (i = 0; i < NR_VCPUS; i++) {
			t[i].p = p;
			t[i].nr = i;
			TEST_ASSERT(!pthread_create(&t[i].thread, NULL, run_vcpu, &t[i]),
				    "pthread_create");
		}
		while (!READ_ONCE(t[0].stop) || !READ_ONCE(t[1].stop)) {
			offset = DATA + rand() % ALL_PAGES * GMEM_PAGE;
			level = rand() & 1 ? GUEST_MEMFD_ACCESS_USER : GUEST_MEMFD_ACCESS_KERNEL;
			if (!__gmem_set_access(p->fd, offset, GMEM_PAGE, level, NULL)) {
				raised++;
				/*
				 * A vCPU that faults concurrently has a
				 * reference to the page; retry.
				 */
				while (__gmem_set_access(p->fd, offset, GMEM_PAGE,
							 GUEST_MEMFD_ACCESS_NONE, NULL))
					TEST_ASSERT_EQ(errno, EAGAIN);
			} else {
				TEST_ASSERT(errno == EPERM || errno == EAGAIN, "errno %d", errno);
				refused++;
			}
			offset = DATA + rand() % ALL_PAGES * GMEM_PAGE;
			if (!fallocate(p->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset,
				       GMEM_PAGE)) {
				holes++;
			} else {
				TEST_ASSERT_EQ(errno, EBUSY);
				busy++;
			}
		}
		for (i = 0; i < NR_VCPUS; i++) {
			pthread_join(t[i].thread, NULL);
			TEST_ASSERT_EQ(t[i].wrong, 0);
			faults += t[i].faults;
		}
		TEST_ASSERT_EQ(nr_donated(p->fd), ALL_PAGES + 1);
		/* Close file and VM in both orders. */
		if (round & 2)
			gmem_pvm_close_vm(p);
		gmem_pvm_close_file(p);
		gmem_pvm_close_vm(p);
	}
	gmem_set_block_order(9);
	ksft_print_msg("%lu raised, %lu not, %lu holes, %lu not, %lu faults\n", raised, refused,
		       holes, busy, faults);
	TEST_ASSERT(raised && refused && holes && busy, "one of these never happened");
}

/*
 * Starts a VMM whose file the caller gets, and that waits to be killed.  @pfn,
 * in shared memory or NULL, receives the frame of the page at @offset.
 */
static pid_t start_vmm(u64 seed, int *fd, u64 offset, u64 *pfn)
{
	struct {
		bool ready;
		int fd;
	} *shared;
	int i;
	pid_t pid;

	shared = kvm_mmap(sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork: errno %d", errno);
	if (!pid) {
		struct gmem_pvm p;

		create_pvm(&p, 1, DATA_PAGES, seed);
		if (pfn)
			*pfn = gmem_pfn(p.mem + offset);
		gmem_pvm_seal(&p);
		fill_and_check(&p);
		shared->fd = p.fd;
		WRITE_ONCE(shared->ready, true);
		for (;;)
			pause();
	}
	for (i = 0; i < 10000 && !READ_ONCE(shared->ready); i++)
		usleep(1000);
	TEST_ASSERT(shared->ready, "the VMM did not run its guest");
	*fd = gmem_pvm_get_fd(pid, shared->fd);
	kvm_munmap(shared, sizeof(*shared));
	return pid;
}

/*
 * EL2 returns zeroed pages to the host, also if another process has the file
 * open.
 */
PROTECTED_TEST(file_outlives)
{
	struct gmem_pvm *p = &self->p;
	pid_t pid = start_vmm(self->seed, &p->fd, 0, NULL);

	TEST_ASSERT_EQ(nr_donated(p->fd), DATA_PAGES + 1);
	assert_kept(p, DATA, GMEM_PAGE);
	gmem_pvm_kill(pid);
	TEST_ASSERT_EQ(nr_donated(p->fd), 0);
	gmem_set_access(p->fd, 0, SIZE, GUEST_MEMFD_ACCESS_KERNEL);
	p->mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd);
	gmem_assert_zero(p->mem, SIZE);
	gmem_fill(p->mem, SIZE, self->seed + 1);
	gmem_assert_filled(p->mem, SIZE, self->seed + 1);
	gmem_punch(p->fd, 0, SIZE);
}

/* Kill the VMM at a different point of the guest's life each time. */
PROTECTED_TEST(killed)
{
	struct gmem_pvm *p = &self->p;
	unsigned int i;
	pid_t pid;

	for (i = 0; i < 6; i++) {
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork: errno %d", errno);
		if (!pid) {
			create_pvm(p, 1, DATA_PAGES, self->seed);
			gmem_pvm_seal(p);
			if (i & 1)
				gmem_pvm_close_file(p);
			for (;;)
				ioctl(p->vcpu[0], KVM_RUN, NULL);
		}
		usleep(100000 + i * 150000);
		gmem_pvm_kill(pid);
	}
	gmem_assert_all_back();
	TEST_ASSERT_EQ(gmem_scan(self->seed, NULL), 0);
}

static bool is_all_back(void *unused)
{
	gmem_free_singles();
	return gmem_absent_total() == gmem_absent_before();
}

/*
 * EL2 does not touch a poisoned page again: it is lost, and no other page is.
 * This must be the last test, because free single pages of the block can stay
 * hidden.
 */
PROTECTED_TEST(poisoned)
{
	u64 *shared_pfn, page = DATA + 5 * GMEM_PAGE;
	struct gmem_pvm *p = &self->p;
	char text[32];
	int fd, len;
	pid_t pid;

	if (access("/sys/kernel/debug/hwpoison/corrupt-pfn", W_OK))
		SKIP(return, "no injection of memory errors");
	shared_pfn = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	pid = start_vmm(self->seed, &p->fd, page, shared_pfn);
	fd = open_path_or_exit("/sys/kernel/debug/hwpoison/corrupt-pfn", O_WRONLY);
	len = sprintf(text, "%lu", *shared_pfn);
	TEST_ASSERT(write(fd, text, len) == len, "corrupt-pfn: errno %d", errno);
	kvm_close(fd);
	assert_kept(p, page, GMEM_PAGE);

	/*
	 * The file, which is still open, shows that EL2 has not returned the
	 * page.
	 */
	gmem_pvm_kill(pid);
	TEST_ASSERT_EQ(nr_donated(p->fd), 1);
	assert_kept(p, page, GMEM_PAGE);
	gmem_punch(p->fd, 0, page);
	gmem_punch(p->fd, page + GMEM_PAGE, SIZE - page - GMEM_PAGE);
	gmem_pvm_close_file(p);
	gmem_expect_lost(1);
	/*
	 * The block stays cut: its other pages are free single pages until the
	 * shrinkers run.
	 */
	gmem_wait(is_all_back, NULL);
	TEST_ASSERT_EQ(gmem_count_absent(shared_pfn, 1), 1);
	kvm_munmap(shared_pfn, GMEM_PAGE);
	/* The page's entry stays absent, so the block cannot be merged. */
	free(self->dump);
	self->dump = gmem_read_dump();
}

int main(int argc, char *argv[])
{
	gmem_pvm_require();
	return test_harness_run(argc, argv);
}
