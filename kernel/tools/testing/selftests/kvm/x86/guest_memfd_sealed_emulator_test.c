// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's emulator on guest memory that has no user mapping.
 *
 * Proves that KVM reads instructions, operands and page tables of the guest at
 * level NONE, where the memslot's user address maps nothing, or other memory
 * that must not change: operands of string I/O and of instructions whose other
 * operand is a device, locked instructions, and the accessed and dirty bits of
 * the guest's page tables.  Pages that KVM populates are clean and hidden.
 * gmem_sealed.h describes the variants.
 *
 * Catches: an access that still uses the user address (a fault, or the bytes
 * there change), one that fails when the level changes concurrently (locked),
 * one that is not atomic any more (locked), a reference that is leaked (each
 * test's end), pages that KVM populates and that stay visible (absent).
 *
 * Not covered: page tables that are shadowed without nested paging (KVM's npt
 * parameter cannot be changed at run time).
 */
#include <asm/kvm_para.h>
#include <linux/stringify.h>
#include <pthread.h>

#include "gmem_sealed.h"
#include "ucall_common.h"

/* No memory is at this guest address. */
#define MMIO_GPA	0xc0000000UL
#define PORT		0x2040
#define STEPS		1000

/*
 * The device behind MMIO_GPA and PORT, from which the last bytes written are
 * read again.
 */
struct device {
	u8 bytes[GMEM_PAGE];
	u64 reads;
	u64 writes;
};

/* The instructions that run in guest memory, with the System V ABI. */
asm(".pushsection .rodata\n"
	"insns:\n"
	"insn_cmpxchg1: mov %rsi, %rax; " KVM_FEP "lock cmpxchgb %dl, (%rdi); ret\n"
	"insn_cmpxchg2: mov %rsi, %rax; " KVM_FEP "lock cmpxchgw %dx, (%rdi); ret\n"
	"insn_cmpxchg4: mov %rsi, %rax; " KVM_FEP "lock cmpxchgl %edx, (%rdi); ret\n"
	"insn_cmpxchg8: mov %rsi, %rax; " KVM_FEP "lock cmpxchgq %rdx, (%rdi); ret\n"
	"insn_store: movq %rsi, (%rdi); ret\n"
	"insn_load: movq (%rdi), %rax; ret\n"
	"insn_move: mov %rdx, %rcx; rep movsb; ret\n"
	"insn_move_fep: mov %rdx, %rcx; " KVM_FEP "rep movsb; ret\n"
	"insn_out: mov %rdx, %rcx; mov $" __stringify(PORT) ", %dx; rep outsb; ret\n"
	"insn_in: mov %rdx, %rcx; mov $" __stringify(PORT) ", %dx; rep insb; ret\n"
	"insns_end:\n"
	".popsection\n");

extern const char insns[], insn_cmpxchg1[], insn_cmpxchg2[], insn_cmpxchg4[], insn_cmpxchg8[],
	insn_store[], insn_load[], insn_move[], insn_move_fep[], insn_out[], insn_in[],
	insns_end[];

typedef u64 (*insn_fn)(u64 a, u64 b, u64 c);

#define guest_insn(name) ((insn_fn)(at(PAGE_CODE) + ((name) - insns)))

static u64 guest_copy_insns(u64 a, u64 b, u64 c)
{
	memcpy((void *)at(PAGE_CODE), insns, insns_end - insns);
	return 0;
}

/* Guest: calls the instructions at an offset in the page with code. */
static u64 insn_args[3];

static u64 guest_call_insn(u64 offset, u64 b, u64 c)
{
	return ((insn_fn)(at(PAGE_CODE) + offset))(insn_args[0], insn_args[1], insn_args[2]);
}

/* Prepares the instructions and the device for the guest. */
static void prepare(struct gmem_vm *g)
{
	virt_map(g->vm, MMIO_GPA, MMIO_GPA, 1);
	gmem_guest_call(g->vcpus[0], guest_copy_insns, 0, 0, 0);
}

static void answer_mmio(struct kvm_run *run, struct device *d)
{
	u64 byte = run->mmio.phys_addr - MMIO_GPA;

	TEST_ASSERT(byte + run->mmio.len <= sizeof(d->bytes), "MMIO at 0x%llx",
		    run->mmio.phys_addr);
	if (run->mmio.is_write) {
		memcpy(d->bytes + byte, run->mmio.data, run->mmio.len);
		d->writes += run->mmio.len;
	} else {
		memcpy(run->mmio.data, d->bytes + byte, run->mmio.len);
		d->reads += run->mmio.len;
	}
}

static void answer_io(struct kvm_run *run, struct device *d)
{
	char *data = (char *)run + run->io.data_offset;
	u64 *done = run->io.direction == KVM_EXIT_IO_OUT ? &d->writes : &d->reads;
	size_t n = run->io.size * run->io.count;

	TEST_ASSERT(*done + n <= sizeof(d->bytes), "too many bytes");
	if (run->io.direction == KVM_EXIT_IO_OUT)
		memcpy(d->bytes + *done, data, n);
	else
		memcpy(data, d->bytes + *done, n);
	*done += n;
}

/*
 * Run until the guest has completed the posted call, and emulate its device
 * meanwhile.
 */
static u64 run_with_device(struct kvm_vcpu *vcpu, struct device *d)
{
	struct kvm_run *run = vcpu->run;

	for (;;) {
		vcpu_run(vcpu);
		if (run->exit_reason == KVM_EXIT_MMIO)
			answer_mmio(run, d);
		else if (run->exit_reason == KVM_EXIT_IO && run->io.port == PORT)
			answer_io(run, d);
		else if (run->exit_reason != KVM_EXIT_HYPERV)
			break;
	}
	return gmem_guest_result(vcpu);
}

static u64 call_with_device(struct kvm_vcpu *vcpu, struct device *d, const char *insn, u64 a,
			    u64 b, u64 c)
{
	insn_args[0] = a;
	insn_args[1] = b;
	insn_args[2] = c;
	sync_global_to_guest(vcpu->vm, insn_args);
	gmem_guest_post(vcpu, guest_call_insn, insn - insns, 0, 0);
	return run_with_device(vcpu, d);
}

/* Instructions in guest memory whose operand is a device. */
SEALED_TEST(mmio)
{
	struct kvm_vcpu *vcpu = self->g.vcpus[0];
	struct device device = {}, *d = &device;
	u64 *words = (u64 *)d->bytes;
	unsigned int i;

	prepare(&self->g);
	call_with_device(vcpu, d, insn_store, MMIO_GPA + 8, 0x1122334455667788, 0);
	TEST_ASSERT_EQ(words[1], 0x1122334455667788);
	words[2] = 0x8877665544332211;
	TEST_ASSERT_EQ(call_with_device(vcpu, d, insn_load, MMIO_GPA + 16, 0, 0), words[2]);
	TEST_ASSERT_EQ(d->writes, 8);
	TEST_ASSERT_EQ(d->reads, 8);

	/* Move from the device into memory across a page boundary, and back. */
	for (i = 0; i < 32; i++)
		words[i] = gmem_word(~self->seed, i);
	call_with_device(vcpu, d, insn_move, at(PAGE_STRING) - 128, MMIO_GPA, 256);
	for (i = 0; i < 16; i++) {
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING - 1, GMEM_PAGE - 128 + i * 8), words[i]);
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING, i * 8), words[16 + i]);
	}
	call_with_device(vcpu, d, insn_move, MMIO_GPA + 1024, at(PAGE_STRING) - 128, 256);
	TEST_ASSERT(!memcmp(d->bytes, d->bytes + 1024, 256), "not what was in memory");
}

