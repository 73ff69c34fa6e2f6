// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much memory the files of one mount may have.
 *
 * alloc.c reserves pages against the limit of the file before it allocates them.
 * The reservation follows the memory out of the file: it ends when the memory has been
 * scrubbed and another file, or the allocator, can have it.  So a reserved page
 * is in a file or outside: on its way into one, which may not need it, or on its way
 * out.
 *
 * A page that is outside comes back as soon as a task has had the time for it, unless a
 * task or a device holds it by a reference or a pin.  A task that finds no room
 * therefore releases its locks, helps to scrub, and waits.  It waits for held pages until
 * the number of held pages has not changed for a second; the next task then does
 * not wait for them again.
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

/* How long what is held is waited for. */
#define PATIENCE	HZ
/* A task waits for so long at most. */
#define MAX_WAIT	(10 * HZ)
/* It looks for something to scrub at least so often. */
#define LOOK_AGAIN	(HZ / 20)

/**
 * struct gm_limit - how much memory the files of one mount may have
 * @lock: Protects the other fields; no other lock but that of @wait is taken under it.
 * @wait: Woken when a page enters a file, or its reservation ends.
 * @max: The limit, in pages.
 * @used: Reserved pages.
 * @outside: Reserved pages that are in no file.
 * @held: Those of them that a task or a device has a reference to.
 * @moved: When @held changed last, in jiffies.
 * @vain: When a task last waited MAX_WAIT for a block, in jiffies.
 * @events: Counts what @wait is woken for.
 * @mounted: The mount exists.
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

/* How many limits there are. */
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
 * gm_limit_alloc - make the limit of a mount
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
 * gm_limit_put - the mount does not exist any more
 * @limit: Its limit, or NULL.
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
 * @max: The new one, in pages.
 *
 * Context: Any but interrupt.
 * Return: False if more is reserved; nothing is changed then.
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
 * gm_limit_read - read the numbers of a limit, all of the same instant
 * @limit: The limit.
 * @info: Where to store them.
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

/* How much of what is outside comes back soon? */
static unsigned long expected(struct gm_limit *limit)
{
	lockdep_assert_held(&limit->lock);
	if (time_after(jiffies, limit->moved + PATIENCE))
		return limit->outside - limit->held;
	return limit->outside;
}

/**
 * gm_limit_could_have - is there room, or will there be when what is outside has come back?
 * @limit: The limit, or NULL for none.
 * @nr: For so many pages.
 *
 * Context: Any but interrupt.
 * Return: False if gm_limit_wait() would be in vain, as of now.
 */
bool gm_limit_could_have(struct gm_limit *limit, unsigned long nr)
{
	if (!limit)
		return true;
	guard(spinlock)(&limit->lock);
	return nr <= limit->max - limit->used + expected(limit);
}

/**
 * gm_limit_reserve - reserve memory that is about to be allocated
 * @limit: The limit, or NULL for none.
 * @nr: So many pieces at most.
 * @pages: Pages of a piece.
 *
 * The pages are outside.  Does not wait: the caller may hold locks that others need to
 * get memory into their files.
 *
 * Context: Any but interrupt.
 * Return: For how many pieces there was room.
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

/* Pages are outside no more, for one or the other reason. */
static void come_back(struct gm_limit *limit, unsigned long nr)
{
	lockdep_assert_held(&limit->lock);
	if (WARN_ON_ONCE(limit->outside - limit->held < nr))
		nr = limit->outside - limit->held;
	limit->outside -= nr;
	wake_waiters(limit);
}

/**
 * gm_limit_unreserve - give a reservation back
 * @limit: The limit, or NULL for none.
 * @nr: Of so many pages outside.
 *
 * The caller does not use the limit any more, which may be freed.
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
 * gm_limit_enter - reserved pages have entered a file
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
 * gm_limit_leave - reserved pages have left a file
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
 * gm_limit_hold - count pages that are outside as held
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
 * gm_limit_unhold - count pages that are outside as not held any more
 * @limit: The limit, or NULL for none.
 * @nr: The number of pages, of gm_limit_hold().
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
 * gm_limit_should_wait - is a block worth to be waited for?
 * @limit: The limit, or NULL for none.
 *
 * To be called when there was no room for one.
 *
 * Context: Any but interrupt.
 * Return: True if gm_limit_wait() may lead to room for one, or has nothing to wait for
 * because a block came back just now.
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
	/* A task has waited for very long, and found that others are faster. */
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
 * gm_limit_wait - help to scrub what has left the files of a mount, and wait for it
 * @limit: The limit, or NULL for none.
 * @nr: For so many pages, which there was no room for: one, or those of a block.
 * @state: TASK_KILLABLE or TASK_INTERRUPTIBLE, the signals that end the wait.
 *
 * The caller holds no reservation, and no lock that is held while pages enter a file or
 * are scrubbed.
 *
 * Context: Sleeps, ten seconds at most.
 * Return: 0 if there is room for a page at least; -ENOSPC if there is none; -EINTR.
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

		/* Others have the block; pages may be on their way. */
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
