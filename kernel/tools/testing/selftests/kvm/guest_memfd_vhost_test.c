// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost on guest memory whose access level changes.
 *
 * A network device of vhost-net has its rings, its buffers and its dirty log in
 * a guest_memfd file.  The guest fills the packets that are sent, the other end
 * of the wire is a packet socket on the loopback device, and the guest checks
 * the packets that are received.
 *
 * Proves that vhost works on memory at KERNEL, including the log that it pins;
 * that an idle vhost pins nothing, so that the range can be lowered and raised
 * again; that at USER vhost works as far as it copies by the user mapping, and
 * does not write the log, for which it needs the page; that at NONE vhost sends
 * nothing from the memory and receives nothing into it, that the VMM gets an
 * error where the ring is affected, and that all works again when the range is
 * raised.
 *
 * Catches: a level that lets vhost's worker access memory which the VMM has
 * sealed (sealed_buffers, sealed_rings: a packet arrives, or the guest's data
 * change), a leaked pin (kernel: the range cannot be lowered), packets that are
 * lost or damaged by changes of the level under traffic (running).
 *
 * Not covered: transmission without a copy, which needs a tap device.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sizes.h>
#include <linux/sockios.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"
#include "ucall_common.h"

#define TIMEOUT		300
#define SIZE		SZ_2M
#define RING		8
#define DATA_PAGES	4UL
#define DATA_SIZE	(DATA_PAGES * GMEM_PAGE)
/* A packet starts with virtio's header and the Ethernet header. */
#define VIRTIO_HEADER	12
#define HEADER		(VIRTIO_HEADER + ETH_HLEN)
/*
 * Ethernet types for experiments.  vhost's socket is bound to one that no
 * packet of the test uses.
 */
#define SENT_TYPE	0x88b5
#define RECEIVED_TYPE	0x88b6
#define SENDER_TYPE	0x88b7

#define NONE		GUEST_MEMFD_ACCESS_NONE
#define USER		GUEST_MEMFD_ACCESS_USER
#define KERNEL		GUEST_MEMFD_ACCESS_KERNEL

/* The contents of the file's pages. */
enum {
	PAGE_RINGS = 1,		/* one for each ring */
	PAGE_LOG = 5,
	PAGE_HEADERS,
	PAGE_TX_DATA = 16,
	PAGE_RX_DATA = 32,
};

enum { RX, TX, NR_RINGS };

struct ring {
	struct vring v;
	int kick, call, err;
	/* The socket at vhost's end of the wire. */
	int backend;
	u16 used;
};

FIXTURE(vhost) {
	int kmsg, fd, wire;
	struct gmem_vm g;
	struct ring rings[NR_RINGS];
	struct sockaddr_ll lo;
	u64 seed;
	unsigned int old_order;
	u64 changes;
	bool stop;
};

FIXTURE_VARIANT(vhost) {
	unsigned int order;
};

FIXTURE_VARIANT_ADD(vhost, block) { .order = 9 };
FIXTURE_VARIANT_ADD(vhost, pages) { .order = 0 };

#define VHOST_TEST(name) TEST_F_TIMEOUT(vhost, name, TIMEOUT)

static char *page_at(struct _test_data_vhost *self, int page)
{
	return self->g.mem + page * GMEM_PAGE;
}

static u64 gva(int page)
{
	return GMEM_GVA + page * GMEM_PAGE;
}

static void set_level(struct _test_data_vhost *self, int page, int nr, u32 level)
{
	gmem_set_access(self->g.fd, page * GMEM_PAGE, nr * GMEM_PAGE, level);
}

static void set_all(struct _test_data_vhost *self, u32 level)
{
	set_level(self, 0, SIZE / GMEM_PAGE, level);
}

