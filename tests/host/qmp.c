// SPDX-License-Identifier: GPL-2.0-only
/*
 * qmp SOCKET COMMAND [ARGUMENTS]: runs on the host. Sends one command to the
 * QEMU that listens on the socket, with the JSON object ARGUMENTS if given, and
 * prints the reply, a line of JSON. Exits with status 1 if the reply is an
 * error.
 */
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static FILE *in, *out;
static char *line;
static size_t size;

static void connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(addr.sun_path))
		errx(2, "%s: the path is too long for a socket", path);
	strcpy(addr.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		err(2, "%s", path);
	in = fdopen(fd, "r");
	out = fdopen(dup(fd), "w");
	if (!in || !out)
		err(2, "%s", path);
}

/* Sends a command and reads up to its reply; events may precede the reply. */
static bool execute(const char *command, const char *arguments)
{
	if (arguments)
		fprintf(out, "{ \"execute\": \"%s\", \"arguments\": %s }\n", command, arguments);
	else
		fprintf(out, "{ \"execute\": \"%s\" }\n", command);
	if (fflush(out))
		err(2, "cannot send %s", command);
	do {
		if (getline(&line, &size, in) < 0)
			errx(2, "QEMU closed the socket before it answered %s", command);
	} while (strncmp(line, "{\"return\"", 9) && strncmp(line, "{\"error\"", 8));
	return line[2] == 'r';
}

int main(int argc, char **argv)
{
	bool good;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: qmp SOCKET COMMAND [ARGUMENTS]\n");
		return 2;
	}
	connect_to(argv[1]);
	if (!execute("qmp_capabilities", NULL))
		errx(2, "qmp_capabilities: %s", line);
	good = execute(argv[2], argv[3]);
	line[strcspn(line, "\r\n")] = '\0';
	puts(line);
	return good ? 0 : 1;
}
