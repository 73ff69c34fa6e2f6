// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "guestmem.h"
#include "measure.h"
#include "tiny.h"

/* Has the layout of struct kvm_pre_fault_memory, which older headers lack. */
struct pre_fault {
	uint64_t gpa, size, flags, padding[5];
};

#define PRE_FAULT_MEMORY	_IOWR(KVMIO, 0xd5, struct pre_fault)

static void bind_memory(struct tiny *t)
{
	struct kvm_userspace_memory_region firmware = {
		.slot = 0, .memory_size = FIRMWARE_SIZE, .userspace_addr = (uintptr_t)t->firmware,
	};
	struct region *m = &t->memory;
	int ret;

	if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &firmware))
		die(errno, "memory for the tiny guest's code");
	if (backing_is_guest_memfd(m->backing)) {
		struct guestmem_slot slot = {
			.slot = 1, .fd = m->fd, .guest_addr = TINY_BASE, .size = m->size,
			.host_addr = m->base,
		};

		ret = guestmem_bind(m->vm, &slot);
	} else {
		struct kvm_userspace_memory_region region = {
			.slot = 1, .guest_phys_addr = TINY_BASE, .memory_size = m->size,
			.userspace_addr = (uintptr_t)m->base,
		};

		ret = ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region) ? -errno : 0;
	}
	if (ret)
		die(-ret, "memory for the tiny guest");
}

static void create_vcpu(struct tiny *t, unsigned int id)
{
	struct tiny_vcpu *v = &t->vcpu[id];

	v->fd = ioctl(t->memory.vm, KVM_CREATE_VCPU, (unsigned long)id);
	if (v->fd < 0)
		die(errno, "vCPU %u", id);
	v->run = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED)
		die(errno, "vCPU %u", id);
	guest_init_vcpu(t, id);
}

void tiny_create(struct tiny *t, enum backing backing, uint64_t size, unsigned int nr_vcpus)
{
	if (!size || size > TINY_MAX_SIZE || !nr_vcpus || nr_vcpus > TINY_MAX_VCPUS)
		die(0, "no such tiny guest: %llu bytes, %u vCPUs", (unsigned long long)size,
		    nr_vcpus);
	region_create(&t->memory, backing, size);
	t->firmware = mmap(NULL, FIRMWARE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->firmware == MAP_FAILED)
		die(errno, "memory for the tiny guest's code");
	guest_write_firmware(t->firmware);
	bind_memory(t);
	t->nr_vcpus = nr_vcpus;
	for (unsigned int i = 0; i < nr_vcpus; i++)
		create_vcpu(t, i);
}

void tiny_destroy(struct tiny *t)
{
	for (unsigned int i = 0; i < t->nr_vcpus; i++) {
		munmap(t->vcpu[i].run, sysconf(_SC_PAGESIZE));
		close(t->vcpu[i].fd);
	}
	region_destroy(&t->memory);
	munmap(t->firmware, FIRMWARE_SIZE);
}

void guest_run(struct tiny *t, unsigned int id)
{
	while (ioctl(t->vcpu[id].fd, KVM_RUN, NULL)) {
		if (errno != EINTR && errno != EAGAIN)
			die(errno, "vCPU %u", id);
	}
}

struct part {
	pthread_t thread;
	struct tiny *t;
	unsigned int vcpu;
	uint64_t start, end, step;
};

static void *touch_part(void *arg)
{
	struct part *p = arg;

	guest_call(p->t, p->vcpu, GUEST_TOUCH, p->start, p->end, p->step);
	return NULL;
}

void tiny_touch(struct tiny *t, uint64_t step)
{
	uint64_t each = t->memory.size / t->nr_vcpus / step * step;
	struct part part[TINY_MAX_VCPUS];

	for (unsigned int i = 0; i < t->nr_vcpus; i++) {
		struct part *p = &part[i];
		int error;

		*p = (struct part){
			.t = t, .vcpu = i, .step = step, .start = TINY_BASE + i * each,
			.end = TINY_BASE + (i + 1 < t->nr_vcpus ? (i + 1) * each : t->memory.size),
		};
		/* This thread runs the last vCPU. */
		if (i + 1 == t->nr_vcpus) {
			touch_part(p);
			break;
		}
		error = pthread_create(&p->thread, NULL, touch_part, p);
		if (error)
			die(error, "a thread for vCPU %u", i);
	}
	for (unsigned int i = 0; i + 1 < t->nr_vcpus; i++)
		pthread_join(part[i].thread, NULL);
}

void tiny_pre_fault(struct tiny *t)
{
	struct pre_fault range = { .gpa = TINY_BASE, .size = t->memory.size };

	while (range.size) {
		if (ioctl(t->vcpu[0].fd, PRE_FAULT_MEMORY, &range) && errno != EINTR &&
		    errno != EAGAIN)
			die(errno, "KVM_PRE_FAULT_MEMORY");
	}
}

void tiny_walk(struct tiny *t, uint64_t count)
{
	guest_call(t, 0, GUEST_WALK, TINY_BASE, (t->memory.size - 1) & ~7UL, count);
}
