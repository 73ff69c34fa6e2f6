/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The exit statuses of guestmem, documented in guestmem-run(1).  The other
 * commands use STATUS_ERROR and STATUS_USAGE only.
 */
#ifndef STATUS_H
#define STATUS_H

enum status {
	STATUS_RESET = 0,		/* the guest requested a reset */
	STATUS_ERROR = 1,		/* an operation of the host or of KVM failed */
	STATUS_USAGE = 2,		/* an option, a size or a file is not usable */
	STATUS_HALT = 3,		/* no vCPU can ever run again */
	STATUS_PANIC = 4,		/* the guest kernel panicked */
	STATUS_TRIPLE_FAULT = 5,
	STATUS_SIGNAL = 128,		/* plus the number of the signal */
};

#endif
