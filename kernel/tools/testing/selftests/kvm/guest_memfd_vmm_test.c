// SPDX-License-Identifier: GPL-2.0-only
/*
 * What VMMs do with guest memory that is a file, on a file of a directory.
 *
 * Two sequences of system calls, as Cloud Hypervisor (August 2026) and crosvm
 * (August 2026) make them, each run twice: on a memfd, which these VMMs use
 * today, and on a file without a name in a directory, which is a mount of the
 * guestmem file system, or the directory that GMEM_DIR in the environment
 * names.  A small guest uses the memory between the calls.
 *
 * Proves that every call returns on the file what it returns on the memfd, and
 * that guest, VMM and a second process see the same contents after it: a plain
 * memslot by either ioctl, a hole punch by fallocate() and by MADV_REMOVE,
 * userfaultfd write protection, the dirty log switched on and off, a new VM
 * over the memory of one that was destroyed, a process that maps the same file.
 *
 * Catches: a call that fails on the file, or that does something else there.
 *
 * Not covered: the VMMs themselves, which Debian does not have; their devices.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"
#include "ucall_common.h"

#define TIMEOUT		300
#define SIZE		(4 * SZ_2M)
#define PAGE		4096UL
#define PAGES		(SIZE / PAGE)
#define SLOT		10
#define GPA		BIT_ULL(32)
#define GVA		GPA
#define MAX_RECORDS	64

/*
 * The ranges of the operations, in pages: a whole block, a part of one, and a
 * separate page.
 */
#define BLOCK		512UL
#define BLOCK_PAGES	512UL
#define PART		1100UL
#define PART_PAGES	100UL
#define LONE		1700UL

/*
 * The result of a step, or what the test saw after it, and the expected value.
 */
struct record {
	const char *what;
	s64 value;
	s64 want;
};

/* One sequence on one kind of memory. */
struct run {
	bool file;
	int fd;
	char *mem;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct record records[MAX_RECORDS];
	int nr;
};

static void record(struct run *run, const char *what, s64 value, s64 want)
{
	TEST_ASSERT(run->nr < MAX_RECORDS, "too many steps");
	run->records[run->nr++] = (struct record) { what, value, want };
}

/* Records 0, or the errno. */
#define step(run, what, call) record(run, what, (call) < 0 ? errno : 0, 0)

/* The guest executes one call at a time. */
typedef u64 (*guest_fn)(u64 page, u64 nr, u64 seed);

static struct {
	guest_fn fn;
	u64 page, nr, seed;
} call;

static u64 word(u64 page, u64 i, u64 seed)
{
	return (seed << 48) + (page << 16) + i + 1;
}

static void fill(volatile u64 *mem, u64 page, u64 nr, u64 seed)
{
	u64 i;

	for (; nr--; page++) {
		for (i = 0; i < PAGE / sizeof(*mem); i++)
			mem[page * PAGE / sizeof(*mem) + i] = word(page, i, seed);
	}
}

static u64 guest_fill(u64 page, u64 nr, u64 seed)
{
	fill((void *)GVA, page, nr, seed);
	return 0;
}

/*
 * The number of words that differ from what fill() wrote; with seed 0, from 0.
 */
static u64 count_bad(const volatile u64 *mem, u64 page, u64 nr, u64 seed)
{
	u64 i, want, bad = 0;

	for (; nr--; page++) {
		for (i = 0; i < PAGE / sizeof(*mem); i++) {
			want = seed ? word(page, i, seed) : 0;
			bad += mem[page * PAGE / sizeof(*mem) + i] != want;
		}
	}
	return bad;
}

static u64 guest_count_bad(u64 page, u64 nr, u64 seed)
{
	return count_bad((void *)GVA, page, nr, seed);
}

static void guest_main(void)
{
	for (;;)
		GUEST_SYNC(call.fn(call.page, call.nr, call.seed));
}

static u64 guest(struct run *run, guest_fn fn, u64 page, u64 nr, u64 seed)
{
	struct ucall uc;

	call.fn = fn;
	call.page = page;
	call.nr = nr;
	call.seed = seed;
	sync_global_to_guest(run->vm, call);
	if (_vcpu_run(run->vcpu))
		return errno;
	TEST_ASSERT(get_ucall(run->vcpu, &uc) == UCALL_SYNC, "exit reason %u (%s)",
		    run->vcpu->run->exit_reason, exit_reason_str(run->vcpu->run->exit_reason));
	return uc.args[1];
}

