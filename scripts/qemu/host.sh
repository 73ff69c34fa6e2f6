# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
# Sourced by run-vm: the emulated host under QEMU. It has a virtio port each for
# what the command prints and for the verdict; a port can be open only once, so
# that no command can write a verdict.

ports=virtio

host_check() {
	cpus=${cpus:-4} mem=${mem:-4G} accel=${accel:-tcg,thread=multi}
	cpu=${cpu:-EPYC,+svm,+npt,+invtsc,-x2apic,+pdpe1gb}
	program=${GUESTMEM_QEMU:-$BUILD/qemu/qemu-system-x86_64}
	if [ -z "${GUESTMEM_QEMU:-}" ] && [ ! -x "$program" ]; then
		program=qemu-system-x86_64
	fi
	command -v "$program" >/dev/null || bad "$program is not installed (make setup installs it)"
}

# no_timer_check, tsc=reliable: an emulated CPU that waits for its turn on a busy machine
# fails the kernel's tests of the timer ("IO-APIC + timer doesn't work") and of the TSC.
# kvm.tsc_tolerance_ppm: the first measurement of the TSC's rate is off by up to a percent
# on a busy machine, and KVM keeps it, as TCG's TSC does not count as constant; beyond the
# tolerance from the better one that comes later no guest's TSC would be right.
# setpriv: should run-vm be killed outright, QEMU must not stay behind.
host_start() {
	setpriv --pdeathsig TERM timeout -k 5 "$timeout" "$program" \
		-accel "$accel" -machine q35 -cpu "$cpu" -smp "$cpus" -m "$mem" \
		-nodefaults -no-user-config -display none -no-reboot \
		-kernel "$kernel" -initrd "$work/initrd" \
		-append "console=ttyS0 $kernel_args no_timer_check tsc=reliable kvm.tsc_tolerance_ppm=20000 $append" \
		-serial "file:$work/log" -device virtio-serial-pci \
		-chardev "file,id=output,path=$work/output" -device virtserialport,chardev=output,name=guestmem.output \
		-chardev "file,id=verdict,path=$work/verdict" -device virtserialport,chardev=verdict,name=guestmem.verdict \
		"${qemu_args[@]}" </dev/null >"$work/emulator" 2>&1 {hold}>&- &
	emulator_pid=$!
}

host_powered_off() {
	[ "$1" = 0 ]
}
