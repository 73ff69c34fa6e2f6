// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs use hidden memory through a plain memslot while user space unmaps the
 * memory and maps it again in every way.
 *
 * Proves that no vCPU loads from a page between the moment at which user space
 * has unmapped it, by a level, mmap() or mprotect(), and the moment at which
 * user space begins to map it again, and that no vCPU reads old contents after
 * a hole punch.  One thread changes each block; another turns dirty logging on
 * and off, so that KVM splits mappings of 2 MiB and creates them again; the
 * guest turns a clock on and off in the same memory, so that KVM takes and puts
 * direct-map references.
 *
 * Catches: a guest mapping that a fault installs although user space unmapped
 * the page during that fault (a kernel without is_page_fault_stale()), and an
 * invalidation that misses a part of a 2 MiB mapping.
 *
 * The argument "-s SECONDS" sets how long the test runs.  gmem_plain.h
 * describes the environment variable GMEM_DIR.
 */
#include <asm/kvm_para.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define BLOCK		SZ_2M
#define NR_BLOCKS	4
#define SIZE		(NR_BLOCKS * BLOCK)
#define BLOCK_PAGES	(BLOCK / GMEM_PAGE)
#define NR_PAGES	(SIZE / GMEM_PAGE)
#define NR_VCPUS	3
#define BATCH		2000
#define CLOCK_OFFSET	2048

/*
 * The state of a page that the host shares with the guest.  @state is odd while
 * no vCPU can load from the page, and changes with each change.  A page
 * contains 0, or a generation of at least @oldest in its first word.
 */
struct page_state {
	u64 state;
	u64 oldest;
};

static struct page_state states[NR_PAGES];

static struct gmem_vm g;
static struct page_state *host_states;
static volatile bool stop;
static u64 ops[8], faults, batches, busy;

