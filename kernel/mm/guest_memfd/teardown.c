// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory of closed files: workers clear and free it, and reclaim helps
 * them.
 */

#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "../internal.h"
#include "cut.h"
#include "page_state.h"
#include "pool.h"
#include "scrub.h"
#include "teardown.h"

/**
 * struct gm_teardown - the memory of a closed file that is not cleared yet
 * @list: Entry in teardowns.
 * @folios: The folios, by folio->lru.
 * @memcg: The cgroup to which the first of them is charged, with a reference,
 *	or NULL.  Usually all pages of a file are charged to one cgroup.
 * @limit: The limit against which the pages are reserved, or NULL.  The
 *	reservations keep it allocated.
 * @nr_waiting: Number of pages in @folios.
 * @nr_in_work: Number of pages that tasks have taken from @folios and are
 *	clearing and freeing.
 */
struct gm_teardown {
	struct list_head list;
	struct list_head folios;
	struct mem_cgroup *memcg;
	struct gm_limit *limit;
	unsigned long nr_waiting;
	unsigned long nr_in_work;
};

/*
 * Teardowns that have pages waiting or in work.  The tasks that clear pages
 * serve them in turn.
 */
static LIST_HEAD(teardowns);
static DEFINE_SPINLOCK(teardown_lock);
/* Number of pages of all teardowns, waiting or in work. */
static atomic_long_t nr_unscrubbed;
/* Woken when nr_unscrubbed has decreased. */
static DECLARE_WAIT_QUEUE_HEAD(scrub_wait);
static struct shrinker *unscrubbed_shrinker;

/* Limits the workers, so that enough CPUs remain for vCPUs. */
#define MAX_SCRUBBERS 4
static void scrub_teardowns(struct work_struct *work);
static struct work_struct scrub_works[MAX_SCRUBBERS];
struct workqueue_struct *guest_memfd_wq __ro_after_init;

/* Number of single pages that are taken from a teardown at once. */
#define SINGLES_PER_TURN 64

/*
 * Must a worker process these folios?  Dropping level KERNEL's reference takes
 * folio locks and may allocate, which reclaim must not do.
 */
static bool need_worker(struct list_head *folios)
{
	struct folio *folio;

	list_for_each_entry(folio, folios, lru) {
		if (gm_folio_state(folio) & GUEST_MEMFD_PAGE_PINNABLE)
			return true;
	}
	return false;
}

/*
 * Do the file's pages count in @memcg?  The kernel does not reclaim a removed
 * cgroup, but its pages count in the cgroups above it.
 *
 * Return: True if they do, or if @memcg is NULL.
 */
static bool counts_in(const struct gm_teardown *teardown,
		      struct mem_cgroup *memcg)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *above;

	if (!memcg)
		return true;
	for (above = teardown->memcg; above; above = parent_mem_cgroup(above)) {
		if (above == memcg)
			return true;
	}
	return false;
#else
	return true;
#endif
}

/*
 * Make the reclaim of the file's cgroups, and global reclaim, call the
 * shrinker.
 */
static void show_to_reclaim(struct gm_teardown *teardown)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg;
	int nid;

	lockdep_assert_held(&teardown_lock);
	for (memcg = teardown->memcg; memcg; memcg = parent_mem_cgroup(memcg)) {
		for_each_node_state(nid, N_MEMORY)
			set_shrinker_bit(memcg, nid, unscrubbed_shrinker->id);
	}
#endif
}

static struct gm_teardown *next_teardown(struct mem_cgroup *memcg, struct gm_limit *limit)
{
	struct gm_teardown *teardown;

	list_for_each_entry(teardown, &teardowns, list) {
		if (teardown->nr_waiting && counts_in(teardown, memcg) &&
		    (!limit || teardown->limit == limit))
			return teardown;
	}
	return NULL;
}

static void free_teardown(struct gm_teardown *teardown)
{
	mem_cgroup_put(teardown->memcg);
	kfree(teardown);
}

/*
 * Move a block, or some single pages, to @folios.  Return: The number of pages.
 */
static unsigned long take_some(struct gm_teardown *teardown, struct list_head *folios)
{
	struct folio *folio, *next;
	unsigned long nr = 0;

	list_for_each_entry_safe(folio, next, &teardown->folios, lru) {
		if (nr && nr + folio_nr_pages(folio) > SINGLES_PER_TURN)
			break;
		list_move_tail(&folio->lru, folios);
		nr += folio_nr_pages(folio);
	}
	return nr;
}

/**
 * gm_scrub_some - clear and free some memory of a closed file
 * @memcg: Select only files whose pages count in this cgroup, or NULL.
 * @limit: Select only files that have this limit, or NULL.
 * @reclaim: True if the caller may hold any lock under which the kernel
 *	allocates memory.
 * @nr_freed: The function adds the number of pages that it has freed.
 *
 * The function processes a block, or some single pages.
 *
 * Context: May sleep.
 * Return: The number of pages processed; 0 if there are none to process.
 */
