/* SPDX-License-Identifier: GPL-2.0-only */
/* A virtio-blk device that makes a file the guest's disk. */
#ifndef DISK_H
#define DISK_H

#include <linux/kvm.h>
#include <linux/virtio_blk.h>
#include <stdbool.h>

#include "virtio.h"

struct disk {
	int fd;				/* -1: the guest has no disk */
	uint64_t sectors;		/* of 512 bytes */
	struct virtio_blk_config config;
	struct virtio virtio;
	void (*interrupt)(void *context, bool level);
	void *context;
};

/* Returns NULL, or the reason why the file cannot be a disk. */
const char *disk_open(struct disk *disk, const char *path);
void disk_close(struct disk *disk);

/*
 * Initialises the device of the guest with @memory.  The device stops serving
 * requests when @ending is not 0.
 */
void disk_start(struct disk *disk, const struct memory *memory, const atomic_int *ending,
		void (*interrupt)(void *context, bool level), void *context);

/* Handles the exit for an access to the device's register at @offset. */
void disk_exit(struct disk *disk, uint64_t offset, struct kvm_run *run);

#endif
