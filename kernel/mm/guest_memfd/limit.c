// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limit on the memory of the files of one mount.
 *
 * alloc.c reserves pages against the limit of the file before it allocates
 * them.  A reservation stays with the memory when the library removes it from
 * the file, and ends when the memory has been scrubbed and another file, or the
 * page allocator, can use it.  A reserved page is therefore either in a file or
 * outside.  A page is outside before it is inserted into a file, which may turn
 * out not to need it, and after it was removed from the file, until it has been
 * scrubbed.
 *
 * Tasks insert or scrub the pages that are outside within a short time, unless
 * a task or a device holds such a page by a reference or a pin.  A task that
 * finds no room therefore releases its locks, helps to scrub, and waits.  It
 * waits for held pages until their number has not changed for a second; after
 * that, no task waits for them until the number changes.
 *
 * A limit outlives its mount for as long as pages are reserved against it.
 */

#include <linux/atomic.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "limit.h"
#include "page_state.h"
#include "teardown.h"

/* Time for which tasks wait for held pages. */
#define PATIENCE	HZ
/* Maximum time for which a task waits. */
#define MAX_WAIT	(10 * HZ)
/* Interval at which a waiting task looks for pages to scrub. */
#define LOOK_AGAIN	(HZ / 20)

/**
 * struct gm_limit - limit on the memory of the files of one mount
 * @lock: Protects the other fields.  No other lock but that of @wait is taken
 *	under it.
 * @wait: Woken when a page is inserted into a file or a reservation ends.
 * @max: The limit, in pages.
 * @used: Number of reserved pages.
 * @outside: Number of reserved pages that are in no file.
 * @held: Number of pages of @outside to which a task or a device has a
 *	reference.
 * @moved: Time, in jiffies, when @held last changed.
 * @vain: Time, in jiffies, when a task last waited MAX_WAIT for a block and
 *	got none.
 * @events: Number of wake-ups of @wait.
 * @mounted: True while the mount exists.
 */
struct gm_limit {
	spinlock_t lock; /* Protects the other fields. */
	wait_queue_head_t wait;
	unsigned long max;
	unsigned long used;
	unsigned long outside;
	unsigned long held;
	unsigned long moved;
	unsigned long vain;
	unsigned long events;
	bool mounted;
};

#if IS_ENABLED(CONFIG_KUNIT)
static atomic_t nr_limits;

/* Return: The number of limits of all mounts. */
unsigned int gm_limit_count(void)
{
	return atomic_read(&nr_limits);
}

static void count_limits(int nr)
{
	atomic_add(nr, &nr_limits);
}
#else
static void count_limits(int nr)
{
}
#endif

/**
 * gm_limit_alloc - allocate the limit of a mount
 * @max: The limit, in pages.
 *
 * Context: May sleep.
 * Return: The limit, or NULL.
 */
struct gm_limit *gm_limit_alloc(unsigned long max)
{
	struct gm_limit *limit = kzalloc_obj(*limit, GFP_KERNEL);

	if (!limit)
		return NULL;
	spin_lock_init(&limit->lock);
	init_waitqueue_head(&limit->wait);
	limit->max = max;
	limit->moved = jiffies;
	limit->vain = jiffies - PATIENCE;
	limit->mounted = true;
	count_limits(1);
	return limit;
}

static void free_limit(struct gm_limit *limit)
{
	WARN_ON_ONCE(limit->outside);
	count_limits(-1);
	kfree(limit);
}

/**
 * gm_limit_put - drop the mount's reference to its limit
 * @limit: The limit, or NULL.
 *
 * Context: Any but interrupt.
 */
void gm_limit_put(struct gm_limit *limit)
{
	bool last;

	if (!limit)
		return;
	spin_lock(&limit->lock);
	limit->mounted = false;
	last = !limit->used;
	spin_unlock(&limit->lock);
	if (last)
		free_limit(limit);
}

static void wake_waiters(struct gm_limit *limit)
{
	lockdep_assert_held(&limit->lock);
	WRITE_ONCE(limit->events, limit->events + 1);
	if (wq_has_sleeper(&limit->wait))
		wake_up_all(&limit->wait);
}