unsigned long gm_scrub_some(struct mem_cgroup *memcg, struct gm_limit *limit,
			    bool reclaim, unsigned long *nr_freed)
{
	struct gm_teardown *teardown;
	bool over, again = false;
	unsigned long nr;
	LIST_HEAD(folios);

	spin_lock(&teardown_lock);
	teardown = next_teardown(memcg, limit);
	if (!teardown) {
		spin_unlock(&teardown_lock);
		return 0;
	}
	nr = take_some(teardown, &folios);
	teardown->nr_waiting -= nr;
	teardown->nr_in_work += nr;
	/*
	 * Serve files in turn, so that a small one need not wait for a large
	 * one.
	 */
	list_move_tail(&teardown->list, &teardowns);
	spin_unlock(&teardown_lock);

	if (reclaim && need_worker(&folios))
		again = true;
	else
		*nr_freed += gm_reap(&folios);

	spin_lock(&teardown_lock);
	teardown->nr_in_work -= nr;
	if (again) {
		list_splice_tail(&folios, &teardown->folios);
		teardown->nr_waiting += nr;
		/*
		 * The shrinker may have counted no pages meanwhile: set its
		 * bits again.
		 */
		show_to_reclaim(teardown);
	}
	over = !teardown->nr_in_work && !teardown->nr_waiting;
	if (over)
		list_del(&teardown->list);
	spin_unlock(&teardown_lock);

	if (again) {
		/*
		 * The worker may have seen an empty list and stopped: queue it
		 * again.
		 */
		queue_work(guest_memfd_wq, &scrub_works[0]);
		return 0;
	}
	atomic_long_sub(nr, &nr_unscrubbed);
	if (wq_has_sleeper(&scrub_wait))
		wake_up_all(&scrub_wait);
	if (over)
		free_teardown(teardown);
	return nr;
}

static void scrub_teardowns(struct work_struct *work)
{
	unsigned long ignored;

	while (gm_scrub_some(NULL, NULL, false, &ignored))
		cond_resched();
}

/*
 * Start workers for @nr pages of closed files, at most one for two online CPUs.
 */
static void start_scrubbers(unsigned long nr)
{
	unsigned long i, want = DIV_ROUND_UP(nr, 64UL << GM_BLOCK_MAX_ORDER);

	want = min3(want, (unsigned long)MAX_SCRUBBERS,
		    DIV_ROUND_UP((unsigned long)num_online_cpus(), 2));
	for (i = 0; i < want; i++)
		queue_work(guest_memfd_wq, &scrub_works[i]);
}

/**
 * guest_memfd_block_destroy - schedule clearing and freeing of a file's memory
 * @gm: The file's memory; all pages were removed from the file.
 *
 * Workers clear and free the memory, so that closing a file does not take as
 * long as clearing it.  Until then the pages stay hidden and charged.  Reclaim
 * helps the workers.
 *
 * Context: May sleep.
 */
void guest_memfd_block_destroy(struct guest_memfd *gm)
{
	struct gm_teardown *teardown;
	struct folio *folio;
	unsigned long nr;

	teardown = kzalloc_obj(*teardown, GFP_KERNEL);
	if (!teardown) {
		guest_memfd_block_reap(gm);
		return;
	}
	INIT_LIST_HEAD(&teardown->folios);
	teardown->limit = gm->limit;
	gm_take_orphans(gm, &teardown->folios);
	list_for_each_entry(folio, &teardown->folios, lru) {
		if (!teardown->nr_waiting)
			teardown->memcg = get_mem_cgroup_from_folio(folio);
		teardown->nr_waiting += folio_nr_pages(folio);
		cond_resched();
	}
	nr = teardown->nr_waiting;
	if (!nr) {
		free_teardown(teardown);
		return;
	}

	atomic_long_add(nr, &nr_unscrubbed);
	spin_lock(&teardown_lock);
	list_add_tail(&teardown->list, &teardowns);
	show_to_reclaim(teardown);
	spin_unlock(&teardown_lock);
	start_scrubbers(nr);
}

/**
 * guest_memfd_block_wait - wait until the memory of closed files is freed
 *
 * Only pages that have other references remain afterwards.
 *
 * Context: May sleep.  For tests.
 */
void guest_memfd_block_wait(void)
{
	unsigned int i;

	scrub_teardowns(NULL);
	for (i = 0; i < MAX_SCRUBBERS; i++)
		flush_work(&scrub_works[i]);
	gm_scrub_flush();
	gm_cut_flush();
}

/*
 * Time for which direct reclaim waits for pages that other tasks are clearing.
 */
#define SCRUB_WAIT	(HZ / 10)

