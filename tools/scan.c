// SPDX-License-Identifier: GPL-2.0-only
/*
 * guestmem scan: reads all RAM through the host kernel's direct map, by
 * /proc/kcore, and counts the pages that contain a pattern.
 *
 * One worker per CPU reads chunks of RAM. Each read makes two copies, one in
 * the worker's buffer and one in the page through which the kernel copies. Both
 * are RAM, so a worker may find the pattern in a copy. A page with the pattern
 * is therefore only a candidate at first. After all RAM has been read, all
 * workers wipe their buffers and bounce pages. Then one worker at a time reads
 * its candidates again, only the bytes of the pattern, and wipes the copies
 * before each read. A page that still has the pattern is confirmed: its
 * contents are not a copy made by the scanner.
 *
 * A worker stays on its CPU and confirms its own candidates, because a stale
 * TLB entry may make a page without a mapping readable on one CPU only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "kcore.h"
#include "message.h"
#include "pattern.h"
#include "ptdump.h"
#include "size.h"
#include "status.h"

#define PAGE		KCORE_PAGE_SIZE
#define CHUNK		(2UL << 20)
/* No kernel has more; sched_getaffinity() fails if the set is too small. */
#define MAX_CPUS	8192
#define CPU_SET_SIZE	CPU_ALLOC_SIZE(MAX_CPUS)
#define BUFFER		(CHUNK + PAGE)	/* --anywhere also reads the start of the next chunk */

struct hit {
	uint64_t pfn;
	uint32_t offset;
	bool confirmed;
};

struct list {
	struct hit *hit;
	size_t nr, room;
};

struct scan {
	const char *kcore_path;
	const char *pt_path;
	struct kcore kc;
	struct ptdump pt;
	struct ptdump image;		/* empty if not needed: see through_image() */
	bool have_pt;
	struct pattern pattern;
	size_t step;
	bool every_cpu;
	bool list;
	unsigned int nr_workers;
	atomic_ullong next;		/* number of the next chunk to read */
	atomic_ullong done;		/* bytes read, for the progress bar */
	atomic_uint running;
	atomic_int error;		/* an errno that ends the scan */
	pthread_barrier_t wiped;
	pthread_mutex_t confirming;
};

struct worker {
	struct scan *scan;
	pthread_t thread;
	int cpu;
	int fd;
	uint8_t *buf;
	uint64_t read, refused, blank;		/* pages */
	struct list found;
	struct list stale;	/* read although not mapped before the scan */
};

static int list_add(struct list *l, uint64_t pfn, size_t offset)
{
	if (l->nr == l->room) {
		size_t room = l->room ? l->room * 2 : 256;
		struct hit *hit = reallocarray(l->hit, room, sizeof(*hit));

		if (!hit)
			return -1;
		l->hit = hit;
		l->room = room;
	}
	l->hit[l->nr++] = (struct hit) { .pfn = pfn, .offset = (uint32_t)offset };
	return 0;
}

static int by_pfn(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;

	if (x->pfn != y->pfn)
		return x->pfn < y->pfn ? -1 : 1;
	return y->confirmed - x->confirmed;
}

/* Sorts by pfn and keeps one hit of each page, a confirmed one if any. */
static void list_unique(struct list *l)
{
	size_t kept = 0;

	if (l->nr)
		qsort(l->hit, l->nr, sizeof(*l->hit), by_pfn);
	for (size_t i = 0; i < l->nr; i++)
		if (!kept || l->hit[i].pfn != l->hit[kept - 1].pfn)
			l->hit[kept++] = l->hit[i];
	l->nr = kept;
}

static bool is_blank(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, PAGE - 1);
}

/* Finds chunk number @n: a part of one segment, up to a multiple of CHUNK. */
static bool chunk_at(const struct kcore *kc, uint64_t n, uint64_t *start, uint64_t *end,
		     const struct kcore_ram **ram)
{
	for (size_t i = 0; i < kc->nr_ram; i++) {
		const struct kcore_ram *r = &kc->ram[i];
		uint64_t first = r->start / CHUNK, nr = (r->end - 1) / CHUNK - first + 1;

		if (n >= nr) {
			n -= nr;
			continue;
		}
		*start = n ? (first + n) * CHUNK : r->start;
		*end = (first + n + 1) * CHUNK < r->end ? (first + n + 1) * CHUNK : r->end;
		*ram = r;
		return true;
	}
	return false;
}

