# SPDX-License-Identifier: GPL-2.0-only
"""What every program of the project does with its command line, its output and its errors."""

import os
import shutil
import signal
import sys
import time


def die(message, status=1):
    """Print "PROGRAM: MESSAGE" to stderr and exit."""
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr)
    sys.exit(status)


def say(message):
    """Print what is being done to stderr."""
    print(f"=== {message}", file=sys.stderr)


def end_by_signals():
    """Let a signal that ends the program be an exception, so that it removes its temporary
    files and ends what it started."""
    for number in signal.SIGHUP, signal.SIGINT, signal.SIGTERM:
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def keep_newest(number, directory):
    """Remove the directories in DIRECTORY but the NUMBER newest, and those of the last six hours,
    which a test run in another clone may be using."""
    paths = sorted((path.stat().st_mtime, path) for path in directory.iterdir() if path.is_dir())
    for seconds, path in paths[:-number]:
        if seconds < time.time() - 6 * 3600:
            shutil.rmtree(path, ignore_errors=True)


def any_bytes():
    """Let stdout print what tests and kernels print, which need not be UTF-8, and line by line."""
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", line_buffering=True)


def lines_of(file):
    """The lines of a file, or of stdin if FILE is None, without their newlines.

    Only a newline ends a line. Bytes that are not UTF-8 stay what they are.
    """
    where = sys.stdin.fileno() if file is None else file
    try:
        with open(where, encoding="utf-8", errors="surrogateescape", newline="\n",
                  closefd=file is not None) as stream:
            return [line.removesuffix("\n") for line in stream]
    except OSError as error:
        die(f"cannot read {file}: {error.strerror}", 2)


def variables(arguments, names, usage):
    """Parse "-v NAME=VALUE..." with NAMEs of names, then at most one file.

    Returns the values by name, and the file or None.
    """
    values, files = {}, []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word != "-v":
            files.append(word)
            continue
        name, equals, value = (rest.pop(0) if rest else "").partition("=")
        if not equals or name not in names:
            die(usage, 2)
        values[name] = value
    if len(files) > 1 or any(file.startswith("-") for file in files):
        die(usage, 2)
    return values, files[0] if files else None
