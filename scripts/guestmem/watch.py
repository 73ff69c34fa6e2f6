# SPDX-License-Identifier: GPL-2.0-only
"""Ends an emulated host that takes too long, and tells what its CPUs were doing.

run-vm starts this beside the emulator. A host that hangs leaves a kernel log that just stops;
where each CPU was, and what called it, is known to the emulator alone, and only while it runs.
"""

import argparse
import bisect
import contextlib
import os
import re
import signal
import socket
import sys
import time
from typing import NamedTuple

PROMPT = b"(qemu) "
# How many words of a stack are looked at, and how many of those that may be return addresses
# are shown. A word that an earlier call left there is shown as well.
STACK_WORDS = 160
SHOWN = 16


class Monitor:
    """QEMU's human monitor on a UNIX socket."""

    def __init__(self, path, patience=10):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(patience)
        self.socket.connect(path)
        self.answer()

    def answer(self):
        data = b""
        while not data.endswith(PROMPT):
            more = self.socket.recv(65536)
            if not more:
                raise OSError("the monitor was closed")
            data += more
        # The monitor's line editor repeats the command with escape sequences.
        text = data.removesuffix(PROMPT).decode(errors="replace").replace("\r", "")
        return [line for line in text.split("\n") if "\x1b" not in line]

    def ask(self, command):
        self.socket.sendall(command.encode() + b"\n")
        return self.answer()


class Symbols:
    """The functions of a kernel, from its System.map."""

    def __init__(self, path):
        found = []
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                for line in file:
                    address, kind, name = line.split()
                    if kind in "tTwW":
                        found.append((int(address, 16), "" if name == "_etext" else name))
        found.sort()
        self.addresses = [address for address, _ in found]
        self.names = [name for _, name in found]

    def name(self, address):
        """NAME+0xOFFSET, or "" if the address is in no function."""
        i = bisect.bisect_right(self.addresses, address) - 1
        if i < 0 or not self.names[i] or address - self.addresses[i] > 1 << 16:
            return ""
        return f"{self.names[i]}+{address - self.addresses[i]:#x}"


class Cpu(NamedTuple):
    number: int
    pc: int
    # None where the registers show none.
    stack: int | None
    halted: bool


def cpus(registers):
    """What "info registers -a" shows of each CPU.

    x86 prints EIP and ESP, of eight digits, for a CPU in 16-bit or 32-bit code, and arm64 PC and SP.
    """
    found = []
    for text in re.split(r"(?m)^(?=CPU#[0-9]+)", "\n".join(registers)):
        number = re.match(r"CPU#([0-9]+)", text)
        pc = re.search(r"\b(?:RIP|EIP|PC)=([0-9a-f]+)", text)
        stack = re.search(r"\b(?:RSP|ESP|SP)=([0-9a-f]+)", text)
        if number and pc:
            found.append(Cpu(int(number[1]), int(pc[1], 16), int(stack[1], 16) if stack else None,
                             "HLT=1" in text))
    return found


def words(dump):
    """The values in the lines "ADDRESS: 0xVALUE 0xVALUE" of the monitor's x command."""
    return [int(word, 16) for line in dump if ":" in line
            for word in re.findall(r"0x([0-9a-f]{16})\b", line.split(":", 1)[1])]


def describe_cpus(monitor, symbols):
    """What each CPU of the host was doing, line by line."""
    monitor.ask("stop")
    for cpu in cpus(monitor.ask("info registers -a")):
        halted = " (halted)" if cpu.halted else ""
        yield f"CPU {cpu.number}{halted}: {cpu.pc:#x} {symbols.name(cpu.pc)}".rstrip()
        if cpu.stack is None:
            continue
        monitor.ask(f"cpu {cpu.number}")
        calls = [name for word in words(monitor.ask(f"x /{STACK_WORDS}gx {cpu.stack:#x}"))
                 if (name := symbols.name(word)) and not name.endswith("+0x0")]
        yield from (f"    {name}" for name in calls[:SHOWN])


def threads_of(pid):
    """State and CPU time of each thread of the process, line by line."""
    for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
        base = f"/proc/{pid}/task/{task}"
        try:
            with open(f"{base}/stat", encoding="utf-8", errors="replace") as file:
                name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
            with open(f"{base}/wchan", encoding="utf-8") as file:
                waits = file.read() or "0"
        except OSError:
            continue
        fields = rest.split()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        yield (f"emulator's thread {task} ({name}): state {fields[0]}, waits in {waits}, "
               f"{seconds:.1f} s of CPU time")


def describe(options):
    yield from threads_of(options.pid)
    if options.monitor:
        try:
            yield from describe_cpus(Monitor(options.monitor), Symbols(options.symbols))
        except OSError as error:
            yield f"the emulator's monitor does not answer: {error}"


def started(path, start):
    with open(path, encoding="utf-8", errors="replace") as file:
        return start in file.read().split("\n")


def wait(options):
    """Return why the host must end: after the time for the boot, or for everything."""
    begin = time.monotonic()
    if options.boot < options.timeout:
        time.sleep(options.boot)
        if not started(options.verdict, options.start):
            return f"the host did not boot in {options.boot} s"
    time.sleep(max(0, options.timeout - (time.monotonic() - begin)))
    began = "had" if started(options.verdict, options.start) else "had not"
    return f"not finished after {options.timeout} s; the command {began} started"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pid", type=int, required=True, help="the emulator")
    parser.add_argument("--verdict", required=True, help="the file that PID 1's verdict goes to")
    parser.add_argument("--start", required=True, help="its line that says that the command starts")
    parser.add_argument("--boot", type=int, required=True, help="seconds until then")
    parser.add_argument("--timeout", type=int, required=True, help="seconds for everything")
    parser.add_argument("--monitor", help="the socket of QEMU's monitor")
    parser.add_argument("--symbols", help="the System.map of the kernel")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        print(wait(options), flush=True)
        for line in describe(options):
            print(line, flush=True)
    finally:
        # Whatever went wrong here: nothing else ends the emulator in time.
        end(options.pid)


def end(pid):
    """End the emulator, by force if it does not heed SIGTERM within five seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        for _ in range(50):
            time.sleep(0.1)
            if zombie(pid):
                return
        os.kill(pid, signal.SIGKILL)


def zombie(pid):
    """Has the process ended?"""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


if __name__ == "__main__":
    sys.exit(main())
