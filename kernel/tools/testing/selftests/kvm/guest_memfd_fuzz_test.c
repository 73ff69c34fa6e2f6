// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random operations on guest memory and its access levels.
 *
 * For -t SECONDS (60) worker processes start and end.  Each creates a VM and
 * two files of random flags, sizes and block orders.  One thread uses the first
 * file, and has a model of it: the level, the contents and the pins of each
 * page; the result of every call is known.  Several threads use the second file
 * at once; for that file the test fails only on results that are never valid.
 * Meanwhile signals arrive, one worker in three is killed at any time, and on a
 * kernel with fault injection an allocation fails in one call of eight.  In the
 * end all memory is free, and the kernel log has no report.
 *
 * -s SEED repeats a run, as far as races allow; -r ROUND begins with that
 * worker.
 *
 * Catches what the other tests catch, by sequences that no other test has.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/kernel-page-flags.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_util.h"
#include "test_util.h"

#define NONE		GUEST_MEMFD_ACCESS_NONE
#define USER		GUEST_MEMFD_ACCESS_USER
#define KERNEL		GUEST_MEMFD_ACCESS_KERNEL

#define BLOCK_PAGES	(SZ_2M / GMEM_PAGE)
#define MAX_PAGES	(2 * BLOCK_PAGES + 64)
#define MAX_PINS	6
#define MAX_PIN_PAGES	12
#define NR_RACERS	3
#define MAX_NTH		12
#define FAIL_NTH	"/proc/thread-self/fail-nth"

struct pinned {
	struct gmem_pin pin;
	u64 page, nr;
	u32 life[MAX_PIN_PAGES];	/* of the pages when they were pinned */
	u64 pfn[MAX_PIN_PAGES];		/* if hidden, and with a model */
};

struct fuzz_file {
	struct gmem_vm g;
	u64 flags, nr, seed;
	bool hides, maps;
	/* The model is valid; only for a file with one thread. */
	bool exact;
	u8 level[MAX_PAGES];
	u8 filled[MAX_PAGES];
	u32 life[MAX_PAGES];		/* counts punches of the page */
};

/* The state of one thread that uses a file. */
struct fuzzer {
	pthread_t thread;
	struct fuzz_file *f;
	struct pinned pins[MAX_PINS];
	unsigned int state, nr_pins;
	int nth_fd;
	char *mem;
	bool fired;
};

/* Counters in memory that all processes share. */
static struct {
	atomic_ulong workers, killed, calls, sets, held, short_of_memory, pins, refused, sigbus,
		     guests, looks, checks;
} *did;

static atomic_bool stop;
static bool can_fail;

static unsigned int below(struct fuzzer *z, unsigned int n)
{
	return (unsigned int)rand_r(&z->state) % n;
}

static bool one_in(struct fuzzer *z, unsigned int n)
{
	return !below(z, n);
}

static bool owns(struct fuzz_file *f, u64 page, u64 nr, u32 least)
{
	u64 i;

	for (i = page; i < page + nr; i++)
		if (f->level[i] < least)
			return false;
	return true;
}

/* Sometimes make an allocation of the next call fail. */
static void fail_next(struct fuzzer *z)
{
	char buf[16];
	int len;

	z->fired = false;
	if (!can_fail || !one_in(z, 8))
		return;
	len = snprintf(buf, sizeof(buf), "%u", 1 + below(z, MAX_NTH));
	TEST_ASSERT(pwrite(z->nth_fd, buf, len, 0) == len, "cannot write %s", FAIL_NTH);
	z->fired = true;
}

static void fail_over(struct fuzzer *z)
{
	char buf[16] = "";
	int err = errno;

	if (z->fired) {
		TEST_ASSERT(pread(z->nth_fd, buf, sizeof(buf) - 1, 0) > 0, "cannot read %s",
			    FAIL_NTH);
		z->fired = !strtoul(buf, NULL, 10);
		TEST_ASSERT(pwrite(z->nth_fd, "0", 1, 0) == 1, "cannot write %s", FAIL_NTH);
		did->short_of_memory += z->fired;
	}
	errno = err;
}

/* Did the call fail because of the injected failure? */
static bool starved(struct fuzzer *z, int r)
{
	return r && z->fired && errno == ENOMEM;
}

/*
 * Often chooses the edges of blocks and of the file, and the size of a block.
 */
