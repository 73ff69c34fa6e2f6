/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef REGISTERS_H
#define REGISTERS_H

#include <stdint.h>

/* These return 0, or -errno. */

/* Sets the registers that firmware would have set on every CPU. */
int registers_set_firmware(int vcpu_fd);

/* Sets the boot CPU's state at the 64-bit entry of a kernel. */
int registers_set_entry(int vcpu_fd, uint64_t entry, uint64_t boot_params);

#endif
