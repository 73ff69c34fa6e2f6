/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VM_H
#define VM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "console.h"
#include "disk.h"
#include "memory.h"
#include "serial.h"
#include "vcpu.h"

#define VM_MAX_CPUS	16

/* Why a VM ended; the first reason stays. */
enum ending {
	ENDING_NONE,
	ENDING_RESET,
	ENDING_HALT,
	ENDING_POWER_OFF,
	ENDING_PANIC,
	ENDING_TRIPLE_FAULT,
	ENDING_USER,		/* by a signal or from the keyboard */
	ENDING_ERROR,		/* after a message */
};

/* What a guest asked for with MEMORY_GUEST_CONTROLLED, by our answer. */
struct conversions {
	atomic_ullong granted, refused;
};

struct vm {
	int kvm_fd, fd;
	int wake_fd;		/* eventfd: the VM is ending */
	atomic_int ending;	/* enum ending */
	int signal;		/* that ended it */
	bool protected;		/* see struct vm_options */
	const char *mark;	/* see console_open() */
	struct memory memory;
	struct serial serial;
	struct console console;
	struct disk *disk;	/* NULL if the guest has none */
	struct conversions conversions;
	unsigned int nr_cpus;
	struct vcpu vcpus[VM_MAX_CPUS];
};

struct start;

struct vm_options {
	enum memory_kind memory;
	uint64_t size;
	unsigned int nr_cpus;
	bool protected;		/* from the host, by pKVM */
	const char *mark;	/* text to look for on the console, or NULL */
	struct disk *disk;	/* open, or NULL */
};

/* These return 0, or an exit status after a message. */
int vm_create(struct vm *vm, const struct vm_options *options);
int vm_set_start(struct vm *vm, const struct start *start);

/* Run until the guest, a signal or an error ends it.  Return: the exit status. */
int vm_run(struct vm *vm);
void vm_destroy(struct vm *vm);

/* May be called from any thread, any number of times. */
void vm_end(struct vm *vm, enum ending why);

#endif
