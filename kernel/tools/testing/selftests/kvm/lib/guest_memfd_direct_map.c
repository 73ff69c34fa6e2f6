// SPDX-License-Identifier: GPL-2.0-only
/*
 * The direct map as the tests see it: the frames of pages, reads through
 * /proc/kcore, and the kernel's dump of its page tables.  guest_memfd_hide.h
 * documents the helpers.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gmem_arch.h"
#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"

#define SCAN_CHUNK	(1UL << 20)
#define MAX_SEGMENTS	64
/* gmem_scan() prints at most this many of the frames that it finds. */
#define MAX_SHOWN	3

static unsigned int words_of(const u64 *page, u64 seed)
{
	unsigned int j, found = 0;

	for (j = 0; j < GMEM_WORDS; j++)
		found += page[j] == gmem_word(seed, j);
	return found;
}

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
	f = fopen(GMEM_PTDUMP, "r");
	TEST_ASSERT(f, "cannot open %s", GMEM_PTDUMP);
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
	TEST_ASSERT(seen, "%s does not show the direct map", GMEM_PTDUMP);
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