static void guest_sees(struct run *run, const char *what, u64 page, u64 nr, u64 seed)
{
	record(run, what, guest(run, guest_count_bad, page, nr, seed), 0);
}

static void vmm_sees(struct run *run, const char *what, u64 page, u64 nr, u64 seed)
{
	record(run, what, count_bad((void *)run->mem, page, nr, seed), 0);
}

static void create_vm(struct run *run)
{
	run->vm = __vm_create_with_one_vcpu(&run->vcpu, PAGES, guest_main);
	virt_map(run->vm, GVA, GPA, PAGES);
}

static void destroy_vm(struct run *run)
{
	kvm_vm_free(run->vm);
	run->vm = NULL;
}

static int set_region2(struct run *run, u32 flags)
{
	return __vm_set_user_memory_region2(run->vm, SLOT, flags, GPA, SIZE, run->mem, 0, 0);
}

static void open_memory(struct run *run)
{
	const char *dir = getenv("GMEM_DIR") ?: "/dev/guestmem";

	if (run->file)
		run->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	else
		run->fd = memfd_create("guest", MFD_CLOEXEC);
	step(run, "create the file", run->fd);
	TEST_ASSERT(run->fd >= 0, "no file in %s: errno %d", dir, errno);
	step(run, "ftruncate()", ftruncate(run->fd, SIZE));
	record(run, "its size", lseek(run->fd, 0, SEEK_END), SIZE);
}

static void map_memory(struct run *run, int flags)
{
	run->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, run->fd, 0);
	step(run, "mmap()", run->mem == MAP_FAILED ? -1 : 0);
	TEST_ASSERT(run->mem != MAP_FAILED, "errno %d", errno);
}

static void close_memory(struct run *run)
{
	kvm_munmap(run->mem, SIZE);
	kvm_close(run->fd);
}

/* The VMM's snapshot thread copies a page before the guest may write to it. */
struct snapshot {
	struct run *run;
	int uffd, stop;
	char *copy;
	u64 faults;
};

static int protect(struct snapshot *s, u64 page, u64 nr, u64 mode)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (u64)s->run->mem + page * PAGE, .len = nr * PAGE },
		.mode = mode,
	};

	return ioctl(s->uffd, UFFDIO_WRITEPROTECT, &wp);
}

