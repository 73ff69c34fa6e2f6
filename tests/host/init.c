// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the emulated host: runs the one command that scripts/run-vm has put
 * into the initrd, relays its output, reports how it ended, and powers off.
 *
 * The program has two ports to the outside. It writes the output of the command
 * to one, and the verdict to the other. Each line of the verdict begins with a
 * number that run-vm chose for this boot; the program deletes the file with
 * this number before it runs the command, so the command cannot imitate a
 * verdict:
 *	start			the command is about to run
 *	exit N | signal N	how the command ended
 *	output N		number of bytes that it printed
 *	taint N			/proc/sys/kernel/tainted afterwards
 *	leaks N			number of objects that kmemleak reports
 *	error TEXT		this program itself failed
 *	done			the last line; without it there is no verdict
 *
 * QEMU has the virtio ports "guestmem.output" and "guestmem.verdict", of which
 * each can be open only once. Bochs has two parallel ports and writes each byte
 * to a file.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGV_FILE	"/.run-vm/argv"
#define PORTS_FILE	"/.run-vm/ports"
#define KMEMLEAK	"/sys/kernel/debug/kmemleak"
#define TAINTED		"/proc/sys/kernel/tainted"

/* kmemleak reports no objects younger than MSECS_MIN_AGE; with a margin. */
#define KMEMLEAK_AGE_S	6

/* The registers of a parallel port. Bochs writes the byte when STROBE rises. */
#define PARALLEL_1	0x378
#define PARALLEL_2	0x278
#define STATUS		1
#define CONTROL		2
#define STROBE		0x01
#define ONLINE		0x0c	/* INIT is inactive, SELECT is active */

/*
 * A port to the outside: a file, or /dev/port and the address of a parallel
 * port.
 */
struct port {
	int fd;
	off_t parallel;
};

static struct port verdict_port = { .fd = -1 };
static struct port output_port = { .fd = -1 };
static char nonce[64];
static unsigned long relayed;

static void write_all(const struct port *port, const char *buf, size_t len)
{
	for (; port->parallel && len; buf++, len--) {
		/*
		 * Write all three registers at once; writes to the status are
		 * ignored.
		 */
		const unsigned char byte[] = { *buf, 0, ONLINE | STROBE }, ready = ONLINE;

		if (pwrite(port->fd, byte, sizeof(byte), port->parallel) != sizeof(byte) ||
		    pwrite(port->fd, &ready, 1, port->parallel + CONTROL) != 1)
			return;
	}
	while (len) {
		ssize_t n = write(port->fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		buf += n;
		len -= n;
	}
}

static void __attribute__((format(printf, 1, 2))) verdict(const char *fmt, ...)
{
	char line[320];
	va_list ap;
	int n;

	n = snprintf(line, sizeof(line), "%s ", nonce);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	write_all(&verdict_port, line, n);
}

static void __attribute__((noreturn)) power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dprintf(STDERR_FILENO, "init: %s: %s\n", text, strerror(errno));
	if (verdict_port.fd >= 0)
		verdict("error %s: %s", text, strerror(errno));
	power_off();
}

static const struct {
	const char *type, *dir, *options;
	int required;
} mounts[] = {
	{ "proc",	"/proc",		NULL,		1 },
	{ "sysfs",	"/sys",			NULL,		1 },
	{ "devtmpfs",	"/dev",			NULL,		1 },
	{ "tmpfs",	"/tmp",			"mode=1777",	1 },
	{ "tmpfs",	"/run",			"mode=755",	1 },
	{ "tmpfs",	"/dev/shm",		"mode=1777",	1 },
	{ "debugfs",	"/sys/kernel/debug",	NULL,		0 },
	{ "tracefs",	"/sys/kernel/tracing",	NULL,		0 },
	{ "cgroup2",	"/sys/fs/cgroup",	NULL,		0 },
	{ "devpts",	"/dev/pts",		"ptmxmode=666",	0 },
	{ "hugetlbfs",	"/dev/hugepages",	NULL,		0 },
};

