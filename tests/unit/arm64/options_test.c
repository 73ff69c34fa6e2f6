// SPDX-License-Identifier: GPL-2.0-only
/* What the command line of guestmem run has on arm64 only. */
#include <string.h>

#include "options.h"
#include "tap.h"

#define ARGS(...)	((const char *[]){ "run", "--kernel", "K", __VA_ARGS__, NULL })

static struct options options;

static bool parse(const char **args, char *error, size_t size)
{
	int count = 0;

	while (args[count])
		count++;
	error[0] = '\0';
	return options_parse(&options, count, (char **)args, error, size);
}

static void good(const char **args, const char *name)
{
	char error[256];

	ok(parse(args, error, sizeof(error)) && options.vm.protected &&
	   options.vm.memory == MEMORY_SEALED, "%s", name);
}

static void refused(const char **args, const char *word)
{
	char error[256];
	bool done = parse(args, error, sizeof(error));

	ok(!done && strstr(error, word), "%s: %s", word, error);
}

int main(void)
{
	good(ARGS("--protected"), "a protected VM has sealed memory");
	good(ARGS("--protected", "--memory", "sealed"), "also when it is named");
	good(ARGS("--memory", "plain", "--protected", "--memory", "sealed"), "the last one counts");
	good(ARGS("--disk", "D", "--protected"), "and it may have a disk");
	refused(ARGS("--protected", "--memory", "plain"), "--memory plain");
	refused(ARGS("--memory", "thp", "--protected"), "--memory thp");
	refused(ARGS("--protected", "--memory", "gmem"), "--memory gmem");
	refused(ARGS("--protected", "--memory", "hidden"), "--memory hidden");
	refused(ARGS("--protected", "--memory", "guest-controlled"), "--memory guest-controlled");
	refused(ARGS("--disk", "D", "--memory", "sealed"), "--disk D");
	return done_testing();
}
