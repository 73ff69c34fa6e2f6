/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __ARM64_KVM_NVHE_MEM_REQUEST_H__
#define __ARM64_KVM_NVHE_MEM_REQUEST_H__

#include <linux/types.h>

#include <nvhe/memory.h>

struct kvm_cpu_context;
struct pkvm_hyp_vcpu;

/**
 * struct pkvm_mem_request - the unanswered request of a protected VM's vCPU
 * @func: MEM_SHARE or MEM_UNSHARE, as SMCCC function ID; 0 if there is no
 *	request.
 * @gfn: The gfn of the page.
 * @pc: The address at which the vCPU continues.
 * @done: The host has committed the request.
 */
struct pkvm_mem_request {
	u32 func;
	bool done;
	u64 gfn;
	u64 pc;
};

int pkvm_make_mem_request(struct pkvm_hyp_vcpu *hyp_vcpu, u64 ipa, enum pkvm_page_state from);
void pkvm_answer_mem_request(struct pkvm_hyp_vcpu *hyp_vcpu);
void handle___pkvm_commit_mem_request(struct kvm_cpu_context *host_ctxt);
#ifdef CONFIG_NVHE_EL2_DEBUG
void pkvm_mem_request_selftest(struct pkvm_hyp_vcpu *hyp_vcpu, u64 gfn);
#endif

#endif /* __ARM64_KVM_NVHE_MEM_REQUEST_H__ */
