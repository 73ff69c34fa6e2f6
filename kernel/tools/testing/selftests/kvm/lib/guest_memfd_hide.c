// SPDX-License-Identifier: GPL-2.0-only
/*
 * Helpers for the tests of guest memory outside the direct map;
 * guest_memfd_hide.h documents them.
 */
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gmem_arch.h"
#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "ucall_common.h"

#ifdef __x86_64__
#include <asm/kvm_para.h>

#include "processor.h"
#endif

#define DEBUGFS		"/sys/kernel/debug"
#define TRACEFS		"/sys/kernel/tracing"
#define PTDUMP		DEBUGFS "/" GMEM_PTDUMP
#define SCAN_CHUNK	(1UL << 20)
#define MAX_SEGMENTS	64
/* gmem_scan() prints at most this many of the frames that it finds. */
#define MAX_SHOWN	3

/*
 * Shared by all processes of a program: how many pages of the direct map must
 * be absent after a test, and whether counting them takes so long that the
 * program does it only once.
 */
static struct {
	u64 absent;
	bool slow;
} *baseline;

bool gmem_plain(void)
{
	const char *s = getenv("GMEM_PLAIN");

	return s && *s && *s != '0';
}

u64 gmem_test_flags(void)
{
	u64 flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;

	return gmem_plain() ? flags : flags | GUEST_MEMFD_FLAG_NO_DIRECT_MAP;
}

static char former_pool[64];
static pid_t pool_user;

static void restore_pool(void)
{
	/* A child must not restore the pool when it ends. */
	if (getpid() == pool_user)
		__gmem_set_pool(former_pool);
}

static bool pool_is_empty(void *unused)
{
	return !gmem_pool("blocks", -1);
}

/* A kernel without the pool has no parameter. */
static void disable_pool(void)
{
	int fd = open(GMEM_POOL_PARAM, O_RDONLY);

	if (fd < 0)
		return;
	TEST_ASSERT(read(fd, former_pool, sizeof(former_pool) - 1) > 0, "cannot read %s",
		    GMEM_POOL_PARAM);
	close(fd);
	pool_user = getpid();
	atexit(restore_pool);
	gmem_set_pool("0");
	gmem_wait(pool_is_empty, NULL, 10000);
	gmem_free_singles();
}

void gmem_require(void)
{
	u64 flags = gmem_test_flags();
	struct timespec start;

	setvbuf(stdout, NULL, _IOLBF, 0);

	/*
	 * If they are mounted already, the call fails with EBUSY, which is
	 * harmless.
	 */
	if (access(PTDUMP, R_OK))
		mount("debugfs", DEBUGFS, "debugfs", 0, NULL);
	if (access(TRACEFS "/instances", W_OK))
		mount("tracefs", TRACEFS, "tracefs", 0, NULL);

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_GUEST_MEMFD));
	__TEST_REQUIRE((kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS) & flags) == flags,
		       "KVM lacks guest_memfd flags 0x%lx", flags);
	__TEST_REQUIRE(!access(PTDUMP, R_OK), "%s is needed", PTDUMP);
	__TEST_REQUIRE(!access("/proc/kcore", R_OK), "/proc/kcore is needed");
	__TEST_REQUIRE(!access("/proc/kpageflags", R_OK), "/proc/kpageflags is needed");

	disable_pool();
	baseline = kvm_mmap(sizeof(*baseline), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1);
	clock_gettime(CLOCK_MONOTONIC, &start);
	baseline->absent = gmem_absent_total();
	baseline->slow = timespec_to_ns(timespec_elapsed(start)) > NSEC_PER_SEC / 2;
}

/* Test data */

u64 gmem_new_seed(void)
{
	u64 seed;

	TEST_ASSERT(getrandom(&seed, sizeof(seed), 0) == sizeof(seed), "getrandom() failed");
	return seed;
}

/*
 * Like gmem_word(), with the offset taken from the address; guests and host map
 * at page boundaries.
 */
static inline u64 word_at(const volatile u64 *w, u64 seed)
{
	return gmem_word(seed, ((u64)w / sizeof(*w)) % GMEM_WORDS);
}

void gmem_fill(void *mem, size_t size, u64 seed)
{
	volatile u64 *w = mem;
	size_t i;

	for (i = 0; i < size / sizeof(*w); i++)
		w[i] = word_at(&w[i], seed);
}

void gmem_assert_filled(const void *mem, size_t size, u64 seed)
{
	const volatile u64 *w = mem;
	size_t i;
	u64 v;

	for (i = 0; i < size / sizeof(*w); i++) {
		v = w[i];
		TEST_ASSERT(v == word_at(&w[i], seed),
			    "word %lu is 0x%lx, want 0x%lx", i, v,
			    word_at(&w[i], seed));
	}
}

void gmem_assert_zero(const void *mem, size_t size)
{
	const volatile u64 *w = mem;
	size_t i;
	u64 v;

	for (i = 0; i < size / sizeof(*w); i++) {
		v = w[i];
		TEST_ASSERT(!v, "word %lu is 0x%lx, want zero", i, v);
	}
}

static unsigned int words_of(const u64 *page, u64 seed)
{
	unsigned int j, found = 0;

	for (j = 0; j < GMEM_WORDS; j++)
		found += page[j] == gmem_word(seed, j);
	return found;
}