static void mount_all(void)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].dir, 0755);
		/* EBUSY: the kernel has mounted devtmpfs by itself. */
		if (mount(mounts[i].type, mounts[i].dir, mounts[i].type, 0, mounts[i].options) &&
		    errno != EBUSY && mounts[i].required)
			fail("mount %s", mounts[i].dir);
	}
	(void)!symlink("/proc/self/fd", "/dev/fd");
	(void)!symlink("/proc/self/fd/0", "/dev/stdin");
	(void)!symlink("/proc/self/fd/1", "/dev/stdout");
	(void)!symlink("/proc/self/fd/2", "/dev/stderr");
	(void)!symlink("/proc/mounts", "/etc/mtab");
}

/* Opens the virtio port of that name; waits for its device to appear. */
static int open_virtio(const char *want)
{
	for (int tries = 0; tries < 500; tries++) {
		DIR *dir = opendir("/sys/class/virtio-ports");
		struct dirent *entry;

		while (dir && (entry = readdir(dir))) {
			char path[300], name[64] = "";
			FILE *f;
			int fd;

			snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
			f = fopen(path, "re");
			if (!f)
				continue;
			if (!fgets(name, sizeof(name), f))
				name[0] = '\0';
			fclose(f);
			name[strcspn(name, "\n")] = '\0';
			if (strcmp(name, want))
				continue;
			snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
			fd = open(path, O_RDWR | O_CLOEXEC);
			if (fd >= 0) {
				closedir(dir);
				return fd;
			}
		}
		if (dir)
			closedir(dir);
		nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
	}
	fail("no virtio port %s", want);
}

static struct port open_parallel(off_t base)
{
	struct port port = { .fd = open("/dev/port", O_RDWR | O_CLOEXEC), .parallel = base };
	const unsigned char ready = ONLINE;
	unsigned char status;

	if (port.fd < 0 || pread(port.fd, &status, 1, base + STATUS) != 1 || status == 0xff ||
	    pwrite(port.fd, &ready, 1, base + CONTROL) != 1)
		fail("no parallel port at %#lx", (unsigned long)base);
	return port;
}

static void open_ports(void)
{
	char kind[16] = "";
	FILE *f = fopen(PORTS_FILE, "re");

	if (!f || fscanf(f, "%15s %63s", kind, nonce) != 2)
		fail("read %s", PORTS_FILE);
	fclose(f);
	unlink(PORTS_FILE);
	if (!strcmp(kind, "parallel")) {
		verdict_port = open_parallel(PARALLEL_2);
		output_port = open_parallel(PARALLEL_1);
	} else {
		verdict_port.fd = open_virtio("guestmem.verdict");
		output_port.fd = open_virtio("guestmem.output");
	}
}

/* Creates a link in /bin for each program of busybox. */
static void install_applets(void)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		execl("/bin/busybox", "busybox", "--install", "-s", "/bin", NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		fail("busybox --install");
}

static void set_limit(int resource, rlim_t value)
{
	struct rlimit limit = { value, value };

	if (setrlimit(resource, &limit))
		fail("setrlimit %d", resource);
}

/* Reads the command: run-vm has ended each of its words with a NUL. */
static char **read_argv(void)
{
	FILE *f = fopen(ARGV_FILE, "re");
	char **argv = NULL, *word = NULL;
	size_t argc = 0, size = 0;

	if (!f)
		fail("open %s", ARGV_FILE);
	for (;;) {
		argv = realloc(argv, (argc + 1) * sizeof(*argv));
		if (!argv)
			fail("argv");
		if (getdelim(&word, &size, '\0', f) < 0)
			break;
		argv[argc++] = word;
		word = NULL;
		size = 0;
	}
	fclose(f);
	argv[argc] = NULL;
	if (!argc)
		fail("%s is empty", ARGV_FILE);
	return argv;
}

