# SPDX-License-Identifier: GPL-2.0-only
"""kernel/ as a series of patches: which patch has which lines of the difference (docs/series.md)."""

import fnmatch
import functools
import os
import re
import subprocess
import textwrap


class Wrong(Exception):
    """The series cannot be made of what kernel/ has; the message says why."""


def read(path):
    with open(path, encoding='utf-8', errors='surrogateescape', newline='') as file:
        return file.read()


def lines_of(path):
    """The lines of a file with their ends; none if there is no such file."""
    return re.findall(r'[^\n]*\n|[^\n]+', read(path)) if os.path.exists(path) else []


class Change:
    """Lines that a file loses and gains at one place, and which patch has each of them."""

    def __init__(self, path, at, old, new, where=''):
        self.path, self.at, self.old, self.new, self.where = path, at, old, new, where
        self.owners = [None] * (len(old) + len(new))

    def lines(self):
        return self.old + self.new

    def name(self, index=0):
        line = next((x for x in self.lines()[index:] if x.strip()), '')
        return f'{self.path}:{self.at + 1}: {line.strip()}'

    def take(self, index, patch):
        if self.owners[index] not in (None, patch):
            raise Wrong(f'{self.name(index)}\n    is in two patches, {self.owners[index].name} and {patch.name}')
        self.owners[index] = patch


class File:
    """A file that kernel/ adds or changes."""

    def __init__(self, path, pristine, target):
        self.path = path
        self.old = lines_of(os.path.join(pristine, path))
        self.added = not os.path.exists(os.path.join(pristine, path))
        self.mode = os.stat(os.path.join(target, path)).st_mode & 0o777
        new = lines_of(os.path.join(target, path))
        self.changes = self.paragraphs(new) if self.added else self.hunks(pristine, target)

    def paragraphs(self, new):
        starts = [0] + [n for n in range(1, len(new) - 1) if new[n] == '\n' and new[n + 1][0] not in ' \t\n']
        return [Change(self.path, 0, [], new[a:b]) for a, b in zip(starts, starts[1:] + [len(new)])]

    def hunks(self, pristine, target):
        done = subprocess.run(['diff', '-U0', '-p', *(os.path.join(d, self.path) for d in (pristine, target))],
                              capture_output=True, text=True, errors='surrogateescape', check=False)
        changes = []
        for line in re.findall(r'[^\n]*\n', done.stdout)[2:]:
            head = re.match(r'@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@ ?(.*)', line)
            if head:
                at = int(head[1]) - (0 if head[2] == '0' else 1)
                changes.append(Change(self.path, at, [], [], head[3]))
            elif line[0] == '-':
                changes[-1].old.append(line[1:])
            elif line[0] == '+':
                changes[-1].new.append(line[1:])
        for change in changes:
            change.owners = [None] * len(change.lines())
        return changes

    @functools.cached_property
    def numbers(self):
        """The patches that change the file."""
        return sorted({owner.number for change in self.changes for owner in change.owners})

    def after(self, number):
        """The lines of the file after patch NUMBER; None if it does not exist yet."""
        return self.at(max((n for n in self.numbers if n <= number), default=0))

    def text(self, number):
        """The same, as one string."""
        lines = self.after(number)
        return None if lines is None else self.joined(max((n for n in self.numbers if n <= number), default=0))

    @functools.cache
    def joined(self, number):
        return ''.join(self.at(number))

    @functools.cache
    def at(self, number):
        """The lines after NUMBER, which is one of self.numbers, or 0."""
        text, at, exists = [], 0, not self.added
        for change in self.changes:
            text += self.old[at:change.at]
            at = change.at + len(change.old)
            for line, owner, lost in zip(change.lines(), change.owners, [True] * len(change.old) + [False] * len(change.new)):
                exists |= owner.number <= number
                if (owner.number <= number) != lost:
                    text.append(line)
        text += self.old[at:]
        return text if exists else None


def fill(message):
    """Prose in lines of 75 columns, as messages of commits are; the subject and tags as they are."""
    paragraphs = message.split('\n\n')
    return '\n\n'.join(p if n == 0 or re.match(r'\s|[A-Z][a-z-]+:', p) else textwrap.fill(
        re.sub(r'(\.)\n', r'\1  ', p).replace('\n', ' '), 75, break_long_words=False, break_on_hyphens=False)
        for n, p in enumerate(paragraphs))