/* Frames of pages */

/*
 * Read all entries by one call: opening the file for each page would take most
 * of a test's time.
 */
static void read_pfns(const void *mem, u64 *pfns, size_t nr)
{
	ssize_t bytes = nr * sizeof(*pfns);
	size_t i;
	int fd;

	for (i = 0; i < nr; i++)
		(void)READ_ONCE(*(const char *)(mem + i * GMEM_PAGE));
	fd = open_path_or_exit("/proc/self/pagemap", O_RDONLY);
	TEST_ASSERT(pread(fd, pfns, bytes, (u64)mem / GMEM_PAGE * sizeof(*pfns)) == bytes,
		    "cannot read the pagemap of %zu pages from %p on", nr, mem);
	close(fd);
	for (i = 0; i < nr; i++) {
		TEST_ASSERT(pfns[i] & (1ULL << 63), "%p is not mapped", mem + i * GMEM_PAGE);
		pfns[i] &= (1ULL << 55) - 1;
		TEST_ASSERT(pfns[i], "the pagemap shows no frames: not privileged?");
	}
}

u64 gmem_pfn(const void *addr)
{
	u64 pfn;

	read_pfns(addr, &pfn, 1);
	return pfn;
}

u64 *gmem_pfns(const void *mem, size_t size)
{
	size_t nr = size / GMEM_PAGE;
	u64 *pfns = calloc(nr, sizeof(*pfns));

	TEST_ASSERT(pfns, "out of memory");
	read_pfns(mem, pfns, nr);
	return pfns;
}

u64 gmem_kpageflags(u64 pfn)
{
	u64 flags;
	int fd;

	fd = open_path_or_exit("/proc/kpageflags", O_RDONLY);
	TEST_ASSERT(pread(fd, &flags, sizeof(flags), pfn * sizeof(flags)) == sizeof(flags),
		    "cannot read the flags of frame 0x%lx", pfn);
	close(fd);
	return flags;
}

/*
 * Reading through the kernel.  Each thread and each child opens the file
 * itself, because readers of one open file share its bounce buffer.
 */
struct kcore {
	pid_t pid;
	int fd;
	int nr;
	Elf64_Phdr seg[MAX_SEGMENTS];
};

static __thread struct kcore kcore_of_thread;

static struct kcore *kcore_get(void)
{
	struct kcore *k = &kcore_of_thread;
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr;
	int i;

	if (k->pid == getpid())
		return k;

	if (k->pid)
		close(k->fd);
	k->nr = 0;
	k->fd = open_path_or_exit("/proc/kcore", O_RDONLY | O_CLOEXEC);
	TEST_ASSERT(pread(k->fd, &ehdr, sizeof(ehdr), 0) == sizeof(ehdr), "no ELF header");
	for (i = 0; i < ehdr.e_phnum; i++) {
		TEST_ASSERT(pread(k->fd, &phdr, sizeof(phdr),
				  ehdr.e_phoff + i * sizeof(phdr)) == sizeof(phdr),
			    "no program header %d", i);
		if (phdr.p_type != PT_LOAD || phdr.p_paddr == ~0ULL ||
		    !gmem_kcore_is_direct_map(phdr.p_vaddr))
			continue;
		TEST_ASSERT(k->nr < MAX_SEGMENTS, "too many segments of RAM");
		k->seg[k->nr++] = phdr;
	}
	TEST_ASSERT(k->nr, "/proc/kcore shows no RAM");
	k->pid = getpid();
	return k;
}

int gmem_kcore_read(u64 pfn, void *page)
{
	struct kcore *k = kcore_get();
	u64 pa = pfn * GMEM_PAGE;
	int i;

	for (i = 0; i < k->nr; i++) {
		Elf64_Phdr *s = &k->seg[i];
		ssize_t r;

		if (pa < s->p_paddr || pa + GMEM_PAGE > s->p_paddr + s->p_memsz)
			continue;
		r = pread(k->fd, page, GMEM_PAGE, s->p_offset + (pa - s->p_paddr));
		if (r == GMEM_PAGE)
			return 0;
		TEST_ASSERT(r < 0 ? errno == EFAULT : true,
			    "reading frame 0x%lx through /proc/kcore", pfn);
		return -EFAULT;
	}
	TEST_FAIL("frame 0x%lx is not RAM", pfn);
}

void gmem_kcore_close(void)
{
	struct kcore *k = &kcore_of_thread;
	u64 page[GMEM_WORDS];
	char *zeroes;

	if (k->pid != getpid())
		return;
	zeroes = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	WRITE_ONCE(*zeroes, 0);
	TEST_ASSERT(!gmem_kcore_read(gmem_pfn(zeroes), page), "a page of zeroes cannot be read");
	kvm_munmap(zeroes, GMEM_PAGE);
	close(k->fd);
	k->pid = 0;
}

bool gmem_kernel_sees(u64 pfn, u64 seed)
{
	u64 page[GMEM_WORDS];

	if (gmem_kcore_read(pfn, page))
		return false;
	return words_of(page, seed);
}

/* Does a read return anything except an error or zeroes? */
static bool kernel_reads(u64 pfn)
{
	u64 page[GMEM_WORDS], any = 0;
	unsigned int j;

	if (gmem_kcore_read(pfn, page))
		return false;
	for (j = 0; j < GMEM_WORDS; j++)
		any |= page[j];
	return any;
}

