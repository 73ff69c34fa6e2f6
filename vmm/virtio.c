// SPDX-License-Identifier: GPL-2.0-only
#include <endian.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "message.h"
#include "virtio.h"

#define MAGIC		0x74726976	/* "virt" */
#define VERSION		2
#define VENDOR		0x554d4d47	/* "GMMU", an arbitrary ID */
#define REGISTER_SIZE	4

/* Every device type has these features. */
#define FEATURES	(1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_ACCESS_PLATFORM)

/* The status in which the device serves requests. */
#define STATUS_RUNNING	(VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)
#define STATUS_MASK	(STATUS_RUNNING | VIRTIO_CONFIG_S_NEEDS_RESET)

/* The driver may set these bits; only the device sets NEEDS_RESET. */
#define STATUS_WRITABLE	(0xff & ~VIRTIO_CONFIG_S_NEEDS_RESET)

static void update_interrupt(struct virtio *virtio)
{
	virtio->ops->interrupt(virtio->context, virtio->interrupt_status);
}

/* Sets bits of the status and raises an interrupt with its reason. */
static void raise_interrupt(struct virtio *virtio, uint32_t status, uint32_t reason)
{
	pthread_mutex_lock(&virtio->interrupt_lock);
	virtio->status |= status;
	virtio->interrupt_status |= reason;
	update_interrupt(virtio);
	pthread_mutex_unlock(&virtio->interrupt_lock);
}

/*
 * Stops the device until the guest resets it, because the queue is malformed.
 */
static void need_reset(struct virtio *virtio, const char *why)
{
	/* Print only once, so that a guest cannot fill a log. */
	if (!virtio->warned)
		say("the guest's %s needs a reset: %s", virtio->name, why);
	virtio->warned = true;
	raise_interrupt(virtio, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_MMIO_INT_CONFIG);
}

static void reset(struct virtio *virtio)
{
	virtio->feature_word = virtio->driver_feature_word = virtio->queue_number = 0;
	virtio->driver_features = 0;
	virtio->queue = (struct virtio_queue){ .size = VIRTIO_QUEUE_MAX };
	/*
	 * Clear the status last: a driver that reads 0 knows that the reset is
	 * done.
	 */
	pthread_mutex_lock(&virtio->interrupt_lock);
	virtio->status = virtio->interrupt_status = 0;
	update_interrupt(virtio);
	pthread_mutex_unlock(&virtio->interrupt_lock);
}

void virtio_init(struct virtio *virtio)
{
	pthread_mutex_init(&virtio->lock, NULL);
	pthread_mutex_init(&virtio->interrupt_lock, NULL);
	virtio->queue.size = VIRTIO_QUEUE_MAX;
}

static bool read_u16(const struct virtio *virtio, uint64_t addr, uint16_t *value)
{
	if (!memory_read(virtio->memory, addr, value, sizeof(*value)))
		return false;
	*value = le16toh(*value);
	return true;
}

/*
 * Reads the chain of descriptors that begins at @head.  A chain with more
 * descriptors than the queue is malformed, so the loop ends in a circular chain
 * too.
 * Return: NULL, or the error.
 */
static const char *read_chain(const struct virtio *virtio, uint16_t head,
			      struct virtio_request *request)
{
	const struct virtio_queue *queue = &virtio->queue;
	struct vring_desc desc;
	uint16_t flags;

	request->nr_out = request->nr_in = 0;
	do {
		unsigned int nr = request->nr_out + request->nr_in;

		if (head >= queue->size)
			return "a descriptor's number is too large";
		if (nr == queue->size)
			return "a request has too many descriptors";
		if (!memory_read(virtio->memory, queue->descriptors + head * sizeof(desc), &desc,
				 sizeof(desc)))
			return "cannot read its descriptors";
		flags = le16toh(desc.flags);
		if (flags & VRING_DESC_F_INDIRECT)
			return "a descriptor is indirect";
		if (flags & VRING_DESC_F_WRITE)
			request->nr_in++;
		else if (request->nr_in)
			return "a descriptor for reading follows one for writing";
		else
			request->nr_out++;
		request->segments[nr] = (struct virtio_segment){
			.addr = le64toh(desc.addr), .len = le32toh(desc.len),
		};
		head = le16toh(desc.next);
	} while (flags & VRING_DESC_F_NEXT);
	return NULL;
}

/*
 * The kernel may copy the index byte by byte while the driver increments it, so
 * a copy may be torn.  Copy it until two copies agree: the driver cannot have
 * added 256 between them.  A correct driver stops incrementing the index when
 * the queue is full, so a limited number of copies is enough.
 * Return: NULL, or the error.
 */
