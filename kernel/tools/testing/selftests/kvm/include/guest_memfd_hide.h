/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of GUEST_MEMFD_FLAG_NO_DIRECT_MAP share: where a page is, what
 * the host kernel can see of it, what the file says of itself, and a VM whose
 * memory is such a file.
 *
 * The contents that the kernel sees are read through /proc/kcore, whose reads
 * go through the direct map and come back as zeroes or EFAULT where the entry
 * is absent.  Whether an entry is present at all is taken from the kernel's own
 * dump of its page tables, because a page that was given back holds zeroes too.
 *
 * With GMEM_PLAIN=1 in the environment the tests run on ordinary guest_memfd
 * memory, and everything said to be invisible must be visible: that is how the
 * instruments are checked, and it works on a kernel without the feature.
 */
#ifndef SELFTEST_KVM_GUEST_MEMFD_HIDE_H
#define SELFTEST_KVM_GUEST_MEMFD_HIDE_H

#include <linux/guest_memfd.h>

#include "kvm_util.h"
#include "test_util.h"

#ifndef GUEST_MEMFD_FLAG_NO_DIRECT_MAP
#define GUEST_MEMFD_FLAG_NO_DIRECT_MAP	(1ULL << 2)
#endif

#define GMEM_SLOT	10
#define GMEM_GPA	(1ULL << 32)
#define GMEM_GVA	GMEM_GPA
#define GMEM_MAX_VCPUS	8
#define GMEM_PAGE	4096UL
#define GMEM_WORDS	(GMEM_PAGE / sizeof(u64))

/* Ends the program as skipped when it cannot say anything on this host. */
void gmem_require(void);
bool gmem_plain(void);
/* NO_DIRECT_MAP | MMAP | INIT_SHARED, or without NO_DIRECT_MAP if gmem_plain(). */
u64 gmem_test_flags(void);

/*
 * Test data: word @j of a page filled from @seed.  Depends on the place in the
 * page, so that a stray register or a short copy does not look like the page.
 */
static inline u64 gmem_word(u64 seed, unsigned int j)
{
	return (seed * 0x9e3779b97f4a7c15ULL + j * 0xd1b54a32d192ed03ULL) | 1;
}

u64 gmem_new_seed(void);
void gmem_fill(void *mem, size_t size, u64 seed);
void gmem_assert_filled(const void *mem, size_t size, u64 seed);
void gmem_assert_zero(const void *mem, size_t size);

/* Where pages are.  Reads the page, which brings it into the file. */
u64 gmem_pfn(const void *addr);
/* The frames of a range.  The caller frees the array. */
u64 *gmem_pfns(const void *mem, size_t size);

/* What the kernel sees through its direct map. */
int gmem_kcore_read(u64 pfn, void *page);
bool gmem_kernel_sees(u64 pfn, u64 seed);
/*
 * For a thread that ends before gmem_scan(): the kernel keeps the last page that
 * the thread read through /proc/kcore in a buffer, which the scan would find.
 */
void gmem_kcore_close(void);
/* Pages of all RAM that hold data of @seed; @unreadable may be NULL. */
u64 gmem_scan(u64 seed, u64 *unreadable);
/* How many of @pfns, or of all pages of RAM, have no present entry. */
u64 gmem_count_absent(const u64 *pfns, size_t nr);
u64 gmem_absent_total(void);

/*
 * Pages that are full of data, as their owner sees them, read as nothing
 * through the direct map.
 */
void gmem_assert_hidden(const void *mem, size_t size, u64 seed);
void gmem_assert_pfns_hidden(const u64 *pfns, size_t nr, u64 seed);
/* Present as soon as workers and shrinkers are done with them. */
void gmem_assert_present(const u64 *pfns, size_t nr);
/*
 * Pages that left their file are present again, and show that they hold nothing
 * of it.
 */
void gmem_assert_given_back(const u64 *pfns, size_t nr, u64 seed);

/* The counters in /proc/self/fdinfo. */
struct gmem_info {
	u64 size;
	u64 flags;
	u64 populated;
	u64 blocks;
	u64 hidden;
	u64 referenced;
	u64 put_pending;
	u64 left_referenced;
	u64 level_none;
	u64 level_user;
	u64 level_kernel;
};

