// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's part of MEM_SHARE and MEM_UNSHARE, which a protected guest calls.  EL2 keeps the
 * vCPU's request, commits it when KVM is ready, and answers the guest.
 */

#include <linux/arm-smccc.h>
#include <linux/kvm_host.h>

#include <asm/kvm_pkvm.h>

#include <kvm/arm_hypercalls.h>

#include "gmem.h"

struct mem_request {
	u32 func;
	gfn_t gfn;
};

static int commit(void *arg)
{
	struct mem_request *request = arg;

	/* EL2 has the vCPU loaded on this CPU. */
	guard(preempt)();
	return kvm_call_hyp_nvhe(__pkvm_commit_mem_request, request->func, request->gfn);
}

/**
 * pkvm_handle_mem_request - handle an exit of a protected vCPU for MEM_SHARE or MEM_UNSHARE
 * @vcpu: The vCPU, which is loaded.
 * @func: What it called.
 *
 * A page of a hidden file becomes one that the VMM can map, or the reverse, before the
 * guest is told.  Other memory of a protected VM is pinned, and needs nothing.
 *
 * Context: May sleep.
 * Return: False when the call is another one.
 */
bool pkvm_handle_mem_request(struct kvm_vcpu *vcpu, u32 func)
{
	struct mem_request request = { func, smccc_get_arg1(vcpu) >> PAGE_SHIFT };
	bool share = func == ARM_SMCCC_VENDOR_HYP_KVM_MEM_SHARE_FUNC_ID;
	int err;

	if (!vcpu_is_protected(vcpu) ||
	    kvm_vcpu_trap_get_class(vcpu) != ESR_ELx_EC_HVC64 ||
	    (!share && func != ARM_SMCCC_VENDOR_HYP_KVM_MEM_UNSHARE_FUNC_ID))
		return false;
	err = kvm_gmem_guest_request(vcpu->kvm, request.gfn, share, commit, &request);
	if (err == -EOPNOTSUPP)
		err = commit(&request);
	/*
	 * EL2 writes this itself, unless the vCPU does not go on behind the call: because
	 * KVM injects an exception first, to which the guest returns from its handler.
	 */
	smccc_set_retval(vcpu, err ? SMCCC_RET_INVALID_PARAMETER : SMCCC_RET_SUCCESS, 0, 0, 0);
	return true;
}
