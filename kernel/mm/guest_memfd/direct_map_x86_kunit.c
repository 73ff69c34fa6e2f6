// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the direct map's entries, the flush and the temporary mappings
 * on x86.
 */

#include <kunit/test.h>
#include <linux/guest_memfd.h>
#include <linux/kallsyms.h>
#include <linux/kthread.h>
#include <linux/mmap_lock.h>
#include <linux/nmi.h>
#include <linux/set_memory.h>
#include <linux/temp_map.h>
#include <linux/vmstat.h>

#include <asm/apic.h>
#include <asm/extable.h>
#include <asm/tlbflush.h>
#include <asm/trapnr.h>

#include "direct_map.h"
#include "kunit.h"

unsigned long gm_test_flags(struct page *page, unsigned long *size)
{
	unsigned long flags;
	unsigned int level;
	pte_t *pte;

	guard(mmap_read_lock)(&init_mm);
	pte = lookup_address((unsigned long)page_address(page), &level);
	flags = pte_val(*pte) & PTE_FLAGS_MASK;
	*size = page_level_size(level);
	return level == PG_LEVEL_4K ? flags : flags & ~_PAGE_PSE;
}

unsigned long gm_test_boot_flags(void)
{
	return pgprot_val(PAGE_KERNEL);
}

void gm_test_temp_entries(unsigned int *entries, unsigned int *present)
{
	struct mm_struct *mm = this_cpu_read(cpu_tlbstate.loaded_mm);
	unsigned int i, level;

	for (i = 0; i < TEMP_MAP_PAGES; i++) {
		unsigned long addr = TEMP_MAP_ADDR + i * PAGE_SIZE;
		pte_t *pte = lookup_address_in_pgd(pgd_offset(mm, addr), addr, &level);

		/* Only a temporary mm has a page table there. */
		*entries += pte && level == PG_LEVEL_4K;
		*present += pte && pte_present(ptep_get(pte));
	}
}

void gm_test_temp_flush(void)
{
	flush_tlb_local();
}

const enum vm_event_item gm_test_flush_events[] = {
	NR_TLB_REMOTE_FLUSH, NR_TLB_REMOTE_FLUSH_RECEIVED,
	NR_TLB_LOCAL_FLUSH_ALL, NR_TLB_LOCAL_FLUSH_ONE,
};

const unsigned int gm_test_nr_flush_events = ARRAY_SIZE(gm_test_flush_events);

/*
 * The first range contains the kernel addresses below the direct map, the
 * second one those of vmalloc().
 */
unsigned int gm_test_ranges(struct gm_test_range *ranges)
{
	ranges[0] = (struct gm_test_range){ LDT_BASE_ADDR, LDT_END_ADDR };
	ranges[1] = (struct gm_test_range){ VMALLOC_START, VMALLOC_END + 1 - PAGE_SIZE };
	ranges[2] = (struct gm_test_range){ MODULES_VADDR, MODULES_END };
	ranges[3] = (struct gm_test_range){ FIXADDR_START, FIXADDR_START + FIXADDR_SIZE };
	return 4;
}

/*
 * Hiding one page that has an entry of its own takes one flush_tlb_all() and no
 * other flush.  Another task may flush concurrently, so try several times.
 */
static void test_one_flush(struct kunit *test)
{
	/* These arrays are too large for the stack. */
	static unsigned long before[NR_VM_EVENT_ITEMS], after[NR_VM_EVENT_ITEMS];
	struct page *page = gm_test_new_pages(test, 0);
	unsigned int tries;

	if (cpu_feature_enabled(X86_FEATURE_INVLPGB))
		kunit_skip(test, "no CPU is interrupted here");
	KUNIT_EXPECT_EQ(test, direct_map_hide(page, 1), 0);
	for (tries = 0; tries < 10; tries++) {
		KUNIT_EXPECT_EQ(test, direct_map_restore(page, 1), 0);
		all_vm_events(before);
		KUNIT_EXPECT_EQ(test, direct_map_hide(page, 1), 0);
		all_vm_events(after);
		if (after[NR_TLB_REMOTE_FLUSH] == before[NR_TLB_REMOTE_FLUSH] + 1 &&
		    after[NR_TLB_REMOTE_FLUSH_RECEIVED] ==
		    before[NR_TLB_REMOTE_FLUSH_RECEIVED] + num_online_cpus() &&
		    after[NR_TLB_LOCAL_FLUSH_ONE] == before[NR_TLB_LOCAL_FLUSH_ONE] &&
		    after[NR_TLB_LOCAL_FLUSH_ALL] == before[NR_TLB_LOCAL_FLUSH_ALL])
			break;
	}
	KUNIT_EXPECT_LT(test, tries, 10);
	KUNIT_EXPECT_EQ(test, direct_map_restore(page, 1), 0);
	__free_page(page);
}

