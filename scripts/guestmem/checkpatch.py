# SPDX-License-Identifier: GPL-2.0-only
"""checkpatch --strict over the patches of the series.

usage: python3 -m guestmem.checkpatch SOURCE PATCHES CACHE

Prints what SOURCE/scripts/checkpatch.pl says about the patches in the directory PATCHES.  The
directory CACHE has a file for each patch, named by its content, about which checkpatch said
nothing; it is not read again.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

# docs/series.md says why.
EVERYWHERE = ("UNKNOWN_COMMIT_ID", "FILE_PATH_CHANGES", "BIT_MACRO")
IN_SOME = (
    (r"tools/testing/", ("VOLATILE", "CAMELCASE", "AVOID_EXTERNS")),
    (r"include/trace/", ("PARENTHESIS_ALIGNMENT", "OPEN_ENDED_LINE")),
    (r"arch/arm64/mm/temp_copy", ("SPACING",)),
    (r".*_arm64_kunit", ("CAMELCASE",)),
)


def ignored(text):
    """The types of messages that are left out for a patch."""
    types = list(EVERYWHERE)
    for where, more in IN_SOME:
        if re.search(rf"^\+\+\+ b/{where}", text, re.M):
            types += more
    return ",".join(types)


def content(text):
    """A patch without what differs each time it is written: its commit, date and number."""
    return re.sub(r"^(From [0-9a-f]{40} |Date: |Subject: \[PATCH).*?(\]|$)", "", text, flags=re.M)


def make_root(source, root):
    """A tree that checkpatch takes for the kernel's, without get_maintainer.pl.

    checkpatch runs that twice for each file, to find files that MAINTAINERS calls obsolete.  It
    fails outside a kernel tree, so nothing was learnt of it.
    """
    (root / "scripts").mkdir()
    for path in source.iterdir():
        if path.name != "scripts":
            (root / path.name).symlink_to(path)
    for path in (source / "scripts").iterdir():
        if path.name != "get_maintainer.pl":
            (root / "scripts" / path.name).symlink_to(path)


def check(source, patch, root, cache):
    """What checkpatch says of a patch."""
    program = source / "scripts/checkpatch.pl"
    text = patch.read_text(encoding="utf-8", errors="surrogateescape")
    what = program.read_text(encoding="utf-8") + ignored(text) + content(text)
    clean = cache / hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest()
    if clean.exists():
        clean.touch()
        return ""
    done = subprocess.run(["perl", program, f"--root={root}", "--strict", "--no-summary", "--terse",
                           "--show-types", "--max-line-length=100", "--ignore", ignored(text), patch],
                          cwd=root, text=True, errors="replace", check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if not done.stdout and not done.returncode:
        clean.touch()
    elif not done.stdout:
        return f"{patch.name}: checkpatch failed, status {done.returncode}\n"
    return done.stdout.replace(f"{patch.parent}/", "")


def main(source, patches, cache):
    """Check each patch but the cover letter, one process per CPU."""
    source, cache = pathlib.Path(source), pathlib.Path(cache)
    mails = [path for path in sorted(pathlib.Path(patches).resolve().glob("*.patch"))
             if not path.name.startswith("0000-")]
    if not mails:
        sys.exit(f"checkpatch: {patches} has no patch")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as root, \
            concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        make_root(source, pathlib.Path(root))
        print(*pool.map(lambda mail: check(source, mail, root, cache), mails), sep="", end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
