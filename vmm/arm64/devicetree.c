// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

#include "devicetree.h"
#include "layout.h"

#define GIC_PHANDLE		1
#define INTERRUPT_SHARED	0	/* shared peripheral interrupt */
#define INTERRUPT_PRIVATE	1	/* private peripheral interrupt */
#define LEVEL_HIGH		4
#define SERIAL_CLOCK		1843200
#define KASLR_SEED_SIZE		8

/* The timer's interrupts, as INTID - 16: secure, physical, virtual, EL2. */
static const uint32_t timer_interrupts[] = { 13, 14, 11, 10 };

/*
 * A tree under construction; after the first error the functions write nothing.
 */
struct tree {
	void *fdt;
	int error;
};

static void begin(struct tree *tree, const char *name)
{
	if (!tree->error)
		tree->error = fdt_begin_node(tree->fdt, name);
}

/* Begins a node whose registers are at @addr. */
static void begin_at(struct tree *tree, const char *name, uint64_t addr)
{
	char full[64];

	snprintf(full, sizeof(full), "%s@%" PRIx64, name, addr);
	begin(tree, full);
}

static void end(struct tree *tree)
{
	if (!tree->error)
		tree->error = fdt_end_node(tree->fdt);
}

static void bytes(struct tree *tree, const char *name, const void *data, size_t size)
{
	if (!tree->error)
		tree->error = fdt_property(tree->fdt, name, data, size);
}

static void string(struct tree *tree, const char *name, const char *text)
{
	bytes(tree, name, text, strlen(text) + 1);
}

static void cell(struct tree *tree, const char *name, uint32_t value)
{
	if (!tree->error)
		tree->error = fdt_property_u32(tree->fdt, name, value);
}

static void address(struct tree *tree, const char *name, uint64_t value)
{
	if (!tree->error)
		tree->error = fdt_property_u64(tree->fdt, name, value);
}

/* Adds the property reg with @count pairs of address and size. */
static void ranges(struct tree *tree, const uint64_t *values, unsigned int count)
{
	fdt64_t cells[4];

	for (unsigned int i = 0; i < count * 2; i++)
		cells[i] = cpu_to_fdt64(values[i]);
	bytes(tree, "reg", cells, count * 2 * sizeof(cells[0]));
}

static void interrupts(struct tree *tree, uint32_t type, const uint32_t *numbers,
		       unsigned int count)
{
	fdt32_t cells[4 * 3];

	for (unsigned int i = 0; i < count; i++) {
		cells[i * 3] = cpu_to_fdt32(type);
		cells[i * 3 + 1] = cpu_to_fdt32(numbers[i]);
		cells[i * 3 + 2] = cpu_to_fdt32(LEVEL_HIGH);
	}
	bytes(tree, "interrupts", cells, count * 3 * sizeof(cells[0]));
}

static void write_chosen(struct tree *tree, const struct machine *machine)
{
	begin(tree, "chosen");
	string(tree, "bootargs", machine->cmdline);
	string(tree, "stdout-path", "serial0:115200n8");
	/* Linux overwrites both seeds after it has read them. */
	bytes(tree, "kaslr-seed", machine->seed, KASLR_SEED_SIZE);
	bytes(tree, "rng-seed", machine->seed + KASLR_SEED_SIZE,
	      sizeof(machine->seed) - KASLR_SEED_SIZE);
	if (machine->initrd_size) {
		address(tree, "linux,initrd-start", machine->initrd);
		address(tree, "linux,initrd-end", machine->initrd + machine->initrd_size);
	}
	end(tree);
}

static void write_memory(struct tree *tree, const struct machine *machine)
{
	uint64_t range[] = { MEMORY_BASE, machine->memory_size };

	begin_at(tree, "memory", MEMORY_BASE);
	string(tree, "device_type", "memory");
	ranges(tree, range, 1);
	end(tree);
}

