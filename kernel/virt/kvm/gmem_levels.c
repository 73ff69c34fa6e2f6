// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KVM decides about the access levels of its files: which VMs may have
 * such files, which changes KVM refuses, and for which memslots KVM must test
 * the level.
 */

#include <linux/guest_memfd.h>
#include <linux/kvm_host.h>

#include "gmem_file.h"

/*
 * KVM passes its flags to the library unchanged, and fdinfo shows them: the
 * values of the library's flags must be those of KVM's.
 */
static_assert(GM_FILE_MMAP == GUEST_MEMFD_FLAG_MMAP);
static_assert(GM_FILE_INIT_ACCESS == GUEST_MEMFD_FLAG_INIT_SHARED);
static_assert(GM_FILE_NO_DIRECT_MAP == GUEST_MEMFD_FLAG_NO_DIRECT_MAP);

bool __weak kvm_arch_supports_gmem_no_direct_map(struct kvm *kvm)
{
	return false;
}

/* Does the architecture forbid this VM memory that is in the direct map? */
bool __weak kvm_arch_gmem_must_hide(struct kvm *kvm)
{
	return false;
}

/* Can KVM create a guest_memfd for this VM, or for any VM if @kvm is NULL? */
bool kvm_gmem_supported(struct kvm *kvm)
{
	return !kvm || !kvm_arch_gmem_must_hide(kvm) || kvm_arch_supports_gmem_no_direct_map(kvm);
}

/* The flags that KVM offers this VM, or offers to some VM if @kvm is NULL. */
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

/*
 * Can KVM create a guest_memfd with these flags?  KVM offers each of them to
 * @kvm.
 */
bool kvm_gmem_flags_valid(struct kvm *kvm, u64 flags)
{
	return flags & GUEST_MEMFD_FLAG_NO_DIRECT_MAP || !kvm_arch_gmem_must_hide(kvm);
}

/*
 * Publish the levels of @gm in @slot, so that KVM's accesses to the memslot
 * test the level.  KVM does not publish them for private memory that hardware
 * protects, because the host must not touch such memory at any level.
 */
void kvm_gmem_publish_levels(struct kvm *kvm, struct kvm_memory_slot *slot,
			     struct guest_memfd *gm)
{
	if (kvm_memslot_is_gmem_only(slot) &&
	    (!kvm_arch_has_private_mem(kvm) || kvm_slot_is_hidden(slot)))
		WRITE_ONCE(slot->gmem.levels, gm);
}

/*
 * The library asks whether the level of a range may change.  No hardware
 * protects hidden memory, so its levels alone decide.  For other memory, a
 * level with user access must not circumvent the refusal of
 * GUEST_MEMFD_FLAG_INIT_SHARED.
 */
int kvm_gmem_may_set_access(struct guest_memfd *gm, pgoff_t start, pgoff_t end,
			    unsigned int level)
{
	struct kvm_memory_slot *slot;
	unsigned long index;
	struct gmem_file *f;

	if (level == GUEST_MEMFD_ACCESS_NONE) {
		/*
		 * If the change fails, KVM tests the level needlessly, which is
		 * harmless.
		 */
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
