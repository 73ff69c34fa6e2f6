// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "layout.h"
#include "mptable.h"

#define LAPIC_ADDR	0xfee00000
#define LAPIC_VERSION	0x14
#define IOAPIC_ADDR	0xfec00000
#define IOAPIC_VERSION	0x11
#define ISA_IRQS	16
#define PIT_IRQ		0
#define PIT_PIN		2	/* pin of the timer on KVM's I/O APIC */
#define PIC_CASCADE_IRQ	2

enum { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_IRQ, ENTRY_LOCAL_IRQ };
enum { IRQ_INT, IRQ_NMI, IRQ_SMI, IRQ_EXTINT };

struct floating {
	char signature[4];
	uint32_t table;
	uint8_t length;		/* in units of 16 bytes */
	uint8_t version;
	uint8_t checksum;
	uint8_t features[5];
} __attribute__((packed));

struct header {
	char signature[4];
	uint16_t length;
	uint8_t version;
	uint8_t checksum;
	char oem[8];
	char product[12];
	uint32_t oem_table;
	uint16_t oem_size;
	uint16_t entries;
	uint32_t lapic;
	uint16_t extended_length;
	uint8_t extended_checksum;
	uint8_t reserved;
} __attribute__((packed));

struct cpu {
	uint8_t type, apic_id, apic_version, flags;
	uint32_t signature, features, reserved[2];
} __attribute__((packed));

struct bus {
	uint8_t type, id;
	char name[6];
} __attribute__((packed));

struct ioapic {
	uint8_t type, id, version, flags;
	uint32_t addr;
} __attribute__((packed));

struct irq {
	uint8_t type, kind;
	uint16_t flags;
	uint8_t bus, bus_irq, apic, pin;
} __attribute__((packed));

struct table {
	struct header *header;
	uint8_t *end;
};

static uint8_t checksum(const void *data, size_t size)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (size--)
		sum += *p++;
	return -sum;
}

static void add(struct table *table, const void *entry, size_t size)
{
	memcpy(table->end, entry, size);
	table->end += size;
	table->header->entries++;
}

static void add_cpus(struct table *table, unsigned int nr_cpus)
{
	for (unsigned int i = 0; i < nr_cpus; i++)
		add(table, &(struct cpu){
			.type = ENTRY_CPU, .apic_id = i, .apic_version = LAPIC_VERSION,
			.flags = 1 | (i == 0) << 1,	/* enabled; the first is the boot CPU */
			.signature = 0x600, .features = 0x201,	/* family 6; FPU, APIC */
		}, sizeof(struct cpu));
}

static void add_irqs(struct table *table, unsigned int ioapic)
{
	for (unsigned int i = 0; i < ISA_IRQS; i++) {
		if (i == PIC_CASCADE_IRQ)
			continue;
		add(table, &(struct irq){
			.type = ENTRY_IRQ, .kind = IRQ_INT, .bus_irq = i, .apic = ioapic,
			.pin = i == PIT_IRQ ? PIT_PIN : i,
		}, sizeof(struct irq));
	}
	/* LINT0 of the first CPU receives from the 8259, LINT1 of all CPUs NMIs. */
	add(table, &(struct irq){ .type = ENTRY_LOCAL_IRQ, .kind = IRQ_EXTINT, .apic = 0,
				  .pin = 0 }, sizeof(struct irq));
	add(table, &(struct irq){ .type = ENTRY_LOCAL_IRQ, .kind = IRQ_NMI, .apic = 0xff,
				  .pin = 1 }, sizeof(struct irq));
}

void mptable_write(const struct memory *memory, unsigned int nr_cpus)
{
	struct floating *floating = memory_at(memory, LAYOUT_MPTABLE, LAYOUT_MPTABLE_MAX);
	struct table table = {
		.header = (struct header *)(floating + 1),
		.end = (uint8_t *)(floating + 1) + sizeof(struct header),
	};

	*table.header = (struct header){
		.signature = "PCMP", .version = 4, .oem = "GUESTMEM",
		.product = "VM          ", .lapic = LAPIC_ADDR,
	};
	add_cpus(&table, nr_cpus);
	add(&table, &(struct bus){ .type = ENTRY_BUS, .name = "ISA   " }, sizeof(struct bus));
	add(&table, &(struct ioapic){
		.type = ENTRY_IOAPIC, .id = nr_cpus, .version = IOAPIC_VERSION,
		.flags = 1, .addr = IOAPIC_ADDR,
	}, sizeof(struct ioapic));
	add_irqs(&table, nr_cpus);
	table.header->length = table.end - (uint8_t *)table.header;
	table.header->checksum = checksum(table.header, table.header->length);

	*floating = (struct floating){
		.signature = "_MP_", .table = LAYOUT_MPTABLE + sizeof(*floating),
		.length = 1, .version = 4,
	};
	floating->checksum = checksum(floating, sizeof(*floating));
}