static void choose_range(struct fuzzer *z, u64 *page, u64 *nr)
{
	u64 n = z->f->nr;

	*page = below(z, n);
	if (one_in(z, 3))
		*page -= *page % BLOCK_PAGES;
	switch (below(z, 5)) {
	case 0:
		*nr = n;
		break;
	case 1:
		*nr = BLOCK_PAGES;
		break;
	case 2:
		*nr = 1 + below(z, n);
		break;
	default:
		*nr = 1 + below(z, 8);
	}
	*nr = min_t(u64, *nr, n - *page);
}

/*
 * Is this page of the file pinned, and not one that was punched since?  @pfn
 * may be NULL.
 */
static bool page_pinned(struct fuzzer *z, u64 page, u64 *pfn)
{
	unsigned int i;

	for (i = 0; i < z->nr_pins; i++) {
		struct pinned *p = &z->pins[i];

		if (page < p->page || page >= p->page + p->nr ||
		    p->life[page - p->page] != z->f->life[page])
			continue;
		if (pfn)
			*pfn = p->pfn[page - p->page];
		return true;
	}
	return false;
}

/*
 * Is the page in a block that is one folio and that a pin keeps from being
 * split?
 */
static bool block_held(struct fuzzer *z, u64 page)
{
	u64 first = page - page % BLOCK_PAGES, pfn, i;

	if (!z->f->hides)
		return false;
	for (i = first; i < min_t(u64, first + BLOCK_PAGES, z->f->nr); i++) {
		if (page_pinned(z, i, &pfn))
			return gmem_kpageflags(pfn) &
			       (BIT(KPF_COMPOUND_HEAD) | BIT(KPF_COMPOUND_TAIL));
	}
	return false;
}

/*
 * Return: The pinned page that keeps the range from @level, or the first page
 * of the range in a pinned block; or the file's size.
 */
static u64 held_at(struct fuzzer *z, u64 page, u64 nr, u32 level)
{
	struct fuzz_file *f = z->f;
	u64 i, end = page + nr;

	/* The kernel first splits the blocks of which the range is a part. */
	if (f->hides && level != KERNEL) {
		if (page % BLOCK_PAGES && block_held(z, page))
			return page;
		if (end % BLOCK_PAGES && block_held(z, end))
			return max_t(u64, page, end - end % BLOCK_PAGES);
	}
	for (i = page; i < end; i++) {
		if (f->hides ? f->level[i] != KERNEL || level == KERNEL :
		    f->level[i] == NONE || level != NONE)
			continue;
		if (page_pinned(z, i, NULL))
			return block_held(z, i) ? i - i % BLOCK_PAGES : i;
	}
	return f->nr;
}

static void do_set(struct fuzzer *z)
{
	struct fuzz_file *f = z->f;
	u64 page, nr, held, at;
	u32 level = below(z, KERNEL + 1);
	int r;

	choose_range(z, &page, &nr);
	held = f->exact ? held_at(z, page, nr, level) : 0;
	fail_next(z);
	r = __gmem_set_access(f->g.fd, page * GMEM_PAGE, nr * GMEM_PAGE, level, &at);
	fail_over(z);
	did->sets += !r;
	if (starved(z, r))
		return;
	if (level == USER && !f->maps) {
		TEST_ASSERT(r && errno == EINVAL, "USER without MMAP: %d, errno %d", r, errno);
		return;
	}
	did->held += r && errno == EAGAIN;
	if (!f->exact) {
		TEST_ASSERT(!r || errno == EAGAIN, "errno %d", errno);
		return;
	}
	if (held == f->nr) {
		TEST_ASSERT(!r, "pages %lu+%lu to %u: errno %d at 0x%lx", page, nr, level, errno,
			    at);
		memset(f->level + page, level, nr);
	} else {
		TEST_ASSERT(r && errno == EAGAIN && at == held * GMEM_PAGE,
			    "pages %lu+%lu to %u: %d, errno %d at 0x%lx; page %lu is pinned", page,
			    nr, level, r, errno, at, held);
	}
}

