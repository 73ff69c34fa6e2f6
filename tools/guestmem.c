// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "message.h"
#include "status.h"

static const struct command {
	const char *name;
	int (*function)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "run", cmd_run, "boot a Linux guest whose memory the host kernel does not map" },
	{ "scan", cmd_scan, "search all of the host's memory for a pattern" },
	{ "map", cmd_map, "draw the host's direct map" },
};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *out)
{
	fprintf(out, "Usage: guestmem COMMAND [OPTIONS]\n\nCommands:\n");
	for (size_t i = 0; i < NR_COMMANDS; i++)
		fprintf(out, "  %-6s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\n'guestmem COMMAND --help' lists the options of a command.\n");
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int dispatch(int argc, char **argv)
{
	static char help_option[] = "--help";
	const struct command *command;

	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		if (argc < 3) {
			usage(stdout);
			return 0;
		}
		command = find(argv[2]);
		if (command) {
			char *help_argv[] = { argv[2], help_option, NULL };

			return command->function(2, help_argv);
		}
		argv++;
	} else {
		command = find(argv[1]);
		if (command)
			return command->function(argc - 1, argv + 1);
	}
	return fail(STATUS_USAGE, "unknown command '%s'; try 'guestmem help'", argv[1]);
}

int main(int argc, char **argv)
{
	int status = dispatch(argc, argv);

	/* Report failure if a part of the output was not written. */
	if ((fflush(stdout) || ferror(stdout)) && !status)
		status = fail(STATUS_ERROR, "standard output: %s", strerror(errno));
	return status;
}
