// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's own accesses to the memory of a protected guest: stolen time, the
 * tables and the command queue of an ITS, and the pending tables of a
 * redistributor.
 *
 * Proves that each of them fails, and changes nothing, while the page is
 * donated to the guest; that each works when the guest shares the page, at USER
 * and at NONE; and that KVM cannot access a page which the guest has unshared.
 *
 * Catches: an access that does not check the state of the page (pKVM would take
 * it from the guest, whose next read would fail), and one that fails although
 * the page is shared.
 *
 * Needs kvm-arm.mode=protected and a GICv3.
 */
#include <errno.h>
#include <linux/guest_memfd.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "gmem_pvm_steps.h"
#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "test_util.h"

#define SIZE		SZ_2M
/* The guest has written this where KVM must not write. */
#define PATTERN		0x5ec4e75ec4e75ec4ULL

#define PV_TIME_ST	0xc5000021
/* The offset in struct pvclock_vcpu_stolen_time. */
#define STOLEN_TIME	8

#define GICD_GPA	0x8000000ULL
#define GITS_GPA	0x8080000ULL
#define GICR_GPA	0x80a0000ULL

/* Each of these begins a page of 64 KiB, as an ITS requires. */
#define COLLECTIONS	SZ_1M
#define DEVICES		(COLLECTIONS + SZ_64K)
#define ITT		(DEVICES + SZ_64K)
#define QUEUE		(ITT + SZ_64K)
#define PROPERTIES	(QUEUE + SZ_64K)
#define PENDING		(PROPERTIES + SZ_64K)
#define FIRST_LPI	8192
#define PENDING_WORD	(PENDING + FIRST_LPI / 8)

/*
 * In seconds; a kernel with debugging options needs minutes where another one
 * needs seconds.
 */
#define TIMEOUT		300
#define PVM_ACCESS_TEST(name)	TEST_F_TIMEOUT(pvm_access, name, TIMEOUT)

FIXTURE(pvm_access) {
	struct gmem_pvm p;
	u64 *pfns;
	u64 seed;
	int kmsg, vgic, its;
	u64 queued;
};

FIXTURE_SETUP(pvm_access)
{
	memset(self, 0, sizeof(*self));
	self->vgic = -1;
	self->its = -1;
	gmem_pvm_init(&self->p);
	self->seed = gmem_new_seed();
	gmem_kmsg_open(&self->kmsg);
	gmem_pvm_create(&self->p, SIZE);
	gmem_pvm_create_stepper(&self->p, 1);
	self->pfns = gmem_pfns(self->p.mem, SIZE);
}

FIXTURE_TEARDOWN(pvm_access)
{
	if (self->its >= 0)
		kvm_close(self->its);
	if (self->vgic >= 0)
		kvm_close(self->vgic);
	gmem_pvm_close_file(&self->p);
	gmem_pvm_close_vm(&self->p);
	gmem_assert_given_back(self->pfns, SIZE / GMEM_PAGE, self->seed);
	free(self->pfns);
	gmem_assert_all_back();
	gmem_assert_nothing_left(&self->kmsg);
}

/* Return: 0 or errno. */
static int set_attr(int fd, u32 group, u64 attr, void *value)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (u64)value };

	return ioctl(fd, KVM_SET_DEVICE_ATTR, &a) ? errno : 0;
}

static u64 guest_read(struct gmem_pvm *p, u64 offset)
{
	return gmem_pvm_step(p, OP_READ, offset, 0);
}

static void guest_write(struct gmem_pvm *p, u64 offset, u64 value)
{
	TEST_ASSERT_EQ(gmem_pvm_step(p, OP_WRITE, offset, value), 0);
}

static void share(struct gmem_pvm *p, u64 offset)
{
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_SHARE, offset, 0), SUCCESS);
}

static void take_back(struct gmem_pvm *p, u64 offset)
{
	TEST_ASSERT_EQ(gmem_pvm_step(p, MEM_UNSHARE, offset, 0), SUCCESS);
}

static void pin_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity: errno %d", errno);
}

static bool stop_spinning;

static void *spin(void *unused)
{
	pin_to_cpu(0);
	while (!READ_ONCE(stop_spinning))
		;
	return NULL;
}

/*
 * Run the guest for a while on a CPU that it must share.  Return: The last
 * stolen time.
 */
static u64 run_contended(struct gmem_pvm *p, u64 page, u64 from)
{
	u64 now = from;
	unsigned int i;

	for (i = 0; i < 2000 && now == from; i++)
		now = guest_read(p, page + STOLEN_TIME);
	return now;
}

