# SPDX-License-Identifier: GPL-2.0-only
"""The plots of the benchmark's results, as commands for gnuplot."""

BACKINGS = ("plain", "hidden", "hidden-0", "secret", "shmem", "thp", "huge")
PAGE_COSTS = ("populate-touch", "populate-fallocate", "populate-guest", "teardown-close",
              "teardown-hole")
STYLE = """\
set terminal svg size 900,480 font 'sans,13' background 'white'
set datafile missing '?'
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9
set boxwidth 0.95
set grid ytics
set key outside right top
set bmargin 4
set linetype 1 lc rgb '#7f7f7f'
set linetype 2 lc rgb '#1f77b4'
set linetype 3 lc rgb '#d62728'
set linetype 4 lc rgb '#ff7f0e'
set linetype 5 lc rgb '#2ca02c'
set linetype 6 lc rgb '#9467bd'
set linetype 7 lc rgb '#8c564b'
"""
BARS = "plot for [i=2:8] $table using i:xtic(1) title columnhead(i)\n"


def table(name, rows, head=None):
    """A data block: each row is a label and numbers, of which None is missing."""
    def word(value):
        return "?" if value is None else value if isinstance(value, str) else f"{value:.10g}"

    lines = [head] if head else []
    lines += [" ".join(word(cell) for cell in row) for row in rows]
    return "".join(f"{line}\n" for line in [f"${name} << END", *lines, "END"])


def bars(results, rows):
    """A group of bars for each row, which is a label, a figure, a parameter and a unit."""
    medians = ((label, *(results.median(figure, backing, parameter, unit) for backing in BACKINGS))
               for label, figure, parameter, unit in rows)
    return table("table", medians, f"- {' '.join(BACKINGS)}")


def two_lines(figure):
    return '"' + figure.replace("-", "\\n", 1) + '"'


def page(results):
    rows = [(two_lines(figure), figure, "busy=0", "ns") for figure in PAGE_COSTS]
    return bars(results, rows) + """\
set title 'A page of guest memory (emulated host, medians of one boot)'
set logscale y; set ylabel 'ns, logarithmic'
""" + BARS


def instructions(results):
    # A guest's touch was not counted.
    rows = [(two_lines(figure), figure, "busy=0", "instructions")
            for figure in PAGE_COSTS if figure != "populate-guest"]
    return bars(results, rows) + """\
set title 'Instructions for a page, counted exactly, one CPU'
set yrange [0:*]; set ylabel 'instructions'
""" + BARS


def busy(results):
    rows = [(cpus, "populate-touch", f"busy={cpus}", "ns") for cpus in "013"]
    return bars(results, rows) + """\
set title 'A page touched first, while other CPUs are busy in the kernel (host of 4)'
set logscale y; set ylabel 'ns, logarithmic'; set xlabel 'busy CPUs'
""" + BARS


def direct_map(results):
    rows = []
    for backing in "hidden", "hidden-0":
        for when in "before", "after":
            pages = [results.median(f"map-{what}", backing, when, "pages")
                     for what in ("1g", "2m", "4k", "none")]
            if any(number is not None for number in pages):
                rows.append((f'"{backing}\\n{when}"', *((number or 0) / 256 for number in pages)))
    return table("table", rows) + """\
set title 'RAM by what maps it in the direct map, before and after many VMs'
set style histogram rowstacked; set yrange [0:*]; set ylabel 'MiB'
plot $table using 2:xtic(1) title '1 GiB' lc rgb '#2ca02c', \\
	'' using 3 title '2 MiB' lc rgb '#1f77b4', \\
	'' using 4 title '4 KiB' lc rgb '#ff7f0e', '' using 5 title 'nothing' lc rgb '#000000'
"""


def growth(results):
    panels = (("size", "MiB"), ("vcpus", "vCPUs"), ("vms", "VMs at once"))
    tables, plots = "", ""
    for name, label in panels:
        figure = f"growth-{name}"
        # As measured, each once.
        parameters = dict.fromkeys(key.parameter for key in results.keys() if key.figure == figure)
        rows = ((parameter.rpartition("=")[2], *(results.median(figure, backing, parameter, "ms")
                                                 for backing in ("plain", "hidden")))
                for parameter in parameters)
        tables += table(name, rows, "- plain hidden")
        plots += (f"set xlabel '{label}'\n"
                  f"plot for [i=2:3] ${name} using 1:i title columnhead(i) pt 7 lw 2\n")
    return tables + """\
set multiplot layout 1,3 title "Growth (emulated host)"
set style data linespoints; set logscale x 2; set logscale y
set key inside left top; set ylabel "ms"
""" + plots + "unset multiplot\n"


PLOTS = {"page": page, "instructions": instructions, "busy": busy, "direct-map": direct_map,
         "growth": growth}


def commands(name, results, file):
    """What gnuplot has to do to draw the plot NAME into the SVG file."""
    return f"{STYLE}set output '{file}'\n{PLOTS[name](results)}"
