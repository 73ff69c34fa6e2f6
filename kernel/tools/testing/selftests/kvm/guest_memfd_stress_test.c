// SPDX-License-Identifier: GPL-2.0-only
/*
 * All operations on guest memory outside the direct map, at once.
 *
 * For -t SECONDS (60), vCPUs of several VMs work on their memory and turn their
 * clocks on and off, while other threads punch holes, allocate, map, touch,
 * unmap, fork, create and destroy further VMs, and in a part of each file
 * change access levels, also on request of the guests, and pin pages.  During
 * all this, every page that a thread reads contains zeroes or its own VM's
 * data, pages whose level only one guest decides have the level that the guest
 * was told, and the kernel, through whose direct map a thread keeps reading the
 * frames in use, sees no VM's data of the other parts.  At the end the entries
 * of the direct map are all present again, and no frame contains guest data.
 *
 * Catches what the other tests catch, when it goes wrong only in a race: a page
 * that stays hidden or referenced (absent pages, counters), that is reused
 * before it was zeroed (a VM reads another's data), that the kernel sees while
 * it is hidden or restored (seen), or that is not at the level that was
 * granted, or at one that was not (own pages).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/sizes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest_memfd_hide.h"
#include "guest_memfd_pin.h"
#include "kvm_syscalls.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"
#include "ucall_common.h"

#ifdef __x86_64__
#include <asm/kvm_para.h>
#endif

#define NR_VMS		3
#define NR_VCPUS	2
#define NR_PAGES	512UL
#define SIZE		(NR_PAGES * GMEM_PAGE)
#define CHURN_PAGES	64UL
/* The first pages of each file contain clocks and no data. */
#define CLOCK_PAGES	2
#define GUEST_STEPS	16

/* The window in which levels change: the kernel may see its contents. */
#define WINDOW_START	(NR_PAGES / 2)
#define WINDOW_PAGES	(NR_PAGES / 4)
#define MAX_PINS	4
/* The last pages of the window are for hypercalls alone, some for each vCPU. */
#define OWN_PAGES	16UL
#define COMMON_PAGES	(WINDOW_PAGES - NR_VCPUS * OWN_PAGES)

/*
 * The number of recorded frames that were seen in a file; the oldest are
 * overwritten.
 */
#define MAX_FRAMES	(1U << 15)

static struct stress_vm {
	struct gmem_vm g;
	u64 seed;
	pthread_t vcpu[NR_VCPUS], puncher, toucher, leveler, pinner;
	/* The levels that the guests were told. */
	u32 own_levels[NR_VCPUS][OWN_PAGES];
} vms[NR_VMS];

static u64 churn_seed;
static _Atomic u64 frames[MAX_FRAMES];
static atomic_uint nr_frames;
static atomic_bool stop;
/* True where memory is hidden and the kernel offers a way to pin it. */
static bool levels_change;

static struct {
	atomic_ulong guest_pages, clocks, holes, hole_pages, allocs, maps, touches, refused, forks,
		     churned, levels, held, pins, unpinnable, looks, seen, converted, unconverted,
		     own, own_busy;
} did;

static unsigned int random_below(unsigned int *state, unsigned int n)
{
	return (unsigned int)rand_r(state) % n;
}

/* The seed of a page; the window has other data than the rest. */
static u64 seed_at(u64 seed, u64 page)
{
	return page >= WINDOW_START && page < WINDOW_START + WINDOW_PAGES ? seed + 1 : seed;
}

/*
 * A page contains zeroes or the VM's own data, because another thread may punch
 * a hole at any time.
 */
static bool page_is_sane(const volatile u64 *page, u64 seed)
{
	unsigned int j;
	u64 v;

	for (j = 0; j < GMEM_WORDS; j++) {
		v = page[j];
		if (v && v != gmem_word(seed, j))
			return false;
	}
	return true;
}

static u64 guest_work(u64 state, u64 steps, u64 seed)
{
	volatile u64 *page;
	unsigned int j;
	u64 i, nr;

	for (i = 0; i < steps; i++) {
		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		nr = CLOCK_PAGES + (state >> 33) % (NR_PAGES - CLOCK_PAGES);
		page = (void *)(GMEM_GVA + GMEM_PAGE * nr);
		GUEST_ASSERT(page_is_sane(page, seed_at(seed, nr)));
		if (state & (1ULL << 32))
			for (j = 0; j < GMEM_WORDS; j++)
				page[j] = gmem_word(seed_at(seed, nr), j);
	}
	return 0;
}

