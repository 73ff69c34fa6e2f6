/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KVM_GMEM_ACCESS_H
#define _LINUX_KVM_GMEM_ACCESS_H

/*
 * KVM's own accesses to guest memory.  KVM uses the memslot's user address.  At
 * level NONE no guest memory is mapped there, and KVM uses the file instead.
 * Only kvm_host.h includes this header.
 *
 * The level can change between KVM's test of the level and its access.  An
 * access through the file works at every level.  When an access by the user
 * address fails, KVM tests the level again and also retries the access, because
 * the level may have been NONE only for a moment.
 *
 * If no page of a memslot can be at level NONE, an access costs one more test.
 * Each function accesses bytes of one page.
 */

#include <linux/uaccess.h>

/* Must KVM take a direct-map reference to map a page of this memslot? */
static inline bool kvm_slot_is_hidden(const struct kvm_memory_slot *slot)
{
	return slot && (slot->flags & KVM_MEMSLOT_GMEM_HIDDEN);
}

/* Return: The index in the file of the memslot's first page. */
static inline pgoff_t kvm_gmem_pgoff(const struct kvm_memory_slot *slot)
{
#ifdef CONFIG_KVM_GUEST_MEMFD
	return slot->gmem.pgoff;
#else
	return 0;
#endif
}

/*
 * State of a revocable mapping, relative to the removal of its page from the
 * file or the memslot.
 */
enum kvm_map_revoke {
	KVM_MAP_STAYS,
	KVM_MAP_LEFT,		/* the page was removed */
	KVM_MAP_REVOKING,	/* the vCPU was asked to map again */
	KVM_MAP_REVOKED,	/* the mapping was removed */
};

/*
 * Map a page until it is removed from the guest_memfd or the memslot; KVM then
 * revokes the mapping.  The caller reads map->hva only with
 * vcpu->gmem_maps_lock held, and maps the page again on
 * KVM_REQ_GET_NESTED_STATE_PAGES.
 */
static inline int kvm_vcpu_map_revocable(struct kvm_vcpu *vcpu, gfn_t gfn,
					 struct kvm_host_map *map)
{
	map->revocable = true;
	return __kvm_vcpu_map(vcpu, gfn, map, true);
}

#ifdef CONFIG_KVM_GUEST_MEMFD
kvm_pfn_t kvm_faultin_guest_pfn(struct kvm *kvm,
				const struct kvm_memory_slot *slot, gfn_t gfn,
				unsigned int foll, bool *writable,
				struct page **refcounted_page);
#else
#define kvm_faultin_guest_pfn(kvm, ...) ((void)(kvm), __kvm_faultin_pfn(__VA_ARGS__))
#endif

/*
 * Does the caller have to unmap @map?  A mapping that was revoked has no
 * address, but direct_map_ref is still set.
 */
static inline bool kvm_vcpu_map_held(const struct kvm_host_map *map)
{
	return READ_ONCE(map->hva) || map->direct_map_ref;
}

/* The caller holds vcpu->gmem_maps_lock. */
static inline bool kvm_vcpu_map_revoked(const struct kvm_host_map *map)
{
	return map->revoke == KVM_MAP_REVOKED;
}

/*
 * Read a value of 1, 2, 4 or 8 bytes by one load, because the guest may change
 * it concurrently.
 */
static __always_inline int kvm_read_user(void *data, const void __user *from,
					 unsigned int len)
{
	switch (len) {
	case 1:
		return get_user(*(u8 *)data, (const u8 __user *)from);
	case 2:
		return get_user(*(u16 *)data, (const u16 __user *)from);
	case 4:
		return get_user(*(u32 *)data, (const u32 __user *)from);
	case 8:
		return get_user(*(u64 *)data, (const u64 __user *)from);
	default:
		return __copy_from_user(data, from, len) ? -EFAULT : 0;
	}
}

/*
 * Write a value of 1, 2, 4 or 8 bytes by one store, as kvm_read_user() reads
 * it.
 */
static __always_inline int kvm_write_user(void __user *to, const void *data,
					  unsigned int len)
{
	switch (len) {
	case 1:
		return put_user(*(const u8 *)data, (u8 __user *)to);
	case 2:
		return put_user(*(const u16 *)data, (u16 __user *)to);
	case 4:
		return put_user(*(const u32 *)data, (u32 __user *)to);
	case 8:
		return put_user(*(const u64 *)data, (u64 __user *)to);
	default:
		return __copy_to_user(to, data, len) ? -EFAULT : 0;
	}
}

#ifdef CONFIG_KVM_GUEST_MEMFD
bool __kvm_gmem_user_disabled(const struct kvm_memory_slot *slot, gfn_t gfn);
int __kvm_gmem_read(struct kvm_memory_slot *slot, gfn_t gfn, void *data,
		    const void __user *from, unsigned int len, bool atomic);
