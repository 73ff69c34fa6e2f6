/* SPDX-License-Identifier: GPL-2.0-only */
/* The GICv3 that KVM emulates. */
#ifndef GIC_H
#define GIC_H

#include <stdbool.h>

/*
 * The VM must have all its vCPUs.  Returns 0, or prints a message and returns
 * an exit status.
 */
int gic_create(int vm_fd);

void gic_set_level(int vm_fd, unsigned int interrupt, bool level);

#endif