static void do_wrong(struct fuzzer *z)
{
	u64 size = z->f->nr * GMEM_PAGE;
	struct guest_memfd_access a = { .size = GMEM_PAGE, .level = KERNEL };
	int r;

	switch (below(z, 6)) {
	case 0:
		a.offset = below(z, size) | 1;
		break;
	case 1:
		a.size = below(z, GMEM_PAGE);
		break;
	case 2:
		a.offset = size - GMEM_PAGE * below(z, 2);
		a.size += GMEM_PAGE;
		break;
	case 3:
		a.level = KERNEL + 1 + rand_r(&z->state);
		break;
	case 4:
		a.flags = 1U << below(z, 32);
		break;
	default:
		((char *)a.reserved)[below(z, sizeof(a.reserved))] = 1;
	}
	fail_next(z);
	r = ioctl(z->f->g.fd, GUEST_MEMFD_SET_ACCESS, &a);
	fail_over(z);
	TEST_ASSERT(r && errno == EINVAL, "wrong arguments: %d, errno %d", r, errno);
}

static void do_check(struct fuzzer *z)
{
	struct fuzz_file *f = z->f;
	u64 page, nr, size, count[KERNEL + 1] = {};
	struct gmem_info info;
	u32 level;

	for (page = 0; page < f->nr; page += size / GMEM_PAGE) {
		level = gmem_get_access(f->g.fd, page * GMEM_PAGE, &size);
		TEST_ASSERT(level <= KERNEL && size && size <= (f->nr - page) * GMEM_PAGE &&
			    size % GMEM_PAGE == 0, "level %u for 0x%lx bytes at page %lu", level,
			    size, page);
		count[level] += size / GMEM_PAGE;
		for (nr = 0; f->exact && nr < size / GMEM_PAGE; nr++)
			TEST_ASSERT(f->level[page + nr] == level, "page %lu: level %u, want %u",
				    page + nr, level, f->level[page + nr]);
	}
	gmem_read_info(f->g.fd, &info);
	did->checks++;
	if (!f->exact)
		return;
	TEST_ASSERT(info.level_none == count[NONE] && info.level_user == count[USER] &&
		    info.level_kernel == count[KERNEL], "fdinfo has other levels");
	TEST_ASSERT(!f->hides || (info.hidden + info.referenced == info.populated &&
				  info.referenced <= count[KERNEL]),
		    "fdinfo: %lu hidden, %lu referenced of %lu, %lu at KERNEL", info.hidden,
		    info.referenced, info.populated, count[KERNEL]);
}

static void do_fallocate(struct fuzzer *z, int mode)
{
	struct fuzz_file *f = z->f;
	u64 page, nr, end, i;
	bool stays[2];
	int r;

	choose_range(z, &page, &nr);
	/*
	 * A hole can cover a part of at most two blocks; a pin keeps such a
	 * part in the file.
	 */
	end = page + nr;
	stays[0] = f->exact && page % BLOCK_PAGES && block_held(z, page);
	stays[1] = f->exact && end % BLOCK_PAGES && block_held(z, end);
	fail_next(z);
	r = fallocate(f->g.fd, mode, page * GMEM_PAGE, nr * GMEM_PAGE);
	fail_over(z);
	TEST_ASSERT(!r || starved(z, r) || errno == EINTR, "fallocate, mode %d: errno %d", mode,
		    errno);
	if (!(mode & FALLOC_FL_PUNCH_HOLE) || !f->exact)
		return;
	TEST_ASSERT(!r, "no hole: errno %d", errno);
	for (i = page; i < end; i++) {
		f->filled[i] = 0;
		if (!(stays[0] && i / BLOCK_PAGES == page / BLOCK_PAGES) &&
		    !(stays[1] && i / BLOCK_PAGES == end / BLOCK_PAGES))
			f->life[i]++;
	}
}

static __thread sigjmp_buf sigbus_jump;
static __thread volatile bool sigbus_expected;

static void on_sigbus(int sig)
{
	if (!sigbus_expected)
		abort();
	siglongjmp(sigbus_jump, 1);
}

/* The page contains zeroes or the file's own data. */
static bool page_is_sane(const volatile u64 *page, u64 seed)
{
	unsigned int j;
	u64 v;

	for (j = 0; j < GMEM_WORDS; j++) {
		v = page[j];
		if (v && v != gmem_word(seed, j))
			return false;
	}
	return true;
}

