// SPDX-License-Identifier: GPL-2.0-only
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "size.h"

#define MIN_MEMORY	(32ULL << 20)
#define MAX_MEMORY	(1ULL << 40)
#define PAGE_SIZE	4096

enum { KERNEL = 1, INITRD, CPUS, MEM, CMDLINE, DISK, MEMORY, PROTECTED, STATS, MARK, HELP };

static const struct option long_options[] = {
	{ "kernel", required_argument, NULL, KERNEL },
	{ "initrd", required_argument, NULL, INITRD },
	{ "cpus", required_argument, NULL, CPUS },
	{ "mem", required_argument, NULL, MEM },
	{ "cmdline", required_argument, NULL, CMDLINE },
	{ "disk", required_argument, NULL, DISK },
	{ "memory", required_argument, NULL, MEMORY },
	{ "protected", no_argument, NULL, PROTECTED },
	{ "stats", no_argument, NULL, STATS },
	{ "mark", required_argument, NULL, MARK },
	{ "help", no_argument, NULL, HELP },
	{ 0 }
};

static bool parse_memory_kind(const char *text, enum memory_kind *kind)
{
	for (enum memory_kind k = MEMORY_PLAIN; k < MEMORY_KINDS; k++) {
		if (!strcmp(text, memory_kind_name(k))) {
			*kind = k;
			return true;
		}
	}
	return false;
}

static bool parse_one(struct options *options, int option, const char *value, char *error,
		      size_t size)
{
	unsigned long number;

	switch (option) {
	case KERNEL:
		options->kernel = value;
		return true;
	case INITRD:
		options->initrd = value;
		return true;
	case DISK:
		options->disk = value;
		return true;
	case CMDLINE:
		options->cmdline = value;
		return true;
	case PROTECTED:
		options->vm.protected = true;
		if (MACHINE_PROTECTED)
			return true;
		snprintf(error, size, "--protected: only arm64 has protected VMs");
		return false;
	case STATS:
		options->statistics = true;
		return true;
	case HELP:
		options->help = true;
		return true;
	case MARK:
		options->vm.mark = value;
		if (*value)
			return true;
		snprintf(error, size, "--mark: the text is empty");
		return false;
	case CPUS:
		if (parse_number(value, 1, VM_MAX_CPUS, &number)) {
			options->vm.nr_cpus = number;
			return true;
		}
		snprintf(error, size, "--cpus %s: a number from 1 to %d is needed", value,
			 VM_MAX_CPUS);
		return false;
	case MEMORY:
		if (parse_memory_kind(value, &options->vm.memory)) {
			if (options->vm.memory != MEMORY_GUEST_CONTROLLED || MACHINE_CONVERSIONS)
				return true;
			snprintf(error, size, "--memory %s: guests of this architecture have no "
				 "hypercall to share memory", value);
			return false;
		}
		snprintf(error, size, "--memory %s: KIND must be plain, thp, gmem, hidden, "
			 "sealed or guest-controlled", value);
		return false;
	case MEM:
		if (parse_size(value, &options->vm.size) && options->vm.size >= MIN_MEMORY &&
		    options->vm.size <= MAX_MEMORY && options->vm.size % PAGE_SIZE == 0)
			return true;
		snprintf(error, size, "--mem %s: a size such as 256M is needed, from 32M to 1024G",
			 value);
		return false;
	}
	return false;
}

/*
 * For a protected VM KVM accepts only memory that no process has mapped, which
 * is the kind sealed, and anonymous memory, which it pins while the VM runs.
 */
static bool check_protected(struct options *options, char *error, size_t size)
{
	enum memory_kind memory = options->vm.memory;

	if (!options->vm.protected)
		return true;
	if (memory == MEMORY_BEST)
		options->vm.memory = MEMORY_SEALED;
	if (memory == MEMORY_BEST || memory == MEMORY_SEALED || memory == MEMORY_PLAIN ||
	    memory == MEMORY_THP)
		return true;
	snprintf(error, size, "--memory %s: a protected VM needs sealed, plain or thp",
		 memory_kind_name(memory));
	return false;
}

/*
 * On sealed memory only a protected guest shares the pages of its requests with
 * the host.  On anonymous memory a protected guest could make a request with a
 * page that it does not share, and the kernel would kill the VMM.
 */
static bool check_disk(const struct options *options, char *error, size_t size)
{
	if (!options->disk || options->vm.protected == (options->vm.memory == MEMORY_SEALED))
		return true;
	if (options->vm.protected)
		snprintf(error, size, "--disk %s: a protected VM with a disk needs sealed memory",
			 options->disk);
	else
		snprintf(error, size, "--disk %s: on sealed memory only a protected guest can "
			 "have a disk", options->disk);
	return false;
}

bool options_parse(struct options *options, int argc, char **argv, char *error, size_t size)
{
	int option;

	*options = (struct options){
		.vm = { .memory = MEMORY_BEST, .size = 256 << 20, .nr_cpus = 1 },
		.cmdline = "",
	};
	optind = 0;	/* restart, even if the process has used getopt() before */
	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
		if (option == '?') {
			/* In a word of several letters getopt() has not advanced optind. */
			if (optopt > HELP)
				snprintf(error, size, "unknown option -%c", optopt);
			else
				snprintf(error, size, "unknown option %s", argv[optind - 1]);
			return false;
		}
		if (option == ':') {
			snprintf(error, size, "%s needs a value", argv[optind - 1]);
			return false;
		}
		if (!parse_one(options, option, optarg, error, size))
			return false;
	}
	if (options->help)
		return true;
	if (optind < argc) {
		snprintf(error, size, "%s: unexpected argument", argv[optind]);
		return false;
	}
	if (!options->kernel) {
		snprintf(error, size, "--kernel is missing");
		return false;
	}
	return check_protected(options, error, size) && check_disk(options, error, size);
}