static const char *read_index(const struct virtio *virtio, uint16_t *index)
{
	const struct virtio_queue *queue = &virtio->queue;
	uint64_t at = queue->available + offsetof(struct vring_avail, idx);
	uint16_t before;

	if (!read_u16(virtio, at, index))
		return "cannot read its available ring";
	for (unsigned int i = 0; i <= 2 * queue->size; i++) {
		before = *index;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!read_u16(virtio, at, index))
			return "cannot read its available ring";
		if (*index == before)
			return NULL;
	}
	return "the index of its available ring changes all the time";
}

/* Returns NULL, or the error. */
static const char *put_used(struct virtio *virtio, uint16_t head, uint32_t written)
{
	struct virtio_queue *queue = &virtio->queue;
	struct vring_used_elem elem = { .id = htole32(head), .len = htole32(written) };
	uint64_t at = offsetof(struct vring_used, ring) +
		      queue->next_used % queue->size * sizeof(elem);

	queue->next_used++;
	if (!memory_write(virtio->memory, queue->used + at, &elem, sizeof(elem)))
		return "cannot write its used ring";
	/* Make the element and the data visible before the index. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/*
	 * Another CPU of the guest may read the index now, so increment it
	 * atomically. The index is the upper half of a little-endian number of
	 * 32 bits.
	 */
	if (!memory_add(virtio->memory, queue->used, 16))
		return "cannot write its used ring";
	return NULL;
}

static const char *serve(struct virtio *virtio)
{
	struct virtio_queue *queue = &virtio->queue;
	uint64_t at = offsetof(struct vring_avail, ring) +
		      queue->next_available % queue->size * sizeof(uint16_t);
	struct virtio_request request;
	uint16_t head, flags;
	const char *error;
	int64_t written;

	if (!read_u16(virtio, queue->available + at, &head))
		return "cannot read its available ring";
	queue->next_available++;
	error = read_chain(virtio, head, &request);
	if (error)
		return error;
	written = virtio->ops->request(virtio->context, &request);
	if (written < 0)
		return "a request is malformed";
	error = put_used(virtio, head, written);
	if (error)
		return error;
	/*
	 * Raise the interrupt before the next request, which may take long.
	 * Order the write of the index before the read of the flags: a driver
	 * that enables interrupts writes the flags before it reads the index.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!read_u16(virtio, queue->available, &flags))
		return "cannot read its available ring";
	if (!(flags & VRING_AVAIL_F_NO_INTERRUPT))
		raise_interrupt(virtio, 0, VIRTIO_MMIO_INT_VRING);
	return NULL;
}

/*
 * Serves the requests that the driver had added before its notification.  The
 * driver sends another notification for requests that it adds later; if this
 * function served them as well, a guest could occupy the thread forever.
 * Return: NULL, or the error.
 */
static const char *serve_all(struct virtio *virtio)
{
	struct virtio_queue *queue = &virtio->queue;
	const char *error;
	uint16_t index;

	error = read_index(virtio, &index);
	if (error)
		return error;
	if ((uint16_t)(index - queue->next_available) > queue->size)
		return "its available ring has more requests than descriptors";
	/* Read the requests after the index: the driver writes them before it. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	while (index != queue->next_available && !atomic_load(virtio->ending)) {
		error = serve(virtio);
		if (error)
			return error;
	}
	return NULL;
}

static void notified(struct virtio *virtio, uint32_t number)
{
	struct virtio_queue *queue = &virtio->queue;
	const char *error;

	if (number || !queue->ready || (virtio->status & STATUS_MASK) != STATUS_RUNNING)
		return;
	error = serve_all(virtio);
	if (error)
		need_reset(virtio, error);
}

static uint64_t features(const struct virtio *virtio)
{
	return FEATURES | virtio->features;
}

static void set_status(struct virtio *virtio, uint32_t status)
{
	if (!status) {
		reset(virtio);
		return;
	}
	/*
	 * The driver reads the bit back; clear, it means that the device
	 * refuses.
	 */
	if ((virtio->driver_features & ~features(virtio)) ||
	    (virtio->driver_features & FEATURES) != FEATURES)
		status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	pthread_mutex_lock(&virtio->interrupt_lock);
	virtio->status = (status & STATUS_WRITABLE) |
			 (virtio->status & VIRTIO_CONFIG_S_NEEDS_RESET);
	pthread_mutex_unlock(&virtio->interrupt_lock);
}

static void set_queue_ready(struct virtio *virtio, uint32_t value)
{
	struct virtio_queue *queue = &virtio->queue;

	queue->ready = value && queue->size && queue->descriptors % VRING_DESC_ALIGN_SIZE == 0 &&
		       queue->available % VRING_AVAIL_ALIGN_SIZE == 0 &&
		       queue->used % VRING_USED_ALIGN_SIZE == 0;
	queue->next_available = queue->next_used = 0;
}

static void set_half(uint64_t *number, unsigned int half, uint32_t value)
{
	if (half > 1)
		return;
	*number &= ~(0xffffffffULL << half * 32);
	*number |= (uint64_t)value << half * 32;
}

static void write_queue(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	struct virtio_queue *queue = &virtio->queue;

	/* The driver must not change the addresses while the queue is in use. */
	if (virtio->queue_number || (queue->ready && offset != VIRTIO_MMIO_QUEUE_READY))
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		/* The size must be a power of two, because the indices wrap. */
		queue->size = value <= VIRTIO_QUEUE_MAX && !(value & (value - 1)) ? value : 0;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		set_queue_ready(virtio, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&queue->descriptors, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&queue->available, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&queue->used, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	}
}

static void write_register(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		virtio->feature_word = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		virtio->driver_feature_word = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (!(virtio->status & VIRTIO_CONFIG_S_FEATURES_OK))
			set_half(&virtio->driver_features, virtio->driver_feature_word, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		virtio->queue_number = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		notified(virtio, value);
		break;
	case VIRTIO_MMIO_STATUS:
		set_status(virtio, value);
		break;
	default:
		write_queue(virtio, offset, value);
	}
}

static uint32_t read_register(const struct virtio *virtio, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return virtio->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return virtio->feature_word > 1 ? 0 :
		       features(virtio) >> virtio->feature_word * 32;
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return virtio->queue_number ? 0 : VIRTIO_QUEUE_MAX;
	case VIRTIO_MMIO_QUEUE_READY:
		return !virtio->queue_number && virtio->queue.ready;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
		return UINT32_MAX;	/* the device has no shared memory */
	}
	return 0;
}

