// SPDX-License-Identifier: GPL-2.0-only
/* Tests the device tree as libfdt reads it. */
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "devicetree.h"
#include "layout.h"
#include "tap.h"

static void *tree;

static const void *property(const char *path, const char *name, int *size)
{
	return fdt_getprop(tree, fdt_path_offset(tree, path), name, size);
}

static bool has_text(const char *path, const char *name, const char *text)
{
	int size;
	const void *value = property(path, name, &size);

	return value && size == (int)strlen(text) + 1 && !memcmp(value, text, size);
}

static bool has_bytes(const char *path, const char *name, const uint8_t *bytes, int count)
{
	int size;
	const void *value = property(path, name, &size);

	return value && size == count && (!count || !memcmp(value, bytes, count));
}

/* Returns whether the property has @count 64-bit numbers and @number is at @index. */
static bool has_number(const char *path, const char *name, int count, int index, uint64_t number)
{
	int size;
	const uint8_t *value = property(path, name, &size);

	return value && size == count * 8 && fdt64_ld((const fdt64_t *)value + index) == number;
}

/* Returns the number of CPUs that the guest can start. */
static int count_cpus(void)
{
	int count = 0, node;

	fdt_for_each_subnode(node, tree, fdt_path_offset(tree, "/cpus")) {
		const char *method = fdt_getprop(tree, node, "enable-method", NULL);

		count += method && !strcmp(method, "psci");
	}
	return count;
}

/* A shared peripheral interrupt, active high and level-triggered */
static const uint8_t disk_interrupt[12] = {
	[7] = LAYOUT_DISK_INTERRUPT - LAYOUT_SHARED_INTERRUPTS, [11] = 4,
};

static void test_full(void)
{
	static struct machine machine = {
		.memory_size = 3ULL << 30, .nr_cpus = VM_MAX_CPUS, .initrd = 0x48000000,
		.initrd_size = 0x1234, .cmdline = "console=ttyS0 quiet", .has_disk = true,
	};

	for (unsigned int i = 0; i < sizeof(machine.seed); i++)
		machine.seed[i] = i + 1;
	for (unsigned int i = 0; i < VM_MAX_CPUS; i++)
		machine.mpidr[i] = i / 8 << 8 | i % 8;
	ok(!devicetree_write(tree, &machine) && !fdt_check_full(tree, DEVICETREE_MAX),
	   "as many CPUs as a guest can have");
	ok(has_text("/chosen", "bootargs", "console=ttyS0 quiet"), "the command line");
	ok(has_number("/chosen", "linux,initrd-start", 1, 0, 0x48000000) &&
	   has_number("/chosen", "linux,initrd-end", 1, 0, 0x48001234), "the initrd");
	ok(has_number("/memory@40000000", "reg", 2, 0, MEMORY_BASE) &&
	   has_number("/memory@40000000", "reg", 2, 1, 3ULL << 30), "the memory");
	ok(count_cpus() == VM_MAX_CPUS && has_number("/cpus/cpu@0", "reg", 1, 0, 0) &&
	   has_number("/cpus/cpu@107", "reg", 1, 0, 0x107),
	   "a node for each CPU");
	ok(has_number("/interrupt-controller@8000000", "reg", 4, 3,
		      VM_MAX_CPUS * LAYOUT_GIC_REDISTRIBUTOR_SIZE) &&
	   LAYOUT_GIC_REDISTRIBUTORS + VM_MAX_CPUS * LAYOUT_GIC_REDISTRIBUTOR_SIZE <= LAYOUT_SERIAL,
	   "a redistributor for each, below the serial port");
	ok(has_bytes("/chosen", "kaslr-seed", machine.seed, 8) &&
	   has_bytes("/chosen", "rng-seed", machine.seed + 8, 32), "two seeds without a common byte");
	ok(has_text("/aliases", "serial0", "/serial@9000000") &&
	   has_number("/serial@9000000", "reg", 2, 0, LAYOUT_SERIAL), "the serial port is the first");
	ok(has_text("/virtio_mmio@a000000", "compatible", "virtio,mmio") &&
	   has_number("/virtio_mmio@a000000", "reg", 2, 0, LAYOUT_DISK), "the disk");
	ok(has_bytes("/virtio_mmio@a000000", "interrupts", disk_interrupt, sizeof(disk_interrupt)) &&
	   has_bytes("/virtio_mmio@a000000", "dma-coherent", NULL, 0),
	   "its interrupt, and that it sees what the CPUs' caches have");
}

static void test_small(void)
{
	struct machine machine = { .memory_size = 32 << 20, .nr_cpus = 1, .cmdline = "" };

	ok(!devicetree_write(tree, &machine) && !fdt_check_full(tree, DEVICETREE_MAX) &&
	   count_cpus() == 1, "one CPU");
	ok(!property("/chosen", "linux,initrd-start", NULL), "no initrd");
	ok(fdt_path_offset(tree, "/virtio_mmio@a000000") < 0, "no disk");
}

static void test_too_long(void)
{
	struct machine machine = { .memory_size = 32 << 20, .nr_cpus = 1 };
	char *cmdline = malloc(DEVICETREE_MAX + 1);
	const char *error;

	memset(cmdline, 'x', DEVICETREE_MAX);
	cmdline[DEVICETREE_MAX] = '\0';
	machine.cmdline = cmdline;
	error = devicetree_write(tree, &machine);
	ok(error, "what does not fit is refused: %s", error ? error : "written");
	free(cmdline);
}

int main(void)
{
	tree = malloc(DEVICETREE_MAX);
	test_full();
	test_small();
	test_too_long();
	free(tree);
	return done_testing();
}
