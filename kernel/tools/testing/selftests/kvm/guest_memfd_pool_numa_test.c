// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's pool of hidden blocks on a host with two nodes.
 *
 * Proves that blocks, from the pool and from the buddy allocator, and single
 * pages obey the NUMA policies of files and tasks.
 *
 * Catches: blocks of another node than the policy's (numa), single pages of
 * another node (numa_lone).
 */
#include <linux/falloc.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>

#include "gmem_pool.h"
#include "numaif.h"

#define NUMA_BLOCKS	16UL

/*
 * Look up the memory block: get_mempolicy() and move_pages() use GUP, which is
 * refused.
 */
static bool is_on_1(void *addr)
{
	char path[128], text[32];

	read_text(MEMORY "/block_size_bytes", text, sizeof(text));
	snprintf(path, sizeof(path), "/sys/devices/system/node/node1/memory%lu",
		 gmem_pfn(addr) * GMEM_PAGE / strtoul(text, NULL, 16));
	return !access(path, F_OK);
}

/* Populates a file; returns how many of its blocks are on node 1. */
static u64 blocks_on_1(struct _test_data_pool *self, int mode, unsigned long nodes, bool task)
{
	struct gmem_vm *g = &self->g;
	u64 i, nr = 0;

	gmem_vm_create(g, 1, NUMA_BLOCKS * BLOCK, self->flags);
	if (!task)
		TEST_ASSERT(!mbind(g->mem, g->size, mode, &nodes, 64, 0), "mbind: errno %d", errno);
	else
		TEST_ASSERT(!set_mempolicy(mode, &nodes, 64), "set_mempolicy: errno %d", errno);
	/* A fault also allocates a page table by the task's policy. */
	if (task)
		kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, g->size);
	for (i = 0; !task && i < NUMA_BLOCKS; i++)
		READ_ONCE(g->mem[i * BLOCK]);
	if (task)
		TEST_ASSERT(!set_mempolicy(MPOL_DEFAULT, NULL, 0), "errno %d", errno);
	for (i = 0; i < NUMA_BLOCKS; i++)
		nr += is_on_1(g->mem + i * BLOCK);
	gmem_vm_destroy(g);
	return nr;
}

static void numa_cases(struct _test_data_pool *self, bool warm)
{
	static const struct {
		const char *name;
		int mode;
		unsigned long nodes;
		u64 on_1;
	} tests[] = {
		{ "bind 0", MPOL_BIND, 1, 0 },
		{ "bind 1", MPOL_BIND, 2, NUMA_BLOCKS },
		{ "prefer 0", MPOL_PREFERRED, 1, 0 },
		{ "prefer 1", MPOL_PREFERRED, 2, NUMA_BLOCKS },
		{ "prefer many 1", MPOL_PREFERRED_MANY, 2, NUMA_BLOCKS },
		{ "interleave", MPOL_INTERLEAVE, 3, NUMA_BLOCKS / 2 },
	};
	u64 nr, hits, misses;
	int task;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		for (task = 0; task < 2; task++) {
			if (warm)
				wait_blocks(4 * NUMA_BLOCKS);
			hits = gmem_pool("hits", -1);
			misses = gmem_pool("misses", -1);
			nr = blocks_on_1(self, tests[i].mode, tests[i].nodes, task);
			hits = gmem_pool("hits", -1) - hits;
			misses = gmem_pool("misses", -1) - misses;
			ksft_print_msg("%s of the %s: %lu of %lu blocks on node 1, %lu hits\n",
				       tests[i].name, task ? "task" : "file", nr, NUMA_BLOCKS,
				       hits);
			/*
			 * The kernel may allocate a few pages for itself by the
			 * same policy.
			 */
			if (task && tests[i].mode == MPOL_INTERLEAVE) {
				TEST_ASSERT(nr + 2 >= tests[i].on_1 && nr <= tests[i].on_1 + 2,
					    "%s of the task: %lu on node 1", tests[i].name, nr);
				continue;
			}
			TEST_ASSERT_EQ(nr, tests[i].on_1);
			if (warm)
				TEST_ASSERT(hits == NUMA_BLOCKS && !misses,
					    "%s: %lu hits, %lu misses", tests[i].name, hits,
					    misses);
		}
	}
}

/*
 * Makes all allocations of this task that are larger than a page fail, or none.
 */
static void fail_blocks(bool fail)
{
	static const char dir[] = "/sys/kernel/debug/fail_page_alloc/";
	static const struct {
		const char *name, *value;
	} attrs[] = {
		{ "ignore-gfp-wait", "N" }, { "ignore-gfp-highmem", "N" },
		{ "min-order", "1" }, { "verbose", "0" }, { "task-filter", "Y" },
		{ "times", "-1" },
	};
	char path[128];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(attrs); i++) {
		snprintf(path, sizeof(path), "%s%s", dir, attrs[i].name);
		write_text(path, attrs[i].value);
	}
	snprintf(path, sizeof(path), "%sprobability", dir);
	write_text(path, fail ? "100" : "0");
	write_text("/proc/thread-self/make-it-fail", fail ? "1" : "0");
}

/*
 * Without blocks, the library hides pages one by one; each must be on a node of
 * the policy.  @task selects the task's policy instead of the file's, which a
 * mapping sets.
 */
static void check_lone(struct _test_data_pool *self, int mode, unsigned long nodes, bool task)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	gmem_vm_create(g, 1, NUMA_BLOCKS * GMEM_PAGE, self->flags);
	if (task)
		TEST_ASSERT(!set_mempolicy(mode, &nodes, 64), "set_mempolicy: errno %d", errno);
	else
		TEST_ASSERT(!mbind(g->mem, g->size, mode, &nodes, 64, 0), "mbind: errno %d", errno);
	fail_blocks(true);
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, g->size);
	fail_blocks(false);
	if (task)
		TEST_ASSERT(!set_mempolicy(MPOL_DEFAULT, NULL, 0), "errno %d", errno);
	TEST_ASSERT_EQ(gmem_pool("single", -1), 0);
	for (i = 0; i < NUMA_BLOCKS; i++)
		TEST_ASSERT(nodes == (is_on_1(g->mem + i * GMEM_PAGE) ? 2 : 1),
			    "policy %d of %s for nodes 0x%lx: page %lu is on another", mode,
			    task ? "a task" : "a file", nodes, i);
	gmem_vm_destroy(g);
}

POOL_TEST(numa_lone)
{
	unsigned int i;

	if (access("/sys/devices/system/node/node1", R_OK))
		SKIP(return, "one node");
	if (access("/sys/kernel/debug/fail_page_alloc", R_OK))
		SKIP(return, "this kernel cannot make allocations fail");
	for (i = 0; i < 4; i++) {
		check_lone(self, MPOL_BIND, 1 + (i & 1), i & 2);
		check_lone(self, MPOL_PREFERRED, 1 + (i & 1), i & 2);
	}
}

POOL_TEST(numa)
{
	if (access("/sys/devices/system/node/node1", R_OK))
		SKIP(return, "one node");
	/*
	 * The CPU on which the harness runs does not matter for these policies.
	 */
	numa_cases(self, false);
	set_marks(4 * NUMA_BLOCKS, 4 * NUMA_BLOCKS);
	wait_blocks(4 * NUMA_BLOCKS);
	TEST_ASSERT_EQ(gmem_pool("blocks", 0), 2 * NUMA_BLOCKS);
	TEST_ASSERT_EQ(gmem_pool("blocks", 1), 2 * NUMA_BLOCKS);
	numa_cases(self, true);
}

int main(int argc, char **argv)
{
	pool_require();
	return test_harness_run(argc, argv);
}