static u64 next_random(u64 *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Guest: load from random pages. */
static u64 guest_loads(u64 seed, u64 clock, u64 unused)
{
	u64 x = seed, before, after, oldest, value, nr;
	unsigned int i;

	for (i = 0; i < BATCH; i++) {
		nr = next_random(&x) % NR_PAGES;
		before = READ_ONCE(states[nr].state);
		oldest = READ_ONCE(states[nr].oldest);
		barrier();
		value = READ_ONCE(*(u64 *)(GMEM_GVA + nr * GMEM_PAGE));
		barrier();
		after = READ_ONCE(states[nr].state);
		__GUEST_ASSERT(!(before & 1) || before != after,
			       "page %lu was read while user space had taken it away", nr);
		__GUEST_ASSERT(!value || value >= oldest,
			       "page %lu has generation %lu, older than %lu", nr, value, oldest);
		/* Also write where the host does not read. */
		if (x & 1)
			WRITE_ONCE(*(u64 *)(GMEM_GVA + nr * GMEM_PAGE + 1024), x);
	}
	if (clock)
		wrmsr(MSR_KVM_SYSTEM_TIME_NEW, clock & ~1ULL ?
		      (GMEM_GVA + (clock & ~0xfffULL) + CLOCK_OFFSET) | KVM_MSR_ENABLED : 0);
	return x;
}

static void *run_vcpu(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	u64 x = vcpu->id + 4711, clock = 0;
	int r;

	while (!stop) {
		if (!vcpu->id)
			clock = next_random(&x) % 4 ? (x % NR_PAGES) * GMEM_PAGE | 2 : 1;
		gmem_guest_post(vcpu, guest_loads, x, clock, 0);
		while ((r = _vcpu_run(vcpu))) {
			TEST_ASSERT(errno == EFAULT &&
				    vcpu->run->exit_reason == KVM_EXIT_MEMORY_FAULT,
				    "KVM_RUN: errno %d, exit reason %u", errno,
				    vcpu->run->exit_reason);
			__sync_fetch_and_add(&faults, 1);
			usleep(20);
		}
		x = gmem_guest_result(vcpu);
		__sync_fetch_and_add(&batches, 1);
	}
	return NULL;
}

/* From now until give_back() no vCPU can load from the range. */
static void taken(u64 first, u64 nr)
{
	u64 i;

	for (i = first; i < first + nr; i++)
		WRITE_ONCE(host_states[i].state, (host_states[i].state + 1) | 1);
}

static void give_back(u64 first, u64 nr)
{
	u64 i;

	for (i = first; i < first + nr; i++)
		WRITE_ONCE(host_states[i].state, host_states[i].state + 1);
}

static bool lower(u64 first, u64 nr, u32 level)
{
	if (!__gmem_set_access(g.fd, first * GMEM_PAGE, nr * GMEM_PAGE, level, NULL))
		return true;
	TEST_ASSERT(errno == EAGAIN, "SET_ACCESS: errno %d", errno);
	__sync_fetch_and_add(&busy, 1);
	return false;
}

static void map_over(u64 first, u64 nr, bool away)
{
	void *mem = g.mem + first * GMEM_PAGE;
	void *to = mmap(mem, nr * GMEM_PAGE, away ? PROT_NONE : PROT_READ | PROT_WRITE,
			MAP_FIXED | (away ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED),
			away ? -1 : g.fd, away ? 0 : first * GMEM_PAGE);

	TEST_ASSERT(to == mem, "mmap: %s", strerror(errno));
}

static void protect(u64 first, u64 nr, int prot)
{
	TEST_ASSERT(!mprotect(g.mem + first * GMEM_PAGE, nr * GMEM_PAGE, prot), "mprotect: %s",
		    strerror(errno));
}

/* One such thread changes each block. */
static void *change_block(void *arg)
{
	u64 block = (u64)arg, x = block + 815, generation = 1, first, nr, op, i;

	while (!stop) {
		op = next_random(&x) % ARRAY_SIZE(ops);
		nr = x & 0x100 ? BLOCK_PAGES : 1 + (x >> 9) % 8;
		first = block * BLOCK_PAGES;
		if (nr != BLOCK_PAGES)
			first += (x >> 16) % (BLOCK_PAGES - nr + 1);
		switch (op) {
		case 0:
		case 1:
			gmem_punch(g.fd, first * GMEM_PAGE, nr * GMEM_PAGE);
			generation++;
			for (i = first; i < first + nr; i++) {
				WRITE_ONCE(host_states[i].oldest, generation);
				if (op)
					WRITE_ONCE(*(u64 *)(g.mem + i * GMEM_PAGE), generation);
			}
			break;
		case 2:
			map_over(first, nr, true);
			taken(first, nr);
			usleep(x % 200);
			give_back(first, nr);
			map_over(first, nr, false);
			break;
		case 3:
			if (!lower(first, nr, GUEST_MEMFD_ACCESS_NONE))
				continue;
			taken(first, nr);
			usleep(x % 200);
			give_back(first, nr);
			gmem_set_access(g.fd, first * GMEM_PAGE, nr * GMEM_PAGE,
					GUEST_MEMFD_ACCESS_USER);
			break;
		case 4:
			protect(first, nr, PROT_NONE);
			taken(first, nr);
			usleep(x % 200);
			give_back(first, nr);
			protect(first, nr, PROT_READ | PROT_WRITE);
			break;
		case 5:
			gmem_set_access(g.fd, first * GMEM_PAGE, nr * GMEM_PAGE,
					GUEST_MEMFD_ACCESS_KERNEL);
			while (!lower(first, nr, GUEST_MEMFD_ACCESS_USER))
				usleep(100);
			break;
		case 6:
			madvise(g.mem + first * GMEM_PAGE, nr * GMEM_PAGE, MADV_DONTNEED);
			break;
		case 7:
			/* Give the guest time to map the block as a whole. */
			gmem_punch(g.fd, block * BLOCK, BLOCK);
			generation++;
			for (i = block * BLOCK_PAGES; i < (block + 1) * BLOCK_PAGES; i++)
				WRITE_ONCE(host_states[i].oldest, generation);
			usleep(2000);
			break;
		}
		__sync_fetch_and_add(&ops[op], 1);
		/* Let the vCPUs use the memory most of the time. */
		usleep(1000 + x % 4000);
	}
	return NULL;
}

static void *toggle_log(void *unused)
{
	u32 flags = 0;

	while (!stop) {
		flags ^= KVM_MEM_LOG_DIRTY_PAGES;
		vm_set_user_memory_region(g.vm, GMEM_SLOT, flags, GMEM_GPA, SIZE, g.mem);
		usleep(20000);
	}
	return NULL;
}

static int open_hidden(struct kvm_vm *owner)
{
	const char *dir = getenv("GMEM_DIR");
	int fd;

	if (!dir)
		return vm_create_guest_memfd(owner, SIZE, GUEST_MEMFD_FLAG_MMAP |
					     GUEST_MEMFD_FLAG_INIT_SHARED |
					     GUEST_MEMFD_FLAG_NO_DIRECT_MAP);
	fd = open(dir, O_RDWR | O_TMPFILE, 0600);
	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SIZE), "a file in %s: %s", dir, strerror(errno));
	return fd;
}