int __kvm_gmem_write(struct kvm_memory_slot *slot, gfn_t gfn, void __user *to,
		     const void *data, unsigned int len);
int __kvm_gmem_cmpxchg(struct kvm_memory_slot *slot, gfn_t gfn,
		       void __user *ptr, void *old, const void *new,
		       unsigned int size);
struct page *kvm_gmem_access_page(struct kvm_memory_slot *slot, gfn_t gfn,
				  bool atomic);

bool kvm_arch_supports_gmem_no_direct_map(struct kvm *kvm);
bool kvm_arch_gmem_must_hide(struct kvm *kvm);
bool kvm_gmem_supported(struct kvm *kvm);

#ifdef CONFIG_GUEST_MEMFD_DONATE
int kvm_gmem_donate(struct kvm_memory_slot *slot, gfn_t gfn,
		    int (*map)(void *arg, struct page *page), void *arg);
int kvm_gmem_guest_request(struct kvm *kvm, gfn_t gfn, bool share,
			   int (*commit)(void *arg), void *arg);
#else
static inline int kvm_gmem_guest_request(struct kvm *kvm, gfn_t gfn, bool share,
					 int (*commit)(void *arg), void *arg)
{
	return -EOPNOTSUPP;
}
#endif

/* Can a page of this memslot be at level NONE? */
static inline bool kvm_gmem_has_levels(const struct kvm_memory_slot *slot)
{
	return slot && READ_ONCE(slot->gmem.levels);
}

/* Is this gfn at level NONE, so that KVM must use the file? */
static inline bool kvm_gmem_user_disabled(const struct kvm_memory_slot *slot,
					  gfn_t gfn)
{
	return kvm_gmem_has_levels(slot) && __kvm_gmem_user_disabled(slot, gfn);
}
#else
static inline bool kvm_gmem_has_levels(const struct kvm_memory_slot *slot)
{
	return false;
}

static inline bool kvm_gmem_user_disabled(const struct kvm_memory_slot *slot,
					  gfn_t gfn)
{
	return false;
}

static inline int __kvm_gmem_read(struct kvm_memory_slot *slot, gfn_t gfn,
				  void *data, const void __user *from,
				  unsigned int len, bool atomic)
{
	return -EFAULT;
}

static inline int __kvm_gmem_write(struct kvm_memory_slot *slot, gfn_t gfn,
				   void __user *to, const void *data,
				   unsigned int len)
{
	return -EFAULT;
}

static inline int __kvm_gmem_cmpxchg(struct kvm_memory_slot *slot, gfn_t gfn,
				     void __user *ptr, void *old,
				     const void *new, unsigned int size)
{
	return -EFAULT;
}

static inline struct page *
kvm_gmem_access_page(struct kvm_memory_slot *slot, gfn_t gfn, bool atomic)
{
	return NULL;
}
#endif /* CONFIG_KVM_GUEST_MEMFD */

/*
 * KVM's access by the user address has failed, or KVM did not try it.  If the
 * memslot can have pages at level NONE, test the level and retry; otherwise the
 * access fails.
 */
static inline int kvm_gmem_reread(struct kvm_memory_slot *slot, gfn_t gfn,
				  void *data, const void __user *from,
				  unsigned int len, bool atomic)
{
	if (!kvm_gmem_has_levels(slot))
		return -EFAULT;
	return __kvm_gmem_read(slot, gfn, data, from, len, atomic);
}

/* As kvm_gmem_reread(), for a write. */
static inline int kvm_gmem_rewrite(struct kvm_memory_slot *slot, gfn_t gfn,
				   void __user *to, const void *data,
				   unsigned int len)
{
	if (!kvm_gmem_has_levels(slot))
		return -EFAULT;
	return __kvm_gmem_write(slot, gfn, to, data, len);
}

static inline int kvm_gmem_copy_from_user(struct kvm_memory_slot *slot,
					  gfn_t gfn, void *data,
					  const void __user *from,
					  unsigned int len)
{
	if (!kvm_gmem_has_levels(slot) && !__copy_from_user(data, from, len))
		return 0;
	return kvm_gmem_reread(slot, gfn, data, from, len, false);
}

/* The caller has disabled page faults. */
static inline int kvm_gmem_copy_from_user_inatomic(struct kvm_memory_slot *slot,
						   gfn_t gfn, void *data,
						   const void __user *from,
						   unsigned int len)
{
	if (!kvm_gmem_has_levels(slot) &&
	    !__copy_from_user_inatomic(data, from, len))
		return 0;
	return kvm_gmem_reread(slot, gfn, data, from, len, true);
}

static inline int kvm_gmem_copy_to_user(struct kvm_memory_slot *slot, gfn_t gfn,
					void __user *to, const void *data,
					unsigned int len)
{
	if (!kvm_gmem_has_levels(slot) && !__copy_to_user(to, data, len))
		return 0;
	return kvm_gmem_rewrite(slot, gfn, to, data, len);
}