/* The flags of the frame show which part of the kernel has kept the data. */
static void show_found(u64 pfn, unsigned int words)
{
	ksft_print_msg("frame 0x%lx (/proc/kpageflags: 0x%lx) holds %u words of the data\n", pfn,
		       gmem_kpageflags(pfn), words);
}

u64 gmem_scan(u64 seed, u64 *unreadable)
{
	struct kcore *k = kcore_get();
	u64 found = 0, bad = 0;
	char *buf;
	int i;

	buf = kvm_mmap(SCAN_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	for (i = 0; i < k->nr; i++) {
		Elf64_Phdr *s = &k->seg[i];
		u64 at = 0, small = 0, p;

		while (at < s->p_memsz) {
			u64 len = min_t(u64, SCAN_CHUNK, s->p_memsz - at);
			ssize_t r;

			/*
			 * Any page of the chunk may have caused the error: read
			 * page by page.
			 */
			if (at < small)
				len = GMEM_PAGE;
			r = pread(k->fd, buf, len, s->p_offset + at);
			if (r < (ssize_t)GMEM_PAGE && len > GMEM_PAGE) {
				small = at + len;
				continue;
			}
			if (r < (ssize_t)GMEM_PAGE) {
				bad++;
				at += GMEM_PAGE;
				continue;
			}
			r -= r % GMEM_PAGE;
			for (p = 0; p < (u64)r; p += GMEM_PAGE) {
				if (words_of((u64 *)(buf + p), seed) <= 1)
					continue;
				if (++found <= MAX_SHOWN)
					show_found((s->p_paddr + at + p) / GMEM_PAGE,
						   words_of((u64 *)(buf + p), seed));
			}
			at += r;
		}
	}
	kvm_munmap(buf, SCAN_CHUNK);
	if (unreadable)
		*unreadable = bad;
	return found;
}

struct absent {
	size_t nr;
	struct {
		u64 first, end;
	} *r;
};

/* The ranges of frames without a present entry, sorted. */
static void absent_read(struct absent *a)
{
	struct kcore *k = kcore_get();
	u64 base = k->seg[0].p_vaddr - k->seg[0].p_paddr;
	bool inside = false, seen = false;
	char line[256];
	FILE *f;

	memset(a, 0, sizeof(*a));
	f = fopen(PTDUMP, "r");
	TEST_ASSERT(f, "cannot open %s", PTDUMP);
	while (fgets(line, sizeof(line), f)) {
		u64 start, end;

		if (!strncmp(line, "---[", 4)) {
			if (inside)
				break;
			inside = strstr(line, GMEM_PTDUMP_MAP);
			seen |= inside;
			continue;
		}
		if (!inside || sscanf(line, "0x%lx-0x%lx", &start, &end) != 2)
			continue;
		if (!gmem_ptdump_absent(line) || end <= base)
			continue;
		start = max_t(u64, start, base);
		a->r = realloc(a->r, (a->nr + 1) * sizeof(*a->r));
		TEST_ASSERT(a->r, "out of memory");
		a->r[a->nr].first = (start - base) / GMEM_PAGE;
		a->r[a->nr].end = (end - base) / GMEM_PAGE;
		a->nr++;
	}
	fclose(f);
	TEST_ASSERT(seen, "%s does not show the direct map", PTDUMP);
}

u64 gmem_count_absent(const u64 *pfns, size_t nr)
{
	struct absent a;
	u64 count = 0;
	size_t i, j;

	absent_read(&a);
	for (i = 0; i < nr; i++) {
		for (j = 0; j < a.nr; j++) {
			if (pfns[i] >= a.r[j].first && pfns[i] < a.r[j].end) {
				count++;
				break;
			}
		}
	}
	free(a.r);
	return count;
}

u64 gmem_absent_total(void)
{
	struct kcore *k = kcore_get();
	struct absent a;
	u64 count = 0;
	size_t j;
	int i;

	absent_read(&a);
	for (i = 0; i < k->nr; i++) {
		u64 first = k->seg[i].p_paddr / GMEM_PAGE;
		u64 end = first + k->seg[i].p_memsz / GMEM_PAGE;

		for (j = 0; j < a.nr; j++) {
			u64 lo = max_t(u64, first, a.r[j].first);
			u64 hi = min_t(u64, end, a.r[j].end);

			if (lo < hi)
				count += hi - lo;
		}
	}
	free(a.r);
	return count;
}

void gmem_assert_pfns_hidden(const u64 *pfns, size_t nr, u64 seed)
{
	size_t i;

	for (i = 0; i < nr; i++) {
		if (gmem_plain())
			TEST_ASSERT(gmem_kernel_sees(pfns[i], seed),
				    "the host kernel cannot see page %lu, frame 0x%lx", i, pfns[i]);
		else
			TEST_ASSERT(!kernel_reads(pfns[i]),
				    "the host kernel reads page %lu, frame 0x%lx%s", i, pfns[i],
				    gmem_kernel_sees(pfns[i], seed) ? ": its data" : "");
	}
}

void gmem_assert_hidden(const void *mem, size_t size, u64 seed)
{
	u64 *pfns = gmem_pfns(mem, size);

	gmem_assert_pfns_hidden(pfns, size / GMEM_PAGE, seed);
	free(pfns);
}

/* A worker clears and restores pages that left a file; it has 10 s. */
#define WORKER_TRIES	1000

static bool worker_tries(int *tries)
{
	usleep(10000);
	return ++*tries < WORKER_TRIES;
}

void gmem_assert_present(const u64 *pfns, size_t nr)
{
	int tries = 0;
	u64 absent;

	do {
		gmem_free_singles();
		absent = gmem_count_absent(pfns, nr);
	} while (absent && worker_tries(&tries));
	TEST_ASSERT(!absent, "%lu of %lu pages have no entry in the direct map", absent, nr);
}

void gmem_assert_given_back(const u64 *pfns, size_t nr, u64 seed)
{
	int tries = 0;
	size_t i;

	/*
	 * First wait until the pages are present, because an absent page does
	 * not show its contents.  Where counting absent pages takes long, only
	 * wait.
	 */
	if (!baseline->slow)
		gmem_assert_present(pfns, nr);
	else
		usleep(1000000);
	gmem_free_singles();
	/*
	 * Ordinary memory keeps its contents until it is allocated again.  A
	 * page that was at level KERNEL is present before a worker clears it.
	 */
	for (i = 0; i < nr && !gmem_plain(); i++) {
		while (gmem_kernel_sees(pfns[i], seed) && worker_tries(&tries))
			;
		TEST_ASSERT(!gmem_kernel_sees(pfns[i], seed),
			    "freed page %lu, frame 0x%lx, still holds guest data", i, pfns[i]);
	}
}

/* Counters of the file */

void gmem_read_info(int fd, struct gmem_info *info)
{
	struct {
		const char *name;
		u64 *value;
		bool seen;
	} fields[] = {
		{ "size",		&info->size },
		{ "flags",		&info->flags },
		{ "populated",		&info->populated },
		{ "blocks",		&info->blocks },
		{ "hidden",		&info->hidden },
		{ "referenced",	&info->referenced },
		{ "put-pending",	&info->put_pending },
		{ "left-referenced",	&info->left_referenced },
		{ "level-none",		&info->level_none },
		{ "level-user",		&info->level_user },
		{ "level-kernel",	&info->level_kernel },
	};
	char path[64], line[256], name[64];
	unsigned int i;
	FILE *f;
	u64 v;

	memset(info, 0, sizeof(*info));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	TEST_ASSERT(f, "cannot open %s", path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "guest_memfd-%63[^:]:\t%li", name, (long *)&v) != 2)
			continue;
		for (i = 0; i < ARRAY_SIZE(fields); i++) {
			if (!strcmp(name, fields[i].name)) {
				*fields[i].value = v;
				fields[i].seen = true;
			}
		}
	}
	fclose(f);
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		TEST_ASSERT(fields[i].seen, "fdinfo does not show guest_memfd-%s", fields[i].name);
}

