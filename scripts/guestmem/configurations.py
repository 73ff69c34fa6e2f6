# SPDX-License-Identifier: GPL-2.0-only
"""The configurations that kernel-arches compiles, and what make gets for them."""

import os
import re
import subprocess

from guestmem import command, compiled
from guestmem.kernel_tree import HOST, TREE
from guestmem.project import CACHE, TOP

FRAGMENTS = TOP / "kernel/configs/arch"
LOGS = HOST / "arches"
# The x86 ones have one folder for their objects, and with it one set of host tools.
NAMES = ("x86-kvm-m x86-w1 x86-no-kvm x86-no-secretmem x86-no-mf x86-no-numa x86-no-thp i386 arm64 arm64-64k "
         "ppc64le ppc64 riscv64 loongarch64 s390x").split()
# The kernel's name of an architecture, and the prefix of its compiler.
ARCHES = {"arm64": ("arm64", "aarch64-linux-gnu-"), "riscv64": ("riscv", "riscv64-linux-gnu-"),
          "ppc64le": ("powerpc", "powerpc64le-linux-gnu-"), "ppc64": ("powerpc", "powerpc64-linux-gnu-"),
          "s390x": ("s390", "s390x-linux-gnu-"), "loongarch64": ("loongarch", ""), "i386": ("i386", ""),
          "x86": ("x86_64", "")}
# Debian 12 has no gcc for LoongArch, but a clang that can.
LLVM = "-19"
ENVIRONMENT = {"KBUILD_BUILD_TIMESTAMP": "2026-01-01 00:00:00 UTC", "KBUILD_BUILD_USER": "guestmem",
               "KBUILD_BUILD_HOST": "localhost", "CCACHE_DIR": f"{CACHE}/ccache", "CCACHE_BASEDIR": str(TOP),
               "CCACHE_NOHASHDIR": "1", "CCACHE_MAXSIZE": "5G"}
PRINT_MAKEFILE = """\
include {obj}/include/config/auto.conf
srctree := {tree}
src := {tree}/{folder}
obj := {folder}
include {tree}/{folder}/Makefile
members = $(foreach o,$(1),$(o) $($(o:.o=-y)) $($(o:.o=-m)) $($(o:.o=-objs)))
print: ; @echo $(call members,$(obj-y) $(obj-m) $(lib-y) $(lib-m))
"""