/* Reads a page, and sometimes writes it. */
static void do_touch(struct fuzzer *z)
{
	struct fuzz_file *f = z->f;
	u64 page = below(z, f->nr), pfn;
	bool write = one_in(z, 2), sane = true, seen;
	char *mem = z->mem + page * GMEM_PAGE;
	volatile bool refused = false;

	if (!f->maps)
		return;
	fail_next(z);
	if (!sigsetjmp(sigbus_jump, 1)) {
		sigbus_expected = true;
		if (f->exact && f->filled[page])
			gmem_assert_filled(mem, GMEM_PAGE, f->seed);
		else if (f->exact)
			gmem_assert_zero(mem, GMEM_PAGE);
		else
			sane = page_is_sane((u64 *)mem, f->seed);
		if (write)
			gmem_fill(mem, GMEM_PAGE, f->seed);
	} else {
		refused = true;
		did->sigbus++;
	}
	sigbus_expected = false;
	fail_over(z);
	TEST_ASSERT(sane, "page %lu holds what no worker wrote there", page);
	if (!f->exact)
		return;
	TEST_ASSERT(refused == (f->level[page] == NONE), "page %lu at level %u: %s", page,
		    f->level[page], refused ? "SIGBUS" : "no SIGBUS");
	if (refused)
		return;
	f->filled[page] |= write;
	if (!f->filled[page])
		return;
	pfn = gmem_pfn(mem);
	seen = gmem_kernel_sees(pfn, f->seed);
	TEST_ASSERT(seen == (!f->hides || f->level[page] == KERNEL),
		    "page %lu at level %u: the kernel sees %s", page, f->level[page],
		    seen ? "it" : "nothing");
	did->looks++;
}

static void do_pin(struct fuzzer *z)
{
	u64 page = below(z, z->f->nr), nr, i;
	struct fuzz_file *f = z->f;
	struct pinned *p;
	bool may;
	int r;

	if (!f->maps || z->nr_pins == MAX_PINS)
		return;
	nr = 1 + below(z, min_t(u64, MAX_PIN_PAGES, f->nr - page));
	may = owns(f, page, nr, f->hides ? KERNEL : USER);
	p = &z->pins[z->nr_pins];
	fail_next(z);
	r = gmem_pin(&p->pin, below(z, NR_GMEM_PINS), z->mem + page * GMEM_PAGE, nr * GMEM_PAGE);
	fail_over(z);
	did->pins += !r;
	did->refused += !!r;
	/*
	 * The injected failure may have made the kernel pin fewer pages, or hit
	 * the setup of the pin.
	 */
	if (r && z->fired)
		return;
	TEST_ASSERT(!r || errno == EFAULT, "%s: errno %d", gmem_pin_name(p->pin.kind), errno);
	TEST_ASSERT(!f->exact || !r == may, "%s of pages %lu+%lu: %d, errno %d",
		    gmem_pin_name(p->pin.kind), page, nr, r, errno);
	if (r)
		return;
	p->page = page;
	p->nr = nr;
	for (i = 0; i < nr; i++) {
		p->life[i] = f->life[page + i];
		if (f->exact && f->hides)
			p->pfn[i] = gmem_pfn(z->mem + (page + i) * GMEM_PAGE);
	}
	z->nr_pins++;
}

static void do_unpin(struct fuzzer *z)
{
	unsigned int i;

	if (!z->nr_pins)
		return;
	i = below(z, z->nr_pins);
	gmem_unpin(&z->pins[i].pin);
	z->pins[i] = z->pins[--z->nr_pins];
}

/* The guest can use its memory at each level. */
static void do_guest(struct fuzzer *z)
{
	struct fuzz_file *f = z->f;
	u64 page, nr, i;

	/*
	 * KVM treats memory that cannot be mapped as that of confidential VMs.
	 */
	if (!f->exact || !f->maps)
		return;
	choose_range(z, &page, &nr);
	nr = min_t(u64, nr, 16);
	for (i = page; i < page + nr; i++) {
		gmem_guest_call(f->g.vcpus[0], f->filled[i] ? gmem_guest_check :
				gmem_guest_check_zero, GMEM_GVA + i * GMEM_PAGE, GMEM_PAGE,
				f->seed);
	}
	gmem_guest_call(f->g.vcpus[0], gmem_guest_fill, GMEM_GVA + page * GMEM_PAGE,
			nr * GMEM_PAGE, f->seed);
	memset(f->filled + page, 1, nr);
	did->guests++;
}

static void map(struct fuzzer *z)
{
	if (z->f->maps)
		z->mem = kvm_mmap(z->f->nr * GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
				  z->f->g.fd);
}

