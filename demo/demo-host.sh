#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# demo-host.sh MEMORY...
#
# The part of the demo that runs in the emulated host, all in one boot: for each
# kind of guest memory named it boots a guest that writes a secret all over its
# pages, and looks for what the host's kernel and the VMM can reach of them while
# the guest runs and after it is gone. The VMM is "guestmem run" for plain, gmem,
# hidden and sealed memory, and for protected VMs, whose memory pKVM takes from the
# host; for the kind qemu it is Debian's QEMU, unmodified, with the guest's memory in
# a file on a mount of the guestmem file system. The kernel keeps a part of what a
# hidden guest leaves, cleared, in a pool that its direct map lacks as well; the
# script empties the pool and looks again. Then it lends a part of hidden memory to
# the kernel and takes it back.
#
# The script judges nothing: it prints what programs and the kernel say, as lines
# that demo/judge reads on the outside (see observe). Other lines are for the user.
set -u

cpus=4 mem=256M mem_bytes=$((256 << 20)) secret_mb=64
lend_seed=2000
boot_limit=${BOOT_LIMIT:-600}	# seconds; a boot takes 10 on an idle machine
trace=/sys/kernel/tracing
pool=/sys/kernel/debug/guest_memfd/pool
pool_marks=/sys/module/guest_memfd/parameters/pool
mount_point=/dev/guestmem
pid=''
copier=''	# of QEMU's console

die() {
	echo "demo: $*"
	[ -z "$pid" ] || kill "$pid" 2>/dev/null
	exit 1
}

# observe WHAT COMMAND...: prints each line that the command prints as "@ SUBJECT STAGE
# WHAT LINE", and "@ SUBJECT STAGE WHAT" after the last one.
observe() {
	what=$1
	shift
	"$@" >/tmp/text || die "$subject: $* failed"
	sed "s/^/@ $subject $stage $what /" /tmp/text
	echo "@ $subject $stage $what"
}

# show FILE: nothing if this kernel does not have it
show() {
	[ ! -e "$1" ] || cat "$1"
}

vmstat() {
	sed -n '/^direct_map_level/p; /^nr_tlb_/p' /proc/vmstat
}

