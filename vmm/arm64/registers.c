// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <sys/ioctl.h>

#include "registers.h"

int registers_get(int vcpu_fd, uint64_t id, uint64_t *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)value };

	return ioctl(vcpu_fd, KVM_GET_ONE_REG, &reg) ? -errno : 0;
}

static int set(int vcpu_fd, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	return ioctl(vcpu_fd, KVM_SET_ONE_REG, &reg) ? -errno : 0;
}

/* KVM_ARM_VCPU_INIT has set EL1, MMU and interrupts off, and x1 to x3 zero. */
int registers_set_entry(int vcpu_fd, uint64_t entry, uint64_t devicetree)
{
	int ret = set(vcpu_fd, CORE_REGISTER(regs.pc), entry);

	return ret ? ret : set(vcpu_fd, CORE_REGISTER(regs.regs[0]), devicetree);
}
