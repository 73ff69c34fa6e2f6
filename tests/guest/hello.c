// SPDX-License-Identifier: GPL-2.0-only
/*
 * Init of a guest that prints the properties of its machine and ends in the way
 * that the kernel command line requests: end=reset (the default), halt, off,
 * panic, triple, loop, or echo (repeat a line of input, then reset).  Before
 * that, disk=copy copies the first half of the disk to the second half, and
 * disk=loop writes the whole disk in an endless loop, each time with another
 * byte.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

static void read_line(const char *path, char *line, size_t size)
{
	ssize_t n = 0;
	int fd = open(path, O_RDONLY);

	if (fd >= 0) {
		n = read(fd, line, size - 1);
		close(fd);
	}
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

static void write_word(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, word, strlen(word)) < 0)
		printf("hello: cannot write %s\n", path);
	if (fd >= 0)
		close(fd);
}

static void echo(void)
{
	char line[128];

	printf("hello: say something\n");
	if (fgets(line, sizeof(line), stdin))
		printf("hello: you said %s", line);
}

static void touch(unsigned long mib)
{
	char *memory = malloc(mib << 20);

	if (!memory) {
		printf("hello: no memory\n");
		return;
	}
	memset(memory, 0x5a, mib << 20);
	printf("hello: touched %lu MiB at %p\n", mib, (void *)memory);
	free(memory);
}

/* Returns the number of bytes copied. */
static off_t copy(int fd, off_t half)
{
	static char buffer[1 << 16];
	ssize_t n;
	off_t at;

	for (at = 0; at < half; at += n) {
		size_t size = half - at < (off_t)sizeof(buffer) ? half - at : (off_t)sizeof(buffer);

		n = pread(fd, buffer, size, at);
		if (n <= 0 || pwrite(fd, buffer, n, half + at) != n)
			break;
	}
	return fsync(fd) ? -1 : at;
}

static void write_again_and_again(int fd, off_t size)
{
	static char buffer[1 << 16];

	for (unsigned int nr = 1;; nr++) {
		memset(buffer, nr, sizeof(buffer));
		for (off_t at = 0; at < size; at += sizeof(buffer)) {
			size_t len = size - at < (off_t)sizeof(buffer) ? size - at :
				     (off_t)sizeof(buffer);

			if (pwrite(fd, buffer, len, at) != (ssize_t)len)
				return;
		}
		if (fsync(fd))
			return;
	}
}

static void use_disk(bool for_ever)
{
	int fd = open("/dev/vda", O_RDWR);
	off_t size;

	if (fd < 0) {
		printf("hello: no disk\n");
		return;
	}
	size = lseek(fd, 0, SEEK_END);
	if (for_ever)
		write_again_and_again(fd, size);
	else
		printf("hello: copied %ld of %ld bytes\n", (long)copy(fd, size / 2),
		       (long)size / 2);
	close(fd);
}

int main(void)
{
	char cmdline[2048], clocksource[64];
	const char *end, *size;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	if (!freopen("/dev/console", "r", stdin) || !freopen("/dev/console", "w", stdout))
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);

	read_line("/proc/cmdline", cmdline, sizeof(cmdline));
	read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource",
		  clocksource, sizeof(clocksource));
	printf("hello: nproc=%ld clocksource=%s mib=%ld\n", sysconf(_SC_NPROCESSORS_ONLN),
	       clocksource, sysconf(_SC_PHYS_PAGES) / 256);

	size = strstr(cmdline, "touch=");
	if (size)
		touch(strtoul(size + 6, NULL, 10));
	if (strstr(cmdline, "disk=copy"))
		use_disk(false);
	if (strstr(cmdline, "disk=loop"))
		use_disk(true);
	end = strstr(cmdline, "end=");
	end = end ? end + 4 : "reset";
	if (!strncmp(end, "echo", 4))
		echo();
	fflush(stdout);
	if (!strncmp(end, "halt", 4))
		reboot(RB_HALT_SYSTEM);
	else if (!strncmp(end, "off", 3))
		reboot(RB_POWER_OFF);
	else if (!strncmp(end, "panic", 5))
		write_word("/proc/sysrq-trigger", "c");
	while (!strncmp(end, "loop", 4))
		sleep(1);
	/* end=triple needs reboot=t, which makes this a triple fault. */
	reboot(RB_AUTOBOOT);
	return 1;
}