static void write_cpus(struct tree *tree, const struct machine *machine)
{
	begin(tree, "cpus");
	cell(tree, "#address-cells", 2);
	cell(tree, "#size-cells", 0);
	for (unsigned int i = 0; i < machine->nr_cpus; i++) {
		begin_at(tree, "cpu", machine->mpidr[i]);
		string(tree, "device_type", "cpu");
		string(tree, "compatible", "arm,armv8");
		string(tree, "enable-method", "psci");
		address(tree, "reg", machine->mpidr[i]);
		end(tree);
	}
	end(tree);
}

static void write_psci(struct tree *tree)
{
	static const char compatible[] = "arm,psci-1.0\0arm,psci-0.2";

	begin(tree, "psci");
	bytes(tree, "compatible", compatible, sizeof(compatible));
	string(tree, "method", "hvc");
	end(tree);
}

static void write_gic(struct tree *tree, const struct machine *machine)
{
	uint64_t range[] = {
		LAYOUT_GIC_DISTRIBUTOR, LAYOUT_GIC_DISTRIBUTOR_SIZE,
		LAYOUT_GIC_REDISTRIBUTORS, machine->nr_cpus * LAYOUT_GIC_REDISTRIBUTOR_SIZE,
	};

	begin_at(tree, "interrupt-controller", LAYOUT_GIC_DISTRIBUTOR);
	string(tree, "compatible", "arm,gic-v3");
	bytes(tree, "interrupt-controller", NULL, 0);
	cell(tree, "#interrupt-cells", 3);
	ranges(tree, range, 2);
	cell(tree, "phandle", GIC_PHANDLE);
	end(tree);
}

static void write_timer(struct tree *tree)
{
	begin(tree, "timer");
	string(tree, "compatible", "arm,armv8-timer");
	interrupts(tree, INTERRUPT_PRIVATE, timer_interrupts, 4);
	bytes(tree, "always-on", NULL, 0);
	end(tree);
}

static void write_serial(struct tree *tree)
{
	uint64_t range[] = { LAYOUT_SERIAL, LAYOUT_SERIAL_SIZE };
	uint32_t interrupt = LAYOUT_SERIAL_INTERRUPT - LAYOUT_SHARED_INTERRUPTS;
	char path[64];

	begin_at(tree, "serial", LAYOUT_SERIAL);
	string(tree, "compatible", "ns16550a");
	ranges(tree, range, 1);
	interrupts(tree, INTERRUPT_SHARED, &interrupt, 1);
	cell(tree, "clock-frequency", SERIAL_CLOCK);
	end(tree);

	snprintf(path, sizeof(path), "/serial@%llx", LAYOUT_SERIAL);
	begin(tree, "aliases");
	string(tree, "serial0", path);
	end(tree);
}

static void write_disk(struct tree *tree)
{
	uint64_t range[] = { LAYOUT_DISK, LAYOUT_DISK_SIZE };
	uint32_t interrupt = LAYOUT_DISK_INTERRUPT - LAYOUT_SHARED_INTERRUPTS;

	begin_at(tree, "virtio_mmio", LAYOUT_DISK);
	string(tree, "compatible", "virtio,mmio");
	ranges(tree, range, 1);
	interrupts(tree, INTERRUPT_SHARED, &interrupt, 1);
	bytes(tree, "dma-coherent", NULL, 0);
	end(tree);
}

const char *devicetree_write(void *to, const struct machine *machine)
{
	struct tree tree = { .fdt = to };

	tree.error = fdt_create(to, DEVICETREE_MAX);
	if (!tree.error)
		tree.error = fdt_finish_reservemap(to);
	begin(&tree, "");
	string(&tree, "compatible", "linux,dummy-virt");
	cell(&tree, "#address-cells", 2);
	cell(&tree, "#size-cells", 2);
	cell(&tree, "interrupt-parent", GIC_PHANDLE);
	write_chosen(&tree, machine);
	write_memory(&tree, machine);
	write_cpus(&tree, machine);
	write_psci(&tree);
	write_gic(&tree, machine);
	write_timer(&tree);
	write_serial(&tree);
	if (machine->has_disk)
		write_disk(&tree);
	end(&tree);
	if (!tree.error)
		tree.error = fdt_finish(to);
	return tree.error ? fdt_strerror(tree.error) : NULL;
}