static void *take_snapshot(void *arg)
{
	struct snapshot *s = arg;
	struct pollfd fds[] = {
		{ .fd = s->uffd, .events = POLLIN }, { .fd = s->stop, .events = POLLIN },
	};
	struct uffd_msg msg;

	while (poll(fds, ARRAY_SIZE(fds), -1) > 0 && !fds[1].revents) {
		u64 page;

		if (read(s->uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		TEST_ASSERT(msg.event == UFFD_EVENT_PAGEFAULT &&
			    msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP,
			    "event %u, flags 0x%llx", msg.event, msg.arg.pagefault.flags);
		page = (msg.arg.pagefault.address - (u64)s->run->mem) / PAGE;
		memcpy(s->copy + page * PAGE, s->run->mem + page * PAGE, PAGE);
		s->faults++;
		TEST_ASSERT(!protect(s, page, 1, 0), "UFFDIO_WRITEPROTECT: errno %d", errno);
	}
	return NULL;
}

static void write_protect(struct run *run)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	struct uffdio_register reg = {
		.range = { .start = (u64)run->mem, .len = SIZE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct snapshot s = { .run = run };
	pthread_t thread;
	u64 one = 1;
	int ret;

	s.uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	step(run, "userfaultfd()", s.uffd);
	step(run, "UFFDIO_API", ioctl(s.uffd, UFFDIO_API, &api));
	ret = ioctl(s.uffd, UFFDIO_REGISTER, &reg);
	step(run, "UFFDIO_REGISTER for write protection", ret);
	if (ret)
		goto out;
	s.copy = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	s.stop = kvm_new_eventfd();
	guest(run, guest_fill, BLOCK, BLOCK_PAGES, 2);
	step(run, "UFFDIO_WRITEPROTECT of a block",
	     protect(&s, BLOCK, BLOCK_PAGES, UFFDIO_WRITEPROTECT_MODE_WP));
	kvm_pthread_create(&thread, NULL, take_snapshot, &s);
	guest_sees(run, "the guest reads what is protected", BLOCK, BLOCK_PAGES, 2);
	record(run, "reads fault", s.faults, 0);
	guest(run, guest_fill, BLOCK + 10, 20, 3);
	record(run, "writes fault, once a page", s.faults, 20);
	guest_sees(run, "the guest's writes are there", BLOCK + 10, 20, 3);
	record(run, "the snapshot has what was there before",
	       count_bad((void *)s.copy, BLOCK + 10, 20, 2), 0);
	guest_sees(run, "pages before are as they were", BLOCK, 10, 2);
	step(run, "UFFDIO_WRITEPROTECT off", protect(&s, BLOCK, BLOCK_PAGES, 0));
	guest(run, guest_fill, BLOCK, BLOCK_PAGES, 4);
	record(run, "no more faults", s.faults, 20);
	step(run, "UFFDIO_UNREGISTER", ioctl(s.uffd, UFFDIO_UNREGISTER, &reg.range));
	TEST_ASSERT_EQ(write(s.stop, &one, sizeof(one)), (ssize_t)sizeof(one));
	kvm_pthread_join(thread, NULL);
	kvm_close(s.stop);
	kvm_munmap(s.copy, SIZE);
out:
	kvm_close(s.uffd);
}

static void log_dirty(struct run *run)
{
	unsigned long *bitmap = bitmap_zalloc(PAGES);
	u64 i, dirty = 0, others = 0;
	int round;

	for (round = 0; round < 2; round++) {
		step(run, "log of dirty pages on", set_region2(run, KVM_MEM_LOG_DIRTY_PAGES));
		kvm_vm_get_dirty_log(run->vm, SLOT, bitmap);
		guest(run, guest_fill, PART, PART_PAGES, 5 + round);
		guest_sees(run, "the guest's writes are there", PART, PART_PAGES, 5 + round);
		kvm_vm_get_dirty_log(run->vm, SLOT, bitmap);
		for (i = dirty = others = 0; i < PAGES; i++) {
			if (!test_bit(i, bitmap))
				continue;
			if (i >= PART && i < PART + PART_PAGES)
				dirty++;
			else
				others++;
		}
		record(run, "pages that the guest wrote are dirty", dirty, PART_PAGES);
		record(run, "other pages are dirty", others, 0);
		step(run, "log of dirty pages off", set_region2(run, 0));
		guest(run, guest_fill, PART, PART_PAGES, 7);
	}
	free(bitmap);
}

static void cloud_hypervisor(struct run *run)
{
	open_memory(run);
	map_memory(run, MAP_SHARED | MAP_NORESERVE);
	create_vm(run);
	step(run, "KVM_SET_USER_MEMORY_REGION2 without a flag", set_region2(run, 0));
	guest_sees(run, "new memory is zero", 0, PAGES, 0);
	guest(run, guest_fill, 0, PAGES, 1);
	vmm_sees(run, "the VMM reads what the guest wrote", 0, PAGES, 1);

	/* The balloon punches blocks, parts of blocks, and single pages. */
	step(run, "hole of a block", fallocate(run->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					       BLOCK * PAGE, BLOCK_PAGES * PAGE));
	step(run, "MADV_DONTNEED of a block",
	     madvise(run->mem + BLOCK * PAGE, BLOCK_PAGES * PAGE, MADV_DONTNEED));
	guest_sees(run, "the guest reads zeroes there", BLOCK, BLOCK_PAGES, 0);
	step(run, "hole of a part", fallocate(run->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					      PART * PAGE, PART_PAGES * PAGE));
	step(run, "hole of a page", fallocate(run->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					      LONE * PAGE, PAGE));
	vmm_sees(run, "the VMM reads zeroes in the part", PART, PART_PAGES, 0);
	guest_sees(run, "the guest reads zeroes in the page", LONE, 1, 0);
	guest_sees(run, "the page before is as it was", LONE - 1, 1, 1);
	guest_sees(run, "the page after is as it was", PART + PART_PAGES, 1, 1);
	guest(run, guest_fill, LONE, 1, 1);

	write_protect(run);
	log_dirty(run);

	/* The guest reboots. */
	destroy_vm(run);
	create_vm(run);
	step(run, "the same memory in a new VM", set_region2(run, 0));
	guest_sees(run, "the new guest reads what the old one wrote", 0, BLOCK, 1);
	guest_sees(run, "also in the hole that was filled", LONE, 1, 1);
	guest_sees(run, "also under the log", PART, PART_PAGES, 7);
	guest(run, guest_fill, 0, PAGES, 8);
	vmm_sees(run, "the VMM reads what the new guest wrote", 0, PAGES, 8);
	destroy_vm(run);
	vmm_sees(run, "also when the VM is gone", 0, PAGES, 8);
	close_memory(run);
}

/* The device is a process that maps the file, reads and writes. */
static int run_device(struct run *run)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		void *mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, run->fd, 0);

		if (mem == MAP_FAILED)
			_exit(1);
		if (count_bad(mem, 0, PAGES, 1))
			_exit(2);
		fill(mem, PART, PART_PAGES, 2);
		_exit(0);
	}
	TEST_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid, "errno %d", errno);
	return status;
}

