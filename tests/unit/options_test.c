// SPDX-License-Identifier: GPL-2.0-only
/* Tests the command line of guestmem run. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blob.h"
#include "options.h"
#include "tap.h"

#define MAX_ARGS 32

static bool parse(struct options *options, char *error, size_t size, const char *line)
{
	static char copy[256];
	char *argv[MAX_ARGS] = { "run" };
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " "); word && argc < MAX_ARGS - 1; word = strtok(NULL, " "))
		argv[argc++] = word;
	error[0] = '\0';
	return options_parse(options, argc, argv, error, size);
}

static void refused(const char *line, const char *word)
{
	struct options options;
	char error[256];
	bool good = parse(&options, error, sizeof(error), line);

	ok(!good && strstr(error, word) && !strchr(error, '\n'), "'%s': %s", line, error);
}

static void test_good(void)
{
	struct options options;
	char error[256];

	ok(parse(&options, error, sizeof(error), "--kernel K") && options.vm.nr_cpus == 1 &&
	   options.vm.size == 256 << 20 && options.vm.memory == MEMORY_BEST &&
	   !options.initrd && !options.disk && !options.vm.protected && !*options.cmdline &&
	   !options.statistics, "the defaults");
	ok(parse(&options, error, sizeof(error),
		    "--kernel K --initrd I --cpus 16 --mem 5G --cmdline quiet --memory hidden "
		    "--stats --mark ready --disk D"), "every option");
	ok(!strcmp(options.kernel, "K") && !strcmp(options.initrd, "I") &&
	   options.vm.nr_cpus == 16 && options.vm.size == 5ULL << 30 &&
	   !strcmp(options.cmdline, "quiet") && options.vm.memory == MEMORY_HIDDEN &&
	   options.statistics && !strcmp(options.vm.mark, "ready") &&
	   !strcmp(options.disk, "D"), "with its value");
	ok(parse(&options, error, sizeof(error), "--kernel=K --memory=gmem") &&
	   options.vm.memory == MEMORY_GMEM, "with an equals sign");
	ok(parse(&options, error, sizeof(error), "--kernel K --memory thp") &&
	   options.vm.memory == MEMORY_THP, "anonymous memory in huge pages");
	ok(parse(&options, error, sizeof(error), "--kernel K --memory sealed") &&
	   options.vm.memory == MEMORY_SEALED, "sealed memory");
	ok(parse(&options, error, sizeof(error), "--kernel K --memory guest-controlled") &&
	   options.vm.memory == MEMORY_GUEST_CONTROLLED, "guest-controlled memory");
	ok(parse(&options, error, sizeof(error), "--help") && options.help,
	   "--help needs no kernel");
}

static void test_refused(void)
{
	refused("", "--kernel");
	refused("-xy", "unknown option -x");
	refused("--kernel K --none", "unknown option --none");
	refused("--kernel", "needs a value");
	refused("--kernel K --cpus 0", "--cpus 0");
	refused("--kernel K --cpus 17", "1 to 16");
	refused("--kernel K --cpus two", "--cpus two");
	refused("--kernel K --mem 0", "--mem 0");
	refused("--kernel K --mem 16M", "32M");
	refused("--kernel K --mem 64X", "64X");
	refused("--kernel K --mem 2000G", "1024G");
	refused("--kernel K --mem 67108865", "--mem");
	refused("--kernel K --protected", "only arm64");
	refused("--kernel K --disk D --memory sealed", "--disk D");
	refused("--kernel K --memory secret", "plain, thp, gmem, hidden, sealed");
	refused("--kernel K --memory best", "plain, thp, gmem, hidden, sealed");
	refused("--kernel K --mark=", "--mark");
	refused("--kernel K --frobnicate", "--frobnicate");
	refused("--kernel K -z", "-z");
	refused("--kernel K stray", "stray");
}

static void file_refused(const char *path, const char *name)
{
	struct blob blob;
	const char *error = blob_read(&blob, path);

	ok(error && !blob.data, "%s: %s", name, error ? error : "read");
}

static void test_files(void)
{
	char dir[] = "/tmp/options_test.XXXXXX", path[64];
	struct blob blob;
	int fd;

	if (!mkdtemp(dir)) {
		ok(false, "a temporary directory");
		return;
	}
	snprintf(path, sizeof(path), "%s/file", dir);
	file_refused(path, "no file");
	file_refused(dir, "a directory");

	fd = open(path, O_CREAT | O_WRONLY, 0600);
	file_refused(path, "an empty file");
	ok(write(fd, "abc", 3) == 3 && !blob_read(&blob, path) && blob.size == 3 &&
	   !memcmp(blob.data, "abc", 3), "a file");
	blob_free(&blob);
	close(fd);
	unlink(path);

	ok(!mkfifo(path, 0600), "a named pipe");
	file_refused(path, "a named pipe without a writer");
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	test_good();
	test_refused();
	test_files();
	return done_testing();
}
