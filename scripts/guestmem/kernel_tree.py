# SPDX-License-Identifier: GPL-2.0-only
"""Three states of the kernel's source: the pristine one in the cache, which is never written;
build/host/src, the tree that is built and edited; and the target, which is the pristine source
with kernel/ applied. A file of the tree that is not as build/host/applied records was edited."""

import contextlib
import fcntl
import filecmp
import fnmatch
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from guestmem import command
from guestmem.hooks import files_below
from guestmem.project import BUILD, TOP

HOST = BUILD / "host"
TREE = HOST / "src"
# "sha256  path" of each file that kernel-tree or kernel-save knows to be in kernel/.
APPLIED = HOST / "applied"
# Files that editors, patch and in-tree builds leave behind; never part of kernel/.
LITTER = ("*.orig", "*.rej", "*~", "*.swp", "*.o", "*.a", "*.cmd", "*.d", "*/tags", "*/cscope.*", "*/.config*",
          "*/Module.symvers", "*/__pycache__/*", "*/.checkpatch-*", "*/include/generated/*")


@functools.cache
def pristine():
    """The directory of the unmodified source."""
    done = subprocess.run([TOP / "scripts/kernel-fetch"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return Path(done.stdout.rstrip("\n"))


@contextlib.contextmanager
def locked():
    """Only one program writes to the tree or saves it. A build has build/host/lock meanwhile."""
    HOST.mkdir(parents=True, exist_ok=True)
    with open(HOST / "tree.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def temporary(kind):
    """A directory that is removed at the end, also where that is a signal."""
    command.end_by_signals()
    with tempfile.TemporaryDirectory(prefix=f"{kind}.", dir=HOST) as name:
        yield Path(name)


def digest(path):
    """The SHA-256 of a file, or "none"."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return "none"


def same(one, other):
    """Do two files have the same content? A file that is not there is as no other."""
    return one.exists() and other.exists() and filecmp.cmp(one, other, shallow=False)


def listing(directory):
    """Name, size and time of each file, as kernel-fetch lists those of the pristine source."""
    done = subprocess.run(["find", directory, "-type", "f", "-printf", r"%P\t%s\t%T@\n"], check=True,
                          stdout=subprocess.PIPE)
    return set(os.fsdecode(done.stdout).split("\n")) - {""}


def changed(source=None):
    """(how, file) of each file of the tree that is not as in SOURCE: A added, M modified, D deleted."""
    source = source or pristine()
    found = []
    lines = listing(TREE) ^ set(command.lines_of(f"{source}.list"))
    for file in sorted({line.partition("\t")[0] for line in lines}):
        if not (source / file).exists():
            if not any(fnmatch.fnmatchcase(f"/{file}", pattern) for pattern in LITTER):
                found.append(("A", file))
        elif not (TREE / file).exists():
            found.append(("D", file))
        elif not same(source / file, TREE / file):
            found.append(("M", file))
    return found


def read_applied():
    """{file: SHA-256}"""
    if not APPLIED.exists():
        return {}
    return {file: known for known, _, file in (line.partition("  ") for line in command.lines_of(APPLIED))}


def write_applied(known):
    new = APPLIED.with_suffix(".new")
    new.write_text("".join(f"{known[file]}  {file}\n" for file in sorted(known)), errors="surrogateescape")
    new.replace(APPLIED)


def apply(hook, directory):
    """Apply HOOK to the files in DIRECTORY, those of the source where DIRECTORY has none."""
    for file in hook.files():
        if not (pristine() / file).exists():
            command.die(f"hook {hook.name} does not apply: the source has no {file}")
        if not (directory / file).exists():
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(pristine() / file, directory / file)
    with open(hook.path, "rb") as patch:
        done = subprocess.run(["patch", "-d", directory, "-p1", "-F0", "--no-backup-if-mismatch", "-s"],
                              stdin=patch, stdout=sys.stderr, check=False)
    if done.returncode:
        command.die(f"hook {hook.name} does not apply to {pristine().name} (see above)")


def make_base(kernel, directory):
    """Put each file that a fixed hook changes into DIRECTORY, with these changes alone."""
    for hook in kernel.hooks():
        if hook.fixed:
            apply(hook, directory)


def make_target(kernel, directory):
    """Put each file that kernel/ adds or changes into DIRECTORY, as it must be."""
    owner = {}
    for hook in kernel.hooks():
        if not hook.path.exists():
            command.die(f"kernel/hooks/series names {hook.name}, which is not there")
        if hook.fixed and owner:
            command.die(f"{hook.name} is fixed: it must stand before the others in kernel/hooks/series")
        for file in hook.files() if not hook.fixed else ():
            if file in owner:
                command.die(f"{file} is changed by two hooks, {owner[file]} and {hook.name}; "
                            "each file belongs to one")
            owner[file] = hook.name
        apply(hook, directory)
    for file in kernel.new_files():
        if (pristine() / file).exists():
            command.die(f"kernel/{file} exists in the source: change it by a hook")
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(kernel.path / file, directory / file)


def differing(kernel):
    """The files of the tree that are not what kernel/ says."""
    with temporary("target") as target:
        make_target(kernel, target)
        files = {file for _, file in changed()}.union(files_below(target))
        return [file for file in sorted(files)
                if digest(TREE / file) != digest((target if (target / file).exists() else pristine()) / file)]