/*
 * A 1 ms sleep that takes longer than this shows that other work uses the CPUs
 * of the emulated host.  Do not count the excess, up to a limit, because the
 * kernel itself might delay the wakeup.
 */
#define OVERSLEPT_US		10000
#define MAX_NOT_OURS_US		200000

static u64 now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return timespec_to_ns(t) / 1000;
}

u64 gmem_wait(bool (*done)(void *), void *arg, u64 limit_ms)
{
	u64 start = now_us(), not_ours = 0, slept, ms;
	bool is;

	do {
		/*
		 * Call done() before reading the clock: a late success then
		 * counts as late.
		 */
		is = done(arg);
		slept = now_us();
		ms = (slept - start - not_ours) / 1000;
		if (!is) {
			usleep(1000);
			slept = now_us() - slept;
			not_ours += slept > OVERSLEPT_US ? slept - OVERSLEPT_US : 0;
			not_ours = min_t(u64, not_ours, MAX_NOT_OURS_US);
		}
	} while (!is && ms < 10 * limit_ms);
	TEST_ASSERT(is, "not after %lu ms", ms);
	TEST_ASSERT(ms <= limit_ms, "after %lu ms, the limit is %lu", ms, limit_ms);
	return ms;
}

char *gmem_read_dump(void)
{
	bool inside = false;
	char line[256];
	char *dump;
	size_t size;
	FILE *f, *out;

	f = fopen(PTDUMP, "r");
	TEST_ASSERT(f, "cannot open %s", PTDUMP);
	out = open_memstream(&dump, &size);
	TEST_ASSERT(out, "out of memory");
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "---[", 4)) {
			if (inside)
				break;
			inside = strstr(line, GMEM_PTDUMP_MAP);
		}
		if (inside)
			fputs(line, out);
	}
	fclose(f);
	fclose(out);
	TEST_ASSERT(strstr(dump, "\n0x"), "%s does not show the direct map", PTDUMP);
	return dump;
}

/* Free single pages wait in a cut block. */
static bool dump_is(void *dump)
{
	char *now;
	bool same;

	gmem_free_singles();
	now = gmem_read_dump();
	same = !strcmp(now, dump);
	free(now);
	return same;
}

