/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_TEMP_MAP_H
#define _LINUX_TEMP_MAP_H

/*
 * Short-lived mappings of pages that are not in the direct map.
 *
 * With CONFIG_TEMP_MAP_MM each CPU maps the pages in an mm of its own, so no
 * other CPU can translate the address at any time.  Without it, the kernel maps
 * a page at an address in init_mm, and any CPU can translate that address while
 * the mapping exists.
 */

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/mm_types.h>
#include <linux/sizes.h>
#include <linux/types.h>

#ifdef CONFIG_TEMP_MAP_MM
/* Limits the time for which temp_map() disables interrupts. */
#define TEMP_MAP_PAGES	64

/* The address at which temp_map() maps pages, on every CPU. */
#ifdef CONFIG_X86_64
#define TEMP_MAP_ADDR	LDT_BASE_ADDR
#else
#define TEMP_MAP_ADDR	SZ_1G
#endif
#else
#define TEMP_MAP_PAGES	1
#endif

bool temp_map_ready(void);
void *temp_map(struct page *first, unsigned long which);
void temp_unmap(void);
#if IS_ENABLED(CONFIG_KUNIT)
void temp_map_invalidate(unsigned long which);
#endif

unsigned long temp_copy(void *to, const void *from, size_t len);
int temp_cmpxchg(void *ptr, void *old, const void *new, unsigned int size);

#endif /* _LINUX_TEMP_MAP_H */