static void map_aligned(void)
{
	char *mem = kvm_mmap(SIZE + BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	g.mem = (char *)(((u64)mem + BLOCK - 1) & ~(BLOCK - 1));
	map_over(0, NR_PAGES, false);
}

int main(int argc, char **argv)
{
	pthread_t threads[NR_VCPUS + NR_BLOCKS + 1];
	unsigned int i, n = 0, seconds = 60;
	struct kvm_vm *owner;
	int kmsg, opt;

	while ((opt = getopt(argc, argv, "s:")) != -1) {
		TEST_ASSERT(opt == 's', "usage: %s [-s SECONDS]", argv[0]);
		seconds = atoi_positive("seconds", optarg);
	}
	gmem_require();
	gmem_kmsg_open(&kmsg);
	ksft_print_header();
	ksft_set_plan(1);

	owner = vm_create_barebones();
	gmem_vm_create_bare(&g, NR_VCPUS, SIZE, 0);
	g.fd = open_hidden(owner);
	map_aligned();
	vm_set_user_memory_region(g.vm, GMEM_SLOT, 0, GMEM_GPA, SIZE, g.mem);
	virt_map(g.vm, GMEM_GVA, GMEM_GPA, NR_PAGES);
	host_states = addr_gva2hva(g.vm, (gva_t)states);

	for (i = 0; i < NR_VCPUS; i++)
		pthread_create(&threads[n++], NULL, run_vcpu, g.vcpus[i]);
	for (i = 0; i < NR_BLOCKS; i++)
		pthread_create(&threads[n++], NULL, change_block, (void *)(u64)i);
	pthread_create(&threads[n++], NULL, toggle_log, NULL);
	sleep(seconds);
	stop = true;
	while (n)
		pthread_join(threads[--n], NULL);

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		ksft_print_msg("operation %u: %lu times\n", i, ops[i]);
	ksft_print_msg("%lu batches of %u loads, %lu faults of the guest, %lu changes refused\n",
		       batches, BATCH, faults, busy);
	for (i = 0; i < ARRAY_SIZE(ops); i++)
		TEST_ASSERT(ops[i], "operation %u was never done", i);
	TEST_ASSERT(batches > NR_VCPUS && faults, "the guest got nothing done");

	kvm_vm_free(g.vm);
	kvm_munmap(g.mem, SIZE);
	close(g.fd);
	kvm_vm_free(owner);
	gmem_assert_nothing_left(&kmsg);
	gmem_assert_all_back();
	ksft_test_result_pass("no access to what was taken away\n");
	ksft_finished();
}