PVM_ACCESS_TEST(stolen_time)
{
	struct gmem_pvm *p = &self->p;
	u64 page = SZ_1M, ipa = GMEM_GPA + page, stolen;
	pthread_t thread;

	TEST_ASSERT_EQ(set_attr(p->vcpu[0], KVM_ARM_VCPU_PVTIME_CTRL, KVM_ARM_VCPU_PVTIME_IPA,
				&ipa), 0);
	gmem_pvm_seal(p);
	stop_spinning = false;
	TEST_ASSERT(!pthread_create(&thread, NULL, spin, NULL), "pthread_create");
	pin_to_cpu(0);

	/* The page is donated to the guest. */
	guest_write(p, page, PATTERN);
	guest_write(p, page + STOLEN_TIME, PATTERN);
	TEST_ASSERT_EQ(gmem_pvm_step(p, PV_TIME_ST, 0, 0), ipa);
	TEST_ASSERT_EQ(run_contended(p, page, PATTERN), PATTERN);
	TEST_ASSERT_EQ(guest_read(p, page), PATTERN);

	/* The guest shares the page, at USER and at NONE. */
	share(p, page);
	TEST_ASSERT_EQ(gmem_pvm_step(p, PV_TIME_ST, 0, 0), ipa);
	TEST_ASSERT_EQ(guest_read(p, page), 0);
	stolen = run_contended(p, page, 0);
	TEST_ASSERT(stolen && stolen != PATTERN, "stolen time 0x%lx", stolen);
	gmem_set_access(p->fd, page, GMEM_PAGE, GUEST_MEMFD_ACCESS_NONE);
	TEST_ASSERT(run_contended(p, page, stolen) > stolen, "no stolen time at NONE");

	take_back(p, page);
	guest_write(p, page + STOLEN_TIME, PATTERN);
	TEST_ASSERT_EQ(run_contended(p, page, PATTERN), PATTERN);
	WRITE_ONCE(stop_spinning, true);
	pthread_join(thread, NULL);
}

static int create_device(int vm, u32 type)
{
	struct kvm_create_device device = { .type = type };

	TEST_ASSERT(!ioctl(vm, KVM_CREATE_DEVICE, &device), "KVM_CREATE_DEVICE: errno %d", errno);
	return device.fd;
}

static void set_addr(int fd, u64 type, u64 addr)
{
	int err = set_attr(fd, KVM_DEV_ARM_VGIC_GRP_ADDR, type, &addr);

	TEST_ASSERT(!err, "address 0x%lx: errno %d", addr, err);
}

static int control(int fd, u64 what)
{
	return set_attr(fd, KVM_DEV_ARM_VGIC_GRP_CTRL, what, NULL);
}

static void set_its_reg(int its, u64 offset, u64 value)
{
	int err = set_attr(its, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, offset, &value);

	TEST_ASSERT(!err, "ITS register 0x%lx: errno %d", offset, err);
}

static void set_gicr_reg(int vgic, u64 offset, u32 value)
{
	int err = set_attr(vgic, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, offset, &value);

	TEST_ASSERT(!err, "redistributor register 0x%lx: errno %d", offset, err);
}

/* Creates a GIC with an ITS whose tables are in the guest's memory. */
static void create_gic(struct gmem_pvm *p, int *vgic, int *its)
{
	const u64 valid = 1ULL << 63, pages_of_64k = 2 << 8;
	u32 nr_irqs = 64;

	*vgic = create_device(p->vm, KVM_DEV_TYPE_ARM_VGIC_V3);
	TEST_ASSERT_EQ(set_attr(*vgic, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &nr_irqs), 0);
	set_addr(*vgic, KVM_VGIC_V3_ADDR_TYPE_DIST, GICD_GPA);
	set_addr(*vgic, KVM_VGIC_V3_ADDR_TYPE_REDIST, GICR_GPA);
	TEST_ASSERT_EQ(control(*vgic, KVM_DEV_ARM_VGIC_CTRL_INIT), 0);
	*its = create_device(p->vm, KVM_DEV_TYPE_ARM_VGIC_ITS);
	set_addr(*its, KVM_VGIC_ITS_ADDR_TYPE, GITS_GPA);
	TEST_ASSERT_EQ(control(*its, KVM_DEV_ARM_VGIC_CTRL_INIT), 0);

	set_gicr_reg(*vgic, 0x70, (u32)(GMEM_GPA + PROPERTIES) | 15);
	set_gicr_reg(*vgic, 0x74, (GMEM_GPA + PROPERTIES) >> 32);
	set_gicr_reg(*vgic, 0x78, (u32)(GMEM_GPA + PENDING));
	set_gicr_reg(*vgic, 0x7c, (GMEM_GPA + PENDING) >> 32);
	set_gicr_reg(*vgic, 0x00, 1);
	set_its_reg(*its, 0x80, valid | (GMEM_GPA + QUEUE));
	set_its_reg(*its, 0x100, valid | pages_of_64k | (GMEM_GPA + DEVICES));
	set_its_reg(*its, 0x108, valid | pages_of_64k | (GMEM_GPA + COLLECTIONS));
	set_its_reg(*its, 0x00, 1);
}

