// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE	/* pthread_timedjoin_np() */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "arch.h"
#include "message.h"
#include "status.h"
#include "vcpu.h"
#include "vm.h"

#define KICK_SIGNAL		SIGUSR1

/*
 * KVM_EXIT_MEMORY_FAULT of newer headers; its data is in the union at run->hw.
 */
#define EXIT_MEMORY_FAULT	39
struct memory_fault {
	uint64_t flags, addr, size;
};

static void kicked(int signal)
{
	(void)signal;	/* the signal only interrupts a system call */
}

void vcpu_init_kick(void)
{
	struct sigaction action = { .sa_handler = kicked };

	sigaction(KICK_SIGNAL, &action, NULL);
}

void vcpu_kick(struct vcpu *vcpu)
{
	/*
	 * The signal interrupts KVM_RUN.  If the signal arrives before the
	 * thread enters KVM_RUN, immediate_exit makes KVM_RUN return at once.
	 */
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(vcpu->thread, KICK_SIGNAL);
}

int vcpu_create(struct vcpu *vcpu, struct vm *vm, unsigned int id)
{
	int size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	*vcpu = (struct vcpu){ .vm = vm, .id = id, .fd = -1 };
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	if (vcpu->fd < 0)
		return fail(STATUS_ERROR, "cannot create vCPU %u: %s", id, strerror(errno));
	run = size < 0 ? MAP_FAILED :
	      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return fail(STATUS_ERROR, "cannot map vCPU %u: %s", id, strerror(errno));
	vcpu->run = run;
	vcpu->run_size = size;

	return arch_init_vcpu(vcpu);
}

static void interrupted(struct vcpu *vcpu)
{
	/*
	 * Clear the flag before reading the requests.  A kick after the store
	 * sets the flag again, and the request of a kick before the store is
	 * visible below.  Pairs with the store in vcpu_kick().
	 */
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (atomic_load(&vcpu->answer) == VCPU_ASKED)
		arch_look(vcpu);
	if (atomic_exchange(&vcpu->say_state, false))
		arch_say_state(vcpu);
}

static void run_failed(struct vcpu *vcpu, int error)
{
	struct kvm_run *run = vcpu->run;

	if (run->exit_reason == EXIT_MEMORY_FAULT && (error == EFAULT || error == EHWPOISON)) {
		struct memory_fault fault;

		memcpy(&fault, &run->hw, sizeof(fault));
		say("vCPU %u: KVM cannot access guest memory at 0x%llx: %s", vcpu->id,
		    (unsigned long long)fault.addr, strerror(error));
	} else {
		say("vCPU %u: KVM_RUN failed: %s", vcpu->id, strerror(error));
	}
	vm_end(vcpu->vm, ENDING_ERROR);
}

static void system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_end(vcpu->vm, ENDING_POWER_OFF);
		return;
	case KVM_SYSTEM_EVENT_RESET:
		vm_end(vcpu->vm, ENDING_RESET);
		return;
	case KVM_SYSTEM_EVENT_CRASH:
		vm_end(vcpu->vm, ENDING_PANIC);
		return;
	}
	say("vCPU %u: unknown system event %u", vcpu->id, vcpu->run->system_event.type);
	vm_end(vcpu->vm, ENDING_ERROR);
}

static void internal_error(struct vcpu *vcpu)
{
	say("vCPU %u: unexpected KVM exit: reason %u, suberror %u, " MACHINE_PC " 0x%llx", vcpu->id,
	    vcpu->run->exit_reason, vcpu->run->internal.suberror, arch_pc(vcpu));
	vm_end(vcpu->vm, ENDING_ERROR);
}

static void handle_exit(struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_SYSTEM_EVENT:
		system_event(vcpu);
		break;
	case KVM_EXIT_INTR:
		break;
	default:
		if (!arch_exit(vcpu))
			internal_error(vcpu);
	}
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);

	while (!atomic_load(&vcpu->vm->ending)) {
		int ret = ioctl(vcpu->fd, KVM_RUN, 0);

		atomic_fetch_add_explicit(&vcpu->exits, 1, memory_order_relaxed);
		if (!ret)
			handle_exit(vcpu);
		else if (errno == EINTR)
			interrupted(vcpu);
		else if (errno != EAGAIN)	/* EAGAIN: the guest has not started the vCPU */
			run_failed(vcpu, errno);
	}
	return NULL;
}

int vcpu_start(struct vcpu *vcpu)
{
	int error = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);

	if (error)
		return fail(STATUS_ERROR, "cannot start the thread of vCPU %u: %s", vcpu->id,
			    strerror(error));
	return 0;
}

void vcpu_join(struct vcpu *vcpu)
{
	struct timespec until;

	/*
	 * Kick again: the thread may block in a write to the console after a
	 * kick.
	 */
	do {
		vcpu_kick(vcpu);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
	} while (pthread_timedjoin_np(vcpu->thread, NULL, &until) == ETIMEDOUT);
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
}
