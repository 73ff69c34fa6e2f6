// SPDX-License-Identifier: GPL-2.0-only
/*
 * fetch INTERFACE FILE: runs in a guest. Fetches FILE by TFTP from the server of
 * QEMU's user network and prints it. The guest's kernel has no TCP/IP (CONFIG_INET
 * is off), so this program speaks ARP and writes the headers of IP and
 * UDP itself, on packet sockets.
 */
#include <arpa/inet.h>
#include <err.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define GUEST_IP	0x0a00020f	/* 10.0.2.15 */
#define SERVER_IP	0x0a000202	/* 10.0.2.2 */
#define GUEST_PORT	2000
#define TFTP_PORT	69
#define TFTP_BLOCK	512
#define TRIES		20

enum { TFTP_READ = 1, TFTP_DATA = 3, TFTP_ACK = 4 };

/* The struct has no padding. */
struct datagram {
	struct iphdr ip;
	struct udphdr udp;
	uint16_t op;
	union {
		char request[TFTP_BLOCK];	/* a name and a mode */
		struct {
			uint16_t block;
			char data[TFTP_BLOCK];
		};
	};
};

#define HEADERS		offsetof(struct datagram, op)

static struct sockaddr_ll here, server;

static int open_socket(uint16_t protocol)
{
	struct sockaddr_ll addr = here;
	struct timeval timeout = { .tv_sec = 1 };
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(protocol));

	addr.sll_protocol = htons(protocol);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)))
		err(1, "cannot create a packet socket");
	return fd;
}

static void set_up(const char *name)
{
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { 0 };

	strncpy(req.ifr_name, name, sizeof(req.ifr_name) - 1);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &req))
		err(1, "%s", name);
	here = (struct sockaddr_ll){ .sll_family = AF_PACKET, .sll_halen = ETH_ALEN };
	memcpy(here.sll_addr, req.ifr_hwaddr.sa_data, ETH_ALEN);
	if (ioctl(fd, SIOCGIFINDEX, &req))
		err(1, "cannot get the index of %s", name);
	here.sll_ifindex = req.ifr_ifindex;
	if (ioctl(fd, SIOCGIFFLAGS, &req))
		err(1, "cannot get the flags of %s", name);
	req.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &req))
		err(1, "cannot set up %s", name);
	close(fd);
}

/*
 * Requests the server's MAC address; the server learns the guest's from the
 * request.
 */
static void resolve(void)
{
	struct ether_arp arp = {
		.ea_hdr = { htons(ARPHRD_ETHER), htons(ETH_P_IP), ETH_ALEN, 4, htons(ARPOP_REQUEST) },
	};
	const uint32_t guest_ip = htonl(GUEST_IP), server_ip = htonl(SERVER_IP);
	int fd = open_socket(ETH_P_ARP);

	server = here;
	server.sll_protocol = htons(ETH_P_ARP);
	memset(server.sll_addr, 0xff, ETH_ALEN);
	memcpy(arp.arp_sha, here.sll_addr, ETH_ALEN);
	memcpy(arp.arp_spa, &guest_ip, 4);
	memcpy(arp.arp_tpa, &server_ip, 4);
	for (int try = 0; try < TRIES; try++) {
		struct ether_arp answer;

		if (sendto(fd, &arp, sizeof(arp), 0, (struct sockaddr *)&server, sizeof(server)) < 0)
			err(1, "cannot send");
		if (recv(fd, &answer, sizeof(answer), 0) != sizeof(answer) ||
		    answer.ea_hdr.ar_op != htons(ARPOP_REPLY) || memcmp(answer.arp_spa, &server_ip, 4))
			continue;
		memcpy(server.sll_addr, answer.arp_sha, ETH_ALEN);
		server.sll_protocol = htons(ETH_P_IP);
		close(fd);
		return;
	}
	errx(1, "the server does not answer ARP");
}

static uint16_t ip_checksum(const struct iphdr *ip)
{
	const uint16_t *word = (const uint16_t *)ip;
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(*ip) / 2; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

/* @size counts from @op on. A UDP checksum of 0 means that there is none. */
static void send_datagram(int fd, struct datagram *d, size_t size)
{
	d->ip = (struct iphdr){
		.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
		.tot_len = htons(HEADERS + size), .saddr = htonl(GUEST_IP), .daddr = htonl(SERVER_IP),
	};
	d->ip.check = ip_checksum(&d->ip);
	d->udp = (struct udphdr){
		.source = htons(GUEST_PORT), .dest = htons(TFTP_PORT),
		.len = htons(sizeof(d->udp) + size),
	};
	if (sendto(fd, d, HEADERS + size, 0, (struct sockaddr *)&server, sizeof(server)) < 0)
		err(1, "cannot send");
}

static void fetch(const char *file)
{
	struct datagram ask = { .op = htons(TFTP_READ) }, answer;
	size_t size = sizeof(ask.op) +
		snprintf(ask.request, sizeof(ask.request), "%.400s%coctet", file, 0) + 1;
	int fd = open_socket(ETH_P_IP), tries = 0;
	uint16_t next = 1;
	ssize_t n;

	do {
		if (tries++ == TRIES)
			errx(1, "block %u of %s does not arrive", next, file);
		send_datagram(fd, &ask, size);
		n = recv(fd, &answer, sizeof(answer), 0);
		if (n < (ssize_t)offsetof(struct datagram, data) || answer.udp.dest != htons(GUEST_PORT))
			continue;
		if (answer.op != htons(TFTP_DATA))
			errx(1, "the server answers %u: %.80s", ntohs(answer.op), answer.data);
		if (answer.block != htons(next))
			continue;
		n = ntohs(answer.udp.len) - (sizeof(answer.udp) + 4);
		if (n > TFTP_BLOCK || fwrite(answer.data, 1, n, stdout) != (size_t)n)
			err(1, "cannot write block %u", next);
		ask.op = htons(TFTP_ACK);
		ask.block = htons(next++);
		size = 4;
		tries = 0;
	} while (tries || n == TFTP_BLOCK);
	send_datagram(fd, &ask, size);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: fetch INTERFACE FILE\n");
		return 2;
	}
	set_up(argv[1]);
	resolve();
	fetch(argv[2]);
	if (fflush(stdout))
		err(1, "cannot write");
	return 0;
}
