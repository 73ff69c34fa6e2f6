# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
# Sourced by run-vm: the emulated arm64 host under QEMU, with EL2 and GICv3. Its ports
# are those of host.sh.
#
# The CPU says that it has level 3 of FEAT_BBM only in the QEMU that scripts/qemu-build has
# built: the host's linear map is of blocks there, and of pages elsewhere.

ports=virtio
busybox=$("$TOP/scripts/arm64-root")/bin/busybox

host_check() {
	cpus=${cpus:-4} mem=${mem:-3G} accel=${accel:-tcg,thread=multi}
	# Pointer authentication by QEMU's own algorithm; the architected one costs half of the time.
	cpu=${cpu:-max,pauth-impdef=on}
	program=${GUESTMEM_QEMU:-$BUILD/qemu/qemu-system-aarch64}
	if [ -z "${GUESTMEM_QEMU:-}" ] && [ ! -x "$program" ]; then
		program=qemu-system-aarch64
	fi
	command -v "$program" >/dev/null || bad "$program is not installed (scripts/qemu-build --arch arm64 builds it)"
}

# setpriv: should run-vm be killed outright, QEMU must not stay behind.
host_start() {
	setpriv --pdeathsig TERM timeout -k 5 "$timeout" "$program" \
		-accel "$accel" -machine virt,virtualization=on,gic-version=3 -cpu "$cpu" -smp "$cpus" -m "$mem" \
		-nodefaults -no-user-config -display none -no-reboot \
		-kernel "$kernel" -initrd "$work/initrd" -append "console=ttyAMA0 $kernel_args $append" \
		-serial "file:$work/log" -device virtio-serial-pci \
		-chardev "file,id=output,path=$work/output" -device virtserialport,chardev=output,name=guestmem.output \
		-chardev "file,id=verdict,path=$work/verdict" -device virtserialport,chardev=verdict,name=guestmem.verdict \
		"${qemu_args[@]}" </dev/null >"$work/emulator" 2>&1 {hold}>&- &
	emulator_pid=$!
}

host_powered_off() {
	[ "$1" = 0 ]
}
