// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's part of MEM_SHARE and MEM_UNSHARE, which a protected guest calls.  EL2
 * stores the vCPU's request, commits it when KVM is ready, and answers the
 * guest.
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

	/* With preemption disabled, EL2 has the vCPU loaded on this CPU. */
	guard(preempt)();
	return kvm_call_hyp_nvhe(__pkvm_commit_mem_request, request->func, request->gfn);
}

/**
 * pkvm_handle_mem_request - handle MEM_SHARE or MEM_UNSHARE of a protected vCPU
 * @vcpu: The vCPU, which is loaded.
 * @func: The function that the vCPU called before it exited.
 *
 * Before the guest receives the answer, KVM makes the page of a hidden file one
 * that the VMM can map, or the reverse.  Other memory of a protected VM is
 * pinned and needs no preparation.
 *
 * Context: May sleep.
 * Return: False if the call is neither of the two.
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
	 * EL2 writes the answer itself if the vCPU continues after the call.
	 * It does not if KVM injects an exception first: the vCPU then
	 * continues in a handler of the guest, which returns to the instruction
	 * after the call.
	 */
	smccc_set_retval(vcpu, err ? SMCCC_RET_INVALID_PARAMETER : SMCCC_RET_SUCCESS, 0, 0, 0);
	return true;
}
