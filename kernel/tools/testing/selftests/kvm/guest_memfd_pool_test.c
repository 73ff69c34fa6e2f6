// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's pool of hidden, clean blocks, as user space sees it.
 *
 * Proves that a write of bad input to the parameter changes nothing; that
 * memory which circulates between VMs is clean and costs no flush; that the
 * pool counts as available memory, and is empty before the OOM killer selects a
 * victim; that cgroups are charged for populated memory only, and that a warm
 * pool does not let a cgroup exceed its limit; that the pool prevents neither
 * hibernation nor memory offlining; and that the direct map shows no data of a
 * former guest while blocks enter and leave the pool.
 *
 * Catches: blocks that are not cleared (warm, scan), that stay charged (cgroup,
 * removed_cgroup), and that are not freed for a process that needs memory (hog),
 * for an image (hibernation) or for memory that goes offline (offline).
 *
 * Not covered: NUMA policies (guest_memfd_pool_numa_test).
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "gmem_pool.h"
#include "processor.h"

#define FLUSHES		"/sys/module/guest_memfd/parameters/flushes"

static void write_number(const char *path, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	write_text(path, text);
}

static u64 read_number(const char *path)
{
	char text[64];

	read_text(path, text, sizeof(text));
	return strtoul(text, NULL, 0);
}

/* Touches each page of @size bytes from user space. */
static void touch(char *mem, u64 size)
{
	u64 i;

	for (i = 0; i < size; i += GMEM_PAGE)
		READ_ONCE(mem[i]);
}

/* Fills the pool with the blocks of a VM that had a secret in each page. */
static void fill_pool(struct _test_data_pool *self, u64 nr_blocks)
{
	struct gmem_vm *g = &self->g;

	set_marks(0, nr_blocks);
	gmem_vm_create(g, 1, nr_blocks * BLOCK, self->flags);
	gmem_fill(g->mem, g->size, self->seed);
	gmem_vm_destroy(g);
	wait_blocks(nr_blocks);
}

POOL_TEST(parameter)
{
	static const struct {
		const char *in, *out;
		int err;
	} cases[] = {
		{ "0", "0,0" },
		{ "512", "512,512" },
		{ "0,512", "0,512" },
		{ "512,1024\n", "512,1024" },
		{ " 512 , 1024 ", "512,1024" },
		{ "2%", "2%,2%" },
		{ "0,1%", "0,1%" },
		{ "0%,50%", "0%,50%" },
		{ "7,9", "7,9" },
		{ "", "7,9", EINVAL },
		{ "x", "7,9", EINVAL },
		{ "1,", "7,9", EINVAL },
		{ ",1", "7,9", EINVAL },
		{ "1,2,3", "7,9", EINVAL },
		{ "9,7", "7,9", EINVAL },
		{ "9%,7%", "7,9", EINVAL },
		{ "-1", "7,9", EINVAL },
		{ "1.5%", "7,9", EINVAL },
		{ "%", "7,9", EINVAL },
		{ "1MB", "7,9", EINVAL },
		{ "0,51%", "7,9", ERANGE },
		{ "100%", "7,9", ERANGE },
		{ "9223372036854775808", "7,9", ERANGE },
		{ "0,99999999999999999999999", "7,9", ERANGE },
		{ "00000000000000000000000000000000000000000000000000000000000000001", "7,9",
		  EINVAL },
	};
	char text[64];
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		/* The kernel's handler does not see an empty write. */
		if (!*cases[i].in)
			continue;
		err = __gmem_set_pool(cases[i].in);
		TEST_ASSERT(err == cases[i].err, "'%s': errno %d, want %d", cases[i].in, err,
			    cases[i].err);
		read_text(GMEM_POOL_PARAM, text, sizeof(text));
		TEST_ASSERT(!strcmp(text, cases[i].out), "'%s': reads '%s', want '%s'", cases[i].in,
			    text, cases[i].out);
	}
	/* Percentages are relative to each node's own memory. */
	gmem_set_pool("0,1%");
	TEST_ASSERT(gmem_pool("high", -1) * BLOCK >= gmem_meminfo("MemTotal") * 1024 / 100 / 2 &&
		    gmem_pool("high", -1) * BLOCK <= gmem_meminfo("MemTotal") * 1024 / 100 * 3 / 2,
		    "1%% are %lu blocks", gmem_pool("high", -1));
	gmem_set_pool("8192,16384");
	wait_blocks(32);
	gmem_set_pool("0,4096");
	wait_blocks(8);
	gmem_set_pool("0");
	wait_blocks(0);
}

