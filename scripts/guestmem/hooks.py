# SPDX-License-Identifier: GPL-2.0-only
"""What kernel/ holds: new files, each at its path in the kernel's source, and hooks, which are
patches of files that the source has."""

import os
import re
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from guestmem import command
from guestmem.project import TOP

HEAD_ENDS = re.compile(r"---$|diff --git |--- a/")
FILE = re.compile(r"\+\+\+ b/(\S*)")
HUNK = re.compile(r"@@ -\S+ \+([0-9]+)")
SERIES_LINE = re.compile(r"([^\s#]+)(\s*#\s*fixed$)?")
# What else is in kernel/.
NOT_NEW = ("hooks/", "configs/", "series/")
# What the kernel's build compiles into an image.
NOT_COMPILED = ("tools/", "scripts/", "samples/")
# Our arm64 hook declares it; x86 defines it in a file that kernel-arches does not compile.
NOT_OURS = ("nmi_uaccess_okay",)
NO_DECLARATION = re.compile(r"static|typedef|return")
DECLARATION = (re.compile(r"[a-z_][a-zA-Z0-9_ *]*[ *]([a-zA-Z0-9_]+)\("), re.compile(r"([a-z_][a-zA-Z0-9_]*)\("))
TRACEPOINT = re.compile(r"(?:DEFINE_EVENT\([a-z_]+, *|TRACE_EVENT\()([a-z_]+),")
TRACEPOINT_SYMBOLS = ("__tracepoint_", "__traceiter_", "__SCK__tp_func_", "__SCT__tp_func_")


def files_below(directory):
    """The paths of all regular files below DIRECTORY, from there, sorted."""
    return sorted(os.path.relpath(os.path.join(folder, name), directory)
                  for folder, _, names in os.walk(directory) for name in names
                  if not os.path.islink(os.path.join(folder, name)))


class Added(NamedTuple):
    """A line that a hook adds: to which file, as which line of it, and what it says."""

    file: str
    number: int
    text: str


class Hook(NamedTuple):
    """A patch of kernel/hooks/."""

    path: Path
    # It is kept as it is written ("PATCH # fixed" in the series): a change that could be sent
    # alone. A file that it touches may belong to another hook too.
    fixed: bool = False

    @property
    def name(self):
        return self.path.name

    def files(self):
        return [match[1] for line in command.lines_of(self.path) if (match := FILE.match(line))]

    def description(self):
        """The lines above the first file."""
        return list(takewhile(lambda line: not HEAD_ENDS.match(line), command.lines_of(self.path)))

    def added(self):
        file, number = None, 0
        for line in command.lines_of(self.path):
            if match := FILE.match(line):
                file = match[1]
            elif match := HUNK.match(line):
                number = int(match[1]) - 1
            elif file and line[:1] in ("+", " "):
                number += 1
                if line[0] == "+":
                    yield Added(file, number, line[1:])


class Kernel:
    """The folder kernel/."""

    def __init__(self, path=TOP / "kernel"):
        self.path = path
        self.series = path / "hooks/series"

    def hooks(self):
        """In the order of the series."""
        lines = command.lines_of(self.series) if self.series.exists() else []
        return [Hook(self.path / "hooks" / match[1], bool(match[2]))
                for line in lines if (match := SERIES_LINE.match(line))]

    def new_files(self):
        return [file for file in files_below(self.path)
                if not file.startswith(NOT_NEW) and file != "BASE"]

    def touched_files(self):
        """The new files, and those that hooks change."""
        return self.new_files() + [file for hook in self.hooks() for file in hook.files()]

    def touched_sources(self):
        """Those of them that are compiled for the kernel."""
        return sorted({file for file in self.touched_files()
                       if file.endswith(".c") and not file.startswith(NOT_COMPILED)})

    def added(self):
        """Each line that is ours: all of a new source file, and what hooks add to the others."""
        for file in self.new_files():
            if file.endswith((".c", ".h", ".S")):
                for number, line in enumerate(command.lines_of(self.path / file), 1):
                    yield Added(file, number, line)
        for hook in self.hooks():
            yield from hook.added()

    def names(self):
        """The symbols of what our lines declare in headers, and of our tracepoints."""
        found = set()
        for line in self.added():
            if line.file.startswith("include/trace/"):
                if match := TRACEPOINT.match(line.text):
                    found.update(symbol + match[1] for symbol in TRACEPOINT_SYMBOLS)
            elif line.file.endswith(".h") and not line.file.startswith(("tools/", "include/uapi/")):
                if not NO_DECLARATION.match(line.text):
                    match = DECLARATION[0].match(line.text) or DECLARATION[1].match(line.text)
                    found.update([match[1]] if match else [])
        return found.difference(NOT_OURS)
