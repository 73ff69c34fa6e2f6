/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtio device with one queue and with registers in memory (virtio 1.2,
 * "Virtio over MMIO").  The device trusts no number that the guest writes.
 *
 * The device needs VIRTIO_F_ACCESS_PLATFORM.  With this feature a protected
 * guest places its queue and its buffers in memory that it shares with the
 * host.
 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

#define VIRTIO_QUEUE_MAX	64	/* descriptors */

/*
 * A part of guest memory as the guest has written it: @addr may be any number.
 */
struct virtio_segment {
	uint64_t addr;
	uint32_t len;
};

/*
 * The @nr_out segments that the device reads, then the @nr_in that it writes.
 */
struct virtio_request {
	unsigned int nr_out, nr_in;
	struct virtio_segment segments[VIRTIO_QUEUE_MAX];
};

/* The thread of a vCPU calls these. */
struct virtio_operations {
	/*
	 * Only the interrupt is locked, so that its handler never waits for a
	 * request.
	 */
	void (*interrupt)(void *context, bool level);
	/*
	 * Serves a request; the device is locked.
	 * Return: the number of bytes, from the first on, that the driver can
	 * read; negative if the request is malformed.
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
	uint32_t id;			/* device ID of virtio */
	const char *name;		/* for messages */
	uint64_t features;		/* those of the device type */
	const atomic_int *ending;	/* not 0: serve no more requests */
	const uint8_t *config;
	uint32_t config_size;

	bool warned;			/* has printed that it needs a reset */
	pthread_mutex_t interrupt_lock;	/* taken inside @lock */
	uint32_t status;		/* written with both locks held */
	uint32_t interrupt_status;	/* protected by @interrupt_lock */
	uint32_t feature_word, driver_feature_word, queue_number;
	uint64_t driver_features;
	struct virtio_queue queue;
};

/* The caller must have set the members before @warned and zeroed the others. */
void virtio_init(struct virtio *virtio);

/* Handle an access of the guest to @len bytes of the register at @offset. */
void virtio_read(struct virtio *virtio, uint64_t offset, void *data, uint32_t len);
void virtio_write(struct virtio *virtio, uint64_t offset, const void *data, uint32_t len);

#endif
