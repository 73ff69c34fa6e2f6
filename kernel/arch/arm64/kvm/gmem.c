// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory outside the linear map, on arm64.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>

#include <asm/kvm_mmu.h>
#include <asm/kvm_nested.h>

#include "gmem.h"

/* pKVM pins anonymous memory for a protected VM. */
bool kvm_arch_supports_gmem_no_direct_map(struct kvm *kvm)
{
	return guest_memfd_can_hide() && (!kvm || !kvm_vm_is_protected(kvm));
}

/* Is the block of 2 MiB around @gfn in the memslot? */
static bool block_in_slot(const struct kvm_memory_slot *slot, gfn_t gfn)
{
	gfn_t first = round_down(gfn, PTRS_PER_PTE);

	return first >= slot->base_gfn && first + PTRS_PER_PTE <= slot->base_gfn + slot->npages;
}

/**
 * kvm_gmem_range - choose the range that a fault on a guest_memfd maps
 * @slot: The memslot; KVM refuses dirty logging for it.
 * @nested: The translation by the guest's own stage 2, or NULL.
 * @ipa: The IPA that faulted.
 * @pfn: The page of the file at @ipa.
 * @range: @order is set by the caller; the other fields are returned.
 *
 * For a nested guest KVM maps 4 KiB, as the entry of the guest's own stage 2 may
 * be smaller than 2 MiB.
 *
 * Context: Any.
 */
void kvm_gmem_range(const struct kvm_memory_slot *slot, const struct kvm_s2_trans *nested,
		    phys_addr_t ipa, kvm_pfn_t pfn, struct kvm_gmem_range *range)
{
	range->ipa = ipa;
	range->size = PAGE_SIZE;
	range->phys = __pfn_to_phys(pfn);
	if (nested || range->order < PMD_ORDER || !block_in_slot(slot, ipa >> PAGE_SHIFT))
		return;
	range->ipa = round_down(ipa, PMD_SIZE);
	range->phys = round_down(range->phys, PMD_SIZE);
	range->size = PMD_SIZE;
}
