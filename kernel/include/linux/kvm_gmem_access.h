/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KVM_GMEM_ACCESS_H
#define _LINUX_KVM_GMEM_ACCESS_H

/*
 * KVM's own accesses to guest memory.  They go through the memslot's user
 * address; where the access level is NONE nothing is mapped there, and they go
 * through the file.  Included by kvm_host.h only.
 *
 * The level can change between the look at it and the access.  The file serves
 * at every level; who fails at the user address looks again.
 */

#include <linux/uaccess.h>

#ifdef CONFIG_KVM_GUEST_MEMFD
bool __kvm_gmem_sealed(struct kvm_memory_slot *slot, gfn_t gfn);
int __kvm_gmem_read(struct kvm_memory_slot *slot, gfn_t gfn, void *data,
		    unsigned int offset, unsigned int len, bool atomic);
int __kvm_gmem_write(struct kvm_memory_slot *slot, gfn_t gfn, const void *data,
		     unsigned int offset, unsigned int len, bool atomic);
int __kvm_gmem_cmpxchg(struct kvm_memory_slot *slot, gfn_t gfn,
		       unsigned int offset, void *old, const void *new,
		       unsigned int size);
struct folio *kvm_gmem_sealed_folio(struct kvm_memory_slot *slot, gfn_t gfn,
				    bool atomic);

/* Is this a gfn that KVM reaches through the file only? */
static inline bool kvm_gmem_sealed(struct kvm_memory_slot *slot, gfn_t gfn)
{
	return slot && kvm_memslot_is_gmem_only(slot) &&
	       __kvm_gmem_sealed(slot, gfn);
}
#else
static inline bool kvm_gmem_sealed(struct kvm_memory_slot *slot, gfn_t gfn)
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
kvm_gmem_sealed_folio(struct kvm_memory_slot *slot, gfn_t gfn, bool atomic)
{
	return NULL;
}
#endif /* CONFIG_KVM_GUEST_MEMFD */

/*
 * All of these are of one page.  Each tries the user address unless the page is
 * sealed, and once more by the file if it is when that has failed.
 */
#define __kvm_gmem_access(slot, gfn, by_user, by_file)			\
({									\
	struct kvm_memory_slot *__s = (slot);				\
	gfn_t __g = (gfn);						\
	bool __sealed = kvm_gmem_sealed(__s, __g);			\
	int __ret = -EFAULT;						\
									\
	if (!__sealed) {						\
		__ret = (by_user);					\
		__sealed = __ret < 0 && kvm_gmem_sealed(__s, __g);	\
	}								\
	if (__sealed)							\
		__ret = (by_file);					\
	__ret;								\
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
	struct kvm_memory_slot *__slot = (slot);			\
	typeof(ptr) __ptr = (ptr);					\
	gfn_t __gfn = (gfn);						\
	typeof(*__ptr) __val = 0;					\
	int __err;							\
									\
	__err = __kvm_gmem_access(__slot, __gfn, get_user(__val, __ptr), \
				  __kvm_gmem_read(__slot, __gfn, &__val, \
						  offset_in_page(__ptr), \
						  sizeof(__val), false)); \
	(x) = __val;							\
	__err;								\
})

#define kvm_gmem_put_user(vcpu, gfn, x, ptr)				\
({									\
	gfn_t __gfn = (gfn);						\
	struct kvm_memory_slot *__slot = kvm_vcpu_gfn_to_memslot(vcpu, __gfn); \
	typeof(ptr) __ptr = (ptr);					\
	typeof(*__ptr) __val = (x);					\
									\
	__kvm_gmem_access(__slot, __gfn, put_user(__val, __ptr),	\
			  __kvm_gmem_write(__slot, __gfn, &__val,	\
					   offset_in_page(__ptr),	\
					   sizeof(__val), false));	\
})

/*
 * As __try_cmpxchg_user(): negative when it cannot be done, 1 when *@oldp was
 * not what is there, and now is.
 */
#define kvm_gmem_try_cmpxchg_user(vcpu, gfn, ptr, oldp, nval, label)	\
({									\
	gfn_t __gfn = (gfn);						\
	struct kvm_memory_slot *__slot = kvm_vcpu_gfn_to_memslot(vcpu, __gfn); \
	typeof(ptr) __ptr = (ptr);					\
	typeof(oldp) __oldp = (oldp);					\
	typeof(*__ptr) __new = (nval);					\
									\
	__kvm_gmem_access(__slot, __gfn,				\
			  __try_cmpxchg_user(__ptr, __oldp, __new, label), \
			  __kvm_gmem_cmpxchg(__slot, __gfn,		\
					     offset_in_page(__ptr),	\
					     __oldp, &__new,		\
					     sizeof(__new)));		\
})

#endif /* _LINUX_KVM_GMEM_ACCESS_H */