#define vhost(self, cmd, arg)							\
do {										\
	int r_ = ioctl((self)->fd, cmd, arg);					\
	TEST_ASSERT(!r_, "vhost: " #cmd ": %d, errno %d", r_, errno);		\
} while (0)

static int packet_socket(struct _test_data_vhost *self, u16 type)
{
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	TEST_ASSERT(fd >= 0, "no packet socket: errno %d", errno);
	self->lo.sll_protocol = htons(type);
	TEST_ASSERT(!bind(fd, (struct sockaddr *)&self->lo, sizeof(self->lo)),
		    "bind(): errno %d", errno);
	return fd;
}

static void loopback_up(struct _test_data_vhost *self)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	TEST_ASSERT(fd >= 0, "no packet socket: errno %d", errno);
	TEST_ASSERT(!ioctl(fd, SIOCGIFINDEX, &ifr), "SIOCGIFINDEX: errno %d", errno);
	self->lo.sll_family = AF_PACKET;
	self->lo.sll_ifindex = ifr.ifr_ifindex;
	TEST_ASSERT(!ioctl(fd, SIOCGIFFLAGS, &ifr), "SIOCGIFFLAGS: errno %d", errno);
	ifr.ifr_flags |= IFF_UP;
	TEST_ASSERT(!ioctl(fd, SIOCSIFFLAGS, &ifr), "SIOCSIFFLAGS: errno %d", errno);
	kvm_close(fd);
}

/* @features: those that the log needs, or 0. */
static void set_features(struct _test_data_vhost *self, u64 features)
{
	features |= BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VHOST_NET_F_VIRTIO_NET_HDR);
	vhost(self, VHOST_SET_FEATURES, &features);
}

static void set_backend(struct _test_data_vhost *self, int i, int fd)
{
	struct vhost_vring_file file = { .index = i, .fd = fd };

	vhost(self, VHOST_NET_SET_BACKEND, &file);
}

static void create_ring(struct _test_data_vhost *self, int i)
{
	struct ring *ring = &self->rings[i];
	void *mem = page_at(self, PAGE_RINGS + i);
	struct vhost_vring_state state = { .index = i, .num = RING };
	struct vhost_vring_file file = { .index = i };
	struct vhost_vring_addr addr = { .index = i };

	vring_init(&ring->v, RING, mem, 64);
	vhost(self, VHOST_SET_VRING_NUM, &state);
	state.num = 0;
	vhost(self, VHOST_SET_VRING_BASE, &state);
	addr.desc_user_addr = (u64)ring->v.desc;
	addr.avail_user_addr = (u64)ring->v.avail;
	addr.used_user_addr = (u64)ring->v.used;
	vhost(self, VHOST_SET_VRING_ADDR, &addr);
	ring->kick = kvm_new_eventfd();
	file.fd = ring->kick;
	vhost(self, VHOST_SET_VRING_KICK, &file);
	ring->call = kvm_new_eventfd();
	file.fd = ring->call;
	vhost(self, VHOST_SET_VRING_CALL, &file);
	ring->err = kvm_new_eventfd();
	file.fd = ring->err;
	vhost(self, VHOST_SET_VRING_ERR, &file);
	ring->backend = packet_socket(self, i == TX ? SENDER_TYPE : RECEIVED_TYPE);
	set_backend(self, i, ring->backend);
}

FIXTURE_SETUP(vhost)
{
	struct {
		struct vhost_memory mem;
		struct vhost_memory_region region;
	} table = { .mem.nregions = 1 };
	struct gmem_vm *g = &self->g;
	int i;

	gmem_kmsg_open(&self->kmsg);
	self->seed = gmem_new_seed();
	self->old_order = gmem_set_block_order(variant->order);
	gmem_vm_create(g, 1, SIZE, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_NO_DIRECT_MAP);
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, SIZE);
	set_all(self, KERNEL);
	loopback_up(self);
	self->wire = packet_socket(self, SENT_TYPE);

	self->fd = open_path_or_exit("/dev/vhost-net", O_RDWR);
	vhost(self, VHOST_SET_OWNER, NULL);
	set_features(self, 0);
	/* The test is the driver, and its addresses are offsets in the file. */
	table.region.memory_size = SIZE;
	table.region.userspace_addr = (u64)g->mem;
	vhost(self, VHOST_SET_MEM_TABLE, &table);
	for (i = 0; i < NR_RINGS; i++)
		create_ring(self, i);
}

static void destroy_vhost(struct _test_data_vhost *self)
{
	int i;

	for (i = 0; i < NR_RINGS; i++)
		set_backend(self, i, -1);
	kvm_close(self->fd);
	for (i = 0; i < NR_RINGS; i++) {
		kvm_close(self->rings[i].backend);
		kvm_close(self->rings[i].kick);
		kvm_close(self->rings[i].call);
		kvm_close(self->rings[i].err);
	}
	kvm_close(self->wire);
}