/*
 * Reads a register that interrupt handlers read, holding only @interrupt_lock,
 * because another vCPU may hold @lock while it serves a request.
 * Return: false if @offset is another register.
 */
static bool read_quickly(struct virtio *virtio, uint64_t offset, uint32_t *value)
{
	if (offset != VIRTIO_MMIO_INTERRUPT_STATUS && offset != VIRTIO_MMIO_STATUS)
		return false;
	pthread_mutex_lock(&virtio->interrupt_lock);
	*value = offset == VIRTIO_MMIO_STATUS ? virtio->status : virtio->interrupt_status;
	pthread_mutex_unlock(&virtio->interrupt_lock);
	return true;
}

static void acknowledge(struct virtio *virtio, uint32_t value)
{
	pthread_mutex_lock(&virtio->interrupt_lock);
	virtio->interrupt_status &= ~value;
	/*
	 * The interrupt may be edge-triggered: make an edge for the remaining
	 * reasons.
	 */
	if (virtio->interrupt_status)
		virtio->ops->interrupt(virtio->context, false);
	update_interrupt(virtio);
	pthread_mutex_unlock(&virtio->interrupt_lock);
}

void virtio_read(struct virtio *virtio, uint64_t offset, void *data, uint32_t len)
{
	uint32_t value;

	memset(data, 0, len);
	if (offset >= VIRTIO_MMIO_CONFIG) {
		offset -= VIRTIO_MMIO_CONFIG;
		if (offset < virtio->config_size && len <= virtio->config_size - offset)
			memcpy(data, virtio->config + offset, len);
		return;
	}
	if (len != REGISTER_SIZE)
		return;
	if (!read_quickly(virtio, offset, &value)) {
		pthread_mutex_lock(&virtio->lock);
		value = read_register(virtio, offset);
		pthread_mutex_unlock(&virtio->lock);
	}
	value = htole32(value);
	memcpy(data, &value, sizeof(value));
}

void virtio_write(struct virtio *virtio, uint64_t offset, const void *data, uint32_t len)
{
	uint32_t value;

	if (offset >= VIRTIO_MMIO_CONFIG || len != REGISTER_SIZE)
		return;
	memcpy(&value, data, sizeof(value));
	value = le32toh(value);
	if (offset == VIRTIO_MMIO_INTERRUPT_ACK) {
		acknowledge(virtio, value);
		return;
	}
	pthread_mutex_lock(&virtio->lock);
	write_register(virtio, offset, value);
	pthread_mutex_unlock(&virtio->lock);
}