#ifdef __x86_64__
static u64 guest_clock(u64 value, u64 b, u64 c)
{
	GUEST_ASSERT(!wrmsr_safe(MSR_KVM_SYSTEM_TIME_NEW, value));
	return 0;
}

static void toggle_clock(struct kvm_vcpu *vcpu, unsigned int *state)
{
	u64 at = GMEM_GPA + random_below(state, CLOCK_PAGES) * GMEM_PAGE + vcpu->id * 64;

	if (random_below(state, 3))
		gmem_guest_call(vcpu, guest_clock, at | KVM_MSR_ENABLED, 0, 0);
	else
		gmem_guest_call(vcpu, guest_clock, 0, 0, 0);
	did.clocks++;
}

/* Guest: request a change of some pages several times, and check them. */
static u64 guest_convert(u64 range, u64 private, u64 seed)
{
	u64 page = range >> 32, nr = (u32)range, tries, i, answer;

	for (tries = 0; tries < 3; tries++) {
		answer = gmem_guest_convert(GMEM_GPA + page * GMEM_PAGE, nr * GMEM_PAGE, private);
		if (answer != (u64)-EAGAIN)
			break;
		cpu_relax();
	}
	GUEST_ASSERT(!answer || answer == (u64)-EAGAIN);
	for (i = page; i < page + nr; i++)
		GUEST_ASSERT(page_is_sane((void *)(GMEM_GVA + i * GMEM_PAGE), seed_at(seed, i)));
	return answer;
}

static bool converts(struct kvm_vcpu *vcpu, u64 page, u64 nr, bool private, u64 seed)
{
	return !gmem_guest_call(vcpu, guest_convert, page << 32 | nr, private, seed);
}

static void convert_common(struct kvm_vcpu *vcpu, unsigned int *state, u64 seed)
{
	u64 at = random_below(state, COMMON_PAGES);
	u64 nr = 1 + random_below(state, COMMON_PAGES - at);

	if (converts(vcpu, WINDOW_START + at, nr, random_below(state, 2), seed))
		did.converted++;
	else
		did.unconverted++;
}

/*
 * No other thread changes the levels of these pages: each is at the level that
 * the guest was told.
 */
static void convert_own(struct stress_vm *v, struct kvm_vcpu *vcpu, unsigned int *state)
{
	u64 first = WINDOW_START + COMMON_PAGES + vcpu->id * OWN_PAGES;
	u64 at = random_below(state, OWN_PAGES), i;
	u64 nr = 1 + random_below(state, OWN_PAGES - at);
	u32 *told = v->own_levels[vcpu->id], level;
	struct gmem_pin pin;
	bool held, private;

	/*
	 * Mostly pin the first of the pages if it is at KERNEL: it cannot be
	 * lowered then, except after a hole punch.
	 */
	held = told[at] == GUEST_MEMFD_ACCESS_KERNEL && random_below(state, 4) &&
	       !gmem_pin(&pin, GMEM_PIN_WRITE, v->g.mem + (first + at) * GMEM_PAGE, GMEM_PAGE);
	private = held || random_below(state, 2);
	if (converts(vcpu, first + at, nr, private, v->seed)) {
		for (i = at; i < at + nr; i++)
			told[i] = private ? GUEST_MEMFD_ACCESS_NONE : GUEST_MEMFD_ACCESS_KERNEL;
		did.own++;
	} else {
		did.own_busy++;
	}
	if (held)
		gmem_unpin(&pin);
	for (i = 0; i < OWN_PAGES; i++) {
		level = gmem_get_access(v->g.fd, (first + i) * GMEM_PAGE, NULL);
		TEST_ASSERT(level == told[i], "page %lu: the guest was told %u, it is at %u",
			    first + i, told[i], level);
	}
}
#else
static void toggle_clock(struct kvm_vcpu *vcpu, unsigned int *state) { }
static void convert_common(struct kvm_vcpu *vcpu, unsigned int *state, u64 seed) { }
static void convert_own(struct stress_vm *v, struct kvm_vcpu *vcpu, unsigned int *state) { }
#endif