#define WARM_BLOCKS	128UL

/* A VM reuses the 256 MiB of a guest that has ended. */
POOL_TEST(warm)
{
	u64 hits, misses, flushes, found;
	struct gmem_vm *g = &self->g;

	fill_pool(self, WARM_BLOCKS);
	found = gmem_scan(self->seed, NULL);
	TEST_ASSERT(!found, "%lu pages of the former guest are visible", found);
	TEST_ASSERT_EQ(gmem_absent_total() - gmem_absent_before(), WARM_BLOCKS * BLOCK_PAGES);

	gmem_vm_create(g, 1, WARM_BLOCKS * BLOCK, self->flags);
	hits = gmem_pool("hits", -1);
	misses = gmem_pool("misses", -1);
	flushes = read_number(FLUSHES);
	touch(g->mem, g->size);
	TEST_ASSERT_EQ(read_number(FLUSHES) - flushes, 0);
	TEST_ASSERT_EQ(gmem_pool("hits", -1) - hits, WARM_BLOCKS);
	TEST_ASSERT_EQ(gmem_pool("misses", -1) - misses, 0);
	TEST_ASSERT_EQ(gmem_pool("blocks", -1), 0);
	gmem_assert_zero(g->mem, g->size);
	TEST_ASSERT_EQ(gmem_guest_call(g->vcpus[0], gmem_guest_check_zero, GMEM_GVA, g->size, 0),
		       0);
	gmem_assert_counts(g->fd, WARM_BLOCKS * BLOCK_PAGES, 0);
	TEST_ASSERT_EQ(gmem_absent_total() - gmem_absent_before(), WARM_BLOCKS * BLOCK_PAGES);
}

/* The low watermarks of all zones, in KiB. */
static u64 low_watermarks(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	u64 pages = 0, n;
	char line[256];

	TEST_ASSERT(f, "cannot open /proc/zoneinfo");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " low %lu", &n) == 1)
			pages += n;
	}
	fclose(f);
	return pages * GMEM_PAGE / 1024;
}

POOL_TEST(meminfo)
{
	/* In KiB: what the host itself may allocate or free meanwhile. */
	u64 slack = 24 * 1024, pool = WARM_BLOCKS * BLOCK / 1024;
	u64 free, available, reclaimable;

	free = gmem_meminfo("MemFree");
	available = gmem_meminfo("MemAvailable");
	reclaimable = gmem_meminfo("KReclaimable");
	fill_pool(self, WARM_BLOCKS);
	free -= gmem_meminfo("MemFree");
	available -= gmem_meminfo("MemAvailable");
	reclaimable = gmem_meminfo("KReclaimable") - reclaimable;
	ksft_print_msg("MemFree -%ld, MemAvailable -%ld, KReclaimable +%ld kB\n", free, available,
		       reclaimable);
	TEST_ASSERT((s64)free > (s64)(pool - slack), "MemFree has lost %ld kB", free);
	/* MemAvailable excludes the low watermarks from what is reclaimable. */
	TEST_ASSERT((s64)available < (s64)(slack + low_watermarks()),
		    "MemAvailable has lost %ld kB", available);
	TEST_ASSERT((s64)reclaimable >= (s64)(pool - slack) && reclaimable < pool + slack,
		    "KReclaimable has gained %ld kB", reclaimable);
}

static u64 oom_kills(void)
{
	return gmem_vmstat("oom_kill");
}

struct hog {
	u64 touched;
	u64 pool;
};