/*
 * Returns whether the page at @phys is absent from the direct map but mapped as
 * a part of the kernel image. arm64 removes the image's data from the linear
 * map.
 */
static bool through_image(const struct scan *s, uint64_t phys)
{
	return ptdump_level(&s->image, phys) != PT_NONE &&
	       phys >= s->kc.image.start && phys < s->kc.image.end &&
	       ptdump_level(&s->pt, phys) == PT_NONE;
}

static uint64_t image_offset(const struct scan *s, uint64_t phys)
{
	return s->kc.image.offset + (phys - s->kc.image.start);
}

static int look_at_page(struct worker *w, uint64_t phys, size_t at, size_t avail)
{
	struct scan *s = w->scan;
	uint64_t pfn = phys >> KCORE_PAGE_SHIFT;
	size_t hit;

	if (s->have_pt && ptdump_level(&s->pt, phys) == PT_NONE && !through_image(s, phys)) {
		/* Some kernels return zeroes for a page that is not mapped. */
		if (is_blank(w->buf + at)) {
			w->blank++;
			return 0;
		}
		if (list_add(&w->stale, pfn, 0))
			return -1;
	}
	w->read++;
	hit = pattern_find(&s->pattern, w->buf, at, at + PAGE, avail, s->step);
	return hit == PATTERN_NONE ? 0 : list_add(&w->found, pfn, hit - at);
}

/* Reads again, through the image's mapping, those pages that only it maps. */
static int read_image(struct worker *w, uint64_t start, size_t size, bool *refused)
{
	for (size_t at = 0; at < size; at += PAGE) {
		if (!through_image(w->scan, start + at))
			continue;
		if (!refused[at / PAGE] && !is_blank(w->buf + at) &&
		    list_add(&w->stale, (start + at) >> KCORE_PAGE_SHIFT, 0)) {
			errno = ENOMEM;
			return -1;
		}
		refused[at / PAGE] = false;
		if (!kcore_read(w->fd, w->buf + at, PAGE, image_offset(w->scan, start + at)))
			continue;
		if (errno != EFAULT)
			return -1;
		refused[at / PAGE] = true;
		memset(w->buf + at, 0, PAGE);
	}
	return 0;
}

static int scan_chunk(struct worker *w, uint64_t start, uint64_t end, const struct kcore_ram *ram)
{
	uint64_t offset = ram->offset + (start - ram->start);
	size_t size = end - start, more = w->scan->step == 1 && end < ram->end ? PAGE : 0;
	bool refused[CHUNK / PAGE + 1] = {};

	if (kcore_read(w->fd, w->buf, size + more, offset)) {
		if (errno != EFAULT)
			return -1;
		for (size_t at = 0; at < size + more; at += PAGE) {
			if (!kcore_read(w->fd, w->buf + at, PAGE, offset + at))
				continue;
			if (errno != EFAULT)
				return -1;
			refused[at / PAGE] = true;
			memset(w->buf + at, 0, PAGE);
		}
	}
	if (read_image(w, start, size + more, refused))
		return -1;
	for (size_t at = 0; at < size; at += PAGE) {
		if (refused[at / PAGE]) {
			w->refused++;
		} else if (look_at_page(w, start + at, at, size + more)) {
			errno = ENOMEM;
			return -1;
		}
	}
	atomic_fetch_add(&w->scan->done, size);
	return 0;
}

/* Overwrites the worker's buffer and the kernel's bounce page. */
static int wipe(struct worker *w, size_t size)
{
	const struct kcore *kc = &w->scan->kc;
	uint64_t quiet = kc->image.end ? kc->image.offset : kc->ram[0].offset;

	if (kcore_read(w->fd, w->buf, size < PAGE ? size : PAGE, quiet))
		return -1;
	memset(w->buf, 0, size);
	return 0;
}

static int confirm(struct worker *w)
{
	struct scan *s = w->scan;

	for (size_t i = 0; i < w->found.nr; i++) {
		struct hit *hit = &w->found.hit[i];
		uint64_t phys = (hit->pfn << KCORE_PAGE_SHIFT) + hit->offset;
		uint64_t offset;
		size_t r = 0;

		while (phys >= s->kc.ram[r].end)
			r++;
		offset = through_image(s, phys) ? image_offset(s, phys) :
			 s->kc.ram[r].offset + (phys - s->kc.ram[r].start);
		if (wipe(w, s->pattern.len))
			return -1;
		if (!kcore_read(w->fd, w->buf, s->pattern.len, offset))
			hit->confirmed = pattern_at(&s->pattern, w->buf);
		else if (errno != EFAULT)
			return -1;
	}
	return wipe(w, BUFFER);
}

