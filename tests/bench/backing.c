// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backing.h"
#include "guestmem.h"
#include "measure.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret	447
#endif

#define BLOCK_ORDER	"/sys/module/guest_memfd/parameters/block_order"
#define PLAIN_FLAGS	(GUESTMEM_MMAP | GUESTMEM_INIT_SHARED)
#define HIDDEN_FLAGS	(PLAIN_FLAGS | GUESTMEM_NO_DIRECT_MAP)

static const char * const names[NR_BACKINGS] = {
	[PLAIN] = "plain", [HIDDEN] = "hidden", [HIDDEN_0] = "hidden-0",
	[SECRET] = "secret", [SHMEM] = "shmem",
};

const char *backing_name(enum backing backing)
{
	return names[backing];
}

unsigned int backing_parse(const char *list)
{
	unsigned int set = 0;

	while (*list) {
		size_t len = strcspn(list, ",");
		unsigned int b = 0;

		while (b < NR_BACKINGS && (strlen(names[b]) != len || strncmp(list, names[b], len)))
			b++;
		if (b == NR_BACKINGS)
			return 0;
		set |= BACKING_BIT(b);
		list += len + (list[len] == ',');
	}
	return set;
}

int backing_kvm(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(errno, "/dev/kvm");
	return fd;
}

/* Of files made from now on. */
static void set_block_order(const char *order)
{
	int fd = open(BLOCK_ORDER, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, order, strlen(order)) < 0)
		die(errno, "%s", BLOCK_ORDER);
	close(fd);
}

static bool has_block_order(void)
{
	return !access(BLOCK_ORDER, W_OK);
}

static int secret_fd(void)
{
	return syscall(SYS_memfd_secret, O_CLOEXEC);
}

unsigned int backing_offered(unsigned int wanted)
{
	unsigned int offered = wanted;
	char why[160];

	if (guestmem_explain(backing_kvm(), PLAIN_FLAGS, why, sizeof(why)))
		die(0, "nothing to compare with: %s", why);
	if (guestmem_explain(backing_kvm(), HIDDEN_FLAGS, why, sizeof(why))) {
		note("hidden and hidden-0 are left out: %s", why);
		offered &= ~(BACKING_BIT(HIDDEN) | BACKING_BIT(HIDDEN_0));
	} else if (!has_block_order() && wanted & BACKING_BIT(HIDDEN)) {
		note("hidden is left out: this kernel has no blocks (no %s), all it hides is hidden-0",
		     BLOCK_ORDER);
		offered &= ~BACKING_BIT(HIDDEN);
	}
	if (wanted & BACKING_BIT(SECRET)) {
		int fd = secret_fd();

		if (fd < 0) {
			note("secret is left out: memfd_secret: %s", strerror(errno));
			offered &= ~BACKING_BIT(SECRET);
		} else {
			close(fd);
		}
	}
	return offered;
}

static int open_file(struct region *r)
{
	switch (r->backing) {
	case SECRET:
		return secret_fd();
	case SHMEM:
		return memfd_create("bench", MFD_CLOEXEC);
	case HIDDEN:
		set_block_order("9");
		break;
	case HIDDEN_0:
		if (has_block_order())
			set_block_order("0");
		break;
	default:
		break;
	}
	r->fd = guestmem_create(r->vm, r->size, r->backing == PLAIN ? PLAIN_FLAGS : HIDDEN_FLAGS);
	if (r->fd < 0)
		errno = -r->fd;
	return r->fd;
}

void region_create(struct region *r, enum backing backing, uint64_t size)
{
	*r = (struct region){ .backing = backing, .size = size };
	r->vm = ioctl(backing_kvm(), KVM_CREATE_VM, 0UL);
	if (r->vm < 0)
		die(errno, "KVM_CREATE_VM");
	r->fd = open_file(r);
	if (r->fd < 0)
		die(errno, "a file of %s memory", names[backing]);
	if (!backing_is_guest_memfd(backing) && ftruncate(r->fd, size))
		die(errno, "ftruncate");
	r->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->base == MAP_FAILED)
		die(errno, "mmap %s", names[backing]);
}

void region_touch(struct region *r, uint64_t step)
{
	for (uint64_t at = 0; at < r->size; at += step)
		*(volatile char *)(r->base + at) = 1;
}

void region_fallocate(struct region *r)
{
	if (fallocate(r->fd, FALLOC_FL_KEEP_SIZE, 0, r->size))
		die(errno, "fallocate %s", names[r->backing]);
}

void region_punch(struct region *r)
{
	if (fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, r->size))
		die(errno, "punch a hole into %s", names[r->backing]);
}

void region_unmap(struct region *r)
{
	if (r->base && munmap(r->base, r->size))
		die(errno, "munmap");
	r->base = NULL;
}

void region_close(struct region *r)
{
	region_unmap(r);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

uint64_t free_memory(void)
{
	FILE *f = fopen("/proc/zoneinfo", "re");
	unsigned long pages = 0, n;
	char line[256];

	if (!f)
		die(errno, "/proc/zoneinfo");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " pages free %lu", &n) == 1 ||
		    sscanf(line, " count: %lu", &n) == 1)
			pages += n;
	}
	fclose(f);
	return (uint64_t)pages * PAGE;
}

/*
 * A worker clears hidden memory after its file was closed, 4 MiB in this time at
 * least.  What is measured next is not to run beside it.
 */
#define SETTLE_US	20000

static void settle(void)
{
	uint64_t before, now_free = free_memory();

	do {
		before = now_free;
		usleep(SETTLE_US);
		now_free = free_memory();
	} while (now_free > before + MIB / 4);
}

void region_destroy(struct region *r)
{
	region_close(r);
	close(r->vm);
	if (r->backing == HIDDEN || r->backing == HIDDEN_0)
		settle();
}

static bool cpu_has(const char *flag)
{
	static char text[8192];
	char word[32];
	FILE *f;

	if (!*text) {
		f = fopen("/proc/cpuinfo", "re");
		if (!f || !fread(text, 1, sizeof(text) - 1, f))
			die(errno, "/proc/cpuinfo");
		fclose(f);
	}
	snprintf(word, sizeof(word), " %s ", flag);
	return strstr(text, word) != NULL;
}

/* The kernel's choice: by bytes where that is fast, else by words. */
void region_clear(struct region *r)
{
	bool bytes = cpu_has("erms");

	for (uint64_t at = 0; at < r->size; at += PAGE) {
		uint64_t count = bytes ? PAGE : PAGE / 8;
		char *to = r->base + at;

		if (bytes)
			asm volatile("rep stosb" : "+c"(count), "+D"(to) : "a"(0) : "memory");
		else
			asm volatile("rep stosq" : "+c"(count), "+D"(to) : "a"(0) : "memory");
	}
}
