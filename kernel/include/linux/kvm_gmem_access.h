/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KVM_GMEM_ACCESS_H
#define _LINUX_KVM_GMEM_ACCESS_H

/*
 * KVM's own accesses to guest memory.  They go through the memslot's user
 * address; where the access level is NONE nothing is mapped there, and they go
 * through the file.  Included by kvm_host.h only.
 *
 * The level can change between the look at it and the access.  The file serves
 * at every level; who fails at the user address looks again, and tries again
 * there too: the level may have been NONE for a moment only.
 */

#include <linux/uaccess.h>

#ifdef CONFIG_KVM_GUEST_MEMFD
bool __kvm_gmem_user_disabled(struct kvm_memory_slot *slot, gfn_t gfn);
int __kvm_gmem_read(struct kvm_memory_slot *slot, gfn_t gfn, void *data,
		    unsigned int offset, unsigned int len, bool atomic);
int __kvm_gmem_write(struct kvm_memory_slot *slot, gfn_t gfn, const void *data,
		     unsigned int offset, unsigned int len, bool atomic);
int __kvm_gmem_cmpxchg(struct kvm_memory_slot *slot, gfn_t gfn,
		       unsigned int offset, void *old, const void *new,
		       unsigned int size);
struct folio *kvm_gmem_access_folio(struct kvm_memory_slot *slot, gfn_t gfn,
				    bool atomic);

/* Is this a gfn that KVM reaches through the file only? */
static inline bool kvm_gmem_user_disabled(struct kvm_memory_slot *slot, gfn_t gfn)
{
	return slot && kvm_memslot_is_gmem_only(slot) &&
	       __kvm_gmem_user_disabled(slot, gfn);
}
#else
static inline bool kvm_gmem_user_disabled(struct kvm_memory_slot *slot, gfn_t gfn)
{
	return false;
}

static inline int __kvm_gmem_read(struct kvm_memory_slot *slot, gfn_t gfn,
				  void *data, unsigned int offset,
				  unsigned int len, bool atomic)
{
	return -EFAULT;
}

static inline int __kvm_gmem_write(struct kvm_memory_slot *slot, gfn_t gfn,
				   const void *data, unsigned int offset,
				   unsigned int len, bool atomic)
{
	return -EFAULT;
}

static inline int __kvm_gmem_cmpxchg(struct kvm_memory_slot *slot, gfn_t gfn,
				     unsigned int offset, void *old,
				     const void *new, unsigned int size)
{
	return -EFAULT;
}

static inline struct folio *
kvm_gmem_access_folio(struct kvm_memory_slot *slot, gfn_t gfn, bool atomic)
{
	return NULL;
}
#endif /* CONFIG_KVM_GUEST_MEMFD */

/*
 * The names of the macros' variables must not be those of the macros of
 * uaccess.h that they are handed to.
 *
 * All of these are of one page.  By the user address it is tried once, and of
 * gmem-only slots some more times, each with a look at the level.
 */
#define KVM_GMEM_TRIES	8

#define __kvm_gmem_access(slot, gfn, by_user, by_file)			\
({									\
	struct kvm_memory_slot *__kg_s = (slot);			\
	gfn_t __kg_g = (gfn);						\
	int __kg_tries = KVM_GMEM_TRIES;				\
	int __kg_ret;							\
									\
	do {								\
		if (kvm_gmem_user_disabled(__kg_s, __kg_g)) {			\
			__kg_ret = (by_file);				\
			break;						\
		}							\
		__kg_ret = (by_user);					\
	} while (__kg_ret < 0 && __kg_s &&				\
		 kvm_memslot_is_gmem_only(__kg_s) && --__kg_tries);	\
	__kg_ret;							\
})

static inline int kvm_gmem_copy_from_user(struct kvm_memory_slot *slot,
					  gfn_t gfn, void *data,
					  const void __user *from,
					  unsigned int len)
{
	return __kvm_gmem_access(slot, gfn,
				 __copy_from_user(data, from, len) ? -EFAULT : 0,
				 __kvm_gmem_read(slot, gfn, data,
						 offset_in_page(from), len,
						 false));
}

