/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "blob.h"

/*
 * The files that the guest boots.  The VMM reads them before it creates a VM.
 */
struct payload {
	struct blob kernel, initrd;	/* initrd.data is NULL if there is none */
	char *cmdline;
};

#endif
