// SPDX-License-Identifier: GPL-2.0-only
/* Tests the options of guestmem run that only arm64 has. */
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

static void good(const char **args, enum memory_kind memory, const char *name)
{
	char error[256];

	ok(parse(args, error, sizeof(error)) && options.vm.protected &&
	   options.vm.memory == memory, "%s", name);
}

static void refused(const char **args, const char *word)
{
	char error[256];
	bool done = parse(args, error, sizeof(error));

	ok(!done && strstr(error, word), "%s: %s", word, error);
}

int main(void)
{
	good(ARGS("--protected"), MEMORY_SEALED, "a protected VM has sealed memory");
	good(ARGS("--protected", "--memory", "sealed"), MEMORY_SEALED, "also when it is named");
	good(ARGS("--memory", "plain", "--protected", "--memory", "sealed"), MEMORY_SEALED,
	     "the last one counts");
	good(ARGS("--disk", "D", "--protected"), MEMORY_SEALED, "and it may have a disk");
	good(ARGS("--protected", "--memory", "plain"), MEMORY_PLAIN, "anonymous memory");
	good(ARGS("--memory", "thp", "--protected"), MEMORY_THP, "the same in huge pages");
	refused(ARGS("--protected", "--memory", "plain", "--disk", "D"), "needs sealed memory");
	refused(ARGS("--disk", "D", "--memory", "thp", "--protected"), "needs sealed memory");
	refused(ARGS("--protected", "--memory", "gmem"), "--memory gmem");
	refused(ARGS("--protected", "--memory", "hidden"), "--memory hidden");
	refused(ARGS("--protected", "--memory", "guest-controlled"), "--memory guest-controlled");
	refused(ARGS("--disk", "D", "--memory", "sealed"), "--disk D");
	return done_testing();
}
