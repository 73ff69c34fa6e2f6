/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef CPUID_H
#define CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#define CPUID_MAX_ENTRIES	256

/* A struct kvm_cpuid2 with room for its entries. */
struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[CPUID_MAX_ENTRIES];
};

/*
 * Reads the features that KVM supports on this host.  Returns 0, or prints a
 * message and returns an exit status.
 */
int cpuid_read(struct cpuid *cpuid, int kvm_fd);

/*
 * Changes @cpuid for one vCPU: sets its APIC ID and a topology of one package
 * with one thread per core.  The leaves of KVM's own features, such as
 * kvm-clock, stay.
 */
void cpuid_set_vcpu(struct cpuid *cpuid, unsigned int apic_id, unsigned int nr_cpus,
		    bool tsc_deadline);

/* Adds features (1 << KVM_FEATURE_*) that the VMM must enable itself. */
void cpuid_add_features(struct cpuid *cpuid, uint32_t features);

#endif
