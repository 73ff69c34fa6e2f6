/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_GMEM_PVM_H
#define SELFTEST_KVM_GMEM_PVM_H

/*
 * Protected VMs (pKVM) on one guest_memfd, for the tests of guest_memfd.  The
 * selftest library does not support protected VMs, so these helpers use raw
 * ioctls and guests without page tables.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gmem_arch.h"
#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define GMEM_PVM_FLAGS	(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED | \
			 GUEST_MEMFD_FLAG_NO_DIRECT_MAP)
#define GMEM_PVM_VCPUS	2
/* No memslot contains this address: an access ends KVM_RUN. */
#define GMEM_PVM_MMIO	SZ_64K

struct gmem_pvm {
	int vm, fd;
	int vcpu[GMEM_PVM_VCPUS];
	struct kvm_run *run[GMEM_PVM_VCPUS];
	size_t run_size, size;
	char *mem;
};

/* Initializes a pvm without resources, which gmem_pvm_close_*() accept. */
static inline void gmem_pvm_init(struct gmem_pvm *p)
{
	memset(p, 0, sizeof(*p));
	p->vm = -1;
	memset(p->vcpu, -1, sizeof(p->vcpu));
	p->fd = -1;
}

/* Return: the VM, or -1 with errno. */
static inline int gmem_pvm_create_vm(void)
{
	int kvm = open_kvm_dev_path_or_exit();
	int vm = ioctl(kvm, KVM_CREATE_VM, KVM_VM_TYPE_ARM_PROTECTED);

	kvm_close(kvm);
	return vm;
}

/* Skip a test on a host without protected VMs. */
static inline void gmem_pvm_require(void)
{
	int vm;

	gmem_require();
	vm = gmem_pvm_create_vm();
	__TEST_REQUIRE(vm >= 0, "no protected VMs on this host");
	kvm_close(vm);
}

/* Return: the guest_memfd, or -1 with errno. */
static inline int gmem_pvm_create_file(int vm, u64 size, u64 flags)
{
	struct kvm_create_guest_memfd file = { .size = size, .flags = flags };

	return ioctl(vm, KVM_CREATE_GUEST_MEMFD, &file);
}

/* Return: 0 or errno. */
static inline int gmem_pvm_add_slot(int vm, u32 flags, void *mem, u64 size, int fd)
{
	struct kvm_userspace_memory_region2 slot = {
		.slot = 0,
		.flags = flags,
		.guest_phys_addr = GMEM_GPA,
		.memory_size = size,
		.userspace_addr = (u64)mem,
		.guest_memfd = fd,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &slot) ? errno : 0;
}

static inline void gmem_pvm_set_reg(int vcpu, u64 id, u64 value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (u64)&value };

	TEST_ASSERT(!ioctl(vcpu, KVM_SET_ONE_REG, &reg), "register 0x%lx: errno %d", id, errno);
}

/* Creates a vCPU that starts at the start of the memory with these x0 to x4. */
static inline void gmem_pvm_create_vcpu(struct gmem_pvm *p, int i, const u64 *args)
{
	static const u64 ids[] = {
		ARM64_CORE_REG(regs.regs[0]), ARM64_CORE_REG(regs.regs[1]),
		ARM64_CORE_REG(regs.regs[2]), ARM64_CORE_REG(regs.regs[3]),
		ARM64_CORE_REG(regs.regs[4]),
	};
	struct kvm_vcpu_init init = {};
	int n, vcpu = ioctl(p->vm, KVM_CREATE_VCPU, i);

	TEST_ASSERT(vcpu >= 0, "KVM_CREATE_VCPU: errno %d", errno);
	TEST_ASSERT(!ioctl(p->vm, KVM_ARM_PREFERRED_TARGET, &init), "errno %d", errno);
	TEST_ASSERT(!ioctl(vcpu, KVM_ARM_VCPU_INIT, &init), "errno %d", errno);
	p->vcpu[i] = vcpu;
	p->run[i] = kvm_mmap(p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu);
	gmem_pvm_set_reg(vcpu, ARM64_CORE_REG(regs.pc), GMEM_GPA);
	for (n = 0; n < ARRAY_SIZE(ids); n++)
		gmem_pvm_set_reg(vcpu, ids[n], args[n]);
}

