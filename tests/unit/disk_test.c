// SPDX-License-Identifier: GPL-2.0-only
/* Tests the disk with a driver that obeys the virtio specification and one that does not. */
#include <endian.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "tap.h"

#define PAGE		4096UL
#define SECTORS		64ULL
#define SIZE		(SECTORS * 512)
#define PLACE(page)	(MEMORY_BASE + (page) * PAGE)
#define BEYOND		(MEMORY_BASE + PAGES * PAGE)

/* The use of each page of guest memory.  The guest does not share the page SECRET. */
enum { DESCRIPTORS, AVAILABLE, USED, HEADER, DATA, DATA_2, STATUS, SECRET, LAST, PAGES };
/* The test owns the pages before and after guest memory and fills them with this byte. */
#define OURS		0x3c

static struct memory memory = { .kind = MEMORY_PLAIN, .fd = -1, .size = PAGES * PAGE };
static struct disk disk;
static uint8_t content[SIZE];	/* expected contents of the file */
static bool level;		/* level of the interrupt */
static unsigned int edges;	/* number of rising edges of @level */
static uint16_t added;
static atomic_int ending;	/* the VM ends */

static void raise(void *context, bool on)
{
	(void)context;
	edges += on && !level;
	level = on;
}

static void *page(unsigned int nr)
{
	return memory.base + nr * PAGE;
}

static uint32_t get(uint64_t offset)
{
	uint32_t value;

	virtio_read(&disk.virtio, offset, &value, sizeof(value));
	return le32toh(value);
}

static void set(uint64_t offset, uint32_t value)
{
	value = htole32(value);
	virtio_write(&disk.virtio, offset, &value, sizeof(value));
}

static void set_address(uint64_t low, uint64_t addr)
{
	set(low, addr);
	set(low + 4, addr >> 32);
}

static void offer_features(uint64_t features)
{
	for (unsigned int i = 0; i < 2; i++) {
		set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		set(VIRTIO_MMIO_DRIVER_FEATURES, features >> i * 32);
	}
}

static uint64_t device_features(void)
{
	uint64_t features = 0;

	for (unsigned int i = 0; i < 2; i++) {
		set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, i);
		features |= (uint64_t)get(VIRTIO_MMIO_DEVICE_FEATURES) << i * 32;
	}
	return features;
}

/* Returns whether the device accepts these features. */
static bool negotiate(uint64_t features)
{
	set(VIRTIO_MMIO_STATUS, 0);
	set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	offer_features(features);
	set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
	    VIRTIO_CONFIG_S_FEATURES_OK);
	return get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK;
}

static uint64_t wanted_features = UINT64_MAX;

static void set_queue(uint32_t size, uint64_t descriptors, uint64_t available, uint64_t used)
{
	memset(memory.base, 0, STATUS * PAGE);
	added = 0;
	set(VIRTIO_MMIO_QUEUE_SEL, 0);
	set(VIRTIO_MMIO_QUEUE_NUM, size);
	set_address(VIRTIO_MMIO_QUEUE_DESC_LOW, descriptors);
	set_address(VIRTIO_MMIO_QUEUE_AVAIL_LOW, available);
	set_address(VIRTIO_MMIO_QUEUE_USED_LOW, used);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
}