/**
 * gm_limit_resize - change a limit
 * @limit: The limit.
 * @max: The new limit, in pages.
 *
 * Context: Any but interrupt.
 * Return: False if more pages are reserved; then the limit is unchanged.
 */
bool gm_limit_resize(struct gm_limit *limit, unsigned long max)
{
	guard(spinlock)(&limit->lock);
	if (max < limit->used)
		return false;
	limit->max = max;
	wake_waiters(limit);
	return true;
}

/**
 * gm_limit_read - read a consistent snapshot of a limit's numbers
 * @limit: The limit.
 * @info: Receives the numbers.
 *
 * Context: Any but interrupt.
 */
void gm_limit_read(struct gm_limit *limit, struct gm_limit_info *info)
{
	guard(spinlock)(&limit->lock);
	info->max = limit->max;
	info->used = limit->used;
	info->outside = limit->outside;
}

/*
 * Return: The number of pages outside that are expected to be inserted or
 * scrubbed soon.
 */
static unsigned long expected(struct gm_limit *limit)
{
	lockdep_assert_held(&limit->lock);
	if (time_after(jiffies, limit->moved + PATIENCE))
		return limit->outside - limit->held;
	return limit->outside;
}

/**
 * gm_limit_could_have - is there room for pages, now or soon?
 * @limit: The limit, or NULL for none.
 * @nr: The number of pages.
 *
 * Context: Any but interrupt.
 * Return: False if gm_limit_wait() would wait without success, as of now.
 */
bool gm_limit_could_have(struct gm_limit *limit, unsigned long nr)
{
	if (!limit)
		return true;
	guard(spinlock)(&limit->lock);
	return nr <= limit->max - limit->used + expected(limit);
}

/**
 * gm_limit_reserve - reserve pages before they are allocated
 * @limit: The limit, or NULL for none.
 * @nr: The maximum number of pieces to reserve.
 * @pages: Number of pages in a piece.
 *
 * The reserved pages count as outside.  The function does not wait, because the
 * caller may hold locks that other tasks need to insert pages into their files.
 *
 * Context: Any but interrupt.
 * Return: The number of pieces that were reserved.
 */
unsigned int gm_limit_reserve(struct gm_limit *limit, unsigned int nr,
			      unsigned int pages)
{
	if (!limit || !nr)
		return nr;
	guard(spinlock)(&limit->lock);
	nr = min_t(unsigned long, nr, (limit->max - limit->used) / pages);
	limit->used += (unsigned long)nr * pages;
	limit->outside += (unsigned long)nr * pages;
	return nr;
}

/*
 * Subtract pages from the number of pages outside: they were inserted into a
 * file, or their reservation ends.
 */
static void come_back(struct gm_limit *limit, unsigned long nr)
{
	lockdep_assert_held(&limit->lock);
	if (WARN_ON_ONCE(limit->outside - limit->held < nr))
		nr = limit->outside - limit->held;
	limit->outside -= nr;
	wake_waiters(limit);
}

/**
 * gm_limit_unreserve - end a reservation
 * @limit: The limit, or NULL for none.
 * @nr: The number of pages, all of them outside.
 *
 * The caller must not use the limit afterwards, because the function may free
 * it.
 *
 * Context: Any but interrupt.
 */
void gm_limit_unreserve(struct gm_limit *limit, unsigned long nr)
{
	bool last;

	if (!limit || !nr)
		return;
	spin_lock(&limit->lock);
	come_back(limit, nr);
	if (WARN_ON_ONCE(limit->used < nr))
		nr = limit->used;
	limit->used -= nr;
	last = !limit->used && !limit->mounted;
	spin_unlock(&limit->lock);
	if (last)
		free_limit(limit);
}

/**
 * gm_limit_enter - account for reserved pages that were inserted into a file
 * @limit: The file's limit, or NULL for none.
 * @nr: The number of pages.
 *
 * Context: Any but interrupt.
 */
void gm_limit_enter(struct gm_limit *limit, unsigned long nr)
{
	if (!limit)
		return;
	guard(spinlock)(&limit->lock);
	come_back(limit, nr);
}