SEALED_TEST(string_io)
{
	const size_t len = 3000;
	struct kvm_vcpu *vcpu = self->g.vcpus[0];
	struct device device = {}, *d = &device;
	unsigned int i;

	prepare(&self->g);
	call_with_device(vcpu, d, insn_out, 0, at(PAGE_STRING), len);
	TEST_ASSERT_EQ(d->writes, len);
	for (i = 0; i < len / 8; i++)
		TEST_ASSERT_EQ(((u64 *)d->bytes)[i], gmem_word(self->seed, i));

	/* Read into two pages. */
	for (i = 0; i < len / 8; i++)
		((u64 *)d->bytes)[i] = gmem_word(~self->seed, i);
	call_with_device(vcpu, d, insn_in, at(PAGE_STRING) - 1024, 0, len);
	TEST_ASSERT_EQ(d->reads, len);
	for (i = 0; i < 128; i++)
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING - 1, GMEM_PAGE - 1024 + i * 8),
			       gmem_word(~self->seed, i));
	for (i = 0; i < 128; i++)
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING, i * 8),
			       gmem_word(~self->seed, 128 + i));
}

static void check_cmpxchg(struct gmem_vm *g, const char *insn, unsigned int size)
{
	const u64 mask = size == 8 ? ~0UL : (1UL << size * 8) - 1;
	const u64 old = 0x1213141516171819, new = 0x2223242526272829;
	const u64 gva = at(PAGE_DATA) + 64;
	struct device d = {};
	u64 got;

	gmem_guest_call(g->vcpus[0], guest_poke, gva, old, 0);
	got = call_with_device(g->vcpus[0], &d, insn, gva, old, new);
	TEST_ASSERT_EQ(got, old);
	TEST_ASSERT_EQ(peek(g, PAGE_DATA, 64), (old & ~mask) | (new & mask));
	/* The memory now contains another value. */
	got = call_with_device(g->vcpus[0], &d, insn, gva, old, ~new);
	TEST_ASSERT_EQ(got & mask, new & mask);
	TEST_ASSERT_EQ(peek(g, PAGE_DATA, 64), (old & ~mask) | (new & mask));
}

