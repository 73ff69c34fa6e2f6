// SPDX-License-Identifier: GPL-2.0-only
/*
 * An accident of the host's kernel: a module loads from a page of a protected
 * guest, through the direct map.
 *
 * Proves that on anonymous memory the load succeeds, because pKVM takes the
 * page from the guest and clears it, and that the guest has lost its data; and
 * that on hidden memory the load faults, the kernel kills the task, and the
 * guest's page is intact.
 *
 * Catches: a donated page with an entry in the direct map.
 *
 * Needs kvm-arm.mode=protected and lib/test_guest_memfd.c as a module.  The
 * host's kernel reports an oops, as intended.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/guest_memfd.h>
#include <linux/sizes.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../../../lib/test_guest_memfd.h"

#include "gmem_pvm_steps.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#define SIZE		SZ_2M
#define PAGE		(7 * GMEM_PAGE)
#define PATTERN		0x5ec4e75ec4e75ec4ULL
#define MODULE_FILE	"/lib/test_guest_memfd.ko"

FIXTURE(accident) {
	struct gmem_pvm p;
	u64 pfn;
};

FIXTURE_SETUP(accident)
{
	memset(self, 0, sizeof(*self));
	gmem_pvm_init(&self->p);
}

FIXTURE_TEARDOWN(accident)
{
	gmem_pvm_close_file(&self->p);
	gmem_pvm_close_vm(&self->p);
	gmem_assert_all_back();
}

/*
 * Another process makes the module load from the page.  Return: True if that
 * process survived, with the loaded value in *@value.
 */
static bool stray_load(u64 pfn, u64 *value)
{
	u64 *shared = kvm_mmap(GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	int fd, status;
	pid_t pid;

	pid = fork();
	TEST_ASSERT(pid >= 0, "fork: errno %d", errno);
	if (!pid) {
		fd = open_path_or_exit("/dev/test_guest_memfd", O_RDWR);
		*shared = pfn;
		_exit(ioctl(fd, TEST_GMEM_STRAY_LOAD, shared) ? 1 : 0);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid: errno %d", errno);
	*value = *shared;
	kvm_munmap(shared, GMEM_PAGE);
	if (WIFSIGNALED(status))
		return false;
	TEST_ASSERT(!WEXITSTATUS(status), "the load failed");
	return true;
}

TEST_F(accident, anonymous)
{
	struct gmem_pvm *p = &self->p;
	u64 value;

	p->size = SIZE;
	p->vm = gmem_pvm_create_vm();
	TEST_ASSERT(p->vm >= 0, "KVM_CREATE_VM: errno %d", errno);
	p->mem = kvm_mmap(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memset(p->mem, 0, SIZE);
	self->pfn = gmem_pfn(p->mem + PAGE);
	TEST_ASSERT_EQ(gmem_pvm_add_slot(p->vm, 0, p->mem, SIZE, -1), 0);
	gmem_pvm_create_stepper(p, 1);
	gmem_pvm_step(p, OP_WRITE, PAGE, PATTERN);
	TEST_ASSERT_EQ(gmem_pvm_step(p, OP_READ, PAGE, 0), PATTERN);

	TEST_ASSERT(stray_load(self->pfn, &value), "the load killed its task");
	TEST_ASSERT(value != PATTERN, "the host's kernel reads the guest's data");
	TEST_ASSERT_EQ(gmem_pvm_try_step(p, 0, OP_READ, PAGE, 0, &value), EFAULT);
}

TEST_F(accident, hidden)
{
	struct gmem_pvm *p = &self->p;
	u64 value;

	gmem_pvm_create(p, SIZE);
	gmem_pvm_create_stepper(p, 1);
	self->pfn = gmem_pfn(p->mem + PAGE);
	gmem_pvm_seal(p);
	gmem_pvm_step(p, OP_WRITE, PAGE, PATTERN);

	TEST_ASSERT(!stray_load(self->pfn, &value), "the load succeeds: 0x%lx", value);
	TEST_ASSERT_EQ(gmem_pvm_step(p, OP_READ, PAGE, 0), PATTERN);
	gmem_pvm_step(p, OP_WRITE, PAGE, ~PATTERN);
	TEST_ASSERT_EQ(gmem_pvm_step(p, OP_READ, PAGE, 0), ~PATTERN);
}

int main(int argc, char *argv[])
{
	int fd;

	gmem_pvm_require();
	fd = open_path_or_exit(MODULE_FILE, O_RDONLY | O_CLOEXEC);
	TEST_ASSERT(!syscall(SYS_finit_module, fd, "", 0) || errno == EEXIST, "%s: errno %d",
		    MODULE_FILE, errno);
	kvm_close(fd);
	return test_harness_run(argc, argv);
}
