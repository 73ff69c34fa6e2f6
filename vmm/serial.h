/* SPDX-License-Identifier: GPL-2.0-only */
/* A 16550A: the model alone, it knows of no VM and no terminal. */
#ifndef SERIAL_H
#define SERIAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERIAL_FIFO	64	/* larger than the chip's 16: nothing here is slow */

/* Called with the serial port locked. */
struct serial_operations {
	void (*interrupt)(void *context, bool level);
	void (*transmit)(void *context, uint8_t byte);
	void (*idle)(void *context);	/* no more output for the moment */
};

struct serial {
	pthread_mutex_t lock;
	const struct serial_operations *ops;
	void *context;
	uint8_t ier, lcr, mcr, scr, fcr;
	uint16_t divisor;
	bool transmitter_event;		/* transmitter went empty, not yet told */
	bool level;			/* of the interrupt line */
	uint8_t fifo[SERIAL_FIFO];
	unsigned int head, used;
};

void serial_init(struct serial *serial, const struct serial_operations *ops, void *context);
uint8_t serial_read(struct serial *serial, unsigned int reg);
void serial_write(struct serial *serial, unsigned int reg, uint8_t value);

/*
 * Bytes for the guest: how many it wants to take now, and here they are.  Neither
 * waits for output that is stuck: then there is no room, and nothing is received.
 */
size_t serial_room(struct serial *serial);
bool serial_receive(struct serial *serial, const uint8_t *bytes, size_t count);

#endif
