# SPDX-License-Identifier: GPL-2.0-only
"""Runs the entries of suite files, one after the other, and tells what came of each."""

import glob
import os
import random
import re
import shlex
import subprocess
import time

from guestmem import command, tap
from guestmem.project import ARCHES, BUILD, TOP

LOGS = BUILD / "test-logs"
RUN_VM = "scripts/run-vm"
OPTIONS = ("emulator", "cpu", "cpus", "mem", "append", "known", "qemu")

# Text in a test's output that says why it failed, and how many lines from there on do.
REASONS = (("==== Test Assertion Failure", True, 6), ("EXPECTATION FAILED", False, 6),
           ("ASSERTION FAILED", False, 6), ("not ok", True, 1), ("Bail out", True, 1),
           ("terminated by timeout", False, 1))

# How many lines are shown of what run-vm says of a boot that failed.
SHOWN_OF_A_BOOT = 80


def start(arguments, stdout, stderr=subprocess.STDOUT):
    """Run a program that is no shell's child; its status as a shell would have it."""
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr) as child:
        try:
            status = child.wait()
        except BaseException:
            # run-vm and timeout end what they started.
            child.terminate()
            raise
    return status if status >= 0 else 128 - status


def lines(path):
    """The lines of a log, none if it is not there."""
    return command.lines_of(path) if os.path.exists(path) else []


def why(output):
    """What a test that failed printed of it, as far as one can tell."""
    found, left = [], 0
    for line in output:
        for text, at_start, count in REASONS:
            if line.startswith(text) if at_start else text in line:
                left = max(left, count)
        if left > 0 and line and "addr2line" not in line and not line.startswith("ok "):
            found.append(line[:160])
        left -= 1
    return found[:16]


def vm_script(commands, mark, limit):
    """The shell script that runs the commands in a boot; lines with MARK tell them apart.

    The kernel log gets them too: what was printed last before a panic may be lost.
    """
    script = ["cd /"]
    for i, (label, run) in enumerate(commands):
        script += [f"echo {mark} begin {i} {shlex.quote(label)} >/dev/kmsg",
                   f'printf "\\n{mark} begin {i}\\n"',
                   f"timeout -s KILL {limit} sh -c {shlex.quote(run)} </dev/null",
                   f'printf "\\n{mark} end {i} $?\\n"']
    return "".join(f"{line}\n" for line in script)


def vm_outputs(output, mark, count):
    """What each of COUNT commands printed, and its status, None if it did not end."""
    begin = re.compile(rf"{mark} begin ([0-9]+)")
    end = re.compile(rf"{mark} end ([0-9]+) (.*)")
    outputs, statuses = [[] for _ in range(count)], [None] * count
    current = None
    for line in output:
        if match := begin.fullmatch(line):
            current = int(match[1])
        elif match := end.fullmatch(line):
            statuses[int(match[1])] = match[2]
            current = None
        elif current is not None and not line.startswith(f"{mark} "):
            outputs[current].append(line)
    return list(zip(outputs, statuses))