class Patch:
    """One list of kernel/series: its message, and the selectors of its changes."""

    def __init__(self, kernel, name, number):
        path = os.path.join(kernel, 'series', name)
        self.name, self.number = os.path.basename(path), number
        message, _, selectors = read(path).partition('\n---\n')
        borrowed = re.fullmatch(r'as in (\S+)\n*', message)
        if borrowed:
            hook = os.path.join(kernel, 'hooks', f'{borrowed[1]}.patch')
            if not os.path.exists(hook):
                raise Wrong(f'{self.name}: there is no kernel/hooks/{borrowed[1]}.patch')
            message = read(hook).partition('\n---\n')[0]
        self.message = fill(message.strip()) + '\n'
        self.selectors = [line.strip() for line in selectors.splitlines() if line.strip() and line[0] != '#']
        if not self.selectors:
            raise Wrong(f'{self.name} takes nothing')

    def take(self, files, rest):
        """Take what the selectors name; if REST, what those do that end in "rest"."""
        for selector in self.selectors:
            glob, _, what = selector.partition(' ')
            if (what == 'rest') != rest:
                continue
            matches = [f for f in files.values() if matches_glob(f.path, glob)]
            if not matches:
                raise Wrong(f'{self.name}: kernel/ has no {glob}')
            if not sum(self.take_of(file, what) for file in matches):
                raise Wrong(f'{self.name}: "{selector}" matches nothing that is left')

    def take_of(self, file, what):
        kind, _, text = what.partition(' ')
        found = re.findall(r'/((?:[^/\\]|\\.)*)/', text)
        expressions = [re.compile(e) for e in found]
        spanned = re.search(r'/\s*,\s*/', text)
        if kind not in ('', 'rest', 'hunk', 'line') or (kind in ('hunk', 'line')) != bool(found):
            raise Wrong(f'{self.name}: cannot read the selector "{file.path} {what}"')
        taken = 0
        for change in file.changes:
            lines = change.lines()
            if kind in ('', 'rest'):
                chosen = [n for n, owner in enumerate(change.owners) if kind == '' or owner is None]
            elif kind == 'hunk':
                hit = any(e.search(line.rstrip('\n')) for e in expressions for line in [*lines, change.where])
                chosen = range(len(lines)) if hit else []
            elif spanned:
                chosen = span(lines, *expressions)
            else:
                chosen = [n for n, line in enumerate(lines) if any(e.search(line.rstrip('\n')) for e in expressions)]
            for index in chosen:
                change.take(index, self)
            taken += len(chosen)
        return taken


def span(lines, first, last):
    chosen, inside = [], False
    for n, line in enumerate(lines):
        begins = not inside and first.search(line.rstrip('\n'))
        if begins or inside:
            chosen.append(n)
            inside = bool(begins) or not last.search(line.rstrip('\n'))
    return chosen


def matches_glob(path, glob):
    if '*' not in glob:
        return path == glob
    return re.fullmatch(fnmatch.translate(glob.replace('**', '\0')).replace('.*', '[^/]*').replace('\0', '.*')
                        .replace('\\\0', '.*'), path) is not None


class Series:
    """The patches that lead from the source in PRISTINE to TARGET, which has the files that differ."""

    def __init__(self, kernel, pristine, target):
        self.kernel, self.pristine, self.target = kernel, pristine, target
        paths = sorted(os.path.relpath(os.path.join(d, f), self.target)
                       for d, _, found in os.walk(self.target) for f in found)
        self.files = {p: File(p, self.pristine, self.target) for p in paths}
        lists = sorted(f for f in os.listdir(os.path.join(kernel, 'series')) if re.match(r'\d+-.*\.txt$', f))
        self.patches = [Patch(kernel, name, n + 1) for n, name in enumerate(lists)]
        for rest in (False, True):
            for patch in self.patches:
                patch.take(self.files, rest)
        lost = [c.name(n) for f in self.files.values() for c in f.changes
                for n, owner in enumerate(c.owners) if owner is None and (n == 0 or c.owners[n - 1] is not None)]
        if lost:
            raise Wrong('in no patch of kernel/series:\n    ' + '\n    '.join(lost))

    def step(self, patch):
        """What PATCH changes: path, and the lines after it."""
        for path, file in self.files.items():
            if any(patch in change.owners for change in file.changes):
                yield path, file.after(patch.number)

    def write_steps(self, directory):
        """DIRECTORY/000/tree: the old files; DIRECTORY/NNN: each patch's message, and its files in tree."""
        for path, file in self.files.items():
            if not file.added:
                write(os.path.join(directory, '000/tree', path), file.old, file.mode)
        for patch in self.patches:
            step = os.path.join(directory, f'{patch.number:03}')
            write(os.path.join(step, 'message'), patch.message)
            for path, lines in self.step(patch):
                write(os.path.join(step, 'tree', path), lines, self.files[path].mode)


def write(path, lines, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8', errors='surrogateescape', newline='') as out:
        out.write(''.join(lines))
    os.chmod(path, mode)
