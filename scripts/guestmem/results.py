# SPDX-License-Identifier: GPL-2.0-only
"""The results of a run of the benchmark, and what follows from them.

A result is a line "FIGURE BACKING PARAMETER REPETITION VALUE UNIT", a note is one that begins with
"#". Repetitions of the backings alternate, so a ratio is the median of the ratios within each
repetition; so is a difference.
"""

import re
from statistics import median
from typing import NamedTuple

VALUE = re.compile(r"-?[0-9.]+(e[-+]?[0-9]+)?")


class Key(NamedTuple):
    figure: str
    backing: str
    parameter: str
    unit: str


class Error(Exception):
    pass


class Results:
    def __init__(self, lines):
        self.notes = []
        # By key, in the order of the first result of each: (repetition, value) as they came, and
        # the last value of each repetition.
        self.values = {}
        self.last = {}
        for number, line in enumerate(lines, 1):
            if line.startswith("#"):
                self.notes.append(line[2:])
            elif line.split():
                self.add(line, number)
        if not self.values:
            raise Error("no results")

    def add(self, line, number):
        try:
            figure, backing, parameter, repetition, value, unit = line.split()
            if not VALUE.fullmatch(value):
                raise ValueError
            value = float(value) + 0.0  # not -0
        except ValueError:
            raise Error(f"line {number} is no result: {line}") from None
        key = Key(figure, backing, parameter, unit)
        self.values.setdefault(key, []).append((repetition, value))
        self.last.setdefault(key, {})[repetition] = value

    def keys(self):
        return list(self.values)

    def all(self, key):
        return sorted(value for _, value in self.values[key])

    def parameter_of(self, figure):
        """The parameter that the first result of FIGURE has, None if there is no result."""
        return next((key.parameter for key in self.values if key.figure == figure), None)

    def median(self, *key):
        """The median of one figure; None if it is not there."""
        return median(self.all(Key(*key))) if Key(*key) in self.values else None

    def together(self, *keys):
        """The values of the KEYS within each repetition that has all of them."""
        if any(Key(*key) not in self.values for key in keys):
            return
        first, *others = (Key(*key) for key in keys)
        for repetition, value in self.values[first]:
            if all(repetition in self.last[key] for key in others):
                yield value, *(self.last[key][repetition] for key in others)

    def ratio(self, above, *below):
        """The ratio of one figure to another, or to the sum of others; None if one is not there."""
        ratios = [value / sum(others) for value, *others in self.together(above, *below)
                  if sum(others) > 0]
        return median(ratios) if ratios else None

    def difference(self, first, second):
        """The difference of two figures; None if one is not there."""
        differences = [a - b for a, b in self.together(first, second)]
        return median(differences) if differences else None


def number(value):
    """A value as the documents show it."""
    if value is None:
        return "-"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