/**
 * gm_limit_leave - account for reserved pages that were removed from a file
 * @limit: The file's limit, or NULL for none.
 * @nr: The number of pages.
 *
 * Context: Any but interrupt.
 */
void gm_limit_leave(struct gm_limit *limit, unsigned long nr)
{
	if (!limit)
		return;
	guard(spinlock)(&limit->lock);
	limit->outside += nr;
}

/**
 * gm_limit_hold - count pages outside as held
 * @limit: The limit, or NULL for none.
 * @nr: The number of pages.
 *
 * Context: Any but interrupt.
 */
void gm_limit_hold(struct gm_limit *limit, unsigned long nr)
{
	if (!limit)
		return;
	guard(spinlock)(&limit->lock);
	limit->held += nr;
	limit->moved = jiffies;
}

/**
 * gm_limit_unhold - undo gm_limit_hold()
 * @limit: The limit, or NULL for none.
 * @nr: The number of pages.
 *
 * Context: Any but interrupt.
 */
void gm_limit_unhold(struct gm_limit *limit, unsigned long nr)
{
	if (!limit)
		return;
	guard(spinlock)(&limit->lock);
	if (WARN_ON_ONCE(limit->held < nr))
		nr = limit->held;
	limit->held -= nr;
	limit->moved = jiffies;
}

/**
 * gm_limit_should_wait - should the caller wait for room for a block?
 * @limit: The limit, or NULL for none.
 *
 * The caller has found no room for a block.
 *
 * Context: Any but interrupt.
 * Return: True if gm_limit_wait() may make room for a block, or if another task
 * has just made room.
 */
bool gm_limit_should_wait(struct gm_limit *limit)
{
	unsigned long room;

	if (!limit)
		return false;
	guard(spinlock)(&limit->lock);
	room = limit->max - limit->used;
	if (room >= GM_BLOCK_PAGES)
		return true;
	/*
	 * A task has waited for MAX_WAIT and got no block, because other tasks
	 * took the room.  Use single pages for a while.
	 */
	if (time_before(jiffies, limit->vain + PATIENCE))
		return false;
	return room + expected(limit) >= GM_BLOCK_PAGES;
}

static void wait_for_event(struct gm_limit *limit, unsigned long events,
			   unsigned int state)
{
	DEFINE_WAIT(wait);

	prepare_to_wait(&limit->wait, &wait, state);
	if (READ_ONCE(limit->events) == events)
		schedule_timeout(LOOK_AGAIN);
	finish_wait(&limit->wait, &wait);
}

/**
 * gm_limit_wait - help to scrub memory of a mount's files, and wait for room
 * @limit: The limit, or NULL for none.
 * @nr: The number of pages for which there was no room: one, or those of a
 *	block.
 * @state: TASK_KILLABLE or TASK_INTERRUPTIBLE; selects the signals that end the
 *	wait.
 *
 * The caller must have no reservation, and must hold no lock that other tasks
 * need to insert or scrub pages.
 *
 * Context: Sleeps for ten seconds at most.
 * Return: 0 if there is room for at least one page; -ENOSPC if there is none;
 * or -EINTR.
 */
int gm_limit_wait(struct gm_limit *limit, unsigned long nr, unsigned int state)
{
	unsigned long end = jiffies + MAX_WAIT;
	unsigned long room, events, ignored;
	bool late, wait;

	if (!limit)
		return -ENOSPC;
	for (;;) {
		late = time_after(jiffies, end);
		spin_lock(&limit->lock);
		room = limit->max - limit->used;
		wait = room < nr && room + expected(limit) >= nr;
		if (wait && late && nr > 1)
			limit->vain = jiffies;
		events = limit->events;
		spin_unlock(&limit->lock);

		/*
		 * No room for a block is expected any more.  Wait for a single
		 * page instead, which may be scrubbed soon.
		 */
		if (!wait && !late && !room && nr > 1) {
			nr = 1;
			continue;
		}
		if (!wait || late)
			break;
		if (signal_pending_state(state, current))
			return -EINTR;
		if (gm_scrub_some(NULL, limit, false, &ignored))
			cond_resched();
		else
			wait_for_event(limit, events, state);
	}
	return room ? 0 : -ENOSPC;
}
