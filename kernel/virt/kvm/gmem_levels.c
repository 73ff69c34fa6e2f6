// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KVM decides about the access levels of its files: which VMs may have
 * them, which changes it refuses, and which memslots must look at them.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>

#include "gmem_file.h"

/* The library's flags have the values of KVM's, which fdinfo shows. */
static_assert(GM_FILE_MMAP == GUEST_MEMFD_FLAG_MMAP);
static_assert(GM_FILE_INIT_ACCESS == GUEST_MEMFD_FLAG_INIT_SHARED);
static_assert(GM_FILE_NO_DIRECT_MAP == GUEST_MEMFD_FLAG_NO_DIRECT_MAP);

bool __weak kvm_arch_supports_gmem_no_direct_map(struct kvm *kvm)
{
	return false;
}

/* Is memory that is not hidden refused to this VM? */
bool __weak kvm_arch_gmem_must_hide(struct kvm *kvm)
{
	return false;
}

/* Can this VM, or any if @kvm is NULL, have a guest_memfd? */
bool kvm_gmem_supported(struct kvm *kvm)
{
	return !kvm || !kvm_arch_gmem_must_hide(kvm) || kvm_arch_supports_gmem_no_direct_map(kvm);
}

/* The flags that this VM is offered, or that some VM is if @kvm is NULL. */
u64 kvm_gmem_get_supported_flags(struct kvm *kvm)
{
	bool shared = !kvm || kvm_arch_supports_gmem_init_shared(kvm);
	bool hidden = kvm_arch_supports_gmem_no_direct_map(kvm);

	if (!kvm_gmem_supported(kvm))
		return 0;
	return GUEST_MEMFD_FLAG_MMAP |
	       (shared ? GUEST_MEMFD_FLAG_INIT_SHARED : 0) |
	       (hidden ? GUEST_MEMFD_FLAG_NO_DIRECT_MAP : 0);
}

/* Can this VM have a guest_memfd with these flags, each of which it is offered? */
bool kvm_gmem_flags_valid(struct kvm *kvm, u64 flags)
{
	return flags & GUEST_MEMFD_FLAG_NO_DIRECT_MAP || !kvm_arch_gmem_must_hide(kvm);
}

/*
 * Tell KVM's accesses to @slot that they must look at the access level.  The
 * host must not touch private memory that hardware protects, at any level.
 */
void kvm_gmem_publish_levels(struct kvm *kvm, struct kvm_memory_slot *slot,
			     struct guest_memfd *gm)
{
	if (kvm_memslot_is_gmem_only(slot) &&
	    (!kvm_arch_has_private_mem(kvm) || kvm_slot_is_hidden(slot)))
		WRITE_ONCE(slot->gmem.levels, gm);
}

/*
 * No hardware protects hidden memory, so its levels alone decide.  For other
 * memory, a level with user access must not circumvent the refusal of
 * GUEST_MEMFD_FLAG_INIT_SHARED.
 */
int kvm_gmem_may_set_access(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			    unsigned int level)
{
	struct kvm_memory_slot *slot;
	unsigned long index;
	struct gmem_file *f;

	if (level == GUEST_MEMFD_ACCESS_NONE) {
		/* Harmless if the change fails: KVM tests the level for nothing. */
		GMEM_I(gm->inode)->may_disable_user = true;
		kvm_gmem_for_each_file(f, gm->inode) {
			xa_for_each(&f->bindings, index, slot)
				kvm_gmem_publish_levels(f->kvm, slot, gm);
		}
		return 0;
	}
	if (gm->flags & GUEST_MEMFD_FLAG_NO_DIRECT_MAP)
		return 0;
	kvm_gmem_for_each_file(f, gm->inode) {
		if (!kvm_arch_supports_gmem_init_shared(f->kvm))
			return -EOPNOTSUPP;
	}
	return 0;
}
