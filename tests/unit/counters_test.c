// SPDX-License-Identifier: GPL-2.0-only
/* Tests how the library parses counters in the text of fdinfo. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guestmem.h"
#include "tap.h"

static const char whole[] =
	"pos:\t0\nflags:\t02100002\nmnt_id:\t15\nino:\t1057\n"
	"guest_memfd-size:\t268435456\nguest_memfd-flags:\t0x7\n"
	"guest_memfd-populated:\t65536\nguest_memfd-blocks:\t130\n"
	"guest_memfd-hidden:\t65535\nguest_memfd-referenced:\t1\n"
	"guest_memfd-put-pending:\t3\nguest_memfd-left-referenced:\t4\n"
	"guest_memfd-donated:\t5\nguest_memfd-shared:\t6\n"
	"guest_memfd-level-none:\t0\nguest_memfd-level-user:\t65536\n"
	"guest_memfd-level-kernel:\t3\n";

static void test_whole(void)
{
	struct guestmem_counters c;

	ok(!guestmem_parse_counters(whole, &c), "a whole text");
	ok(c.has == (1 << 13) - 1, "all counters are there");
	ok(c.size == 268435456 && c.flags == 7 && c.populated == 65536 && c.blocks == 130 &&
	   c.hidden == 65535 && c.referenced == 1 &&
	   c.put_pending == 3 && c.left_referenced == 4 && c.donated == 5 && c.shared == 6 && c.level_none == 0 &&
	   c.level_user == 65536 && c.level_kernel == 3, "with their values");
}

static void test_parts(void)
{
	struct guestmem_counters c;

	ok(!guestmem_parse_counters("guest_memfd-hidden:\t18446744073709551615", &c) &&
	   c.has == GUESTMEM_HAS_HIDDEN && c.hidden == UINT64_MAX, "one, without a newline");
	ok(!guestmem_parse_counters("guest_memfd-later:\tsomething\nguest_memfd-referenced:\t2\n", &c) &&
	   c.has == GUESTMEM_HAS_REFERENCED && c.referenced == 2, "one of a newer kernel is skipped");
	ok(guestmem_parse_counters("", &c) == -ENODATA && !c.has, "an empty text");
	ok(guestmem_parse_counters("pos:\t0\nflags:\t02\n", &c) == -ENODATA,
	   "a file of another kind");
}

static void test_malformed(void)
{
	static const char * const texts[] = {
		"guest_memfd-size\n", "guest_memfd-size:\n", "guest_memfd-size:\t\n",
		"guest_memfd-size:\tmany\n", "guest_memfd-size:\t-1\n",
		"guest_memfd-size:\t12 pages\n", "guest_memfd-size:\t18446744073709551616\n",
	};
	struct guestmem_counters c;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		ok(guestmem_parse_counters(texts[i], &c) == -EPROTO, "%.*s is malformed",
		   (int)strcspn(texts[i], "\n"), texts[i]);
}

static void test_files(void)
{
	struct guestmem_counters c;
	int fd = open("/dev/null", O_RDONLY);

	ok(guestmem_read_counters(fd, &c) == -ENODATA, "a descriptor of another kind");
	ok(guestmem_read_counters_of(getpid(), fd, &c) == -ENODATA, "the same by process");
	close(fd);
	ok(guestmem_read_counters(fd, &c) == -EBADF, "a closed descriptor");
	ok(guestmem_read_counters_of(getpid(), fd, &c) == -EBADF, "the same by process");
	ok(guestmem_read_counters_of(-1, 0, &c) == -ESRCH, "no such process");
}

int main(void)
{
	test_whole();
	test_parts();
	test_malformed();
	test_files();
	return done_testing();
}
