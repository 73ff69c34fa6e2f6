# SPDX-License-Identifier: GPL-2.0-only
"""What the demo prints of its numbers: sentences while it runs, and the table at its end."""

from guestmem import demo_numbers

ROWS = (
    ("vCPUs", "cpus"),
    ("  of these ran and read their clock", "ran"),
    ("clocksource", "clock"),
    ("times a clock was behind another", "backwards"),
    ("boot to user space, s", "boot"),
    ("while the guest runs", None),
    ("  its pages with the secret", "secret"),
    ("  pages where the host finds it", "found"),
    ("  pages of RAM the host cannot read", "unreadable"),
    ("  pages missing in the kernel's page tables", "unmapped"),
    ("    of these in no file, but in the pool", "pool"),
    ("  pages in its file", "populated"),
    ("    hidden", "hidden"),
    ("    direct-map referenced", "referenced"),
    ("    taken from the host by pKVM", "donated"),
    ("    for the guest alone (of the file's size)", "level-none"),
    ("    for the guest and the VMM (the same)", "level-user"),
    ("  pages readable by stale TLB entries", "stale"),
    ("  its pages in mappings of the VMM", "vmm_guest_pages"),
    ("    of these in the VMM's page tables", "vmm_guest_rss_pages"),
    ("  pages where /proc/PID/mem of the VMM shows it", "vmm_found_pages"),
    ("after the guest is gone", None),
    ("  its pages were intact", "intact"),
    ("  pages where the host finds the secret", "found_gone"),
    ("  pages still missing in the page tables", "unmapped_gone"),
    ("    of these in the pool, for the next guest", "pool_gone"),
    ("after the pool was emptied", None),
    ("  pages where the host finds the secret", "found_emptied"),
    ("  pages still missing in the page tables", "unmapped_emptied"),
    ("cost from its start until the secret was written", None),
    ("  2 MiB mappings split", "direct_map_level2_splits"),
    ("  1 GiB mappings split", "direct_map_level3_splits"),
    # Not every kernel counts these.
    ("  TLB flushes: asked of other CPUs", "nr_tlb_remote_flush"),
    ("               received", "nr_tlb_remote_flush_received"),
    ("               local, everything", "nr_tlb_local_flush_all"),
    ("               local, one page", "nr_tlb_local_flush_one"),
)
LENDING = (
    ("  O_DIRECT write from it", "write"),
    ("  O_DIRECT read into it", "read"),
    ("  pages where the host finds the secret", "found"),
    ("  pages of the file that are intact", "intact"),
)
# The longest name of a clock has to fit.
WIDTH = {"x86": 12, "arm64": 18}


def shown(value):
    return "?" if value is None else str(value)


def sentence(observations, key):
    """What there is to say when the text of KEY is complete, None if it is nothing."""
    kind, stage, what = key
    if (stage, what) == ("running", "console"):
        guest = demo_numbers.of_console(observations, kind)
        return (f"  up: {shown(guest['cpus'])} vCPUs, clocksource {shown(guest['clock'])}, "
                f"{shown(guest['secret'])} pages with the secret")
    if what == "scan":
        scan = demo_numbers.scan(observations, kind, stage)
        return (f"  scanned {shown(scan['ram_pages'])} pages of RAM in {shown(scan['seconds'])} s: "
                f"the secret is on {shown(scan['found_pages'])}, "
                f"{shown(scan['unreadable_pages'])} could not be read")
    if what == "process":
        guest = demo_numbers.of_guest(observations, kind)
        return (f"  looked at all of the VMM's process: {shown(guest['vmm_guest_pages'])} pages of "
                f"guest memory, the secret is on {shown(guest['vmm_found_pages'])}")
    if (stage, what) == ("gone", "console"):
        guest = demo_numbers.of_console(observations, kind)
        return (f"  gone: all {shown(guest['intact'])} pages were intact, "
                f"clocks went backwards {shown(guest['backwards'])} times")
    if (stage, what) == ("emptied", "pool"):
        pages = demo_numbers.pool_pages(observations, kind, "gone")
        return f"  emptied the pool, which had {shown(pages)} pages"
    return None


def row(title, cells, width):
    return f"{title:48}" + "".join(f"{shown(cell):>{width}}" for cell in cells)


def table(observations, guests, arch):
    """GUESTS: the numbers of each guest by its kind of memory."""
    width = WIDTH[arch]
    counts_flushes = any(line.startswith("nr_tlb_") for kind in guests
                         for line in observations.text(kind, "running", "vmstat") or [])
    lines = ["", row("guest memory", guests, width)]
    for title, name in ROWS:
        if name is None:
            lines.append(title)
        elif name == "boot":
            times = (guest["boot_ms"] for guest in guests.values())
            lines.append(row(title, (f"{ms / 1000:.1f}" if ms else None for ms in times), width))
        elif counts_flushes or not name.startswith("nr_tlb_"):
            lines.append(row(title, (guest[name] for guest in guests.values()), width))
    return lines + [""] + about_pool(observations) + about_references(observations, guests)


def about_pool(observations):
    marks = observations.text("host", "start", "pool-marks")
    if not marks:
        return []
    return [f"The pool: of what hidden guests leave, the kernel keeps some blocks "
            f"(guest_memfd.pool is {marks[0]}:",
            "low and high watermark of each node). They are cleared, and stay hidden until the "
            "next such guest",
            "takes them, or until the kernel needs memory. The guests of this table began with an "
            "empty pool.", ""]


def about_references(observations, guests):
    lines = []
    for kind in guests:
        pages = demo_numbers.references(observations, kind)
        if not pages:
            continue
        lines.append(f"Pages with a direct-map reference while the guest on {kind} memory ran:")
        for pfn, count in pages:
            how = "WITH" if demo_numbers.has_secret(observations, kind, pfn) else "without"
            lines.append(f"  pfn {pfn}, by {count} clocks, {how} the secret")
        lines.append("")
    return lines


def lending_table(stages, arch):
    """STAGES: the numbers of each stage."""
    width = WIDTH[arch]
    lines = [row("a part of hidden memory, lent to the kernel", ("before", "lent", "taken back"),
                 width)]
    for title, name in LENDING:
        lines.append(row(title, (stage[name] for stage in stages.values()), width))
    return lines + [""]