static pid_t spawn(char **argv, int out)
{
	pid_t pid = fork();
	sigset_t none;
	int in;

	if (pid < 0)
		fail("fork");
	if (pid)
		return pid;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	in = open("/dev/null", O_RDONLY);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	close(in);
	close(out);
	execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Copies from the pipe to the output port; returns 0 if the pipe is empty. */
static int relay(int pipe_fd)
{
	static char buf[65536];
	ssize_t n = read(pipe_fd, buf, sizeof(buf));

	if (n <= 0)
		return 0;
	write_all(&output_port, buf, n);
	relayed += n;
	return 1;
}

/* Runs the command, relays its output, and returns its wait status. */
static int run(char **argv)
{
	int fds[2], sfd, status = 0, ended = 0;
	struct signalfd_siginfo info;
	struct pollfd polls[2];
	sigset_t chld;
	pid_t pid;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	sfd = signalfd(-1, &chld, SFD_CLOEXEC);
	if (sfd < 0)
		fail("signalfd");
	if (pipe2(fds, O_CLOEXEC))
		fail("pipe");
	pid = spawn(argv, fds[1]);
	close(fds[1]);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);

	polls[0] = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	polls[1] = (struct pollfd){ .fd = sfd, .events = POLLIN };
	while (!ended) {
		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			fail("poll");
		/* The command may close the pipe long before it ends. */
		if (polls[0].revents && !relay(fds[0]) && (polls[0].revents & POLLHUP))
			polls[0].fd = -1;
		if (polls[1].revents) {
			int one;
			pid_t p;

			(void)!read(sfd, &info, sizeof(info));
			while ((p = waitpid(-1, &one, WNOHANG)) > 0) {
				if (p == pid) {
					status = one;
					ended = 1;
				}
			}
		}
	}

	/*
	 * Kill the processes that it has started: they may hold KVM or the pipe
	 * open.
	 */
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	while (relay(fds[0]))
		;
	close(fds[0]);
	return status;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ok;

	if (fd < 0)
		return 0;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

/*
 * If the kernel has kmemleak, scans twice, because one scan finds candidates
 * and the next confirms them, writes every report to the kernel log, and
 * returns the number of reports.
 */
static int scan_leaks(void)
{
	FILE *leaks, *kmsg;
	char line[512];
	int count = 0;

	if (access(KMEMLEAK, R_OK | W_OK))
		return 0;
	sleep(KMEMLEAK_AGE_S);
	if (!write_file(KMEMLEAK, "scan") || !write_file(KMEMLEAK, "scan"))
		fail("write %s", KMEMLEAK);
	leaks = fopen(KMEMLEAK, "re");
	kmsg = fopen("/dev/kmsg", "we");
	if (!leaks || !kmsg)
		fail("read %s", KMEMLEAK);
	while (fgets(line, sizeof(line), leaks)) {
		if (!strncmp(line, "unreferenced object", 19))
			count++;
		fprintf(kmsg, "<4>kmemleak: %s", line);
		fflush(kmsg);
	}
	fclose(leaks);
	fclose(kmsg);
	return count;
}

static long read_taint(void)
{
	FILE *f = fopen(TAINTED, "re");
	long taint = 0;

	if (!f || fscanf(f, "%ld", &taint) != 1)
		fail("read %s", TAINTED);
	fclose(f);
	return taint;
}

int main(void)
{
	char **argv;
	int status;

	if (getpid() != 1) {
		fprintf(stderr, "init: this is PID 1 of scripts/run-vm\n");
		return 1;
	}
	mount_all();
	open_ports();
	install_applets();

	set_limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
	set_limit(RLIMIT_NOFILE, 65536);
	set_limit(RLIMIT_NPROC, RLIM_INFINITY);
	set_limit(RLIMIT_CORE, 0);
	clearenv();
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin:/usr/local/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("TERM", "dumb", 1);

	argv = read_argv();
	verdict("start");
	status = run(argv);
	if (WIFEXITED(status))
		verdict("exit %d", WEXITSTATUS(status));
	else
		verdict("signal %d", WTERMSIG(status));
	verdict("output %lu", relayed);
	verdict("leaks %d", scan_leaks());
	verdict("taint %ld", read_taint());
	verdict("done");
	power_off();
}
