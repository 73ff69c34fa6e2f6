// SPDX-License-Identifier: GPL-2.0-only
/*
 * The only program of a guest: /init in its initrd. It fills memory with a
 * secret, keeps a thread running on every vCPU that reads the clock, and prints
 * on the console:
 *
 *   payload: cpus=4 clocksource=kvm-clock
 *   payload: secret_pages=16384 ready
 *   payload: ran=4 backwards=0 intact=16384     (when it ends)
 *
 * Parameters on the kernel command line, with their defaults: secret_mb=N (64),
 * secret_seed=N (1), and hold=S to end after S seconds. The line "quit" on the
 * console ends the program as well.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "secret.h"

#define PAGE		4096UL
#define MAX_CPUS	256

struct ticker {
	pthread_t thread;
	atomic_uint reads;
};

static struct ticker ticker[MAX_CPUS];
static atomic_ullong latest;		/* the latest time that a vCPU has read */
static atomic_uint backwards;		/* how often a vCPU has read an earlier time */

/*
 * Writes the line by one call, so that the kernel prints no message within it.
 */
__attribute__((format(printf, 1, 2)))
static void say(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (write(STDOUT_FILENO, line, (size_t)n) < 0)
		return;
}

static void end(void)
{
	sync();
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void die(const char *what)
{
	say("payload: error: %s: %s\n", what, strerror(errno));
	end();
}

static unsigned long option(const char *name, unsigned long otherwise)
{
	char line[4096], *word, *rest = line;
	int fd = open("/proc/cmdline", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

	if (n < 0)
		die("/proc/cmdline");
	close(fd);
	line[n] = '\0';
	while ((word = strsep(&rest, " \n"))) {
		size_t len = strlen(name);

		if (!strncmp(word, name, len) && word[len] == '=')
			return strtoul(word + len + 1, NULL, 0);
	}
	return otherwise;
}

static void clocksource(char *name, size_t size)
{
	int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, name, size - 1);

	if (n <= 0)
		die("current_clocksource");
	close(fd);
	name[n] = '\0';
	name[strcspn(name, "\n")] = '\0';
}

static uint64_t read_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/*
 * Runs one millisecond of ten, to keep its vCPU running at a low load of the
 * host.
 */
static void *tick(void *arg)
{
	struct ticker *t = arg;

	for (;;) {
		uint64_t until = read_clock() + 1000000, seen, now;

		do {
			seen = atomic_load(&latest);
			now = read_clock();
			if (now < seen)
				atomic_fetch_add(&backwards, 1);
			while (seen < now && !atomic_compare_exchange_weak(&latest, &seen, now))
				;
			atomic_fetch_add(&t->reads, 1);
		} while (now < until);
		usleep(9000);
	}
	return NULL;
}

static void start_tickers(int cpus)
{
	for (int i = 0; i < cpus; i++) {
		pthread_attr_t attr;
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(i, &set);
		pthread_attr_init(&attr);
		if (pthread_attr_setaffinity_np(&attr, sizeof(set), &set))
			die("affinity");
		errno = pthread_create(&ticker[i].thread, &attr, tick, &ticker[i]);
		if (errno)
			die("thread");
		pthread_attr_destroy(&attr);
	}
}

static unsigned int ran(int cpus)
{
	unsigned int nr = 0;

	for (int i = 0; i < cpus; i++)
		nr += ticker[i].reads != 0;
	return nr;
}

/*
 * Uses general registers only, one word at a time: the host saves a guest's
 * registers in its own memory, and vector registers could contain the whole
 * secret.
 */
__attribute__((target("general-regs-only"), noinline))
static void fill(volatile uint64_t *mem, size_t pages, uint64_t seed)
{
	for (unsigned int w = 0; w < SECRET_WORDS; w++) {
		uint64_t word = secret_word(seed, w);

		for (size_t i = w; i < pages * PAGE / 8; i += SECRET_WORDS)
			mem[i] = word;
	}
}

__attribute__((target("general-regs-only"), noinline))
static size_t intact(const volatile uint64_t *mem, size_t pages, uint64_t seed)
{
	size_t good = 0;

	for (size_t p = 0; p < pages; p++, mem += PAGE / 8) {
		size_t wrong = 0;

		for (unsigned int w = 0; w < SECRET_WORDS; w++) {
			uint64_t word = secret_word(seed, w);

			for (size_t i = w; i < PAGE / 8; i += SECRET_WORDS)
				wrong += mem[i] != word;
		}
		good += !wrong;
	}
	return good;
}

/* Waits for "quit", or for @hold seconds if that is not 0. */
static void wait_for_end(unsigned long hold)
{
	uint64_t until = read_clock() + hold * 1000000000;
	char line[64];
	size_t len = 0;

	for (;;) {
		struct pollfd pfd = { .fd = STDIN_FILENO, .events = POLLIN };
		uint64_t now = read_clock();
		ssize_t n;

		if (hold && now >= until)
			return;
		if (poll(&pfd, 1, hold ? (int)((until - now) / 1000000 + 1) : -1) <= 0)
			continue;
		n = read(STDIN_FILENO, line + len, 1);
		if (n <= 0) {
			/*
			 * The console has hung up; with @hold of 0 this waits
			 * forever.
			 */
			usleep(100000);
			continue;
		}
		if (line[len] != '\n' && line[len] != '\r') {
			len = (len + 1) % sizeof(line);
			continue;
		}
		line[len] = '\0';
		if (!strcmp(line, "quit"))
			return;
		len = 0;
	}
}

static void mount_all(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) || mount("sysfs", "/sys", "sysfs", 0, NULL))
		die("mount");
	/* EBUSY: the kernel has mounted it (CONFIG_DEVTMPFS_MOUNT). */
	if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) && errno != EBUSY)
		die("mount /dev");
}

/* Makes the console return whole lines, without echo, if it is a tty. */
static void set_up_console(void)
{
	struct termios tio;
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd >= 0) {
		dup2(fd, STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	if (tcgetattr(STDIN_FILENO, &tio))
		return;
	tio.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	tio.c_lflag |= ICANON;
	tio.c_iflag |= ICRNL;
	tcsetattr(STDIN_FILENO, TCSANOW, &tio);
}

int main(void)
{
	unsigned long pages, seed, hold;
	char source[64];
	uint64_t *mem;
	int cpus;

	if (getpid() != 1) {
		fprintf(stderr, "payload: this is the init of a guest\n");
		return 2;
	}
	mount_all();
	set_up_console();
	cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
	if (cpus < 1 || cpus > MAX_CPUS)
		die("number of CPUs");
	pages = option("secret_mb", 64) * 256;
	seed = option("secret_seed", 1);
	hold = option("hold", 0);
	clocksource(source, sizeof(source));
	say("payload: cpus=%d clocksource=%s\n", cpus, source);

	mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED || mlock(mem, pages * PAGE))
		die("memory for the secret");
	fill(mem, pages, seed);
	start_tickers(cpus);
	while (ran(cpus) < (unsigned int)cpus)
		usleep(10000);
	say("payload: secret_pages=%lu ready\n", pages);

	wait_for_end(hold);
	say("payload: ran=%u backwards=%u intact=%zu\n", ran(cpus), backwards,
	    intact(mem, pages, seed));
	tcdrain(STDOUT_FILENO);
	end();
}
