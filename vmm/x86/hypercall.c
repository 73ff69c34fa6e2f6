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
#define PAGE_SIZE_BITS		0xfULL	/* the guest's wish, of no concern here */
#define KNOWN_ATTRIBUTES	(PAGE_SIZE_BITS | KVM_MAP_GPA_RANGE_ENCRYPTED)

/* The vCPU stands still meanwhile: the guest had better ask again. */
#define RETRY_MS		5

int hypercall_enable(struct vm *vm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_EXIT_HYPERCALL, .args = { 1ULL << KVM_HC_MAP_GPA_RANGE },
	};

	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap))
		return fail(STATUS_ERROR, "this kernel's KVM does not pass on hypercalls: %s",
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
	case -ENOMEM:		/* nothing has changed, and another time it may work */
	case -EINTR:
		return -EAGAIN;
	}
	return -EINVAL;
}

/*
 * The answer goes into the guest's rax as it is, and by the ABI of KVM's
 * hypercalls that is a negated error number: KVM_E*, which are Linux's where
 * Linux has them.  There is no KVM_EAGAIN, but KVM's API has EAGAIN as the
 * wish that the guest ask again.  (Only for guests of SEV and TDX is it not
 * negated: there KVM itself translates it.)
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
