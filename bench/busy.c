// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "busy.h"
#include "measure.h"

#define MAX_CPUS	64

static pthread_t thread[MAX_CPUS];
static unsigned int nr_threads;
static atomic_bool stop;
static atomic_uint running;

void busy_pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die(errno, "there is no CPU %u", cpu);
}

/* Spends most of its time in the kernel, which clears a page. */
static void *loop(void *cpu)
{
	static char page[MAX_CPUS][4096];
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	unsigned int nr = (uintptr_t)cpu;

	busy_pin(nr);
	if (zero < 0)
		die(errno, "/dev/zero");
	atomic_fetch_add(&running, 1);
	while (!atomic_load(&stop)) {
		if (read(zero, page[nr], sizeof(page[nr])) < 0)
			die(errno, "/dev/zero");
	}
	close(zero);
	return NULL;
}

void busy_start(unsigned int nr)
{
	if (nr >= MAX_CPUS)
		die(0, "%u busy CPUs are too many", nr);
	stop = false;
	running = 0;
	for (nr_threads = 0; nr_threads < nr; nr_threads++) {
		int error = pthread_create(&thread[nr_threads], NULL, loop,
					   (void *)(uintptr_t)(nr_threads + 1));

		if (error)
			die(error, "a busy thread");
	}
	while (atomic_load(&running) < nr)
		usleep(1000);
}

void busy_stop(void)
{
	atomic_store(&stop, true);
	while (nr_threads)
		pthread_join(thread[--nr_threads], NULL);
}