/* With page faults disabled. */
static inline int kvm_gmem_copy_from_user_inatomic(struct kvm_memory_slot *slot,
						   gfn_t gfn, void *data,
						   const void __user *from,
						   unsigned int len)
{
	return __kvm_gmem_access(slot, gfn,
				 __copy_from_user_inatomic(data, from, len) ?
				 -EFAULT : 0,
				 __kvm_gmem_read(slot, gfn, data,
						 offset_in_page(from), len,
						 true));
}

static inline int kvm_gmem_copy_to_user(struct kvm_memory_slot *slot, gfn_t gfn,
					void __user *to, const void *data,
					unsigned int len)
{
	return __kvm_gmem_access(slot, gfn,
				 __copy_to_user(to, data, len) ? -EFAULT : 0,
				 __kvm_gmem_write(slot, gfn, data,
						  offset_in_page(to), len,
						  false));
}

/* Also with the scheduler's locks held. */
static inline int kvm_gmem_copy_to_user_nofault(struct kvm_memory_slot *slot,
						gfn_t gfn, void __user *to,
						const void *data,
						unsigned int len)
{
	return __kvm_gmem_access(slot, gfn,
				 copy_to_user_nofault(to, data, len) ?
				 -EFAULT : 0,
				 __kvm_gmem_write(slot, gfn, data,
						  offset_in_page(to), len,
						  true));
}

#define kvm_gmem_get_user(slot, gfn, x, ptr)				\
({									\
	struct kvm_memory_slot *__kg_slot = (slot);			\
	typeof(ptr) __kg_ptr = (ptr);					\
	gfn_t __kg_gfn = (gfn);						\
	typeof(*__kg_ptr) __kg_val = 0;					\
	int __kg_err;							\
									\
	__kg_err = __kvm_gmem_access(__kg_slot, __kg_gfn, get_user(__kg_val, __kg_ptr), \
				  __kvm_gmem_read(__kg_slot, __kg_gfn, &__kg_val, \
						  offset_in_page(__kg_ptr), \
						  sizeof(__kg_val), false)); \
	(x) = __kg_val;							\
	__kg_err;							\
})

#define kvm_gmem_put_user(vcpu, gfn, x, ptr)				\
({									\
	gfn_t __kg_gfn = (gfn);						\
	struct kvm_memory_slot *__kg_slot = kvm_vcpu_gfn_to_memslot(vcpu, __kg_gfn); \
	typeof(ptr) __kg_ptr = (ptr);					\
	typeof(*__kg_ptr) __kg_val = (x);				\
									\
	__kvm_gmem_access(__kg_slot, __kg_gfn, put_user(__kg_val, __kg_ptr), \
			  __kvm_gmem_write(__kg_slot, __kg_gfn, &__kg_val, \
					   offset_in_page(__kg_ptr),	\
					   sizeof(__kg_val), false));	\
})

/*
 * As __try_cmpxchg_user(): negative when it cannot be done, 1 when *@oldp was
 * not what is there, and now is.
 */
#define kvm_gmem_try_cmpxchg_user(vcpu, gfn, ptr, oldp, nval, label)	\
({									\
	gfn_t __kg_gfn = (gfn);						\
	struct kvm_memory_slot *__kg_slot = kvm_vcpu_gfn_to_memslot(vcpu, __kg_gfn); \
	typeof(ptr) __kg_ptr = (ptr);					\
	typeof(oldp) __kg_oldp = (oldp);				\
	typeof(*__kg_ptr) __kg_new = (nval);				\
									\
	__kvm_gmem_access(__kg_slot, __kg_gfn,				\
			  __try_cmpxchg_user(__kg_ptr, __kg_oldp, __kg_new, label), \
			  __kvm_gmem_cmpxchg(__kg_slot, __kg_gfn,	\
					     offset_in_page(__kg_ptr),	\
					     __kg_oldp, &__kg_new,	\
					     sizeof(__kg_new)));	\
})

#endif /* _LINUX_KVM_GMEM_ACCESS_H */