FIXTURE_TEARDOWN(vhost)
{
	struct gmem_vm *g = &self->g;
	u64 *pfns;

	destroy_vhost(self);
	set_all(self, USER);
	gmem_fill(g->mem, SIZE, self->seed);
	pfns = gmem_pfns(g->mem, SIZE);
	set_all(self, NONE);
	gmem_assert_counts(g->fd, SIZE / GMEM_PAGE, 0);
	gmem_assert_pfns_hidden(pfns, SIZE / GMEM_PAGE, self->seed);
	gmem_vm_destroy(g);
	gmem_assert_given_back(pfns, SIZE / GMEM_PAGE, self->seed);
	gmem_set_block_order(self->old_order);
	gmem_assert_nothing_left(&self->kmsg);
}

/* Does the descriptor become readable within @ms? */
static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static bool drain(int fd, int ms)
{
	u64 count;

	return readable(fd, ms) && read(fd, &count, sizeof(count)) == sizeof(count);
}

/* Makes a header and data available to the device. */
static void make_available(struct _test_data_vhost *self, int i, u64 header, u64 data)
{
	struct vring *v = &self->rings[i].v;
	u16 write = i == RX ? VRING_DESC_F_WRITE : 0;
	u16 at = v->avail->idx;

	v->desc[0] = (struct vring_desc) {
		.addr = header, .len = HEADER, .flags = VRING_DESC_F_NEXT | write, .next = 1,
	};
	v->desc[1] = (struct vring_desc) {
		.addr = data, .len = DATA_SIZE, .flags = write,
	};
	v->avail->ring[at % RING] = 0;
	__atomic_store_n(&v->avail->idx, at + 1, __ATOMIC_RELEASE);
}

static void kick(struct ring *ring)
{
	u64 one = 1;

	TEST_ASSERT_EQ(write(ring->kick, &one, sizeof(one)), (ssize_t)sizeof(one));
}

/*
 * How long the test waits for an expected packet, and for one that must not
 * arrive.
 */
#define LONG_MS		10000
#define SHORT_MS	300

/* Assert that the device has used the available buffers. */
static void assert_used(struct _test_data_vhost *self, int i)
{
	struct ring *ring = &self->rings[i];

	while (__atomic_load_n(&ring->v.used->idx, __ATOMIC_ACQUIRE) == ring->used)
		TEST_ASSERT(drain(ring->call, LONG_MS), "nothing is used of ring %d", i);
	ring->used++;
}

static void assert_nothing_used(struct _test_data_vhost *self, int i)
{
	TEST_ASSERT_EQ(self->rings[i].v.used->idx, self->rings[i].used);
}

static void ethernet_header(void *at, u16 type)
{
	struct ethhdr *eth = at;

	memset(eth, 0, sizeof(*eth));
	eth->h_proto = htons(type);
}

/*
 * The guest writes the data, the driver makes them available, but does not kick
 * the device.
 */
static void prepare_packet(struct _test_data_vhost *self, u64 seed)
{
	char *header = page_at(self, PAGE_HEADERS);

	gmem_guest_call(self->g.vcpus[0], gmem_guest_fill, gva(PAGE_TX_DATA), DATA_SIZE, seed);
	memset(header, 0, VIRTIO_HEADER);
	ethernet_header(header + VIRTIO_HEADER, SENT_TYPE);
	make_available(self, TX, PAGE_HEADERS * GMEM_PAGE, PAGE_TX_DATA * GMEM_PAGE);
}

/*
 * The buffer at the other end of the wire; the data of a page depend on the
 * offset in it.
 */
static char wire_data[DATA_SIZE] __aligned(SZ_4K);

static void receive(struct _test_data_vhost *self)
{
	char header[ETH_HLEN];
	struct iovec iov[] = {
		{ header, sizeof(header) }, { wire_data, DATA_SIZE },
	};
	ssize_t n;

	TEST_ASSERT(readable(self->wire, LONG_MS), "nothing was sent");
	n = readv(self->wire, iov, ARRAY_SIZE(iov));
	TEST_ASSERT(n == ETH_HLEN + DATA_SIZE, "%ld bytes were sent", n);
}

static void assert_on_wire(struct _test_data_vhost *self, u64 seed)
{
	receive(self);
	gmem_assert_filled(wire_data, DATA_SIZE, seed);
}

