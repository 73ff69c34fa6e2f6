/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef CPUID_H
#define CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#define CPUID_MAX_ENTRIES	256

/* struct kvm_cpuid2 with room for its entries */
struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[CPUID_MAX_ENTRIES];
};

/* All that KVM can offer on this host.  Return: 0 or an exit status after a message. */
int cpuid_read(struct cpuid *cpuid, int kvm_fd);

/*
 * Make it the CPUID of one vCPU: its APIC ID, and a topology of one package
 * with one thread to a core.  KVM's own leaves stay, for kvm-clock and the rest.
 */
void cpuid_set_vcpu(struct cpuid *cpuid, unsigned int apic_id, unsigned int nr_cpus,
		    bool tsc_deadline);

/* Offer features (1 << KVM_FEATURE_*) to the guest that KVM leaves to us. */
void cpuid_add_features(struct cpuid *cpuid, uint32_t features);

#endif
