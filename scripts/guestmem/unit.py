# SPDX-License-Identifier: GPL-2.0-only
"""Runs a file's unittest cases and prints each as a TAP result, so that scripts/test counts it."""

import sys
import unittest

from guestmem import command


class TapResult(unittest.TestResult):
    """A test's name is the first line of its docstring, and a subTest is a result of its own."""

    number = 0
    had_subtests = None

    def report(self, ok, name, comment=""):
        self.number += 1
        print(f"{'ok' if ok else 'not ok'} {self.number} - {name}")
        for line in comment.splitlines():
            print("#", line)

    def name(self, test):
        return test.shortDescription() or test.id().partition(".")[2]

    def addSuccess(self, test):
        if self.had_subtests is not test:
            self.report(True, self.name(test))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        self.had_subtests = test
        name = getattr(subtest, "_message", None)
        if not isinstance(name, str):
            name = str(subtest)
        self.report(err is None, name, self._exc_info_to_string(err, test) if err else "")

    def addError(self, test, err):
        super().addError(test, err)
        self.report(False, self.name(test), self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report(False, self.name(test), self.failures[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.report(True, f"{self.name(test)} # SKIP {reason}")


def main():
    """Run the tests of the file that was started, or those that its arguments name."""
    command.any_bytes()
    loader = unittest.defaultTestLoader
    module = sys.modules["__main__"]
    if sys.argv[1:]:
        tests = loader.loadTestsFromNames(sys.argv[1:], module)
    else:
        tests = loader.loadTestsFromModule(module)
    result = TapResult()
    tests.run(result)
    print(f"1..{result.number}")
    sys.exit(not result.wasSuccessful() or not result.number)
