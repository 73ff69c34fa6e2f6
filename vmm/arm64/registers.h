/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef REGISTERS_H
#define REGISTERS_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

/* IDs of 64-bit registers for KVM_GET_ONE_REG and KVM_SET_ONE_REG. */
#define CORE_REGISTER(name) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(name))
#define REGISTER_MPIDR	ARM64_SYS_REG(3, 0, 0, 0, 5)

/* Returns 0, or -errno. */
int registers_get(int vcpu_fd, uint64_t id, uint64_t *value);

/* Sets the boot CPU's state at the entry of a kernel.  Returns 0, or -errno. */
int registers_set_entry(int vcpu_fd, uint64_t entry, uint64_t devicetree);

#endif
