/* SPDX-License-Identifier: GPL-2.0-only */
/* Exit statuses of guestmem run, part of its interface: see guestmem-run(1). */
#ifndef STATUS_H
#define STATUS_H

enum status {
	STATUS_RESET = 0,		/* the guest asked for a reset */
	STATUS_ERROR = 1,		/* the host or KVM failed */
	STATUS_USAGE = 2,		/* a bad option, size or file */
	STATUS_HALT = 3,		/* every vCPU stopped for good */
	STATUS_PANIC = 4,		/* the guest kernel panicked */
	STATUS_TRIPLE_FAULT = 5,
	STATUS_SIGNAL = 128,		/* plus the number of the signal */
};

#endif
