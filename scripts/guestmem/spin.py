# SPDX-License-Identifier: GPL-2.0-only
"""Checks a model of docs/model/ with spin, in configurations that its environment gives it."""

import os
import re
import shutil
import subprocess
from typing import NamedTuple

from guestmem import command
from guestmem.project import BUILD, TOP


class Answer(NamedTuple):
    """What pan found: "none", "found" (an error), or what else."""

    verdict: str = "no answer"
    states: int = 0
    # The error.
    why: str = ""


def notices(text):
    """The pairs (wrong order, configuration) of lines "ORDER CONFIGURATION"."""
    return [tuple(line.split(" ", 1)) for line in text.strip().splitlines()]


def answer_of(output):
    """What an output of pan says."""
    states = re.search(r"([0-9]+) states, stored", output)
    states = int(states[1]) if states else 0
    errors = re.search(r"errors: ([0-9]+)", output)
    if errors and int(errors[1]):
        return Answer("found", states, output.splitlines()[0])
    if errors and "not completed" not in output and "too small" not in output:
        return Answer("none", states)
    return Answer(states=states)


class Model:
    """SECONDS and MEGABYTES are limits: each configuration takes a fraction of that, more says that
    something is wrong."""

    def __init__(self, name, seconds, megabytes, options):
        self.name, self.seconds, self.megabytes, self.options = name, seconds, megabytes, options
        self.source = TOP / "docs/model" / f"{name}.pml"
        self.work = BUILD / "model" / name

    def wrong_number(self, name):
        """The number that the model has for a wrong order of steps; None if it has no such order."""
        define = "W_" + name.upper().replace("-", "_")
        match = re.search(rf"^#define\s+{re.escape(define)}\s+(\S+)", self.source.read_text(), re.MULTILINE)
        return match[1] if match else None

    def build(self):
        """Make build/model/NAME/pan, unless it is newer than the model."""
        pan = self.work / "pan"
        self.work.mkdir(parents=True, exist_ok=True)
        if pan.exists() and pan.stat().st_mtime > self.source.stat().st_mtime:
            return
        for old in self.work.glob("pan*"):
            old.unlink()
        # Traces are written beside the source.
        shutil.copy(self.source, self.work)
        # The order of steps is all that it is about: -O1 is built faster, and as fast.
        compiler = ["gcc", "-O1", "-w", "-DSAFETY", f"-DMEMLIM={self.megabytes}", "-o", "pan.new", "pan.c"]
        with open(self.work / "spin.log", "wb") as log:
            for arguments in ["spin", "-a", self.source.name], compiler:
                if subprocess.run(arguments, cwd=self.work, stdout=log, check=False).returncode:
                    command.die(f"the model does not build, see {self.work.relative_to(TOP)}/spin.log")
        (self.work / "pan.new").rename(pan)

    def environment(self, wrong, numbers):
        return dict(os.environ, **{f"{self.name.upper()}_MODEL": f"{wrong} {numbers}"})

    def check(self, wrong, numbers):
        """Go through all states of one configuration, with the step of that number done wrongly."""
        try:
            done = subprocess.run(["./pan", "-n", *self.options], cwd=self.work, check=False,
                                  env=self.environment(wrong, numbers), timeout=self.seconds,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired as expired:
            return answer_of((expired.stdout or b"").decode("utf-8", "replace"))
        return answer_of(done.stdout.decode("utf-8", "replace"))

    def trace(self, wrong, numbers):
        """Print how the last check went wrong; pan's status."""
        return subprocess.run(["./pan", "-r"], cwd=self.work, check=False,
                              env=self.environment(wrong, numbers)).returncode


def encoded(module, configuration):
    try:
        return module.encode(configuration)
    except ValueError:
        command.die(f'cannot read "{configuration}"')
