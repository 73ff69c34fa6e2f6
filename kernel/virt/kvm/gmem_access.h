/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_GMEM_ACCESS_INTERNAL_H__
#define __KVM_GMEM_ACCESS_INTERNAL_H__

/* What guest_memfd.c provides to gmem_access.c. */

#include <linux/kvm_types.h>

struct file;
struct folio;
struct kvm_memory_slot;

struct file *kvm_gmem_slot_file(const struct kvm_memory_slot *slot);
struct folio *kvm_gmem_slot_folio(struct kvm_memory_slot *slot, gfn_t gfn);
int kvm_gmem_read_file(struct kvm_memory_slot *slot, gfn_t gfn,
		       unsigned int offset, void *data, unsigned int len);
int kvm_gmem_write_file(struct kvm_memory_slot *slot, gfn_t gfn,
			unsigned int offset, const void *data, unsigned int len);

#endif /* __KVM_GMEM_ACCESS_INTERNAL_H__ */