class Counts:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.remarks = []

    def fail(self, text):
        self.failed += 1
        self.remarks.append(f"failed  {text}")

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.remarks += other.remarks

    def __str__(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


class Runner:
    def __init__(self):
        # What is wrong with each command of "build", which runs once; "" if nothing is.
        self.built = {}
        self.total = Counts()

    def build(self, commands, log):
        """Run the commands that have not run yet; what failed, "" if nothing did."""
        for run in commands:
            if run not in self.built:
                with open(f"{log}.build", "wb") as output:
                    status = start(["bash", "-c", run], output)
                said = [line for line in lines(f"{log}.build") if line.strip()] or [""]
                self.built[run] = f"'{run}' failed: {said[-1]}" if status else ""
            if self.built[run]:
                return self.built[run]
        return ""

    def run_here(self, entry, limit, log):
        """The commands run on this machine: the output and the status of each."""
        for i, (_, run) in enumerate(entry.commands):
            with open(f"{log}.{i}.out", "wb") as output:
                status = start(["timeout", "-k", "5", limit, "bash", "-c", run], output)
            if os.path.exists(f"{log}.{i}.out"):
                yield lines(f"{log}.{i}.out"), str(status)
            else:
                yield [], "its output is gone"

    def run_in_vm(self, entry, arch, limit, log):
        """The commands run one after the other in a boot of the emulated host.

        Returns the output and the status of each, and what is wrong with the boot.
        """
        mark = f"@@{os.getpid()}-{random.randrange(10 ** 9)}"
        with open(f"{log}.sh", "w", encoding="utf-8", errors="surrogateescape") as script:
            script.write(vm_script(entry.commands, mark, limit))
        image = arch.built / entry.get("kernel") / arch.image
        timeout = entry.get("timeout", "120")
        arguments = [RUN_VM, "--kernel", image, "--timeout", timeout, "--log", f"{log}.kernel",
                     "--add", f"{log}.sh:/.run-vm/commands", "--arch", entry.get("arch", "x86")]
        for value in entry.all("add"):
            arguments += ["--add", value]
        for key in OPTIONS:
            if entry.get(key):
                arguments += [f"--{key}", entry.get(key)]
        with open(f"{log}.log", "wb") as output, open(f"{log}.err", "wb") as errors:
            status = start([*arguments, "--", "sh", "/.run-vm/commands"], output, errors)

        results = []
        kernel_log = "\n".join(lines(f"{log}.kernel"))
        for i, (output, ended) in enumerate(vm_outputs(lines(f"{log}.log"), mark, len(entry.commands))):
            if ended is None:
                what = "did not end" if f"{mark} begin {i} " in kernel_log else "did not start"
                ended = f"{what} (run-vm's status {status}, see {os.path.basename(log)}.err)"
            with open(f"{log}.{i}.out", "w", encoding="utf-8", errors="surrogateescape") as file:
                file.writelines(f"{line}\n" for line in output)
            results.append((output, ended))
        said = lines(f"{log}.err") or [""]
        if status == 0:
            return results, ""
        return results, {
            97: f"the host's kernel made a report: {''.join(said[1:2])}",
            98: "the host's kernel panicked",
            124: "the emulated host hung, or was too slow",
        }.get(status, f"no verdict (run-vm's status {status}): {said[-1]}")

    def judge(self, entry, results):
        """Count what each command's output and status say."""
        counts = Counts()
        for i, ((label, _), (output, status)) in enumerate(zip(entry.commands, results)):
            failures = counts.failed
            with open(f"{self.log(entry)}.{i}.status", "w", encoding="utf-8") as file:
                print(status, file=file)
            for kind, text in tap.judge(label, status, output):
                text = text.strip()
                if kind == "pass":
                    counts.passed += 1
                elif kind == "fail":
                    counts.fail(text)
                elif entry.may_skip(text):
                    counts.skipped += 1
                    counts.remarks.append(f"skipped {text}")
                else:
                    counts.fail(f"{text}: must not be skipped")
            if counts.failed != failures:
                counts.remarks += [f"        {line}" for line in why(output)]
        return counts

    def log(self, entry):
        return str(LOGS / entry.name.replace("/", "."))

    def run(self, entry):
        """Run an entry, print what came of it, and add that to the total."""
        log, kernel = self.log(entry), entry.get("kernel", "none")
        name = entry.get("arch", "x86")
        for old in glob.glob(f"{glob.escape(log)}.*"):
            os.remove(old)
        LOGS.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        builds = entry.all("build")
        if kernel != "none":
            init = ARCHES[name].built.relative_to(TOP) / "user/init"
            builds = [f"scripts/kernel-build --arch {name} {kernel}", f"make -s ARCH={name} {init}", *builds]
        limit = entry.get("limit", entry.get("timeout", "120"))
        results = []
        wrong = self.build(builds, log)
        if wrong:
            pass
        elif kernel == "none":
            results = self.run_here(entry, limit, log)
        else:
            results, wrong = self.run_in_vm(entry, ARCHES[name], limit, log)
        counts = self.judge(entry, results)
        if wrong:
            counts.fail(f"{entry.name}: {wrong}")
            counts.remarks += [f"        {line[:160]}" for line in lines(f"{log}.err")[:SHOWN_OF_A_BOOT]]
        self.total.add(counts)
        self.show(entry, counts, time.monotonic() - started)

    def show(self, entry, counts, seconds):
        word = "ok"
        if counts.failed:
            word = "FAIL"
        elif counts.skipped and not counts.passed:
            word = "skip"
        also = f", {counts.failed} failed" if counts.failed else ""
        also += f", {counts.skipped} skipped" if counts.skipped else ""
        # Cut off, not rounded.
        tenths = int(seconds * 10)
        print(f"{word:4}  {entry.name:<44} {counts.passed:4} passed{also}  {tenths // 10:6}.{tenths % 10} s")
        for remark in counts.remarks:
            print(f"      {remark}")
        if counts.failed:
            print(f"      logs: {os.path.relpath(self.log(entry), TOP)}.*")
