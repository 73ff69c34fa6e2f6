// SPDX-License-Identifier: GPL-2.0-only
/* Tests guest memory with access levels from its creation to level NONE. */
#define _GNU_SOURCE	/* memfd_create() */
#include <stdio.h>

#include "access_model.h"
#include "memory.h"
#include "status.h"
#include "tap.h"

#define MIB	(1ULL << 20)
#define SIZE	(32 * MIB)
#define PAGES	(SIZE / MODEL_PAGE)
#define VM	1000	/* a descriptor that is never used */

/* Finds the permissions of the mapping at @addr, and whether it maps a file. */
static bool mapped(const void *addr, char permissions[5], bool *file)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long start, end, inode;
	bool found = false;
	char line[512];

	while (f && !found && fgets(line, sizeof(line), f)) {
		found = sscanf(line, "%lx-%lx %4s %*s %*s %lu", &start, &end, permissions, &inode) == 4 &&
			start <= (uintptr_t)addr && (uintptr_t)addr < end;
		*file = inode;
	}
	if (f)
		fclose(f);
	return found;
}

static void test_sealed(void)
{
	struct memory memory;
	char permissions[5];
	uint8_t byte = 0, two[2];
	void *was, *shared;
	bool file;

	model_reset(0);
	if (!ok(!memory_create(&memory, VM, MEMORY_SEALED, SIZE), "sealed memory is created"))
		return;
	ok(model.flags == (GUESTMEM_MMAP | GUESTMEM_NO_DIRECT_MAP), "such that it starts closed");
	ok(model_all_at(0, PAGES, GUESTMEM_ACCESS_USER), "the VMM may write it");
	was = memory.base;
	memset(memory_at(&memory, MEMORY_BASE + SIZE - 4, 4), 0x5a, 4);

	ok(!memory_seal(&memory), "sealed");
	ok(model_all_at(0, PAGES, GUESTMEM_ACCESS_NONE), "it is at level NONE");
	ok(!memory_at(&memory, MEMORY_BASE, 1) && !memory.base, "nor do we have an address of it");
	ok(mapped(was, permissions, &file) && !strcmp(permissions, "---p") && !file,
	   "where it was nothing else can come");
	ok(model.region[0].userspace_addr == (uintptr_t)was &&
	   model.region[0].guest_memfd == (unsigned int)memory.fd, "that is where KVM knows it");
	ok(pread(memory.fd, &byte, 1, SIZE - 4) == 1 && byte == 0x5a, "what was written is there");
	ok(!memory_read(&memory, MEMORY_BASE, &byte, 1) && !memory_shared_at(&memory, MEMORY_BASE, 1),
	   "nor for a device");
	ok(!memory_share(&memory), "but a device may have what is shared");
	byte = 0;
	ok(memory_read(&memory, MEMORY_BASE + SIZE - 4, &byte, 1) && byte == 0x5a, "it reads");
	ok(memory_write(&memory, MEMORY_BASE + SIZE - 3, "x", 1) &&
	   pread(memory.fd, &byte, 1, SIZE - 3) == 1 && byte == 'x', "it writes");
	ok(!memory_read(&memory, MEMORY_BASE + SIZE - 1, two, 2), "not behind the end");
	shared = memory.shared;
	memory_destroy(&memory);
	ok(!mapped(shared, permissions, &file), "in the end that mapping is gone");
	ok(!mapped(was, permissions, &file), "in the end the place is free");
}

static void test_held(void)
{
	struct memory memory;

	model_reset(0);
	if (!ok(!memory_create(&memory, VM, MEMORY_SEALED, SIZE), "sealed memory is created"))
		return;
	model.held_page = 7;
	model.held_tries = 1 << 30;
	ok(memory_seal(&memory) == STATUS_ERROR, "a page is held: it is not sealed, and we say so");
	memory_destroy(&memory);
}

static void test_guest_controlled(void)
{
	struct memory memory;

	model_reset(0);
	if (!ok(!memory_create(&memory, VM, MEMORY_GUEST_CONTROLLED, SIZE),
		"guest-controlled memory is created"))
		return;
	ok(model.flags == (GUESTMEM_MMAP | GUESTMEM_NO_DIRECT_MAP) &&
	   model_all_at(0, PAGES, GUESTMEM_ACCESS_KERNEL), "the host may use it to begin with");
	ok(!memory_seal(&memory) && memory_at(&memory, 0, 1) == memory.base &&
	   model_all_at(0, PAGES, GUESTMEM_ACCESS_KERNEL), "and after the guest is loaded");
	memory_destroy(&memory);
}

static void test_others(void)
{
	struct memory memory;

	model_reset(0);
	ok(!memory_create(&memory, VM, MEMORY_HIDDEN, SIZE) && !memory_seal(&memory) &&
	   memory_at(&memory, 0, 1) && !model.tries, "hidden memory: no level is set");
	memory_destroy(&memory);

	model_reset(0);
	model.absent = true;
	ok(memory_create(&memory, VM, MEMORY_SEALED, SIZE) == STATUS_ERROR && memory.fd < 0 &&
	   !memory.base, "sealed memory without levels: refused, with nothing left behind");
	ok(memory_create(&memory, VM, MEMORY_GUEST_CONTROLLED, SIZE) == STATUS_ERROR,
	   "guest-controlled memory without levels: refused");
}

int main(void)
{
	test_sealed();
	test_held();
	test_guest_controlled();
	test_others();
	return done_testing();
}
