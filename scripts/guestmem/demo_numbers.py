# SPDX-License-Identifier: GPL-2.0-only
"""What demo/demo-host.sh prints in the emulated host, and the numbers in it.

The script prints what a program or the kernel says as lines "@ SUBJECT STAGE WHAT TEXT", and
"@ SUBJECT STAGE WHAT" after the last of them. SUBJECT is a kind of guest memory, "lend" or "host".
"@ end" is the script's last line.
"""

import re

LINE = re.compile(r"@ (\S+) (\S+) (\S+)(?: (.*))?", re.DOTALL)
END = "@ end"

# Kinds of memory that the host must not reach.
HIDDEN = "hidden", "sealed", "protected", "qemu"
# Of /proc/vmstat; not every kernel has those of TLB flushes.
COUNTERS = ("direct_map_level2_splits", "direct_map_level3_splits", "nr_tlb_remote_flush",
            "nr_tlb_remote_flush_received", "nr_tlb_local_flush_all", "nr_tlb_local_flush_one")
# The stages of tests/host/lend.c.
LENDING = "user", "kernel", "user-again"


class Observations:
    """The texts, by subject, stage and what they are."""

    def __init__(self):
        self.texts = {}
        # How often each text came to its end.
        self.ends = {}
        self.complete = False

    def add(self, line):
        """Take a line. Returns None if it is for the user, "" if it is a part of a text, and the
        key of the text if it ends one."""
        if line == END:
            self.complete = True
            return ""
        match = LINE.fullmatch(line)
        if not match:
            return None
        *key, text = match.groups()
        key = tuple(key)
        if text is not None:
            self.texts.setdefault(key, []).append(text.removesuffix("\r"))
            return ""
        self.ends[key] = self.ends.get(key, 0) + 1
        return key

    def text(self, *key):
        """The lines of a text; None if it is not there as a whole, or there twice."""
        return self.texts.get(key, []) if self.ends.get(key) == 1 else None

    def field(self, key, pattern, absent=None):
        """What the group of PATTERN is in the one line of a text that has it; ABSENT if the text is
        there and no line has it."""
        lines = self.text(*key)
        if lines is None:
            return None
        found = [match[1] for match in (re.search(pattern, line) for line in lines) if match]
        if not found:
            return absent
        return found[0] if len(found) == 1 else None

    def number(self, key, pattern, absent=None):
        """The same as a number."""
        value = self.field(key, pattern, absent)
        return int(value) if value is not None and re.fullmatch("[0-9]+", value) else value


def total(*values):
    """The sum; None if one of the values was not measured."""
    return sum(values) if all(isinstance(value, int) for value in values) else None


def minus(value, other):
    return value - other if isinstance(value, int) and isinstance(other, int) else None


def pool_pages(observations, kind, stage):
    """Pages that the kernel keeps hidden for files to come; a kernel without a pool has none."""
    lines = observations.text(kind, stage, "pool")
    if lines is None:
        return None
    pages = 0
    for line in lines:
        if match := re.fullmatch("(blocks|single) ([0-9]+)", line):
            pages += int(match[2]) * (512 if match[1] == "blocks" else 1)
    return pages


def scan(observations, kind, stage):
    """The numbers of "guestmem scan"."""
    key = (kind, stage, "scan")
    keys = ("found_pages", "unreadable_pages", "stale_pages", "ram_pages")
    numbers = {name: observations.number(key, f"^{name}=([0-9]+)$") for name in keys}
    return numbers | {"seconds": observations.field(key, r"^seconds=([0-9.]+)$")}


def references(observations, kind):
    """The pages that had a direct-map reference at last, by the trace: (frame number, count)."""
    lines = observations.text(kind, "running", "references")
    if lines is None:
        return None
    now = {}
    for line in lines:
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "pfn" in words and "count" in words:
            now[words["pfn"]] = int(words["count"])
    return sorted((pfn, count) for pfn, count in now.items() if count > 0)


