# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
# Sourced by the tests in this directory, which run in the emulated host: VMs of
# Debian's QEMU, unmodified, whose memory is files on one mount. $memory is the type
# of the mount: guestmem (hidden memory), or tmpfs, with which the same tests show
# that they notice what the host can read.
#
# The initrd of a guest holds busybox, so that its console is a shell: "guest VM
# COMMAND". Needs /bin/qemu-system-x86_64, /bin/qmp, /bin/guestmem, /bzImage and
# /guest/init (tests/qemu/init), /guest/bin/keep, /guest/bin/fetch.

memory=${1:?a type of memory, guestmem or tmpfs}
mem_path=/dev/guestmem
boot_limit=${BOOT_LIMIT:-240}	# seconds, as others below
reply_limit=120

count=0
failed=0
vms=''

ok() { # ok NAME CONDITION...
	name=$1
	shift
	count=$((count + 1))
	if "$@"; then
		echo "ok $count - $memory: $name"
	else
		echo "not ok $count - $memory: $name"
		failed=$((failed + 1))
	fi
}

note() {
	echo "# $(cut -d' ' -f1 /proc/uptime) s: $*"
}

finish() {
	[ $failed -eq 0 ] || show_vms
	echo "1..$count"
	[ $failed -eq 0 ]
	exit
}

# What no check can go on after.
die() {
	show_vms
	echo "Bail out! $*"
	exit 1
}

show_vms() {
	for vm in $vms; do
		tail -n 25 "/vm/$vm/out" "/vm/$vm/err" | tr -d '\r' | sed "s/^/# $vm: /"
	done
}

# wait_until LIMIT COMMAND...: 1 if it fails for LIMIT seconds
wait_until() {
	until_limit=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt $until_limit ] || return 1
		sleep 0.3
	done
}

mount_memory() { # mount_memory SIZE: unless a test before has done it
	! grep -q " $mem_path " /proc/mounts || return 0
	mkdir -p $mem_path
	case $memory in
	guestmem) mount -t guestmem -o "size=$1" guestmem $mem_path ;;
	tmpfs) mount -t tmpfs -o "huge=always,size=$1" tmpfs $mem_path ;;
	*) die "unknown kind of memory $memory" ;;
	esac || die "cannot mount $memory"
}

# KiB of the mount that files have; the file of a VM has no name.
mount_used() {
	df -k $mem_path | awk 'END { print $3 }'
}

# What a VM leaves on the mount the kernel may still have to clear.
mount_empties() {
	wait_until 30 eval '[ "$(mount_used)" -eq 0 ]'
}

# check_mount_shrinks WHAT MIB: by so much, from $used
check_mount_shrinks() {
	wait_until 20 eval '[ "$(mount_used)" -le $((used - '"$2"' * 1024)) ]'
	now=$(mount_used)
	ok "$1: the mount has $((used / 1024)) MiB in use, then $((now / 1024))" [ "$now" -le $((used - $2 * 1024)) ]
}

pack_guest() {
	mkdir -p /guest/bin
	cp /bin/busybox /guest/bin/busybox
	(cd /guest && find . | cpio -o -H newc >/initrd 2>/dev/null) || die "cannot pack the guest's initrd"
}

backend() { # backend ID SIZE: memory on the mount
	echo "memory-backend-file,id=$1,mem-path=$mem_path,share=on,align=2M,size=$2"
}

cpus=4
start() { # start VM OPTION...: with $cpus vCPUs
	vm=$1
	shift
	mkdir -p "/vm/$vm"
	[ -p "/vm/$vm/in" ] || mkfifo "/vm/$vm/in"
	rm -f "/vm/$vm/qmp"
	: >"/vm/$vm/out"
	case " $vms " in
	*" $vm "*) ;;
	*) vms="$vms $vm" ;;
	esac
	# The console has no end of file.
	qemu-system-x86_64 -name "$vm" -accel kvm -cpu host -smp $cpus -nodefaults -no-user-config -display none \
		-qmp "unix:/vm/$vm/qmp,server=on,wait=off" -serial stdio \
		-chardev "file,id=bios,path=/vm/$vm/bios" -device isa-debugcon,iobase=0x402,chardev=bios \
		"$@" <>"/vm/$vm/in" >"/vm/$vm/out" 2>"/vm/$vm/err" &
	echo $! >"/vm/$vm/pid"
	wait_until 20 listens_or_ended "$vm"
}

listens_or_ended() {
	[ -S "/vm/$1/qmp" ] || has_ended "$1"
}

# start_linux VM OPTION...
start_linux() {
	linux_vm=$1
	shift
	start "$linux_vm" -kernel /bzImage -initrd /initrd -append 'console=ttyS0 quiet' "$@"
}

mib=256

pc() { # pc VM OPTION...: QEMU's default machine, with $mib of memory
	pc_vm=$1
	shift
	start_linux "$pc_vm" -machine q35,smm=on,memory-backend=m -m ${mib}M -object "$(backend m ${mib}M)" "$@"
}

pid() {
	cat "/vm/$1/pid"
}

runs() {
	kill -0 "$(pid "$1")" 2>/dev/null
}

has_ended() {
	! runs "$1"
}

# has_said VM TEXT TIMES
has_said() {
	[ "$(grep -acF -e "$2" "/vm/$1/out")" -ge "$3" ]
}

said_or_ended() {
	has_said "$@" || has_ended "$1" || grep -aq 'Kernel panic' "/vm/$1/out"
}

# await VM TEXT [TIMES [LIMIT]]: until the guest has said it
await() {
	wait_until "${4:-$reply_limit}" said_or_ended "$1" "$2" "${3:-1}" && has_said "$1" "$2" "${3:-1}"
}

