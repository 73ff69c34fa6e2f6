// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "arch.h"
#include "halt.h"
#include "message.h"
#include "status.h"
#include "vm.h"

#define ROOM_RETRY_MS	50

static void serial_interrupt(void *context, bool level)
{
	arch_serial_interrupt(context, level);
}

static void disk_interrupt(void *context, bool level)
{
	arch_disk_interrupt(context, level);
}

static void serial_transmit(void *context, uint8_t byte)
{
	console_put(&((struct vm *)context)->console, byte);
}

static void serial_idle(void *context)
{
	console_flush(&((struct vm *)context)->console);
}

static const struct serial_operations serial_ops = {
	.interrupt = serial_interrupt,
	.transmit = serial_transmit,
	.idle = serial_idle,
};

void vm_end(struct vm *vm, enum ending why)
{
	int none = ENDING_NONE;

	if (atomic_compare_exchange_strong(&vm->ending, &none, why))
		eventfd_write(vm->wake_fd, 1);
}

static int open_kvm(struct vm *vm)
{
	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0)
		return fail(STATUS_ERROR, "cannot open /dev/kvm: %s", strerror(errno));
	if (ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION ||
	    ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) <= 0)
		return fail(STATUS_ERROR, "this kernel's KVM is too old");
	return 0;
}

int vm_create(struct vm *vm, const struct vm_options *options)
{
	int ret;

	*vm = (struct vm){
		.kvm_fd = -1, .fd = -1, .memory.fd = -1, .mark = options->mark,
		.protected = options->protected, .disk = options->disk,
	};
	vm->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->wake_fd < 0)
		return fail(STATUS_ERROR, "cannot create an eventfd: %s", strerror(errno));
	ret = open_kvm(vm);
	if (!ret)
		ret = arch_create_vm(vm, options->size);
	if (!ret)
		ret = arch_create_devices(vm);
	if (!ret)
		ret = memory_create(&vm->memory, vm->fd, options->memory, options->size);
	if (!ret && vm->memory.kind == MEMORY_GUEST_CONTROLLED)
		ret = arch_enable_conversions(vm);
	if (ret)
		return ret;

	serial_init(&vm->serial, &serial_ops, vm);
	if (vm->disk)
		disk_start(vm->disk, &vm->memory, &vm->ending, disk_interrupt, vm);
	while (vm->nr_cpus < options->nr_cpus)
		vm->vcpus[vm->nr_cpus++].fd = -1;
	for (unsigned int i = 0; i < vm->nr_cpus && !ret; i++)
		ret = vcpu_create(&vm->vcpus[i], vm, i);
	return ret ? ret : arch_finish_devices(vm);
}

int vm_set_start(struct vm *vm, const struct start *start)
{
	int ret = arch_set_start(&vm->vcpus[0], start);

	if (ret)
		return fail(STATUS_ERROR, "cannot set the entry of the kernel: %s", strerror(-ret));
	return 0;
}

static void read_signal(struct vm *vm, int signal_fd)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGQUIT) {
		for (unsigned int i = 0; i < vm->nr_cpus; i++) {
			atomic_store(&vm->vcpus[i].say_state, true);
			vcpu_kick(&vm->vcpus[i]);
		}
		return;
	}
	vm->signal = info.ssi_signo;
	vm_end(vm, ENDING_USER);
}

/* Input that the VMM has read and the serial port has not received yet. */
struct input {
	uint8_t bytes[SERIAL_FIFO];
	size_t count;
};

static void read_input(struct vm *vm, struct input *input, size_t room)
{
	int count = console_get(&vm->console, input->bytes, room);

	if (count < 0) {
		vm->signal = SIGINT;
		vm_end(vm, ENDING_USER);
	} else {
		input->count = count;
	}
}

/*
 * Passes @input on; returns how many more bytes the serial port can receive
 * now.
 */
static size_t pass_input(struct vm *vm, struct input *input)
{
	if (input->count) {
		if (!serial_receive(&vm->serial, input->bytes, input->count))
			return 0;
		input->count = 0;
	}
	return vm->console.input ? serial_room(&vm->serial) : 0;
}

/* Handles signals, input and a halted guest until the VM ends. */
static void watch(struct vm *vm, int signal_fd)
{
	uint64_t next_tick = console_now_ms() + HALT_TICK_MS;
	struct input input = { 0 };
	struct halt halt = { 0 };

	while (!atomic_load(&vm->ending)) {
		uint64_t now = console_now_ms();
		size_t room = pass_input(vm, &input);
		struct pollfd fds[] = {
			{ .fd = vm->wake_fd, .events = POLLIN },
			{ .fd = signal_fd, .events = POLLIN },
			{ .fd = room ? STDIN_FILENO : -1, .events = POLLIN },
		};
		int wait = now < next_tick ? next_tick - now : 0;

		if ((vm->console.input || input.count) && !room && wait > ROOM_RETRY_MS)
			wait = ROOM_RETRY_MS;
		if (poll(fds, 3, wait) < 0)
			continue;
		if (fds[1].revents)
			read_signal(vm, signal_fd);
		if (fds[2].revents)
			read_input(vm, &input, room);
		if (console_now_ms() >= next_tick) {
			next_tick = console_now_ms() + HALT_TICK_MS;
			if (halt_tick(&halt, vm))
				vm_end(vm, ENDING_HALT);
		}
	}
}

static int ending_status(const struct vm *vm)
{
	enum ending ending = atomic_load(&vm->ending);

	if (ending == ENDING_ERROR)
		return STATUS_ERROR;
	if (ending == ENDING_USER)
		return STATUS_SIGNAL + vm->signal;
	/* A panic is the reason, however the guest has ended after it. */
	if (ending == ENDING_PANIC || vm->console.panicked)
		return fail(STATUS_PANIC, "the guest kernel panicked");
	if (ending == ENDING_TRIPLE_FAULT)
		return fail(STATUS_TRIPLE_FAULT, "the guest ended by a triple fault");
	if (ending == ENDING_HALT)
		return fail(STATUS_HALT, "the guest halted");
	if (ending == ENDING_POWER_OFF)
		return fail(STATUS_HALT, "the guest powered off");
	return STATUS_RESET;
}

int vm_run(struct vm *vm)
{
	unsigned int started = 0;
	int signal_fd, ret = 0;
	sigset_t signals;

	vcpu_init_kick();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);	/* pwrite() then fails with EFBIG */
	/*
	 * All threads inherit the mask, so only the signalfd receives the
	 * signals.
	 */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGQUIT);
	if (signal(SIGHUP, SIG_DFL) != SIG_IGN)		/* nohup ignores it */
		sigaddset(&signals, SIGHUP);
	else
		signal(SIGHUP, SIG_IGN);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		return fail(STATUS_ERROR, "cannot create a signalfd: %s", strerror(errno));

	console_open(&vm->console, vm->mark, &vm->ending);
	while (started < vm->nr_cpus && !ret) {
		ret = vcpu_start(&vm->vcpus[started]);
		if (!ret)
			started++;
	}
	if (ret)
		vm_end(vm, ENDING_ERROR);
	watch(vm, signal_fd);
	for (unsigned int i = 0; i < started; i++)
		vcpu_join(&vm->vcpus[i]);
	console_close(&vm->console);
	close(signal_fd);
	return ending_status(vm);
}

void vm_destroy(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_cpus; i++)
		vcpu_destroy(&vm->vcpus[i]);
	memory_destroy(&vm->memory);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	if (vm->wake_fd >= 0)
		close(vm->wake_fd);
}
