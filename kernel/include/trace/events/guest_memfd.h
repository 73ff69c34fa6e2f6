/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM guest_memfd

#if !defined(_TRACE_GUEST_MEMFD_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_GUEST_MEMFD_H

#include <linux/tracepoint.h>

/* A range of pages is removed from the direct map, or restored in it. */
DECLARE_EVENT_CLASS(guest_memfd_direct_map,
	TP_PROTO(unsigned long pfn, unsigned int nr_pages),
	TP_ARGS(pfn, nr_pages),
	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(unsigned int, nr_pages)
	),
	TP_fast_assign(
		__entry->pfn = pfn;
		__entry->nr_pages = nr_pages;
	),
	TP_printk("pfn=0x%lx nr_pages=%u", __entry->pfn, __entry->nr_pages)
);

DEFINE_EVENT(guest_memfd_direct_map, guest_memfd_hide,
	TP_PROTO(unsigned long pfn, unsigned int nr_pages),
	TP_ARGS(pfn, nr_pages)
);

DEFINE_EVENT(guest_memfd_direct_map, guest_memfd_restore,
	TP_PROTO(unsigned long pfn, unsigned int nr_pages),
	TP_ARGS(pfn, nr_pages)
);

/*
 * A direct-map reference to each of @nr_pages pages is taken or dropped.
 * @count is the number of references of the first page afterwards.
 */
DECLARE_EVENT_CLASS(guest_memfd_reference,
	TP_PROTO(unsigned long pfn, unsigned int nr_pages, unsigned long count),
	TP_ARGS(pfn, nr_pages, count),
	TP_STRUCT__entry(
		__field(unsigned long, pfn)
		__field(unsigned int, nr_pages)
		__field(unsigned long, count)
	),
	TP_fast_assign(
		__entry->pfn = pfn;
		__entry->nr_pages = nr_pages;
		__entry->count = count;
	),
	TP_printk("pfn=0x%lx nr_pages=%u count=%lu", __entry->pfn,
		  __entry->nr_pages, __entry->count)
);

DEFINE_EVENT(guest_memfd_reference, guest_memfd_get,
	TP_PROTO(unsigned long pfn, unsigned int nr_pages, unsigned long count),
	TP_ARGS(pfn, nr_pages, count)
);

DEFINE_EVENT(guest_memfd_reference, guest_memfd_put,
	TP_PROTO(unsigned long pfn, unsigned int nr_pages, unsigned long count),
	TP_ARGS(pfn, nr_pages, count)
);

/*
 * A caller has asked to change the access level of a range.  @error is 0 if the
 * level was changed.
 */
TRACE_EVENT(guest_memfd_set_access,
	TP_PROTO(u64 ino, unsigned long index, unsigned long nr_pages,
		 unsigned int level, int error),
	TP_ARGS(ino, index, nr_pages, level, error),
	TP_STRUCT__entry(
		__field(u64, ino)
		__field(unsigned long, index)
		__field(unsigned long, nr_pages)
		__field(unsigned int, level)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->ino = ino;
		__entry->index = index;
		__entry->nr_pages = nr_pages;
		__entry->level = level;
		__entry->error = error;
	),
	TP_printk("ino=%llu index=0x%lx nr_pages=%lu level=%u error=%d",
		  __entry->ino, __entry->index, __entry->nr_pages,
		  __entry->level, __entry->error)
);

#endif /* _TRACE_GUEST_MEMFD_H */

#include <trace/define_trace.h>
