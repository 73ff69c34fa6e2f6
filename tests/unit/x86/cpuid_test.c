// SPDX-License-Identifier: GPL-2.0-only
/* Tests how a vCPU's CPUID is made from an example of what KVM supports. */
#include <stdint.h>
#include <string.h>

#include "cpuid.h"
#include "tap.h"

static struct cpuid cpuid;

static void add(uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx,
		uint32_t edx)
{
	cpuid.entries[cpuid.head.nent++] = (struct kvm_cpuid_entry2){
		.function = function, .index = index, .eax = eax, .ebx = ebx, .ecx = ecx,
		.edx = edx,
	};
}

static const struct kvm_cpuid_entry2 *find(uint32_t function, uint32_t index)
{
	static const struct kvm_cpuid_entry2 none;

	for (unsigned int i = 0; i < cpuid.head.nent; i++)
		if (cpuid.entries[i].function == function && cpuid.entries[i].index == index)
			return &cpuid.entries[i];
	return &none;
}

static void host(void)
{
	memset(&cpuid, 0, sizeof(cpuid));
	add(0, 0, 0x10, 0, 0, 0);
	add(1, 0, 0x800f12, 0xaa550800, 0x00002001, 0x178bfbff);
	add(4, 0, 0xfc004121, 0, 0, 0);
	add(4, 3, 0xfc03c163, 0, 0, 0);
	add(4, 4, 0, 0, 0, 0);
	add(0xb, 0, 1, 2, 0x100, 0x55);
	add(0xb, 1, 4, 16, 0x201, 0x55);
	add(0x1f, 0, 1, 2, 0x100, 0x55);
	add(0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	add(0x40000001, 0, 0x01007afb, 0, 0, 0);
	add(0x80000008, 0, 0x3028, 0, 0x400f, 0);
	add(0x8000001d, 0, 0x4121, 0, 0, 0);
	add(0x8000001d, 3, 0x1c163, 0, 0, 0);
	add(0x8000001e, 0, 0x55, 0x0102, 0x0100, 0);
	add(0x80000026, 0, 1, 2, 0x100, 0x55);
}

static void test_four(void)
{
	const struct kvm_cpuid_entry2 *entry;

	host();
	cpuid_set_vcpu(&cpuid, 3, 4, true);
	entry = find(1, 0);
	ok(entry->ebx == 0x03040800, "APIC ID and number of CPUs, and the rest of ebx");
	ok((entry->ecx & (1u << 31)) && (entry->ecx & (1u << 24)) && (entry->ecx & 0x2001) == 0x2001,
	   "a hypervisor with TSC deadline timer");
	ok(entry->edx & (1u << 28), "several CPUs in the package");
	ok((find(4, 0)->eax >> 14 & 0xfff) == 0 && (find(4, 3)->eax >> 14 & 0xfff) == 3 &&
	   find(4, 0)->eax >> 26 == 3 && find(4, 4)->eax == 0, "caches, Intel's leaf");
	ok((find(0x8000001d, 0)->eax >> 14 & 0xfff) == 0 &&
	   (find(0x8000001d, 3)->eax >> 14 & 0xfff) == 3, "caches, AMD's leaf");
	ok(find(0xb, 0)->eax == 0 && find(0xb, 0)->ebx == 1 && find(0xb, 0)->ecx == 0x100 &&
	   find(0xb, 0)->edx == 3, "one thread to a core");
	ok(find(0xb, 1)->eax == 2 && find(0xb, 1)->ebx == 4 && find(0xb, 1)->ecx == 0x201 &&
	   find(0xb, 1)->edx == 3, "four cores to the package");
	ok(find(0xb, 2)->ebx == 0 && find(0xb, 2)->edx == 3, "and nothing above");
	ok(!find(0x1f, 0)->function && !find(0x80000026, 0)->function,
	   "none of the host's topology is left");
	ok(find(0x80000008, 0)->ecx == 0x2003 && find(0x80000008, 0)->eax == 0x3028,
	   "AMD's number of cores");
	ok(find(0x8000001e, 0)->eax == 3 && find(0x8000001e, 0)->ebx == 3 &&
	   find(0x8000001e, 0)->ecx == 0, "AMD's IDs");
	ok(find(0x40000000, 0)->ebx == 0x4b4d564b && find(0x40000001, 0)->eax == 0x01007afb,
	   "KVM's leaves are kept");
}

static void test_one(void)
{
	host();
	cpuid_set_vcpu(&cpuid, 0, 1, false);
	ok(find(1, 0)->ebx == 0x00010800 && !(find(1, 0)->edx & (1u << 28)), "a single CPU");
	ok(!(find(1, 0)->ecx & (1u << 24)), "no TSC deadline timer without KVM's");
	ok(find(0xb, 1)->eax == 0 && find(0xb, 1)->ebx == 1, "its topology");
}

static void test_full(void)
{
	host();
	while (cpuid.head.nent < CPUID_MAX_ENTRIES)
		add(0xd, cpuid.head.nent, 0, 0, 0, 0);
	cpuid_set_vcpu(&cpuid, 0, 16, false);
	ok(cpuid.head.nent <= CPUID_MAX_ENTRIES, "no more entries than there is room for");
	cpuid.entries[0].eax = 0xa;
	cpuid_set_vcpu(&cpuid, 0, 16, false);
	ok(!find(0xb, 0)->function, "no leaf beyond the last");
}

static void test_features(void)
{
	host();
	cpuid_add_features(&cpuid, 1u << 16);
	ok(find(0x40000001, 0)->eax == 0x01017afb && find(0x40000000, 0)->eax == 0x40000001 &&
	   find(1, 0)->eax == 0x800f12, "a feature of KVM's that is for us to offer");
}

int main(void)
{
	test_four();
	test_one();
	test_full();
	test_features();
	return done_testing();
}
