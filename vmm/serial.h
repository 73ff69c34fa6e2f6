/* SPDX-License-Identifier: GPL-2.0-only */
/* A model of a 16550A, independent of the VM and of the terminal. */
#ifndef SERIAL_H
#define SERIAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERIAL_FIFO	64	/* the chip has 16; a larger one means fewer exits */

/* The serial port is locked while it calls these. */
struct serial_operations {
	void (*interrupt)(void *context, bool level);
	void (*transmit)(void *context, uint8_t byte);
	void (*idle)(void *context);	/* there is no more output for now */
};

struct serial {
	pthread_mutex_t lock;
	const struct serial_operations *ops;
	void *context;
	uint8_t ier, lcr, mcr, scr, fcr;
	uint16_t divisor;
	bool transmitter_event;		/* empty, and the guest has not read IIR since */
	bool level;			/* level of the interrupt line */
	uint8_t fifo[SERIAL_FIFO];
	unsigned int head, used;
};

void serial_init(struct serial *serial, const struct serial_operations *ops, void *context);
uint8_t serial_read(struct serial *serial, unsigned int reg);
void serial_write(struct serial *serial, unsigned int reg, uint8_t value);

/*
 * serial_room() returns how many bytes of input the port can receive now.
 * serial_receive() passes bytes to the guest and returns whether the port has
 * received them, all or none: the driver may have stopped listening since.
 * Neither waits while a write to standard output blocks: then there is no room,
 * and the port receives nothing.
 */
size_t serial_room(struct serial *serial);
bool serial_receive(struct serial *serial, const uint8_t *bytes, size_t count);

#endif