static void *vcpu_thread(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	unsigned int state = (unsigned long)arg;
	struct stress_vm *v = vms;

	while (v->g.vm != vcpu->vm)
		v++;

	while (!stop) {
		if (!random_below(&state, 4))
			toggle_clock(vcpu, &state);
		if (levels_change) {
			convert_own(v, vcpu, &state);
			if (!random_below(&state, 4))
				convert_common(vcpu, &state, v->seed);
		}
		gmem_guest_call(vcpu, guest_work, rand_r(&state), GUEST_STEPS, v->seed);
		did.guest_pages += GUEST_STEPS;
	}
	return NULL;
}

static void *punch_thread(void *arg)
{
	unsigned int state = (unsigned long)arg, at, nr;
	struct stress_vm *v = arg;

	while (!stop) {
		at = random_below(&state, NR_PAGES);
		nr = 1 + random_below(&state, min_t(unsigned int, 64, NR_PAGES - at));
		gmem_punch(v->g.fd, at * GMEM_PAGE, nr * GMEM_PAGE);
		did.holes++;
		did.hole_pages += nr;
		if (!random_below(&state, 4)) {
			kvm_fallocate(v->g.fd, FALLOC_FL_KEEP_SIZE, at * GMEM_PAGE,
				      nr * GMEM_PAGE);
			did.allocs++;
		}
		/* Let other threads populate the hole. */
		usleep(1000);
	}
	return NULL;
}

static void remember(u64 pfn)
{
	frames[atomic_fetch_add(&nr_frames, 1) % MAX_FRAMES] = pfn;
}

/* Another thread may have punched the page; then there is no frame. */
static void remember_page(int pagemap, const char *page)
{
	u64 entry;

	if (pread(pagemap, &entry, sizeof(entry), (u64)page / GMEM_PAGE * sizeof(entry)) ==
	    sizeof(entry) && (entry & (1ULL << 63)))
		remember(entry & ((1ULL << 55) - 1));
}

/* A page may be at level NONE. */
static __thread sigjmp_buf refused;
static __thread volatile bool may_refuse;

static void on_sigbus(int sig)
{
	if (!may_refuse)
		abort();
	siglongjmp(refused, 1);
}

/* Return: False if another thread has written to the page. */
static bool touch_page(char *page, u64 seed)
{
	bool sane = true;

	if (!sigsetjmp(refused, 1)) {
		may_refuse = true;
		sane = page_is_sane((u64 *)page, seed);
		if (sane)
			gmem_fill(page, GMEM_PAGE, seed);
	} else {
		did.refused++;
	}
	may_refuse = false;
	return sane;
}

static void *level_thread(void *arg)
{
	unsigned int state = (unsigned long)arg + 1, at, nr;
	struct stress_vm *v = arg;
	int r;

	while (!stop) {
		at = random_below(&state, COMMON_PAGES);
		nr = 1 + random_below(&state, COMMON_PAGES - at);
		r = __gmem_set_access(v->g.fd, (WINDOW_START + at) * GMEM_PAGE, nr * GMEM_PAGE,
				      random_below(&state, GUEST_MEMFD_ACCESS_KERNEL + 1), NULL);
		TEST_ASSERT(!r || errno == EAGAIN, "change of levels: errno %d", errno);
		did.levels += !r;
		did.held += !!r;
		usleep(500);
	}
	return NULL;
}

/* Whether a pin is allowed depends on the level at that moment. */
static void *pin_thread(void *arg)
{
	unsigned int state = (unsigned long)arg + 2, n = 0, i, at, nr;
	struct stress_vm *v = arg;
	struct gmem_pin pins[MAX_PINS];

	while (!stop) {
		if (n == MAX_PINS || (n && random_below(&state, 3))) {
			i = random_below(&state, n);
			gmem_unpin(&pins[i]);
			pins[i] = pins[--n];
			usleep(1000);
			continue;
		}
		at = random_below(&state, WINDOW_PAGES);
		nr = 1 + random_below(&state, min_t(unsigned int, 8, WINDOW_PAGES - at));
		if (gmem_pin(&pins[n], random_below(&state, NR_GMEM_PINS),
			     v->g.mem + (WINDOW_START + at) * GMEM_PAGE, nr * GMEM_PAGE)) {
			TEST_ASSERT(errno == EFAULT, "pin: errno %d", errno);
			did.unpinnable++;
			continue;
		}
		did.pins++;
		n++;
	}
	while (n)
		gmem_unpin(&pins[--n]);
	return NULL;
}