void gmem_wait_dump(char *dump)
{
	u64 start = now_us();
	char *now;

	while (!dump_is(dump)) {
		if (now_us() - start < 10000000) {
			usleep(100000);
			continue;
		}
		now = gmem_read_dump();
		TEST_FAIL("the page tables of the direct map were:\n%sand are:\n%s", dump, now);
	}
}

static bool none_pending(void *fd)
{
	struct gmem_info i;

	gmem_read_info(*(int *)fd, &i);
	return !i.put_pending;
}

u64 gmem_wait_put(int fd)
{
	return gmem_plain() ? 0 : gmem_wait(none_pending, &fd, GMEM_REFERENCE_MS);
}

void gmem_assert_counts(int fd, u64 populated, u64 referenced)
{
	struct gmem_info i;

	/* A kernel without the feature has no counters. */
	if (gmem_plain())
		return;

	/* The tests of the clocks judge how long this may take. */
	gmem_wait(none_pending, &fd, 10 * GMEM_REFERENCE_MS);
	gmem_read_info(fd, &i);
	TEST_ASSERT(i.populated == populated, "fdinfo: %lu pages populated, want %lu",
		    i.populated, populated);
	TEST_ASSERT(i.referenced == referenced, "fdinfo: %lu pages referenced, want %lu",
		    i.referenced, referenced);
	TEST_ASSERT(i.hidden == populated - referenced, "fdinfo: %lu pages hidden, want %lu",
		    i.hidden, populated - referenced);
	/* Each page of the file has a level, populated or not. */
	TEST_ASSERT((i.level_none + i.level_user + i.level_kernel) * GMEM_PAGE == i.size,
		    "fdinfo: levels add up to %lu pages of %lu bytes",
		    i.level_none + i.level_user + i.level_kernel, i.size);
}

static const char *const flush_counters[] = GMEM_FLUSH_COUNTERS;
static const char *const round_counters[] = GMEM_ROUND_COUNTERS;

static u64 add_vmstat(const char *const names[], size_t nr)
{
	u64 sum = 0;
	size_t i;

	for (i = 0; i < nr; i++)
		sum += gmem_vmstat(names[i]);
	return sum;
}

u64 gmem_flushes(void)
{
	return add_vmstat(flush_counters, ARRAY_SIZE(flush_counters));
}

u64 gmem_flush_rounds(void)
{
	u64 sum = add_vmstat(round_counters, ARRAY_SIZE(round_counters));

	return GMEM_ROUND_IS_LOCAL ? sum / sysconf(_SC_NPROCESSORS_ONLN) : sum;
}

int __gmem_set_access(int fd, u64 offset, u64 size, u32 level, u64 *error_offset)
{
	struct guest_memfd_access a = {
		.offset = offset,
		.size = size,
		.level = level,
		.error_offset = ~0ULL,
	};
	int r = ioctl(fd, GUEST_MEMFD_SET_ACCESS, &a);

	if (error_offset)
		*error_offset = a.error_offset;
	return r;
}

void gmem_set_access(int fd, u64 offset, u64 size, u32 level)
{
	u64 at;
	int r;

	r = __gmem_set_access(fd, offset, size, level, &at);
	TEST_ASSERT(!r, "0x%lx bytes at 0x%lx to level %u: errno %d at 0x%lx", size, offset, level,
		    errno, at);
}

u32 gmem_get_access(int fd, u64 offset, u64 *size)
{
	struct guest_memfd_access a = { .offset = offset };
	int r;

	r = ioctl(fd, GUEST_MEMFD_GET_ACCESS, &a);
	TEST_ASSERT(!r, "level at 0x%lx: errno %d", offset, errno);
	if (size)
		*size = a.size;
	return a.level;
}

/* Does @path have a line for @name? */
static bool find_counter(const char *path, const char *name, u64 *value)
{
	size_t len = strlen(name);
	char line[256];
	bool found = false;
	FILE *f;

	f = fopen(path, "r");
	TEST_ASSERT(f, "cannot open %s", path);
	while (!found && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, name, len) && (line[len] == ' ' || line[len] == ':')) {
			*value = strtoull(line + len + 1, NULL, 10);
			found = true;
		}
	}
	fclose(f);
	return found;
}

static u64 read_counter(const char *path, const char *name)
{
	u64 v;

	TEST_ASSERT(find_counter(path, name, &v), "no %s in %s", name, path);
	return v;
}

bool gmem_counts_flushes(void)
{
	u64 unused;

	return find_counter("/proc/vmstat", flush_counters[0], &unused);
}

unsigned int gmem_set_block_order(unsigned int order)
{
	FILE *f = fopen(GMEM_ORDER_PARAM, "r");
	unsigned int old;

	TEST_ASSERT(f && fscanf(f, "%u", &old) == 1 && !fclose(f), "cannot read %s",
		    GMEM_ORDER_PARAM);
	f = fopen(GMEM_ORDER_PARAM, "w");
	TEST_ASSERT(f && fprintf(f, "%u", order) > 0 && !fclose(f), "cannot write %u to %s",
		    order, GMEM_ORDER_PARAM);
	return old;
}