void gmem_read_info(int fd, struct gmem_info *info);
/*
 * Waits until the file has no reference that was put lazily, and checks its
 * counters; a plain file hides nothing and counts no reference.
 */
void gmem_assert_counts(int fd, u64 populated, u64 referenced);
/*
 * Waits until @done says yes, which must be within @limit_ms milliseconds.
 * Returns how many it took.
 */
u64 gmem_wait(bool (*done)(void *), void *arg, u64 limit_ms);
/* The kernel's dump of the page tables of the direct map.  The caller frees it. */
char *gmem_read_dump(void);
/* Waits until the dump is @dump, which must be within 10 s: a worker merges what was split. */
void gmem_wait_dump(char *dump);
/* Waits until no reference is put lazily; returns how many milliseconds it took. */
u64 gmem_wait_put(int fd);
/* Flushes of kernel addresses on all CPUs since the host has booted, where it counts them. */
bool gmem_counts_flushes(void);
u64 gmem_flushes(void);
/*
 * How often all CPUs have flushed kernel addresses.  On arm64, flushes of user addresses
 * count too.
 */
u64 gmem_flush_rounds(void);
/* KVM's references to what it has lost end within so many milliseconds. */
#define GMEM_REFERENCE_MS	100

/*
 * Access levels.  The first is the ioctl; @error_offset, which may be NULL, is
 * all ones when the kernel did not store any.
 */
int __gmem_set_access(int fd, u64 offset, u64 size, u32 level, u64 *error_offset);
void gmem_set_access(int fd, u64 offset, u64 size, u32 level);
/* @size may be NULL. */
u32 gmem_get_access(int fd, u64 offset, u64 *size);

/* The order of the blocks of files created from now on; returns what it was. */
#define GMEM_ORDER_PARAM	"/sys/module/guest_memfd/parameters/block_order"
unsigned int gmem_set_block_order(unsigned int order);

/*
 * The kernel's pool of hidden blocks.  gmem_require() turns it off until the
 * program ends, as a page that is in the pool is absent from the direct map.
 */
#define GMEM_POOL_PARAM		"/sys/module/guest_memfd/parameters/pool"
#define GMEM_POOL_FILE		"/sys/kernel/debug/guest_memfd/pool"
/* Returns 0 or the errno. */
int __gmem_set_pool(const char *value);
void gmem_set_pool(const char *value);
/* A number of GMEM_POOL_FILE, of one node, or the sum of all with -1. */
u64 gmem_pool(const char *name, int node);
/*
 * Has the kernel's shrinkers give all free single pages to the allocator.  Until
 * then a page that left a file alone is hidden while other pages of its block are
 * in use; afterwards the direct map lacks what files have, and the pool's blocks.
 * The pool, if it is on, loses its blocks as well.
 */
void gmem_free_singles(void);

u64 gmem_vmstat(const char *name);
u64 gmem_meminfo(const char *name);
/* Free pages of all zones, those that wait in the CPUs' lists included. */
u64 gmem_free_pages(void);
u64 gmem_kpageflags(u64 pfn);
/*
 * KiB of the direct map that are mapped by 4 KiB, from any fixed number on: only the
 * difference of two values means something.
 */
u64 gmem_mapped_by_pages(void);

/* Events of the guest_memfd trace system between start and stop. */
struct gmem_trace {
	char dir[128];
	bool on;
};

void gmem_trace_start(struct gmem_trace *trace);
/* Only of this kind. */
void gmem_trace_start_event(struct gmem_trace *trace, const char *event);
/*
 * Pages that @event named since the start; up to @max of them in @pfns, which
 * may be NULL.
 */
u64 gmem_trace_pages(struct gmem_trace *trace, const char *event, u64 *pfns, size_t max);
/* How many there were whose text has @with in it, followed by its end or a blank. */
u64 gmem_trace_count(struct gmem_trace *trace, const char *event, const char *with);
void gmem_trace_stop(struct gmem_trace *trace);

