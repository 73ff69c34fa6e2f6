// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measures the cost for growing guests, numbers of vCPUs and numbers of guests.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backing.h"
#include "figures.h"
#include "measure.h"
#include "tiny.h"
#include "vmstat.h"

#define MIN_MIB		64

static void report_ms(const char *figure, enum backing backing, const char *key,
		      unsigned int value, unsigned int rep, uint64_t start)
{
	double ms = (now() - start) / 1e6;
	char parameter[32];

	snprintf(parameter, sizeof(parameter), "%s=%u", key, value);
	report(figure, backing_name(backing), parameter, rep, ms, "ms");
}

static void grow_to(unsigned int mib, enum backing backing, unsigned int rep)
{
	struct vmstat before = vmstat_now(), v;
	char parameter[32];
	struct region r;
	uint64_t start;

	region_create(&r, backing, mib * MIB);
	start = now();
	region_touch(&r, PAGE);
	report_ms("growth-size", backing, "mib", mib, rep, start);
	v = vmstat_since(&before);
	snprintf(parameter, sizeof(parameter), "mib=%u", mib);
	report("growth-size-flushes", backing_name(backing), parameter, rep,
	       vmstat_flushes(&v, sysconf(_SC_NPROCESSORS_ONLN)), "flushes");
	start = now();
	region_close(&r);
	report_ms("growth-size-teardown", backing, "mib", mib, rep, start);
	region_destroy(&r);
}

void figure_growth_size(const struct parameters *p)
{
	for (unsigned int mib = MIN_MIB; mib <= p->mib; mib *= 2)
		for (unsigned int rep = 0; rep < p->reps; rep++)
			for_each_backing(b, rep, p->backings)
				grow_to(mib, b, rep);
}

void figure_growth_vcpus(const struct parameters *p)
{
	for (unsigned int n = 1; n <= p->vcpus; n *= 2) {
		for (unsigned int rep = 0; rep < p->reps; rep++) {
			for_each_backing(b, rep, p->backings & GUEST_BACKINGS) {
				struct tiny t;
				uint64_t start;

				tiny_create(&t, b, p->mib * MIB, n);
				start = now();
				tiny_touch(&t, PAGE);
				report_ms("growth-vcpus", b, "vcpus", n, rep, start);
				tiny_destroy(&t);
			}
		}
	}
}

struct one_of_many {
	pthread_t thread;
	pthread_barrier_t *begin;
	struct tiny tiny;
};

static void *touch(void *arg)
{
	struct one_of_many *one = arg;

	pthread_barrier_wait(one->begin);
	tiny_touch(&one->tiny, PAGE);
	return NULL;
}

static void *end(void *arg)
{
	struct one_of_many *one = arg;

	pthread_barrier_wait(one->begin);
	tiny_destroy(&one->tiny);
	return NULL;
}

/* Runs the function for all guests at the same time; returns the start time. */
static uint64_t each(struct one_of_many *many, unsigned int n, void *(*function)(void *))
{
	pthread_barrier_t begin;
	uint64_t start;

	pthread_barrier_init(&begin, NULL, n + 1);
	for (unsigned int i = 0; i < n; i++) {
		int error;

		many[i].begin = &begin;
		error = pthread_create(&many[i].thread, NULL, function, &many[i]);
		if (error)
			die(error, "thread %u", i);
	}
	start = now();
	pthread_barrier_wait(&begin);
	for (unsigned int i = 0; i < n; i++)
		pthread_join(many[i].thread, NULL);
	pthread_barrier_destroy(&begin);
	return start;
}

static void many_vms(unsigned int n, unsigned int mib, enum backing backing, unsigned int rep)
{
	struct one_of_many *many = calloc(n, sizeof(*many));
	uint64_t start;

	if (!many)
		die(0, "no memory");
	for (unsigned int i = 0; i < n; i++)
		tiny_create(&many[i].tiny, backing, mib * MIB, 1);
	start = each(many, n, touch);
	report_ms("growth-vms", backing, "vms", n, rep, start);
	start = each(many, n, end);
	report_ms("growth-vms-teardown", backing, "vms", n, rep, start);
	free(many);
}

void figure_growth_vms(const struct parameters *p)
{
	for (unsigned int n = 1; n <= p->vms; n *= 4)
		for (unsigned int rep = 0; rep < p->reps; rep++)
			for_each_backing(b, rep, p->backings & GUEST_BACKINGS)
				many_vms(n, p->mib, b, rep);
}
