# SPDX-License-Identifier: GPL-2.0-only
"""What the demo's numbers must be for a verdict, and the verdict."""

from guestmem.demo_numbers import HIDDEN, LENDING, minus, total
from guestmem.demo_table import shown

CPUS = 4
MEM_PAGES = 65536
SECRET_PAGES = 16384
# Of the memory that is lent: the pages with the secret, and all of its file.
LENT_PAGES = 1024
LENDING_PAGES = 4096
# The clock that the guest chooses. On arm64 it is a register of each CPU, on x86 a page that KVM
# writes, which needs a direct-map reference.
CLOCK = {"x86": "kvm-clock", "arm64": "arch_sys_counter"}


class Expectations:
    """What does not hold, a line each. What was not measured is no number, and never holds."""

    def __init__(self):
        self.failures = []

    def expect(self, subject, what, holds, value, wanted):
        if not holds:
            self.failures.append(f"NOT SO: {subject}: {what} ({shown(value)}, not {wanted})")

    def same(self, subject, what, value, wanted):
        self.expect(subject, what, value is not None and value == wanted, value, shown(wanted))

    def least(self, subject, what, value, bound):
        holds = isinstance(value, int) and isinstance(bound, int) and value >= bound
        self.expect(subject, what, holds, value, f"at least {shown(bound)}")

    def most(self, subject, what, value, bound):
        holds = isinstance(value, int) and isinstance(bound, int) and value <= bound
        self.expect(subject, what, holds, value, f"at most {shown(bound)}")


def judge_every(e, kind, guest, arch):
    e.same(kind, "all vCPUs are there", guest["cpus"], CPUS)
    e.same(kind, "all vCPUs ran", guest["ran"], CPUS)
    e.same(kind, f"the clock is {CLOCK[arch]}", guest["clock"], CLOCK[arch])
    e.same(kind, "no clock was behind another", guest["backwards"], 0)
    e.same(kind, "the guest kept its pages", guest["intact"], SECRET_PAGES)
    e.same(kind, "no page is readable by a stale TLB entry", guest["stale"], 0)
    e.same(kind, "the direct map lacks what the pool has, and no more",
           guest["unmapped_gone"], guest["pool_gone"])


def judge_hidden(e, kind, guest, listed, arch):
    """LISTED: how many pages had a direct-map reference by the trace."""
    e.same(kind, "the host finds the secret nowhere", guest["found"], 0)
    e.same(kind, "nor after the guest is gone", guest["found_gone"], 0)
    e.same(kind, "nor after the pool was emptied", guest["found_emptied"], 0)
    e.same(kind, "the direct map is whole again", guest["unmapped_emptied"], 0)
    unmapped = minus(guest["unmapped"], guest["pool"])
    e.least(kind, "the pages are not in the page tables", unmapped, SECRET_PAGES)
    e.most(kind, "the counters say the same", guest["hidden_before"], unmapped)
    e.least(kind, "the counters say the same", guest["hidden"], unmapped)
    e.most(kind, "every page of the file is hidden or has a direct-map reference",
           guest["populated"], total(guest["hidden"], guest["referenced"]))
    e.same(kind, "the referenced pages are listed", listed, guest["referenced"])
    if arch == "x86":
        e.least(kind, "the clocks have references", guest["referenced"], 1)
    else:
        e.same(kind, "no page is referenced", guest["referenced"], 0)
    e.same(kind, "the VMM's process does not show the secret", guest["vmm_found_pages"], 0)


def judge_visible(e, kind, guest):
    """The control: a scan that does not find these pages says nothing about others."""
    e.least(kind, "the VMM's process shows every page", guest["vmm_found_pages"], SECRET_PAGES)
    e.least(kind, "the host finds every page", guest["found"], SECRET_PAGES)
    e.same(kind, "nothing is hidden", guest["unmapped"], 0)


def judge_access(e, kind, guest):
    """What the VMM may reach: of a protected guest its bounce buffers, which it shares."""
    if kind not in ("sealed", "protected"):
        e.least(kind, "the VMM has all of it mapped", guest["vmm_guest_pages"], MEM_PAGES)
        return
    e.same(kind, "the VMM has no mapping of it", guest["vmm_guest_pages"], 0)
    e.same(kind, "all of it is for the guest alone, but for what it shares",
           total(guest["level-none"], guest["level-user"]), MEM_PAGES)
    e.same(kind, "the VMM may reach what the guest shares", guest["level-user"],
           guest["shared"] if kind == "protected" else 0)


def judge_guest(e, kind, guest, listed, arch):
    judge_every(e, kind, guest, arch)
    if kind in HIDDEN:
        judge_hidden(e, kind, guest, listed, arch)
    else:
        judge_visible(e, kind, guest)
    judge_access(e, kind, guest)
    if kind == "protected":
        e.least(kind, "the guest was given its pages", guest["donated"], SECRET_PAGES)


def judge_lending(e, stages):
    for stage in LENDING:
        numbers, lent = stages[stage], stage == "kernel"
        subject = f"lending, {stage}"
        e.same(subject, "O_DIRECT from there", numbers["write"], "ok" if lent else "EFAULT")
        e.same(subject, "the host finds what is lent", numbers["found"], LENT_PAGES if lent else 0)
        e.same(subject, "all pages are intact", numbers["intact"], LENDING_PAGES)
    e.same("lending", "O_DIRECT into there", stages["kernel"]["read"], "ok")


def verdict(kinds, failures, status):
    """The last words, and the exit status. STATUS is that of the emulated host's run."""
    if status:
        return [f"NOT PROVEN: the run of the emulated host ended with status {status}, not 0,",
                "so what it printed proves nothing."], status
    if failures:
        return [f"NOT PROVEN: {len(failures)} expectations do not hold, see above."], 1
    if "plain" not in kinds or "hidden" not in kinds:
        return ["As expected; but it takes plain and hidden memory in one run to prove "
                "anything."], 0
    lines = ["PROVEN: the host's kernel reaches every page of a guest on plain memory and no page "
             "of a",
             "guest on hidden memory, neither while it runs nor after it."]
    if "sealed" in kinds:
        lines.append("Of a guest on sealed memory the VMM reaches none either.")
    if "protected" in kinds:
        lines.append("Of a protected guest pKVM has taken the pages from the host as well.")
    if "qemu" in kinds:
        lines.append("The guest of Debian's QEMU, unmodified, is hidden by a mount and one "
                     "-object.")
    return lines, 0