/*
 * Count the exception table entries of a function for which error_context()
 * returns IN_KERNEL_RECOV.
 */
static unsigned int count_mce_safe(void *fn)
{
	unsigned long start = (unsigned long)fn, size, offset, i;
	unsigned int nr = 0;

	if (!kallsyms_lookup_size_offset(start, &size, &offset))
		return 0;
	start -= offset;
	for (i = 0; i < size; i++)
		nr += ex_get_fixup_type(start + i) == EX_TYPE_DEFAULT_MCE_SAFE;
	return nr;
}

static void test_machine_check_entries(struct kunit *test)
{
	/*
	 * Two words, each with a load and a store, and two string instructions.
	 */
	KUNIT_EXPECT_EQ(test, count_mce_safe(temp_copy), 6);
	KUNIT_EXPECT_EQ(test, count_mce_safe(temp_cmpxchg), 4);
}

/* An NMI in the temporary mm must not access its user half as the task's. */
static atomic_t nmis, nmis_inside, nmis_wrong;

static int count_nmi(unsigned int type, struct pt_regs *regs)
{
	struct mm_struct *mm = this_cpu_read(cpu_tlbstate.loaded_mm);

	atomic_inc(&nmis);
	if (mm != LOADED_MM_SWITCHING && mm != &init_mm &&
	    mm != current->active_mm) {
		atomic_inc(&nmis_inside);
		if (nmi_uaccess_okay())
			atomic_inc(&nmis_wrong);
	}
	return NMI_HANDLED;
}

static int send_nmis(void *data)
{
	unsigned int cpu = *(unsigned int *)data;
	int seen;

	while (!kthread_should_stop()) {
		seen = atomic_read(&nmis);
		__apic_send_IPI(cpu, NMI_VECTOR);
		while (atomic_read(&nmis) == seen && !kthread_should_stop())
			cond_resched();
	}
	return 0;
}

static void test_nmi(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct page *page = gm_test_grab(test, gm, TAIL);
	struct task_struct *task;
	unsigned int cpu, i;
	u64 value, wrong = 0;

	unlock_page(page);
	atomic_set(&nmis, 0);
	atomic_set(&nmis_inside, 0);
	atomic_set(&nmis_wrong, 0);
	KUNIT_ASSERT_EQ(test, register_nmi_handler(NMI_LOCAL, count_nmi, 0, "gm_kunit"), 0);
	migrate_disable();
	cpu = smp_processor_id();
	task = gm_test_on_other_cpu(test, send_nmis, &cpu);
	for (i = 0; i < 200000 && atomic_read(&nmis_inside) < 100; i++) {
		value = i;
		if (guest_memfd_write_page(page, 8, &value, 8) ||
		    guest_memfd_read_page(page, 8, &value, 8) || value != i)
			wrong++;
		direct_map_zero_hidden(page);
		if (!(i % 256))
			cond_resched();
	}
	kthread_stop(task);
	migrate_enable();
	unregister_nmi_handler(NMI_LOCAL, "gm_kunit");
	kunit_info(test, "%d NMIs, %d in the temporary mm, %u rounds",
		   atomic_read(&nmis), atomic_read(&nmis_inside), i);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_GT(test, atomic_read(&nmis_inside), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&nmis_wrong), 0);
	put_page(page);
}

static struct kunit_case direct_map_x86_test_cases[] = {
	KUNIT_CASE(test_one_flush),
	KUNIT_CASE(test_machine_check_entries),
	KUNIT_CASE_SLOW(test_nmi),
	{}
};

static struct kunit_suite direct_map_x86_test_suite = {
	.name = "guest_memfd_direct_map_x86",
	.init = gm_test_init,
	.exit = gm_test_exit,
	.test_cases = direct_map_x86_test_cases,
};

kunit_test_suite(direct_map_x86_test_suite);

MODULE_DESCRIPTION("KUnit tests of hidden memory on x86");
MODULE_LICENSE("GPL");
