// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/kvm_para.h>
#include <string.h>
#include <sys/ioctl.h>

#include "guestmem.h"
#include "hypercall.h"
#include "message.h"
#include "status.h"
#include "vm.h"

#define PAGE_SIZE		4096ULL
#define MAX_PAGE_SIZE		KVM_MAP_GPA_RANGE_PAGE_SZ_1G
#define PAGE_SIZE_BITS		0xfULL	/* page size that the guest requests; ignored */
#define KNOWN_ATTRIBUTES	(PAGE_SIZE_BITS | KVM_MAP_GPA_RANGE_ENCRYPTED)

/* The vCPU does not run meanwhile, so retry briefly and then return EAGAIN. */
#define RETRY_MS		5

int hypercall_enable(struct vm *vm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_EXIT_HYPERCALL, .args = { 1ULL << KVM_HC_MAP_GPA_RANGE },
	};

	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap))
		return fail(STATUS_ERROR, "this kernel's KVM does not pass hypercalls to the VMM: %s",
			    strerror(errno));
	return 0;
}

static int map_gpa_range(struct memory *memory, uint64_t gpa, uint64_t pages, uint64_t attributes)
{
	uint64_t offset, size = pages * PAGE_SIZE;
	int ret;

	if ((attributes & ~KNOWN_ATTRIBUTES) || (attributes & PAGE_SIZE_BITS) > MAX_PAGE_SIZE)
		return -EINVAL;
	if (gpa % PAGE_SIZE || !pages || pages > memory->size / PAGE_SIZE ||
	    !memory_offset(memory, gpa, size, &offset))
		return -EINVAL;

	if (attributes & KVM_MAP_GPA_RANGE_ENCRYPTED)
		ret = guestmem_make_inaccessible(memory->fd, offset, size, RETRY_MS, NULL);
	else
		ret = guestmem_make_accessible(memory->fd, offset, size, RETRY_MS, NULL);
	switch (ret) {
	case 0:
	case -EAGAIN:
		return ret;
	case -ENOMEM:		/* nothing has changed; a retry may succeed */
	case -EINTR:
		return -EAGAIN;
	}
	return -EINVAL;
}

/*
 * KVM copies run->hypercall.ret to the guest's rax unchanged.  In the ABI of
 * KVM's hypercalls that is a negated KVM_E* number, which has the value of
 * Linux's errno of the same name.  There is no KVM_EAGAIN, but KVM's API uses
 * EAGAIN to make the guest retry.  Only for guests of SEV and TDX the VMM must
 * not negate the value, because KVM translates it.
 */
void hypercall_exit(struct vm *vm, struct kvm_run *run)
{
	const __u64 *args = run->hypercall.args;
	int ret = -KVM_ENOSYS;

	if (run->hypercall.nr == KVM_HC_MAP_GPA_RANGE &&
	    vm->memory.kind == MEMORY_GUEST_CONTROLLED) {
		ret = map_gpa_range(&vm->memory, args[0], args[1], args[2]);
		atomic_fetch_add(ret ? &vm->conversions.refused : &vm->conversions.granted, 1);
	}
	run->hypercall.ret = (int64_t)ret;
}