/* The guest appends commands to the queue, and notifies the ITS. */
static void send(struct gmem_pvm *p, u64 *queued, const u64 (*commands)[4], unsigned int nr)
{
	unsigned int i, j;

	for (i = 0; i < nr; i++) {
		for (j = 0; j < 4; j++)
			guest_write(p, QUEUE + *queued + j * sizeof(u64), commands[i][j]);
		*queued += sizeof(commands[i]);
	}
	/* GITS_CWRITER */
	guest_write(p, GITS_GPA + 0x88 - GMEM_GPA, *queued);
}

/* KVM cannot save to a donated page, and can when it is shared. */
static void save(struct gmem_pvm *p, int fd, u64 what, u64 page, u64 word)
{
	guest_write(p, word, PATTERN);
	TEST_ASSERT_EQ(control(fd, what), EFAULT);
	TEST_ASSERT_EQ(guest_read(p, word), PATTERN);
	share(p, page);
	guest_write(p, word, 0);
}

PVM_ACCESS_TEST(its)
{
	const u64 commands[][4] = {
		/*
		 * MAPD: device 0 has 2 events; MAPC: collection 0 is vCPU 0's;
		 * MAPTI.
		 */
		{ 0x08, 0, 1ULL << 63 | (GMEM_GPA + ITT) },
		{ 0x09, 0, 1ULL << 63 },
		{ 0x0a, (u64)FIRST_LPI << 32 },
		/* INT */
		{ 0x03 },
	};
	struct gmem_pvm *p = &self->p;
	u32 level;

	create_gic(p, &self->vgic, &self->its);
	gmem_pvm_seal(p);

	/* KVM executes no commands that it cannot read. */
	send(p, &self->queued, commands, 3);
	TEST_ASSERT_EQ(guest_read(p, QUEUE), 0x08);
	share(p, COLLECTIONS);
	share(p, DEVICES);
	TEST_ASSERT_EQ(control(self->its, KVM_DEV_ARM_ITS_SAVE_TABLES), 0);
	TEST_ASSERT_EQ(guest_read(p, DEVICES), 0);
	TEST_ASSERT_EQ(guest_read(p, COLLECTIONS), 0);
	take_back(p, COLLECTIONS);
	take_back(p, DEVICES);

	share(p, QUEUE);
	share(p, PROPERTIES);
	send(p, &self->queued, commands, ARRAY_SIZE(commands));

	/* Save each table in turn. */
	save(p, self->its, KVM_DEV_ARM_ITS_SAVE_TABLES, ITT, ITT);
	save(p, self->its, KVM_DEV_ARM_ITS_SAVE_TABLES, DEVICES, DEVICES);
	save(p, self->its, KVM_DEV_ARM_ITS_SAVE_TABLES, COLLECTIONS, COLLECTIONS);
	save(p, self->vgic, KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, PENDING, PENDING_WORD);

	for (level = GUEST_MEMFD_ACCESS_NONE; level <= GUEST_MEMFD_ACCESS_KERNEL; level++) {
		gmem_set_access(p->fd, ITT, GMEM_PAGE, level);
		gmem_set_access(p->fd, DEVICES, GMEM_PAGE, level);
		gmem_set_access(p->fd, COLLECTIONS, GMEM_PAGE, level);
		gmem_set_access(p->fd, PENDING, GMEM_PAGE, level);
		guest_write(p, ITT, 0);
		guest_write(p, DEVICES, 0);
		guest_write(p, COLLECTIONS, 0);
		guest_write(p, PENDING_WORD, 0);
		TEST_ASSERT_EQ(control(self->its, KVM_DEV_ARM_ITS_SAVE_TABLES), 0);
		TEST_ASSERT_EQ(control(self->vgic, KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES), 0);
		TEST_ASSERT(guest_read(p, ITT) && guest_read(p, DEVICES) &&
			    guest_read(p, COLLECTIONS), "a table was not saved at level %u", level);
		TEST_ASSERT_EQ(guest_read(p, PENDING_WORD) & 1, 1);
	}

	/* KVM restores the saved tables if it can read them. */
	gmem_set_access(p->fd, DEVICES, GMEM_PAGE, GUEST_MEMFD_ACCESS_USER);
	TEST_ASSERT_EQ(control(self->its, KVM_DEV_ARM_ITS_CTRL_RESET), 0);
	set_its_reg(self->its, 0x100, 1ULL << 63 | 2 << 8 | (GMEM_GPA + DEVICES));
	set_its_reg(self->its, 0x108, 1ULL << 63 | 2 << 8 | (GMEM_GPA + COLLECTIONS));
	take_back(p, DEVICES);
	TEST_ASSERT(control(self->its, KVM_DEV_ARM_ITS_RESTORE_TABLES),
		    "KVM read a table that is the guest's");
	share(p, DEVICES);
	TEST_ASSERT_EQ(control(self->its, KVM_DEV_ARM_ITS_RESTORE_TABLES), 0);
}

int main(int argc, char *argv[])
{
	gmem_pvm_require();
	return test_harness_run(argc, argv);
}
