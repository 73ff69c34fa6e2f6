// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch.h"
#include "boot.h"
#include "hypercall.h"
#include "kernel.h"
#include "layout.h"
#include "message.h"
#include "mptable.h"
#include "status.h"
#include "vm.h"

#define SERIAL_IRQ	4
#define TSS_ADDR	0xfffbd000UL		/* three pages for real mode on Intel CPUs */
#define IDENTITY_MAP	0xfffbc000ULL		/* one page for the same */

const char *arch_check_kernel(const struct blob *kernel)
{
	return kernel_check(kernel);
}

const char *arch_load(const struct vm *vm, const struct payload *payload, struct start *start)
{
	const struct blob *initrd = payload->initrd.data ? &payload->initrd : NULL;
	struct kernel kernel;
	const char *error;

	error = kernel_load(&kernel, &payload->kernel, &vm->memory);
	if (!error)
		error = boot_write(&vm->memory, &kernel, initrd, payload->cmdline);
	if (error)
		return error;
	mptable_write(&vm->memory, vm->nr_cpus);
	*start = (struct start){ .entry = kernel.entry, .description = LAYOUT_BOOT_PARAMS };
	return NULL;
}

int arch_create_vm(struct vm *vm, uint64_t memory_size)
{
	(void)memory_size;	/* KVM_CREATE_VM does not depend on the size on x86 */
	vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0UL);
	if (vm->fd < 0)
		return fail(STATUS_ERROR, "cannot create a VM: %s", strerror(errno));
	return 0;
}

int arch_create_devices(struct vm *vm)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	__u64 identity_map = IDENTITY_MAP;

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) ||
	    ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR) ||
	    ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) ||
	    ioctl(vm->fd, KVM_CREATE_PIT2, &pit))
		return fail(STATUS_ERROR, "cannot create the interrupt controllers: %s",
			    strerror(errno));
	return 0;
}

int arch_finish_devices(struct vm *vm)
{
	(void)vm;	/* KVM creates the local APICs with the vCPUs */
	return 0;
}

int arch_enable_conversions(struct vm *vm)
{
	return hypercall_enable(vm);
}

static void set_level(const struct vm *vm, unsigned int irq, bool level)
{
	struct kvm_irq_level line = { .irq = irq, .level = level };

	ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

void arch_serial_interrupt(struct vm *vm, bool level)
{
	set_level(vm, SERIAL_IRQ, level);
}

void arch_disk_interrupt(struct vm *vm, bool level)
{
	set_level(vm, LAYOUT_DISK_IRQ, level);
}
