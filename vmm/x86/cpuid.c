// SPDX-License-Identifier: GPL-2.0-only
#include <asm/kvm_para.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cpuid.h"
#include "message.h"
#include "status.h"

#define ECX_TSC_DEADLINE	(1u << 24)
#define ECX_HYPERVISOR		(1u << 31)
#define EDX_HTT			(1u << 28)
#define TOPOLOGY_THREAD		1
#define TOPOLOGY_CORE		2

_Static_assert(offsetof(struct cpuid, entries) == sizeof(struct kvm_cpuid2),
	       "the entries follow the head");

int cpuid_read(struct cpuid *cpuid, int kvm_fd)
{
	memset(cpuid, 0, sizeof(*cpuid));
	cpuid->head.nent = CPUID_MAX_ENTRIES;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid->head))
		return fail(STATUS_ERROR, "cannot get KVM's CPUID: %s", strerror(errno));
	return 0;
}

/* Returns how many bits an index below @count needs. */
static unsigned int bits_for(unsigned int count)
{
	unsigned int bits = 0;

	while ((1u << bits) < count)
		bits++;
	return bits;
}

static void set_field(uint32_t *reg, unsigned int low, unsigned int width, uint32_t value)
{
	uint32_t mask = ((1u << width) - 1) << low;

	*reg = (*reg & ~mask) | (value << low & mask);
}

/* Each core has its own caches of levels 1 and 2; all cores share level 3. */
static void set_cache_sharing(struct kvm_cpuid_entry2 *entry, unsigned int nr_cpus)
{
	unsigned int level = entry->eax >> 5 & 7;

	if (entry->eax & 0x1f)
		set_field(&entry->eax, 14, 12, level >= 3 ? nr_cpus - 1 : 0);
}

/* Extended topology leaves; the VMM must fill them because KVM does not. */
static bool is_topology(uint32_t function)
{
	return function == 0xb || function == 0x1f || function == 0x80000026;
}

static void remove_topology(struct cpuid *cpuid)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < cpuid->head.nent; i++)
		if (!is_topology(cpuid->entries[i].function))
			cpuid->entries[kept++] = cpuid->entries[i];
	cpuid->head.nent = kept;
}

static void add_topology(struct cpuid *cpuid, uint32_t index, uint32_t bits, uint32_t cpus,
			 uint32_t type, uint32_t apic_id)
{
	if (cpuid->head.nent == CPUID_MAX_ENTRIES)
		return;
	cpuid->entries[cpuid->head.nent++] = (struct kvm_cpuid_entry2){
		.function = 0xb, .index = index, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = bits, .ebx = cpus, .ecx = type << 8 | index, .edx = apic_id,
	};
}

void cpuid_set_vcpu(struct cpuid *cpuid, unsigned int apic_id, unsigned int nr_cpus,
		    bool tsc_deadline)
{
	unsigned int bits = bits_for(nr_cpus);
	uint32_t max_leaf = 0;

	for (unsigned int i = 0; i < cpuid->head.nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		switch (entry->function) {
		case 0:
			max_leaf = entry->eax;
			break;
		case 1:
			set_field(&entry->ebx, 24, 8, apic_id);
			set_field(&entry->ebx, 16, 8, 1u << bits);
			entry->ecx |= ECX_HYPERVISOR | (tsc_deadline ? ECX_TSC_DEADLINE : 0);
			entry->edx &= ~EDX_HTT;
			entry->edx |= nr_cpus > 1 ? EDX_HTT : 0;
			break;
		case 4:
			set_cache_sharing(entry, nr_cpus);
			if (entry->eax & 0x1f)
				set_field(&entry->eax, 26, 6, (1u << bits) - 1);
			break;
		case 0x80000008:
			set_field(&entry->ecx, 0, 8, nr_cpus - 1);
			set_field(&entry->ecx, 12, 4, bits);
			break;
		case 0x8000001d:
			set_cache_sharing(entry, nr_cpus);
			break;
		case 0x8000001e:
			entry->eax = apic_id;
			entry->ebx = apic_id;	/* core ID; bits 8 and up: threads per core - 1 */
			entry->ecx = 0;
			break;
		}
	}

	remove_topology(cpuid);
	if (max_leaf < 0xb)
		return;
	add_topology(cpuid, 0, 0, 1, TOPOLOGY_THREAD, apic_id);
	add_topology(cpuid, 1, bits, nr_cpus, TOPOLOGY_CORE, apic_id);
	add_topology(cpuid, 2, 0, 0, 0, apic_id);
}

void cpuid_add_features(struct cpuid *cpuid, uint32_t features)
{
	for (unsigned int i = 0; i < cpuid->head.nent; i++)
		if (cpuid->entries[i].function == KVM_CPUID_FEATURES)
			cpuid->entries[i].eax |= features;
}