/* Sends a frame from the other end of the wire. */
static void send_frame(struct _test_data_vhost *self, u64 seed)
{
	char header[ETH_HLEN];
	struct iovec iov[] = {
		{ header, sizeof(header) }, { wire_data, DATA_SIZE },
	};

	ethernet_header(header, RECEIVED_TYPE);
	gmem_fill(wire_data, DATA_SIZE, seed);
	TEST_ASSERT_EQ(writev(self->wire, iov, ARRAY_SIZE(iov)), ETH_HLEN + DATA_SIZE);
}

static void prepare_buffer(struct _test_data_vhost *self)
{
	make_available(self, RX, PAGE_HEADERS * GMEM_PAGE + GMEM_PAGE / 2,
		       PAGE_RX_DATA * GMEM_PAGE);
}

static void assert_in_guest(struct _test_data_vhost *self, u64 seed)
{
	gmem_guest_call(self->g.vcpus[0], gmem_guest_check, gva(PAGE_RX_DATA), DATA_SIZE, seed);
}

/* Exchanges one packet in each direction and checks the data. */
static void exchange(struct _test_data_vhost *self)
{
	u64 seed = gmem_new_seed();
	struct vring_used_elem *used;

	prepare_packet(self, seed);
	kick(&self->rings[TX]);
	assert_on_wire(self, seed);
	assert_used(self, TX);

	seed = gmem_new_seed();
	prepare_buffer(self);
	kick(&self->rings[RX]);
	send_frame(self, seed);
	assert_used(self, RX);
	used = &self->rings[RX].v.used->ring[(self->rings[RX].used - 1) % RING];
	TEST_ASSERT_EQ(used->len, HEADER + DATA_SIZE);
	assert_in_guest(self, seed);
}

static void set_log(struct _test_data_vhost *self)
{
	u64 base = (u64)page_at(self, PAGE_LOG);

	memset((void *)base, 0, GMEM_PAGE);
	vhost(self, VHOST_SET_LOG_BASE, &base);
	set_features(self, BIT_ULL(VHOST_F_LOG_ALL));
}

/* Assert that the log marks this many pages, and no others. */
static void assert_logged(struct _test_data_vhost *self, u64 headers, u64 received)
{
	const char *log = page_at(self, PAGE_LOG);
	u64 i, have[3] = {};

	for (i = 0; i < SIZE / GMEM_PAGE; i++) {
		if (!(log[i / 8] & 1 << i % 8))
			continue;
		if (i == PAGE_HEADERS)
			have[0]++;
		else if (i >= PAGE_RX_DATA && i < PAGE_RX_DATA + DATA_PAGES)
			have[1]++;
		else
			have[2]++;
	}
	TEST_ASSERT(have[0] == headers && have[1] == received && !have[2],
		    "logged: %lu pages with headers, %lu received, %lu others", have[0], have[1],
		    have[2]);
}

VHOST_TEST(kernel)
{
	int i;

	for (i = 0; i < 3; i++) {
		exchange(self);
		/* An idle device pins nothing. */
		set_all(self, NONE);
		set_all(self, KERNEL);
	}
	set_log(self);
	exchange(self);
	assert_logged(self, 1, DATA_PAGES);
	set_all(self, NONE);
	set_all(self, KERNEL);
	assert_logged(self, 1, DATA_PAGES);
	exchange(self);
}

/* vhost copies by the user mapping; it writes the log only through the page. */
VHOST_TEST(user)
{
	set_all(self, USER);
	exchange(self);
	gmem_assert_counts(self->g.fd, SIZE / GMEM_PAGE, 0);
	set_log(self);
	exchange(self);
	assert_logged(self, 0, 0);
	set_level(self, PAGE_LOG, 1, NONE);
	exchange(self);
	set_level(self, PAGE_LOG, 1, USER);
	assert_logged(self, 0, 0);
	set_level(self, PAGE_LOG, 1, KERNEL);
	exchange(self);
	assert_logged(self, 1, DATA_PAGES);
}

