// SPDX-License-Identifier: GPL-2.0-only
/*
 * keep SEED MIB: runs in a guest. Keeps MIB of memory whose contents it can
 * verify: each page begins with the secret of SEED, for the scanner, and the
 * rest is calculated from the number and the generation of the page. The first
 * half of the pages does not change. The CPUs share the second half: a writer
 * on each CPU verifies its pages and writes them with a new generation, in an
 * endless loop. The program reads commands from standard input, one in each
 * line:
 *
 *   check     stop the writers, verify every word, restart them, and print
 *             keep: check=N pages=N bad=N first_bad=N written=N writers=N
 *   corrupt   change one bit of one page of the first half, to test the check
 *   mend      restore that bit
 *   quit
 *
 * @bad counts the wrong pages of this check and all that the writers have
 * found; @written counts the pages written so far, @writers the writers that
 * have written.
 */
#define _GNU_SOURCE
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "secret.h"

#define PAGE		4096UL
#define WORDS		(PAGE / 8)
#define HEAD		8	/* words of the secret, twice to fill 64 bytes */
#define BATCH		64	/* pages that a writer writes before it sleeps */
#define PAUSE_US	2000
#define MAX_CPUS	64

struct writer {
	pthread_t thread;
	size_t first, end;
	atomic_ulong written, bad;
};

static struct writer writer[MAX_CPUS];
static uint64_t *memory, seed;
static uint32_t *generation;	/* the expected generation of each page */
static size_t pages;
/*
 * A writer takes it shared for a batch. A check takes it exclusively, without a
 * long wait.
 */
static pthread_rwlock_t batch = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static uint64_t word_of(size_t page, uint32_t gen, unsigned int i)
{
	uint64_t x = (page << 32 | gen) * 0x9ddfea08eb382d69ULL + (i + seed) * 0xd1342543de82ef95ULL;

	return x ^ x >> 29;
}

/*
 * Uses general registers only: the host saves a guest's registers in its own
 * memory, and vector registers could contain the whole secret.
 */
__attribute__((target("general-regs-only"), noinline))
static void write_page(size_t page)
{
	volatile uint64_t *mem = memory + page * WORDS;

	for (unsigned int i = 0; i < HEAD; i++)
		mem[i] = secret_word(seed, i % SECRET_WORDS);
	for (unsigned int i = HEAD; i < WORDS; i++)
		mem[i] = word_of(page, generation[page], i);
}

__attribute__((target("general-regs-only"), noinline))
static bool page_is_good(size_t page)
{
	const volatile uint64_t *mem = memory + page * WORDS;
	bool good = true;

	for (unsigned int i = 0; i < HEAD; i++)
		good &= mem[i] == secret_word(seed, i % SECRET_WORDS);
	for (unsigned int i = HEAD; i < WORDS; i++)
		good &= mem[i] == word_of(page, generation[page], i);
	return good;
}

static void *write_pages(void *arg)
{
	struct writer *w = arg;
	size_t page = w->first;

	for (;;) {
		pthread_rwlock_rdlock(&batch);
		for (int i = 0; i < BATCH; i++) {
			/* Verify the page before write_page() overwrites it. */
			w->bad += !page_is_good(page);
			generation[page]++;
			write_page(page);
			if (++page == w->end)
				page = w->first;
		}
		w->written += BATCH;
		pthread_rwlock_unlock(&batch);
		usleep(PAUSE_US);
	}
	return NULL;
}

static void start_writers(int cpus)
{
	size_t share = pages / 2 / cpus;

	for (int i = 0; i < cpus; i++) {
		pthread_attr_t attr;
		cpu_set_t set;

		writer[i].first = pages / 2 + i * share;
		writer[i].end = writer[i].first + share;
		CPU_ZERO(&set);
		CPU_SET(i, &set);
		pthread_attr_init(&attr);
		if (pthread_attr_setaffinity_np(&attr, sizeof(set), &set) ||
		    pthread_create(&writer[i].thread, &attr, write_pages, &writer[i]))
			errx(1, "cannot start a writer for CPU %d", i);
		pthread_attr_destroy(&attr);
	}
}

static void check(int cpus)
{
	size_t bad = 0, first_bad = 0, written = 0;
	static int checks;
	int writers = 0;

	pthread_rwlock_wrlock(&batch);
	for (size_t page = 0; page < pages; page++) {
		if (page_is_good(page))
			continue;
		if (!bad++)
			first_bad = page;
	}
	for (int i = 0; i < cpus; i++) {
		bad += writer[i].bad;
		written += writer[i].written;
		writers += writer[i].written != 0;
	}
	pthread_rwlock_unlock(&batch);
	printf("keep: check=%d pages=%zu bad=%zu first_bad=%zu written=%zu writers=%d\n",
	       ++checks, pages, bad, first_bad, written, writers);
}

int main(int argc, char **argv)
{
	int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
	char line[64];

	pages = argc == 3 ? strtoul(argv[2], NULL, 0) << 8 : 0;
	if (!pages || cpus > MAX_CPUS) {
		fprintf(stderr, "usage: keep SEED MIB, on at most %d CPUs\n", MAX_CPUS);
		return 2;
	}
	seed = strtoull(argv[1], NULL, 0);
	setlinebuf(stdout);
	generation = calloc(pages, sizeof(*generation));
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!generation || memory == MAP_FAILED)
		err(1, "cannot allocate memory");
	for (size_t page = 0; page < pages; page++)
		write_page(page);
	start_writers(cpus);
	printf("keep: pages=%zu ready\n", pages);

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strcmp(line, "check"))
			check(cpus);
		else if (!strcmp(line, "corrupt") || !strcmp(line, "mend"))
			memory[pages / 4 * WORDS + WORDS / 2] ^= 1ULL << 40;
		else if (!strcmp(line, "quit"))
			return 0;
		else
			printf("keep: cannot do '%s'\n", line);
	}
	return 0;
}
