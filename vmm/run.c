// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE	/* asprintf() */
/* guestmem run: boots a Linux guest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "commands.h"
#include "message.h"
#include "options.h"
#include "statistics.h"
#include "status.h"
#include "vm.h"

static const char help[] =
	"Usage: guestmem run --kernel FILE [OPTIONS]\n"
	"\n"
	"Boots a Linux guest with its console on standard input and output.\n"
	"\n"
	"  --kernel FILE    " MACHINE_KERNELS "\n"
	"  --initrd FILE    initial RAM disk\n"
	"  --cpus N         number of vCPUs, 1 to 16 [1]\n"
	"  --mem SIZE       memory of the guest, with K, M or G [256M]\n"
	"  --cmdline TEXT   words to append to '" MACHINE_CMDLINE "'\n"
	"  --disk FILE      the guest's disk, a virtio-blk device; on sealed memory only a\n"
	"                   protected guest can have one, on other memory no protected guest\n"
	"  --memory KIND    plain: anonymous memory; thp: the same in huge pages; gmem:\n"
	"                   a guest_memfd; hidden: a guest_memfd outside the host's direct\n"
	"                   map; sealed: one at access level NONE, which no process can\n"
	"                   map; guest-controlled (on x86): one whose access levels the\n"
	"                   guest sets [hidden, or with a warning gmem or plain if this\n"
	"                   host kernel does not support it; sealed with --protected]\n"
	"  --protected      (on arm64) a protected VM: pKVM takes its memory from the host, which\n"
	"                   needs kvm-arm.mode=protected; KIND is sealed, plain or thp\n"
	"  --stats          print key=value lines on standard error when the guest ends\n"
	"  --mark TEXT      with --stats, measure when TEXT appears on the console\n"
	"  --help           this text\n"
	"\n"
	"On a terminal Ctrl-A x ends the guest, Ctrl-A Ctrl-A sends a Ctrl-A.\n"
	"\n"
	"Exit status: 0 the guest asked for a reset, 1 the host or KVM failed, 2 wrong\n"
	"usage or an unusable file, 3 the guest halted or powered off, 4 its kernel panicked,\n"
	"5 triple fault (on x86), 128+N ended by signal N.\n";

static char *full_cmdline(const struct options *options)
{
	const char *words = options->cmdline;
	char *cmdline;

	if (asprintf(&cmdline, MACHINE_CMDLINE "%s%s%s", options->disk ? MACHINE_DISK_WORDS : "",
		     *words ? " " : "", words) < 0)
		return NULL;
	return cmdline;
}

static int read_payload(struct payload *payload, const struct options *options)
{
	const char *error;

	error = blob_read(&payload->kernel, options->kernel);
	if (!error)
		error = arch_check_kernel(&payload->kernel);
	if (error)
		return fail(STATUS_USAGE, "%s: %s", options->kernel, error);
	if (options->initrd) {
		error = blob_read(&payload->initrd, options->initrd);
		if (error)
			return fail(STATUS_USAGE, "%s: %s", options->initrd, error);
	}
	payload->cmdline = full_cmdline(options);
	if (!payload->cmdline)
		return fail(STATUS_ERROR, "no memory for the command line");
	return 0;
}

static int open_disk(struct disk *disk, struct options *options)
{
	const char *error;

	if (!options->disk)
		return 0;
	error = disk_open(disk, options->disk);
	if (error)
		return fail(STATUS_USAGE, "%s: %s", options->disk, error);
	error = memory_check_copies();
	if (error)
		return fail(STATUS_ERROR, "a disk needs process_vm_readv(2), process_vm_writev(2) and "
			    "futex(2): %s", error);
	options->vm.disk = disk;
	return 0;
}

static void free_payload(struct payload *payload)
{
	blob_free(&payload->kernel);
	blob_free(&payload->initrd);
	free(payload->cmdline);
}

static int load(struct vm *vm, const struct payload *payload)
{
	struct start start;
	const char *error;
	int status;

	error = arch_load(vm, payload, &start);
	if (error)
		return fail(STATUS_USAGE, "%s: %s", payload->kernel.path, error);
	/* From here on only the guest accesses sealed memory ... */
	status = memory_seal(&vm->memory);
	/* ... except for the pages that a protected guest shares with the disk. */
	if (!status && vm->disk)
		status = memory_share(&vm->memory);
	return status ? status : vm_set_start(vm, &start);
}

int cmd_run(int argc, char **argv)
{
	uint64_t start_ms = console_now_ms();
	struct payload payload = { 0 };
	static struct disk disk = { .fd = -1 };
	static struct vm vm;
	struct options options;
	char error[256];
	int status;

	if (!options_parse(&options, argc, argv, error, sizeof(error)))
		return fail(STATUS_USAGE, "%s; try 'guestmem run --help'", error);
	if (options.help) {
		fputs(help, stdout);
		return 0;
	}

	status = read_payload(&payload, &options);
	if (!status)
		status = open_disk(&disk, &options);
	if (!status) {
		status = vm_create(&vm, &options.vm);
		if (!status)
			status = load(&vm, &payload);
		/* Guest memory has a copy now. */
		free_payload(&payload);
		if (!status) {
			status = vm_run(&vm);
			if (options.statistics)
				statistics_print(&vm, start_ms);
		}
		vm_destroy(&vm);
	} else {
		free_payload(&payload);
	}
	disk_close(&disk);
	return status;
}
