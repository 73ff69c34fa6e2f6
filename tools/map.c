// SPDX-License-Identifier: GPL-2.0-only
/*
 * guestmem map: draws the host kernel's direct map. The headers of /proc/kcore
 * say which addresses are RAM and where the direct map begins; the page tables
 * in debugfs say which entries map it. Code that reads memory through the
 * direct map cannot read the RAM that this drawing shows as not mapped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "message.h"
#include "status.h"
#include "view.h"

#define GIB	(1ULL << 30)

static const char usage[] =
	"usage: guestmem map [options]\n"
	"Draws the kernel's direct map: which RAM is mapped by 1 GiB, 2 MiB and 4 KiB entries,\n"
	"and which is not mapped.\n"
	"  -o FILE              draw into FILE, whose name ends in .svg; repeatable\n"
	"  --title TEXT         the title of the drawing\n"
	"  --counts             print numbers of 4 KiB pages, for each GiB and in total\n"
	"  --style STYLE        ascii, utf8 or color [what the terminal supports]\n"
	"  --kcore FILE         read FILE instead of /proc/kcore\n"
	"  --page-tables FILE   read FILE instead of the dump in debugfs\n"
	"  --help               print this text\n";

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);

	return n > s && !strcmp(name + n - s, suffix);
}

static int draw(const char *name, const struct view *v, const char *title)
{
	FILE *out = fopen(name, "w");
	int ret;

	if (!out) {
		say("%s: %s", name, strerror(errno));
		return -1;
	}
	ret = view_svg(v, title, out);
	if (fclose(out))
		ret = -1;
	if (ret)
		say("%s: cannot write the file", name);
	return ret;
}

static unsigned long long pages(uint64_t bytes)
{
	return bytes >> KCORE_PAGE_SHIFT;
}

static void print_pages(const char *what, const struct pttally *t)
{
	printf("%s ram=%llu by_1g=%llu by_2m=%llu by_4k=%llu unmapped=%llu\n", what,
	       pages(t->bytes[PT_1G] + t->bytes[PT_2M] + t->bytes[PT_4K] + t->bytes[PT_NONE]),
	       pages(t->bytes[PT_1G]), pages(t->bytes[PT_2M]), pages(t->bytes[PT_4K]),
	       pages(t->bytes[PT_NONE]));
}

static void print_counts(const struct kcore *kc, const struct ptdump *pt)
{
	uint64_t end = kc->ram[kc->nr_ram - 1].end;
	struct pttally t;
	char what[32];

	for (uint64_t at = 0; at < end; at += GIB) {
		ptdump_tally(pt, kc, at, at + GIB, &t);
		if (t.hole == GIB)
			continue;
		snprintf(what, sizeof(what), "gib=%llu", (unsigned long long)(at / GIB));
		print_pages(what, &t);
	}
	ptdump_tally(pt, kc, 0, end, &t);
	print_pages("gib=all", &t);
}

static int load(struct kcore *kc, struct ptdump *pt, const char *kcore_path, const char *pt_path)
{
	int fd = open(kcore_path, O_RDONLY | O_CLOEXEC);
	char why[160];
	int ret;

	if (fd < 0) {
		say("%s: %s", kcore_path, strerror(errno));
		return -1;
	}
	ret = kcore_parse(kc, fd, why, sizeof(why));
	close(fd);
	if (ret) {
		say("%s: %s", kcore_path, why);
		return -1;
	}
	if (!pt_path)
		pt_path = ptdump_file(kc);
	if (ptdump_load(pt, pt_path, kc, why, sizeof(why))) {
		say("%s: %s", pt_path, why);
		kcore_free(kc);
		return -1;
	}
	return 0;
}

static enum view_style best_style(void)
{
	const char *locale = getenv("LC_ALL");

	if (!locale || !*locale)
		locale = getenv("LC_CTYPE");
	if (!locale || !*locale)
		locale = getenv("LANG");
	if (!locale || (!strcasestr(locale, "UTF-8") && !strcasestr(locale, "utf8")))
		return VIEW_ASCII;
	return isatty(STDOUT_FILENO) ? VIEW_COLOR : VIEW_UTF8;
}

static int parse_style(const char *name, enum view_style *style)
{
	static const char *const names[] = {
		[VIEW_ASCII] = "ascii", [VIEW_UTF8] = "utf8", [VIEW_COLOR] = "color",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(name, names[i])) {
			*style = (enum view_style)i;
			return 0;
		}
	}
	return -1;
}

static int bad_usage(const char *what, const char *arg)
{
	return fail(STATUS_USAGE, "%s: %s", what, arg);
}

static int not_svg(const char *name)
{
	if (has_suffix(name, ".png"))
		return fail(STATUS_USAGE, "%s: guestmem map draws SVG only; name an .svg file, and "
			    "convert it with 'rsvg-convert -o %s FILE.svg'", name, name);
	return bad_usage("the name must end in .svg", name);
}

int cmd_map(int argc, char **argv)
{
	static const struct option options[] = {
		{ "title", required_argument, NULL, 'T' },
		{ "counts", no_argument, NULL, 'c' },
		{ "style", required_argument, NULL, 's' },
		{ "kcore", required_argument, NULL, 'k' },
		{ "page-tables", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	const char *kcore_path = "/proc/kcore", *pt_path = NULL;
	const char *title = "Direct map of the host kernel";
	enum view_style style = best_style();
	const char *file[8];
	size_t nr_files = 0;
	bool counts = false;
	struct ptdump pt;
	struct kcore kc;
	struct view v;
	int c, ret = 0;

	optind = 1;
	while ((c = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (c) {
		case 'o':
			if (!has_suffix(optarg, ".svg"))
				return not_svg(optarg);
			if (nr_files == sizeof(file) / sizeof(file[0]))
				return bad_usage("too many files to draw into", optarg);
			file[nr_files++] = optarg;
			break;
		case 'T':
			title = optarg;
			break;
		case 'c':
			counts = true;
			break;
		case 's':
			if (parse_style(optarg, &style))
				return bad_usage("unknown style", optarg);
			break;
		case 'k':
			kcore_path = optarg;
			break;
		case 't':
			pt_path = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc)
		return bad_usage("unexpected argument", argv[optind]);
	if (load(&kc, &pt, kcore_path, pt_path))
		return 1;
	view_init(&v, &kc, &pt);
	for (size_t i = 0; i < nr_files; i++)
		if (draw(file[i], &v, title))
			ret = 1;
	if (counts)
		print_counts(&kc, &pt);
	else if (!nr_files)
		view_print(&v, style, stdout);
	ptdump_free(&pt);
	kcore_free(&kc);
	return ret;
}
