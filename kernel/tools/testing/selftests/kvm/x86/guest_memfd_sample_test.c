// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs another test while perf samples every CPU.
 *
 *	guest_memfd_sample_test PROGRAM [ARGS]...
 *
 * Proves that samples with the call chains of kernel and user do no harm where
 * KVM accesses hidden memory in a temporary mm: they interrupt it, or arrive as
 * soon as interrupts are enabled again, and walk the user's stack.
 *
 * Catches: a crash, a hang or a report in the kernel's log, or a failure of the
 * other test.  Without a hardware counter the samples are from a timer and not
 * from an NMI; test_nmi of the KUnit suite guest_memfd_direct_map covers NMIs.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"

#define MAX_CPUS	64
#define DATA_PAGES	64UL
#define PERIOD_NS	200000
#define MIN_SAMPLES	1000

static struct perf_event_mmap_page *rings[MAX_CPUS];
static int fds[MAX_CPUS];
static int nr_cpus;

static bool open_event(int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr),
		.sample_period = PERIOD_NS,
		.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_CALLCHAIN,
		.disabled = 1,
	};
	long page = sysconf(_SC_PAGESIZE);

	fds[cpu] = syscall(__NR_perf_event_open, &attr, -1, cpu, -1, 0);
	if (fds[cpu] < 0)
		return false;
	rings[cpu] = mmap(NULL, (1 + DATA_PAGES) * page, PROT_READ | PROT_WRITE,
			  MAP_SHARED, fds[cpu], 0);
	return rings[cpu] != MAP_FAILED;
}

/* Returns the number of new samples in a CPU's ring. */
static unsigned long drain(int cpu)
{
	long page = sysconf(_SC_PAGESIZE);
	char *data = (char *)rings[cpu] + page;
	__u64 head = __atomic_load_n(&rings[cpu]->data_head, __ATOMIC_ACQUIRE);
	__u64 tail = rings[cpu]->data_tail;
	unsigned long samples = 0;

	while (tail < head) {
		struct perf_event_header *h;

		/* Records consist of whole words, so a header never wraps. */
		h = (void *)(data + tail % (DATA_PAGES * page));
		samples += h->type == PERF_RECORD_SAMPLE;
		if (!h->size)
			break;
		tail += h->size;
	}
	__atomic_store_n(&rings[cpu]->data_tail, head, __ATOMIC_RELEASE);
	return samples;
}

int main(int argc, char *argv[])
{
	unsigned long samples = 0;
	int status, cpu;
	pid_t pid, done;

	if (argc < 2) {
		fprintf(stderr, "usage: %s PROGRAM [ARGS]...\n", argv[0]);
		return KSFT_SKIP;
	}
	nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (nr_cpus > MAX_CPUS)
		nr_cpus = MAX_CPUS;
	for (cpu = 0; cpu < nr_cpus; cpu++) {
		if (!open_event(cpu)) {
			fprintf(stderr, "cannot sample CPU %d: %s\n", cpu, strerror(errno));
			return KSFT_FAIL;
		}
	}
	for (cpu = 0; cpu < nr_cpus; cpu++)
		ioctl(fds[cpu], PERF_EVENT_IOC_ENABLE, 0);

	pid = fork();
	if (!pid) {
		execv(argv[1], argv + 1);
		perror(argv[1]);
		_exit(KSFT_FAIL);
	}
	if (pid < 0)
		return KSFT_FAIL;
	do {
		usleep(20000);
		for (cpu = 0; cpu < nr_cpus; cpu++)
			samples += drain(cpu);
		done = waitpid(pid, &status, WNOHANG);
	} while (!done);

	printf("# %lu samples on %d CPUs\n", samples, nr_cpus);
	if (done < 0 || samples < MIN_SAMPLES)
		return KSFT_FAIL;
	return WIFEXITED(status) ? WEXITSTATUS(status) : KSFT_FAIL;
}
