# SPDX-License-Identifier: GPL-2.0-only
"""The paths that the programs share (scripts/common.sh has them for shell)."""

from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / "build"


class Arch(NamedTuple):
    """An architecture that the emulated host can be of."""

    # Where what is built for it goes; programs are in built/user.
    built: Path
    # The kernel that boots.
    image: str


ARCHES = {"x86": Arch(BUILD, "bzImage"), "arm64": Arch(BUILD / "arm64", "Image")}