class Configuration:
    def __init__(self, name):
        if name not in NAMES:
            command.die(f"unknown configuration {name} (there are: {' '.join(NAMES)})")
        self.name = name
        self.folder = name.partition("-")[0]
        self.arch, self.cross = ARCHES[self.folder]
        self.srcarch = "x86" if self.arch in ("x86_64", "i386") else self.arch
        self.clang = LLVM if self.folder == "loongarch64" else ""
        self.is_x86, self.w1 = name.startswith("x86-"), name == "x86-w1"
        self.obj, self.log = HOST / f"arch-{self.folder}", LOGS / f"{name}.log"
        self.started = self.obj / "started"
        self.packages = ([f"gcc-{self.cross.removesuffix('-')}"] if self.cross else
                         [f"{tool}{self.clang}" for tool in ("clang", "lld", "llvm")] if self.clang else [])

    def fragments(self):
        """In the order in which they count; the first ones are the kernel's own."""
        configs = TOP / "kernel/configs"
        tiny = [TREE / "kernel/configs/tiny.config"]
        if self.is_x86:
            tiny.append(TREE / "arch/x86/configs/tiny.config")
            return tiny, [configs / "host.config", configs / "x86-host.config", FRAGMENTS / f"{self.name}.config"]
        return tiny, [FRAGMENTS / "common.config", FRAGMENTS / f"{self.name}.config"]

    def make(self, *arguments, **environment):
        """Run the kernel's make: its status. What it prints goes to the log."""
        tools = [f"CROSS_COMPILE={self.cross}", f"CC=ccache {self.cross}gcc", "HOSTCC=ccache gcc"]
        if self.clang:
            tools = [f"LLVM={self.clang}", f"CC=ccache clang{self.clang}", f"HOSTCC=ccache clang{self.clang}",
                     f"HOSTLDFLAGS=--ld-path=ld.lld{self.clang}"]
        with open(self.log, "wb") as log:
            return subprocess.run(["nice", "make", "-s", "-C", TREE, f"O={self.obj}", f"ARCH={self.arch}", *tools,
                                   *(["W=1"] if self.w1 else []), *arguments], stdout=log, stderr=log, check=False,
                                  env={**os.environ, **ENVIRONMENT, **environment}).returncode

    def log_lines(self):
        return command.lines_of(self.log)

    def configure(self, kconfigs):
        """Returns what is wrong with the result. KCONFIGS says what the Kconfig files are."""
        tiny, ours = self.fragments()
        text = "".join(path.read_text() for path in tiny + ours)
        wanted, state, config = self.obj / "wanted", self.obj / "config.state", self.obj / ".config"
        wanted.write_text(text)
        if not config.exists() or not state.exists() or state.read_text() != text + kconfigs:
            if self.make("allnoconfig", KCONFIG_ALLCONFIG=str(wanted)):
                return self.log_lines()[-20:]
            state.write_text(text + kconfigs)
        return compiled.config_lacks([line for path in ours for line in command.lines_of(path)],
                                     command.lines_of(config))

    def built_of(self, folder):
        """The objects that the Makefile of FOLDER builds in this configuration, by their path from there."""
        makefile = self.obj / "print.mk"
        makefile.write_text(PRINT_MAKEFILE.format(obj=self.obj, tree=TREE, folder=folder))
        # Without the options of the compiler, which only kbuild knows how to find.
        return subprocess.run(["make", "-s", "-f", makefile, "print", f"SRCARCH={self.srcarch}"], cwd=self.obj,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              check=False).stdout.split()

    def place(self, file):
        """The folder whose Makefile builds FILE, and the path from there."""
        folder, _, rest = file.rpartition("/")
        if file.startswith("virt/kvm/"):
            return f"arch/{self.srcarch}/kvm", f"../../../{file}"
        # It may be one further up.
        while not (TREE / folder / "Makefile").exists():
            folder, _, name = folder.rpartition("/")
            rest = f"{name}/{rest}"
        return folder, rest

    def targets(self, sources):
        """What to compile of SOURCES. The options that x86-no-* lack change nothing in arch/x86/kvm,
        which takes half of the time."""
        built = {}
        yield "mm/guest_memfd/"
        if not self.is_x86:
            # The host kernel's build compiles all of x86-64's.
            yield f"arch/{self.srcarch}/kvm/"
        for file in sources:
            if file.startswith("mm/guest_memfd/"):
                continue
            if self.name.startswith("x86-no-") and file.startswith("arch/x86/kvm/"):
                continue
            if file.startswith("arch/") and not file.startswith(f"arch/{self.srcarch}/"):
                continue
            folder, rest = self.place(file)
            if not self.is_x86 and re.fullmatch("arch/.*/kvm", folder):
                continue
            if folder not in built:
                built[folder] = self.built_of(folder)
            if f"{rest[:-1]}o" in built[folder]:
                yield f"{folder}/{rest[:-1]}o"

    def remove(self, targets):
        """Compile all of it each time, as far as ccache does not know it: a warning is printed by
        the compiler only."""
        for target in [*targets, "virt/"]:
            path = self.obj / target
            for file in path.rglob("*.o") if target.endswith("/") else [path]:
                file.unlink(missing_ok=True)
        self.started.touch()

    def objects(self, *folders):
        """The objects that were compiled now, by their path from the folder of objects."""
        since = self.started.stat().st_mtime_ns
        return [path.relative_to(self.obj) for folder in folders for path in (self.obj / folder).rglob("*.o")
                if path.stat().st_mtime_ns > since]

    def symbols(self, only=""):
        """Of what was compiled, as far as its path has ONLY in it."""
        nm = f"llvm-nm{self.clang}" if self.clang else f"{self.cross}nm"
        folders = ["mm", "virt", "lib", "kernel", f"arch/{self.srcarch}/kvm", f"arch/{self.srcarch}/mm"]
        files = [path for path in self.objects(*folders) if not path.name.endswith(".mod.o") and only in f"/{path}"]
        done = subprocess.run([nm, "-p", *files], cwd=self.obj, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              encoding="utf-8", errors="replace", check=False) if files else None
        return compiled.Symbols(done.stdout.split("\n") if done else [])
