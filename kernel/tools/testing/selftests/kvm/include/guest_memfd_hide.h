/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Helpers that the tests of GUEST_MEMFD_FLAG_NO_DIRECT_MAP share: they find the
 * frames of pages, read pages through the host kernel's direct map, read the
 * file's counters, and create a VM whose memory is such a file.
 *
 * The helpers read what the kernel sees through /proc/kcore, whose reads use
 * the direct map and return zeroes where the entry is absent.  They
 * take whether an entry is present from the kernel's own dump of its page
 * tables, because a restored page contains zeroes too.
 *
 * With GMEM_PLAIN=1 in the environment the tests run on ordinary guest_memfd
 * memory, and the kernel must see everything that it must not see of hidden
 * memory.  This checks the helpers themselves, and also works on a kernel
 * without the feature.
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
#define GMEM_TRACEFS	"/sys/kernel/tracing"

/* Ends the program as skipped if this host cannot run the tests. */
void gmem_require(void);
bool gmem_plain(void);
/* NO_DIRECT_MAP | MMAP | INIT_SHARED; without NO_DIRECT_MAP if gmem_plain(). */
u64 gmem_test_flags(void);

/*
 * Test data: word @j of a page filled from @seed.  The value depends on the
 * offset in the page, so that a stray register or a short copy cannot pass for
 * the page.
 */
static inline u64 gmem_word(u64 seed, unsigned int j)
{
	return (seed * 0x9e3779b97f4a7c15ULL + j * 0xd1b54a32d192ed03ULL) | 1;
}

u64 gmem_new_seed(void);
void gmem_fill(void *mem, size_t size, u64 seed);
void gmem_assert_filled(const void *mem, size_t size, u64 seed);
void gmem_assert_zero(const void *mem, size_t size);

/* The frame of a page.  Reads the page, which populates it. */
u64 gmem_pfn(const void *addr);
/* The frames of a range.  The caller frees the array. */
u64 *gmem_pfns(const void *mem, size_t size);

/* Reads a frame through the kernel's direct map. */
int gmem_kcore_read(u64 pfn, void *page);
bool gmem_kernel_sees(u64 pfn, u64 seed);
/*
 * A thread that ends before gmem_scan() must call this: the kernel keeps the
 * last page that the thread read through /proc/kcore in a buffer, which the
 * scan would find.
 */
void gmem_kcore_close(void);
/*
 * The number of pages in all of RAM that contain data of @seed; @unreadable may
 * be NULL.
 */
u64 gmem_scan(u64 seed, u64 *unreadable);
/* How many of @pfns, or of all pages of RAM, have no present entry. */
u64 gmem_count_absent(const u64 *pfns, size_t nr);
u64 gmem_absent_total(void);

/*
 * Asserts that pages which their owner sees filled with data of @seed read as
 * zeroes or fail through the direct map.
 */
void gmem_assert_hidden(const void *mem, size_t size, u64 seed);
void gmem_assert_pfns_hidden(const u64 *pfns, size_t nr, u64 seed);
/* Asserts that workers and shrinkers make the pages present within 10 s. */
void gmem_assert_present(const u64 *pfns, size_t nr);
/*
 * Asserts that pages which left their file are present again and contain no
 * data of it.
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
 * Waits until no lazily put reference of the file is pending, and checks its
 * counters.  A plain file hides nothing and counts no reference.
 */
void gmem_assert_counts(int fd, u64 populated, u64 referenced);
/*
 * Waits until @done returns true.  Returns how many milliseconds it took; the
 * test fails when that is a minute.
 */
u64 gmem_wait(bool (*done)(void *), void *arg);
/* Waits likewise.  The test fails when it took more than @limit_ms milliseconds. */
u64 gmem_wait_within(bool (*done)(void *), void *arg, u64 limit_ms);
/* The kernel's dump of the page tables of the direct map.  The caller frees it. */
char *gmem_read_dump(void);
/*
 * Waits until the dump equals @dump again, which must happen within a minute: a
 * worker merges split entries.
 */
void gmem_wait_dump(char *dump);
/*
 * Waits until no lazily put reference is pending; returns how many milliseconds
 * it took.
 */
u64 gmem_wait_put(int fd);
/*
 * Whether the host counts flushes of kernel addresses on all CPUs, and how many
 * it has counted since boot.
 */
bool gmem_counts_flushes(void);
u64 gmem_flushes(void);
/*
 * How often all CPUs have flushed kernel addresses since boot.  On arm64 the
 * count includes flushes of user addresses.
 */
u64 gmem_flush_rounds(void);
/*
 * KVM puts its references to a page that it has lost within this many
 * milliseconds.
 */
#define GMEM_REFERENCE_MS	100

/*
 * Access levels.  The first function is the ioctl; @error_offset, which may be
 * NULL, is all ones if the kernel did not store an offset.
 */
int __gmem_set_access(int fd, u64 offset, u64 size, u32 level, u64 *error_offset);
void gmem_set_access(int fd, u64 offset, u64 size, u32 level);
/* @size may be NULL. */
u32 gmem_get_access(int fd, u64 offset, u64 *size);

/*
 * Sets the order of the blocks of files created from now on; returns the old
 * order.
 */
#define GMEM_ORDER_PARAM	"/sys/module/guest_memfd/parameters/block_order"
unsigned int gmem_set_block_order(unsigned int order);

/*
 * The kernel's pool of hidden blocks.  gmem_require() disables it until the
 * program ends, because a page in the pool is absent from the direct map.
 */
