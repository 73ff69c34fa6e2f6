// SPDX-License-Identifier: GPL-2.0-only
/*
 * Accesses to guest memory through a kernel mapping.  Each instruction has an
 * entry in the exception table: where pKVM has donated the page to a guest, the
 * access causes a stage-2 fault and fails.  The copy loops are in assembly
 * because KASAN has no shadow for the address of a temporary mapping.
 */

#include <linux/align.h>
#include <linux/bug.h>
#include <linux/errno.h>
#include <linux/temp_map.h>

#include <asm/asm-extable.h>
#include <asm/barrier.h>

#define COPY_WORD(type, load, store)						\
static __always_inline int copy_##type(void *to, const void *from)		\
{										\
	int err = 0;								\
	type word;								\
										\
	asm volatile("1: " load " [%[from]]\n"					\
		     "2: " store " [%[to]]\n"					\
		     "3:\n"							\
		     _ASM_EXTABLE_KACCESS_ERR(1b, 3b, %w[err])			\
		     _ASM_EXTABLE_KACCESS_ERR(2b, 3b, %w[err])			\
		     : [word] "=&r" (word), [err] "+r" (err)			\
		     : [from] "r" (from), [to] "r" (to)				\
		     : "memory");						\
	return err;								\
}

COPY_WORD(u8, "ldrb %w[word],", "strb %w[word],")
COPY_WORD(u32, "ldr %w[word],", "str %w[word],")
COPY_WORD(u64, "ldr %x[word],", "str %x[word],")

/**
 * temp_copy - copy from or to guest memory
 * @to: Kernel address.
 * @from: Kernel address.
 * @len: Number of bytes.
 *
 * An aligned word of 4 or 8 bytes is one access, because the guest may change
 * it at the same time.
 *
 * Context: Any.
 * Return: Number of bytes that were not copied because of a fault.
 */
unsigned long temp_copy(void *to, const void *from, size_t len)
{
	for (; len >= 8; len -= 8, to += 8, from += 8) {
		if (copy_u64(to, from))
			return len;
	}
	if (len >= 4) {
		if (copy_u32(to, from))
			return len;
		len -= 4;
		to += 4;
		from += 4;
	}
	for (; len; len--, to++, from++) {
		if (copy_u8(to, from))
			return len;
	}
	return 0;
}

/* vCPUs that write to the same cache line can make STXR fail while exceptions are masked. */
#define CMPXCHG_TRIES	128

#define CMPXCHG(type, load, compare, store)					\
static __always_inline int cmpxchg_##type(void *ptr, void *old, const void *new) \
{										\
	unsigned int tries = CMPXCHG_TRIES;					\
	unsigned long want = *(type *)old;					\
	int err = 0, left = 0;							\
	type found;								\
										\
	asm volatile("1: " load " [%[ptr]]\n"					\
		     "	" compare "\n"						\
		     "	cset %w[left], ne\n"					\
		     "	b.ne 3f\n"						\
		     "2: " store " [%[ptr]]\n"					\
		     "	cbz %w[left], 4f\n"					\
		     "	sub %w[tries], %w[tries], #1\n"				\
		     "	cbnz %w[tries], 1b\n"					\
		     "	b 3f\n"							\
		     "4: dmb ish\n"						\
		     "3:\n"							\
		     _ASM_EXTABLE_KACCESS_ERR(1b, 3b, %w[err])			\
		     _ASM_EXTABLE_KACCESS_ERR(2b, 3b, %w[err])			\
		     : [found] "=&r" (found), [left] "+&r" (left), [err] "+&r" (err), \
		       [tries] "+&r" (tries)					\
		     : [ptr] "r" (ptr), [want] "r" (want), [new] "r" (*(const type *)new) \
		     : "memory", "cc");						\
	if (err)								\
		return err;							\
	*(type *)old = found;							\
	return left;								\
}

CMPXCHG(u8, "ldxrb %w[found],", "cmp %w[found], %w[want]", "stlxrb %w[left], %w[new],")
CMPXCHG(u16, "ldxrh %w[found],", "cmp %w[found], %w[want]", "stlxrh %w[left], %w[new],")
CMPXCHG(u32, "ldxr %w[found],", "cmp %w[found], %w[want]", "stlxr %w[left], %w[new],")
CMPXCHG(u64, "ldxr %x[found],", "cmp %x[found], %x[want]", "stlxr %w[left], %x[new],")

/**
 * temp_cmpxchg - compare and exchange in guest memory
 * @ptr: Kernel address in guest memory, aligned to @size.
 * @old: The expected value; receives the value that the memory contained.
 * @new: The value to store.
 * @size: 1, 2, 4 or 8 bytes.
 *
 * Context: Any.
 * Return: 0; 1 if the memory did not contain @old, or if STXR failed
 * CMPXCHG_TRIES times; -EFAULT after a fault.
 */
int temp_cmpxchg(void *ptr, void *old, const void *new, unsigned int size)
{
	switch (size) {
	case 1:
		return cmpxchg_u8(ptr, old, new);
	case 2:
		return cmpxchg_u16(ptr, old, new);
	case 4:
		return cmpxchg_u32(ptr, old, new);
	case 8:
		return cmpxchg_u64(ptr, old, new);
	}
	WARN_ON_ONCE(1);
	return -EFAULT;
}
