/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef I8042_H
#define I8042_H

#include <stdbool.h>
#include <stdint.h>

#define I8042_DATA	0x60
#define I8042_COMMAND	0x64

/*
 * Emulates as much of the keyboard controller as a reset needs.  A driver finds
 * out at once that there is neither a keyboard nor a mouse.
 */
uint8_t i8042_read(uint16_t port);

/* Returns whether the guest requests a reset. */
bool i8042_write(uint16_t port, uint8_t value);

#endif
