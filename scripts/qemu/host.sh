# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
# Sourced by run-vm: the emulated x86 host under QEMU.

. "$TOP/scripts/qemu/host-lib.sh"

host_check() {
	cpus=${cpus:-4} mem=${mem:-4G} accel=${accel:-tcg,thread=multi}
	cpu=${cpu:-EPYC,+svm,+npt,+invtsc,-x2apic,+pdpe1gb}
	qemu_find x86_64 "make setup installs it"
}

# no_timer_check, tsc=reliable: an emulated CPU that waits for its turn on a busy machine
# fails the kernel's tests of the timer ("IO-APIC + timer doesn't work") and of the TSC.
# kvm.tsc_tolerance_ppm: the first measurement of the TSC's rate is off by up to a percent
# on a busy machine, and KVM keeps it, as TCG's TSC does not count as constant; beyond the
# tolerance from the better one that comes later no guest's TSC would be right.
host_start() {
	qemu_start q35 "console=ttyS0 $kernel_args no_timer_check tsc=reliable kvm.tsc_tolerance_ppm=20000"
}
