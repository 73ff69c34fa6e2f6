// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench FIGURE [KEY=NUMBER]... [only=BACKING,...] [instructions=1]
 *
 * Measures one figure for each kind of guest memory, in the emulated host.
 * Prints a line for each result: FIGURE BACKING PARAMETER REPETITION VALUE
 * UNIT.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backing.h"
#include "figures.h"
#include "hardware.h"
#include "measure.h"

static const struct figure {
	const char *name;
	void (*function)(const struct parameters *p);
	const char *help;
} figures[] = {
	{ "population", figure_population, "cost of a page, by touch and fallocate, and back" },
	{ "guest", figure_guest, "cost of a page that the guest touches first" },
	{ "counts", figure_counts, "TLB flushes and splits of the direct map" },
	{ "slot", figure_slot, "cost of a page that KVM_PRE_FAULT_MEMORY maps by a memslot" },
	{ "walk", figure_walk, "faults and mappings of a guest, and its accesses at random" },
	{ "walk-turns", figure_walk_turns, "the accesses at random, of several guests in turn" },
	{ "access", figure_access, "a change of access levels, of a block and of a page" },
	{ "memory", figure_memory, "memory of the host beyond the guest's" },
	{ "memory-whole", figure_memory_whole, "the same by free memory, of a guest of whole blocks" },
	{ "cycle", figure_cycle, "populate and free: the caller's part and the machine's" },
	{ "cycle-guest", figure_cycle_guest, "populate by a guest, with the pool warm and empty" },
	{ "vms", figure_vms, "the direct map before and after many VMs" },
	{ "lives", figure_lives, "flushes for VMs of mib that follow one another" },
	{ "broken", figure_broken, "1 GiB mappings that VMs of 8 MiB to mib break" },
	{ "holes", figure_holes, "huge pages for others after VMs with holes" },
	{ "growth-size", figure_growth_size, "from 64 MiB to mib" },
	{ "growth-vcpus", figure_growth_vcpus, "from 1 to vcpus" },
	{ "growth-vms", figure_growth_vms, "from 1 to vms at once" },
	HARDWARE_FIGURES
};

static void usage(void)
{
	fprintf(stderr, "usage: bench FIGURE [KEY=NUMBER]... [only=BACKING,...] [instructions=1]\n"
		"KEY: mib slow reps busy vcpus vms count tails\n"
		"BACKING: plain hidden hidden-0 secret shmem thp huge; mount tmpfs, if named\nFIGURE:\n");
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		fprintf(stderr, "  %-14s%s\n", figures[i].name, figures[i].help);
	exit(2);
}

static void parse(struct parameters *p, const char *word)
{
	unsigned int instructions = 0;
	const struct {
		const char *key;
		unsigned int *value;
	} keys[] = {
		{ "mib", &p->mib }, { "slow", &p->slow }, { "reps", &p->reps }, { "busy", &p->busy },
		{ "vcpus", &p->vcpus }, { "vms", &p->vms }, { "count", &p->count },
		{ "tails", &p->tails }, { "instructions", &instructions },
	};
	const char *value = strchr(word, '=');
	char *rest;

	if (!value++)
		usage();
	if (!strncmp(word, "only=", 5)) {
		p->backings = backing_parse(value);
		if (!p->backings)
			usage();
		return;
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strlen(keys[i].key) != (size_t)(value - 1 - word) ||
		    strncmp(word, keys[i].key, value - 1 - word))
			continue;
		*keys[i].value = strtoul(value, &rest, 10);
		if (!*value || *rest)
			usage();
		if (instructions)
			measure_instructions();
		return;
	}
	usage();
}

int main(int argc, char **argv)
{
	struct parameters p = {
		.mib = 64, .reps = 1, .vcpus = 1, .vms = 1, .count = 1000, .backings = USUAL_BACKINGS,
	};

	for (size_t i = 0; argc > 1 && i < sizeof(figures) / sizeof(figures[0]); i++) {
		if (strcmp(argv[1], figures[i].name))
			continue;
		for (int word = 2; word < argc; word++)
			parse(&p, argv[word]);
		/* Smaller values make some figures divide by zero. */
		if (p.mib < 8 || p.mib % 2 || !p.count || !p.vms)
			usage();
		p.backings = backing_offered(p.backings);
		figures[i].function(&p);
		return 0;
	}
	usage();
}