static void give_up(struct scan *s, int error)
{
	int none = 0;

	atomic_compare_exchange_strong(&s->error, &none, error);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct scan *s = w->scan;
	const struct kcore_ram *ram;
	uint64_t start, end, n = 0;
	cpu_set_t *set = CPU_ALLOC(MAX_CPUS);

	/* If the CPU has been taken offline, the worker runs on any CPU. */
	if (set) {
		CPU_ZERO_S(CPU_SET_SIZE, set);
		CPU_SET_S(w->cpu, CPU_SET_SIZE, set);
		sched_setaffinity(0, CPU_SET_SIZE, set);
		CPU_FREE(set);
	}

	while (!s->error && chunk_at(&s->kc, s->every_cpu ? n++ : atomic_fetch_add(&s->next, 1),
				     &start, &end, &ram))
		if (scan_chunk(w, start, end, ram))
			give_up(s, errno);
	if (wipe(w, BUFFER))
		give_up(s, errno);
	pthread_barrier_wait(&s->wiped);
	pthread_mutex_lock(&s->confirming);
	if (!s->error && confirm(w))
		give_up(s, errno);
	pthread_mutex_unlock(&s->confirming);
	atomic_fetch_sub(&s->running, 1);
	return NULL;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void draw_progress(struct scan *s, double since)
{
	uint64_t all = s->kc.ram_bytes * (s->every_cpu ? s->nr_workers : 1);
	double part = (double)s->done / (double)all;
	char bar[41];

	memset(bar, ' ', 40);
	memset(bar, '#', (size_t)(part * 40));
	bar[40] = '\0';
	fprintf(stderr, "\r[%s] %3.0f %%  %llu of %llu MiB  %.0f s", bar, part * 100,
		s->done >> 20, (unsigned long long)all >> 20, now() - since);
}

static int start_worker(struct worker *w)
{
	w->fd = open(w->scan->kcore_path, O_RDONLY | O_CLOEXEC);
	if (w->fd < 0)
		return errno;
	w->buf = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (w->buf == MAP_FAILED)
		return errno;
	return pthread_create(&w->thread, NULL, work, w);
}

static int run(struct scan *s, struct worker *worker, double *seconds)
{
	bool terminal = isatty(STDERR_FILENO);
	double since = now();
	int err;

	pthread_mutex_init(&s->confirming, NULL);
	pthread_barrier_init(&s->wiped, NULL, s->nr_workers);
	s->running = s->nr_workers;
	for (unsigned int i = 0; i < s->nr_workers; i++) {
		worker[i].scan = s;
		err = start_worker(&worker[i]);
		if (err) {
			/* The other workers wait for this one at the barrier. */
			say("cannot start a worker: %s", strerror(err));
			exit(1);
		}
	}
	while (s->running) {
		nanosleep(&(struct timespec) { .tv_nsec = 50000000 }, NULL);
		if (terminal)
			draw_progress(s, since);
	}
	if (terminal)
		fprintf(stderr, "\r\033[K");
	for (unsigned int i = 0; i < s->nr_workers; i++) {
		pthread_join(worker[i].thread, NULL);
		munmap(worker[i].buf, BUFFER);
		close(worker[i].fd);
	}
	*seconds = now() - since;
	if (s->error) {
		say("%s: %s", s->kcore_path, strerror(s->error));
		return -1;
	}
	return 0;
}

/* Merges the lists of all workers, with each page once. */
static int collect(struct scan *s, struct worker *worker, struct list *found, struct list *stale)
{
	for (unsigned int i = 0; i < s->nr_workers; i++) {
		for (size_t j = 0; j < worker[i].found.nr; j++) {
			if (list_add(found, worker[i].found.hit[j].pfn,
				     worker[i].found.hit[j].offset))
				return -1;
			found->hit[found->nr - 1].confirmed = worker[i].found.hit[j].confirmed;
		}
		for (size_t j = 0; j < worker[i].stale.nr; j++)
			if (list_add(stale, worker[i].stale.hit[j].pfn, 0))
				return -1;
	}
	list_unique(found);
	list_unique(stale);
	return 0;
}

/*
 * The kernel may have mapped a page after the page tables were read and before
 * the worker read the page: remove it from the list. A page that is not mapped
 * now either was readable through a stale TLB entry.
 */
static void drop_mapped(struct scan *s, struct list *stale)
{
	struct ptdump now;
	size_t kept = 0;
	char why[160];

	if (!stale->nr || ptdump_load(&now, s->pt_path, &s->kc, why, sizeof(why)))
		return;
	for (size_t i = 0; i < stale->nr; i++)
		if (ptdump_level(&now, stale->hit[i].pfn << KCORE_PAGE_SHIFT) == PT_NONE)
			stale->hit[kept++] = stale->hit[i];
	ptdump_free(&now);
	stale->nr = kept;
}

static void report(struct scan *s, struct worker *worker, struct list *found,
		   struct list *stale, double seconds)
{
	uint64_t read = 0, refused = 0, blank = 0, pages = s->kc.ram_bytes >> KCORE_PAGE_SHIFT;
	double mib = (double)s->kc.ram_bytes / (1 << 20) * (s->every_cpu ? s->nr_workers : 1);
	size_t hits = 0;

	/* With --every-cpu all workers have read the same pages. */
	for (unsigned int i = 0; i < (s->every_cpu ? 1 : s->nr_workers); i++) {
		read += worker[i].read;
		refused += worker[i].refused;
		blank += worker[i].blank;
	}
	for (size_t i = 0; i < found->nr; i++) {
		if (!found->hit[i].confirmed)
			continue;
		hits++;
		if (s->list)
			printf("pfn=0x%llx offset=%u\n",
			       (unsigned long long)found->hit[i].pfn, found->hit[i].offset);
	}
	if (s->list)
		for (size_t i = 0; i < stale->nr; i++)
			printf("stale_pfn=0x%llx\n", (unsigned long long)stale->hit[i].pfn);
	printf("ram_pages=%llu\n", (unsigned long long)pages);
	printf("read_pages=%llu\n", (unsigned long long)read);
	printf("unreadable_pages=%llu\n", (unsigned long long)(refused + blank));
	printf("unreadable_refused=%llu\n", (unsigned long long)refused);
	printf("unreadable_blank=%llu\n", (unsigned long long)blank);
	printf("stale_pages=%zu\n", stale->nr);
	printf("found_pages=%zu\n", hits);
	printf("unconfirmed_pages=%zu\n", found->nr - hits);
	printf("page_tables=%s\n", s->have_pt ? "yes" : "no");
	printf("cpus=%u\n", s->nr_workers);
	printf("seconds=%.2f\n", seconds);
	printf("mib_per_second=%.0f\n", seconds > 0 ? mib / seconds : 0);
	if (isatty(STDERR_FILENO))
		fprintf(stderr,
			"The pattern is on %zu of %llu pages; %llu pages are unreadable.\n",
			hits, (unsigned long long)pages, (unsigned long long)(refused + blank));
}

/* Reads the page tables of the image if the direct map lacks a part of it. */
static int prepare_image(struct scan *s, char *why, size_t why_size)
{
	struct pttally t;

	ptdump_tally(&s->pt, &s->kc, s->kc.image.start, s->kc.image.end, &t);
	if (!t.bytes[PT_NONE])
		return 0;
	return ptdump_load_image(&s->image, s->pt_path, &s->kc, why, why_size);
}

static int prepare(struct scan *s)
{
	int fd = open(s->kcore_path, O_RDONLY | O_CLOEXEC);
	char why[160];
	int ret;

	if (fd < 0) {
		say("%s: %s%s", s->kcore_path, strerror(errno),
			errno == EPERM || errno == EACCES ?
			" (needs root, and a kernel that is not locked down)" : "");
		return -1;
	}
	ret = kcore_parse(&s->kc, fd, why, sizeof(why));
	close(fd);
	if (ret) {
		say("%s: %s", s->kcore_path, why);
		return -1;
	}
	if (!s->pt_path)
		s->pt_path = ptdump_file(&s->kc);
	if (!strcmp(s->pt_path, "none"))
		return 0;
	if (ptdump_load(&s->pt, s->pt_path, &s->kc, why, sizeof(why)) ||
	    prepare_image(s, why, sizeof(why)))
		say("scanning without the page tables: %s: %s", s->pt_path, why);
	else
		s->have_pt = true;
	return 0;
}

static int scan(struct scan *s, const int *cpu)
{
	struct worker *worker = calloc(s->nr_workers, sizeof(*worker));
	struct list found = {}, stale = {};
	double seconds;
	int ret = 1;

	if (!worker || prepare(s))
		goto out;
	for (unsigned int i = 0; i < s->nr_workers; i++)
		worker[i].cpu = cpu[i];
	if (run(s, worker, &seconds))
		goto out;
	if (collect(s, worker, &found, &stale)) {
		say("out of memory");
		goto out;
	}
	drop_mapped(s, &stale);
	report(s, worker, &found, &stale, seconds);
	ret = 0;
out:
	for (unsigned int i = 0; worker && i < s->nr_workers; i++) {
		free(worker[i].found.hit);
		free(worker[i].stale.hit);
	}
	free(found.hit);
	free(stale.hit);
	free(worker);
	ptdump_free(&s->pt);
	ptdump_free(&s->image);
	kcore_free(&s->kc);
	return ret;
}

static const char usage[] =
	"usage: guestmem scan (--seed N | --pattern HEX) [options]\n"
	"Reads all RAM through the kernel's direct map and counts the pages with a pattern.\n"
	"  --seed N             search for the pattern that the demo's guest derives from N\n"
	"  --pattern HEX        search for this pattern, 16 to 256 bytes\n"
	"  --anywhere           compare at every offset, not only at multiples of 64 bytes\n"
	"  --list               print the page frame number of every page with the pattern\n"
	"  --cpus N             read with N CPUs [all that this process may use]\n"
	"  --every-cpu          every CPU reads all RAM, to find stale TLB entries\n"
	"  --kcore FILE         read FILE instead of /proc/kcore\n"
	"  --page-tables FILE   read FILE, or \"none\", instead of the dump in debugfs\n"
	"  --help\n";

static int bad_usage(const char *what, const char *arg)
{
	return fail(STATUS_USAGE, "%s%s%s", what, arg ? ": " : "", arg ? arg : "");
}

/* Stores CPUs that this process may use; returns 0 with errno on failure. */
static unsigned int allowed_cpus(int *cpu, unsigned int room)
{
	cpu_set_t *set = CPU_ALLOC(MAX_CPUS);
	unsigned int nr = 0;

	if (!set)
		return 0;
	if (!sched_getaffinity(0, CPU_SET_SIZE, set))
		for (int i = 0; i < MAX_CPUS && nr < room; i++)
			if (CPU_ISSET_S(i, CPU_SET_SIZE, set))
				cpu[nr++] = i;
	CPU_FREE(set);
	return nr;
}

int cmd_scan(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "pattern", required_argument, NULL, 'p' },
		{ "anywhere", no_argument, NULL, 'a' },
		{ "list", no_argument, NULL, 'l' },
		{ "cpus", required_argument, NULL, 'c' },
		{ "every-cpu", no_argument, NULL, 'e' },
		{ "kcore", required_argument, NULL, 'k' },
		{ "page-tables", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	struct scan s = {
		.kcore_path = "/proc/kcore",
		.step = PATTERN_STEP,
	};
	unsigned long number, want = MAX_CPUS;
	static int cpu[MAX_CPUS];
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			if (!parse_number(optarg, 0, ULONG_MAX, &number))
				return bad_usage("not a number", optarg);
			pattern_from_seed(&s.pattern, number);
			break;
		case 'p':
			if (pattern_from_hex(&s.pattern, optarg))
				return bad_usage("not 16 to 256 bytes in hex", optarg);
			break;
		case 'a':
			s.step = 1;
			break;
		case 'l':
			s.list = true;
			break;
		case 'c':
			if (!parse_number(optarg, 1, ULONG_MAX, &want))
				return bad_usage("not a number of CPUs", optarg);
			break;
		case 'e':
			s.every_cpu = true;
			break;
		case 'k':
			s.kcore_path = optarg;
			break;
		case 't':
			s.pt_path = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc)
		return bad_usage("unexpected argument", argv[optind]);
	if (!s.pattern.len)
		return bad_usage("--seed N or --pattern HEX is missing", NULL);
	s.nr_workers = allowed_cpus(cpu, want < MAX_CPUS ? (unsigned int)want : MAX_CPUS);
	if (!s.nr_workers)
		return fail(STATUS_ERROR, "cannot find the CPUs to read with: %s", strerror(errno));
	return scan(&s, cpu);
}
