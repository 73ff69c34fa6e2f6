// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMs of the tests: test data in their memory, what their guests run, and
 * how they are created and destroyed.  guest_memfd_hide.h documents the
 * helpers.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "ucall_common.h"

#ifdef __x86_64__
#include <asm/kvm_para.h>

#include "processor.h"
#endif

/* Test data */

u64 gmem_new_seed(void)
{
	u64 seed;

	TEST_ASSERT(getrandom(&seed, sizeof(seed), 0) == sizeof(seed), "getrandom() failed");
	return seed;
}

/*
 * Like gmem_word(), with the offset taken from the address; guests and host map
 * at page boundaries.
 */
static inline u64 word_at(const volatile u64 *w, u64 seed)
{
	return gmem_word(seed, ((u64)w / sizeof(*w)) % GMEM_WORDS);
}

void gmem_fill(void *mem, size_t size, u64 seed)
{
	volatile u64 *w = mem;
	size_t i;

	for (i = 0; i < size / sizeof(*w); i++)
		w[i] = word_at(&w[i], seed);
}

void gmem_assert_filled(const void *mem, size_t size, u64 seed)
{
	const volatile u64 *w = mem;
	size_t i;
	u64 v;

	for (i = 0; i < size / sizeof(*w); i++) {
		v = w[i];
		TEST_ASSERT(v == word_at(&w[i], seed),
			    "word %lu is 0x%lx, want 0x%lx", i, v,
			    word_at(&w[i], seed));
	}
}

void gmem_assert_zero(const void *mem, size_t size)
{
	const volatile u64 *w = mem;
	size_t i;
	u64 v;

	for (i = 0; i < size / sizeof(*w); i++) {
		v = w[i];
		TEST_ASSERT(!v, "word %lu is 0x%lx, want zero", i, v);
	}
}

/* Guests */

static struct gmem_call {
	gmem_guest_fn fn;
	u64 arg[3];
} gmem_calls[GMEM_MAX_VCPUS];

static void guest_loop(u64 id)
{
	struct gmem_call *call = &gmem_calls[id];

	for (;;)
		GUEST_SYNC1(call->fn(call->arg[0], call->arg[1], call->arg[2]));
}

u64 gmem_guest_fill(u64 gva, u64 size, u64 seed)
{
	volatile u64 *w = (void *)gva;
	u64 i;

	for (i = 0; i < size / sizeof(*w); i++)
		w[i] = word_at(&w[i], seed);
	return 0;
}

u64 gmem_guest_check(u64 gva, u64 size, u64 seed)
{
	volatile u64 *w = (void *)gva;
	u64 i, v;

	for (i = 0; i < size / sizeof(*w); i++) {
		v = w[i];
		__GUEST_ASSERT(v == word_at(&w[i], seed),
			       "guest reads 0x%lx at word %lu", v, i);
	}
	return 0;
}

u64 gmem_guest_check_zero(u64 gva, u64 size, u64 unused)
{
	volatile u64 *w = (void *)gva;
	u64 i, v;

	for (i = 0; i < size / sizeof(*w); i++) {
		v = w[i];
		__GUEST_ASSERT(!v, "guest reads 0x%lx at word %lu, want zero", v, i);
	}
	return 0;
}

u64 gmem_guest_nop(u64 a, u64 b, u64 c)
{
	return a;
}

void gmem_guest_post(struct kvm_vcpu *vcpu, gmem_guest_fn fn, u64 a, u64 b, u64 c)
{
	struct gmem_call *call = addr_gva2hva(vcpu->vm, (gva_t)&gmem_calls[vcpu->id]);

	call->arg[0] = a;
	call->arg[1] = b;
	call->arg[2] = c;
	call->fn = fn;
}

#ifdef __x86_64__
u64 gmem_guest_convert(u64 gpa, u64 size, u64 private)
{
	return __kvm_hypercall_map_gpa_range(gpa, size, private ? KVM_MAP_GPA_RANGE_ENCRYPTED :
							KVM_MAP_GPA_RANGE_DECRYPTED);
}

/* VMs that obey their guests; one thread of each may run. */
static struct gmem_vm *obeying[8];

void gmem_vm_obey(struct gmem_vm *g)
{
	unsigned int i;

	vm_enable_cap(g->vm, KVM_CAP_EXIT_HYPERCALL, 1ULL << KVM_HC_MAP_GPA_RANGE);
	for (i = 0; i < ARRAY_SIZE(obeying) && obeying[i]; i++)
		;
	TEST_ASSERT(i < ARRAY_SIZE(obeying), "too many VMs");
	obeying[i] = g;
	g->obey = true;
}

static void disobey(struct gmem_vm *g)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(obeying); i++) {
		if (obeying[i] == g)
			obeying[i] = NULL;
	}
	g->obey = false;
}