SEALED_TEST(cmpxchg)
{
	unsigned int was = gmem_set_forced_emulation(1), i;
	struct device d = {};

	prepare(&self->g);
	check_cmpxchg(&self->g, insn_cmpxchg1, 1);
	check_cmpxchg(&self->g, insn_cmpxchg2, 2);
	check_cmpxchg(&self->g, insn_cmpxchg4, 4);
	check_cmpxchg(&self->g, insn_cmpxchg8, 8);

	/* The operands of this emulated instruction are not a device. */
	call_with_device(self->g.vcpus[0], &d, insn_move_fep, at(PAGE_STRING) - 128,
			 at(PAGE_HOLE), 256);
	for (i = 0; i < 16; i++) {
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING - 1, GMEM_PAGE - 128 + i * 8),
			       gmem_word(self->seed, i));
		TEST_ASSERT_EQ(peek(&self->g, PAGE_STRING, i * 8),
			       gmem_word(self->seed, 16 + i));
	}
	gmem_set_forced_emulation(was);
}

/* Guest: adds to a shared number, by emulated and by real instructions. */
static u64 guest_add(u64 gva, u64 times, u64 emulated)
{
	insn_fn cmpxchg8 = guest_insn(insn_cmpxchg8);
	u64 i, old;

	for (i = 0; i < times; i++) {
		if (!emulated) {
			__sync_fetch_and_add((u64 *)gva, 1);
			continue;
		}
		do
			old = READ_ONCE(*(u64 *)gva);
		while (cmpxchg8(gva, old, old + 1) != old);
	}
	return 0;
}

/* As many changes as fit into the trace buffer. */
#define MAX_CHANGES	600

struct adder {
	struct kvm_vcpu *vcpu;
	bool emulated;
	bool done;
};

static void *run_adder(void *arg)
{
	struct adder *a = arg;

	gmem_guest_call(a->vcpu, guest_add, at(PAGE_DATA), STEPS, a->emulated);
	WRITE_ONCE(a->done, true);
	return NULL;
}

/*
 * Locked instructions are atomic, also while the level changes in the mapped
 * variant.
 */
SEALED_TEST(locked)
{
	static const u32 levels[] = { NONE, USER, KERNEL, USER, NONE, KERNEL };
	unsigned int was = gmem_set_forced_emulation(1), changes = 0, i;
	struct gmem_vm *g = &self->g;
	struct adder adders[3];
	pthread_t threads[3];

	prepare(g);
	gmem_guest_call(g->vcpus[0], guest_poke, at(PAGE_DATA), 0, 0);
	for (i = 0; i < ARRAY_SIZE(adders); i++) {
		adders[i] = (struct adder) { .vcpu = g->vcpus[i], .emulated = i < 2 };
		pthread_create(&threads[i], NULL, run_adder, &adders[i]);
	}
	while (variant->level == USER && changes < MAX_CHANGES &&
	       !(READ_ONCE(adders[0].done) && READ_ONCE(adders[1].done))) {
		/* A concurrent access may hold a reference to a page; retry. */
		if (!__gmem_set_access(g->fd, 0, SIZE, levels[changes % ARRAY_SIZE(levels)], NULL))
			changes++;
		else
			TEST_ASSERT(errno == EAGAIN, "errno %d", errno);
	}
	for (i = 0; i < ARRAY_SIZE(adders); i++)
		pthread_join(threads[i], NULL);
	gmem_set_forced_emulation(was);
	if (variant->level == USER) {
		ksft_print_msg("%u changes of the level\n", changes);
		gmem_set_access(g->fd, 0, SIZE, USER);
	}
	TEST_ASSERT_EQ(peek(g, PAGE_DATA, 0), 3 * STEPS);
}

/* Page tables */

static u64 root_gva, nr_levels;

