# SPDX-License-Identifier: GPL-2.0-only
# Builds, tests and measures everything; "make help" lists the targets.

# With ARCH=arm64 the programs are built for the emulated arm64 host.
ARCH := x86
B := build/$(if $(filter-out x86,$(ARCH)),$(ARCH)/)user
CROSS := $(if $(filter arm64,$(ARCH)),aarch64-linux-gnu-)
CC := $(CROSS)gcc
AR := $(CROSS)ar
CFLAGS ?= -O2 -g
CFLAGS += -std=gnu11 -Wall -Wextra -Werror
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
PREFIX ?= /usr/local

# The include path of each folder's sources. Neither vmm/ nor tools/ includes headers of the
# other; what both use is in common/.
lib_includes := lib
common_includes := common
tools_includes := common tools
vmm_includes := common lib vmm vmm/$(ARCH)
bench_includes := common lib tools bench bench/$(ARCH)
tests_includes := common lib tools vmm vmm/$(ARCH) bench bench/$(ARCH) tests/unit
includes = $(addprefix -I,$($(firstword $(subst /, ,$<))_includes))

lib_src := $(wildcard lib/*.c)
cmd_src := $(wildcard common/*.c vmm/*.c vmm/$(ARCH)/*.c tools/*.c)
bench_src := $(wildcard bench/*.c bench/$(ARCH)/*.c)
# Other programs than guestmem read the direct map with these sources.
map_src := tools/kcore.c $(wildcard tools/ptdump*.c)
# Each unit test is linked with all sources except those with a main().
testable_src := $(lib_src) $(filter-out tools/guestmem.c,$(cmd_src)) $(filter-out bench/bench.c,$(bench_src))
unit_tests := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/*_test.c tests/unit/x86/*_test.c))
# The tests of those sources in vmm/arm64/ that any machine can run are built for this one.
arm64_unit_tests := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/arm64/*_test.c))
arm64_testable_src := vmm/arm64/image.c vmm/arm64/devicetree.c vmm/options.c vmm/memory.c common/message.c common/size.c $(lib_src)
guest_programs := $(patsubst tests/guest/%.c,$(B)/guest/%,$(wildcard tests/guest/*.c))
# Programs for the emulated host.
host_programs := $(patsubst tests/host/%.c,$(B)/host/%,$(filter-out %/init.c,$(wildcard tests/host/*.c)))
# Each of these programs is a whole guest, without an operating system.
bare_guests := $(patsubst tests/guest/bare/%.c,$(B)/guest/bare/%,$(wildcard tests/guest/bare/*.c))
benchmark := $(B)/bench
ifneq ($(ARCH),x86)
# These programs contain machine code of x86.
host_programs := $(filter-out %/access_none,$(host_programs))
bare_guests :=
endif
man_pages := $(wildcard lib/*.[1-8] vmm/*.[1-8] tools/*.[1-8])

.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:
.PHONY: help setup kernel kernel-debug kernel-stock kernel-save kernel-check kernel-docs kernel-deb user unit check series series-check demo test test-more test-arm64 mutants fuzz bench install clean

help:		## list the targets
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 16

setup:		## install the Debian packages that are missing (as root)
	@scripts/setup

kernel: setup	## build/host/bzImage from the pinned source and kernel/ (KERNEL_SRC=DIR, KERNEL_TARBALL=FILE)
	@scripts/kernel-build host

kernel-debug: setup	## build/debug/bzImage: the same with KASAN, lockdep, kmemleak, ...
	@scripts/kernel-build debug

kernel-stock: setup	## build/stock/bzImage: the unmodified source, for comparison
	@scripts/kernel-build stock

kernel-save:	## turn edits in build/host/src back into kernel/ (HOOK=NAME, FILES="...")
	@scripts/kernel-save

kernel-check: setup	## is kernel/ what was built, in style, within its budget, and does it compile for every architecture?
	@status=0; scripts/kernel-check || status=1; scripts/kernel-arches || status=1; exit $$status

kernel-docs: setup	## do the kernel's documents that we add or change build without a warning?
	@scripts/kernel-docs

kernel-deb: setup	## a Debian package of the host kernel with your CONFIG=file
	@scripts/kernel-deb "$(CONFIG)"

user: $(B)/guestmem $(B)/lib/libguestmem.a $(B)/lib/libguestmem.so $(B)/init $(benchmark) $(guest_programs) $(host_programs) $(bare_guests)	## the programs and the library

unit: $(unit_tests) $(arm64_unit_tests)	## unit tests of the programs and the library, under ASan and UBSan
	@scripts/test --only 'unit/*'

check:		## shellcheck, pyflakes, SPDX lines, links, spelling, retired words, whether a suite runs each test; the unit tests
	@scripts/test --only 'lint/*' --only 'unit/*'

series:		## build/series/: kernel/ as patches for the kernel's mailing lists (docs/series.md)
	@scripts/series

series-check: setup	## is the series whole, in order and in style; does each step build and boot? (hours; N="15 33": these steps)
	@scripts/series-check --objects $(N)

demo: setup	## the proof: a guest that its host cannot read (ARCH=arm64: on an emulated arm64 host)
	@demo/demo --arch $(ARCH)

test: setup	## the tests; the last line is "N passed, N failed[, N skipped]" (ONLY=PATTERN, e.g. ONLY='unit/*')
	@scripts/test $(if $(ONLY),--only '$(ONLY)')

test-more: setup	## the long tests, and those of test-arm64 (ONLY=PATTERN)
	@scripts/test --group more --group arm64 $(if $(ONLY),--only '$(ONLY)')

test-arm64: setup	## the tests on an emulated arm64 host (ONLY=PATTERN)
	@scripts/test --group arm64 $(if $(ONLY),--only '$(ONLY)')

mutants: setup	## put each defect of tests/mutants/ into the sources, and see that a test notices it (ONLY=PATTERN)
	@scripts/mutants $(if $(ONLY),'$(ONLY)')

fuzz: setup	## access levels at random, for ten minutes, on the debug kernel
	@scripts/test --group more --only selftests/fuzz

bench: setup	## measure, and write docs/benchmarks.md (BENCH=short: every figure once, into build/bench/ only; ARCH=arm64)
	@bench/bench --arch $(ARCH) $(BENCH)

install: user	## install the programs, the library and the man pages below PREFIX
	install -D -m 755 $(B)/guestmem $(DESTDIR)$(PREFIX)/bin/guestmem
	install -D -m 644 lib/guestmem.h $(DESTDIR)$(PREFIX)/include/guestmem.h
	install -D -m 644 $(B)/lib/libguestmem.a $(DESTDIR)$(PREFIX)/lib/libguestmem.a
	install -D -m 755 $(B)/lib/libguestmem.so.0 $(DESTDIR)$(PREFIX)/lib/libguestmem.so.0
	ln -sf libguestmem.so.0 $(DESTDIR)$(PREFIX)/lib/libguestmem.so
	sed 's,@PREFIX@,$(PREFIX),; s,@LIBDIR@,$${prefix}/lib,; s,@INCLUDEDIR@,$${prefix}/include,' lib/libguestmem.pc.in >$(B)/lib/libguestmem.pc
	install -D -m 644 $(B)/lib/libguestmem.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/libguestmem.pc
	install -D -m 644 tools/dev-guestmem.mount $(DESTDIR)$(PREFIX)/lib/systemd/system/dev-guestmem.mount
	for page in $(man_pages); do \
		install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit 1; \
	done

clean:		## remove build/ (the cache outside the clone stays)
	rm -rf build

# Static programs, the shared library and the unit tests need different compiler options, so
# each has a set of objects of its own.
$(B)/obj/static/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(includes) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/obj/pic/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(includes) $(CPPFLAGS) $(CFLAGS) -fPIC -MMD -MP -c -o $@ $<

$(B)/obj/sanitized/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(includes) $(CPPFLAGS) $(CFLAGS) $(SANITIZE) -MMD -MP -c -o $@ $<

$(B)/obj/sanitized-arm64/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(subst -Ivmm/x86,-Ivmm/arm64,$(includes)) $(CPPFLAGS) $(CFLAGS) $(SANITIZE) -MMD -MP -c -o $@ $<

$(B)/lib/libguestmem.a: $(lib_src:%.c=$(B)/obj/static/%.o)
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/lib/libguestmem.so.0: $(lib_src:%.c=$(B)/obj/pic/%.o) lib/libguestmem.map
	@mkdir -p $(@D)
	$(CC) -shared -Wl,-soname,libguestmem.so.0 -Wl,--version-script=lib/libguestmem.map -Wl,-z,defs -o $@ $(filter %.o,$^)

$(B)/lib/libguestmem.so: $(B)/lib/libguestmem.so.0
	ln -sf libguestmem.so.0 $@

$(B)/guestmem: $(cmd_src:%.c=$(B)/obj/static/%.o) $(B)/lib/libguestmem.a
	$(CC) $(CFLAGS) -static -pthread -o $@ $^ $(LIBS)

# scripts/arm64-root unpacks Debian's arm64 packages, of which the VMM needs libfdt.
ifeq ($(ARCH),arm64)
$(B)/packages: scripts/arm64-root
	@mkdir -p $(@D)
	@root=$$(scripts/arm64-root) && ln -sfn "$$root" $@

$(cmd_src:%.c=$(B)/obj/static/%.o): CPPFLAGS += -isystem $(B)/packages/usr/include
$(cmd_src:%.c=$(B)/obj/static/%.o): | $(B)/packages
$(B)/guestmem: LIBS := $(B)/packages/usr/lib/aarch64-linux-gnu/libfdt.a
endif

$(B)/bench: $(bench_src:%.c=$(B)/obj/static/%.o) $(map_src:%.c=$(B)/obj/static/%.o) $(B)/lib/libguestmem.a
	$(CC) $(CFLAGS) -static -pthread -o $@ $^

$(B)/init: $(B)/obj/static/tests/host/init.o
	$(CC) $(CFLAGS) -static -o $@ $^

$(guest_programs): $(B)/guest/%: $(B)/obj/static/tests/guest/%.o $(B)/lib/libguestmem.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -static -pthread -o $@ $^

$(host_programs): $(B)/host/%: $(B)/obj/static/tests/host/%.o $(B)/lib/libguestmem.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -static -pthread -o $@ $^

$(B)/host/scan_process: $(B)/obj/static/tools/pattern.o
$(B)/host/direct_map: $(map_src:%.c=$(B)/obj/static/%.o)

$(bare_guests): $(B)/guest/bare/%: tests/guest/bare/%.c tests/guest/bare/bare.ld tools/secret.h Makefile
	@mkdir -p $(@D)
	$(CC) $(includes) $(CPPFLAGS) $(filter-out -g,$(CFLAGS)) -ffreestanding -fpie -mgeneral-regs-only -mno-red-zone -fcf-protection=none \
		-fno-stack-protector -fno-asynchronous-unwind-tables -nostdlib -static -no-pie -Wl,--build-id=none \
		-Wl,-z,noexecstack -Wl,--no-warn-rwx-segments -T tests/guest/bare/bare.ld -o $@ $<

$(unit_tests): $(B)/unit/%: $(B)/obj/sanitized/tests/unit/%.o $(testable_src:%.c=$(B)/obj/sanitized/%.o)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SANITIZE) -pthread -o $@ $^

$(arm64_unit_tests): $(B)/unit/%: $(B)/obj/sanitized-arm64/tests/unit/%.o $(arm64_testable_src:%.c=$(B)/obj/sanitized-arm64/%.o)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SANITIZE) -o $@ $^ -lfdt

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