VHOST_TEST(sealed_buffers)
{
	u64 seed = gmem_new_seed(), before;
	struct tpacket_stats stats;
	socklen_t len = sizeof(stats);
	int fd = self->rings[RX].backend, waits, left = 1;

	exchange(self);
	TEST_ASSERT(!getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len),
		    "errno %d", errno);
	before = gmem_new_seed();
	gmem_guest_call(self->g.vcpus[0], gmem_guest_fill, gva(PAGE_RX_DATA), DATA_SIZE, before);

	/*
	 * Sealing the last page of the data is enough: vhost sends no part of
	 * the packet.
	 */
	prepare_packet(self, seed);
	set_level(self, PAGE_TX_DATA + DATA_PAGES - 1, 1, NONE);
	kick(&self->rings[TX]);
	assert_used(self, TX);
	TEST_ASSERT(!readable(self->wire, SHORT_MS), "a packet from sealed memory");

	set_level(self, PAGE_RX_DATA, DATA_PAGES, NONE);
	prepare_buffer(self);
	kick(&self->rings[RX]);
	send_frame(self, seed);
	/*
	 * The packet has reached the device's socket, and vhost has removed it.
	 */
	for (waits = 0; waits < LONG_MS && left; waits++) {
		usleep(1000);
		if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) ||
		    !stats.tp_packets)
			continue;
		while (!ioctl(fd, SIOCINQ, &left) && left && waits++ < LONG_MS)
			usleep(1000);
	}
	TEST_ASSERT(!left, "the device does not take the frame");
	usleep(SHORT_MS * 1000);
	assert_nothing_used(self, RX);
	assert_in_guest(self, before);

	/* The buffer is still available for the next packet. */
	set_all(self, KERNEL);
	send_frame(self, seed + 1);
	assert_used(self, RX);
	assert_in_guest(self, seed + 1);
	exchange(self);
}

VHOST_TEST(sealed_rings)
{
	u64 seed = gmem_new_seed();
	int i;

	exchange(self);
	prepare_packet(self, seed);
	prepare_buffer(self);
	set_level(self, PAGE_RINGS, NR_RINGS, NONE);
	/*
	 * Let the device finish its work on earlier packets, which causes no
	 * errors here.
	 */
	usleep(SHORT_MS * 1000);
	for (i = 0; i < NR_RINGS; i++)
		drain(self->rings[i].err, 0);
	kick(&self->rings[TX]);
	send_frame(self, seed + 1);
	for (i = 0; i < NR_RINGS; i++)
		TEST_ASSERT(drain(self->rings[i].err, LONG_MS), "no error of ring %d", i);
	TEST_ASSERT(!readable(self->wire, SHORT_MS), "a packet by a sealed ring");

	/* The next kick makes the device process the buffers that waited. */
	set_level(self, PAGE_RINGS, NR_RINGS, USER);
	for (i = 0; i < NR_RINGS; i++) {
		assert_nothing_used(self, i);
		kick(&self->rings[i]);
	}
	assert_on_wire(self, seed);
	assert_used(self, TX);
	assert_used(self, RX);
	assert_in_guest(self, seed + 1);
	exchange(self);
}

static void *change_levels(void *arg)
{
	struct _test_data_vhost *self = arg;
	u32 level = USER;

	while (!__atomic_load_n(&self->stop, __ATOMIC_RELAXED)) {
		/*
		 * A concurrent fault of the guest may hold a reference to a
		 * page; retry.
		 */
		if (__gmem_set_access(self->g.fd, 0, (PAGE_RX_DATA + DATA_PAGES) * GMEM_PAGE,
				      level, NULL)) {
			TEST_ASSERT(errno == EAGAIN, "level %u: errno %d", level, errno);
			continue;
		}
		self->changes++;
		level = USER + KERNEL - level;
	}
	return NULL;
}

/*
 * Traffic while the levels of all pages that it needs change, but never to
 * NONE.
 */
VHOST_TEST(running)
{
	pthread_t thread;
	int i;

	TEST_ASSERT(!pthread_create(&thread, NULL, change_levels, self), "no thread");
	for (i = 0; i < 100 || (self->changes < 100 && i < 1000); i++)
		exchange(self);
	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	printf("# %d packets each way, %lu changes\n", i, self->changes);
	TEST_ASSERT(self->changes >= 100, "only %lu changes of the level", self->changes);
}

/* vhost sends zeroes from a hole, not the data that the hole removed. */
VHOST_TEST(punched)
{
	u64 seed = gmem_new_seed();

	exchange(self);
	prepare_packet(self, seed);
	gmem_punch(self->g.fd, PAGE_TX_DATA * GMEM_PAGE, DATA_SIZE);
	kick(&self->rings[TX]);
	receive(self);
	gmem_assert_zero(wire_data, DATA_SIZE);
	assert_used(self, TX);
	exchange(self);
}

int main(int argc, char *argv[])
{
	gmem_require();
	TEST_REQUIRE(!access("/dev/vhost-net", R_OK | W_OK));
	return test_harness_run(argc, argv);
}