static s64 convert(struct gmem_vm *g, u64 gpa, u64 nr_pages, u64 attributes)
{
	u64 offset = gpa - GMEM_GPA, size = nr_pages * GMEM_PAGE;
	bool private = attributes & KVM_MAP_GPA_RANGE_ENCRYPTED;

	if (gpa < GMEM_GPA || offset >= g->size || nr_pages > (g->size - offset) / GMEM_PAGE) {
		__atomic_fetch_add(&g->refused, 1, __ATOMIC_RELAXED);
		return -EINVAL;
	}
	if (!__gmem_set_access(g->fd, offset, size, private ? GUEST_MEMFD_ACCESS_NONE :
			       GUEST_MEMFD_ACCESS_KERNEL, NULL)) {
		__atomic_fetch_add(&g->granted, 1, __ATOMIC_RELAXED);
		return 0;
	}
	TEST_ASSERT(errno == EAGAIN, "change of levels for the guest: errno %d", errno);
	__atomic_fetch_add(&g->busy, 1, __ATOMIC_RELAXED);
	return -EAGAIN;
}

/* Return: True for a hypercall after which the guest continues. */
static bool obey(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	unsigned int i;

	if (run->exit_reason != KVM_EXIT_HYPERCALL || run->hypercall.nr != KVM_HC_MAP_GPA_RANGE)
		return false;
	for (i = 0; i < ARRAY_SIZE(obeying); i++) {
		if (!obeying[i] || obeying[i]->vm != vcpu->vm)
			continue;
		run->hypercall.ret = convert(obeying[i], run->hypercall.args[0],
					     run->hypercall.args[1], run->hypercall.args[2]);
		return true;
	}
	return false;
}
#else
static void disobey(struct gmem_vm *g) { }
static bool obey(struct kvm_vcpu *vcpu) { return false; }
#endif

u64 gmem_guest_result(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		return uc.args[0];
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		fallthrough;
	default:
		TEST_FAIL("vCPU %u: exit reason %u (%s), ucall %lu", vcpu->id,
			  vcpu->run->exit_reason, exit_reason_str(vcpu->run->exit_reason),
			  uc.cmd);
	}
}

u64 gmem_guest_call(struct kvm_vcpu *vcpu, gmem_guest_fn fn, u64 a, u64 b, u64 c)
{
	gmem_guest_post(vcpu, fn, a, b, c);
	do
		vcpu_run(vcpu);
	while (obey(vcpu));
	return gmem_guest_result(vcpu);
}

void gmem_vm_bind(struct gmem_vm *g, void *hva)
{
	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA, g->size,
				   hva, g->fd, 0);
}

void gmem_vm_unbind(struct gmem_vm *g)
{
	vm_set_user_memory_region2(g->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GMEM_GPA, 0,
				   NULL, g->fd, 0);
}

void gmem_vm_create_bare(struct gmem_vm *g, int nr_vcpus, size_t size, u32 dirty_ring)
{
	int i;

	memset(g, 0, sizeof(*g));
	g->fd = -1;
	g->size = size;
	g->nr_vcpus = nr_vcpus;
	g->vm = __vm_create(VM_SHAPE_DEFAULT, nr_vcpus, size / GMEM_PAGE);
	if (dirty_ring)
		vm_enable_dirty_ring(g->vm, dirty_ring);
	for (i = 0; i < nr_vcpus; i++) {
		g->vcpus[i] = vm_vcpu_add(g->vm, i, guest_loop);
		vcpu_args_set(g->vcpus[i], 1, (u64)i);
	}
	kvm_arch_vm_finalize_vcpus(g->vm);
}

void gmem_vm_create(struct gmem_vm *g, int nr_vcpus, size_t size, u64 flags)
{
	gmem_vm_create_bare(g, nr_vcpus, size, 0);
	g->fd = vm_create_guest_memfd(g->vm, size, flags);
	if (flags & GUEST_MEMFD_FLAG_MMAP)
		g->mem = kvm_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
	gmem_vm_bind(g, g->mem);
	virt_map(g->vm, GMEM_GVA, GMEM_GPA, size / g->vm->page_size);
}

void gmem_vm_close_file(struct gmem_vm *g)
{
	if (g->mem)
		kvm_munmap(g->mem, g->size);
	g->mem = NULL;
	if (g->fd >= 0)
		kvm_close(g->fd);
	g->fd = -1;
}

void gmem_vm_destroy(struct gmem_vm *g)
{
	if (g->obey)
		disobey(g);
	if (g->vm)
		kvm_vm_free(g->vm);
	g->vm = NULL;
	gmem_vm_close_file(g);
}

unsigned int gmem_set_forced_emulation(unsigned int value)
{
	static const char path[] = "/sys/module/kvm/parameters/force_emulation_prefix";
	FILE *f = fopen(path, "r+");
	unsigned int old;

	TEST_ASSERT(f && fscanf(f, "%u", &old) == 1, "cannot read %s", path);
	rewind(f);
	TEST_ASSERT(fprintf(f, "%u", value) > 0 && !fclose(f), "cannot write %s", path);
	return old;
}

void gmem_punch(int fd, u64 offset, u64 size)
{
	kvm_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
}
