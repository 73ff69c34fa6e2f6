/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef IOPORT_H
#define IOPORT_H

#include <linux/kvm.h>

struct vm;

/* Executes the port access of a KVM_EXIT_IO. */
void ioport_exit(struct vm *vm, struct kvm_run *run);

#endif