static void unmap(struct fuzzer *z)
{
	if (z->f->maps)
		kvm_munmap(z->mem, z->f->nr * GMEM_PAGE);
}

static void *fuzz_thread(void *arg)
{
	struct fuzzer *z = arg;
	sigset_t usr;

	if (can_fail)
		z->nth_fd = open_path_or_exit(FAIL_NTH, O_RDWR);
	map(z);
	sigemptyset(&usr);
	sigaddset(&usr, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &usr, NULL);
	while (!stop) {
		switch (below(z, 24)) {
		case 0 ... 6:
			do_set(z);
			break;
		case 7:
			do_wrong(z);
			break;
		case 8:
			do_fallocate(z, FALLOC_FL_KEEP_SIZE);
			break;
		case 9:
			do_fallocate(z, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE);
			break;
		case 10 ... 14:
			do_touch(z);
			break;
		case 15 ... 17:
			do_pin(z);
			break;
		case 18 ... 20:
			do_unpin(z);
			break;
		case 21:
			do_guest(z);
			break;
		case 22:
			unmap(z);
			map(z);
			break;
		default:
			do_check(z);
		}
		did->calls++;
	}
	pthread_sigmask(SIG_BLOCK, &usr, NULL);
	if (z->f->exact)
		do_check(z);
	if (can_fail)
		close(z->nth_fd);
	/*
	 * Sometimes leave the pins and the mapping to the exit of the process.
	 */
	if (one_in(z, 2))
		return NULL;
	while (z->nr_pins)
		do_unpin(z);
	unmap(z);
	return NULL;
}

static void make_file(struct fuzz_file *f, unsigned int *state, bool exact)
{
	static const unsigned int orders[] = { 9, 9, 0 };
	u32 level;

	memset(f, 0, sizeof(*f));
	f->exact = exact;
	f->seed = gmem_new_seed();
	f->flags = rand_r(state) % 8;
	if (rand_r(state) % 4)
		f->flags |= GUEST_MEMFD_FLAG_NO_DIRECT_MAP | GUEST_MEMFD_FLAG_MMAP;
	f->hides = f->flags & GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
	f->maps = f->flags & GUEST_MEMFD_FLAG_MMAP;
	f->nr = rand_r(state) % 2 ? 1 + rand_r(state) % MAX_PAGES :
				    BLOCK_PAGES * (1 + rand_r(state) % 2);
	gmem_set_block_order(orders[rand_r(state) % ARRAY_SIZE(orders)]);
	gmem_vm_create(&f->g, 1, f->nr * GMEM_PAGE, f->flags);
	level = !(f->flags & GUEST_MEMFD_FLAG_INIT_SHARED) ? NONE : f->hides ? USER : KERNEL;
	memset(f->level, level, f->nr);
}

static void on_usr(int sig) { }

/* The work of one process.  Only its parent decides when and how it ends. */
static void worker(unsigned int state, int ms)
{
	struct sigaction sigbus = { .sa_handler = on_sigbus };
	struct sigaction usr = { .sa_handler = on_usr };
	static struct fuzzer z[1 + NR_RACERS];
	static struct fuzz_file files[2];
	int i;

	sigaction(SIGBUS, &sigbus, NULL);
	sigaction(SIGUSR1, &usr, NULL);
	make_file(&files[0], &state, true);
	make_file(&files[1], &state, false);
	for (i = 0; i < 1 + NR_RACERS; i++) {
		z[i].f = &files[!!i];
		z[i].state = rand_r(&state);
		kvm_pthread_create(&z[i].thread, NULL, fuzz_thread, &z[i]);
	}
	usleep(ms * 1000);
	stop = true;
	gmem_vm_unbind(&files[1].g);
	for (i = 0; i < 1 + NR_RACERS; i++)
		kvm_pthread_join(z[i].thread, NULL);
	for (i = 0; i < 2; i++) {
		if (rand_r(&state) % 2)
			gmem_vm_close_file(&files[i].g);
		gmem_vm_destroy(&files[i].g);
	}
	exit(0);
}