static __always_inline int kvm_gmem_read_value(struct kvm_memory_slot *slot,
					       gfn_t gfn, void *value,
					       const void __user *from,
					       unsigned int size)
{
	if (!kvm_gmem_has_levels(slot) && !kvm_read_user(value, from, size))
		return 0;
	return kvm_gmem_reread(slot, gfn, value, from, size, false);
}

static __always_inline int kvm_gmem_write_value(struct kvm_memory_slot *slot,
						gfn_t gfn, void __user *to,
						const void *value,
						unsigned int size)
{
	if (!kvm_gmem_has_levels(slot) && !kvm_write_user(to, value, size))
		return 0;
	return kvm_gmem_rewrite(slot, gfn, to, value, size);
}

/* get_user() for guest memory: stores a value of 1, 2, 4 or 8 bytes to @x. */
#define kvm_gmem_get_user(slot, gfn, x, ptr)				\
({									\
	typeof(ptr) __kg_ptr = (ptr);					\
	typeof(*__kg_ptr) __kg_value = 0;				\
	int __kg_ret;							\
									\
	__kg_ret = kvm_gmem_read_value(slot, gfn, &__kg_value, __kg_ptr, \
				       sizeof(__kg_value));		\
	(x) = __kg_value;						\
	__kg_ret;							\
})

/* put_user() for guest memory. */
#define kvm_gmem_put_user(slot, gfn, x, ptr)				\
({									\
	typeof(ptr) __kg_ptr = (ptr);					\
	typeof(*__kg_ptr) __kg_value = (x);				\
									\
	kvm_gmem_write_value(slot, gfn, __kg_ptr, &__kg_value,		\
			     sizeof(__kg_value));			\
})

#define kvm_gmem_vcpu_put_user(vcpu, gfn, x, ptr)			\
({									\
	gfn_t __kg_gfn = (gfn);						\
									\
	kvm_gmem_put_user(kvm_vcpu_gfn_to_memslot(vcpu, __kg_gfn),	\
			  __kg_gfn, x, ptr);				\
})

#ifdef unsafe_try_cmpxchg_user
static inline int kvm_cmpxchg_user(void __user *ptr, void *old, const void *new,
				   unsigned int size)
{
	switch (size) {
	case 1:
		return __try_cmpxchg_user((u8 __user *)ptr, (u8 *)old,
					  *(const u8 *)new, fault_1);
	case 2:
		return __try_cmpxchg_user((u16 __user *)ptr, (u16 *)old,
					  *(const u16 *)new, fault_2);
	case 4:
		return __try_cmpxchg_user((u32 __user *)ptr, (u32 *)old,
					  *(const u32 *)new, fault_4);
	case 8:
		return __try_cmpxchg_user((u64 __user *)ptr, (u64 *)old,
					  *(const u64 *)new, fault_8);
	default:
		WARN_ON_ONCE(1);
		return -EFAULT;
	}
}

static inline int kvm_gmem_cmpxchg_slot(struct kvm_memory_slot *slot, gfn_t gfn,
					void __user *ptr, void *old,
					const void *new, unsigned int size)
{
	int ret = -EFAULT;

	if (!kvm_gmem_has_levels(slot))
		ret = kvm_cmpxchg_user(ptr, old, new, size);
	if (ret < 0 && kvm_gmem_has_levels(slot))
		ret = __kvm_gmem_cmpxchg(slot, gfn, ptr, old, new, size);
	return ret;
}

static inline int kvm_gmem_cmpxchg_value(struct kvm_vcpu *vcpu, gfn_t gfn,
					 void __user *ptr, void *old,
					 const void *new, unsigned int size)
{
	return kvm_gmem_cmpxchg_slot(kvm_vcpu_gfn_to_memslot(vcpu, gfn), gfn,
				     ptr, old, new, size);
}

/*
 * __try_cmpxchg_user() for guest memory: returns a negative error; 0; or 1 if
 * the value was not *@oldp, which then receives the value that was found.
 */
#define kvm_gmem_try_cmpxchg_user(vcpu, gfn, ptr, oldp, nval)		\
({									\
	typeof(ptr) __kg_ptr = (ptr);					\
	typeof(oldp) __kg_oldp = (oldp);				\
	typeof(*__kg_ptr) __kg_value = (nval);				\
									\
	BUILD_BUG_ON(sizeof(*__kg_oldp) != sizeof(__kg_value));		\
	kvm_gmem_cmpxchg_value(vcpu, gfn, __kg_ptr, __kg_oldp,		\
			       &__kg_value, sizeof(__kg_value));	\
})
#endif /* unsafe_try_cmpxchg_user */

#endif /* _LINUX_KVM_GMEM_ACCESS_H */
