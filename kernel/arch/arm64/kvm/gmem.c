// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory outside the linear map, on arm64.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>

#include <asm/kvm_mmu.h>
#include <asm/kvm_nested.h>
#include <asm/kvm_pkvm.h>

#include "gmem.h"

bool kvm_arch_supports_gmem_no_direct_map(struct kvm *kvm)
{
	return guest_memfd_can_hide();
}

/*
 * A protected VM owns its memory.  pKVM pins anonymous memory for it, and takes
 * hidden memory by guest_memfd_donate().  Pages of other files have no state
 * that records a donation.
 */
bool kvm_arch_gmem_must_hide(struct kvm *kvm)
{
	return kvm_vm_is_protected(kvm);
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
 * @range: The caller sets @order; this function sets the other fields.
 *
 * For a nested guest KVM maps 4 KiB, because the entry in the guest's own stage
 * 2 may be smaller than 2 MiB.
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

/*
 * A concurrent change can set the level to NONE between the test of the level
 * and the access, as in virt/kvm/gmem_access.c.
 */
#define SWAP_TRIES	8

static int swap_desc_file(struct kvm_memory_slot *slot, gfn_t gfn, unsigned int offset,
			  u64 old, u64 new)
{
	struct page *page = kvm_gmem_access_page(slot, gfn, false);
	int ret;

	if (!page)
		return -EFAULT;
	ret = guest_memfd_cmpxchg_page(page, offset, &old, &new, sizeof(old));
	put_page(page);
	return ret > 0 ? -EAGAIN : ret;
}

/**
 * kvm_gmem_swap_desc - replace a descriptor in the guest's page tables
 * @slot: The memslot, with or without a guest_memfd.
 * @gfn: A gfn in it.
 * @ptep: The user address of the descriptor, in the page of @gfn.
 * @old: The descriptor that KVM read.
 * @new: The descriptor to store.
 * @swap_user: Replaces the descriptor by the user address.
 *
 * At level NONE KVM replaces the descriptor through the file.
 *
 * Context: May sleep; kvm->srcu is held.
 * Return: 0; -EAGAIN if the memory does not contain @old; or -EFAULT.
 */
int kvm_gmem_swap_desc(struct kvm_memory_slot *slot, gfn_t gfn, u64 __user *ptep,
		       u64 old, u64 new, kvm_swap_desc_t swap_user)
{
	unsigned int tries;
	int ret = -EFAULT;

	for (tries = 0; ret == -EFAULT && tries < SWAP_TRIES; tries++) {
		if (kvm_gmem_user_disabled(slot, gfn))
			return swap_desc_file(slot, gfn, offset_in_page(ptep), old, new);
		ret = swap_user(ptep, old, new);
		if (!kvm_gmem_has_levels(slot))
			break;
	}
	return ret;
}

#ifdef CONFIG_GUEST_MEMFD_DONATE
/* The arguments of map_donated(). */
struct donation {
	struct kvm_vcpu *vcpu;
	phys_addr_t ipa;
	void *memcache;
};

static int map_donated(void *arg, struct page *page)
{
	struct donation *donation = arg;
	struct kvm_vcpu *vcpu = donation->vcpu;

	guard(write_lock)(&vcpu->kvm->mmu_lock);
	return pkvm_pgtable_stage2_map(vcpu->arch.hw_mmu->pgt, donation->ipa, PAGE_SIZE,
				       page_to_phys(page), KVM_PGTABLE_PROT_RWX,
				       donation->memcache, 0);
}

/**
 * kvm_gmem_donate_fault - handle a fault of a protected VM on a guest_memfd
 * @vcpu: The vCPU that faulted.
 * @slot: The memslot.
 * @ipa: The IPA, in @slot.
 * @memcache: Pages and a mapping for pKVM's page tables.
 *
 * KVM donates the page to the guest only at level NONE: the host then has no
 * mapping of it, and pKVM removes it from the host's stage 2.
 *
 * Context: May sleep; kvm->srcu is held.
 * Return: 0 if the guest continues; -EFAULT or -EHWPOISON if KVM_RUN ends with
 * KVM_EXIT_MEMORY_FAULT; or another error.
 */
int kvm_gmem_donate_fault(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot,
			  phys_addr_t ipa, void *memcache)
{
	struct donation donation = { vcpu, round_down(ipa, PAGE_SIZE), memcache };
	int ret;

	ret = kvm_gmem_donate(slot, ipa >> PAGE_SHIFT, map_donated, &donation);
	return ret == -EAGAIN ? 0 : ret;
}

/**
 * kvm_gmem_is_lost - must EL2 not touch a page of a protected VM any more?
 * @page: A page that the VM has.
 *
 * EL2 clears each page that it takes back from a guest, and can panic at an
 * uncorrectable memory error.  KVM therefore does not ask EL2 for a poisoned
 * page: it keeps its state and stays charged after the guest has ended.
 *
 * Context: May sleep.
 * Return: True for a poisoned page of a guest_memfd.
 */
bool kvm_gmem_is_lost(struct page *page)
{
	return PageHWPoison(page) && guest_memfd_owns_pfn(page_to_pfn(page));
}

/**
 * kvm_gmem_reclaimed - end the donation of a page that EL2 has returned
 * @page: A page that EL2 has returned to the host when it tore down a protected
 *	VM.
 *
 * Context: May sleep.
 * Return: False if the page does not belong to a guest_memfd; the caller then
 * unpins it.
 */
bool kvm_gmem_reclaimed(struct page *page)
{
	if (guest_memfd_end_donation(page))
		return true;
	return WARN_ON_ONCE(guest_memfd_owns_pfn(page_to_pfn(page)));
}
#endif

/* Do the user addresses of a memslot map hidden memory? */
static bool maps_hidden(const struct kvm_memory_slot *slot)
{
	unsigned long start = slot->userspace_addr;
	unsigned long end = start + (slot->npages << PAGE_SHIFT);
	struct vm_area_struct *vma;
	bool found = false;

	mmap_read_lock(current->mm);
	for (vma = find_vma_intersection(current->mm, start, end); vma && !found;
	     vma = find_vma_intersection(current->mm, vma->vm_end, end))
		found = vma_is_guest_memfd_hidden(vma);
	mmap_read_unlock(current->mm);
	return found;
}

/**
 * kvm_gmem_prepare_slot - may this VM have this memslot?
 * @kvm: The VM.
 * @slot: The memslot that KVM is about to create.
 *
 * KVM maps the page that a guest hypervisor stores in VNCR_EL2 in the kernel's
 * fixmap, without a direct-map reference.  So a VM has either nested guests or
 * hidden memory.  kvm->arch.config_lock serializes the two.  After the first
 * request for hidden memory a VM cannot have nested guests, even if KVM then
 * refuses the memslot.
 *
 * A protected VM gets hidden memory only through a guest_memfd.  By a user
 * address pKVM would have to pin the memory, which GUP refuses below level
 * KERNEL.
 *
 * Context: May sleep; kvm->slots_lock and kvm->slots_arch_lock are held.
 * Return: 0 or -EINVAL.
 */
int kvm_gmem_prepare_slot(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	if (kvm_vm_is_protected(kvm) && !kvm_slot_is_hidden(slot) &&
	    (kvm_slot_has_gmem(slot) || maps_hidden(slot)))
		return -EINVAL;
	if (!kvm_slot_is_hidden(slot))
		return 0;
	guard(mutex)(&kvm->arch.config_lock);
	if (test_bit(KVM_ARM_VCPU_HAS_EL2, kvm->arch.vcpu_features))
		return -EINVAL;
	set_bit(KVM_ARCH_FLAG_HIDDEN_MEMORY, &kvm->arch.flags);
	return 0;
}

/**
 * kvm_gmem_refuses_vcpu - does hidden memory exclude these vCPU features?
 * @kvm: The VM.
 * @features: The features of the vCPU, a bit for each KVM_ARM_VCPU_*.
 *
 * Context: kvm->arch.config_lock is held.
 * Return: True if the vCPU cannot have these features.
 */
bool kvm_gmem_refuses_vcpu(struct kvm *kvm, unsigned long features)
{
	lockdep_assert_held(&kvm->arch.config_lock);
	return test_bit(KVM_ARM_VCPU_HAS_EL2, &features) &&
	       test_bit(KVM_ARCH_FLAG_HIDDEN_MEMORY, &kvm->arch.flags);
}
