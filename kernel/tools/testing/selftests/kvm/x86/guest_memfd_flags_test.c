// SPDX-License-Identifier: GPL-2.0-only
/*
 * The entries of the direct map after hidden memory was used and freed.
 *
 * Proves that a restored page has the page-table flags of its neighbours again,
 * GLOBAL among them, and that memory which was hidden by blocks is mapped by
 * entries of the same sizes as before.
 *
 * Catches: an entry restored without GLOBAL, which INVLPG does not remove from
 * the TLB under other PCIDs when the page is hidden again (guest_memfd,
 * memfd_secret); a block that is not merged after a part of it was visible.
 *
 * Not covered: DIRTY and ACCESSED, which the dump does not show; the KUnit
 * suite guest_memfd_direct_map compares all flags.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#define PTDUMP		"/sys/kernel/debug/page_tables/kernel"
#define NR_VMS		4
#define BLOCKS		SZ_8M
/* The size of a tail of single pages. */
#define TAIL		SZ_64K

/*
 * Bytes of the direct map, by the size and flags of the entries that map them.
 */
struct entries {
	u64 size[3];
	u64 not_global;
};

static const char *const level_names[] = { "pte", "pmd", "pud" };

/*
 * A line of a present range is
 * 0xffff888000200000-0xffff888001000000     14M     RW         PSE     GLB NX pmd
 */
static void read_entries(struct entries *e)
{
	bool inside = false;
	char line[256];
	FILE *f;
	int i;

	memset(e, 0, sizeof(*e));
	f = fopen(PTDUMP, "r");
	TEST_ASSERT(f, "cannot open %s", PTDUMP);
	while (fgets(line, sizeof(line), f)) {
		u64 start, end;

		if (!strncmp(line, "---[", 4)) {
			if (inside)
				break;
			inside = strstr(line, "Low Kernel Mapping");
			continue;
		}
		if (!inside || sscanf(line, "0x%lx-0x%lx", &start, &end) != 2 ||
		    !(strstr(line, " RW ") || strstr(line, " ro ")))
			continue;
		if (!strstr(line, " GLB "))
			e->not_global += end - start;
		for (i = 0; i < 3; i++) {
			if (strstr(line, level_names[i]))
				e->size[i] += end - start;
		}
	}
	fclose(f);
	TEST_ASSERT(inside, "%s does not show the direct map", PTDUMP);
	ksft_print_msg("by 1 GiB %lu MiB, by 2 MiB %lu MiB, by 4 KiB %lu kB; %lu kB not global\n",
		       e->size[2] / SZ_1M, e->size[1] / SZ_1M, e->size[0] / SZ_1K,
		       e->not_global / SZ_1K);
}

FIXTURE(flags) {
	struct entries before;
	int kmsg;
};

FIXTURE_SETUP(flags)
{
	gmem_kmsg_open(&self->kmsg);
	read_entries(&self->before);
	/* With PTI, or without PGE, no entry of the direct map is global. */
	TEST_ASSERT(self->before.not_global < SZ_64M,
		    "the direct map is not global here: boot without PTI");
}

FIXTURE_TEARDOWN(flags)
{
	struct entries after;

	read_entries(&after);
	TEST_ASSERT(after.not_global <= self->before.not_global,
		    "%lu kB of the direct map are no longer global",
		    (after.not_global - self->before.not_global) / SZ_1K);
	gmem_assert_nothing_left(&self->kmsg);
}

#define FLAGS_TEST(name) TEST_F_TIMEOUT(flags, name, 300)

/* Uses memory in all ways: each level, a part of a block, a hole. */
static void live(size_t tail)
{
	struct gmem_vm g[NR_VMS];
	size_t size = BLOCKS + tail;
	u64 seed = gmem_new_seed();
	int i;

	for (i = 0; i < NR_VMS; i++) {
		gmem_vm_create(&g[i], 1, size, gmem_test_flags());
		gmem_fill(g[i].mem, size, seed);
	}
	for (i = 0; i < NR_VMS; i++) {
		int fd = g[i].fd;

		gmem_set_access(fd, 0, SZ_2M, GUEST_MEMFD_ACCESS_KERNEL);
		gmem_set_access(fd, SZ_2M + SZ_64K, SZ_4K, GUEST_MEMFD_ACCESS_KERNEL);
		if (tail)
			gmem_set_access(fd, BLOCKS, SZ_4K, GUEST_MEMFD_ACCESS_KERNEL);
		gmem_set_access(fd, 0, SZ_2M, GUEST_MEMFD_ACCESS_USER);
		gmem_set_access(fd, SZ_2M, SZ_2M, GUEST_MEMFD_ACCESS_NONE);
		if (tail)
			gmem_set_access(fd, BLOCKS, SZ_4K, GUEST_MEMFD_ACCESS_USER);
		gmem_punch(fd, SZ_4M, SZ_2M);
		gmem_punch(fd, SZ_4M + SZ_2M, SZ_4K);
	}
	for (i = 0; i < NR_VMS; i++)
		gmem_vm_destroy(&g[i]);
	gmem_assert_all_back();
}

/*
 * This must be the first test: pages that other tests leave without GLOBAL
 * would make its comparison with the neighbours pass.
 */
FLAGS_TEST(secretmem)
{
	const size_t size = 8 * GMEM_PAGE;
	char *mem;
	int fd, i;

	for (i = 0; i < 3; i++) {
		fd = syscall(__NR_memfd_secret, 0);
		if (fd < 0)
			SKIP(return, "no memfd_secret()");
		kvm_ftruncate(fd, size);
		mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (mem == MAP_FAILED)
			SKIP(return, "memfd_secret() cannot be mapped: RLIMIT_MEMLOCK?");
		memset(mem, 1, size);
		kvm_munmap(mem, size);
		kvm_close(fd);
	}
}

FLAGS_TEST(blocks)
{
	struct entries after;

	live(0);
	read_entries(&after);
	/*
	 * Entries of 1 GiB from which blocks were hidden may be of 2 MiB now,
	 * and memory that was split before the test may be merged when its
	 * block is freed.
	 */
	TEST_ASSERT(after.size[0] <= self->before.size[0],
		    "%lu kB more are mapped by 4 KiB",
		    (after.size[0] - self->before.size[0]) / SZ_1K);
	TEST_ASSERT(after.size[1] + after.size[2] >=
		    self->before.size[1] + self->before.size[2],
		    "less is mapped by 2 MiB and 1 GiB");
}

FLAGS_TEST(tails)
{
	live(TAIL);
}

FLAGS_TEST(single_pages)
{
	unsigned int order = gmem_set_block_order(0);

	live(TAIL);
	gmem_set_block_order(order);
}

int main(int argc, char *argv[])
{
	gmem_require();
	return test_harness_run(argc, argv);
}