/* Starts a process that touches @pages and counts them in @hog. */
static pid_t start_hog(struct hog *hog, u64 pages)
{
	pid_t pid = fork();
	char *mem;
	u64 i;

	if (pid)
		return pid;
	write_text("/proc/self/oom_score_adj", "1000");
	mem = kvm_mmap(pages * GMEM_PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	for (i = 0; i < pages; i++) {
		WRITE_ONCE(mem[i * GMEM_PAGE], 1);
		WRITE_ONCE(hog->touched, i + 1);
	}
	_exit(0);
}

/* A process needs all available memory while VMs start and end. */
POOL_TEST(hog)
{
	u64 kills = oom_kills(), available, spare = SZ_128M / GMEM_PAGE, vms = 0;
	struct gmem_vm *g = &self->g;
	struct hog *hog;
	bool ended;
	pid_t pid;
	int status;

	hog = kvm_mmap(sizeof(*hog), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	fill_pool(self, WARM_BLOCKS);
	available = gmem_meminfo("MemAvailable") * 1024 / GMEM_PAGE;
	TEST_ASSERT(available > WARM_BLOCKS * BLOCK_PAGES + spare, "%lu pages are available",
		    available);
	pid = start_hog(hog, available - spare);
	TEST_ASSERT(pid > 0, "no child");
	do {
		gmem_vm_create(g, 1, 4 * BLOCK, self->flags);
		gmem_fill(g->mem, g->size, self->seed);
		gmem_vm_destroy(g);
		vms++;
		ended = waitpid(pid, &status, WNOHANG) == pid;
	} while (!ended);
	TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status) && oom_kills() == kills,
		    "the process that needed %lu of %lu pages got 0x%x at %lu", available - spare,
		    available, status, hog->touched);
	ksft_print_msg("%lu VMs beside a process of %lu MiB\n", vms, (available - spare) / 256);
	TEST_ASSERT(gmem_pool("blocks", -1) < WARM_BLOCKS, "the pool has not shrunk");

	/*
	 * A process needs more than there is: the OOM killer acts when the pool
	 * is empty.
	 */
	fill_pool(self, WARM_BLOCKS);
	available = gmem_meminfo("MemAvailable") * 1024 / GMEM_PAGE;
	pid = start_hog(hog, gmem_meminfo("MemTotal") * 1024 / GMEM_PAGE * 2);
	TEST_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid, "no child");
	TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "not killed: 0x%x", status);
	ksft_print_msg("killed at %lu MiB of %lu\n", hog->touched / 256, available / 256);
	TEST_ASSERT_EQ(gmem_pool("blocks", -1), 0);
	TEST_ASSERT_EQ(oom_kills() - kills, 1);
	TEST_ASSERT(hog->touched > available - spare, "killed at %lu of %lu pages", hog->touched,
		    available);
}

#define CGROUPS		"/tmp/cgroup-pool"
#define GROUP		CGROUPS "/vmm"
#define LIMIT		(100UL * SZ_1M)

static bool make_group(void)
{
	mkdir(CGROUPS, 0700);
	if (mount("cgroup2", CGROUPS, "cgroup2", 0, NULL) && errno != EBUSY)
		return false;
	write_text(CGROUPS "/cgroup.subtree_control", "+memory");
	TEST_ASSERT(!mkdir(GROUP, 0700) || errno == EEXIST, "cannot make %s", GROUP);
	return true;
}

static void remove_group(void)
{
	TEST_ASSERT(!rmdir(GROUP), "the group is in use: errno %d", errno);
	umount2(CGROUPS, MNT_DETACH);
}

static void wait_uncharged(void)
{
	u64 charged = 0;
	int i;

	for (i = 0; i < 600; i++) {
		charged = read_number(GROUP "/memory.current");
		if (charged < SZ_4M)
			return;
		usleep(100000);
	}
	TEST_ASSERT(charged < SZ_4M, "%lu bytes stay charged", charged);
}

static void join_group(bool killable)
{
	TEST_ASSERT(!mlockall(MCL_CURRENT), "cannot lock the test's own pages");
	write_number("/proc/self/oom_score_adj", killable ? 0 : -1000);
	write_number(GROUP "/cgroup.procs", getpid());
}

static void live_in_group(u64 flags, u64 seed)
{
	u64 before, during;
	struct gmem_vm g;

	join_group(false);
	gmem_vm_create(&g, 1, 16 * BLOCK, flags);
	before = read_number(GROUP "/memory.current");
	touch(g.mem, g.size);
	during = read_number(GROUP "/memory.current");
	TEST_ASSERT(during >= before + g.size && during < before + g.size + SZ_8M,
		    "32 MiB are charged as %ld bytes", during - before);
	gmem_assert_zero(g.mem, g.size);
	gmem_fill(g.mem, g.size, seed);
	gmem_vm_destroy(&g);
	wait_blocks(WARM_BLOCKS);
	wait_uncharged();
	_exit(0);
}

static void exceed_group(bool killable, u64 flags)
{
	struct gmem_info i;
	struct gmem_vm g;
	int r;

	join_group(killable);
	gmem_vm_create(&g, 1, WARM_BLOCKS * BLOCK, flags);
	if (killable) {
		touch(g.mem, g.size);
		_exit(1);
	}
	r = fallocate(g.fd, FALLOC_FL_KEEP_SIZE, 0, g.size) ? errno : 0;
	/*
	 * Punch first: the cgroup is at its limit, so opening a file of /proc
	 * would fail.
	 */
	gmem_punch(g.fd, 0, BLOCK);
	TEST_ASSERT(r == ENOMEM, "256 MiB of %lu: errno %d", LIMIT, r);
	gmem_read_info(g.fd, &i);
	TEST_ASSERT(i.populated * GMEM_PAGE < LIMIT && i.populated * GMEM_PAGE > LIMIT / 2,
		    "%lu pages within %lu bytes", i.populated, LIMIT);
	TEST_ASSERT(read_number(GROUP "/memory.current") <= LIMIT, "more than the limit");
	_exit(0);
}

