/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM_HC_MAP_GPA_RANGE: a guest says which of its memory is private to it, and
 * which the host may use.
 */
#ifndef HYPERCALL_H
#define HYPERCALL_H

#include <linux/kvm.h>

struct vm;

/* Have KVM pass the hypercall to us.  Return: 0, or an exit status after a message. */
int hypercall_enable(struct vm *vm);

/* Do what the guest asks for, and leave the answer to it in @run. */
void hypercall_exit(struct vm *vm, struct kvm_run *run);

#endif