int __gmem_set_pool(const char *value)
{
	int fd = open_path_or_exit(GMEM_POOL_PARAM, O_WRONLY), err = 0;

	if (write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		err = errno;
	close(fd);
	return err;
}

void gmem_set_pool(const char *value)
{
	int err = __gmem_set_pool(value);

	TEST_ASSERT(!err, "'%s' to %s: errno %d", value, GMEM_POOL_PARAM, err);
}

u64 gmem_pool(const char *name, int node)
{
	FILE *f = fopen(GMEM_POOL_FILE, "r");
	u64 value, sum = 0;
	char field[32];
	int at = -1;

	TEST_ASSERT(f, "cannot open %s", GMEM_POOL_FILE);
	while (fscanf(f, "%31s %lu", field, &value) == 2) {
		if (!strcmp(field, "node"))
			at = value;
		else if (!strcmp(field, name) && (node < 0 || node == at))
			sum += value;
	}
	fclose(f);
	return sum;
}

void gmem_free_singles(void)
{
	int fd, tries = 0;
	u64 nr;

	/* A kernel without the pool has no free single pages either. */
	if (gmem_plain() || access(GMEM_POOL_FILE, R_OK))
		return;
	while (gmem_pool("single", -1)) {
		fd = open_path_or_exit("/proc/sys/vm/drop_caches", O_WRONLY);
		TEST_ASSERT(write(fd, "2", 1) == 1, "cannot call the shrinkers, errno %d", errno);
		close(fd);
		/* A block without a page in use waits for a worker. */
		nr = gmem_pool("single", -1);
		TEST_ASSERT(!nr || worker_tries(&tries),
			    "the shrinkers leave %lu free single pages", nr);
	}
}

u64 gmem_vmstat(const char *name)
{
	return read_counter("/proc/vmstat", name);
}

u64 gmem_meminfo(const char *name)
{
	return read_counter("/proc/meminfo", name);
}

u64 gmem_free_pages(void)
{
	u64 pages = 0, n;
	char line[256];
	FILE *f;

	f = fopen("/proc/zoneinfo", "r");
	TEST_ASSERT(f, "cannot open /proc/zoneinfo");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " pages free %lu", &n) == 1 ||
		    sscanf(line, " count: %lu", &n) == 1)
			pages += n;
	}
	fclose(f);
	TEST_ASSERT(pages, "/proc/zoneinfo shows no free pages");
	return pages;
}

/* Tracepoints */

static void write_file(const char *dir, const char *name, const char *value)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open_path_or_exit(path, O_WRONLY | O_TRUNC);
	TEST_ASSERT(write(fd, value, strlen(value)) == (ssize_t)strlen(value),
		    "cannot write '%s' to %s", value, path);
	close(fd);
}

void gmem_trace_start_event(struct gmem_trace *trace, const char *event)
{
	char path[64];

	memset(trace, 0, sizeof(*trace));
	if (gmem_plain())
		return;

	snprintf(trace->dir, sizeof(trace->dir), TRACEFS "/instances/gmem-%d", getpid());
	TEST_ASSERT(!mkdir(trace->dir, 0700), "cannot make %s", trace->dir);
	trace->on = true;
	write_file(trace->dir, "buffer_size_kb", "4096");
	snprintf(path, sizeof(path), "events/guest_memfd/%s%senable", event ?: "",
		 event ? "/" : "");
	write_file(trace->dir, path, "1");
}

void gmem_trace_start(struct gmem_trace *trace)
{
	gmem_trace_start_event(trace, NULL);
}

static FILE *open_trace(struct gmem_trace *trace)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/trace", trace->dir);
	f = fopen(path, "r");
	TEST_ASSERT(f, "cannot open %s", path);
	return f;
}

/*
 * Returns the text after the event's name, or NULL if the line is another
 * event's.  The head of the file reports lost events; then the caller cannot
 * count.
 */
static char *text_of_event(char *line, const char *event)
{
	u64 kept, written;
	char want[64], *at;

	if (sscanf(line, "# entries-in-buffer/entries-written: %lu/%lu", &kept, &written) == 2)
		TEST_ASSERT(kept == written, "the trace buffer has %lu of %lu events", kept,
			    written);
	snprintf(want, sizeof(want), ": %s: ", event);
	at = strstr(line, want);
	return line[0] == '#' || !at ? NULL : at + strlen(want);
}

u64 gmem_trace_count(struct gmem_trace *trace, const char *event, const char *with)
{
	char line[512], *at;
	u64 count = 0;
	FILE *f;

	if (!trace->on)
		return 0;

	f = open_trace(trace);
	while (fgets(line, sizeof(line), f)) {
		at = text_of_event(line, event);
		at = at ? strstr(at, with) : NULL;
		count += at && isspace(at[strlen(with)]);
	}
	fclose(f);
	return count;
}

u64 gmem_trace_pages(struct gmem_trace *trace, const char *event, u64 *pfns, size_t max)
{
	char line[512];
	u64 pages = 0, pfn, n;
	FILE *f;

	if (!trace->on)
		return 0;

	f = open_trace(trace);
	while (fgets(line, sizeof(line), f)) {
		char *at = text_of_event(line, event), *arg;

		if (!at)
			continue;
		arg = strstr(at, "pfn=");
		TEST_ASSERT(arg, "no pfn in event '%s'", line);
		pfn = strtoull(arg + 4, NULL, 0);
		arg = strstr(at, "nr_pages=");
		n = arg ? strtoull(arg + 9, NULL, 0) : 1;
		for (; n; n--, pfn++, pages++) {
			if (pfns && pages < max)
				pfns[pages] = pfn;
		}
	}
	fclose(f);
	return pages;
}

