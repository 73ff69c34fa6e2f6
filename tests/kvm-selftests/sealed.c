// SPDX-License-Identifier: GPL-2.0-only
/*
 * Take the hidden memory of the KVM selftests from user space whenever KVM works.
 *
 * With KVM_SELFTEST_GMEM_SEAL=1 each file of hidden.c is at level NONE while at
 * least one thread is in an ioctl of KVM's, KVM_RUN above all, and at USER while
 * none is: the tests themselves load programs, and read and write results, by
 * their mapping.  At NONE that mapping is empty, so that KVM has the file only.
 *
 * While one thread runs a vCPU another may look at guest memory: that is a
 * SIGBUS, which raises the level until the next ioctl, and is counted.  It does
 * not help KVM out: what KVM cannot reach is an error to it, and no signal.
 *
 * The linker puts these functions before the C library's ioctl(), close() and
 * _exit(), by which the children of the kselftest harness end.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/guest_memfd.h>
#include <linux/kvm.h>

#include "hidden.h"
#include "test_util.h"

#define MAX_FILES 1024

int __real_ioctl(int fd, unsigned long request, ...);
int __real_close(int fd);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_close(int fd);
void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));

/*
 * @lock protects all of it.  A signal handler takes it too, so no code touches
 * guest memory with it held.
 */
static atomic_flag lock = ATOMIC_FLAG_INIT;
static struct file {
	int fd;
	char *mem;
	size_t size;
	bool raised;
} files[MAX_FILES];
static unsigned int nr_files, nr_inside;
static unsigned long seals, raises;
static bool reporting;

static void take_lock(void)
{
	while (atomic_flag_test_and_set(&lock))
		;
}

static void drop_lock(void)
{
	atomic_flag_clear(&lock);
}

static void set_level(struct file *f, unsigned int level)
{
	struct guest_memfd_access access = { .size = f->size, .level = level };
	int r = __real_ioctl(f->fd, GUEST_MEMFD_SET_ACCESS, &access);

	TEST_ASSERT(!r, "level %u of file %d: %s", level, f->fd, strerror(errno));
	f->raised = level != GUEST_MEMFD_ACCESS_NONE;
	if (f->raised)
		return;

	/* All of it, as the kernel has it. */
	access = (struct guest_memfd_access) { .level = GUEST_MEMFD_ACCESS_USER };
	r = __real_ioctl(f->fd, GUEST_MEMFD_GET_ACCESS, &access);
	TEST_ASSERT(!r && access.level == GUEST_MEMFD_ACCESS_NONE && access.size >= f->size,
		    "file %d is at level %u for %llu bytes", f->fd, access.level, access.size);
	seals++;
}

static void enter(void)
{
	unsigned int i;

	take_lock();
	nr_inside++;
	for (i = 0; i < nr_files; i++) {
		if (files[i].raised)
			set_level(&files[i], GUEST_MEMFD_ACCESS_NONE);
	}
	drop_lock();
}

static void leave(void)
{
	unsigned int i;

	take_lock();
	nr_inside--;
	for (i = 0; i < nr_files && !nr_inside; i++) {
		if (!files[i].raised)
			set_level(&files[i], GUEST_MEMFD_ACCESS_USER);
	}
	drop_lock();
}

/* A thread of the test looks at memory while KVM works on it. */
static void sigbus(int sig, siginfo_t *info, void *context)
{
	char *at = info->si_addr;
	int saved = errno;
	unsigned int i;

	take_lock();
	for (i = 0; i < nr_files; i++) {
		if (at >= files[i].mem && at < files[i].mem + files[i].size)
			break;
	}
	if (i == nr_files) {
		/* Not ours: it comes again, and ends the test. */
		signal(SIGBUS, SIG_DFL);
	} else if (!files[i].raised) {
		set_level(&files[i], GUEST_MEMFD_ACCESS_USER);
		raises++;
	}
	drop_lock();
	errno = saved;
}

/* For the runner, once: a run that seals nothing must not pass for one that does. */
static void report(void)
{
	if (!reporting)
		return;
	reporting = false;
	fprintf(stderr, "# sealed %lu times, raised by the test %lu times\n", seals, raises);
}

static bool wanted(void)
{
	const char *s = getenv("KVM_SELFTEST_GMEM_SEAL");

	return s && !strcmp(s, "1");
}

/* A file at level USER, which is mapped at @mem; its close() ends it. */
void sealed_add(int fd, void *mem, size_t size)
{
	struct sigaction action = { .sa_sigaction = sigbus, .sa_flags = SA_SIGINFO };

	if (!wanted())
		return;
	if (!reporting) {
		reporting = true;
		sigaction(SIGBUS, &action, NULL);
		atexit(report);
	}
	take_lock();
	TEST_ASSERT(nr_files < MAX_FILES, "too many files");
	files[nr_files++] = (struct file) { .fd = fd, .mem = mem, .size = size, .raised = true };
	drop_lock();
}

int __wrap_close(int fd)
{
	unsigned int i;

	take_lock();
	for (i = 0; i < nr_files; i++) {
		if (files[i].fd == fd)
			files[i] = files[--nr_files];
	}
	drop_lock();
	return __real_close(fd);
}

void __wrap__exit(int status)
{
	report();
	__real__exit(status);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	bool kvm = _IOC_TYPE(request) == KVMIO && wanted();
	int r, saved;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);

	if (kvm)
		enter();
	r = __real_ioctl(fd, request, arg);
	saved = errno;
	if (kvm)
		leave();
	errno = saved;
	return r;
}
