# SPDX-License-Identifier: GPL-2.0-only
"""What the programs that compile the kernel print, as far as it is about lines and names of ours."""

import re
from typing import NamedTuple

WANTED = re.compile(r"(?:(CONFIG_[A-Za-z0-9_]+)=(.*)|# (CONFIG_[A-Za-z0-9_]+) is not set)")
WARNING = re.compile(r"[^ ]+: [Ww]arning: ")
CHECKED = re.compile(r"[^ ]+:[0-9]+:[0-9]+: (warning|error):")
ERROR = re.compile(r"error:|Error |\*\*\*")
FOLLOWS_ERROR = re.compile(r"scripts/Makefile.build|sub-make")
# Where objtool names a whole module.
KVM_MODULE = re.compile(r".*/kvm[a-z-]*\.o")
# Big-endian ppc64 has a dot before a function's code.
NM_LINE = re.compile(r"(?P<value>\S+ )? *(?P<kind>\S) \.?(?P<name>\S+)")


def options(lines):
    """{option: value} of lines of a configuration; of an option named twice the last counts."""
    found = {}
    for line in lines:
        if match := WANTED.match(line):
            found[match[1] or match[3]] = match[2] if match[1] else "n"
    return found


def config_lacks(wanted, config):
    """What the lines WANTED ask for and those of CONFIG have not."""
    have = options(config)
    return [f"{name} must be {value} but is {have.get(name, 'n')}"
            for name, value in options(wanted).items() if have.get(name, "n") != value]


def without_tree(tree, text):
    """TEXT without the path of the source before that of a file in it."""
    return re.sub(rf"({re.escape(str(tree))}|(\.\./)+src)/", "", text, count=1)


def file_first(tree, line):
    """LINE with the path in the source of the file that it begins with."""
    line = re.sub(rf"^({re.escape(str(tree))}|(\.\./)+src)/", "", line)
    return re.sub(r"^arch/.*/(\.\./)+virt/", "virt/", line)


class Ours(NamedTuple):
    """What a message must be about to count."""

    files: set
    # "file:line"
    lines: set

    def warnings(self, tree, log, in_our_lines):
        """The compiler's and objtool's: of a file of ours, or IN_OUR_LINES only of a line."""
        for line in sorted({file_first(tree, line) for line in log}):
            if not WARNING.match(line):
                continue
            file, _, rest = line.partition(":")
            if file.endswith(".o"):
                counts = f"{file[:-1]}c" in self.files or KVM_MODULE.fullmatch(file)
            elif in_our_lines:
                counts = f"{file}:{rest.partition(':')[0]}" in self.lines
            else:
                counts = file in self.files
            if counts:
                yield line

    def of_sparse(self, tree, log):
        """What sparse says of a line of ours."""
        return [line for line in sorted({file_first(tree, line) for line in log})
                if CHECKED.match(line) and ":".join(line.split(":")[:2]) in self.lines]


def errors(tree, log):
    """The first errors of a log of make."""
    found = [without_tree(tree, line) for line in log if ERROR.search(line)]
    return [line for line in found if not FOLLOWS_ERROR.search(line)][:15]


class Symbols:
    """What objects use and define, from the output of nm."""

    def __init__(self, lines):
        self.used, self.defined = set(), set()
        for line in lines:
            match = NM_LINE.fullmatch(line)
            if not match:
                continue
            if match["value"] and match["kind"] not in "Uu":
                self.defined.add(match["name"])
            elif not match["value"] and match["kind"] == "U":
                self.used.add(match["name"])

    def undefined(self, names):
        """Those of NAMES that are used and defined by none; EL2's objects have a prefix of their own."""
        used = {name.removeprefix("__kvm_nvhe_") for name in self.used}
        return [f"{name} is used and not defined" for name in sorted((used - self.defined) & names)]

    def not_exported(self, kvm, names):
        """Those of NAMES that the objects KVM use, and that others define and do not export."""
        return [f"{name} is used by KVM as a module and not exported"
                for name in sorted((kvm.used - kvm.defined) & names)
                if f"__export_symbol_{name}" not in self.defined]
