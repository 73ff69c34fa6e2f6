# SPDX-License-Identifier: GPL-2.0-only
"""What bench/report prints, each part as a list of lines."""

import math
import re
from statistics import StatisticsError, linear_regression

from guestmem.project import TOP
from guestmem.results import number

# How the tables are titled: the first row whose pattern matches the figure, and whose unit is None
# or the figure's.
GROUPS = (
    ("cycle", "ns", "Populate and free, against huge pages, by time (ns a page)"),
    ("cycle", None, "Populate and free, against huge pages, by instructions (exact, one CPU)"),
    ("lives", None, "VMs that follow one another"),
    ("holes", None, "A small host after VMs with holes"),
    ("broken", None, "1 GiB mappings of the direct map"),
    ("populate|clear|teardown", "ns", "A page, by time (ns a page)"),
    ("populate|clear|teardown", None, "A page, by instructions (exact, one CPU)"),
    ("", "per-GiB", "TLB flushes, splits of the direct map and user faults, per GiB"),
    ("guest-", None, "A guest's memory as it sees it"),
    ("nested", None, "Nested round trips"),
    ("clock", "instructions", "Direct-map references by kvm-clock, instructions"),
    ("clock", None, "Direct-map references by kvm-clock"),
    ("translate", None, "KVM's own reads of guest memory"),
    ("memory", None, "Memory of the host beyond the guest's"),
    ("map|vms", None, "The direct map before and after many VMs"),
    ("slot", "ns", "Populate by KVM through a memslot, by time (ns a page)"),
    ("slot", None, "Populate by KVM through a memslot, by instructions (exact, one CPU)"),
    ("migrate", None, "Live migration of a VM of QEMU"),
    ("boot", None, "Boot of a Linux guest to user space"),
    ("", None, "Growth"),
)
PEERS = ("plain", "thp", "huge", "tmpfs")


def row(*cells):
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def limits(all_limits):
    lines = ["| figure | at most | measured | |", "|---|---|---|---|"]
    for limit in all_limits:
        verdict = "**NOT met**" if limit.verdict == "NOT met" else limit.verdict
        lines.append(row(limit.title, limit.wanted, limit.shown, verdict))
    verdicts = [limit.verdict for limit in all_limits]
    return lines + ["", f"{verdicts.count('met')} limits met, {verdicts.count('NOT met')} NOT met, "
                        f"{verdicts.count('-')} not measured."]


def tap(all_limits):
    """The exact limits as test results."""
    exact = [limit for limit in all_limits if limit.kind == "exact"]
    lines = []
    for nr, limit in enumerate(exact, 1):
        ok = "ok" if limit.verdict == "met" else "not ok"
        lines.append(f"{ok} {nr} - {limit.title}: {limit.shown}, at most {limit.wanted}")
    return lines + [f"1..{len(exact)}"]


def slopes(results):
    """The slope of log(cost) over log(parameter) by least squares: 1 is proportional."""
    lines = ["| cost | backing | from | to | slope of its logarithm |", "|---|---|---|---|---|"]
    costs = {}
    for key in results.keys():
        if key.figure.startswith("growth-"):
            costs.setdefault((key.figure, key.backing), []).append(key)
    for (figure, backing), keys in costs.items():
        points = [(key, results.median(*key)) for key in keys]
        points = [(key, cost) for key, cost in points if cost > 0]
        if len(points) < 2:
            continue
        try:
            x = [math.log(float(key.parameter.rpartition("=")[2])) for key, _ in points]
            slope = linear_regression(x, [math.log(cost) for _, cost in points]).slope
        except (ValueError, StatisticsError):
            # A parameter that is no number above 0, or the same one for all.
            slope = math.nan
        first, last = (f"{key.parameter}: {number(cost)} {key.unit}" for key, cost in (points[0], points[-1]))
        lines.append(row(figure, backing, first, last, f"{slope:.2f}"))
    return lines


def group_of(key):
    return next(title for figure, unit, title in GROUPS
                if re.match(figure, key.figure) and unit in (None, key.unit))


def to_peer(results, key, peer):
    ratio = None if key.backing == peer else results.ratio(key, key._replace(backing=peer))
    return "" if ratio is None else number(ratio)


def tables(results):
    """All results, a table for each group; a blank line is before each."""
    groups = {}
    for key in results.keys():
        groups.setdefault(group_of(key), []).append(key)
    lines = []
    for title, keys in groups.items():
        lines += ["", f"### {title}", "",
                  row("figure", "parameter", "backing", "median", "min", "max", "n", "unit",
                      *(f": {peer}" for peer in PEERS)), "|" + "---|" * (8 + len(PEERS))]
        for key in keys:
            values = results.all(key)
            lines.append(row(key.figure, key.parameter, key.backing, number(results.median(*key)),
                             number(values[0]), number(values[-1]), len(values), key.unit,
                             *(to_peer(results, key, peer) for peer in PEERS)))
    return lines


def data(results):
    """A line "FIGURE BACKING PARAMETER UNIT MEDIAN MIN MAX N" for each figure."""
    lines = []
    for key in results.keys():
        values = results.all(key)
        numbers = (f"{value:.10g}" for value in (results.median(*key), values[0], values[-1]))
        lines.append(" ".join((*key, *numbers, str(len(values)))))
    return lines


def summary(arch, results, all_limits):
    """What a run says at its end."""
    return limits(all_limits) + (slopes(results) if arch == "x86" else [])


def document(arch, results, all_limits):
    """docs/benchmarks.md or docs/benchmarks-arm64.md, from its template in bench/."""
    name = "benchmarks-arm64.md.in" if arch == "arm64" else "benchmarks.md.in"
    parts = {"@LIMITS@": limits(all_limits), "@SLOPES@": slopes(results),
             "@TABLES@": tables(results), "@NOTES@": results.notes}
    lines = []
    for line in (TOP / "bench" / name).read_text(encoding="utf-8").splitlines():
        lines += parts.get(line, [line])
    return lines