/*
 * The VMM's snapshot seeks from data to hole; it must not miss any data that
 * was written.
 */
static bool data_covers(struct run *run, u64 page, u64 nr)
{
	off_t data, hole;

	data = lseek(run->fd, page * PAGE, SEEK_DATA);
	hole = lseek(run->fd, page * PAGE, SEEK_HOLE);
	return data == page * PAGE && hole >= (page + nr) * PAGE;
}

static void crosvm(struct run *run)
{
	open_memory(run);
	map_memory(run, MAP_SHARED);
	create_vm(run);
	step(run, "KVM_SET_USER_MEMORY_REGION",
	     __vm_set_user_memory_region(run->vm, SLOT, 0, GPA, SIZE, run->mem));
	guest(run, guest_fill, 0, PAGES, 1);
	record(run, "a forked device", run_device(run), 0);
	guest_sees(run, "the guest reads what the device wrote", PART, PART_PAGES, 2);
	guest_sees(run, "the page before is as it was", PART - 1, 1, 1);

	step(run, "MADV_REMOVE of a block",
	     madvise(run->mem + BLOCK * PAGE, BLOCK_PAGES * PAGE, MADV_REMOVE));
	step(run, "MADV_REMOVE of a part",
	     madvise(run->mem + PART * PAGE, PART_PAGES * PAGE, MADV_REMOVE));
	record(run, "data before the hole", data_covers(run, 0, BLOCK), 1);
	guest_sees(run, "the guest reads zeroes in the block", BLOCK, BLOCK_PAGES, 0);
	guest_sees(run, "the guest reads zeroes in the part", PART, PART_PAGES, 0);
	guest_sees(run, "the page after is as it was", PART + PART_PAGES, 1, 1);
	guest(run, guest_fill, BLOCK, BLOCK_PAGES, 3);
	record(run, "data in the block again", data_covers(run, BLOCK, BLOCK_PAGES), 1);
	vmm_sees(run, "the VMM reads what the guest wrote", BLOCK, BLOCK_PAGES, 3);
	destroy_vm(run);
	close_memory(run);
}

static void compare(void (*sequence)(struct run *))
{
	struct run *runs = calloc(2, sizeof(*runs)), *memfd = &runs[0], *file = &runs[1];
	int i, bad = 0;

	TEST_ASSERT(runs, "no memory");
	file->file = true;
	sequence(memfd);
	sequence(file);
	for (i = 0; i < memfd->nr || i < file->nr; i++) {
		struct record *a = &memfd->records[i], *b = &file->records[i];

		/*
		 * If one sequence takes another branch, its steps differ from
		 * there on.
		 */
		TEST_ASSERT(a->what && b->what && !strcmp(a->what, b->what),
			    "step %d is \"%s\" on a memfd and \"%s\" on the file", i,
			    a->what ?: "none", b->what ?: "none");
		if (a->value == a->want && b->value == b->want)
			continue;
		bad++;
		printf("# %s: %ld on a memfd, %ld on the file, want %ld\n", a->what,
		       a->value, b->value, a->want);
	}
	printf("# %d steps\n", memfd->nr);
	TEST_ASSERT(!bad, "%d steps differ", bad);
	free(runs);
}

FIXTURE(vmm) {
};

FIXTURE_SETUP(vmm)
{
}

FIXTURE_TEARDOWN(vmm)
{
}

TEST_F_TIMEOUT(vmm, cloud_hypervisor, TIMEOUT)
{
	compare(cloud_hypervisor);
}

TEST_F_TIMEOUT(vmm, crosvm, TIMEOUT)
{
	compare(crosvm);
}

int main(int argc, char *argv[])
{
	return test_harness_run(argc, argv);
}
