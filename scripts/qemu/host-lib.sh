# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
# Sourced by host.sh and host-arm64.sh: what the emulated hosts under QEMU have in common.
# Each has a virtio port for what the command prints and one for the verdict; a port can be
# open only once, so that no command can write a verdict.

ports=virtio

# qemu_find TARGET HINT: set program
qemu_find() {
	program=${GUESTMEM_QEMU:-$BUILD/qemu/qemu-system-$1}
	if [ -z "${GUESTMEM_QEMU:-}" ] && [ ! -x "$program" ]; then
		program=qemu-system-$1
	fi
	command -v "$program" >/dev/null || bad "$program is not installed ($2)"
}

# qemu_start MACHINE ARGUMENTS: boot the host with these arguments on the kernel's command line
# setpriv: if run-vm is killed, the kernel kills QEMU too.
qemu_start() {
	local monitor=(-monitor "unix:$work/monitor,server=on,wait=off")
	# The path of a socket has 107 bytes at most.
	[ ${#work} -lt 99 ] || monitor=()
	setpriv --pdeathsig KILL "$program" \
		-accel "$accel" -machine "$1" -cpu "$cpu" -smp "$cpus" -m "$mem" \
		-nodefaults -no-user-config -display none -no-reboot \
		-kernel "$kernel" -initrd "$work/initrd" -append "$2 $append" \
		-serial "file:$work/log" -device virtio-serial-pci \
		-chardev "file,id=output,path=$work/output" -device virtserialport,chardev=output,name=guestmem.output \
		-chardev "file,id=verdict,path=$work/verdict" -device virtserialport,chardev=verdict,name=guestmem.verdict \
		"${monitor[@]}" \
		"${qemu_args[@]}" </dev/null >"$work/emulator" 2>&1 {hold}>&- &
	emulator_pid=$!
	[ ${#monitor[@]} = 0 ] || watch_options=(--monitor "$work/monitor" --symbols "${kernel%/*}/System.map")
}

host_powered_off() {
	[ "$1" = 0 ]
}