/* Return: False if the worker has found an error. */
static bool run_worker(unsigned int seed)
{
	int ms = 300 + seed % 1700, i, status, kill_at = -1;
	sigset_t usr;
	pid_t pid;

	if (seed % 3 == 0)
		kill_at = seed / 3 % (ms / 2);
	/* The helpers that create VMs and files do not handle EINTR. */
	sigemptyset(&usr);
	sigaddset(&usr, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr, NULL);
	fflush(NULL);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid)
		worker(seed, ms);
	for (i = 0; !waitpid(pid, &status, WNOHANG); i++) {
		TEST_ASSERT(i < 120000, "the worker of seed %u does not end", seed);
		if (i == kill_at)
			kill(pid, SIGKILL);
		else if (i % 7 == 0)
			kill(pid, SIGUSR1);
		usleep(1000);
	}
	did->workers++;
	did->killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	return WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL && kill_at >= 0 :
				     !WEXITSTATUS(status);
}

static void set_attr(const char *dir, const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", dir, name);
	fd = open_path_or_exit(path, O_WRONLY);
	TEST_ASSERT(write(fd, value, strlen(value)) > 0, "cannot write %s", path);
	close(fd);
}

static void prepare_failures(void)
{
	can_fail = !access(FAIL_NTH, W_OK) && !access("/sys/kernel/debug/failslab", R_OK);
	if (!can_fail)
		return;
	set_attr("failslab", "ignore-gfp-wait", "N");
	set_attr("failslab", "verbose", "0");
	set_attr("fail_page_alloc", "ignore-gfp-wait", "N");
	set_attr("fail_page_alloc", "ignore-gfp-highmem", "N");
	set_attr("fail_page_alloc", "min-order", "0");
	set_attr("fail_page_alloc", "verbose", "0");
}

int main(int argc, char *argv[])
{
	unsigned int order, seed = gmem_new_seed(), round = 0, i;
	int seconds = 60, opt, kmsg;
	struct timespec start;
	bool good = true;
	u64 absent;

	while ((opt = getopt(argc, argv, "t:s:r:h")) != -1) {
		switch (opt) {
		case 't':
			seconds = atoi_positive("Seconds", optarg);
			break;
		case 's':
			seed = strtoul(optarg, NULL, 0);
			break;
		case 'r':
			round = strtoul(optarg, NULL, 0);
			break;
		default:
			printf("usage: %s [-t SECONDS] [-s SEED] [-r ROUND]\n", argv[0]);
			return opt == 'h' ? 0 : KSFT_FAIL;
		}
	}

	gmem_require();
	__TEST_REQUIRE(!gmem_plain(), "plain memory has no levels to tell apart");
	__TEST_REQUIRE(!access(GUP_TEST_FILE, R_OK), "%s is needed", GUP_TEST_FILE);
	ksft_print_header();
	ksft_set_plan(3);
	gmem_kmsg_open(&kmsg);
	prepare_failures();
	did = kvm_mmap(sizeof(*did), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	order = gmem_set_block_order(9);
	ksft_print_msg("seed %u, %d s, allocations %s\n", seed, seconds,
		       can_fail ? "fail" : "do not fail");

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (; good && timespec_elapsed(start).tv_sec < seconds; round++) {
		good = run_worker(seed + round * 2654435761U);
		if (!good)
			ksft_print_msg("the worker of -s %u -r %u failed\n", seed, round);
	}
	gmem_set_block_order(order);

	ksft_print_msg("%lu workers, %lu of them killed, %lu calls, %lu without memory\n",
		       did->workers, did->killed, did->calls, did->short_of_memory);
	ksft_print_msg("%lu changes of levels, %lu refused for pins; %lu pins, %lu refused\n",
		       did->sets, did->held, did->pins, did->refused);
	ksft_print_msg("%lu SIGBUS, %lu guest runs, %lu looks by the kernel, %lu whole checks\n",
		       did->sigbus, did->guests, did->looks, did->checks);
	ksft_test_result(good, "no worker found an error\n");
	ksft_test_result(did->sets && did->held && did->pins && did->refused && did->sigbus &&
			 did->guests && did->looks && (!can_fail || did->short_of_memory),
			 "something of everything was done\n");

	/* A worker frees pages that were pinned when their file was closed. */
	for (i = 0; i < 60; i++) {
		absent = gmem_absent_total();
		if (absent == gmem_absent_before())
			break;
		sleep(1);
	}
	ksft_test_result(absent == gmem_absent_before(),
			 "pages without an entry: %lu before, %lu after\n", gmem_absent_before(),
			 absent);
	gmem_assert_nothing_left(&kmsg);
	ksft_finished();
}
