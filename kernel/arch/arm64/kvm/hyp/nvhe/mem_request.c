// SPDX-License-Identifier: GPL-2.0-only
/*
 * A protected guest shares a page with the host by MEM_SHARE, or ends that by
 * MEM_UNSHARE.
 *
 * EL2 does not change the page at once, because the host must prepare: its
 * kernel may have no mapping of the page, or processes may still map it.  EL2
 * stores the request in its own vCPU, and the vCPU exits.  The host commits the
 * request by a hypercall, and runs the vCPU again.
 *
 * The guest relies on EL2 alone.  EL2 commits only what this vCPU asked for,
 * once, and before the vCPU runs again; and it writes the answer: success if it
 * has committed, and an error otherwise.  So a host that lies or does nothing
 * can refuse the request, and no more.
 */

#include <kvm/arm_hypercalls.h>

#include <asm/kvm_hyp.h>
#include <asm/kvm_pgtable.h>

#include <nvhe/mem_protect.h>
#include <nvhe/mem_request.h>
#include <nvhe/memory.h>
#include <nvhe/pkvm.h>
#include <nvhe/trap_handler.h>

/*
 * Does the guest's stage 2 map the page in state @from?  The commit checks
 * again.
 */
static int check_page(struct pkvm_hyp_vm *vm, u64 ipa, enum pkvm_page_state from)
{
	kvm_pte_t pte;
	s8 level;
	int ret;

	hyp_spin_lock(&vm->lock);
	ret = kvm_pgtable_get_leaf(&vm->pgt, ipa, &pte, &level);
	hyp_spin_unlock(&vm->lock);
	if (ret)
		return ret;
	/* An invalid PTE that is not zero is poisoned: EL2 took the page by force. */
	if (!kvm_pte_valid(pte))
		return pte ? -EHWPOISON : -ENOENT;
	return pkvm_getstate(kvm_pgtable_stage2_pte_prot(pte)) == from ? 0 : -EPERM;
}

/**
 * pkvm_make_mem_request - store the request of a vCPU
 * @hyp_vcpu: The loaded vCPU, which has just called MEM_SHARE or MEM_UNSHARE.
 * @ipa: The page.
 * @from: The page's state for the guest, which the call is to change.
 *
 * Return: 0 if the vCPU is to exit; -ENOENT if the guest has no such page yet;
 * or another error, with which EL2 answers the guest at once.
 */
int pkvm_make_mem_request(struct pkvm_hyp_vcpu *hyp_vcpu, u64 ipa, enum pkvm_page_state from)
{
	int ret = check_page(pkvm_hyp_vcpu_to_hyp_vm(hyp_vcpu), ipa, from);

	if (!ret)
		hyp_vcpu->mem_request = (struct pkvm_mem_request){
			.func = smccc_get_function(&hyp_vcpu->vcpu),
			.gfn = hyp_phys_to_pfn(ipa),
			.pc = read_sysreg_el2(SYS_ELR),
		};
	return ret;
}

static int commit(struct pkvm_hyp_vcpu *hyp_vcpu, u32 func, u64 gfn)
{
	struct pkvm_mem_request *request = &hyp_vcpu->mem_request;
	int ret;

	if (!request->func || request->done || request->func != func || request->gfn != gfn)
		return -EPERM;
	if (func == ARM_SMCCC_VENDOR_HYP_KVM_MEM_SHARE_FUNC_ID)
		ret = __pkvm_guest_share_host(hyp_vcpu, gfn);
	else
		ret = __pkvm_guest_unshare_host(hyp_vcpu, gfn);
	request->done = !ret;
	return ret;
}

/**
 * handle___pkvm_commit_mem_request - commit the stored request of a vCPU
 * @host_ctxt: The host's registers.  Register 1 contains the function and
 *	register 2 the gfn.  EL2 sets register 1 to 0, or to an error if nothing
 *	has changed.
 *
 * The host calls this when it has prepared.  The vCPU is the one that is loaded
 * on this CPU, so its VM is not dying.
 */
void handle___pkvm_commit_mem_request(struct kvm_cpu_context *host_ctxt)
{
	DECLARE_REG(u32, func, host_ctxt, 1);
	DECLARE_REG(u64, gfn, host_ctxt, 2);
	struct pkvm_hyp_vcpu *hyp_vcpu = pkvm_get_loaded_hyp_vcpu();

	cpu_reg(host_ctxt, 1) = hyp_vcpu ? commit(hyp_vcpu, func, gfn) : -EINVAL;
}

/**
 * pkvm_answer_mem_request - answer the request of a vCPU that is about to run
 * @hyp_vcpu: A vCPU with the registers with which it will run.
 */
void pkvm_answer_mem_request(struct pkvm_hyp_vcpu *hyp_vcpu)
{
	struct pkvm_mem_request *request = &hyp_vcpu->mem_request;
	struct kvm_vcpu *vcpu = &hyp_vcpu->vcpu;

	if (!request->func)
		return;
	/*
	 * If the PC differs, KVM has injected an exception, or the VMM has
	 * reset the vCPU.
	 */
	if (*vcpu_pc(vcpu) == request->pc)
		smccc_set_retval(vcpu, request->done ? SMCCC_RET_SUCCESS :
				 SMCCC_RET_INVALID_PARAMETER, 0, 0, 0);
	*request = (struct pkvm_mem_request){};
}

