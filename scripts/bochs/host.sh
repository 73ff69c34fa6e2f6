# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
# Sourced by run-vm: the emulated host under Bochs, on one CPU with Intel VMX. Bochs
# loads no kernel by itself: ISOLINUX does, from a CD. It has no virtio; each of the
# two parallel ports writes a file: what the command prints, and the verdict.

ports=parallel
bios=/usr/share/bochs/BIOS-bochs-latest
vga_bios=/usr/share/vgabios/vgabios.bin
isolinux=/usr/lib/ISOLINUX/isolinux.bin
ldlinux=/usr/lib/syslinux/modules/bios/ldlinux.c32
# Instructions in one second of the emulated host's time, and with that the rate of its TSC.
ips=200000000

host_check() {
	local file
	mem=${mem:-1G} cpu=${cpu:-corei7_skylake_x}
	[ -z "$cpus" ] || [ "$cpus" = 1 ] || bad "--cpus: under Bochs the host has one CPU"
	[ -z "$accel${qemu_args[*]}" ] || bad "--accel, --icount and --qemu need --emulator qemu"
	case $mem in
	*[!0-9MG]* | [MG]* | *[MG]?* | '') bad "--mem takes a number and M or G, not '$mem'" ;;
	*G) mem_mib=$((${mem%G} * 1024)) ;;
	*M) mem_mib=${mem%M} ;;
	*) bad "--mem takes a number and M or G, not '$mem'" ;;
	esac
	program=$BUILD/bochs/bochs
	[ -x "$program" ] || bad "no $program (scripts/bochs-build builds it)"
	for file in "$bios" "$vga_bios" "$isolinux" "$ldlinux"; do
		[ -r "$file" ] || bad "no $file (make setup installs it)"
	done
	command -v xorriso >/dev/null || bad "xorriso is not installed (make setup installs it)"
}

# make_cd DIR FILE: a CD that boots the kernel and the initrd. Reading it takes longer
# than unpacking it.
make_cd() {
	mkdir "$1"
	cp "$isolinux" "$ldlinux" "$1"
	cp "$kernel" "$1/bzimage"
	gzip -1 <"$work/initrd" >"$1/initrd"
	cat >"$1/isolinux.cfg" <<-CFG
		default host
		label host
		kernel bzimage
		initrd initrd
		append $kernel_args $append
	CFG
	xorriso -as mkisofs -quiet -o "$2" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$1" &&
		rm -r "$1"
}

# reset_on_triple_fault=0, reboot=t: a panic resets the host, which would boot again and
# run the command again; a triple fault ends Bochs.
host_start() {
	kernel_args+=" no_timer_check tsc=reliable console=ttyS0,115200 reboot=t tsc_early_khz=$((ips / 1000))"
	make_cd "$work/cd" "$work/cd.iso" >"$work/emulator" 2>&1 || {
		cat "$work/emulator" >&2
		bad "cannot make the CD"
	}
	cat >"$work/bochsrc" <<-RC
		display_library: nogui
		config_interface: textconfig
		plugin_ctrl: unmapped=1, biosdev=1
		cpu: model=$cpu, count=1, ips=$ips, reset_on_triple_fault=0, ignore_bad_msrs=1
		memory: guest=$mem_mib, host=$mem_mib
		romimage: file=$bios, options=fastboot
		vgaromimage: file=$vga_bios
		pci: enabled=1, chipset=i440fx
		ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
		ata0-master: type=cdrom, path=$work/cd.iso, status=inserted
		boot: cdrom
		clock: sync=none, time0=utc
		com1: enabled=1, mode=file, dev=$work/log
		parport1: enabled=1, file=$work/output
		parport2: enabled=1, file=$work/verdict
		panic: action=fatal
		error: action=ignore
		info: action=ignore
		log: $work/emulator.log
	RC
	setpriv --pdeathsig KILL "$program" -q -f "$work/bochsrc" \
		</dev/null >"$work/emulator" 2>&1 {hold}>&- &
	emulator_pid=$!
}

# Bochs takes power-off for a fatal error of its own.
host_powered_off() {
	[ "$1" = 1 ] && grep -q 'ACPI control: soft power off' "$work/emulator" "$work/emulator.log"
}