up() { # up VM [BOOTS]
	await "$1" 'guest: up' "${2:-1}" "$boot_limit"
}

say() { # say VM LINE: to the guest's console
	printf '%s\n' "$2" >"/vm/$1/in"
}

# guest VM COMMAND: run by the guest's shell; its output, and its status. 125: no answer
guest() {
	number=$(($(grep -ac '^@@' "/vm/$1/out") + 1))
	before=$(wc -l <"/vm/$1/out")
	# The console does not echo, but if it did the line would not look like the answer.
	say "$1" "{ $(printf '%s' "$2" | tr '\n' ' '); } 2>&1; echo \"@@\"$number \$?"
	await "$1" "@@$number " || return 125
	tail -n +$((before + 1)) "/vm/$1/out" | tr -d '\r' | sed "/^@@$number /,\$d"
	return "$(sed -n "s/\r//;s/^@@$number //p" "/vm/$1/out")"
}

ask() { # ask VM COMMAND [ARGUMENTS]: QEMU itself
	asked=$1
	shift
	qmp "/vm/$asked/qmp" "$@"
}

# Its old monitor, which has all of a VM's snapshots in a line each.
monitor() { # monitor VM LINE
	ask "$1" human-monitor-command "{ \"command-line\": \"$2\" }"
}

# quit VM: the guest powers off; QEMU's status
power_off() {
	say "$1" 'sync; poweroff -f'
	wait_until 60 has_ended "$1" || return 125
	wait "$(pid "$1")"
}

quit() { # quit VM: as the guest is no longer needed; QEMU's status
	ask "$1" quit >/dev/null
	wait_until 60 has_ended "$1" || return 125
	wait "$(pid "$1")"
}

migration_has_ended() {
	ask "$1" query-migrate >/tmp/query
	grep -qE '"status": "(completed|failed)"' /tmp/query
}

# migrate VM URI: 1 if it fails; what QEMU says of it is in /tmp/query
migrate() {
	ask "$1" migrate "{ \"uri\": \"$2\" }" >/dev/null
	wait_until 180 migration_has_ended "$1"
	note "$(cat /tmp/query)"
	grep -q '"status": "completed"' /tmp/query
}

memtotal() { # memtotal VM: MiB that the guest's kernel has
	guest "$1" 'free -m' | awk '/^Mem:/ { print $2 }'
}

memtotal_is() { # memtotal_is VM OPERATOR MIB: as test(1)
	test "$(memtotal "$1")" "$2" "$3"
}

# kvm_stat VM NAME: of KVM, of this VM
kvm_stat() {
	cat "/sys/kernel/debug/kvm/$(pid "$1")-"*"/$2"
}

# MiB of the mount that the process of a VM has mapped by 2 MiB
mapped_huge() {
	awk -v path=$mem_path/ '/^[0-9a-f]+-[0-9a-f]+ / { ours = index($0, path) }
		ours && /^(File|Shmem)PmdMapped:/ { kib += $2 }
		END { print kib / 1024 }' "/proc/$(pid "$1")/smaps"
}

# check_huge VM MIB WHAT: MIB of guest memory are in use, by 2 MiB in QEMU and in the guest
check_huge() {
	huge=$(mapped_huge "$1") stage2=$(kvm_stat "$1" pages_2m) small=$(kvm_stat "$1" pages_4k)
	ok "$3: QEMU has $huge MiB mapped by 2 MiB" [ "$huge" -ge "$2" ]
	# What has slots of its own below 1 MiB, and what is under ROM, is mapped by 4 KiB.
	ok "$3: KVM has $stage2 pages of 2 MiB, $small of 4 KiB" [ "$stage2" -ge $(($2 / 2)) -a "$small" -le 1024 ]
}

scan() { # scan SEED: pages where the host's kernel finds the secret
	guestmem scan --seed "$1" >/tmp/scan
	sed -n 's/^found_pages=//p' /tmp/scan
}

# check_scan SEED PAGES WHAT: the host finds none of a guest's PAGES, or on tmpfs all
check_scan() {
	found=$(scan "$1")
	case $memory in
	guestmem) ok "$3: the host finds $found of $2 pages" [ "$found" -eq 0 ] ;;
	*) ok "$3: the host finds $found of $2 pages" [ "$found" -ge "$2" ] ;;
	esac
}

# check_scan_gone SEED PAGES WHAT: of a guest that has ended; free memory keeps what it held
check_scan_gone() {
	found=$(scan "$1")
	case $memory in
	guestmem) ok "$3: the host finds $found of $2 pages" [ "$found" -eq 0 ] ;;
	*) ok "$3: the host finds $found of $2 pages" [ "$found" -ge $(($2 / 2)) ] ;;
	esac
}

# keep VM SEED MIB: a guest whose memory has the secret of SEED
keep() {
	guest "$1" 'mkfifo /keep' >/dev/null
	guest "$1" "keep $2 $3 <>/keep & :" >/dev/null
	await "$1" "keep: pages=$(($3 * 256)) ready"
}

# check_kept VM WHAT [BAD]: all of it is as the guest wrote it, and its CPUs go on writing
check_kept() {
	said=$(grep -ac '^keep: check=' "/vm/$1/out")
	say "$1" 'echo check >/keep'
	await "$1" 'keep: check=' $((said + 1))
	kept=$(grep -a '^keep: check=' "/vm/$1/out" | tail -n 1 | tr -d '\r')
	case $kept in
	*" bad=${3:-0} "*" writers=$cpus") ok "$2: $kept" true ;;
	*) ok "$2: $kept" false ;;
	esac
}
