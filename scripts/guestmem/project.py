# SPDX-License-Identifier: GPL-2.0-only
"""The paths that the programs share (scripts/common.sh has them for shell)."""

import os
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
# Everything that may outlive a clone.
CACHE = Path(os.environ.get("GUESTMEM_CACHE") or
             Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "guestmem"))


class Arch(NamedTuple):
    """An architecture that the emulated host can be of."""

    # Where what is built for it goes; programs are in built/user.
    built: Path
    # The kernel that boots, in arch/ARCH/boot/.
    image: str
    # Its name in the kernel's Makefile.
    make_arch: str
    # The prefix of the compiler's name.
    cross: str = ""
    # The packages that compile for it, beyond those of scripts/setup.
    toolchain: tuple = ()


ARCHES = {"x86": Arch(BUILD, "bzImage", "x86_64"),
          "arm64": Arch(BUILD / "arm64", "Image", "arm64", "aarch64-linux-gnu-",
                        ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"))}