static void start_at(uint32_t size, uint64_t descriptors, uint64_t available, uint64_t used)
{
	negotiate(device_features() & wanted_features);
	set_queue(size, descriptors, available, used);
	set(VIRTIO_MMIO_STATUS, get(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
}

static void start(void)
{
	start_at(8, PLACE(DESCRIPTORS), PLACE(AVAILABLE), PLACE(USED));
}

static void describe(unsigned int nr, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc *desc = (struct vring_desc *)page(DESCRIPTORS) + nr;

	*desc = (struct vring_desc){ htole64(addr), htole32(len), htole16(flags), htole16(next) };
}

static void add(uint16_t head)
{
	struct vring_avail *avail = page(AVAILABLE);

	avail->ring[added % 8] = htole16(head);
	avail->idx = htole16(++added);
}

static void notify(void)
{
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

static void put_header(uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr header = { .type = htole32(type), .sector = htole64(sector) };

	memcpy(page(HEADER), &header, sizeof(header));
	*(uint8_t *)page(STATUS) = 0xff;
}

static unsigned int flushes;
static bool interrupt_in_flush, acknowledged_in_flush;

/*
 * Replaces the function of the C library, also for the disk.  The disk calls it
 * while it serves a request.  The driver's interrupt handler must be able to
 * read and acknowledge the interrupt meanwhile.
 */
int fdatasync(int fd)
{
	flushes += fd == disk.fd;
	interrupt_in_flush = level && get(VIRTIO_MMIO_INTERRUPT_STATUS) == VIRTIO_MMIO_INT_VRING &&
			     (get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK);
	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	acknowledged_in_flush = !level;
	return 0;
}

/* Makes a request of three descriptors, as Linux does, with the data at @addr. */
static uint8_t request(uint32_t type, uint64_t sector, uint64_t addr, uint32_t len)
{
	uint16_t write = type == VIRTIO_BLK_T_OUT ? 0 : VRING_DESC_F_WRITE;

	put_header(type, sector);
	describe(0, PLACE(HEADER), sizeof(struct virtio_blk_outhdr), VRING_DESC_F_NEXT, len ? 1 : 2);
	describe(1, addr, len, VRING_DESC_F_NEXT | write, 2);
	describe(2, PLACE(STATUS), 1, VRING_DESC_F_WRITE, 0);
	add(0);
	notify();
	return *(uint8_t *)page(STATUS);
}

static uint16_t used(void)
{
	return le16toh(((struct vring_used *)page(USED))->idx);
}

static uint32_t used_len(void)
{
	return le32toh(((struct vring_used *)page(USED))->ring[(used() - 1) % 8].len);
}

static bool needs_reset(void)
{
	return get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static bool file_is(const uint8_t *want)
{
	uint8_t now[SIZE];

	return pread(disk.fd, now, SIZE, 0) == (ssize_t)SIZE && !memcmp(now, want, SIZE);
}

static bool ours_are_untouched(void)
{
	const uint8_t *before = memory.base - PAGE, *behind = page(PAGES);

	for (unsigned int i = 0; i < PAGE; i++) {
		if (before[i] != OURS || behind[i] != OURS)
			return false;
	}
	return true;
}

static void test_found(void)
{
	uint64_t must = 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_ACCESS_PLATFORM, capacity;
	uint8_t byte = 0;

	ok(get(VIRTIO_MMIO_MAGIC_VALUE) == 0x74726976 && get(VIRTIO_MMIO_VERSION) == 2 &&
	   get(VIRTIO_MMIO_DEVICE_ID) == 2, "a block device of virtio 1");
	virtio_read(&disk.virtio, VIRTIO_MMIO_CONFIG, &capacity, sizeof(capacity));
	ok(le64toh(capacity) == SECTORS, "of the file's size");
	virtio_read(&disk.virtio, VIRTIO_MMIO_CONFIG + sizeof(disk.config), &byte, 1);
	ok(!byte, "there is nothing behind its configuration");
	set(VIRTIO_MMIO_QUEUE_SEL, 1);
	ok(!get(VIRTIO_MMIO_QUEUE_NUM_MAX), "no second queue");
	set(VIRTIO_MMIO_QUEUE_SEL, 0);
	ok(get(VIRTIO_MMIO_QUEUE_NUM_MAX) == VIRTIO_QUEUE_MAX, "but the first");

	ok((device_features() & must) == must && negotiate(device_features()), "all its features");
	ok(negotiate(must), "those that it needs");
	ok(!negotiate(1ULL << VIRTIO_F_VERSION_1), "not without those of the platform");
	ok(!negotiate(1ULL << VIRTIO_F_ACCESS_PLATFORM), "not an old driver");
	ok(!negotiate(device_features() | 1ULL << VIRTIO_F_RING_PACKED), "nothing that it has not");
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	ok(!get(VIRTIO_MMIO_DEVICE_FEATURES), "no third word of them");
}

static void test_good(void)
{
	uint8_t wanted[SIZE];

	start();
	level = false;
	ok(request(VIRTIO_BLK_T_IN, 3, PLACE(DATA), 1024) == VIRTIO_BLK_S_OK &&
	   !memcmp(page(DATA), content + 3 * 512, 1024), "two sectors are read");
	ok(used() == 1 && used_len() == 1025, "it says how much");
	ok(level && get(VIRTIO_MMIO_INTERRUPT_STATUS) == VIRTIO_MMIO_INT_VRING, "by an interrupt");
	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	ok(!level, "which ends when the driver has seen it");
	((struct vring_avail *)page(AVAILABLE))->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT);
	ok(request(VIRTIO_BLK_T_IN, SECTORS - 1, PLACE(DATA), 512) == VIRTIO_BLK_S_OK && !level &&
	   !memcmp(page(DATA), content + SIZE - 512, 512), "the last sector, without an interrupt");
	((struct vring_avail *)page(AVAILABLE))->flags = 0;

	memcpy(wanted, content, SIZE);
	memset(wanted + 512, 0xa5, 512);
	memset(page(DATA), 0xa5, 512);
	ok(request(VIRTIO_BLK_T_OUT, 1, PLACE(DATA), 512) == VIRTIO_BLK_S_OK && file_is(wanted) &&
	   used_len() == 1, "a sector is written");
	memcpy(content, wanted, SIZE);
	flushes = 0;
	ok(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0) == VIRTIO_BLK_S_OK && flushes == 1 &&
	   used_len() == 1, "flush");
	ok(request(VIRTIO_BLK_T_GET_ID, 0, PLACE(DATA), VIRTIO_BLK_ID_BYTES) == VIRTIO_BLK_S_OK &&
	   !strcmp(page(DATA), "guestmem"), "its name");
	ok(request(VIRTIO_BLK_T_DISCARD, 0, PLACE(DATA), 16) == VIRTIO_BLK_S_UNSUPP,
	   "a request that it does not know");
	ok(!used_len(), "the device reports no byte before the status as written");
	ok(request(VIRTIO_BLK_T_FLUSH, 0, PLACE(DATA), 16) == VIRTIO_BLK_S_OK && !used_len(),
	   "nor for a flush with room for data");
	ok(request(VIRTIO_BLK_T_IN, SECTORS, PLACE(DATA), 512) == VIRTIO_BLK_S_IOERR && !used_len(),
	   "nor for a read that fails");

	/* Split the data within a sector, and append the status byte to the second part. */
	put_header(VIRTIO_BLK_T_IN, 8);
	describe(0, PLACE(HEADER), 5, VRING_DESC_F_NEXT, 4);
	describe(4, PLACE(HEADER) + 5, 11, VRING_DESC_F_NEXT, 1);
	describe(1, PLACE(DATA), 300, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
	describe(2, PLACE(DATA_2), 213, VRING_DESC_F_WRITE, 0);
	add(0);
	notify();
	ok(!memcmp(page(DATA), content + 8 * 512, 300) && used_len() == 513 &&
	   !memcmp(page(DATA_2), content + 8 * 512 + 300, 212) &&
	   ((uint8_t *)page(DATA_2))[212] == VIRTIO_BLK_S_OK, "parts of any size");

	flushes = 0;
	request(VIRTIO_BLK_T_OUT, 1, PLACE(DATA), 0);
	ok(!flushes, "the driver says when to flush");
	wanted_features = ~(1ULL << VIRTIO_BLK_F_FLUSH);
	start();
	ok(request(VIRTIO_BLK_T_OUT, 1, PLACE(DATA), 0) == VIRTIO_BLK_S_OK && flushes == 1,
	   "or else each write does");
	wanted_features = UINT64_MAX;
	start();

	/* The index wraps once, after 65536 requests; the ring wraps many times. */
	for (unsigned int i = 0; i < 70000; i++)
		request(VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	ok(used() == added && added < 4500 && !needs_reset(), "70000 requests");
	ok(file_is(content), "the file is as it was");
}

static atomic_bool driver_done;
static atomic_bool went_wrong;

/* Returns the used index, which a driver reads by one access. */
static uint16_t used_now(void)
{
	return le16toh(__atomic_load_n(&((struct vring_used *)page(USED))->idx, __ATOMIC_ACQUIRE));
}

/* Runs a vCPU that adds requests and reads the used index while another serves them. */
static void *driver_thread(void *arg)
{
	struct vring_avail *avail = page(AVAILABLE);
	uint16_t seen = 0, index = 0;

	(void)arg;
	for (unsigned int nr = 0; nr < 70000 && !went_wrong;) {
		uint16_t now = used_now();

		/* A torn index is below the last one, or above the number of requests. */
		if ((uint16_t)(now - seen) > (uint16_t)(index - seen))
			went_wrong = true;
		seen = now;
		if ((uint16_t)(index - seen) < 8) {
			__atomic_store_n(&avail->idx, htole16(++index), __ATOMIC_RELEASE);
			nr++;
		}
	}
	atomic_store(&driver_done, true);
	return NULL;
}

static void test_two_cpus(void)
{
	pthread_t thread;

	start();
	/* The device answers this unsupported request without accessing the file. */
	put_header(VIRTIO_BLK_T_DISCARD, 0);
	describe(0, PLACE(HEADER), sizeof(struct virtio_blk_outhdr), VRING_DESC_F_NEXT, 1);
	describe(1, PLACE(STATUS), 1, VRING_DESC_F_WRITE, 0);
	if (!ok(!pthread_create(&thread, NULL, driver_thread, NULL), "a second CPU"))
		return;
	while (!atomic_load(&driver_done) && !needs_reset())
		notify();
	if (needs_reset())
		went_wrong = true;
	pthread_join(thread, NULL);
	ok(!needs_reset(), "the device never reads half an index");
	ok(!went_wrong, "the driver never reads half an index");
}

static void test_interrupt(void)
{
	start();
	put_header(VIRTIO_BLK_T_FLUSH, 0);
	describe(0, PLACE(HEADER), sizeof(struct virtio_blk_outhdr), VRING_DESC_F_NEXT, 1);
	describe(1, PLACE(STATUS), 1, VRING_DESC_F_WRITE, 0);
	add(0);
	add(0);
	notify();
	ok(interrupt_in_flush, "an interrupt while the next request is served");
	ok(acknowledged_in_flush, "which the driver can acknowledge then");
	ok(level && get(VIRTIO_MMIO_INTERRUPT_STATUS) == VIRTIO_MMIO_INT_VRING,
	   "and one for the next");

	/* Two reasons are pending, and the driver acknowledges one of them. */
	add(8);
	notify();
	ok(get(VIRTIO_MMIO_INTERRUPT_STATUS) == (VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG),
	   "an error has the other interrupt");
	edges = 0;
	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	ok(level && edges == 1, "it comes again when the first is acknowledged");
	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	ok(!level && edges == 1, "and ends with the second");
}

/* A guest cannot keep the device busy for ever, nor delay the end of the VM. */
static void test_end(void)
{
	struct vring_avail avail = { .idx = htole16(2) };
	uint8_t sector[512] = { 0 };

	/* The first request reads a sector into the available ring, which adds a second one. */
	memcpy(sector, &avail, sizeof(avail));
	ok(pwrite(disk.fd, sector, sizeof(sector), 0) == sizeof(sector), "a ring on the disk");
	start();
	ok(request(VIRTIO_BLK_T_IN, 0, PLACE(AVAILABLE), 512) == VIRTIO_BLK_S_OK && used() == 1,
	   "a request that adds another ends");
	notify();
	ok(used() == 2 && !needs_reset(), "the other is served when the driver says so");
	ok(pwrite(disk.fd, content, sizeof(sector), 0) == sizeof(sector), "the disk is as it was");

	start();
	ending = 1;
	ok(request(VIRTIO_BLK_T_IN, 0, PLACE(DATA), 512) == 0xff && !used() && !needs_reset(),
	   "nothing is served when the VM ends");
	ending = 0;
	notify();
	ok(used() == 1, "nothing is wrong with the queue then");

	/* Reading the first part of the data sets the flag that ends the VM. */
	start();
	memset(page(DATA_2), 0x55, 512);
	put_header(VIRTIO_BLK_T_IN, 8);
	describe(0, PLACE(HEADER), sizeof(struct virtio_blk_outhdr), VRING_DESC_F_NEXT, 1);
	describe(1, PLACE(DATA), 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
	describe(2, PLACE(DATA_2), 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 3);
	describe(3, PLACE(STATUS), 1, VRING_DESC_F_WRITE, 0);
	add(0);
	disk.virtio.ending = page(DATA);
	notify();
	disk.virtio.ending = &ending;
	ok(used() == 1 && *(uint8_t *)page(STATUS) == VIRTIO_BLK_S_IOERR &&
	   !memcmp(page(DATA), content + 8 * 512, 512) && *(uint8_t *)page(DATA_2) == 0x55,
	   "a request stops half way");
}

static void test_errors(void)
{
	static const struct {
		uint64_t sector, addr;
		uint32_t len;
		const char *name;
	} tests[] = {
		{ SECTORS, PLACE(DATA), 512, "behind the end" },
		{ SECTORS - 1, PLACE(DATA), 1024, "over the end" },
		{ UINT64_MAX, PLACE(DATA), 512, "far behind the end" },
		{ UINT64_MAX / 512 + 1, PLACE(DATA), 512, "an offset that wraps" },
		{ 0, PLACE(DATA), 513, "no whole sector" },
		{ 0, BEYOND, 512, "behind guest memory" },
		{ 0, BEYOND - 256, 512, "over the end of guest memory" },
		{ 0, MEMORY_BASE - 512, 512, "below guest memory" },
		{ 0, UINT64_MAX - 100, 512, "addresses that wrap" },
		{ 0, PLACE(SECRET), 512, "a page that is not shared" },
		{ 0, PLACE(SECRET) - 512, 1024, "the next page is not shared" },
	};

	start();
	for (unsigned int i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		ok(request(VIRTIO_BLK_T_IN, tests[i].sector, tests[i].addr, tests[i].len) ==
		   VIRTIO_BLK_S_IOERR, "read: %s", tests[i].name);
		if (tests[i].addr == PLACE(SECRET) - 512)
			continue;	/* this request changes the file before it fails */
		ok(request(VIRTIO_BLK_T_OUT, tests[i].sector, tests[i].addr, tests[i].len) ==
		   VIRTIO_BLK_S_IOERR && file_is(content), "write: %s", tests[i].name);
	}
	ok(ours_are_untouched(), "what is around guest memory is untouched");
	ok(used() == added && !needs_reset(), "each is answered");
	ok(request(VIRTIO_BLK_T_IN, 0, PLACE(DATA), 512) == VIRTIO_BLK_S_OK, "and the next is served");
}

/* Asserts that after a malformed request the device does nothing until a reset. */
static void broken(const char *name)
{
	uint16_t before = used();

	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	notify();
	ok(needs_reset() && level && used() == before &&
	   (get(VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG), "%s", name);
	/* Without a reset, the device ignores a correct queue, too. */
	set(VIRTIO_MMIO_STATUS, get(VIRTIO_MMIO_STATUS) & ~VIRTIO_CONFIG_S_NEEDS_RESET);
	set(VIRTIO_MMIO_QUEUE_READY, 0);
	set_queue(8, PLACE(DESCRIPTORS), PLACE(AVAILABLE), PLACE(USED));
	ok(needs_reset() && request(VIRTIO_BLK_T_IN, 0, PLACE(DATA), 512) == 0xff,
	   "%s: it stays so", name);
	start();
	ok(!needs_reset() && !level && request(VIRTIO_BLK_T_IN, 0, PLACE(DATA), 512) == VIRTIO_BLK_S_OK,
	   "%s: until a reset", name);
	start();
	put_header(VIRTIO_BLK_T_IN, 0);
}

static void test_broken(void)
{
	static const struct {
		uint64_t descriptors, available, used;
		const char *name;
	} places[] = {
		{ BEYOND, PLACE(AVAILABLE), PLACE(USED), "descriptors behind guest memory" },
		{ PLACE(SECRET), PLACE(AVAILABLE), PLACE(USED), "descriptors that are not shared" },
		{ PLACE(DESCRIPTORS), UINT64_MAX - 1, PLACE(USED), "an available ring nowhere" },
		{ PLACE(DESCRIPTORS), PLACE(SECRET), PLACE(USED), "one that is not shared" },
		{ PLACE(DESCRIPTORS), PLACE(AVAILABLE), BEYOND, "a used ring behind guest memory" },
		{ PLACE(DESCRIPTORS), PLACE(AVAILABLE), PLACE(SECRET), "one that is not shared" },
	};

	for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		start_at(8, places[i].descriptors, places[i].available, places[i].used);
		put_header(VIRTIO_BLK_T_FLUSH, 0);
		describe(0, PLACE(HEADER), 16, VRING_DESC_F_NEXT, 1);
		describe(1, PLACE(STATUS), 1, VRING_DESC_F_WRITE, 0);
		add(0);
		broken(places[i].name);
	}

	describe(0, PLACE(HEADER), 16, VRING_DESC_F_NEXT, 0);
	add(0);
	broken("a chain that goes round in a circle");
	/* Each of the next requests has exactly one defect. */
	describe(8, PLACE(HEADER), 16, VRING_DESC_F_NEXT, 1);
	describe(1, PLACE(STATUS), 1, VRING_DESC_F_WRITE, 0);
	put_header(VIRTIO_BLK_T_FLUSH, 0);
	add(8);
	broken("a head behind the descriptors");
	describe(0, PLACE(HEADER), 16, VRING_DESC_F_NEXT, 8);
	describe(8, PLACE(STATUS), 1, VRING_DESC_F_WRITE, 0);
	put_header(VIRTIO_BLK_T_FLUSH, 0);
	add(0);
	broken("a next one behind the descriptors");
	describe(0, PLACE(HEADER), 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
	describe(1, PLACE(STATUS), 1, VRING_DESC_F_WRITE, 0);
	put_header(VIRTIO_BLK_T_FLUSH, 0);
	add(0);
	broken("an indirect descriptor");
	describe(0, PLACE(HEADER), 16, VRING_DESC_F_NEXT, 1);
	describe(1, PLACE(STATUS), 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 2);
	describe(2, PLACE(DATA), 16, 0, 0);
	put_header(VIRTIO_BLK_T_FLUSH, 0);
	add(0);
	broken("the wrong order");
	describe(0, PLACE(HEADER), 16, 0, 0);
	add(0);
	broken("no room for a status");
	describe(0, PLACE(HEADER), 15, VRING_DESC_F_NEXT, 1);
	describe(1, PLACE(STATUS), 1, VRING_DESC_F_WRITE, 0);
	add(0);
	broken("a header that is too short");
	describe(0, PLACE(SECRET), 16, VRING_DESC_F_NEXT, 1);
	add(0);
	broken("a header that is not shared");
	describe(0, PLACE(HEADER), 16, VRING_DESC_F_NEXT, 1);
	describe(1, PLACE(SECRET), 1, VRING_DESC_F_WRITE, 0);
	add(0);
	broken("a status that is not shared");
	((struct vring_avail *)page(AVAILABLE))->idx = htole16(9);
	broken("more requests than the queue has room for");
	ok(ours_are_untouched(), "what is around guest memory is untouched");
	ok(file_is(content), "the file is as it was");
}

static void test_not_ready(void)
{
	static const uint32_t sizes[] = { 0, 3, VIRTIO_QUEUE_MAX * 2, UINT32_MAX };

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		start_at(sizes[i], PLACE(DESCRIPTORS), PLACE(AVAILABLE), PLACE(USED));
		ok(!get(VIRTIO_MMIO_QUEUE_READY) &&
		   request(VIRTIO_BLK_T_FLUSH, 0, 0, 0) == 0xff && !needs_reset(),
		   "no queue with %u descriptors", sizes[i]);
	}
	start_at(8, PLACE(DESCRIPTORS) + 8, PLACE(AVAILABLE), PLACE(USED));
	ok(!get(VIRTIO_MMIO_QUEUE_READY), "no descriptors at an odd address");
	start_at(8, PLACE(DESCRIPTORS), PLACE(AVAILABLE) + 1, PLACE(USED));
	ok(!get(VIRTIO_MMIO_QUEUE_READY), "no available ring at an odd address");
	start_at(8, PLACE(DESCRIPTORS), PLACE(AVAILABLE), PLACE(USED) + 2);
	ok(!get(VIRTIO_MMIO_QUEUE_READY), "no used ring at an odd address");
	start();
	set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	ok(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0) == 0xff, "nothing before the driver is ready");
	start();
	set_address(VIRTIO_MMIO_QUEUE_DESC_LOW, BEYOND);
	ok(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0) == VIRTIO_BLK_S_OK,
	   "a queue that is in use stays where it is");
	set(VIRTIO_MMIO_QUEUE_SEL, 1);
	set(VIRTIO_MMIO_QUEUE_READY, 0);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	ok(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0) == VIRTIO_BLK_S_OK, "there is one queue");
	set(VIRTIO_MMIO_STATUS, get(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_NEEDS_RESET | 0x100);
	ok(!needs_reset() && get(VIRTIO_MMIO_STATUS) < 0x100, "the driver does not write all of the status");
	virtio_write(&disk.virtio, VIRTIO_MMIO_STATUS, "\0", 1);
	ok(get(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK, "registers have 32 bits");
}

static void refused(const char *path, const char *name)
{
	struct disk other;
	const char *error = disk_open(&other, path);

	ok(error && other.fd < 0, "%s: %s", name, error ? error : "opened");
}

/* disk_open() must refuse a pipe before it opens it: a reader would notice the open. */
static void test_named_pipe(void)
{
	char dir[] = "/tmp/disk_test.XXXXXX", path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/pipe", mkdtemp(dir));
	ok(!mkfifo(path, 0600), "a named pipe");
	fd = open(path, O_RDONLY | O_NONBLOCK);
	refused(path, "a named pipe");
	/* poll() reports POLLHUP only after a writer has opened and closed the pipe. */
	ok(!poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0), "it was never opened");
	close(fd);
	unlink(path);
	rmdir(dir);
}

static void test_files(void)
{
	char path[] = "/tmp/disk_test.XXXXXX";
	int fd = mkstemp(path);

	refused("/no/such/file", "no file");
	refused("/tmp", "a directory");
	refused("/dev/null", "a character device");
	test_named_pipe();
	refused(path, "an empty file");
	ok(!ftruncate(fd, 511), "a file of 511 bytes");
	refused(path, "not one sector");
	ok(!ftruncate(fd, 1000), "a file of 1000 bytes");
	refused(path, "no whole sectors");
	for (unsigned int i = 0; i < SIZE; i++)
		content[i] = i * 7 + i / 512;
	ok(pwrite(fd, content, SIZE, 0) == (ssize_t)SIZE && !ftruncate(fd, SIZE) &&
	   !disk_open(&disk, path) && disk.sectors == SECTORS, "a disk");
	refused(path, "the disk of another guest");
	close(fd);
	unlink(path);
}

int main(void)
{
	uint8_t *pages = mmap(NULL, memory.size + 2 * PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* End the test after a deadlock. */
	alarm(300);
	if (pages == MAP_FAILED)
		return 1;
	memory.base = memory.shared = pages + PAGE;
	memset(pages, OURS, PAGE);
	memset(page(PAGES), OURS, PAGE);
	if (mprotect(page(SECRET), PAGE, PROT_NONE))
		return 1;
	test_files();
	disk_start(&disk, &memory, &ending, raise, NULL);
	test_found();
	test_good();
	test_two_cpus();
	test_interrupt();
	test_end();
	test_errors();
	test_broken();
	test_not_ready();
	disk_close(&disk);
	return done_testing();
}
