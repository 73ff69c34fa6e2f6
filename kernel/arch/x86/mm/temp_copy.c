// SPDX-License-Identifier: GPL-2.0-only
/*
 * Accesses to guest memory through a kernel mapping that survive a machine
 * check.  The exception table type makes error_context() in
 * arch/x86/kernel/cpu/mce/severity.c return IN_KERNEL_RECOV, and the handler
 * continues at the fixup instead of panicking.  copy_mc_to_kernel() recovers
 * on some CPUs only, and does not promise that an aligned word is one access.
 */

#include <linux/align.h>
#include <linux/bug.h>
#include <linux/errno.h>
#include <linux/kasan-checks.h>
#include <linux/temp_map.h>

#include <asm/asm.h>

#define MC_SAFE(from, to)	_ASM_EXTABLE_TYPE(from, to, EX_TYPE_DEFAULT_MCE_SAFE)

#define COPY_WORD(type)							\
static __always_inline int copy_##type(void *to, const void *from)	\
{									\
	int err = -EFAULT;						\
	type word;							\
									\
	asm volatile("1: mov (%[from]), %[word]\n"			\
		     "2: mov %[word], (%[to])\n"			\
		     "xorl %[err], %[err]\n"				\
		     "3:\n"						\
		     MC_SAFE(1b, 3b)					\
		     MC_SAFE(2b, 3b)					\
		     : [word] "=&r" (word), [err] "+&r" (err)		\
		     : [from] "r" (from), [to] "r" (to)			\
		     : "memory", "cc");					\
	return err;							\
}

COPY_WORD(u32)
COPY_WORD(u64)

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
 * Return: Number of bytes that were not copied because of a machine check.
 */
unsigned long temp_copy(void *to, const void *from, size_t len)
{
	unsigned long words, bytes;

	kasan_check_read(from, len);
	kasan_check_write(to, len);
	if (len == 8 && IS_ALIGNED((unsigned long)to | (unsigned long)from, 8))
		return copy_u64(to, from) ? len : 0;
	if (len == 4 && IS_ALIGNED((unsigned long)to | (unsigned long)from, 4))
		return copy_u32(to, from) ? len : 0;

	words = len / 8;
	bytes = len % 8;
	asm volatile("1: rep movsq\n"
		     "2:\n"
		     MC_SAFE(1b, 2b)
		     : "+c" (words), "+D" (to), "+S" (from) : : "memory");
	if (words)
		return words * 8 + bytes;
	asm volatile("1: rep movsb\n"
		     "2:\n"
		     MC_SAFE(1b, 2b)
		     : "+c" (bytes), "+D" (to), "+S" (from) : : "memory");
	return bytes;
}

#define CMPXCHG(type, reg, insn)					\
static __always_inline int cmpxchg_##type(void *ptr, void *old,	\
					  const void *new)		\
{									\
	type found = *(type *)old;					\
	int err = -EFAULT;						\
									\
	asm volatile("1: lock " insn " %" reg "[new], (%[ptr])\n"	\
		     "setne %b[err]\n"					\
		     "movzbl %b[err], %[err]\n"				\
		     "2:\n"						\
		     MC_SAFE(1b, 2b)					\
		     : "+a" (found), [err] "+&q" (err)			\
		     : [new] "q" (*(const type *)new), [ptr] "r" (ptr)	\
		     : "memory", "cc");					\
	*(type *)old = found;						\
	return err;							\
}

CMPXCHG(u8, "b", "cmpxchgb")
CMPXCHG(u16, "w", "cmpxchgw")
CMPXCHG(u32, "k", "cmpxchgl")
CMPXCHG(u64, "q", "cmpxchgq")

/**
 * temp_cmpxchg - compare and exchange in guest memory
 * @ptr: Kernel address in guest memory.
 * @old: The expected value; receives the value that the memory contained.
 * @new: The value to store.
 * @size: 1, 2, 4 or 8 bytes.
 *
 * Context: Any.
 * Return: 0; 1 if the memory did not contain @old; -EFAULT after a machine
 * check.
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
