// SPDX-License-Identifier: GPL-2.0-only
/* Tests the port accesses of a guest, and those that end it. */
#include <string.h>

#include "i8042.h"
#include "ioport.h"
#include "tap.h"
#include "vm.h"

static struct {
	struct kvm_run run;
	uint8_t data[64];
} exit_page;

static struct vm vm;

static void access_port(bool out, uint16_t port, uint8_t size, uint32_t count, const void *data)
{
	exit_page.run.io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
	exit_page.run.io.port = port;
	exit_page.run.io.size = size;
	exit_page.run.io.count = count;
	exit_page.run.io.data_offset = (uint8_t *)exit_page.data - (uint8_t *)&exit_page.run;
	memset(exit_page.data, 0x5a, sizeof(exit_page.data));
	if (out)
		memcpy(exit_page.data, data, size * count);
	ioport_exit(&vm, &exit_page.run);
}

static int ended_by(uint16_t port, uint8_t size, uint32_t value)
{
	vm.ending = ENDING_NONE;
	access_port(true, port, size, 1, &value);
	return vm.ending;
}

static char sent[16];
static size_t nr_sent;

static void transmit(void *context, uint8_t byte)
{
	(void)context;
	if (nr_sent < sizeof(sent))
		sent[nr_sent++] = byte;
}

static void ignore_level(void *context, bool level)
{
	(void)context;
	(void)level;
}

static void ignore(void *context)
{
	(void)context;
}

static const struct serial_operations ops = {
	.interrupt = ignore_level, .transmit = transmit, .idle = ignore,
};

int main(void)
{
	vm.wake_fd = -1;
	serial_init(&vm.serial, &ops, NULL);

	ok(ended_by(0x64, 1, 0xfe) == ENDING_RESET, "the keyboard controller resets");
	ok(ended_by(0x60, 1, 0xfe) == ENDING_NONE, "its data port does not");
	ok(ended_by(0x64, 1, 0xaa) == ENDING_NONE, "nor does another command");
	ok(ended_by(0xcf9, 1, 0x06) == ENDING_RESET, "the reset control register resets");
	ok(ended_by(0xcf9, 1, 0x02) == ENDING_NONE, "choosing the kind of reset does not");
	ok(ended_by(0xcf8, 4, 0x80000400) == ENDING_NONE, "nor does a PCI address");
	ok(!(i8042_read(0x64) & 2), "a command is never held back");

	access_port(false, 0xcf8, 4, 1, NULL);
	ok(!memcmp(exit_page.data, "\xff\xff\xff\xff\x5a", 5), "an idle bus reads as ones");
	access_port(true, 0x3f8, 1, 3, "abc");
	ok(nr_sent == 3 && !memcmp(sent, "abc", 3), "a string to the serial port");
	access_port(false, 0x3fd, 1, 1, NULL);
	ok((exit_page.data[0] & 0x60) == 0x60, "its line status");

	vm.ending = ENDING_NONE;
	vm_end(&vm, ENDING_HALT);
	vm_end(&vm, ENDING_RESET);
	ok(vm.ending == ENDING_HALT, "the first reason to end stays");
	return done_testing();
}
