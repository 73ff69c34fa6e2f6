/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtio device with one queue, by its registers in memory (virtio 1.2, "Virtio
 * over MMIO").  The guest is not trusted: it may put any number anywhere.
 *
 * The device needs VIRTIO_F_ACCESS_PLATFORM, so that a guest uses for its queue and
 * its buffers only memory that it shares with its host, if there is a difference.
 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

#define VIRTIO_QUEUE_MAX	64	/* descriptors */

/* A part of the guest's memory; nothing is known of @addr but that the guest gave it. */
struct virtio_segment {
	uint64_t addr;
	uint32_t len;
};

/* What the driver wrote for the device comes first, then what the device is to write. */
struct virtio_request {
	unsigned int nr_out, nr_in;
	struct virtio_segment segments[VIRTIO_QUEUE_MAX];
};

/* Called in the thread of a vCPU. */
struct virtio_operations {
	/* The interrupt alone is locked, so that a driver never waits for a request there. */
	void (*interrupt)(void *context, bool level);
	/*
	 * Do what the driver requests, with the device locked.
	 * Return: how many bytes it can read of what was written, from the first on;
	 * negative if the request makes no sense.
	 */
	int64_t (*request)(void *context, const struct virtio_request *request);
};

struct virtio_queue {
	uint32_t size;
	bool ready;
	uint64_t descriptors, available, used;
	uint16_t next_available, next_used;
};

struct virtio {
	pthread_mutex_t lock;
	const struct virtio_operations *ops;
	void *context;
	const struct memory *memory;
	uint32_t id;			/* the kind of device */
	const char *name;		/* of the same, for messages */
	uint64_t features;		/* of that kind */
	const atomic_int *ending;	/* not 0: no more requests are served */
	const uint8_t *config;
	uint32_t config_size;

	bool told;			/* that it needed a reset */
	pthread_mutex_t interrupt_lock;	/* taken last; for the interrupt */
	uint32_t status;		/* written with both locked */
	uint32_t interrupt_status;	/* with @interrupt_lock alone */
	uint32_t feature_word, driver_feature_word, queue_number;
	uint64_t driver_features;
	struct virtio_queue queue;
};

/* The caller has set the members before @told, and zeroed the others. */
void virtio_init(struct virtio *virtio);

/* An access of the guest to the register at @offset, of @len bytes at @data. */
void virtio_read(struct virtio *virtio, uint64_t offset, void *data, uint32_t len);
void virtio_write(struct virtio *virtio, uint64_t offset, const void *data, uint32_t len);

#endif
