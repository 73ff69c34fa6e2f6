// SPDX-License-Identifier: GPL-2.0-only
/*
 * Accesses to guest memory through a kernel mapping, for architectures that
 * have no functions of their own that survive a machine check (x86-64 has
 * arch/x86/mm/temp_copy.c).  Here only copy_mc_to_kernel() survives one.  Files
 * whose memory is not hidden use these functions, too.
 */

#include <linux/align.h>
#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/errno.h>
#include <linux/temp_map.h>
#include <linux/uaccess.h>

/**
 * temp_copy - copy from or to guest memory
 * @to: Kernel address.
 * @from: Kernel address.
 * @len: Number of bytes.
 *
 * The function copies an aligned word of 4 or 8 bytes by one access, because
 * the guest may change it concurrently.
 *
 * Context: Any.
 * Return: The number of bytes that were not copied because of a machine check.
 */
unsigned long temp_copy(void *to, const void *from, size_t len)
{
	if (len == 8 && IS_ALIGNED((unsigned long)to | (unsigned long)from, 8))
		WRITE_ONCE(*(u64 *)to, READ_ONCE(*(u64 *)from));
	else if (len == 4 && IS_ALIGNED((unsigned long)to | (unsigned long)from, 4))
		WRITE_ONCE(*(u32 *)to, READ_ONCE(*(u32 *)from));
	else
		return copy_mc_to_kernel(to, from, len);
	return 0;
}

/**
 * temp_cmpxchg - compare and exchange in guest memory
 * @ptr: Kernel address in guest memory.
 * @old: The expected value; receives the value that was found.
 * @new: The value to store.
 * @size: 1, 2 or 4 bytes, or 8 on a 64-bit kernel.
 *
 * Context: Any.
 * Return: 0; 1 if the value found was not @old; -EFAULT for another size.
 */
int temp_cmpxchg(void *ptr, void *old, const void *new, unsigned int size)
{
	switch (size) {
	case 1:
		return !try_cmpxchg((u8 *)ptr, (u8 *)old, *(u8 *)new);
	case 2:
		return !try_cmpxchg((u16 *)ptr, (u16 *)old, *(u16 *)new);
	case 4:
		return !try_cmpxchg((u32 *)ptr, (u32 *)old, *(u32 *)new);
#ifdef CONFIG_64BIT
	case 8:
		return !try_cmpxchg((u64 *)ptr, (u64 *)old, *(u64 *)new);
#endif
	}
	WARN_ON_ONCE(1);
	return -EFAULT;
}
