/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_GMEM_ACCESS_INTERNAL_H__
#define __KVM_GMEM_ACCESS_INTERNAL_H__

/* The functions of gmem_access.c that KVM's other gmem_*.c files call. */

#include <linux/kvm_types.h>

struct file;
struct kvm_host_map;
struct kvm_memory_slot;
struct page;

int kvm_gmem_read_file(struct kvm_memory_slot *slot, gfn_t gfn,
		       unsigned int offset, void *data, unsigned int len);
int kvm_gmem_write_file(struct kvm_memory_slot *slot, gfn_t gfn,
			unsigned int offset, const void *data, unsigned int len);
struct page *kvm_gmem_get_direct_map(struct kvm_memory_slot *slot, gfn_t gfn,
				     struct file **file);
void kvm_gmem_get_direct_map_done(struct file *file);
int kvm_gmem_map_host(struct kvm_memory_slot *slot, struct kvm_host_map *map);
void kvm_gmem_unmap_host(struct kvm_host_map *map);

#endif /* __KVM_GMEM_ACCESS_INTERNAL_H__ */
