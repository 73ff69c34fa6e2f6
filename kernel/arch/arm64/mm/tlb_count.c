// SPDX-License-Identifier: GPL-2.0-only
/*
 * nr_tlb_remote_flush in /proc/vmstat counts how often the kernel has waited for a
 * broadcast of TLB invalidations.  The other counters of TLB flushes stay zero,
 * because a broadcast interrupts no CPU.
 */

#include <linux/export.h>
#include <linux/mm.h>
#include <linux/vmstat.h>

#include <asm/tlbflush.h>

/**
 * count_tlb_broadcast - count a broadcast of TLB invalidations
 *
 * This is no inline function, because <linux/vmstat.h> needs <linux/mm.h>, which
 * includes <asm/tlbflush.h>.  Modules call it from the inline functions there.
 *
 * Context: Any.
 */
void count_tlb_broadcast(void)
{
	count_vm_tlb_event(NR_TLB_REMOTE_FLUSH);
}
EXPORT_SYMBOL_GPL(count_tlb_broadcast);
