/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Give the memory of every VM of the KVM selftests a guest_memfd behind it.
 * Three calls in lib/kvm_util.c (see hidden.patch) are all the library needs.
 */
#ifndef SELFTEST_KVM_HIDDEN_H
#define SELFTEST_KVM_HIDDEN_H

struct kvm_vm;
struct userspace_mem_region;

unsigned int hidden_back(struct kvm_vm *vm, struct userspace_mem_region *region,
			 unsigned int slot, unsigned int flags);
void hidden_restart(struct kvm_vm *vm, struct userspace_mem_region *region);
void hidden_move(struct kvm_vm *vm, struct userspace_mem_region *region);
void sealed_add(int fd, void *mem, size_t size);

#endif
