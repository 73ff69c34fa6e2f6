// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "gic.h"
#include "layout.h"
#include "message.h"
#include "status.h"

static int set(int gic_fd, uint32_t group, uint64_t attr, const void *value)
{
	struct kvm_device_attr device_attr = {
		.group = group, .attr = attr, .addr = (uintptr_t)value,
	};

	return ioctl(gic_fd, KVM_SET_DEVICE_ATTR, &device_attr);
}

int gic_create(int vm_fd)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	uint64_t distributor = LAYOUT_GIC_DISTRIBUTOR;
	uint64_t redistributors = LAYOUT_GIC_REDISTRIBUTORS;
	uint32_t nr_interrupts = LAYOUT_NR_INTERRUPTS;
	int ret = 0;

	if (ioctl(vm_fd, KVM_CREATE_DEVICE, &device))
		return fail(STATUS_ERROR, "cannot create the interrupt controllers: %s",
			    errno == ENODEV ? "this host has no GICv3" : strerror(errno));
	if (set(device.fd, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &nr_interrupts) ||
	    set(device.fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &distributor) ||
	    set(device.fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, &redistributors) ||
	    set(device.fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL))
		ret = fail(STATUS_ERROR, "cannot create the interrupt controllers: %s",
			   strerror(errno));
	/* The VM holds a reference to the device. */
	close(device.fd);
	return ret;
}

void gic_set_level(int vm_fd, unsigned int interrupt, bool level)
{
	struct kvm_irq_level line = {
		.irq = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | interrupt, .level = level,
	};

	ioctl(vm_fd, KVM_IRQ_LINE, &line);
}