#ifdef CONFIG_NVHE_EL2_DEBUG
/* The page stays in @state, whatever the host asks for. */
static void assert_nothing_commits(struct pkvm_hyp_vcpu *hyp_vcpu, u64 gfn,
				   enum pkvm_page_state state)
{
	const u32 share = ARM_SMCCC_VENDOR_HYP_KVM_MEM_SHARE_FUNC_ID;
	const u32 unshare = ARM_SMCCC_VENDOR_HYP_KVM_MEM_UNSHARE_FUNC_ID;

	WARN_ON(commit(hyp_vcpu, share, gfn) != -EPERM);
	WARN_ON(commit(hyp_vcpu, unshare, gfn) != -EPERM);
	WARN_ON(commit(hyp_vcpu, 0, gfn) != -EPERM);
	WARN_ON(commit(hyp_vcpu, 0, 0) != -EPERM);
	WARN_ON(check_page(pkvm_hyp_vcpu_to_hyp_vm(hyp_vcpu), hyp_pfn_to_phys(gfn), state));
}

static u64 answer(struct pkvm_hyp_vcpu *hyp_vcpu)
{
	pkvm_answer_mem_request(hyp_vcpu);
	return vcpu_get_reg(&hyp_vcpu->vcpu, 0);
}

/* The vCPU asks for @func, which changes the page's state from @from to @to. */
static void test_request(struct pkvm_hyp_vcpu *hyp_vcpu, u64 gfn, u32 func, u32 other,
			 enum pkvm_page_state from, enum pkvm_page_state to)
{
	struct pkvm_hyp_vm *vm = pkvm_hyp_vcpu_to_hyp_vm(hyp_vcpu);
	struct kvm_vcpu *vcpu = &hyp_vcpu->vcpu;
	u64 ipa = hyp_pfn_to_phys(gfn);

	*vcpu_pc(vcpu) = read_sysreg_el2(SYS_ELR);
	assert_nothing_commits(hyp_vcpu, gfn, from);

	/* A request that EL2 answers at once leaves nothing to commit. */
	vcpu_set_reg(vcpu, 0, func);
	WARN_ON(pkvm_make_mem_request(hyp_vcpu, ipa, to) != -EPERM);
	WARN_ON(pkvm_make_mem_request(hyp_vcpu, ipa + PAGE_SIZE, from) != -ENOENT);
	assert_nothing_commits(hyp_vcpu, gfn, from);
	WARN_ON(answer(hyp_vcpu) != func);

	/* This host asks for something else, and then runs the vCPU. */
	WARN_ON(pkvm_make_mem_request(hyp_vcpu, ipa, from));
	WARN_ON(commit(hyp_vcpu, func, gfn + 1) != -EPERM);
	WARN_ON(commit(hyp_vcpu, other, gfn) != -EPERM);
	WARN_ON(check_page(vm, ipa, from));
	WARN_ON(answer(hyp_vcpu) != (u64)SMCCC_RET_INVALID_PARAMETER);
	assert_nothing_commits(hyp_vcpu, gfn, from);

	/* This host resets the vCPU. */
	vcpu_set_reg(vcpu, 0, func);
	WARN_ON(pkvm_make_mem_request(hyp_vcpu, ipa, from));
	*vcpu_pc(vcpu) += 4;
	WARN_ON(answer(hyp_vcpu) != func);
	*vcpu_pc(vcpu) -= 4;
	assert_nothing_commits(hyp_vcpu, gfn, from);

	/*
	 * This host is honest, and then commits again: before the vCPU runs and
	 * after it.
	 */
	WARN_ON(pkvm_make_mem_request(hyp_vcpu, ipa, from));
	WARN_ON(commit(hyp_vcpu, func, gfn));
	assert_nothing_commits(hyp_vcpu, gfn, to);
	WARN_ON(answer(hyp_vcpu) != SMCCC_RET_SUCCESS);
	assert_nothing_commits(hyp_vcpu, gfn, to);
}

/**
 * pkvm_mem_request_selftest - test the commits of a hostile host
 * @hyp_vcpu: A vCPU that is not loaded.
 * @gfn: A page that the vCPU's VM owns; the VM has no page at the next gfn.
 *
 * EL2 runs this when it starts.
 */
void pkvm_mem_request_selftest(struct pkvm_hyp_vcpu *hyp_vcpu, u64 gfn)
{
	const u32 share = ARM_SMCCC_VENDOR_HYP_KVM_MEM_SHARE_FUNC_ID;
	const u32 unshare = ARM_SMCCC_VENDOR_HYP_KVM_MEM_UNSHARE_FUNC_ID;

	test_request(hyp_vcpu, gfn, share, unshare, PKVM_PAGE_OWNED, PKVM_PAGE_SHARED_OWNED);
	test_request(hyp_vcpu, gfn, unshare, share, PKVM_PAGE_SHARED_OWNED, PKVM_PAGE_OWNED);
}
#endif
