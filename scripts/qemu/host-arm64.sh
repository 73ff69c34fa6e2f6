# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
# Sourced by run-vm: the emulated arm64 host under QEMU, with EL2 and GICv3.
#
# The CPU max has level 3 of FEAT_BBM in the QEMU that scripts/qemu-build builds: Linux maps
# the linear map by blocks there, and by pages on other CPUs and in other builds of QEMU.

. "$TOP/scripts/qemu/host-lib.sh"
busybox=$("$TOP/scripts/arm64-root")/bin/busybox

# pauth-impdef: the architected algorithm of pointer authentication takes half of TCG's time.
host_check() {
	cpus=${cpus:-4} mem=${mem:-3G} accel=${accel:-tcg,thread=multi}
	cpu=${cpu:-max,pauth-impdef=on}
	qemu_find aarch64 "scripts/qemu-build --arch arm64 builds it"
}

host_start() {
	qemu_start virt,virtualization=on,gic-version=3 "console=ttyAMA0 $kernel_args"
}
