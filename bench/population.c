// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cost per page of populating and freeing memory, for three ways to
 * populate it: the VMM touches each page, the VMM calls fallocate(), or the
 * guest touches each page.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "backing.h"
#include "busy.h"
#include "figures.h"
#include "measure.h"
#include "pool.h"
#include "tiny.h"

#define WAIT_MS 60000

static void per_page(const char *figure, const struct region *r, const struct parameters *p,
		     unsigned int rep, uint64_t start)
{
	uint64_t cost = now() - start;
	char parameter[32];

	snprintf(parameter, sizeof(parameter), "busy=%u", p->busy);
	report(figure, backing_name(r->backing), parameter, rep,
	       (double)cost / (r->size / PAGE), now_unit());
}

/*
 * A worker clears hidden memory after its file was closed, and frees it or adds
 * it to the pool.  Waits until free memory has grown from @before by nearly the
 * size of the region; other processes may allocate some pages meanwhile.
 */
static void wait_until_free(const struct region *r, uint64_t before)
{
	unsigned int ms;

	if (!backing_has_blocks(r->backing) && r->backing != HIDDEN_0)
		return;
	for (ms = 0; free_memory() + pool_size() < before + r->size - r->size / 32; ms++) {
		if (ms == WAIT_MS)
			die(0, "the memory of a closed file is not free after %u ms", ms);
		usleep(1000);
	}
}

static void by_touch(const struct parameters *p, enum backing backing, unsigned int rep)
{
	uint64_t start, before;
	struct region r;

	region_create(&r, backing, figure_size(p, backing));
	start = now();
	region_touch(&r, PAGE);
	per_page("populate-touch", &r, p, rep, start);
	if (backing == PLAIN) {
		start = now();
		region_clear(&r);
		per_page("clear", &r, p, rep, start);
	}
	before = free_memory() + pool_size();
	start = now();
	region_close(&r);
	per_page("teardown-close-returns", &r, p, rep, start);
	wait_until_free(&r, before);
	per_page("teardown-close", &r, p, rep, start);
	region_destroy(&r);
}

static void by_fallocate(const struct parameters *p, enum backing backing, unsigned int rep)
{
	struct region r;
	uint64_t start;

	region_create(&r, backing, figure_size(p, backing));
	start = now();
	region_fallocate(&r);
	per_page("populate-fallocate", &r, p, rep, start);
	/* Unmapping anonymous memory would free it. */
	if (r.fd >= 0)
		region_unmap(&r);
	start = now();
	region_punch(&r);
	per_page("teardown-hole", &r, p, rep, start);
	region_destroy(&r);
}

static void by_guest(const struct parameters *p, enum backing backing, unsigned int rep)
{
	uint64_t start, before;
	struct tiny t;

	tiny_create(&t, backing, figure_size(p, backing), 1);
	start = now();
	tiny_touch(&t, PAGE);
	per_page("populate-guest", &t.memory, p, rep, start);
	before = free_memory() + pool_size();
	start = now();
	tiny_destroy(&t);
	wait_until_free(&t.memory, before);
	per_page("teardown-guest", &t.memory, p, rep, start);
}

static void begin(const struct parameters *p)
{
	busy_pin(0);
	busy_start(p->busy);
}

void figure_population(const struct parameters *p)
{
	begin(p);
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, rep, p->backings)
			by_touch(p, b, rep);
		for_each_backing(b, rep, p->backings & ~BACKING_BIT(SECRET))
			by_fallocate(p, b, rep);
	}
	busy_stop();
}

void figure_guest(const struct parameters *p)
{
	begin(p);
	for (unsigned int rep = 0; rep < p->reps; rep++)
		for_each_backing(b, rep, p->backings & GUEST_BACKINGS)
			by_guest(p, b, rep);
	busy_stop();
}