#define GMEM_POOL_PARAM		"/sys/module/guest_memfd/parameters/pool"
#define GMEM_POOL_FILE		"/sys/kernel/debug/guest_memfd/pool"
/* Returns 0 or the errno. */
int __gmem_set_pool(const char *value);
void gmem_set_pool(const char *value);
/*
 * A number in GMEM_POOL_FILE: that of one node, or the sum of all nodes if
 * @node is -1.
 */
u64 gmem_pool(const char *name, int node);
/*
 * Makes the kernel's shrinkers free all free single pages to the allocator.
 * Until then a single page that left a file stays hidden while other pages of
 * its block are in use; afterwards only the pages of files and the pool's
 * blocks are absent from the direct map.  If the pool is enabled, this also
 * frees its blocks.
 */
void gmem_free_singles(void);

u64 gmem_vmstat(const char *name);
u64 gmem_meminfo(const char *name);
/* Free pages of all zones, including those in the per-CPU lists. */
u64 gmem_free_pages(void);
u64 gmem_kpageflags(u64 pfn);
/*
 * KiB of the direct map that are mapped by 4 KiB, relative to an arbitrary
 * base: only the difference of two values is meaningful.
 */
u64 gmem_mapped_by_pages(void);

/* Events of the guest_memfd trace system between start and stop. */
struct gmem_trace {
	char dir[128];
	bool on;
};

void gmem_trace_start(struct gmem_trace *trace);
/* Records only @event. */
void gmem_trace_start_event(struct gmem_trace *trace, const char *event);
/*
 * The number of pages that @event named since the start; stores up to @max of
 * them in @pfns, which may be NULL.
 */
u64 gmem_trace_pages(struct gmem_trace *trace, const char *event, u64 *pfns, size_t max);
/*
 * The number of events whose text contains @with, followed by its end or a
 * blank.
 */
u64 gmem_trace_count(struct gmem_trace *trace, const char *event, const char *with);
void gmem_trace_stop(struct gmem_trace *trace);

/*
 * After each test the kernel log must contain no report, and all pages that
 * were in the direct map when the program started must be there again.  Dumping
 * page tables can take seconds (CONFIG_X86_ESPFIX64); then only the last test
 * checks the direct map, by gmem_assert_all_back().  A worker that has not
 * cleared all pages yet has 10 s for it.
 */
void gmem_kmsg_open(int *kmsg);
void gmem_assert_nothing_left(int *kmsg);
void gmem_assert_all_back(void);
/* This many pages are lost on purpose. */
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
	/* Set by gmem_vm_obey(). */
	bool obey;
	u64 granted;
	u64 busy;
	u64 refused;
};

void gmem_vm_create(struct gmem_vm *g, int nr_vcpus, size_t size, u64 flags);
/*
 * Creates only the VM, for @size bytes of memory that the caller adds: no file,
 * no memslot.
 */
void gmem_vm_create_bare(struct gmem_vm *g, int nr_vcpus, size_t size, u32 dirty_ring);
void gmem_vm_bind(struct gmem_vm *g, void *hva);
void gmem_vm_unbind(struct gmem_vm *g);
void gmem_vm_destroy(struct gmem_vm *g);
/* Unmaps and closes the file unless this has been done. */
void gmem_vm_close_file(struct gmem_vm *g);
void gmem_punch(int fd, u64 offset, u64 size);

/*
 * Runs a function in the guest and returns its value.  Guest asserts fail the
 * test.
 */
typedef u64 (*gmem_guest_fn)(u64 a, u64 b, u64 c);

u64 gmem_guest_call(struct kvm_vcpu *vcpu, gmem_guest_fn fn, u64 a, u64 b, u64 c);
/*
 * Only stores the call: the caller runs the vCPU, which may fail before the
 * function ends.
 */
void gmem_guest_post(struct kvm_vcpu *vcpu, gmem_guest_fn fn, u64 a, u64 b, u64 c);
/* The value of the call that the vCPU has just completed. */
u64 gmem_guest_result(struct kvm_vcpu *vcpu);

/*
 * The number of 2 MiB mappings that the guest has of memory at and above
 * GMEM_GPA.
 */
u64 gmem_pages_2m(struct kvm_vm *vm);
/*
 * The number of guest faults that KVM has handled; only the difference of two
 * values is meaningful.  On arm64 this counts the faults of all VMs at and
 * above GMEM_GPA in this thread, and in threads that it creates after the first
 * call.
 */
u64 gmem_guest_faults(struct kvm_vcpu *vcpu);

/* Guest functions: (address, size, seed). */
u64 gmem_guest_fill(u64 gva, u64 size, u64 seed);
u64 gmem_guest_check(u64 gva, u64 size, u64 seed);
u64 gmem_guest_check_zero(u64 gva, u64 size, u64 unused);
u64 gmem_guest_nop(u64 a, u64 b, u64 c);

#ifdef __x86_64__
/*
 * From now on gmem_guest_call() does what the guest requests by
 * KVM_HC_MAP_GPA_RANGE: private is NONE, shared is KERNEL.  The answer is 0,
 * -EAGAIN, or -EINVAL for a range outside the file.  gmem_guest_call() counts
 * the answers.
 */
void gmem_vm_obey(struct gmem_vm *g);
/* Guest function (gpa, size, private); it returns the answer. */
u64 gmem_guest_convert(u64 gpa, u64 size, u64 private);
/*
 * Sets KVM's parameter that makes it emulate instructions after KVM_FEP;
 * returns the old value.
 */
unsigned int gmem_set_forced_emulation(unsigned int value);
#endif

#endif /* SELFTEST_KVM_GUEST_MEMFD_HIDE_H */
