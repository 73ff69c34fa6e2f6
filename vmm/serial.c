// SPDX-License-Identifier: GPL-2.0-only
#include <linux/serial_reg.h>

#include "serial.h"

#define IIR_FIFOS	0xc0	/* bits that report a working FIFO */

void serial_init(struct serial *serial, const struct serial_operations *ops, void *context)
{
	*serial = (struct serial){ .ops = ops, .context = context, .divisor = 1 };
	pthread_mutex_init(&serial->lock, NULL);
}

/* Returns the pending interrupt with the highest priority. */
static uint8_t pending(const struct serial *serial)
{
	if ((serial->ier & UART_IER_RDI) && serial->used)
		return UART_IIR_RDI;
	if ((serial->ier & UART_IER_THRI) && serial->transmitter_event)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

static void update_interrupt(struct serial *serial)
{
	bool level = pending(serial) != UART_IIR_NO_INT;

	if (level == serial->level)
		return;
	serial->level = level;
	serial->ops->interrupt(serial->context, level);
}

static void push(struct serial *serial, uint8_t byte)
{
	if (serial->used == SERIAL_FIFO)
		return;
	serial->fifo[(serial->head + serial->used++) % SERIAL_FIFO] = byte;
}

static uint8_t pop(struct serial *serial)
{
	uint8_t byte = serial->fifo[serial->head];

	if (!serial->used)
		return 0;
	serial->head = (serial->head + 1) % SERIAL_FIFO;
	serial->used--;
	return byte;
}

static void transmit(struct serial *serial, uint8_t byte)
{
	if (serial->mcr & UART_MCR_LOOP)
		push(serial, byte);
	else
		serial->ops->transmit(serial->context, byte);
	serial->transmitter_event = true;
}

static uint8_t read_iir(struct serial *serial)
{
	uint8_t reason = pending(serial);

	if (reason == UART_IIR_THRI)
		serial->transmitter_event = false;
	else if (reason == UART_IIR_NO_INT)
		serial->ops->idle(serial->context);
	return reason | (serial->fcr & UART_FCR_ENABLE_FIFO ? IIR_FIFOS : 0);
}

/* Returns the lines of a ready modem, or in loopback mode the port's own. */
static uint8_t read_msr(const struct serial *serial)
{
	uint8_t msr = 0;

	if (!(serial->mcr & UART_MCR_LOOP))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
	if (serial->mcr & UART_MCR_DTR)
		msr |= UART_MSR_DSR;
	if (serial->mcr & UART_MCR_RTS)
		msr |= UART_MSR_CTS;
	if (serial->mcr & UART_MCR_OUT1)
		msr |= UART_MSR_RI;
	if (serial->mcr & UART_MCR_OUT2)
		msr |= UART_MSR_DCD;
	return msr;
}

uint8_t serial_read(struct serial *serial, unsigned int reg)
{
	bool latch;
	uint8_t value = 0;

	pthread_mutex_lock(&serial->lock);
	latch = serial->lcr & UART_LCR_DLAB;
	switch (reg) {
	case UART_RX:
		value = latch ? serial->divisor & 0xff : pop(serial);
		break;
	case UART_IER:
		value = latch ? serial->divisor >> 8 : serial->ier;
		break;
	case UART_IIR:
		value = read_iir(serial);
		break;
	case UART_LCR:
		value = serial->lcr;
		break;
	case UART_MCR:
		value = serial->mcr;
		break;
	case UART_LSR:
		value = UART_LSR_THRE | UART_LSR_TEMT | (serial->used ? UART_LSR_DR : 0);
		break;
	case UART_MSR:
		value = read_msr(serial);
		break;
	case UART_SCR:
		value = serial->scr;
		break;
	}
	update_interrupt(serial);
	pthread_mutex_unlock(&serial->lock);
	return value;
}

static void write_ier(struct serial *serial, uint8_t value)
{
	/* The transmitter is empty, so enabling its interrupt raises it at once. */
	if ((value & UART_IER_THRI) && !(serial->ier & UART_IER_THRI))
		serial->transmitter_event = true;
	serial->ier = value & 0x0f;
}

void serial_write(struct serial *serial, unsigned int reg, uint8_t value)
{
	bool latch;

	pthread_mutex_lock(&serial->lock);
	latch = serial->lcr & UART_LCR_DLAB;
	switch (reg) {
	case UART_TX:
		if (latch)
			serial->divisor = (serial->divisor & 0xff00) | value;
		else
			transmit(serial, value);
		break;
	case UART_IER:
		if (latch)
			serial->divisor = (serial->divisor & 0x00ff) | value << 8;
		else
			write_ier(serial, value);
		break;
	case UART_FCR:
		if (value & UART_FCR_CLEAR_RCVR)
			serial->used = 0;
		serial->fcr = value;
		break;
	case UART_LCR:
		serial->lcr = value;
		break;
	case UART_MCR:
		serial->mcr = value & 0x1f;
		break;
	case UART_SCR:
		serial->scr = value;
		break;
	}
	update_interrupt(serial);
	pthread_mutex_unlock(&serial->lock);
}

/*
 * A driver that initialises the port discards input, and a driver that tests the
 * port in loopback mode mistakes input for its own output.  A driver also enables
 * the interrupt for a moment to test whether IER is there, but sets OUT2, which
 * connects the interrupt, only to use the port.  Receive nothing before.
 */
static size_t room_for_input(const struct serial *serial)
{
	if ((serial->mcr & (UART_MCR_LOOP | UART_MCR_OUT2)) != UART_MCR_OUT2 ||
	    !(serial->ier & UART_IER_RDI))
		return 0;
	return SERIAL_FIFO - serial->used;
}

size_t serial_room(struct serial *serial)
{
	size_t room;

	if (pthread_mutex_trylock(&serial->lock))
		return 0;
	room = room_for_input(serial);
	pthread_mutex_unlock(&serial->lock);
	return room;
}

bool serial_receive(struct serial *serial, const uint8_t *bytes, size_t count)
{
	bool fits;

	if (pthread_mutex_trylock(&serial->lock))
		return false;
	fits = count <= room_for_input(serial);
	while (fits && count--)
		push(serial, *bytes++);
	update_interrupt(serial);
	pthread_mutex_unlock(&serial->lock);
	return fits;
}