/*
 * What must be as before when a test is over: a kernel log without a report,
 * and all pages of the direct map present that were when the program started.
 * Dumping page tables can take seconds (CONFIG_X86_ESPFIX64); then only the
 * last test looks, with gmem_assert_all_back().  Pages that a worker has not
 * cleared yet have 10 s for it.
 */
void gmem_kmsg_open(int *kmsg);
void gmem_assert_nothing_left(int *kmsg);
void gmem_assert_all_back(void);
/* These many pages are lost on purpose. */
void gmem_expect_lost(u64 pages);
u64 gmem_absent_before(void);

/*
 * A VM with @nr_vcpus vCPUs and @size bytes of guest_memfd at GMEM_GPA, mapped
 * at the same address in the guest.  Without INIT_SHARED @mem is only an
 * address range, any access to which is a SIGBUS; without MMAP it is NULL.
 */
struct gmem_vm {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[GMEM_MAX_VCPUS];
	int nr_vcpus;
	int fd;
	char *mem;
	size_t size;
	/* Of the guest's wishes, by gmem_vm_obey(). */
	bool obey;
	u64 granted;
	u64 busy;
	u64 refused;
};

void gmem_vm_create(struct gmem_vm *g, int nr_vcpus, size_t size, u64 flags);
/* The VM alone, for @size bytes of memory that the caller adds: no file, no memslot. */
void gmem_vm_create_bare(struct gmem_vm *g, int nr_vcpus, size_t size, u32 dirty_ring);
void gmem_vm_bind(struct gmem_vm *g, void *hva);
void gmem_vm_unbind(struct gmem_vm *g);
void gmem_vm_destroy(struct gmem_vm *g);
/* Unmaps and closes the file, if that has not been done. */
void gmem_vm_close_file(struct gmem_vm *g);
void gmem_punch(int fd, u64 offset, u64 size);

/* Runs a function in the guest; its value comes back.  Guest asserts fail the test. */
typedef u64 (*gmem_guest_fn)(u64 a, u64 b, u64 c);

u64 gmem_guest_call(struct kvm_vcpu *vcpu, gmem_guest_fn fn, u64 a, u64 b, u64 c);
/* Only stores the call: the caller runs the vCPU, which may fail to get there. */
void gmem_guest_post(struct kvm_vcpu *vcpu, gmem_guest_fn fn, u64 a, u64 b, u64 c);
/* The value of the call that the vCPU, which has just run, is done with. */
u64 gmem_guest_result(struct kvm_vcpu *vcpu);

/* Mappings of 2 MiB that the guest has of memory at and above GMEM_GPA. */
u64 gmem_pages_2m(struct kvm_vm *vm);
/*
 * Faults of the guest that KVM has handled, of which only the difference of two values
 * means something.  On arm64 these are faults of all VMs at and above GMEM_GPA in this
 * thread, and in threads that it creates after the first call.
 */
u64 gmem_guest_faults(struct kvm_vcpu *vcpu);

/* Guest functions: (address, size, seed). */
u64 gmem_guest_fill(u64 gva, u64 size, u64 seed);
u64 gmem_guest_check(u64 gva, u64 size, u64 seed);
u64 gmem_guest_check_zero(u64 gva, u64 size, u64 unused);
u64 gmem_guest_nop(u64 a, u64 b, u64 c);

#ifdef __x86_64__
/*
 * From now on gmem_guest_call() does what the guest asks for by
 * KVM_HC_MAP_GPA_RANGE: private is NONE, shared is KERNEL.  The answer is 0,
 * -EAGAIN, or -EINVAL for what is not of the file, and is counted.
 */
void gmem_vm_obey(struct gmem_vm *g);
/* Guest function: (gpa, size, private); the answer comes back. */
u64 gmem_guest_convert(u64 gpa, u64 size, u64 private);
/* KVM's parameter that makes it emulate instructions after KVM_FEP; returns the old value. */
unsigned int gmem_set_forced_emulation(unsigned int value);
#endif

#endif /* SELFTEST_KVM_GUEST_MEMFD_HIDE_H */
