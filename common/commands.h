/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The subcommands of guestmem.  Each is called with its own name as argv[0],
 * prints its options for --help, and returns the exit status of the process
 * (2 for wrong usage).
 */
#ifndef COMMANDS_H
#define COMMANDS_H

int cmd_run(int argc, char **argv);
int cmd_scan(int argc, char **argv);
int cmd_map(int argc, char **argv);

#endif
