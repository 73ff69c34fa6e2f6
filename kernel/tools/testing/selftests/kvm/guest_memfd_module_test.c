// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls of another owner of guest_memfds than KVM, and the end of its
 * module.
 *
 * Proves that bad input to its calls fails with the documented errors, that
 * each guest and each owner accept only their own files, and that the module
 * can be removed when its last file is gone, and not before.
 *
 * Catches: a missing check (bad_input), a call of an owner's code after its
 * module was removed (unload, which ends in an oops).
 *
 * Not covered: what the owner does with memory (guest_memfd_owner_test).
 */
#include "gmem_owner.h"

/* The kernel may complete the close of a file asynchronously. */
static int unload_module(bool wait)
{
	int tries, r;

	for (tries = 0; tries < 600; tries++) {
		r = syscall(SYS_delete_module, MODULE, O_NONBLOCK);
		if (!r || errno != EWOULDBLOCK || !wait)
			break;
		usleep(100000);
	}
	return r;
}

/* Errors that concern no range. */
TEST(bad_input)
{
	u64 flags = gmem_test_flags();
	struct test_gmem_range range;
	struct gmem_vm g;
	int dev, other, fd;
	char buf[8];

	dev = guest_new();
	TEST_ASSERT_EQ(file_new(dev, 0, flags), -EINVAL);
	TEST_ASSERT_EQ(file_new(dev, GMEM_PAGE + 1, flags), -EINVAL);
	TEST_ASSERT_EQ(file_new(dev, 1ULL << 63, flags), -EINVAL);
	TEST_ASSERT_EQ(file_new(dev, GMEM_PAGE, flags | 1ULL << 40), -EINVAL);
	TEST_ASSERT_EQ(result(ioctl(dev, TEST_GMEM_CREATE, NULL)), -EFAULT);
	TEST_ASSERT_EQ(result(ioctl(dev, TEST_GMEM_LEND, NULL)), -EFAULT);
	TEST_ASSERT_EQ(result(ioctl(dev, GUEST_MEMFD_SET_ACCESS, NULL)), -ENOTTY);

	fd = file_new(dev, 4 * GMEM_PAGE, flags);
	TEST_ASSERT(fd >= 0, "no file: %d", fd);
	TEST_ASSERT_EQ(result(ioctl(fd, TEST_GMEM_KILL)), -ENOTTY);
	TEST_ASSERT_EQ(result(ftruncate(fd, 8 * GMEM_PAGE)), -EINVAL);
	TEST_ASSERT_EQ(on_range(dev, TEST_GMEM_LEND, fd, 0, 0, NULL), -EINVAL);
	TEST_ASSERT_EQ(on_range(dev, TEST_GMEM_LEND, fd, 4, 1, NULL), -EINVAL);
	TEST_ASSERT_EQ(on_range(dev, TEST_GMEM_LEND, fd, 3, 2, NULL), -EINVAL);
	TEST_ASSERT_EQ(on_range(dev, TEST_GMEM_LEND, fd, (1UL << 52) - 1, 2, NULL), -EINVAL);
	TEST_ASSERT_EQ(on_range(dev, TEST_GMEM_LEND, -1, 0, 1, NULL), -EBADF);
	TEST_ASSERT_EQ(on_range(dev, TEST_GMEM_LEND, dev, 0, 1, NULL), -EINVAL);
	range = (struct test_gmem_range) { .fd = fd, .size = GMEM_PAGE, .reserved = 1 };
	TEST_ASSERT_EQ(result(ioctl(dev, TEST_GMEM_LEND, &range)), -EINVAL);
	range = (struct test_gmem_range) { .fd = fd, .size = GMEM_PAGE + 8 };
	TEST_ASSERT_EQ(result(ioctl(dev, TEST_GMEM_LEND, &range)), -EINVAL);
	TEST_ASSERT_EQ(guest_io(dev, fd, 4 * GMEM_PAGE, buf, 8, false), -EINVAL);
	TEST_ASSERT_EQ(guest_io(dev, fd, ~0ULL - 3, buf, 8, false), -EINVAL);
	TEST_ASSERT_EQ(on_range(dev, TEST_GMEM_MAP, fd, 0, 4, NULL), 0);
	TEST_ASSERT_EQ(guest_io(dev, fd, 0, NULL, 8, false), -EFAULT);
	TEST_ASSERT_EQ(guest_io(dev, fd, 0, NULL, 8, true), -EFAULT);
	TEST_ASSERT_EQ(guest_io(dev, fd, 4 * GMEM_PAGE - 8, buf, 8, false), 0);

	/* Each guest and each owner accept only their own files. */
	other = guest_new();
	TEST_ASSERT_EQ(on_range(other, TEST_GMEM_MAP, fd, 0, 1, NULL), -EINVAL);
	TEST_ASSERT_EQ(on_range(other, TEST_GMEM_LEND, fd, 0, 1, NULL), -EINVAL);
	kvm_close(other);
	gmem_vm_create(&g, 1, 16 * GMEM_PAGE, flags);
	TEST_ASSERT_EQ(on_range(dev, TEST_GMEM_LEND, g.fd, 0, 1, NULL), -EINVAL);
	TEST_ASSERT_EQ(result(__vm_set_user_memory_region2(g.vm, GMEM_SLOT + 1,
							   KVM_MEM_GUEST_MEMFD, 2 * GMEM_GPA,
							   4 * GMEM_PAGE, g.mem, fd, 0)),
		       -EINVAL);
	/* KVM's guests work at the same time. */
	gmem_guest_call(g.vcpus[0], gmem_guest_fill, GMEM_GVA, 16 * GMEM_PAGE, 1);
	TEST_ASSERT_EQ(on_range(dev, TEST_GMEM_LEND, fd, 0, 4, NULL), 0);
	gmem_guest_call(g.vcpus[0], gmem_guest_check, GMEM_GVA, 16 * GMEM_PAGE, 1);
	gmem_vm_destroy(&g);
	kvm_close(fd);
	kvm_close(dev);
	gmem_assert_all_back();
}