# All numbers that the guest's guest_memfd shows, or its file on the mount.
fdinfo() {
	file=$(grep -ls '^guest_memfd-hidden:' /proc/"$pid"/fdinfo/* | head -n 1)
	[ -z "$file" ] || cat "$file"
}

references() {
	[ ! -e $trace/trace ] || sed -n '/pfn=/p' $trace/trace
}

trace_references() {
	for event in guest_memfd_get guest_memfd_put; do
		[ ! -e $trace/events/guest_memfd/$event/enable ] ||
			echo "$1" >$trace/events/guest_memfd/$event/enable
	done
}

uptime_ms() {
	read -r up _ </proc/uptime
	echo "${up%.*}${up#*.}0"
}

# until_true SECONDS COMMAND...: 1 if it takes longer
until_true() {
	limit=$(($(uptime_ms) + $1 * 1000))
	shift
	until "$@"; do
		[ "$(uptime_ms)" -lt $limit ] || return 1
		sleep 0.2
	done
}

pool_is_empty() {
	! grep -qE '^(blocks|single) +[1-9]' $pool
}

# Turn the pool off until the kernel has restored and freed all of it.
empty_pool() {
	[ -e $pool_marks ] || return 0
	marks=$(cat $pool_marks)
	echo 0 >$pool_marks
	until_true 60 pool_is_empty || die "the pool is not empty 60 s after it was turned off"
	echo "$marks" >$pool_marks
}

vmm_is_gone() {
	! kill -0 "$pid" 2>/dev/null
}

said_or_gone() {
	grep -qs "$1" "$2" || vmm_is_gone
}

# wait_for TEXT FILE: until the guest has said it. 1 if the VMM ends first, 2 if it takes too long.
wait_for() {
	until_true "$boot_limit" said_or_gone "$1" "$2" || return 2
	# It may have been the last that the guest said.
	! vmm_is_gone || [ -z "$copier" ] || wait "$copier"
	grep -q "$1" "$2"
}

# guest_failed WHAT: a guest that does not do what guests do
guest_failed() {
	echo "demo: $subject: the guest $1. Its console ended with:"
	tail -n 15 /tmp/console | sed 's/^/    /'
	tail -n 5 /tmp/vmm.err | sed 's/^/    /'
	echo "demo: guests with several vCPUs sometimes fail under emulation for the emulator's own"
	echo "demo: reasons, on the unmodified kernel too. This run has proven nothing either way."
	die "$subject: no guest"
}

# The VMM has ended: by itself, or because its guest did?
vmm_ended() {
	wait "$pid"
	status=$?
	pid=''
	case $status in
	1 | 2)
		tail -n 5 /tmp/vmm.err | sed 's/^/    /'
		die "$subject: the VMM failed"
		;;
	esac
	guest_failed "ended while it booted (the VMM's status $status)"
}

run_guestmem() {
	case $subject in
	protected) set -- --protected ;;
	*) set -- --memory "$subject" ;;
	esac
	guestmem run --kernel /demo/kernel --initrd /demo/initrd --cpus $cpus --mem $mem "$@" \
		--cmdline "$cmdline" --stats --mark "payload: cpus=" \
		</tmp/stdin >/tmp/console 2>/tmp/vmm.err &
	pid=$!
}

# Notes in /tmp/vmm.err how long after $1 the guest's first program said its first line,
# as guestmem run does by itself.
copy_console() {
	while IFS= read -r line; do
		printf '%s\n' "$line"
		case $line in
		*"payload: cpus="*) echo "mark-ms=$(($(uptime_ms) - $1))" >>/tmp/vmm.err ;;
		esac
	done
}

# The guest has a PC with SeaBIOS and SMM. The mount is as large as its memory.
run_qemu() {
	mkdir -p $mount_point
	mount -t guestmem -o size=$mem guestmem $mount_point || die "cannot mount guestmem"
	[ -p /tmp/serial ] || mkfifo /tmp/serial
	: >/tmp/vmm.err
	copy_console "$(uptime_ms)" </tmp/serial >/tmp/console 9>&- &
	copier=$!
	qemu-system-x86_64 -accel kvm -cpu host -smp $cpus -m $mem -machine q35,smm=on,memory-backend=m \
		-object memory-backend-file,id=m,mem-path=$mount_point,share=on,align=2M,size=$mem \
		-nodefaults -no-user-config -display none -no-reboot -serial stdio \
		-kernel /demo/kernel -initrd /demo/initrd -append "console=ttyS0 $cmdline" \
		</tmp/stdin >/tmp/serial 2>>/tmp/vmm.err &
	pid=$!
}

start_guest() {
	cmdline="loglevel=4 secret_mb=$secret_mb secret_seed=$seed"
	: >/tmp/console
	case $subject in
	qemu) run_qemu ;;
	*) run_guestmem ;;
	esac
	wait_for 'payload: secret_pages=.* ready' /tmp/console
	case $? in
	1) vmm_ended ;;
	2) guest_failed "was not up after $boot_limit s" ;;
	esac
}

end_guest() {
	echo quit >/tmp/stdin
	wait_for 'payload: ran=' /tmp/console || guest_failed "did not answer when told to end"
	wait "$pid"
	status=$?
	pid=''
	[ $status -eq 0 ] || die "$subject: the VMM ended with status $status, not 0"
	if [ -n "$copier" ]; then
		wait "$copier"
		copier=''
		umount $mount_point || die "the mount is still in use after its VM has ended"
	fi
}

# guest_on MEMORY: the life of a guest, and what is left of it
guest_on() {
	subject=$1 stage=before
	echo "$subject: a guest with $cpus vCPUs and $mem boots (secret number $seed)"
	# The number of the page tables first: then no page is missed that leaves the pool meanwhile.
	observe map guestmem map --counts
	observe pool show $pool
	observe vmstat vmstat
	[ ! -e $trace/trace ] || : >$trace/trace
	trace_references 1
	start_guest
	stage=running
	observe vmstat vmstat
	observe console grep payload: /tmp/console
	# The page tables are counted between two looks at the file's own counters: the guest runs on.
	observe fdinfo-before fdinfo
	observe map guestmem map --counts
	observe pool show $pool
	observe fdinfo fdinfo
	guestmem map --title "Direct map of the host while a guest on $subject memory runs" \
		-o /tmp/map.svg || die "guestmem map failed"
	observe picture cat /tmp/map.svg
	observe scan guestmem scan --seed $seed --list
	observe process scan_process "$pid" $seed $mem_bytes
	observe references references
	end_guest
	trace_references 0
	stage=gone
	observe console grep payload: /tmp/console
	observe vmm cat /tmp/vmm.err
	observe scan guestmem scan --seed $seed
	observe map guestmem map --counts
	observe pool show $pool
	case $subject in
	hidden | sealed | protected | qemu)
		# The scan could not read what the pool has: now it can.
		empty_pool
		stage=emptied
		observe pool show $pool
		observe scan guestmem scan --seed $seed
		observe map guestmem map --counts
		;;
	esac
}

# A part of hidden memory is lent to the kernel for O_DIRECT, and taken back.
lend_memory() {
	subject=lend
	echo "lending 4 of 16 MiB of hidden memory to the kernel, for O_DIRECT (secret number $lend_seed)"
	dd if=/dev/zero of=/tmp/disk bs=1M count=1 2>/dev/null
	losetup /dev/loop0 /tmp/disk || die "no loop device"
	mkfifo /tmp/lend.in
	exec 8<>/tmp/lend.in
	lend /dev/loop0 $lend_seed </tmp/lend.in >/tmp/lend 2>&1 8>&- 9>&- &
	pid=$!
	for stage in user kernel user-again; do	# of tests/host/lend.c
		wait_for "^lend: at=$stage " /tmp/lend ||
			die "lend did not get as far as $stage: $(tail -n 1 /tmp/lend)"
		observe lend cat /tmp/lend
		observe scan guestmem scan --seed $lend_seed
		echo >&8
	done
	wait "$pid" || die "lend failed: $(tail -n 1 /tmp/lend)"
	pid=''
	losetup -d /dev/loop0
}

mkfifo /tmp/stdin
# Open for ever: the guest's console has no end of file.
exec 9<>/tmp/stdin
echo "Host: Linux $(uname -r), $(nproc) CPUs, $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB"
subject=host stage=start
observe pool-marks show $pool_marks
seed=1000
for memory; do
	seed=$((seed + 1))
	guest_on "$memory"
done
case " $* " in
*" sealed "*) lend_memory ;;	# without it perhaps a kernel without access levels
esac
echo "@ end"
