// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "i8042.h"
#include "ioport.h"
#include "vm.h"

#define SERIAL_PORT	0x3f8
#define SERIAL_PORTS	8
#define RTC_DATA	0x71
#define RESET_CONTROL	0xcf9
#define RESET_CPU	(1 << 2)

static uint8_t read_byte(struct vm *vm, uint16_t port)
{
	if (port >= SERIAL_PORT && port < SERIAL_PORT + SERIAL_PORTS)
		return serial_read(&vm->serial, port - SERIAL_PORT);
	switch (port) {
	case I8042_DATA:
	case I8042_COMMAND:
		return i8042_read(port);
	case RTC_DATA:
		/* There is no RTC: no register reports "update in progress". */
		return 0;
	}
	return 0xff;	/* no device answers */
}

static void write_byte(struct vm *vm, uint16_t port, uint8_t value)
{
	if (port >= SERIAL_PORT && port < SERIAL_PORT + SERIAL_PORTS)
		serial_write(&vm->serial, port - SERIAL_PORT, value);
	else if (i8042_write(port, value))
		vm_end(vm, ENDING_RESET);
	else if (port == RESET_CONTROL && (value & RESET_CPU))
		vm_end(vm, ENDING_RESET);
}

void ioport_exit(struct vm *vm, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t n = 0; n < run->io.count; n++) {
		/* A wide access accesses as many adjacent ports of a byte. */
		for (uint16_t i = 0; i < run->io.size; i++, data++) {
			if (run->io.direction == KVM_EXIT_IO_IN)
				*data = read_byte(vm, run->io.port + i);
			else if (run->io.size == 1 || run->io.port + i != RESET_CONTROL)
				write_byte(vm, run->io.port + i, *data);
		}
	}
}
