// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cost of turning a kvm-clock on and off, and of updating it.  While the
 * clock is on, KVM holds a direct-map reference to its page.  The guest need
 * not run for turning it on and off.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backing.h"
#include "figures.h"
#include "measure.h"
#include "tiny.h"
#include "vmstat.h"

#define CLOCK_OFFSET	(BLOCK + 5 * PAGE)

/* Turns the clock on and off @n times. */
static void toggle(const struct parameters *p, struct tiny *t, unsigned int n, const char *when,
		   unsigned int rep)
{
	const char *name = backing_name(t->memory.backing);
	struct vmstat before = vmstat_now(), v;
	uint64_t flushes = library_flushes(), start = now(), cost;

	for (unsigned int i = 0; i < n; i++) {
		tiny_clock_on(t, CLOCK_OFFSET);
		tiny_clock_off(t);
	}
	cost = now() - start;
	v = vmstat_since(&before);
	report("clock-toggle", name, when, rep, (double)cost / n, now_unit());
	/* The counters mean nothing on a host with one CPU. */
	if (!p->vcpus)
		return;
	report("clock-flushes", name, when, rep,
	       vmstat_flushes(&v, sysconf(_SC_NPROCESSORS_ONLN)) / n, "per-toggle");
	report("clock-library-flushes", name, when, rep,
	       (double)(library_flushes() - flushes) / n, "per-toggle");
	report("clock-splits", name, when, rep,
	       (double)(v.value[SPLITS_2M] + v.value[SPLITS_1G]) / n, "per-toggle");
}

/* Updates the clock @n times; KVM writes it at the next entry of the vCPU. */
static void update(struct tiny *t, unsigned int n, unsigned int rep)
{
	struct kvm_clock_data clock = { 0 };
	uint64_t start;

	tiny_clock_on(t, CLOCK_OFFSET);
	start = now();
	for (unsigned int i = 0; i < n; i++) {
		if (ioctl(t->memory.vm, KVM_SET_CLOCK, &clock))
			die(errno, "KVM_SET_CLOCK");
		tiny_touch(t, t->memory.size);
	}
	report("clock-update", backing_name(t->memory.backing), "on", rep,
	       (double)(now() - start) / n, now_unit());
	tiny_clock_off(t);
}

void figure_clock(const struct parameters *p)
{
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, rep, p->backings & GUEST_BACKINGS) {
			struct tiny t;

			tiny_create(&t, b, p->mib * MIB, 1);
			region_touch(&t.memory, PAGE);
			toggle(p, &t, 1, "first", rep);
			toggle(p, &t, p->count, "after", rep);
			/* No guest can run where instructions are counted. */
			if (p->vcpus)
				update(&t, p->count, rep);
			tiny_destroy(&t);
		}
	}
}