/* Pages are charged from populate to scrub and no longer, within the limit. */
POOL_TEST(cgroup)
{
	int status, way;
	pid_t pid;

	if (!make_group())
		SKIP(return, "no cgroup2");
	write_number(GROUP "/memory.max", LIMIT);
	fill_pool(self, WARM_BLOCKS);
	for (way = 0; way < 3; way++) {
		pid = fork();
		if (!pid && !way)
			live_in_group(self->flags, self->seed);
		else if (!pid)
			exceed_group(way == 2, self->flags);
		TEST_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid, "no child");
		if (way == 2)
			TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
				    "not killed: 0x%x", status);
		else
			TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status), "way %d: 0x%x", way,
				    status);
		wait_uncharged();
		TEST_ASSERT(read_number(GROUP "/memory.peak") <= LIMIT, "the limit was exceeded");
	}
	remove_group();
}

static bool none_dying(void *unused)
{
	FILE *f = fopen(CGROUPS "/cgroup.stat", "r");
	u64 value = 1;
	char name[64];

	TEST_ASSERT(f, "no cgroup.stat");
	while (fscanf(f, "%63s %lu", name, &value) == 2 &&
	       strcmp(name, "nr_dying_descendants"))
		;
	fclose(f);
	return !value;
}

/* A removed cgroup disappears when its memory is in the pool. */
POOL_TEST(removed_cgroup)
{
	struct gmem_vm *g = &self->g;
	int status, i;
	pid_t pid;

	if (!make_group())
		SKIP(return, "no cgroup2");
	set_marks(0, 16);
	gmem_vm_create(g, 1, 16 * BLOCK, self->flags);
	pid = fork();
	if (!pid) {
		/*
		 * Do not call join_group(): its mlockall() would populate the
		 * file.
		 */
		write_number(GROUP "/cgroup.procs", getpid());
		touch(g->mem, g->size);
		_exit(0);
	}
	TEST_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid && !status, "the child: 0x%x",
		    status);
	TEST_ASSERT(read_number(GROUP "/memory.current") >= g->size, "not charged");
	TEST_ASSERT(!rmdir(GROUP), "the group is in use: errno %d", errno);
	TEST_ASSERT(!none_dying(NULL), "nothing is charged to the removed group");
	gmem_vm_destroy(g);
	wait_blocks(16);
	for (i = 0; i < 600 && !none_dying(NULL); i++)
		usleep(100000);
	TEST_ASSERT(none_dying(NULL), "the removed group is still there");
	umount2(CGROUPS, MNT_DETACH);
}

static bool can_hibernate(void)
{
	char modes[128];

	read_text("/sys/power/disk", modes, sizeof(modes));
	return !strstr(modes, "[disabled]");
}

static int hibernate(void)
{
	int fd = open_path_or_exit("/sys/power/state", O_WRONLY), err;

	err = write(fd, "disk", 4) == 4 ? 0 : errno;
	close(fd);
	return err;
}

/* Hibernates up to the point at which user space is frozen. */
POOL_TEST(hibernation)
{
	struct gmem_vm *g = &self->g;
	u64 freed, refilled;
	int err;

	if (access("/sys/power/pm_test", W_OK) || !can_hibernate())
		SKIP(return, "no hibernation here");
	set_marks(64, 64);
	wait_blocks(64);
	TEST_ASSERT(can_hibernate(), "not on offer with a full pool and no file");

	gmem_vm_create(g, 1, 2 * BLOCK, self->flags);
	TEST_ASSERT(!can_hibernate(), "on offer while a file is there");
	err = hibernate();
	TEST_ASSERT(err == EPERM, "with a file: errno %d", err);
	gmem_vm_destroy(g);
	wait_blocks(64);

	freed = gmem_pool("freed", -1);
	refilled = gmem_pool("refilled", -1);
	write_text("/sys/power/pm_test", "freezer");
	err = hibernate();
	write_text("/sys/power/pm_test", "none");
	TEST_ASSERT(!err, "with a full pool: errno %d", err);
	wait_blocks(64);
	TEST_ASSERT(gmem_pool("freed", -1) - freed >= 64, "the pool was not drained");
	TEST_ASSERT(gmem_pool("refilled", -1) - refilled >= 64, "the pool was not refilled");
	TEST_ASSERT(can_hibernate(), "not on offer afterwards");
}

