/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of the tests that hide memory (guest_memfd_hide_test.c) and make
 * it present again (guest_memfd_restore_test.c).
 */
#ifndef SELFTEST_KVM_GMEM_HIDE_H
#define SELFTEST_KVM_GMEM_HIDE_H

#include <linux/sizes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "kvm_syscalls.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#define NR_PAGES	64UL
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define TIMEOUT		600
#define BLOCK_PAGES	(SZ_2M / GMEM_PAGE)

/*
 * Each test leaves the direct map as it was, and no report in the kernel log.
 */
FIXTURE(hide) {
	int kmsg;
	u64 flags;
	u64 seed;
};

FIXTURE_SETUP(hide)
{
	self->flags = gmem_test_flags();
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
}

FIXTURE_TEARDOWN(hide)
{
	gmem_assert_nothing_left(&self->kmsg);
}

#define HIDE_TEST(name) TEST_F_TIMEOUT(hide, name, TIMEOUT)

#endif /* SELFTEST_KVM_GMEM_HIDE_H */