/* Creates the vCPUs, and copies the guest's code to the start of its memory. */
static inline void gmem_pvm_create_guest(struct gmem_pvm *p, int nr_vcpus, const u64 *args,
					 const char *code, const char *code_end)
{
	int i, kvm = open_kvm_dev_path_or_exit();

	p->run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	kvm_close(kvm);
	for (i = 0; i < nr_vcpus; i++)
		gmem_pvm_create_vcpu(p, i, args);
	memcpy(p->mem, code, code_end - code);
}

/* Creates the VM with its memory, which is at level USER. */
static inline void gmem_pvm_create(struct gmem_pvm *p, size_t size)
{
	p->size = size;
	p->vm = gmem_pvm_create_vm();
	TEST_ASSERT(p->vm >= 0, "KVM_CREATE_VM: errno %d", errno);
	p->fd = gmem_pvm_create_file(p->vm, size, GMEM_PVM_FLAGS);
	TEST_ASSERT(p->fd >= 0, "KVM_CREATE_GUEST_MEMFD: errno %d", errno);
	p->mem = kvm_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd);
	TEST_ASSERT_EQ(gmem_pvm_add_slot(p->vm, KVM_MEM_GUEST_MEMFD, p->mem, size, p->fd), 0);
}

static inline void gmem_pvm_seal(struct gmem_pvm *p)
{
	gmem_set_access(p->fd, 0, p->size, GUEST_MEMFD_ACCESS_NONE);
}

static inline void gmem_pvm_close_file(struct gmem_pvm *p)
{
	if (p->mem)
		kvm_munmap(p->mem, p->size);
	if (p->fd >= 0)
		kvm_close(p->fd);
	p->mem = NULL;
	p->fd = -1;
}

static inline void gmem_pvm_close_vm(struct gmem_pvm *p)
{
	int i;

	for (i = 0; i < GMEM_PVM_VCPUS; i++) {
		if (p->run[i])
			kvm_munmap(p->run[i], p->run_size);
		if (p->vcpu[i] >= 0)
			kvm_close(p->vcpu[i]);
		p->run[i] = NULL;
		p->vcpu[i] = -1;
	}
	if (p->vm >= 0)
		kvm_close(p->vm);
	p->vm = -1;
}

/* Duplicates descriptor @fd of another process into the caller. */
static inline int gmem_pvm_get_fd(pid_t pid, int fd)
{
	int own, pidfd = syscall(SYS_pidfd_open, pid, 0);

	TEST_ASSERT(pidfd >= 0, "pidfd_open: errno %d", errno);
	own = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	TEST_ASSERT(own >= 0, "pidfd_getfd: errno %d", errno);
	kvm_close(pidfd);
	return own;
}

static inline void gmem_pvm_kill(pid_t pid)
{
	int status;

	TEST_ASSERT(!kill(pid, SIGKILL), "kill: errno %d", errno);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid: errno %d", errno);
	TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		    "the VMM ended with status 0x%x", status);
}

/* A number in the file's fdinfo: "donated" or "shared". */
static inline u64 gmem_pvm_count(int fd, const char *name)
{
	char path[64], line[256], format[64];
	u64 nr = -1ULL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	snprintf(format, sizeof(format), "guest_memfd-%s:\t%%lu\n", name);
	f = fopen(path, "r");
	TEST_ASSERT(f, "cannot open %s", path);
	while (fgets(line, sizeof(line), f))
		sscanf(line, format, &nr);
	fclose(f);
	return nr;
}

#endif /* SELFTEST_KVM_GMEM_PVM_H */
