/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef I8042_H
#define I8042_H

#include <stdbool.h>
#include <stdint.h>

#define I8042_DATA	0x60
#define I8042_COMMAND	0x64

/*
 * Only what a reset needs: there is neither keyboard nor mouse, and the
 * answers make a driver see so at once.
 */
uint8_t i8042_read(uint16_t port);

/* Return: whether the guest asks for a reset. */
bool i8042_write(uint16_t port, uint8_t value);

#endif
