// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "arch.h"
#include "devicetree.h"
#include "gic.h"
#include "image.h"
#include "layout.h"
#include "message.h"
#include "registers.h"
#include "status.h"
#include "vm.h"

#define PAGE_SIZE		4096ULL
#define CMDLINE_MAX		2047		/* Linux truncates a longer one */
#define MPIDR_AFFINITY		0xff00ffffffULL
#define MIN_ADDRESS_BITS	32

/* KVM_VM_TYPE_ARM_PROTECTED of newer headers. */
#define VM_TYPE_PROTECTED	(1UL << 31)

/* A kernel needs its initrd within 32 GiB of its own address. */
#define WINDOW			(32ULL << 30)

const char *arch_check_kernel(const struct blob *kernel)
{
	return image_check(kernel);
}

/* Places device tree and initrd as high as the kernel supports. */
const char *arch_load(const struct vm *vm, const struct payload *payload, struct start *start)
{
	const struct memory *memory = &vm->memory;
	const struct blob *initrd = &payload->initrd;
	struct machine machine = {
		.memory_size = memory->size, .nr_cpus = vm->nr_cpus, .cmdline = payload->cmdline,
		.has_disk = vm->disk,
	};
	uint64_t limit = memory->size < WINDOW ? memory->size : WINDOW;
	uint64_t entry, end, devicetree;
	const char *error;

	if (strlen(payload->cmdline) > CMDLINE_MAX)
		return "the command line is longer than this kernel accepts";
	error = image_load(&payload->kernel, memory, &entry, &end);
	if (error)
		return error;
	devicetree = MEMORY_BASE + (limit - DEVICETREE_MAX) / DEVICETREE_MAX * DEVICETREE_MAX;
	if (devicetree < end)
		return "the guest's memory is too small for this kernel";
	if (initrd->data) {
		if (initrd->size > devicetree - MEMORY_BASE)
			return "the guest's memory is too small for this initrd";
		machine.initrd = (devicetree - initrd->size) & ~(PAGE_SIZE - 1);
		machine.initrd_size = initrd->size;
		if (machine.initrd < end)
			return "the guest's memory is too small for this kernel and initrd";
		memcpy(memory_at(memory, machine.initrd, initrd->size), initrd->data, initrd->size);
	}
	for (unsigned int i = 0; i < vm->nr_cpus; i++) {
		if (registers_get(vm->vcpus[i].fd, REGISTER_MPIDR, &machine.mpidr[i]))
			return "cannot read the MPIDR of a vCPU";
		machine.mpidr[i] &= MPIDR_AFFINITY;
	}
	if (getrandom(machine.seed, sizeof(machine.seed), 0) != sizeof(machine.seed))
		return "cannot get random numbers from the host";
	error = devicetree_write(memory_at(memory, devicetree, DEVICETREE_MAX), &machine);
	if (error)
		return error;
	*start = (struct start){ .entry = entry, .description = devicetree };
	return NULL;
}

static bool can_create(int kvm_fd, unsigned long type)
{
	int fd = ioctl(kvm_fd, KVM_CREATE_VM, type);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int arch_create_vm(struct vm *vm, uint64_t memory_size)
{
	int limit = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);
	int bits = MIN_ADDRESS_BITS, error;
	unsigned long type;

	while (MEMORY_BASE + memory_size > 1ULL << bits)
		bits++;
	/* A KVM without this capability has 40 bits and supports type 0 only. */
	if (bits > (limit > 0 ? limit : 40))
		return fail(STATUS_ERROR, "the guest's memory is too large for this host's CPUs");
	type = limit > 0 ? KVM_VM_TYPE_ARM_IPA_SIZE((unsigned long)bits) : 0;
	if (vm->protected)
		type |= VM_TYPE_PROTECTED;
	vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, type);
	error = errno;
	if (vm->fd < 0 && vm->protected && error == EINVAL &&
	    can_create(vm->kvm_fd, type & ~VM_TYPE_PROTECTED))
		return fail(STATUS_ERROR, "--protected: this host has no protected VMs; boot it "
			    "with kvm-arm.mode=protected");
	if (vm->fd < 0)
		return fail(STATUS_ERROR, "cannot create a VM: %s", strerror(error));
	return 0;
}

int arch_create_devices(struct vm *vm)
{
	(void)vm;	/* arch_finish_devices() creates the GIC, which needs all vCPUs */
	return 0;
}

int arch_finish_devices(struct vm *vm)
{
	return gic_create(vm->fd);
}

int arch_enable_conversions(struct vm *vm)
{
	(void)vm;
	return fail(STATUS_USAGE, "guests of this architecture have no hypercall for conversions");
}

void arch_disk_interrupt(struct vm *vm, bool level)
{
	gic_set_level(vm->fd, LAYOUT_DISK_INTERRUPT, level);
}

void arch_serial_interrupt(struct vm *vm, bool level)
{
	gic_set_level(vm->fd, LAYOUT_SERIAL_INTERRUPT, level);
}
