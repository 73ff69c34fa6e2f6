// SPDX-License-Identifier: GPL-2.0-only
/*
 * lend DEVICE SEED: runs on the host. Creates a hidden guest_memfd, writes the
 * secret of SEED to its pages, and changes the access level of a part of it,
 * which has 1024 pages with the secret and a few without: at level USER a write
 * to DEVICE with O_DIRECT from this part fails, at KERNEL it succeeds, and at
 * USER it fails again. Only pages without the secret are written to DEVICE,
 * which may be memory itself. Prints each result in a line and then waits for a
 * line of input:
 *
 *   lend: at=user write=EFAULT read=none intact=4096
 *   lend: at=kernel write=ok read=ok intact=4096
 *   lend: at=user-again write=EFAULT read=none intact=4096
 */
#define _GNU_SOURCE	/* O_DIRECT */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "guestmem.h"
#include "secret.h"

#define PAGE		4096UL
#define PAGES		4096UL		/* of the file */
#define LENT_FIRST	1000UL		/* neither the first nor the last page of a block */
#define IO_PAGES	64UL		/* the first pages of the lent part */
#define LENT_PAGES	(IO_PAGES + 1024UL)
#define RETRY_MS	1000

static uint64_t seed;

static uint64_t word_at(unsigned long i)
{
	unsigned long page = i / (PAGE / 8);
	uint64_t word = secret_word(seed, i % SECRET_WORDS);

	return page >= LENT_FIRST && page < LENT_FIRST + IO_PAGES ? ~word : word;
}

static void fill(volatile uint64_t *mem)
{
	for (unsigned long i = 0; i < PAGES * PAGE / 8; i++)
		mem[i] = word_at(i);
}

static unsigned long intact(const volatile uint64_t *mem)
{
	unsigned long pages = 0;

	for (unsigned long page = 0; page < PAGES; page++) {
		unsigned long good = 0;

		for (unsigned long i = 0; i < PAGE / 8; i++)
			good += mem[page * PAGE / 8 + i] == word_at(page * PAGE / 8 + i);
		pages += good == PAGE / 8;
	}
	return pages;
}

/* Returns "ok", the name of the error, or "short" for a short transfer. */
static const char *result(ssize_t n)
{
	if (n == (ssize_t)(IO_PAGES * PAGE))
		return "ok";
	return n < 0 ? strerrorname_np(errno) : "short";
}

static void report(const char *at, const char *write, const char *read, const uint64_t *mem)
{
	printf("lend: at=%s write=%s read=%s intact=%lu\n", at, write, read, intact(mem));
	fflush(stdout);
	while (getchar() != '\n' && !feof(stdin))
		;
}

static int create(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0UL);
	int fd;

	if (vm < 0)
		err(1, "cannot create a VM");
	fd = guestmem_create(vm, PAGES * PAGE,
			     GUESTMEM_MMAP | GUESTMEM_INIT_SHARED | GUESTMEM_NO_DIRECT_MAP);
	if (fd < 0)
		errx(1, "cannot create a hidden guest_memfd: %s", strerror(-fd));
	if (guestmem_supported_access(fd))
		errx(1, "this kernel's guest_memfd has no access levels");
	return fd;
}

int main(int argc, char **argv)
{
	uint64_t offset = LENT_FIRST * PAGE, size = LENT_PAGES * PAGE, at = 0;
	size_t io = IO_PAGES * PAGE;
	const char *wrote, *was_read;
	int fd, disk, ret;
	void *mem, *lent;

	if (argc != 3) {
		fprintf(stderr, "usage: lend DEVICE SEED\n");
		return 2;
	}
	seed = strtoull(argv[2], NULL, 0);
	disk = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk < 0)
		err(1, "%s", argv[1]);
	fd = create();
	ret = guestmem_map(fd, 0, PAGES * PAGE, &mem);
	if (ret)
		errx(1, "cannot map the guest_memfd: %s", strerror(-ret));
	lent = (char *)mem + offset;
	fill(mem);
	report("user", result(pwrite(disk, lent, io, 0)), "none", mem);

	ret = guestmem_make_accessible(fd, offset, size, RETRY_MS, &at);
	if (ret)
		errx(1, "cannot set level KERNEL: %s, offset 0x%llx", strerror(-ret),
		     (unsigned long long)at);
	wrote = result(pwrite(disk, lent, io, 0));
	memset(lent, 0, io);
	was_read = result(pread(disk, lent, io, 0));
	report("kernel", wrote, was_read, mem);

	/*
	 * guestmem_make_inaccessible() would remove the access of this process
	 * too.
	 */
	ret = guestmem_set_access(fd, offset, size, GUESTMEM_ACCESS_USER, &at);
	if (ret)
		errx(1, "cannot set level USER: %s, offset 0x%llx", strerror(-ret),
		     (unsigned long long)at);
	report("user-again", result(pwrite(disk, lent, io, 0)), "none", mem);
	return 0;
}
