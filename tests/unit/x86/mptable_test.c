// SPDX-License-Identifier: GPL-2.0-only
/* Tests the MP table by parsing it according to the specification, as a kernel does. */
#include <string.h>

#include "guest_ram.h"
#include "layout.h"
#include "mptable.h"
#include "tap.h"

static const uint8_t entry_sizes[] = { 20, 8, 8, 8, 8 };

static uint8_t sum(const uint8_t *p, size_t size)
{
	uint8_t sum = 0;

	while (size--)
		sum += *p++;
	return sum;
}

static uint32_t read32(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static uint16_t read16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

struct found {
	unsigned int of_type[5];
	unsigned int boot_cpus, total;
	uint32_t apic_ids, irq_pins;	/* bit sets */
	uint8_t ioapic_id;
	bool sane;
};

static struct found read_entries(const uint8_t *table)
{
	const uint8_t *end = table + read16(table + 4);
	struct found found = { .sane = true };
	const uint8_t *p = table + 44;

	while (p < end) {
		if (p[0] > 4) {
			found.sane = false;
			break;
		}
		found.of_type[p[0]]++;
		found.total++;
		if (p[0] == 0) {
			found.apic_ids |= 1u << p[1];
			found.boot_cpus += (p[3] & 2) != 0;
			found.sane &= p[3] & 1;
		} else if (p[0] == 2) {
			found.ioapic_id = p[1];
		} else if (p[0] == 3) {
			found.irq_pins |= 1u << p[7];
		}
		p += entry_sizes[p[0]];
	}
	found.sane &= p == end;
	return found;
}

static void test_table(unsigned int cpus)
{
	struct memory memory = guest_ram(1 << 20);
	const uint8_t *floating = memory.base + LAYOUT_MPTABLE;
	const uint8_t *table;
	struct found found;

	mptable_write(&memory, cpus);
	ok(!memcmp(floating, "_MP_", 4) && floating[8] == 1 && sum(floating, 16) == 0,
	   "%u: the pointer and its checksum", cpus);
	table = memory.base + read32(floating + 4);
	ok(!memcmp(table, "PCMP", 4) && sum(table, read16(table + 4)) == 0,
	   "%u: the table and its checksum", cpus);
	ok(table + read16(table + 4) <= memory.base + LAYOUT_BASE_END,
	   "%u: it ends before the video memory", cpus);
	ok(read32(table + 36) == 0xfee00000, "%u: address of the local APIC", cpus);

	found = read_entries(table);
	ok(found.sane && found.total == read16(table + 34), "%u: the number of entries", cpus);
	ok(found.of_type[0] == cpus && found.boot_cpus == 1 &&
	   found.apic_ids == (1u << cpus) - 1, "%u: every CPU, one of them boots", cpus);
	ok(found.of_type[1] == 1 && found.of_type[2] == 1 && found.of_type[4] == 2,
	   "%u: a bus, an I/O APIC, both LINTs", cpus);
	ok(found.ioapic_id >= cpus, "%u: the I/O APIC has an ID of its own", cpus);
	ok((found.irq_pins & (1 << 4)) && (found.irq_pins & (1 << 2)) &&
	   !(found.irq_pins & (1 << 0)), "%u: serial port at pin 4, timer at pin 2", cpus);
	free(memory.base);
}

int main(void)
{
	test_table(1);
	test_table(4);
	test_table(16);
	return done_testing();
}
