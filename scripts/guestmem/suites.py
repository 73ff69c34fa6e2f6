# SPDX-License-Identifier: GPL-2.0-only
"""Suite files: which tests there are. scripts/test says what they hold."""

import glob
import os
import re
from fnmatch import fnmatchcase
from pathlib import Path

from guestmem import command
from guestmem.project import ARCHES

# The first is that of an entry that names none.
GROUPS = ("everyday", "more", "arm64")

HEADING = re.compile(r"\[(.*)\]")
SETTING = re.compile(r"(group|kernel|arch|emulator|cpu|cpus|mem|append|known|qemu|add|build|timeout|"
                     r"limit|skips|each)[ \t]*=[ \t]*(.*)")
RUN = re.compile(r"run((?:[ \t][^=]*)?)=[ \t]*(.*)")


class Entry:
    def __init__(self, name):
        self.name = name
        # (key, value) and (label, command), in the order of the file.
        self.settings = []
        self.commands = []

    def all(self, key):
        return [value for name, value in self.settings if name == key]

    def get(self, key, default=""):
        """The last value of KEY, or DEFAULT."""
        return (self.all(key) or [""])[-1] or default

    def group(self):
        return self.get("group", GROUPS[0])

    def wanted(self, patterns):
        return not patterns or any(fnmatchcase(self.name, pattern) or fnmatchcase(self.name, f"*/{pattern}")
                                   for pattern in patterns)

    def may_skip(self, text):
        allowed = self.all("skips")
        return not allowed or any(fnmatchcase(text, pattern) for pattern in allowed)

    def for_file(self, file):
        """A copy for FILE: its base name without suffix for every @, its path for every %."""
        base = os.path.splitext(os.path.basename(file))[0]

        def put(text):
            return text.replace("@", base).replace("%", file)

        entry = Entry(self.name.replace("@", base))
        entry.settings = [(key, put(value)) for key, value in self.settings]
        entry.commands = [(put(label), put(run)) for label, run in self.commands]
        return entry

    def expanded(self):
        """This entry, or one for every file that a pattern of "each" matches."""
        if not self.get("each"):
            return [self]
        files = []
        for pattern in self.get("each").split():
            matches = sorted(glob.glob(pattern))
            if not matches:
                command.die(f"{self.name}: no file matches {pattern}")
            files += matches
        return [self.for_file(file) for file in files]


def read_file(path):
    """The entries of a file, before "each" is expanded."""
    entries = []
    for line in command.lines_of(path):
        if line == "" or line.startswith("#"):
            continue
        if match := HEADING.fullmatch(line):
            entries.append(Entry(match[1]))
        elif entries and (match := SETTING.fullmatch(line)):
            entries[-1].settings.append((match[1], match[2]))
        elif entries and (match := RUN.fullmatch(line)):
            label = "".join(match[1].split())
            name = entries[-1].name
            entries[-1].commands.append((f"{name}:{label}" if label else name, match[2]))
        else:
            command.die(f"{path}: cannot read '{line}'")
    return entries


def read(directory):
    """All entries of the suite files in DIRECTORY, in order, whatever their groups."""
    paths = sorted(Path(directory).glob("*.cfg"))
    if not paths:
        command.die(f"no suite file in {directory}")
    entries = {}
    for path in paths:
        for template in read_file(path):
            for entry in template.expanded():
                if entry.group() not in GROUPS:
                    command.die(f"{path}: [{entry.name}]: no group is called {entry.group()}")
                if entry.get("arch", "x86") not in ARCHES:
                    command.die(f"{path}: [{entry.name}]: arch is x86 or arm64, not '{entry.get('arch')}'")
                if not entry.commands:
                    command.die(f"{path}: [{entry.name}] runs nothing")
                if entry.name in entries:
                    command.die(f"{path}: [{entry.name}] appears twice")
                entries[entry.name] = entry
    return list(entries.values())
