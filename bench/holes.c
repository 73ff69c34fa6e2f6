// SPDX-License-Identifier: GPL-2.0-only
/*
 * On a small host, VMs punch holes into their memory while another process uses
 * all the rest.  After all have ended, reports how many huge pages the kernel
 * can allocate and how much of the direct map consists of 4 KiB entries.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backing.h"
#include "figures.h"
#include "measure.h"
#include "procfs.h"

#define VMS		2	/* VMs at once; each has mib of memory */
#define HOLES		400	/* in each VM */
#define MAX_HOLE	300	/* pages */
#define RESERVE_MIB	110	/* for kernel and programs */
#define ROUNDS		4	/* rounds of the other process */
#define ATTEMPTS	3

/* Shared memory of all processes of the figure. */
struct shared {
	volatile bool stop;
};

static uint64_t available_mib(void)
{
	return procfs_number("/proc/meminfo", "MemAvailable") / 1024;
}

static void vm_life(enum backing backing, uint64_t size, const struct shared *shared)
{
	uint64_t pages = size / PAGE;
	struct region r;

	region_create(&r, backing, size);
	if (random() % 2)
		region_fallocate(&r);
	for (uint64_t page = 0; page < pages && !shared->stop; page++)
		*(volatile char *)(r.base + page * PAGE) = 1;
	for (unsigned int i = 0; i < HOLES && !shared->stop; i++) {
		uint64_t length = 1 + random() % MAX_HOLE;
		uint64_t page = random() % (pages - length);

		if (fallocate(r.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * PAGE,
			      length * PAGE))
			die(errno, "punch a hole");
		if (random() % 2)
			*(volatile char *)(r.base + page * PAGE) = 1;
	}
	region_close(&r);
	close(r.vm);
}

static pid_t start_vms(enum backing backing, uint64_t size, const struct shared *shared,
		       unsigned int seed)
{
	pid_t pid = fork();

	if (pid < 0)
		die(errno, "fork");
	if (pid)
		return pid;
	srandom(seed);
	while (!shared->stop)
		vm_life(backing, size, shared);
	_exit(0);
}

/*
 * Runs the process for @seconds; returns when it has ended or the OOM killer
 * ended it.
 */
static void use_all(uint64_t size, unsigned int seconds)
{
	pid_t pid = fork();

	if (pid < 0)
		die(errno, "fork");
	if (!pid) {
		char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		procfs_write("/proc/self/oom_score_adj", "500");
		if (memory == MAP_FAILED)
			die(errno, "memory of the other process");
		for (uint64_t until = now() + seconds * 1000000000UL; now() < until;)
			for (uint64_t at = 0; at < size; at += PAGE)
				*(volatile char *)(memory + at) = 1;
		_exit(0);
	}
	if (waitpid(pid, NULL, 0) != pid)
		die(errno, "waitpid");
}

/* Returns the best of some attempts: closed memory may not be free at first. */
static uint64_t huge_pages(uint64_t want)
{
	uint64_t most = 0;

	for (unsigned int i = 0; i < ATTEMPTS && most < want; i++) {
		uint64_t got;

		if (i)
			usleep(500000);
		procfs_write("/proc/sys/vm/drop_caches", "3");
		procfs_write("/proc/sys/vm/compact_memory", "1");
		got = backing_try_huge_pages(want);
		most = got > most ? got : most;
	}
	return most;
}

static uint64_t report_state(enum backing backing, const char *when, unsigned int rep,
			     uint64_t want)
{
	uint64_t got;

	if (!want)
		want = available_mib() * 8 / 10 / 2;
	got = huge_pages(want);
	report("holes-huge-pages", backing_name(backing), when, rep, got, "pages");
	report("holes-direct-map-4k", backing_name(backing), when, rep,
	       procfs_number("/proc/meminfo", "DirectMap4k"), "KiB");
	return want;
}

static void holes(const struct parameters *p, enum backing backing, unsigned int rep)
{
	struct shared *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t size = p->mib * MIB, want, used, others, kills;
	struct region r;
	pid_t vms[VMS];

	if (shared == MAP_FAILED)
		die(errno, "shared memory");
	/* Make the kernel allocate what it keeps after the first such file. */
	region_create(&r, backing, 16 * MIB);
	region_fallocate(&r);
	region_destroy(&r);
	want = report_state(backing, "before", rep, 0);
	kills = procfs_number("/proc/vmstat", "oom_kill");
	used = VMS * (p->mib + 8) + RESERVE_MIB;
	others = available_mib();
	if (others < used + p->mib)
		die(0, "%llu MiB are too few", (unsigned long long)others);
	for (unsigned int i = 0; i < VMS; i++)
		vms[i] = start_vms(backing, size, shared, 1 + i + VMS * rep);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		use_all((others - used) * MIB, p->count);
		/* Call each shrinker once, as reclaim does. */
		procfs_write("/proc/sys/vm/drop_caches", "2");
	}
	shared->stop = true;
	for (unsigned int i = 0; i < VMS; i++) {
		if (waitpid(vms[i], NULL, 0) != vms[i])
			die(errno, "waitpid");
	}
	report("holes-kills", backing_name(backing), "after", rep,
	       procfs_number("/proc/vmstat", "oom_kill") - kills, "processes");
	report_state(backing, "after", rep, want);
	munmap(shared, PAGE);
}

void figure_holes(const struct parameters *p)
{
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		/* Other backings have no file, or no holes of order-0 pages. */
		for_each_backing(b, rep, p->backings & GUEST_BACKINGS &
				 ~(BACKING_BIT(THP) | BACKING_BIT(HUGE)))
			holes(p, b, rep);
	}
}
