#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# bench-host.sh LENGTH SECTION...
#
# Runs sections of the benchmark in the emulated host, all in one boot. The file sections
# beside this one says what they are. LENGTH is full, or any other word to measure every
# figure once.
set -eu

sections=${0%/*}/sections
order=/sys/module/guest_memfd/parameters/block_order
length=$1
shift

# pick WORD: of "A|B" or "NAME=A|B" what is for this length
pick() {
	case "$length $1" in
	"full "*) echo "${1%%|*}" ;;
	*=*"|"*) echo "${1%%=*}=${1#*|}" ;;
	*) echo "${1#*|}" ;;
	esac
}

# boot FIGURE BACKING MEMORY BLOCK_ORDER REPETITION [OPTION...]: boots a Linux guest with four vCPUs
boot() {
	figure=$1 backing=$2 memory=$3 repetition=$5
	[ ! -w "$order" ] || echo "$4" >"$order"
	shift 5
	status=0
	timeout -s KILL 240 guestmem run --kernel /bench/kernel --initrd /bench/initrd --cpus 4 --mem 256M \
		--memory "$memory" --cmdline "quiet secret_mb=1 hold=1" --stats --mark "payload: cpus=" "$@" \
		</dev/null >/tmp/console 2>/tmp/vmm || status=$?
	ms=$(sed -n 's/^guestmem: mark-ms=//p' /tmp/vmm)
	if [ -n "$ms" ] && [ $status -eq 0 ]; then
		echo "$figure $backing vcpus=4 $repetition $ms ms"
	else
		echo "# $figure $backing $repetition: the guest failed, status $status: $(tail -n 1 /tmp/vmm)"
	fi
}

# boots REPETITIONS FIGURE BACKING:MEMORY,... BLOCK_ORDER [OPTION...]: begins with another
# kind of memory in each repetition
boots() {
	reps=$1 of_what=$2 kinds=$(echo "$3" | tr , ' ') block_order=$4
	# On a kernel without blocks all hidden memory is hidden-0.
	[ -w $order ] || kinds=$(echo "$kinds" | sed 's/hidden:hidden //')
	shift 4
	rep=0
	while [ $rep -lt "$reps" ]; do
		for kind in $kinds; do
			boot "$of_what" "${kind%:*}" "${kind#*:}" "$block_order" $rep "$@"
		done
		kinds="${kinds#* } ${kinds%% *}"
		rep=$((rep + 1))
	done
}

# Boots VMs with Debian's unmodified QEMU.
qemu() {
	if ! grep -q guestmem /proc/filesystems; then
		echo "# qemu: not measured, as this kernel has no file system guestmem"
		return
	fi
	/qemu/bench "$@"
}

# measure COMMAND: a line of a section
measure() {
	# shellcheck disable=SC2046
	set -- $(for word; do pick "$word"; done)
	echo "# $*"
	started=$(cut -d. -f1 /proc/uptime)
	"$@" </dev/null
	echo "# took $(($(cut -d. -f1 /proc/uptime) - started)) s"
}

echo "# host: Linux $(uname -r), $(nproc) CPUs, $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB"
for section; do
	grep -qx "\[$section\]" "$sections" || { echo "bench-host.sh: no section $section" >&2; exit 2; }
	sed -n "/^\[$section\]$/,/^$/p" "$sections" | sed '1d; /^$/d' | while read -r command; do
		# shellcheck disable=SC2086
		measure $command
	done
done
