// SPDX-License-Identifier: GPL-2.0-only
/* Tests the console on a pseudoterminal: raw mode, Ctrl-A x, the mark, a panic. */
#define _GNU_SOURCE	/* posix_openpt() and friends */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "console.h"
#include "tap.h"

static atomic_int ending;

/* Makes the other end of @terminal the controlling terminal and standard input. */
static bool become_session(int terminal)
{
	int fd;

	if (setsid() < 0 || grantpt(terminal) || unlockpt(terminal))
		return false;
	fd = open(ptsname(terminal), O_RDWR);
	return fd >= 0 && !ioctl(fd, TIOCSCTTY, 0) && dup2(fd, STDIN_FILENO) == STDIN_FILENO;
}

static int type(int terminal, struct console *console, const char *keys, uint8_t *bytes)
{
	if (write(terminal, keys, strlen(keys)) < 0)
		return -2;
	return console_get(console, bytes, 16);
}

static void test_terminal(int terminal)
{
	struct termios before, now;
	struct console console;
	uint8_t bytes[16];

	tcgetattr(STDIN_FILENO, &before);
	console_open(&console, NULL, &ending);
	tcgetattr(STDIN_FILENO, &now);
	ok(console.raw && !(now.c_lflag & (ICANON | ECHO | ISIG)), "the terminal is raw");
	ok(now.c_oflag == before.c_oflag, "its output is as before");

	ok(type(terminal, &console, "a\003\r", bytes) == 3 && !memcmp(bytes, "a\003\r", 3),
	   "Ctrl-C and Enter are the guest's");
	ok(type(terminal, &console, "\001\001b", bytes) == 2 && !memcmp(bytes, "\001b", 2),
	   "Ctrl-A twice is one");
	ok(type(terminal, &console, "\001y", bytes) == 1 && bytes[0] == 'y',
	   "Ctrl-A and another key is that key");
	ok(type(terminal, &console, "\001", bytes) == 0, "Ctrl-A alone waits");
	ok(type(terminal, &console, "x", bytes) == -1, "and x leaves");

	console_close(&console);
	tcgetattr(STDIN_FILENO, &now);
	ok(now.c_lflag == before.c_lflag && now.c_iflag == before.c_iflag, "it is as before");
}

static void test_background(void)
{
	struct console console;
	struct termios before, now;

	tcgetattr(STDIN_FILENO, &before);
	setpgid(0, 0);
	console_open(&console, NULL, &ending);
	tcgetattr(STDIN_FILENO, &now);
	ok(!console.input && !console.raw && now.c_lflag == before.c_lflag,
	   "in the background the terminal is left alone");
	console_close(&console);
}

/* Each of the other tests replaces standard input, so each runs in a child. */
static int in_child(void (*test)(void))
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		test();
		fflush(stdout);
		_exit(tap_failed ? 255 : tap_nr);
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) != 255)
		tap_nr = WEXITSTATUS(status);
	else
		tap_failed++;
	return status;
}

static void on_terminal(void)
{
	int terminal = posix_openpt(O_RDWR | O_NOCTTY);

	if (!ok(terminal >= 0 && become_session(terminal), "a terminal of our own"))
		return;
	test_terminal(terminal);
	in_child(test_background);
}

static void on_pipe(void)
{
	struct console console;
	uint8_t bytes[16];
	int fds[2];

	if (!ok(!pipe(fds) && dup2(fds[0], STDIN_FILENO) == STDIN_FILENO, "a pipe"))
		return;
	console_open(&console, NULL, &ending);
	ok(console.input && !console.raw, "it is input");
	ok(type(fds[1], &console, "\001x", bytes) == 2, "Ctrl-A x has no meaning there");
	close(fds[1]);
	ok(console_get(&console, bytes, 16) == 0 && !console.input, "its end ends the input");
	console_close(&console);
}

static void put(struct console *console, const char *text)
{
	while (*text)
		console_put(console, *text++);
}

static void test_output(void)
{
	struct console console;
	char text[64] = "";
	int fds[2], out;

	if (!ok(!pipe2(fds, O_NONBLOCK), "a pipe"))
		return;
	out = dup(STDOUT_FILENO);
	dup2(fds[1], STDOUT_FILENO);
	console_open(&console, "ready", &ending);
	put(&console, "not yet\n$ ");
	console.input = read(fds[0], text, sizeof(text)) == 8;
	dup2(out, STDOUT_FILENO);
	ok(console.input && !strcmp(text, "not yet\n"), "a line comes out at its end");
	ok(!console.mark_ms && !console.panicked, "no mark and no panic in it");

	dup2(fds[1], STDOUT_FILENO);
	console_flush(&console);
	put(&console, "ready\n[1.0] Kernel panic - not syncing: oh\n");
	/* The pipe has no reader: once the VM is ending, what does not fit is dropped. */
	atomic_store(&ending, 1);
	for (int i = 0; i < 100000; i++)
		console_put(&console, 'x');
	dup2(out, STDOUT_FILENO);
	ok(console.mark_ms && console.panicked, "the mark and the panic are seen");
	ok(true, "a reader that does not read cannot hold up the end");
	close(fds[0]);
	close(fds[1]);
	close(out);
}

int main(void)
{
	in_child(on_terminal);
	in_child(on_pipe);
	in_child(test_output);
	return done_testing();
}
