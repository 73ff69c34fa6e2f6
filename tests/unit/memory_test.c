// SPDX-License-Identifier: GPL-2.0-only
/* Tests addresses around the hole in guest memory, and copies by system calls. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "memory.h"
#include "tap.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

#define PAGE 4096UL

/* Makes a system call fail, as an old kernel or the seccomp filter of a container does. */
static bool forbid(unsigned int nr, unsigned int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void test_copies(void)
{
	struct memory memory = { .size = 2 * PAGE };
	uint32_t *words = mmap(NULL, memory.size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const char *error;

	if (words == MAP_FAILED || mprotect((char *)words + PAGE, PAGE, PROT_NONE)) {
		ok(false, "memory");
		return;
	}
	memory.base = memory.shared = (void *)words;
	words[0] = 0xfffe1234;
	words[1] = 0x5555;
	ok(memory_add(&memory, MEMORY_BASE, 16) && words[0] == 0xffff1234, "an addition");
	ok(memory_add(&memory, MEMORY_BASE, 16) && words[0] == 0x1234 && words[1] == 0x5555,
	   "one that carries into no other word");
	ok(!memory_add(&memory, MEMORY_BASE + PAGE, 16), "none where it is not shared");
	ok(!memory_add(&memory, MEMORY_BASE + 2 * PAGE, 16), "none beyond the end");

	ok(!memory_check_copies(), "this kernel has what it takes");
	ok(forbid(SYS_process_vm_writev, EPERM), "a filter");
	error = memory_check_copies();
	ok(error && !strcmp(error, strerror(EPERM)), "then not: %s", error ? error : "it has");
}

int main(void)
{
	uint8_t *base = (uint8_t *)0x10000000;
	struct memory small = { .base = base, .size = 64 * MIB };
	struct memory large = { .base = base, .size = 4 * GIB };
	uint64_t offset;

	ok(memory_low(&small) == 64 * MIB && memory_high(&small) == 0, "64 MiB: all is low");
	ok(memory_low(&large) == 3 * GIB && memory_high(&large) == GIB,
	   "4 GiB: 3 below the hole, 1 above");

	ok(memory_at(&small, 0, 1) == base, "the first byte");
	ok(memory_at(&small, 64 * MIB - 1, 1) == base + 64 * MIB - 1, "the last byte");
	ok(!memory_at(&small, 64 * MIB - 1, 2), "one byte beyond the end");
	ok(!memory_at(&small, 64 * MIB, 1), "at the end");
	ok(!memory_at(&small, 0, UINT64_MAX), "a length that is too large");
	ok(!memory_at(&small, UINT64_MAX, 2), "an address that would wrap");
	ok(!memory_at(&small, MEMORY_HIGH_BASE, 1), "above the hole with no memory there");

	ok(memory_at(&large, 3 * GIB - 1, 1) == base + 3 * GIB - 1, "the last below the hole");
	ok(!memory_at(&large, 3 * GIB - 1, 2), "into the hole");
	ok(!memory_at(&large, 3 * GIB, 1), "in the hole");
	ok(!memory_at(&large, MEMORY_HIGH_BASE - 1, 2), "out of the hole");
	ok(memory_at(&large, MEMORY_HIGH_BASE, GIB) == base + 3 * GIB, "all above the hole");
	ok(!memory_at(&large, MEMORY_HIGH_BASE, GIB + 1), "beyond all above the hole");
	ok(!memory_at(&large, MEMORY_HIGH_BASE + 1, UINT64_MAX), "high and much too long");
	ok(memory_offset(&large, MEMORY_HIGH_BASE, GIB, &offset) && offset == 3 * GIB,
	   "above the hole: its place in the memory");
	ok(!memory_offset(&large, 3 * GIB - MIB, 2 * MIB, &offset), "not across the hole");
	large.base = NULL;
	ok(!memory_at(&large, 0, 1) && memory_offset(&large, 0, 1, &offset) && !offset,
	   "sealed memory has a place, but no address");
	test_copies();
	return done_testing();
}
