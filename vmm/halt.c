// SPDX-License-Identifier: GPL-2.0-only
#include <pthread.h>
#include <time.h>

#include "halt.h"
#include "vm.h"

static uint64_t cpu_time(struct vm *vm)
{
	struct timespec time;
	uint64_t sum = 0;
	clockid_t clock;

	for (unsigned int i = 0; i < vm->nr_cpus; i++)
		if (!pthread_getcpuclockid(vm->vcpus[i].thread, &clock) &&
		    !clock_gettime(clock, &time))
			sum += time.tv_sec * 1000000000ULL + time.tv_nsec;
	return sum;
}

static void ask(struct halt *halt, struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_cpus; i++) {
		atomic_store(&vm->vcpus[i].answer, VCPU_ASKED);
		vcpu_kick(&vm->vcpus[i]);
	}
	halt->asked = true;
}

static bool all_stopped(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_cpus; i++)
		if (atomic_load(&vm->vcpus[i].answer) != VCPU_STOPPED)
			return false;
	return true;
}

bool halt_tick(struct halt *halt, struct vm *vm)
{
	uint64_t before = halt->cpu_time;

	halt->cpu_time = cpu_time(vm);
	if (halt->asked) {
		halt->asked = false;
		/*
		 * The vCPUs do not answer at the same moment.  After a vCPU
		 * has answered, another one may have woken it before it
		 * stopped itself, so ask them twice.
		 */
		halt->confirmed = all_stopped(vm) ? halt->confirmed + 1 : 0;
		if (halt->confirmed == 2)
			return true;
		if (halt->confirmed)
			ask(halt, vm);
	} else if (halt->cpu_time == before || MACHINE_HALT_SPINS) {
		/*
		 * Do not interrupt a guest that uses CPU time, unless halted
		 * CPUs spin.
		 */
		ask(halt, vm);
	}
	return false;
}