void gmem_trace_stop(struct gmem_trace *trace)
{
	if (!trace->on)
		return;
	write_file(trace->dir, "events/guest_memfd/enable", "0");
	TEST_ASSERT(!rmdir(trace->dir), "cannot remove %s", trace->dir);
	trace->on = false;
}

/* Before and after */

void gmem_kmsg_open(int *kmsg)
{
	*kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (*kmsg >= 0)
		lseek(*kmsg, 0, SEEK_END);
}

void gmem_assert_all_back(void)
{
	u64 absent, before = baseline->absent;
	int tries = 0;

	/*
	 * This does not need the shrinkers: the kernel restores all pages of a
	 * block of which no page is in use.
	 */
	do {
		absent = gmem_absent_total();
	} while (absent > before && worker_tries(&tries));

	/* Do not report the same loss in the next test. */
	baseline->absent = absent;
	TEST_ASSERT(absent == before,
		    "%lu pages of the direct map were absent before, %lu are now", before, absent);
}

void gmem_expect_lost(u64 pages)
{
	baseline->absent += pages;
}

u64 gmem_absent_before(void)
{
	return baseline->absent;
}

void gmem_assert_nothing_left(int *kmsg)
{
	static const char * const reports[] = {
		"WARNING: ", "BUG: ", "Oops", "KASAN", "general protection fault",
		"INFO: task", "possible circular", "inconsistent lock", "Bad page state",
	};
	char rec[2048], *text;
	unsigned int i;
	ssize_t r;

	if (!baseline->slow)
		gmem_assert_all_back();

	for (;;) {
		r = *kmsg < 0 ? 0 : read(*kmsg, rec, sizeof(rec) - 1);
		/*
		 * EPIPE: the kernel has overwritten records; the remaining ones
		 * may still be useful.
		 */
		if (r < 0 && errno == EPIPE)
			continue;
		if (r <= 0)
			break;
		rec[r] = 0;
		text = strchr(rec, ';') ?: rec;
		for (i = 0; i < ARRAY_SIZE(reports); i++)
			TEST_ASSERT(!strstr(text, reports[i]), "the kernel reports: %s", text);
	}
	if (*kmsg >= 0)
		close(*kmsg);
}

/* Guests */

static struct gmem_call {
	gmem_guest_fn fn;
	u64 arg[3];
} gmem_calls[GMEM_MAX_VCPUS];

static void guest_loop(u64 id)
{
	struct gmem_call *call = &gmem_calls[id];

	for (;;)
		GUEST_SYNC1(call->fn(call->arg[0], call->arg[1], call->arg[2]));
}

u64 gmem_guest_fill(u64 gva, u64 size, u64 seed)
{
	volatile u64 *w = (void *)gva;
	u64 i;

	for (i = 0; i < size / sizeof(*w); i++)
		w[i] = word_at(&w[i], seed);
	return 0;
}

u64 gmem_guest_check(u64 gva, u64 size, u64 seed)
{
	volatile u64 *w = (void *)gva;
	u64 i, v;

	for (i = 0; i < size / sizeof(*w); i++) {
		v = w[i];
		__GUEST_ASSERT(v == word_at(&w[i], seed),
			       "guest reads 0x%lx at word %lu", v, i);
	}
	return 0;
}

u64 gmem_guest_check_zero(u64 gva, u64 size, u64 unused)
{
	volatile u64 *w = (void *)gva;
	u64 i, v;

	for (i = 0; i < size / sizeof(*w); i++) {
		v = w[i];
		__GUEST_ASSERT(!v, "guest reads 0x%lx at word %lu, want zero", v, i);
	}
	return 0;
}

u64 gmem_guest_nop(u64 a, u64 b, u64 c)
{
	return a;
}

void gmem_guest_post(struct kvm_vcpu *vcpu, gmem_guest_fn fn, u64 a, u64 b, u64 c)
{
	struct gmem_call *call = addr_gva2hva(vcpu->vm, (gva_t)&gmem_calls[vcpu->id]);

	call->arg[0] = a;
	call->arg[1] = b;
	call->arg[2] = c;
	call->fn = fn;
}

#ifdef __x86_64__
u64 gmem_guest_convert(u64 gpa, u64 size, u64 private)
{
	return __kvm_hypercall_map_gpa_range(gpa, size, private ? KVM_MAP_GPA_RANGE_ENCRYPTED :
							KVM_MAP_GPA_RANGE_DECRYPTED);
}

/* VMs that obey their guests; one thread of each may run. */
static struct gmem_vm *obeying[8];

void gmem_vm_obey(struct gmem_vm *g)
{
	unsigned int i;

	vm_enable_cap(g->vm, KVM_CAP_EXIT_HYPERCALL, 1ULL << KVM_HC_MAP_GPA_RANGE);
	for (i = 0; i < ARRAY_SIZE(obeying) && obeying[i]; i++)
		;
	TEST_ASSERT(i < ARRAY_SIZE(obeying), "too many VMs");
	obeying[i] = g;
	g->obey = true;
}