#define MAX_BLOCKS	128

static int set_state(u64 nr, const char *state)
{
	char path[128];
	int fd, err;

	snprintf(path, sizeof(path), MEMORY "/memory%lu/state", nr);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return errno;
	/* The kernel retries until the task receives a signal. */
	alarm(20);
	err = write(fd, state, strlen(state)) > 0 ? 0 : errno;
	alarm(0);
	close(fd);
	return err;
}

static void no_handler(int sig)
{
}

static u64 count_absent(u64 nr, u64 size)
{
	u64 pages = size / GMEM_PAGE, *pfns = calloc(pages, sizeof(*pfns)), i, absent;

	TEST_ASSERT(pfns, "no memory");
	for (i = 0; i < pages; i++)
		pfns[i] = nr * pages + i;
	absent = gmem_count_absent(pfns, pages);
	free(pfns);
	return absent;
}

/* Memory that goes offline without a pool also goes offline with a full one. */
POOL_TEST(offline)
{
	struct sigaction action = { .sa_handler = no_handler }, old;
	u64 size, nr, blocks, with_pool = 0, tried = 0;
	bool goes[MAX_BLOCKS] = {};
	char text[32];
	int err;

	if (access(MEMORY "/block_size_bytes", R_OK))
		SKIP(return, "no memory hotplug here");
	sigaction(SIGALRM, &action, &old);
	read_text(MEMORY "/block_size_bytes", text, sizeof(text));
	size = strtoul(text, NULL, 16);
	for (nr = 0; nr < MAX_BLOCKS; nr++) {
		goes[nr] = !set_state(nr, "offline");
		if (goes[nr])
			TEST_ASSERT(!set_state(nr, "online"), "cannot bring back %lu", nr);
	}
	/*
	 * Use half of the free memory, so that the kernel can migrate movable
	 * pages.
	 */
	blocks = gmem_meminfo("MemFree") * 1024 / 2 / BLOCK;
	set_marks(blocks, blocks);
	wait_blocks(blocks);
	for (nr = 0; nr < MAX_BLOCKS; nr++) {
		u64 absent = goes[nr] ? count_absent(nr, size) : 0;

		if (!absent)
			continue;
		tried++;
		err = set_state(nr, "offline");
		TEST_ASSERT(!err, "memory%lu with %lu pages of the pool: errno %d", nr, absent,
			    err);
		with_pool += absent;
		TEST_ASSERT(!set_state(nr, "online"), "cannot bring back %lu", nr);
		wait_blocks(blocks);
	}
	sigaction(SIGALRM, &old, NULL);
	ksft_print_msg("%lu blocks of %lu MiB with %lu pages of the pool went offline\n", tried,
		       size / SZ_1M, with_pool);
	TEST_ASSERT(tried, "the pool is in no block that can go offline");
}

/*
 * While guests end and the worker refills and frees, no page shows its former
 * contents.
 */
POOL_TEST(scan)
{
	struct gmem_vm *g = &self->g;
	u64 *found, rounds = 0;
	int status, i;
	bool ended;
	pid_t pid;

	found = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	pid = fork();
	if (!pid) {
		for (i = 0; i < 4; i++)
			found[0] += gmem_scan(self->seed, NULL);
		_exit(0);
	}
	TEST_ASSERT(pid > 0, "no child");
	do {
		/*
		 * In turn the worker allocates, takes over, and frees all
		 * blocks.
		 */
		if (rounds % 3 == 0)
			set_marks(8, 24);
		else
			set_marks(0, rounds % 3 == 1 ? 24 : 0);
		gmem_vm_create(g, 1, 16 * BLOCK, self->flags);
		gmem_assert_zero(g->mem, g->size);
		gmem_fill(g->mem, g->size, self->seed);
		gmem_vm_destroy(g);
		rounds++;
		ended = waitpid(pid, &status, WNOHANG) == pid;
	} while (!ended);
	ksft_print_msg("%lu guests of 32 MiB during 4 scans\n", rounds);
	TEST_ASSERT(!status && !found[0], "%lu pages show a guest's data", found[0]);
	TEST_ASSERT(rounds >= 3, "only %lu guests", rounds);
}

int main(int argc, char **argv)
{
	pool_require();
	return test_harness_run(argc, argv);
}
