/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "blob.h"

/* What the user wants to boot, read before anything is made of the host. */
struct payload {
	struct blob kernel, initrd;	/* the latter without data if there is none */
	char *cmdline;
};

#endif
