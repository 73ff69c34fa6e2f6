/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A model of a kernel whose guest_memfd has access levels, for the ioctls that
 * the library and the VMM make before any vCPU exists. It has one file, to which
 * every descriptor refers. A memfd provides its contents and mappings.
 */
#ifndef ACCESS_MODEL_H
#define ACCESS_MODEL_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guestmem.h"
#include "guestmem_abi.h"

#define MODEL_PAGE	4096ULL
#define MODEL_MAX_PAGES	16384

static struct {
	bool absent;			/* the kernel has no access levels */
	unsigned int pages;		/* size of the file */
	uint8_t level[MODEL_MAX_PAGES];
	int held_page, held_tries;	/* a reference holds the page for so many tries */
	int poisoned_page;
	int tries;			/* number of attempts to set a level */
	uint64_t flags;			/* with which the file was created */
	struct guestmem_abi_region2 region[2];
} model;

static inline void model_reset(unsigned int pages)
{
	memset(&model, 0, sizeof(model));
	model.pages = pages;
	model.held_page = model.poisoned_page = -1;
}

static inline bool model_all_at(uint64_t first, uint64_t pages, uint8_t level)
{
	for (uint64_t i = first; i < first + pages; i++)
		if (model.level[i] != level)
			return false;
	return true;
}

static inline int model_set_access(struct guestmem_abi_access *args)
{
	uint64_t first = args->offset / MODEL_PAGE, last = first + args->size / MODEL_PAGE;
	int error = 0;

	model.tries++;
	if (args->offset % MODEL_PAGE || args->size % MODEL_PAGE || !args->size ||
	    last > model.pages || args->level > GUESTMEM_ACCESS_KERNEL || args->flags ||
	    args->error_offset || args->reserved[0] || args->reserved[1] ||
	    args->reserved[2] || args->reserved[3])
		return EINVAL;
	for (uint64_t i = first; i < last; i++) {
		if (model.held_tries && (int)i == model.held_page) {
			model.held_tries--;
			error = EAGAIN;
		} else if ((int)i == model.poisoned_page) {
			error = EHWPOISON;
		}
		if (error) {
			args->error_offset = i * MODEL_PAGE;
			return error;
		}
	}
	memset(model.level + first, args->level, last - first);
	return 0;
}

static inline int model_get_access(struct guestmem_abi_access *args)
{
	uint64_t first = args->offset / MODEL_PAGE, i;

	if (args->offset % MODEL_PAGE || first >= model.pages || args->flags || args->reserved[0])
		return EINVAL;
	for (i = first; i < model.pages && model.level[i] == model.level[first]; i++)
		;
	args->level = model.level[first];
	args->size = (i - first) * MODEL_PAGE;
	return 0;
}

static inline int model_create(const struct guestmem_abi_create *args)
{
	int fd = memfd_create("guest_memfd", 0);

	if (ftruncate(fd, args->size))
		return -1;
	model.pages = args->size / MODEL_PAGE;
	model.flags = args->flags;
	return fd;
}

/* Takes the place of the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *args;

	va_start(ap, request);
	args = va_arg(ap, void *);
	va_end(ap);

	if (request == GUESTMEM_ABI_CHECK_EXTENSION)
		return 7;	/* all flags; of the others, yes */
	if (request == GUESTMEM_ABI_CREATE_GUEST_MEMFD)
		return model_create(args);
	errno = ENOTTY;
	if (fd < 0) {
		errno = EBADF;
	} else if (request == GUESTMEM_ABI_SET_USER_MEMORY_REGION2) {
		struct guestmem_abi_region2 *region = args;

		model.region[region->slot & 1] = *region;
		errno = 0;
	} else if (!model.absent && request == GUESTMEM_ABI_SET_ACCESS) {
		errno = model_set_access(args);
	} else if (!model.absent && request == GUESTMEM_ABI_GET_ACCESS) {
		errno = model_get_access(args);
	}
	return errno ? -1 : 0;
}

#endif
