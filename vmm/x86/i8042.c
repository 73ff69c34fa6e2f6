// SPDX-License-Identifier: GPL-2.0-only
#include "i8042.h"

#define STATUS_OUTPUT_FULL	0x01
#define COMMAND_PULSE_RESET	0xfe

/*
 * The output buffer is never empty.  No real controller behaves like this, so a
 * driver that flushes the buffer gives up without waiting for answers.  The
 * input buffer is always empty, so the driver sends the reset command at once.
 */
uint8_t i8042_read(uint16_t port)
{
	return port == I8042_COMMAND ? STATUS_OUTPUT_FULL : 0xff;
}

bool i8042_write(uint16_t port, uint8_t value)
{
	return port == I8042_COMMAND && value == COMMAND_PULSE_RESET;
}
