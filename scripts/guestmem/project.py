# SPDX-License-Identifier: GPL-2.0-only
"""The paths that the programs share."""

from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