static void disobey(struct gmem_vm *g)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(obeying); i++) {
		if (obeying[i] == g)
			obeying[i] = NULL;
	}
	g->obey = false;
}

static s64 convert(struct gmem_vm *g, u64 gpa, u64 nr_pages, u64 attributes)
{
	u64 offset = gpa - GMEM_GPA, size = nr_pages * GMEM_PAGE;
	bool private = attributes & KVM_MAP_GPA_RANGE_ENCRYPTED;

	if (gpa < GMEM_GPA || offset >= g->size || nr_pages > (g->size - offset) / GMEM_PAGE) {
		__atomic_fetch_add(&g->refused, 1, __ATOMIC_RELAXED);
		return -EINVAL;
	}
	if (!__gmem_set_access(g->fd, offset, size, private ? GUEST_MEMFD_ACCESS_NONE :
			       GUEST_MEMFD_ACCESS_KERNEL, NULL)) {
		__atomic_fetch_add(&g->granted, 1, __ATOMIC_RELAXED);
		return 0;
	}
	TEST_ASSERT(errno == EAGAIN, "change of levels for the guest: errno %d", errno);
	__atomic_fetch_add(&g->busy, 1, __ATOMIC_RELAXED);
	return -EAGAIN;
}

/* Return: True for a hypercall after which the guest continues. */
static bool obey(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	unsigned int i;

	if (run->exit_reason != KVM_EXIT_HYPERCALL || run->hypercall.nr != KVM_HC_MAP_GPA_RANGE)
		return false;
	for (i = 0; i < ARRAY_SIZE(obeying); i++) {
		if (!obeying[i] || obeying[i]->vm != vcpu->vm)
			continue;
		run->hypercall.ret = convert(obeying[i], run->hypercall.args[0],
					     run->hypercall.args[1], run->hypercall.args[2]);
		return true;
	}
	return false;
}
#else
static void disobey(struct gmem_vm *g) { }
static bool obey(struct kvm_vcpu *vcpu) { return false; }
#endif

u64 gmem_guest_result(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		return uc.args[0];
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		fallthrough;
	default:
		TEST_FAIL("vCPU %u: exit reason %u (%s), ucall %lu", vcpu->id,
			  vcpu->run->exit_reason, exit_reason_str(vcpu->run->exit_reason),
			  uc.cmd);
	}
}

u64 gmem_guest_call(struct kvm_vcpu *vcpu, gmem_guest_fn fn, u64 a, u64 b, u64 c)
{
	gmem_guest_post(vcpu, fn, a, b, c);
	do
		vcpu_run(vcpu);
	while (obey(vcpu));
	return gmem_guest_result(vcpu);
}

void gmem_vm_bind(struct gmem_vm *g, void *hva)
{
	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA, g->size,
				   hva, g->fd, 0);
}

void gmem_vm_unbind(struct gmem_vm *g)
{
	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA, 0,
				   NULL, g->fd, 0);
}

void gmem_vm_create_bare(struct gmem_vm *g, int nr_vcpus, size_t size, u32 dirty_ring)
{
	int i;

	memset(g, 0, sizeof(*g));
	g->fd = -1;
	g->size = size;
	g->nr_vcpus = nr_vcpus;
	g->vm = __vm_create(VM_SHAPE_DEFAULT, nr_vcpus, size / GMEM_PAGE);
	if (dirty_ring)
		vm_enable_dirty_ring(g->vm, dirty_ring);
	for (i = 0; i < nr_vcpus; i++) {
		g->vcpus[i] = vm_vcpu_add(g->vm, i, guest_loop);
		vcpu_args_set(g->vcpus[i], 1, (u64)i);
	}
	kvm_arch_vm_finalize_vcpus(g->vm);
}

void gmem_vm_create(struct gmem_vm *g, int nr_vcpus, size_t size, u64 flags)
{
	gmem_vm_create_bare(g, nr_vcpus, size, 0);
	g->fd = vm_create_guest_memfd(g->vm, size, flags);
	if (flags & GUEST_MEMFD_FLAG_MMAP)
		g->mem = kvm_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
	gmem_vm_bind(g, g->mem);
	virt_map(g->vm, GMEM_GVA, GMEM_GPA, size / g->vm->page_size);
}

void gmem_vm_close_file(struct gmem_vm *g)
{
	if (g->mem)
		kvm_munmap(g->mem, g->size);
	g->mem = NULL;
	if (g->fd >= 0)
		kvm_close(g->fd);
	g->fd = -1;
}

void gmem_vm_destroy(struct gmem_vm *g)
{
	if (g->obey)
		disobey(g);
	if (g->vm)
		kvm_vm_free(g->vm);
	g->vm = NULL;
	gmem_vm_close_file(g);
}

unsigned int gmem_set_forced_emulation(unsigned int value)
{
	static const char path[] = "/sys/module/kvm/parameters/force_emulation_prefix";
	FILE *f = fopen(path, "r+");
	unsigned int old;

	TEST_ASSERT(f && fscanf(f, "%u", &old) == 1, "cannot read %s", path);
	rewind(f);
	TEST_ASSERT(fprintf(f, "%u", value) > 0 && !fclose(f), "cannot write %s", path);
	return old;
}

void gmem_punch(int fd, u64 offset, u64 size)
{
	kvm_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
}
