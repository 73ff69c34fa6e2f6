// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cost of KVM's own accesses to guest memory: KVM_TRANSLATE walks page
 * tables in guest memory with one read of 8 bytes at each of four levels.  The
 * vCPU does not run, so the benchmark can count instructions.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "backing.h"
#include "figures.h"
#include "guestmem.h"
#include "measure.h"
#include "tiny.h"

#define LEVELS		4
/* The offset of the tables in the memory; they map the page after them. */
#define TABLES		(BLOCK + 16 * PAGE)
/* Present, writable, accessed: KVM sets no bit. */
#define ENTRY		0x23

static void write_tables(struct tiny *t)
{
	for (unsigned int i = 0; i < LEVELS; i++) {
		uint64_t *table = (uint64_t *)(t->memory.base + TABLES + i * PAGE);

		memset(table, 0, PAGE);
		table[0] = (TINY_BASE + TABLES + (i + 1) * PAGE) | ENTRY;
	}
}

static void translate(struct tiny *t, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct kvm_translation tr = { .linear_address = 0 };

		if (ioctl(t->vcpu[0].fd, KVM_TRANSLATE, &tr))
			die(errno, "KVM_TRANSLATE");
		if (!tr.valid || tr.physical_address != TINY_BASE + TABLES + LEVELS * PAGE)
			die(0, "KVM_TRANSLATE: valid %u, address 0x%llx", tr.valid,
			    tr.physical_address);
	}
}

/* Measures the ioctl without an access to guest memory, with CR0.PG clear. */
static void baseline(struct tiny *t, unsigned int count, uint64_t *cost)
{
	struct kvm_sregs sregs, off;
	uint64_t start;

	if (ioctl(t->vcpu[0].fd, KVM_GET_SREGS, &sregs))
		die(errno, "KVM_GET_SREGS");
	off = sregs;
	off.cr0 &= ~0x80000000UL;
	off.efer &= ~0x500UL;
	off.cs.l = 0;
	if (ioctl(t->vcpu[0].fd, KVM_SET_SREGS, &off))
		die(errno, "KVM_SET_SREGS");
	start = now();
	for (unsigned int i = 0; i < count; i++) {
		struct kvm_translation tr = { .linear_address = 0 };

		if (ioctl(t->vcpu[0].fd, KVM_TRANSLATE, &tr) || !tr.valid)
			die(errno, "KVM_TRANSLATE without paging");
	}
	*cost = now() - start;
	sregs.cr3 = TINY_BASE + TABLES;
	if (ioctl(t->vcpu[0].fd, KVM_SET_SREGS, &sregs))
		die(errno, "KVM_SET_SREGS");
}

static void measure(struct tiny *t, const struct parameters *p, const char *level,
		    unsigned int rep, uint64_t without)
{
	uint64_t start;

	translate(t, 10);
	start = now();
	translate(t, p->count);
	report("translate", backing_name(t->memory.backing), level, rep,
	       (double)(now() - start - without) / p->count / LEVELS, now_unit());
}

static void set_level(struct tiny *t, uint64_t offset, uint64_t size, uint32_t level)
{
	int err = guestmem_set_access(t->memory.fd, offset, size, level, NULL);

	if (err)
		die(-err, "SET_ACCESS");
}

/*
 * Measures at the first level, after a level change elsewhere in the file, and
 * at NONE.
 */
void figure_translate(const struct parameters *p)
{
	for (unsigned int rep = 0; rep < p->reps; rep++) {
		for_each_backing(b, rep, p->backings & GUEST_BACKINGS) {
			uint64_t without;
			struct tiny t;

			tiny_create(&t, b, p->mib * MIB, 1);
			region_touch(&t.memory, PAGE);
			write_tables(&t);
			baseline(&t, p->count, &without);
			measure(&t, p, "first", rep, without);
			if (backing_is_guest_memfd(b)) {
				set_level(&t, 0, PAGE, GUESTMEM_ACCESS_NONE);
				measure(&t, p, "changed", rep, without);
				set_level(&t, TABLES, (LEVELS + 1) * PAGE, GUESTMEM_ACCESS_NONE);
				measure(&t, p, "none", rep, without);
			}
			tiny_destroy(&t);
		}
	}
}