/*
 * Guest: builds page tables in the memory, and makes one access that only KVM
 * translates.
 */
static u64 guest_walk(u64 data_gpa, u64 b, u64 c)
{
	u64 *tables = (u64 *)at(PAGE_TABLES), cr3 = get_cr3(), gva, got, i;
	unsigned int slot = 5;

	/*
	 * Copy the current root and add one entry; below it build a chain of
	 * tables.
	 */
	memcpy(tables, (void *)root_gva, GMEM_PAGE);
	for (i = 1; i < nr_levels; i++) {
		memset(tables + i * 512, 0, GMEM_PAGE);
		tables[(i - 1) * 512 + (i == 1 ? slot : 0)] =
			(at(PAGE_TABLES) + i * GMEM_PAGE) | PT_RW;
	}
	tables[(i - 1) * 512] = data_gpa | PT_RW;
	gva = (u64)slot << (PAGE_SHIFT + 9 * (nr_levels - 1));

	WRITE_ONCE(*(u64 *)data_gpa, 41);
	set_cr3(at(PAGE_TABLES));
	got = guest_insn(insn_cmpxchg8)(gva, 41, 42);
	set_cr3(cr3);
	GUEST_ASSERT_EQ(got, 41);
	GUEST_ASSERT_EQ(READ_ONCE(*(u64 *)data_gpa), 42);
	for (i = 1; i < nr_levels; i++)
		GUEST_ASSERT(tables[(i - 1) * 512 + (i == 1 ? slot : 0)] & PT_ACCESSED);
	GUEST_ASSERT_EQ(tables[(i - 1) * 512], data_gpa | PT_RW | PT_ACCESSED | PT_DIRTY);
	return 0;
}

/* KVM's walker reads the tables, and sets accessed and dirty bits in them. */
SEALED_TEST(walker)
{
	unsigned int was = gmem_set_forced_emulation(1);
	struct gmem_vm *g = &self->g;
	struct kvm_vm *vm = g->vm;

	prepare(g);
	nr_levels = vm->mmu.pgtable_levels;
	root_gva = vm_alloc_page(vm);
	memcpy(addr_gva2hva(vm, root_gva), addr_gpa2hva(vm, vm->mmu.pgd), GMEM_PAGE);
	sync_global_to_guest(vm, nr_levels);
	sync_global_to_guest(vm, root_gva);
	gmem_guest_call(g->vcpus[0], guest_walk, at(PAGE_DATA), 0, 0);
	gmem_set_forced_emulation(was);
}

/* A page that KVM populates is clean and hidden. */
SEALED_TEST(absent)
{
	struct gmem_vm *g = &self->g;
	struct device d = {};

	prepare(g);
	self->punched = true;
	gmem_punch(g->fd, PAGE_HOLE * GMEM_PAGE, GMEM_PAGE);
	write_msr(g, 0, MSR_KVM_WALL_CLOCK_NEW, at(PAGE_HOLE));
	if (self->hidden)
		gmem_assert_counts(g->fd, NR_PAGES, 0);
	TEST_ASSERT_EQ((u32)peek(g, PAGE_HOLE, 0), 2);
	TEST_ASSERT((u32)(peek(g, PAGE_HOLE, 0) >> 32), "no time");
	gmem_guest_call(g->vcpus[0], gmem_guest_check_zero, at(PAGE_HOLE) + 16, GMEM_PAGE - 16, 0);

	/* KVM populates the page by a cache, and by a read. */
	gmem_punch(g->fd, PAGE_HOLE * GMEM_PAGE, GMEM_PAGE);
	write_msr(g, 0, MSR_KVM_SYSTEM_TIME_NEW, at(PAGE_HOLE) | KVM_MSR_ENABLED);
	gmem_guest_call(g->vcpus[0], guest_clock, at(PAGE_HOLE), 0, 0);
	write_msr(g, 0, MSR_KVM_SYSTEM_TIME_NEW, 0);
	gmem_punch(g->fd, PAGE_HOLE * GMEM_PAGE, GMEM_PAGE);
	call_with_device(g->vcpus[0], &d, insn_out, 0, at(PAGE_HOLE), 64);
	TEST_ASSERT_EQ(d.writes, 64);
	TEST_ASSERT_EQ(*(u64 *)d.bytes, 0);
	if (self->hidden)
		gmem_assert_counts(g->fd, NR_PAGES, 0);
}

int main(int argc, char *argv[])
{
	gmem_require();
	TEST_REQUIRE(!gmem_plain());
	return test_harness_run(argc, argv);
}