static void *touch_thread(void *arg)
{
	int pagemap = open_path_or_exit("/proc/self/pagemap", O_RDONLY);
	unsigned int state = (unsigned long)arg, at, nr, i, n, p;
	struct stress_vm *v = arg;
	char *mem, *page;

	while (!stop) {
		at = CLOCK_PAGES + random_below(&state, NR_PAGES - CLOCK_PAGES);
		nr = 1 + random_below(&state, NR_PAGES - at);
		mem = __kvm_mmap(nr * GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, v->g.fd,
				 at * GMEM_PAGE);
		n = 1 + random_below(&state, min_t(unsigned int, nr, 32));
		for (i = 0; i < n; i++) {
			p = random_below(&state, nr);
			page = mem + p * GMEM_PAGE;
			TEST_ASSERT(touch_page(page, seed_at(v->seed, at + p)),
				    "a page in user space holds what no thread wrote there");
			remember_page(pagemap, page);
		}
		did.touches += n;
		/* Sometimes change only half first. */
		if (nr > 1 && random_below(&state, 2)) {
			kvm_munmap(mem, nr / 2 * GMEM_PAGE);
			mem += nr / 2 * GMEM_PAGE;
			nr -= nr / 2;
		}
		kvm_munmap(mem, nr * GMEM_PAGE);
		did.maps++;
	}
	kvm_close(pagemap);
	return NULL;
}

static bool touch_random_page(struct stress_vm *v, unsigned int *state)
{
	u64 page = CLOCK_PAGES + random_below(state, NR_PAGES - CLOCK_PAGES);

	return touch_page(v->g.mem + page * GMEM_PAGE, seed_at(v->seed, page));
}

static void *fork_thread(void *arg)
{
	unsigned int state = 1, i, p;
	int status;
	pid_t pid;

	while (!stop) {
		pid = fork();
		if (!pid) {
			for (i = 0; i < NR_VMS; i++) {
				for (p = 0; p < 4; p++) {
					if (!touch_random_page(&vms[i], &state))
						_exit(1);
				}
			}
			_exit(0);
		}
		rand_r(&state);
		TEST_ASSERT(pid > 0, "fork() failed");
		TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");
		TEST_ASSERT(WIFEXITED(status) && !WEXITSTATUS(status),
			    "the child found what no thread wrote, or died: status 0x%x", status);
		did.forks++;
		usleep(10000);
	}
	return NULL;
}

