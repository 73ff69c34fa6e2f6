#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# bench-host.sh LENGTH SECTION...
#
# Runs sections of the benchmark in the emulated host, all in one boot. LENGTH is full,
# or any other word to measure every figure once.
set -eu

order=/sys/module/guest_memfd/parameters/block_order

length=$1
shift

# of FULL SHORT: prints the value for this length
of() {
	if [ "$length" = full ]; then echo "$1"; else echo "$2"; fi
}

measure() {
	echo "# bench $*"
	started=$(cut -d. -f1 /proc/uptime)
	bench "$@"
	echo "# took $(($(cut -d. -f1 /proc/uptime) - started)) s"
}

counts() {
	measure counts mib="$(of 1024 512)" only=plain,hidden,thp,huge,mount,tmpfs
	measure vms vms=100 mib="$(of 48 16)" only=hidden
	measure clock mib=8 reps="$(of 5 1)" count=1000 only=plain,hidden,thp,huge
	measure nested mib=8 reps="$(of 5 1)" count=1000 only=plain,hidden,thp,huge
	measure access mib=8 reps="$(of 5 1)" count="$(of 200 50)" only=hidden
	measure walk mib="$(of 512 128)" reps="$(of 2 1)" count="$(of 500000 100000)" only=plain,hidden,thp,mount,tmpfs
}

