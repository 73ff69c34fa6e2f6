// SPDX-License-Identifier: GPL-2.0-only
/* The parts of guest_memfd_hide.h that depend on x86. */
#include "guest_memfd_hide.h"

u64 gmem_mapped_by_pages(void)
{
	return gmem_meminfo("DirectMap4k");
}

u64 gmem_pages_2m(struct kvm_vm *vm)
{
	return vm_get_stat(vm, pages_2m);
}

u64 gmem_guest_faults(struct kvm_vcpu *vcpu)
{
	return vcpu_get_stat(vcpu, pf_taken);
}