/*
 * A guest, a file or a mapping prevents the removal of the module; a pinned
 * page does not.
 */
TEST(unload)
{
	int dev, fd, p[2], kmsg, round;
	u64 seed = gmem_new_seed(), pfn;
	char *mem;

	if (access(MODULE_FILE, R_OK))
		SKIP(return, "built in");
	gmem_kmsg_open(&kmsg);
	for (round = 0; round < 5; round++) {
		dev = guest_new();
		TEST_ASSERT_EQ(result(unload_module(false)), -EWOULDBLOCK);
		fd = file_new(dev, 1024 * GMEM_PAGE, gmem_test_flags());
		TEST_ASSERT(fd >= 0, "no file: %d", fd);
		kvm_close(dev);
		TEST_ASSERT_EQ(result(unload_module(false)), -EWOULDBLOCK);
		mem = kvm_mmap(1024 * GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
		kvm_close(fd);
		TEST_ASSERT_EQ(result(unload_module(false)), -EWOULDBLOCK);
		gmem_fill(mem, GMEM_PAGE, seed);
		pfn = gmem_pfn(mem);
		pin(p, mem);
		kvm_munmap(mem, 1024 * GMEM_PAGE);

		TEST_ASSERT_EQ(result(unload_module(true)), 0);
		TEST_ASSERT(access(DEVICE, F_OK), "the device is still there");
		TEST_ASSERT(gmem_kernel_sees(pfn, seed), "a page that is held is gone");
		TEST_ASSERT_EQ(result(read(p[0], (char[8]) {}, 8)), 8);
		unpin(p);
		TEST_ASSERT_EQ(result(load_module()), 0);
	}
	/* The library frees the page when it polls such pages. */
	for (round = 0; round < 100 && gmem_kernel_sees(pfn, seed); round++)
		usleep(100000);
	sleep(1);
	gmem_assert_given_back(&pfn, 1, seed);
	gmem_assert_nothing_left(&kmsg);
}

int main(int argc, char *argv[])
{
	owner_require();
	return test_harness_run(argc, argv);
}