/* Creates VMs that populate memory, and destroys them. */
static void *churn_thread(void *arg)
{
	int pagemap = open_path_or_exit("/proc/self/pagemap", O_RDONLY), fd;
	struct kvm_vm *vm;
	unsigned int i;
	char *mem;

	while (!stop) {
		vm = vm_create_barebones();
		fd = vm_create_guest_memfd(vm, CHURN_PAGES * GMEM_PAGE, gmem_test_flags());
		mem = kvm_mmap(CHURN_PAGES * GMEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
		gmem_assert_zero(mem, CHURN_PAGES * GMEM_PAGE);
		gmem_fill(mem, CHURN_PAGES * GMEM_PAGE, churn_seed);
		for (i = 0; i < CHURN_PAGES; i++)
			remember_page(pagemap, mem + i * GMEM_PAGE);
		if (did.churned & 1) {
			kvm_vm_free(vm);
			kvm_munmap(mem, CHURN_PAGES * GMEM_PAGE);
			kvm_close(fd);
		} else {
			kvm_close(fd);
			kvm_munmap(mem, CHURN_PAGES * GMEM_PAGE);
			kvm_vm_free(vm);
		}
		did.churned++;
	}
	kvm_close(pagemap);
	return NULL;
}

/* @all: include the data of the windows. */
static bool any_seen(u64 pfn, bool all)
{
	u64 page[GMEM_WORDS];
	unsigned int i, j;

	/* Another thread is about to fill this entry of the table. */
	if (!pfn)
		return false;
	if (gmem_kcore_read(pfn, page))
		return false;
	for (j = 0; j < GMEM_WORDS; j++) {
		if (!page[j])
			continue;
		if (page[j] == gmem_word(churn_seed, j))
			return true;
		for (i = 0; i < NR_VMS; i++)
			if (page[j] == gmem_word(vms[i].seed, j) ||
			    (all && page[j] == gmem_word(vms[i].seed + 1, j)))
				return true;
	}
	return false;
}

static void *look_thread(void *arg)
{
	unsigned int state = 2, nr;

	while (!stop) {
		nr = min_t(unsigned int, nr_frames, MAX_FRAMES);
		if (!nr)
			continue;
		did.seen += any_seen(frames[random_below(&state, nr)], false);
		did.looks++;
	}
	/* Drop the last page read, which may be data of a window. */
	gmem_kcore_close();
	return NULL;
}

static u64 direct_map_kb(void)
{
	return gmem_meminfo("DirectMap4k") + gmem_meminfo("DirectMap2M") +
	       gmem_meminfo("DirectMap1G");
}

static void show_direct_map(const char *when)
{
	ksft_print_msg("%s: DirectMap 4k %lu kB, 2M %lu kB, 1G %lu kB, MemFree %lu kB\n", when,
		       gmem_meminfo("DirectMap4k"), gmem_meminfo("DirectMap2M"),
		       gmem_meminfo("DirectMap1G"), gmem_meminfo("MemFree"));
}

int main(int argc, char *argv[])
{
	pthread_t forker, churner, looker;
	struct sigaction sigbus = { .sa_handler = on_sigbus };
	u64 kb, absent, left = 0, found;
	int seconds = 60, opt, i, j;
	bool counts = true;
	unsigned int nr, n;
	int kmsg;

	while ((opt = getopt(argc, argv, "t:h")) != -1) {
		if (opt != 't') {
			printf("usage: %s [-t SECONDS]\n", argv[0]);
			return opt == 'h' ? 0 : KSFT_FAIL;
		}
		seconds = atoi_positive("Seconds", optarg);
	}

	gmem_require();
	ksft_print_header();
	ksft_set_plan(5);
	gmem_kmsg_open(&kmsg);
	kb = direct_map_kb();
	show_direct_map("before");

	levels_change = !gmem_plain() && !access(GUP_TEST_FILE, R_OK);
	sigaction(SIGBUS, &sigbus, NULL);
	churn_seed = gmem_new_seed();
	for (i = 0; i < NR_VMS; i++) {
		vms[i].seed = gmem_new_seed();
		gmem_vm_create(&vms[i].g, NR_VCPUS, SIZE, gmem_test_flags());
		for (j = 0; j < NR_VCPUS * OWN_PAGES; j++)
			vms[i].own_levels[j / OWN_PAGES][j % OWN_PAGES] =
				GUEST_MEMFD_ACCESS_USER;
#ifdef __x86_64__
		if (levels_change)
			gmem_vm_obey(&vms[i].g);
#endif
	}
	for (i = 0; i < NR_VMS; i++) {
		for (j = 0; j < NR_VCPUS; j++)
			kvm_pthread_create(&vms[i].vcpu[j], NULL, vcpu_thread,
					   vms[i].g.vcpus[j]);
		kvm_pthread_create(&vms[i].puncher, NULL, punch_thread, &vms[i]);
		kvm_pthread_create(&vms[i].toucher, NULL, touch_thread, &vms[i]);
		if (!levels_change)
			continue;
		kvm_pthread_create(&vms[i].leveler, NULL, level_thread, &vms[i]);
		kvm_pthread_create(&vms[i].pinner, NULL, pin_thread, &vms[i]);
	}
	kvm_pthread_create(&forker, NULL, fork_thread, NULL);
	kvm_pthread_create(&churner, NULL, churn_thread, NULL);
	kvm_pthread_create(&looker, NULL, look_thread, NULL);

	for (i = 0; i < seconds; i++)
		sleep(1);

	stop = true;
	for (i = 0; i < NR_VMS; i++) {
		for (j = 0; j < NR_VCPUS; j++)
			kvm_pthread_join(vms[i].vcpu[j], NULL);
		kvm_pthread_join(vms[i].puncher, NULL);
		kvm_pthread_join(vms[i].toucher, NULL);
		if (!levels_change)
			continue;
		kvm_pthread_join(vms[i].leveler, NULL);
		kvm_pthread_join(vms[i].pinner, NULL);
	}
	kvm_pthread_join(forker, NULL);
	kvm_pthread_join(churner, NULL);
	kvm_pthread_join(looker, NULL);
	/* All pins have ended, including a child's copies of the pipes. */
	for (i = 0; i < NR_VMS && levels_change; i++)
		gmem_set_access(vms[i].g.fd, 0, SIZE, GUEST_MEMFD_ACCESS_USER);

	ksft_print_msg("%d s: guests worked on %lu pages and set %lu clocks\n", seconds,
		       did.guest_pages, did.clocks);
	ksft_print_msg("%lu holes of %lu pages in all, %lu allocations\n", did.holes,
		       did.hole_pages, did.allocs);
	ksft_print_msg("%lu mappings, %lu pages touched, %lu forks, %lu VMs come and gone\n",
		       did.maps, did.touches, did.forks, did.churned);
	ksft_print_msg("%lu changes of levels; refused: %lu changes, %lu pins, %lu touches\n",
		       did.levels, did.held, did.unpinnable, did.refused);
	ksft_print_msg("%lu pins; guests converted %lu ranges, and were refused %lu\n", did.pins,
		       did.converted, did.unconverted);
	ksft_print_msg("of their own pages they converted %lu ranges, and were refused %lu\n",
		       did.own, did.own_busy);
	ksft_print_msg("%lu looks through the direct map, %lu saw guest data\n", did.looks,
		       did.seen);
	ksft_test_result(did.guest_pages && did.holes && did.maps && did.forks && did.churned &&
			 did.looks &&
			 (!levels_change || (did.levels && did.held && did.pins &&
					     did.unpinnable && did.refused)) &&
			 (!vms[0].g.obey || (did.converted && did.own && did.own_busy)),
			 "each kind of operation was done and refused\n");
	ksft_test_result(gmem_plain() ? did.seen : !did.seen,
			 "no guest data seen through the direct map\n");

	for (i = 0; i < NR_VMS && !gmem_plain(); i++) {
		struct gmem_info info;

		gmem_read_info(vms[i].g.fd, &info);
		ksft_print_msg("VM %d: %lu pages populated, %lu hidden, %lu referenced\n", i,
			       info.populated, info.hidden, info.referenced);
		counts &= info.hidden + info.referenced == info.populated;
		counts &= info.referenced <= CLOCK_PAGES && info.populated <= NR_PAGES;
	}
	ksft_test_result(counts, "the counters of the files add up\n");

	/* Destroy the VMs in different orders, with their clocks on. */
	for (i = 0; i < NR_VMS; i++) {
		if (i & 1)
			gmem_vm_close_file(&vms[i].g);
		gmem_vm_destroy(&vms[i].g);
	}

	/* A worker frees pages that were pinned when they left their file. */
	for (i = 0; i < 60 && gmem_absent_total() != gmem_absent_before(); i++)
		sleep(1);
	nr = min_t(unsigned int, nr_frames, MAX_FRAMES);
	for (n = 0; n < nr; n++)
		left += any_seen(frames[n], true);
	found = gmem_scan(vms[0].seed, NULL) + gmem_scan(vms[0].seed + 1, NULL);
	ksft_print_msg("%lu of %u frames used hold guest data, %lu pages of VM 0 in all RAM\n",
		       left, nr, found);
	ksft_test_result(gmem_plain() || !(left + found), "no guest data left\n");

	absent = gmem_absent_total();
	show_direct_map("after");
	ksft_print_msg("pages without an entry: %lu before, %lu after\n", gmem_absent_before(),
		       absent);
	ksft_test_result(absent == gmem_absent_before() && direct_map_kb() == kb,
			 "the direct map is as before\n");

	gmem_assert_nothing_left(&kmsg);
	ksft_finished();
}