/*
 * Wait for other tasks to free the pages of closed files that they are clearing
 * now.  They need only a moment, and the OOM killer should not kill a process
 * meanwhile.
 *
 * Return: The number of pages that they have processed.
 */
static unsigned long wait_for_scrubbers(void)
{
	long now, before = atomic_long_read(&nr_unscrubbed);

	/* Do not wait in a worker: another task may be waiting for it. */
	if (!before || current->flags & (PF_KSWAPD | PF_WQ_WORKER))
		return 0;
	wait_event_timeout(scrub_wait, atomic_long_read(&nr_unscrubbed) < before,
			   SCRUB_WAIT);
	now = atomic_long_read(&nr_unscrubbed);
	return now < before ? before - now : 0;
}

static unsigned long scrub_for_reclaim(struct mem_cgroup *memcg, unsigned long nr)
{
	unsigned long freed = 0;

	while (freed < nr && gm_scrub_some(memcg, NULL, true, &freed))
		;
	if (!freed)
		freed = wait_for_scrubbers();
	/*
	 * Reclaim does not see these pages, as they are not slab pages: report
	 * them.
	 */
	mm_account_reclaimed_pages(freed);
	return freed;
}

/*
 * Return: The cgroup that is being reclaimed, or NULL for global reclaim, which
 * selects all files.
 */
static struct mem_cgroup *reclaiming_memcg(struct shrink_control *sc)
{
	return sc->memcg && !mem_cgroup_is_root(sc->memcg) ? sc->memcg : NULL;
}

/*
 * Number of pages of closed files that are cleared before the OOM killer runs.
 */
#define OOM_PAGES (8UL << GM_BLOCK_MAX_ORDER)

/*
 * The page allocator decides about an OOM kill by the numbers of free pages and
 * of pages on LRU lists, even if shrinkers free many pages.  Free the memory
 * that no process uses before it selects a victim.
 */
static int free_before_oom(struct notifier_block *nb, unsigned long unused,
			   void *data)
{
	unsigned long *nr_freed = data;
	/*
	 * The caller may hold any lock under which the kernel allocates memory.
	 */
	unsigned int flags = memalloc_noreclaim_save();

	*nr_freed += gm_pool_relieve();
	/*
	 * A later call frees the memory of closed files.  The kernel kills no
	 * process as long as a call frees something.
	 */
	if (!*nr_freed)
		*nr_freed += scrub_for_reclaim(NULL, OOM_PAGES);
	memalloc_noreclaim_restore(flags);
	return NOTIFY_OK;
}

static struct notifier_block oom_notifier = {
	.notifier_call = free_before_oom,
};

static unsigned long count_unscrubbed(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	struct mem_cgroup *memcg = reclaiming_memcg(sc);
	struct gm_teardown *teardown;
	unsigned long nr = 0;

	spin_lock(&teardown_lock);
	list_for_each_entry(teardown, &teardowns, list) {
		if (counts_in(teardown, memcg))
			nr += teardown->nr_waiting + teardown->nr_in_work;
	}
	spin_unlock(&teardown_lock);
	return nr ?: SHRINK_EMPTY;
}

static unsigned long scan_unscrubbed(struct shrinker *shrinker,
				     struct shrink_control *sc)
{
	return scrub_for_reclaim(reclaiming_memcg(sc), sc->nr_to_scan) ?:
	       SHRINK_STOP;
}

static bool ready __ro_after_init;

/**
 * guest_memfd_block_ready - could teardown_init() allocate what it needs?
 *
 * Context: Any.
 * Return: False before the initcall, and if the initcall could not allocate
 * memory.
 */
bool guest_memfd_block_ready(void)
{
	return ready;
}

static int __init teardown_init(void)
{
	unsigned int i;

	unscrubbed_shrinker = shrinker_alloc(SHRINKER_MEMCG_AWARE | SHRINKER_NONSLAB,
					     "guest_memfd-unscrubbed");
	guest_memfd_wq = alloc_workqueue("guest_memfd", WQ_UNBOUND |
					 WQ_MEM_RECLAIM | WQ_FREEZABLE,
					 MAX_SCRUBBERS + 3);
	for (i = 0; i < MAX_SCRUBBERS; i++)
		INIT_WORK(&scrub_works[i], scrub_teardowns);

	/*
	 * The library hides no memory without them: see
	 * guest_memfd_block_ready().
	 */
	if (!unscrubbed_shrinker || !guest_memfd_wq)
		return -ENOMEM;
	unscrubbed_shrinker->count_objects = count_unscrubbed;
	unscrubbed_shrinker->scan_objects = scan_unscrubbed;
	shrinker_register(unscrubbed_shrinker);
	ready = true;
	return register_oom_notifier(&oom_notifier);
}
core_initcall(teardown_init);