# Compares hidden memory with huge pages, with the pool warm and empty.
cycles() {
	measure cycle mib=256 reps="$(of 9 2)" only=hidden,thp,huge
	measure cycle-guest mib=512 reps="$(of 5 1)" only=hidden,thp,huge,mount,tmpfs
	measure walk-turns mib=512 reps="$(of 9 2)" count="$(of 300000 200000)" only=hidden,thp,huge,mount
	measure memory-whole mib="$(of 1024 256)" reps="$(of 2 1)" only=hidden,thp,huge
	measure lives mib=256 vms="$(of 200 20)" only=hidden
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

# boots REPETITIONS FIGURE KINDS [OPTION...]: boots a guest on each kind of memory
# (BACKING:MEMORY), and begins with another kind in each repetition
boots() {
	reps=$1 of_what=$2 kinds=$3
	shift 3
	echo "# $of_what"
	started=$(cut -d. -f1 /proc/uptime)
	rep=0
	while [ $rep -lt "$reps" ]; do
		for kind in $kinds; do
			boot "$of_what" "${kind%:*}" "${kind#*:}" 9 $rep "$@"
		done
		kinds="${kinds#* } ${kinds%% *}"
		rep=$((rep + 1))
	done
	echo "# took $(($(cut -d. -f1 /proc/uptime) - started)) s"
}

# boots_on_each REPETITIONS: on a kernel without blocks all hidden memory is hidden-0
boots_on_each() {
	kinds="plain:gmem thp:thp"
	[ ! -w $order ] || kinds="plain:gmem hidden:hidden thp:thp"
	boots "$1" boot "$kinds"
}

# These figures keep the direct map whole.
costs() {
	measure population reps="$(of 7 1)" mib="$(of 64 16)" only=plain,hidden,shmem,thp,huge
	measure guest reps="$(of 5 1)" mib="$(of 64 8)" only=plain,hidden,shmem,thp,huge
	measure memory reps="$(of 3 1)" mib="$(of 128 32)" only=plain,hidden,shmem,thp,huge
	measure growth-size reps="$(of 2 1)" mib="$(of 2048 128)" only=plain,hidden,thp,huge
	measure growth-vms reps="$(of 2 1)" mib=8 vms="$(of 64 4)" only=plain,hidden,thp,huge
	boots_on_each "$(of 5 1)"
}

# Backings of order-0 pages are slow and split the direct map.
pieces() {
	measure vms vms="$(of 30 5)" mib=16 tails=1 only=hidden
	measure vms vms="$(of 8 2)" mib=8 only=hidden-0
	measure counts mib="$(of 64 8)" slow=4 only=hidden-0,secret,shmem
	measure clock mib=8 reps="$(of 3 1)" count=20 only=hidden-0
	measure access mib=8 reps="$(of 3 1)" count=3 only=hidden-0
	measure population reps="$(of 3 1)" slow="$(of 4 2)" only=hidden-0,secret
	measure guest reps="$(of 3 1)" slow="$(of 4 2)" only=hidden-0
	for busy in 1 3; do
		measure population reps="$(of 3 1)" mib="$(of 32 8)" slow=2 busy=$busy
		measure guest reps="$(of 3 1)" mib="$(of 16 8)" slow=2 busy=$busy
	done
	[ "$length" != full ] || boot boot hidden-0 hidden 0 0
}

# Needs a host with as many CPUs as the guest has vCPUs.
vcpus() {
	measure growth-vcpus reps="$(of 3 1)" mib="$(of 64 16)" vcpus=8 only=plain,hidden,thp,huge
}

# Needs a host of 1.3 GiB in a boot of its own, because the figure is the state of the
# direct map and of free memory at the end.
holes() {
	measure holes mib=160 count="$(of 3 1)" only="$(of plain,hidden hidden)"
}

# Needs a host of 12 GiB that has just booted.
broken() {
	measure broken mib=512 vms="$(of 100 10)" only=hidden
}

# Boots VMs with Debian's unmodified QEMU.
qemu() {
	if ! grep -q guestmem /proc/filesystems; then
		echo "# qemu: not measured, as this kernel has no file system guestmem"
		return
	fi
	/qemu/bench "$(of 3 1)" "$(of 3 1)"
}

# Measures what the limits for an arm64 host compare, with the same sizes.
counts_arm64() {
	measure counts mib="$(of 1024 512)" only=hidden,thp,mount,tmpfs
	measure vms vms=100 mib="$(of 48 16)" only=hidden
	measure access mib=8 reps="$(of 5 1)" count="$(of 200 50)" only=hidden
	measure walk mib="$(of 512 128)" reps="$(of 2 1)" count="$(of 500000 100000)" only=hidden,thp,mount,tmpfs
}

times_arm64() {
	measure cycle-guest mib=512 reps="$(of 9 2)" only=hidden,thp
	measure walk-turns mib=512 reps="$(of 9 2)" count="$(of 300000 200000)" only=hidden,thp,huge,mount
	boots_on_each "$(of 9 1)"
}

# Needs an arm64 host with pKVM, which of a guest_memfd takes only sealed memory.
protected_arm64() {
	boots "$(of 9 2)" boot-protected "hidden:sealed thp:thp" --protected
}

icount_arm64() {
	measure cycle reps="$(of 5 2)" mib="$(of 64 16)" instructions=1 only=hidden,thp,huge
}

icount() {
	measure population reps="$(of 5 2)" mib=16 slow=2 instructions=1
	measure cycle reps="$(of 5 2)" mib="$(of 64 16)" instructions=1 only="$(of plain,hidden,shmem,thp,huge hidden,thp,huge)"
	measure slot reps="$(of 5 1)" mib="$(of 64 16)" instructions=1 only=hidden,mount,tmpfs
	measure clock reps="$(of 3 1)" mib=8 count=100 vcpus=0 instructions=1
	measure access reps="$(of 3 1)" mib=8 count=100 vcpus=0 instructions=1 only=hidden
	measure translate reps="$(of 3 1)" mib=8 count=1000 instructions=1 only=plain,hidden,shmem,thp,huge
}

echo "# host: Linux $(uname -r), $(nproc) CPUs, $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB"
for section; do
	case $section in
	counts | cycles | costs | pieces | vcpus | holes | broken | qemu | icount) $section ;;
	counts-arm64) counts_arm64 ;;
	times-arm64) times_arm64 ;;
	protected-arm64) protected_arm64 ;;
	icount-arm64) icount_arm64 ;;
	*) echo "bench-host.sh: no section $section" >&2; exit 2 ;;
	esac
done