def has_secret(observations, kind, pfn):
    """Did the scan find the secret on the page while the guest ran?"""
    lines = observations.text(kind, "running", "scan") or []
    return any(line.startswith(f"pfn={pfn} ") for line in lines)


def of_console(observations, kind):
    """What the guest itself said."""
    up, gone = (kind, "running", "console"), (kind, "gone", "console")
    return {
        "cpus": observations.number(up, "payload: cpus=([0-9]+) "),
        "clock": observations.field(up, "payload: cpus=.* clocksource=([a-z_-]+)"),
        "secret": observations.number(up, "payload: secret_pages=([0-9]+) "),
        "ran": observations.number(gone, "payload: ran=([0-9]+) "),
        "backwards": observations.number(gone, "payload: ran=.* backwards=([0-9]+) "),
        "intact": observations.number(gone, "payload: ran=.* intact=([0-9]+)"),
        "boot_ms": observations.number((kind, "gone", "vmm"), "^(?:guestmem: )?mark-ms=([0-9]+)"),
    }


def of_file(observations, kind):
    """What the guest's file says of itself; plain memory has none, which shows as "-"."""
    names = "populated", "hidden", "referenced", "donated", "shared", "level-none", "level-user"

    def shown(what, name):
        pattern = rf"^guest_memfd-{name}:\s*([0-9]+)$"
        return observations.number((kind, "running", what), pattern, "-")

    numbers = {name: shown("fdinfo", name) for name in names}
    return numbers | {"hidden_before": shown("fdinfo-before", "hidden")}


def of_page_tables(observations, kind, emptied):
    """Pages that the kernel's page tables lack since the guest began, and those of the pool."""
    def lacking(stage):
        return observations.number((kind, stage, "map"), "^gib=all .* unmapped=([0-9]+)$")

    before = minus(lacking("before"), pool_pages(observations, kind, "before"))
    return {
        "unmapped": minus(lacking("running"), before),
        "pool": pool_pages(observations, kind, "running"),
        "unmapped_gone": minus(lacking("gone"), before),
        "pool_gone": pool_pages(observations, kind, "gone"),
        "unmapped_emptied": minus(lacking("emptied"), before) if emptied else "-",
    }


def of_vmstat(observations, kind):
    """What the guest cost from its start until its secret was written."""
    numbers = {}
    for name in COUNTERS:
        before, after = (observations.number((kind, stage, "vmstat"), f"^{name} ([0-9]+)$")
                         for stage in ("before", "running"))
        numbers[name] = minus(after, before)
    return numbers


def of_guest(observations, kind):
    """All numbers of the guest on one kind of memory, by name; None is what was not measured."""
    emptied = kind in HIDDEN
    running, gone = (scan(observations, kind, stage) for stage in ("running", "gone"))
    numbers = {
        "found": running["found_pages"],
        "unreadable": running["unreadable_pages"],
        "stale": running["stale_pages"],
        "found_gone": gone["found_pages"],
        "found_emptied": scan(observations, kind, "emptied")["found_pages"] if emptied else "-",
    }
    process = (kind, "running", "process")
    for name in "guest_pages", "guest_rss_pages", "found_pages":
        numbers[f"vmm_{name}"] = observations.number(process, f"^{name}=([0-9]+)$")
    for part in of_console, of_file, of_vmstat:
        numbers |= part(observations, kind)
    return numbers | of_page_tables(observations, kind, emptied)


def of_lending(observations, stage):
    """What lend could do with its memory, and what the host found of it."""
    text = ("lend", stage, "lend")
    return {
        "write": observations.field(text, f"^lend: at={stage} .*write=([A-Za-z0-9]+)"),
        "read": observations.field(text, f"^lend: at={stage} .*read=([A-Za-z0-9]+)"),
        "intact": observations.number(text, f"^lend: at={stage} .*intact=([0-9]+)"),
        "found": scan(observations, "lend", stage)["found_pages"],
    }
