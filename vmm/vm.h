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

/* The reason why a VM ended; vm_end() keeps the first one. */
enum ending {
	ENDING_NONE,
	ENDING_RESET,
	ENDING_HALT,
	ENDING_POWER_OFF,
	ENDING_PANIC,
	ENDING_TRIPLE_FAULT,
	ENDING_USER,		/* a signal or Ctrl-A x */
	ENDING_ERROR,		/* the VMM has printed a message */
};

/* The numbers of conversions that the VMM has granted and refused. */
struct conversions {
	atomic_ullong granted, refused;
};

struct vm {
	int kvm_fd, fd;
	int wake_fd;		/* eventfd that vm_end() writes */
	atomic_int ending;	/* enum ending */
	int signal;		/* the signal that ended the VM */
	bool protected;		/* see struct vm_options */
	const char *mark;	/* see console_open() */
	struct memory memory;
	struct serial serial;
	struct console console;
	struct disk *disk;	/* or NULL */
	struct conversions conversions;
	unsigned int nr_cpus;
	struct vcpu vcpus[VM_MAX_CPUS];
};

struct start;

struct vm_options {
	enum memory_kind memory;
	uint64_t size;
	unsigned int nr_cpus;
	bool protected;		/* pKVM protects the VM from the host */
	const char *mark;	/* a text to look for on the console, or NULL */
	struct disk *disk;	/* open, or NULL */
};

/* These return 0, or print a message and return an exit status. */
int vm_create(struct vm *vm, const struct vm_options *options);
int vm_set_start(struct vm *vm, const struct start *start);

/* Runs the VM until it ends.  Returns the exit status. */
int vm_run(struct vm *vm);
void vm_destroy(struct vm *vm);

/* Any thread may call this, any number of times. */
void vm_end(struct vm *vm, enum ending why);

#endif
