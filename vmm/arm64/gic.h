/* SPDX-License-Identifier: GPL-2.0-only */
/* KVM's GICv3. */
#ifndef GIC_H
#define GIC_H

#include <stdbool.h>

/* The VM has all its vCPUs.  Return: 0, or an exit status after a message. */
int gic_create(int vm_fd);

void gic_set_level(int vm_fd, unsigned int interrupt, bool level);

#endif
