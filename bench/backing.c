// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backing.h"
#include "guestmem.h"
#include "hardware.h"
#include "measure.h"
#include "procfs.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret	447
#endif

#define BLOCK_ORDER	"/sys/module/guest_memfd/parameters/block_order"
#define HUGE_PAGES	"/proc/sys/vm/nr_hugepages"
/* The program mounts a file system at this path plus the type. */
#define MOUNTS		"/tmp/bench-"
#define PLAIN_FLAGS	(GUESTMEM_MMAP | GUESTMEM_INIT_SHARED)
#define HIDDEN_FLAGS	(PLAIN_FLAGS | GUESTMEM_NO_DIRECT_MAP)

static const char * const names[NR_BACKINGS] = {
	[PLAIN] = "plain", [HIDDEN] = "hidden", [HIDDEN_0] = "hidden-0",
	[SECRET] = "secret", [SHMEM] = "shmem", [THP] = "thp", [HUGE] = "huge",
	[MOUNT] = "mount", [TMPFS] = "tmpfs",
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

/* Sets the block order of files that are created from now on. */
static void set_block_order(const char *order)
{
	procfs_write(BLOCK_ORDER, order);
}

static bool has_block_order(void)
{
	return !access(BLOCK_ORDER, W_OK);
}

static int secret_fd(void)
{
	return syscall(SYS_memfd_secret, O_CLOEXEC);
}

static bool has_file_system(const char *name)
{
	char line[128], word[64];
	FILE *f = fopen("/proc/filesystems", "re");
	bool found = false;

	if (!f)
		die(errno, "/proc/filesystems");
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "nodev %63s", word) == 1 && !strcmp(word, name);
	fclose(f);
	return found;
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
	if (wanted & BACKING_BIT(MOUNT) && !has_file_system("guestmem")) {
		note("mount is left out: this kernel has no file system guestmem");
		offered &= ~BACKING_BIT(MOUNT);
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

/* Protects the two counts below: figures destroy regions in several threads. */
static pthread_mutex_t huge_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long huge_needed;	/* pages that the existing regions need */
static unsigned long huge_reserved;	/* pages in hugetlbfs's pool */

static unsigned long huge_pages(unsigned long want)
{
	unsigned long got = 0;
	FILE *f = fopen(HUGE_PAGES, "r+e");

	if (!f || fprintf(f, "%lu", want) < 0 || fflush(f))
		die(errno, HUGE_PAGES);
	rewind(f);
	if (fscanf(f, "%lu", &got) != 1)
		die(errno, HUGE_PAGES);
	fclose(f);
	return got;
}

/* The caller must hold huge_lock. */
static void reserve_huge_pages(void)
{
	unsigned long got;

	if (huge_reserved == huge_needed)
		return;
	got = huge_pages(huge_needed);
	/* Other figures may have fragmented memory or filled per-CPU lists. */
	for (int i = 0; i < 3 && got < huge_needed; i++) {
		procfs_write("/proc/sys/vm/drop_caches", "3");
		procfs_write("/proc/sys/vm/compact_memory", "1");
		got = huge_pages(huge_needed);
	}
	if (got < huge_needed)
		die(0, "the kernel has %lu of %lu huge pages", got, huge_needed);
	huge_reserved = huge_needed;
}

void backing_return_huge_pages(void)
{
	pthread_mutex_lock(&huge_lock);
	reserve_huge_pages();
	pthread_mutex_unlock(&huge_lock);
}

/* Runs after die() in reserve_huge_pages() too: takes no lock, calls no die(). */
static void return_all_huge_pages(void)
{
	int fd = open(HUGE_PAGES, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) != 1)
		fprintf(stderr, "bench: " HUGE_PAGES ": %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
}

uint64_t backing_try_huge_pages(uint64_t want)
{
	uint64_t got;

	pthread_mutex_lock(&huge_lock);
	got = huge_pages(want);
	huge_reserved = huge_pages(huge_needed);
	pthread_mutex_unlock(&huge_lock);
	return got;
}

static void huge_region(uint64_t size)
{
	static bool at_exit;

	pthread_mutex_lock(&huge_lock);
	huge_needed += size / BLOCK;
	reserve_huge_pages();
	if (!at_exit)
		atexit(return_all_huge_pages);
	at_exit = true;
	pthread_mutex_unlock(&huge_lock);
}

static void huge_region_ends(uint64_t size)
{
	pthread_mutex_lock(&huge_lock);
	huge_needed -= size / BLOCK;
	pthread_mutex_unlock(&huge_lock);
}

static void unmount_all(void)
{
	/* Ignore errors: a file system may not be mounted. */
	umount2(MOUNTS "guestmem", MNT_DETACH);
	umount2(MOUNTS "tmpfs", MNT_DETACH);
}

/* Opens an unnamed file on a mount that exists until the program ends. */
static int file_on(const char *type, const char *options, bool *mounted)
{
	static bool at_exit;
	char path[64];

	snprintf(path, sizeof(path), MOUNTS "%s", type);
	if (!*mounted) {
		if ((mkdir(path, 0700) && errno != EEXIST) || mount(type, path, type, 0, options))
			die(errno, "mount %s", type);
		*mounted = true;
		if (!at_exit)
			atexit(unmount_all);
		at_exit = true;
	}
	return open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

static int open_file(struct region *r)
{
	static bool hidden_mounted, tmpfs_mounted;

	switch (r->backing) {
	case SECRET:
		return secret_fd();
	case SHMEM:
		return memfd_create("bench", MFD_CLOEXEC);
	case HUGE:
		return memfd_create("bench", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	case MOUNT:
		set_block_order("9");
		return file_on("guestmem", "size=90%", &hidden_mounted);
	case TMPFS:
		return file_on("tmpfs", "size=90%,huge=always", &tmpfs_mounted);
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

/* Maps at a multiple of 2 MiB, as the kernel needs it for a huge page. */
static void map_aligned(struct region *r)
{
	char *start = mmap(NULL, r->size + BLOCK, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t before;

	if (start == MAP_FAILED)
		die(errno, "anonymous memory");
	before = -(uintptr_t)start % BLOCK;
	r->base = start + before;
	if ((before && munmap(start, before)) ||
	    munmap(r->base + r->size, BLOCK - before))
		die(errno, "anonymous memory");
	if (r->backing == THP) {
		if (madvise(r->base, r->size, MADV_HUGEPAGE))
			die(errno, "anonymous memory in huge pages");
	} else if (mmap(r->base, r->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, r->fd,
			0) != r->base) {
		die(errno, "mmap %s", names[r->backing]);
	}
}

void region_create(struct region *r, enum backing backing, uint64_t size)
{
	*r = (struct region){ .backing = backing, .size = size };
	r->vm = ioctl(backing_kvm(), KVM_CREATE_VM, 0UL);
	if (r->vm < 0)
		die(errno, "KVM_CREATE_VM");
	if (backing == HUGE)
		huge_region(size);
	else
		backing_return_huge_pages();
	if (backing == THP) {
		r->fd = -1;
		map_aligned(r);
		return;
	}
	r->fd = open_file(r);
	if (r->fd < 0)
		die(errno, "a file of %s memory", names[backing]);
	if (!backing_is_guest_memfd(backing) && ftruncate(r->fd, size))
		die(errno, "ftruncate");
	if (backing == MOUNT || backing == TMPFS) {
		map_aligned(r);
		return;
	}
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
	if (r->backing == THP ? madvise(r->base, r->size, MADV_POPULATE_WRITE) :
				fallocate(r->fd, FALLOC_FL_KEEP_SIZE, 0, r->size))
		die(errno, "fallocate %s", names[r->backing]);
}

void region_punch(struct region *r)
{
	if (r->backing == THP ? madvise(r->base, r->size, MADV_DONTNEED) :
				fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
					  r->size))
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
 * A worker clears hidden memory after its file was closed, at least 4 MiB in
 * this time.  Wait, so that the worker does not run during the next
 * measurement.
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
	if (r->backing == HUGE)
		huge_region_ends(r->size);
	if (backing_has_blocks(r->backing) || r->backing == HIDDEN_0)
		settle();
}

void region_clear(struct region *r)
{
	for (uint64_t at = 0; at < r->size; at += PAGE)
		hardware_clear_page(r->base + at);
}
