/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Implements KVM_HC_MAP_GPA_RANGE, the hypercall by which a guest makes a part
 * of its memory private or accessible to the host.
 */
#ifndef HYPERCALL_H
#define HYPERCALL_H

#include <linux/kvm.h>

struct vm;

/*
 * Makes KVM exit to the VMM for the hypercall.  Returns 0, or prints a message
 * and returns an exit status.
 */
int hypercall_enable(struct vm *vm);

/* Executes the hypercall and stores the result for the guest in @run. */
void hypercall_exit(struct vm *vm, struct kvm_run *run);

#endif
