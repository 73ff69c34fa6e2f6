# SPDX-License-Identifier: GPL-2.0-only
"""Judges a test by what it printed and by its exit status.

Output that is TAP or KTAP (nested results are indented) counts by its results. Its plan must be
fulfilled, and an exit status that says failure where no result does is one more failure. Other
output counts as one test, by the exit status: 0 passes, 4 and 77 skip with the last line as the
reason.
"""

import re

VERSION = re.compile(r" *K?TAP version [0-9]+")
PLAN = re.compile(r"( *)1\.\.([0-9]+)")
RESULT = re.compile(r"( *)(not )?ok(?: |$)")
# The number of a result and the dash that may follow it.
LABEL = re.compile(r" *(?:not )?ok *[0-9]* *-? *")
DIRECTIVE = re.compile(r" *(# *(?:SKIP|skip|Skip|XFAIL|TODO).*)")
SKIP = re.compile(r"# *(?:SKIP|skip|Skip)[a-zA-Z]*:? *")
PLAN_REASON = re.compile(r".*# *(?:[Ss][Kk][Ii][Pp][^ ]*)? *")
NUMBER = re.compile(r"[0-9]+")

SKIPPED = (4, 77)
KILLED_FOR_TIME = (124, 137)


class Judge:
    """The results of one test so far: (kind, text) with the kinds pass, fail and skip."""

    def __init__(self, name):
        self.name = name
        self.results = []
        self.is_tap = False
        self.last = ""
        # By level, which is the number of spaces before a result.
        self.seen = {}
        self.plan = {}
        self.deepest = -1
        # How many failures there were when the last result of a level was complete.
        self.fails_then = {}

    def count(self, kind):
        return sum(result[0] == kind for result in self.results)

    def add(self, kind, text):
        self.results.append((kind, f"{self.name}: {text}"))

    def close_deeper(self, level):
        """The results deeper than LEVEL are complete: were they as many as planned?"""
        for deep in range(self.deepest, level, -1):
            seen, plan = self.seen.pop(deep, 0), self.plan.pop(deep, None)
            if seen and plan is None:
                self.add("fail", "results without a plan")
            elif plan is not None and seen != plan:
                self.add("fail", f"{seen} of {plan} results")
        self.deepest = min(self.deepest, level)

    def line(self, line):
        line = line.removesuffix("\r")
        if line.strip(" \t\r\f\v"):
            self.last = line
        if VERSION.match(line):
            self.is_tap = True
        elif match := PLAN.match(line):
            self.planned(len(match[1]), int(match[2]), line)
        elif match := RESULT.match(line):
            self.result(len(match[1]), bool(match[2]), line)
        elif line.startswith("Bail out!"):
            self.is_tap = True
            self.add("fail", line)

    def planned(self, level, count, line):
        if level == 0 and level in self.plan:
            self.add("fail", "two plans")
        self.plan[level] = count
        self.is_tap = True
        self.deepest = max(self.deepest, level)
        if count == 0 and level == 0:
            self.add("skip", PLAN_REASON.sub("", line, count=1) or "nothing to run")

    def result(self, level, bad, line):
        nested = self.deepest > level and self.seen.get(self.deepest, 0) > 0
        self.close_deeper(level)
        self.deepest = max(self.deepest, level)
        self.seen[level] = self.seen.get(level, 0) + 1
        text = LABEL.sub("", line, count=1) or f"number {self.seen[level]}"
        directive = ""
        if match := DIRECTIVE.search(text):
            directive, text = match[1], text[:match.start()]
        if nested:
            # It sums up results that are counted already.
            if bad and self.count("fail") == self.fails_then.get(level, 0):
                self.add("fail", text)
        elif match := SKIP.match(directive):
            reason = directive[match.end():]
            self.add("skip", f"{text} ({reason})" if reason else text)
        else:
            self.add("fail" if bad else "pass", text)
        self.fails_then[level] = self.count("fail")

    def end(self, status):
        """The test has ended with STATUS, a number as text, or words that say why there is none."""
        number = int(status) if NUMBER.fullmatch(status) else None
        if number is None:
            self.add("fail", status)
        elif self.is_tap:
            self.close_deeper(-1)
            only_skipped = self.count("skip") and not self.count("pass")
            if number and not self.count("fail") and not (number in SKIPPED and only_skipped):
                self.add("fail", f"exited with status {number}")
            if not self.results:
                self.add("fail", "no result")
        elif number == 0:
            self.results.append(("pass", self.name))
        elif number in SKIPPED:
            self.add("skip", self.last or f"exit status {number}")
        elif number in KILLED_FOR_TIME:
            self.add("fail", f"not finished in time (status {number})")
        else:
            self.add("fail", f"exited with status {number}")
        return self.results


def judge(name, status, lines):
    """The results of the test NAME that printed LINES: a list of (kind, text)."""
    verdict = Judge(name)
    for line in lines:
        verdict.line(line)
    return verdict.end(status)
