// SPDX-License-Identifier: GPL-2.0-only
/*
 * The SVG writer, and how guestmem map answers names that are not of an .svg.
 *
 * Proves: boxes and text get into the file, text is escaped, and a failed write is
 * reported. Not covered: what a browser draws.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "commands.h"
#include "svg.h"
#include "tap.h"

static int draw(FILE *out)
{
	svg_begin(out, 300, 40, 0xffffff);
	svg_box(out, 1, 2, 5, 6, 0x0c392b);
	svg_box(out, 10, 10, 0, 5, 1);	/* nothing */
	svg_text(out, 100, 3, 0x112233, "T <&> %d\n", 1);
	return svg_end(out);
}

static void test_svg(void)
{
	char *text = NULL;
	size_t size = 0, open = 0, boxes = 0;
	FILE *out = open_memstream(&text, &size);

	ok(!draw(out), "an SVG is written");
	fclose(out);
	for (const char *s = text; *s; s++)
		open += *s == '<' ? 1 : *s == '>' ? (size_t)-1 : 0;
	for (const char *s = text; (s = strstr(s, "<rect ")); s++)
		boxes++;
	ok(!open, "as many < as >");
	ok(strstr(text, " width=\"600\" height=\"80\" viewBox=\"0 0 300 40\"") != NULL, "two pixels a unit");
	ok(boxes == 2, "the background and one box; none without width");
	ok(strstr(text, "<rect x=\"0\" y=\"0\" width=\"300\" height=\"40\" fill=\"#ffffff\"/>") != NULL,
	   "the background");
	ok(strstr(text, "<rect x=\"1\" y=\"2\" width=\"5\" height=\"6\" fill=\"#0c392b\"/>") != NULL,
	   "a box is where it should be");
	ok(strstr(text, "<text x=\"100\" y=\"10\" fill=\"#112233\">T &lt;&amp;&gt; 1 </text>") != NULL,
	   "text is escaped");
	ok(size > 7 && !strcmp(text + size - 7, "</svg>\n"), "it ends");
	free(text);
}

static void test_full_disk(void)
{
	FILE *out = fopen("/dev/full", "w");

	if (!out)
		return;
	ok(draw(out) < 0, "an SVG that cannot be written is an error");
	fclose(out);
}

/* Returns whether "guestmem map -o @name" is wrong usage, with @wanted in the message. */
static bool refused(const char *name, const char *wanted)
{
	char path[64], message[1024] = "";
	char *argv[] = { (char *)"map", (char *)"-o", path, NULL };
	int errors = memfd_create("errors", 0), saved = dup(STDERR_FILENO), ret;

	if (errors < 0 || saved < 0)
		abort();
	snprintf(path, sizeof(path), "/nonexistent/%s", name);
	fflush(stderr);
	dup2(errors, STDERR_FILENO);
	ret = cmd_map(3, argv);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	if (pread(errors, message, sizeof(message) - 1, 0) < 0)
		abort();
	close(errors);
	close(saved);
	return ret == 2 && strstr(message, wanted);
}

static void test_names(void)
{
	ok(refused("map.png", "convert it with 'rsvg-convert -o /nonexistent/map.png FILE.svg'"),
	   "map says how to make a PNG");
	ok(refused("map.pdf", "the name must end in .svg: /nonexistent/map.pdf"),
	   "map refuses other formats");
}

int main(void)
{
	test_svg();
	test_full_disk();
	test_names();
	return done_testing();
}
