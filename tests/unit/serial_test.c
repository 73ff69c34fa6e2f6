// SPDX-License-Identifier: GPL-2.0-only
/* Tests the serial port by the register accesses that Linux's 8250 driver makes. */
#include <linux/serial_reg.h>
#include <string.h>

#include "serial.h"
#include "tap.h"

static struct {
	char text[256];
	size_t length;
	bool level;
	unsigned int edges, idles;
} seen;

static void interrupt(void *context, bool level)
{
	(void)context;
	seen.edges += level && !seen.level;
	seen.level = level;
}

static void transmit(void *context, uint8_t byte)
{
	(void)context;
	if (seen.length < sizeof(seen.text))
		seen.text[seen.length++] = byte;
}

static void idle(void *context)
{
	(void)context;
	seen.idles++;
}

static const struct serial_operations ops = {
	.interrupt = interrupt, .transmit = transmit, .idle = idle,
};

static struct serial serial;

static void start(void)
{
	memset(&seen, 0, sizeof(seen));
	serial_init(&serial, &ops, NULL);
}

static void test_polled(void)
{
	start();
	ok((serial_read(&serial, UART_LSR) & 0x61) == 0x60, "at first: ready to send, no data");
	serial_write(&serial, UART_TX, 'h');
	serial_write(&serial, UART_TX, 'i');
	ok(seen.length == 2 && !memcmp(seen.text, "hi", 2), "what is sent comes out");
	ok(!seen.edges, "no interrupt that was not asked for");
	ok(serial_read(&serial, UART_IIR) == UART_IIR_NO_INT && seen.idles == 1,
	   "without a reason the driver is told so, and the output is idle");
}

static void test_detection(void)
{
	start();
	serial_write(&serial, UART_SCR, 0xae);
	ok(serial_read(&serial, UART_SCR) == 0xae, "the scratch register");
	serial_write(&serial, UART_IER, 0xff);
	ok(serial_read(&serial, UART_IER) == 0x0f, "four interrupt enables");
	ok(serial_room(&serial) == 0, "no input for a driver that only tests them");
	serial_write(&serial, UART_IER, 0);
	serial_write(&serial, UART_FCR, UART_FCR_ENABLE_FIFO);
	ok(serial_read(&serial, UART_IIR) >> 6 == 3, "a working FIFO: a 16550A");
	serial_write(&serial, UART_LCR, UART_LCR_DLAB);
	serial_write(&serial, UART_DLL, 0x34);
	serial_write(&serial, UART_DLM, 0x12);
	ok(serial_read(&serial, UART_DLL) == 0x34 && serial_read(&serial, UART_DLM) == 0x12,
	   "the divisor");
	serial_write(&serial, UART_LCR, UART_LCR_WLEN8);
	ok(serial_read(&serial, UART_IER) == 0 && !seen.length,
	   "the divisor is neither IER nor output");
	serial_write(&serial, UART_IER, UART_IER_RDI);
	serial_write(&serial, UART_MCR, UART_MCR_OUT2);
	ok(serial_room(&serial) == SERIAL_FIFO, "input for a driver that has OUT2 set as well");
	serial_write(&serial, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	ok((serial_read(&serial, UART_MSR) & 0xf0) == (UART_MSR_DCD | UART_MSR_CTS),
	   "modem lines in the loop");
	ok(serial_room(&serial) == 0, "no input while in the loop");
	serial_write(&serial, UART_TX, 'x');
	ok(!seen.length && serial_read(&serial, UART_RX) == 'x', "data in the loop");
}

static void test_transmit_interrupt(void)
{
	start();
	serial_write(&serial, UART_IER, UART_IER_THRI);
	ok(seen.level, "enabling the interrupt of an empty transmitter raises it");
	ok(serial_read(&serial, UART_IIR) == UART_IIR_THRI && !seen.level,
	   "reading the reason clears it");
	ok(serial_read(&serial, UART_IIR) == UART_IIR_NO_INT, "and it does not come back");
	serial_write(&serial, UART_TX, 'a');
	ok(seen.level && seen.edges == 2, "sending raises it again, as a new edge");
	serial_write(&serial, UART_IER, 0);
	ok(!seen.level, "disabling it drops the line");
}

/* As a driver that is to receive data. */
static void listen(void)
{
	serial_write(&serial, UART_MCR, UART_MCR_OUT2);
	serial_write(&serial, UART_IER, UART_IER_RDI);
}

static void test_receive(void)
{
	uint8_t bytes[SERIAL_FIFO + 10];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i;
	start();
	ok(serial_room(&serial) == 0, "no input while the guest does not listen");
	ok(!serial_receive(&serial, bytes, 2) && !(serial_read(&serial, UART_LSR) & UART_LSR_DR),
	   "nor if it listened when the VMM asked for room");
	listen();
	ok(serial_receive(&serial, bytes, 2), "a guest that listens receives");
	serial_write(&serial, UART_IER, 0);
	ok(!seen.level && (serial_read(&serial, UART_LSR) & UART_LSR_DR), "data without interrupt");
	serial_write(&serial, UART_IER, UART_IER_RDI);
	ok(seen.level && serial_read(&serial, UART_IIR) == UART_IIR_RDI && seen.level,
	   "an interrupt that stays until the data are read");
	ok(serial_read(&serial, UART_RX) == 0 && seen.level && serial_read(&serial, UART_RX) == 1 &&
	   !seen.level, "in order, and the line drops with the last");
	ok(serial_read(&serial, UART_RX) == 0, "reading on is harmless");

	ok(serial_room(&serial) == SERIAL_FIFO, "all room for a guest that listens");
	ok(!serial_receive(&serial, bytes, sizeof(bytes)), "more than fits is refused");
	ok(serial_receive(&serial, bytes, SERIAL_FIFO) && serial_room(&serial) == 0, "what fits: full");
	for (size_t i = 0; i < SERIAL_FIFO; i++)
		if (serial_read(&serial, UART_RX) != i)
			ok(false, "byte %zu", i);
	ok(!(serial_read(&serial, UART_LSR) & UART_LSR_DR), "and empty again");
	serial_receive(&serial, bytes, 5);
	serial_write(&serial, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	ok(serial_room(&serial) == SERIAL_FIFO && !seen.level, "the driver can clear it");
}

static void transmit_stuck(void *context, uint8_t byte)
{
	uint8_t input = 'i';

	(void)context;
	(void)byte;
	ok(serial_room(&serial) == 0 && !serial_receive(&serial, &input, 1),
	   "while output is stuck there is no room, and no wait for it");
}

static void test_stuck_output(void)
{
	static const struct serial_operations stuck = {
		.interrupt = interrupt, .transmit = transmit_stuck, .idle = idle,
	};

	start();
	serial_init(&serial, &stuck, NULL);
	listen();
	ok(serial_room(&serial) == SERIAL_FIFO, "there was room before");
	serial_write(&serial, UART_TX, 'o');
	ok(serial_room(&serial) == SERIAL_FIFO && !(serial_read(&serial, UART_LSR) & UART_LSR_DR),
	   "all of it is there again, and nothing was received");
}

int main(void)
{
	test_polled();
	test_detection();
	test_transmit_interrupt();
	test_receive();
	test_stuck_output();
	return done_testing();
}
