/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef STATE_H
#define STATE_H

struct vcpu;

/*
 * Write to stderr what a vCPU is at: its registers, its interrupts and its
 * timer.  Call from the vCPU's own thread, outside KVM_RUN.
 */
void state_say(const struct vcpu *vcpu);

#endif
