#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# demo-host.sh MEMORY...
#
# The part of the demo that runs in the emulated host, all in one boot: for each
# kind of guest memory named it boots a guest that writes a secret all over its
# pages, and measures what the host's kernel and the VMM can reach of them while the
# guest runs and after it is gone. The VMM is "guestmem run" for plain, gmem, hidden
# and sealed memory, and for protected VMs, whose memory pKVM takes from the host; for
# the kind qemu it is Debian's QEMU, unmodified, with the guest's memory in a file on a
# mount of the guestmem file system. The kernel keeps
# a part of what a hidden guest leaves, cleared, in a pool that its direct map lacks
# as well; the demo empties the pool and looks again. Then it lends a part of hidden
# memory to the kernel and takes it back. Ends with a table and a verdict. Every
# number is measured here and now; what cannot be measured fails the demo.
set -u

case $(uname -m) in
aarch64) clock=arch_sys_counter clock_pages='' width=18 ;;	# a register, of each CPU
*) clock=kvm-clock clock_pages=1 width=12 ;;
esac
cpus=4
mem=256M
mem_pages=65536
secret_mb=64
secret_pages=$((secret_mb * 256))
lend_seed=2000
lend_stages="user kernel user-again"	# of tests/guest/lend.c
lent_pages=1024				# that have the secret
boot_limit=${BOOT_LIMIT:-600}	# seconds; a boot takes 10 on an idle machine
pictures=/tmp/pictures
trace=/sys/kernel/tracing
pool=/sys/kernel/debug/guest_memfd/pool
pool_marks=/sys/module/guest_memfd/parameters/pool
results=/tmp/results
mount_point=/dev/guestmem
pid=''
copier=''	# of QEMU's console
failures=0

say() {
	echo "$*"
}

die() {
	say "demo: $*"
	[ -z "$pid" ] || kill "$pid" 2>/dev/null
	say "demo: FAILED before the end, nothing is proven."
	exit 1
}

# What was measured of one kind of memory: put KIND NAME VALUE, get KIND NAME.
put() {
	echo "$3" >"$results/$1.$2"
}

get() {
	cat "$results/$1.$2" 2>/dev/null || echo '?'
}

uptime_ms() {
	awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime
}

# value FILE KEY: of a "key=value" line.
value() {
	sed -n "s/^\(guestmem: \)\{0,1\}$2=//p" "$1" | tail -n 1
}

vmstat() {
	grep -E '^(direct_map_level[23]_splits|nr_tlb_)' /proc/vmstat >"$1"
}

# grown BEFORE AFTER NAME
grown() {
	awk -v name="$3" '$1 == name { v[FILENAME] = $2; seen++ }
		END { if (seen == 2) print v[ARGV[2]] - v[ARGV[1]]; else print "?" }' "$1" "$2"
}

# All numbers that the guest's guest_memfd shows, or its file on the mount, as key=value;
# nothing for plain memory.
fdinfo() {
	for f in /proc/"$pid"/fdinfo/*; do
		grep -q '^guest_memfd-hidden:' "$f" 2>/dev/null || continue
		sed -n 's/^guest_memfd-\([a-z-]*\):[[:space:]]*/\1=/p' "$f"
		return
	done
}

map_counts() {
	guestmem map --counts >/tmp/counts || die "guestmem map failed"
	sed -n 's/^gib=all .* unmapped=\([0-9]*\)$/\1/p' /tmp/counts
}

# Pages that the kernel keeps hidden for files to come; a kernel without a pool has none.
pool_pages() {
	[ -e $pool ] || { echo 0; return; }
	awk '$1 == "blocks" { n += 512 * $2 } $1 == "single" { n += $2 } END { print n + 0 }' $pool
}

# Turn the pool off until the kernel has restored and freed all of it.
empty_pool() {
	[ -e $pool_marks ] || return 0
	marks=$(cat $pool_marks)
	echo 0 >$pool_marks
	limit=$(($(uptime_ms) + 60000))
	until [ "$(pool_pages)" -eq 0 ]; do
		[ "$(uptime_ms)" -lt $limit ] || die "the pool has $(pool_pages) pages 60 s after it was turned off"
		sleep 0.1
	done
	echo "$marks" >$pool_marks
}

reference_events() {
	for event in guest_memfd_get guest_memfd_put; do
		[ -e "$trace/events/guest_memfd/$event/enable" ] || continue
		echo "$1" >"$trace/events/guest_memfd/$event/enable"
	done
}

# The pages with a direct-map reference now, one "pfn count" a line, from the trace of this guest.
referenced_now() {
	awk '{
		pfn = count = ""
		for (i = 1; i <= NF; i++) {
			if ($i ~ /^pfn=/) pfn = substr($i, 5)
			if ($i ~ /^count=/) count = substr($i, 7)
		}
		if (pfn != "" && count != "") now[pfn] = count
	} END { for (pfn in now) if (now[pfn] > 0) print pfn, now[pfn] }' "$trace/trace" | sort
}

# wait_for TEXT FILE: until the guest has said it. 1 if the VMM ends first, 2 if it takes too long.
wait_for() {
	limit=$(($(uptime_ms) + boot_limit * 1000))
	until grep -q "$1" "$2"; do
		if ! kill -0 "$pid" 2>/dev/null; then
			# It may have been the last that the guest said.
			[ -z "$copier" ] || wait "$copier"
			grep -q "$1" "$2"
			return
		fi
		[ "$(uptime_ms)" -lt "$limit" ] || return 2
		sleep 0.5
	done
}

# guest_failed KIND WHAT: a guest that does not do what guests do
guest_failed() {
	say "demo: $1: the guest $2. Its console ended with:"
	tail -n 15 /tmp/console | sed 's/^/    /'
	tail -n 5 /tmp/vmm.err | sed 's/^/    /'
	say "demo: guests with several vCPUs sometimes fail under emulation for the emulator's own"
	say "demo: reasons, on the unmodified kernel too. This run has proven nothing either way."
	die "$1: no guest"
}

# The VMM has ended: by itself, or because its guest did?
vmm_ended() {
	wait "$pid"
	status=$?
	pid=''
	case $status in
	1 | 2)
		tail -n 5 /tmp/vmm.err
		die "$1: the VMM failed"
		;;
	esac
	guest_failed "$1" "ended while it booted (the VMM's status $status)"
}

# run_guestmem KIND SEED
run_guestmem() {
	cmdline="loglevel=4 secret_mb=$secret_mb secret_seed=$2"
	case $1 in
	protected) set -- --protected ;;
	*) set -- --memory "$1" ;;
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
	started=$(uptime_ms)
	copy_console "$started" </tmp/serial >/tmp/console 9>&- &
	copier=$!
	qemu-system-x86_64 -accel kvm -cpu host -smp $cpus -m $mem -machine q35,smm=on,memory-backend=m \
		-object memory-backend-file,id=m,mem-path=$mount_point,share=on,align=2M,size=$mem \
		-nodefaults -no-user-config -display none -no-reboot -serial stdio \
		-kernel /demo/kernel -initrd /demo/initrd \
		-append "console=ttyS0 loglevel=4 secret_mb=$secret_mb secret_seed=$1" \
		</tmp/stdin >/tmp/serial 2>>/tmp/vmm.err &
	pid=$!
}

start_guest() {
	: >/tmp/console
	case $1 in
	qemu) run_qemu "$2" ;;
	*) run_guestmem "$1" "$2" ;;
	esac
	wait_for 'payload: secret_pages=.* ready' /tmp/console
	case $? in
	1) vmm_ended "$1" ;;
	2) guest_failed "$1" "was not up after $boot_limit s" ;;
	esac
	put "$1" cpus "$(sed -n 's/^.*payload: cpus=\([0-9]*\) .*/\1/p' /tmp/console)"
	put "$1" clock "$(sed -n 's/^.*payload: cpus=.* clocksource=\([a-z_-]*\).*/\1/p' /tmp/console)"
	put "$1" secret "$(sed -n 's/^.*payload: secret_pages=\([0-9]*\) .*/\1/p' /tmp/console)"
}

end_guest() {
	echo quit >/tmp/stdin
	wait_for 'payload: ran=' /tmp/console || guest_failed "$1" "did not answer when told to end"
	wait "$pid"
	status=$?
	pid=''
	[ $status -eq 0 ] || die "$1: the VMM ended with status $status, not 0"
	if [ -n "$copier" ]; then
		wait "$copier"
		copier=''
		umount $mount_point || die "the mount is still in use after its VM has ended"
	fi
	put "$1" ran "$(sed -n 's/^.*payload: ran=\([0-9]*\) .*/\1/p' /tmp/console)"
	put "$1" backwards "$(sed -n 's/^.*payload: ran=.* backwards=\([0-9]*\) .*/\1/p' /tmp/console)"
	put "$1" intact "$(sed -n 's/^.*payload: ran=.* intact=\([0-9]*\).*/\1/p' /tmp/console)"
	put "$1" boot_ms "$(value /tmp/vmm.err mark-ms)"
}

# scan KIND WHEN SEED
scan() {
	guestmem scan --seed "$3" --list >/tmp/scan || die "guestmem scan failed"
	for key in found_pages unreadable_pages stale_pages unconfirmed_pages read_pages ram_pages seconds; do
		put "$1" "$2_$key" "$(value /tmp/scan $key)"
	done
	say "  scanned $(get "$1" "$2_ram_pages") pages of RAM in $(get "$1" "$2_seconds") s:" \
		"the secret is on $(get "$1" "$2_found_pages")," \
		"$(get "$1" "$2_unreadable_pages") could not be read"
}

# scan_vmm KIND SEED: what the VMM's process has of its guest's memory
scan_vmm() {
	scan_process "$pid" "$2" $((mem_pages * 4096)) >/tmp/process || die "scan_process failed"
	for key in guest_pages guest_rss_pages found_pages; do
		put "$1" "vmm_$key" "$(value /tmp/process $key)"
	done
	say "  looked at all of the VMM's process: $(get "$1" vmm_guest_pages) pages of guest memory," \
		"the secret is on $(get "$1" vmm_found_pages)"
}

# lend_stage NAME: what lend has done, and what the host finds of it
lend_stage() {
	wait_for "^lend: at=$1 " /tmp/lend || die "lend did not get as far as $1: $(tail -n 1 /tmp/lend)"
	for key in write read intact; do
		put "lend.$1" $key "$(sed -n "s/^lend: at=$1 .*$key=\([A-Za-z0-9]*\).*/\1/p" /tmp/lend)"
	done
	scan "lend.$1" alive $lend_seed
	echo >&8
}

# A part of hidden memory is lent to the kernel for O_DIRECT, and taken back.
lend_memory() {
	say "lending 4 of 16 MiB of hidden memory to the kernel, for O_DIRECT (secret number $lend_seed)"
	dd if=/dev/zero of=/tmp/disk bs=1M count=1 2>/dev/null
	losetup /dev/loop0 /tmp/disk || die "no loop device"
	mkfifo /tmp/lend.in
	exec 8<>/tmp/lend.in
	lend /dev/loop0 $lend_seed </tmp/lend.in >/tmp/lend 2>&1 8>&- 9>&- &
	pid=$!
	for stage in $lend_stages; do
		lend_stage "$stage"
	done
	wait "$pid" || die "lend failed: $(tail -n 1 /tmp/lend)"
	pid=''
	losetup -d /dev/loop0
}

measure() {
	say "$1: a guest with $cpus vCPUs and $mem boots (secret number $2)"
	# The number of the page tables first: then no page is missed that leaves the pool meanwhile.
	unmapped=$(map_counts)
	put "$1" unmapped_before $((unmapped - $(pool_pages)))
	vmstat /tmp/vmstat.before
	[ ! -e $trace/trace ] || : >$trace/trace
	reference_events 1
	start_guest "$1" "$2"
	vmstat /tmp/vmstat.after
	for name in direct_map_level2_splits direct_map_level3_splits nr_tlb_remote_flush \
		nr_tlb_remote_flush_received nr_tlb_local_flush_all nr_tlb_local_flush_one; do
		put "$1" $name "$(grown /tmp/vmstat.before /tmp/vmstat.after $name)"
	done
	say "  up: $(get "$1" cpus) vCPUs, clocksource $(get "$1" clock), $(get "$1" secret) pages with the secret"

	# The page tables are counted between two looks at the file's own counters: the guest runs on.
	fdinfo >/tmp/fdinfo.1
	unmapped=$(map_counts)
	put "$1" pool "$(pool_pages)"
	fdinfo >/tmp/fdinfo.2
	put "$1" unmapped $((unmapped - $(get "$1" unmapped_before)))
	for key in populated hidden referenced donated shared level-none level-user; do
		number=$(value /tmp/fdinfo.2 $key)
		put "$1" $key "${number:--}"	# plain memory has none of these
	done
	put "$1" hidden_1 "$(value /tmp/fdinfo.1 hidden)"
	guestmem map --title "Direct map of the host while a guest on $1 memory runs" \
		-o "$pictures/direct-map-$1.svg" || die "guestmem map failed"
	scan "$1" alive "$2"
	cp /tmp/scan "$results/$1.pfns"
	scan_vmm "$1" "$2"
	referenced_now >"$results/$1.referenced_pfns"

	end_guest "$1"
	reference_events 0
	say "  gone: all $(get "$1" intact) pages were intact, clocks went backwards $(get "$1" backwards) times"
	scan "$1" gone "$2"
	unmapped=$(map_counts)
	put "$1" pool_after "$(pool_pages)"
	put "$1" unmapped_after $((unmapped - $(get "$1" unmapped_before)))
	case $1 in
	hidden | sealed | protected | qemu)
		# The scan could not read what the pool has: now it can.
		empty_pool
		say "  emptied the pool, which had $(get "$1" pool_after) pages"
		scan "$1" emptied "$2"
		put "$1" unmapped_emptied $(($(map_counts) - $(get "$1" unmapped_before)))
		;;
	*)
		put "$1" emptied_found_pages -
		put "$1" unmapped_emptied -
		;;
	esac
}

row() {
	printf '%-48s' "$1"
	shift
	for cell in "$@"; do
		printf '%*s' $width "$cell"
	done
	printf '\n'
}

# table_row TITLE NAME: of every kind of memory
table_row() {
	title=$1 name=$2
	set --
	for kind in $kinds; do
		set -- "$@" "$(get "$kind" "$name")"
	done
	row "$title" "$@"
}

boot_row() {
	set --
	for kind in $kinds; do
		set -- "$@" "$(get "$kind" boot_ms | awk '{ if ($1 + 0) printf "%.1f", $1 / 1000; else print "?" }')"
	done
	row "boot to user space, s" "$@"
}

table() {
	say
	# shellcheck disable=SC2086
	row "guest memory" $kinds
	table_row "vCPUs" cpus
	table_row "  of these ran and read their clock" ran
	table_row "clocksource" clock
	table_row "times a clock was behind another" backwards
	boot_row
	say "while the guest runs"
	table_row "  its pages with the secret" secret
	table_row "  pages where the host finds it" alive_found_pages
	table_row "  pages of RAM the host cannot read" alive_unreadable_pages
	table_row "  pages missing in the kernel's page tables" unmapped
	table_row "    of these in no file, but in the pool" pool
	table_row "  pages in its file" populated
	table_row "    hidden" hidden
	table_row "    direct-map referenced" referenced
	table_row "    taken from the host by pKVM" donated
	table_row "    for the guest alone (of the file's size)" level-none
	table_row "    for the guest and the VMM (the same)" level-user
	table_row "  pages readable by stale TLB entries" alive_stale_pages
	table_row "  its pages in mappings of the VMM" vmm_guest_pages
	table_row "    of these in the VMM's page tables" vmm_guest_rss_pages
	table_row "  pages where /proc/PID/mem of the VMM shows it" vmm_found_pages
	say "after the guest is gone"
	table_row "  its pages were intact" intact
	table_row "  pages where the host finds the secret" gone_found_pages
	table_row "  pages still missing in the page tables" unmapped_after
	table_row "    of these in the pool, for the next guest" pool_after
	say "after the pool was emptied"
	table_row "  pages where the host finds the secret" emptied_found_pages
	table_row "  pages still missing in the page tables" unmapped_emptied
	say "cost from its start until the secret was written"
	table_row "  2 MiB mappings split" direct_map_level2_splits
	table_row "  1 GiB mappings split" direct_map_level3_splits
	if grep -q ^nr_tlb_ /proc/vmstat; then	# the kernel counts them on x86 only
		table_row "  TLB flushes: asked of other CPUs" nr_tlb_remote_flush
		table_row "               received" nr_tlb_remote_flush_received
		table_row "               local, everything" nr_tlb_local_flush_all
		table_row "               local, one page" nr_tlb_local_flush_one
	fi
	say
	if [ -e $pool_marks ]; then
		say "The pool: of what hidden guests leave, the kernel keeps some blocks (guest_memfd.pool is $(cat $pool_marks):"
		say "low and high watermark of each node). They are cleared, and stay hidden until the next such guest"
		say "takes them, or until the kernel needs memory. The guests of this table began with an empty pool."
		say
	fi
	for kind in $kinds; do
		[ -s "$results/$kind.referenced_pfns" ] || continue
		say "Pages with a direct-map reference while the guest on $kind memory ran:"
		while read -r pfn count; do
			say "  pfn $pfn, by $count clocks, $(grep -q "^pfn=$pfn " "$results/$kind.pfns" &&
				echo "WITH the secret" || echo "without the secret")"
		done <"$results/$kind.referenced_pfns"
		say
	done
}

lend_row() {
	title=$1 name=$2
	set --
	for stage in $lend_stages; do
		set -- "$@" "$(get "lend.$stage" "$name")"
	done
	row "$title" "$@"
}

lend_table() {
	row "a part of hidden memory, lent to the kernel" before lent "taken back"
	lend_row "  O_DIRECT write from it" write
	lend_row "  O_DIRECT read into it" read
	lend_row "  pages where the host finds the secret" alive_found_pages
	lend_row "  pages of the file that are intact" intact
	say
}

# expect KIND WHAT A OPERATOR B: as test(1); what was not measured is no number and fails
expect() {
	test "$3" "$4" "$5" 2>/dev/null && return
	say "NOT SO: $1: $2 ($3 $4 $5)"
	failures=$((failures + 1))
}

# sum A B: no number if one of them is none
sum() {
	awk -v a="$1" -v b="$2" 'BEGIN { if (a b ~ /^[0-9]+$/ && a != "" && b != "") print a + b; else print "?" }'
}

# may_share KIND: pages of a guest on sealed memory that the VMM may reach
may_share() {
	case $1 in
	protected) get protected shared ;;	# the guest's bounce buffers
	*) echo 0 ;;
	esac
}

judge() {
	for kind in $kinds; do
		expect "$kind" "all vCPUs are there" "$(get "$kind" cpus)" -eq $cpus
		expect "$kind" "all vCPUs ran" "$(get "$kind" ran)" -eq $cpus
		expect "$kind" "the clock is $clock" "$(get "$kind" clock)" = $clock
		expect "$kind" "no clock was behind another" "$(get "$kind" backwards)" -eq 0
		expect "$kind" "the guest kept its pages" "$(get "$kind" intact)" -eq $secret_pages
		expect "$kind" "no page is readable by a stale TLB entry" "$(get "$kind" alive_stale_pages)" -eq 0
		expect "$kind" "the direct map lacks what the pool has, and no more" \
			"$(get "$kind" unmapped_after)" -eq "$(get "$kind" pool_after)"
		case $kind in
		hidden | sealed | protected | qemu)
			expect "$kind" "the host finds the secret nowhere" "$(get "$kind" alive_found_pages)" -eq 0
			expect "$kind" "nor after the guest is gone" "$(get "$kind" gone_found_pages)" -eq 0
			expect "$kind" "nor after the pool was emptied" "$(get "$kind" emptied_found_pages)" -eq 0
			expect "$kind" "the direct map is whole again" "$(get "$kind" unmapped_emptied)" -eq 0
			unmapped=$(($(get "$kind" unmapped) - $(get "$kind" pool)))
			expect "$kind" "the pages are not in the page tables" $unmapped -ge $secret_pages
			expect "$kind" "the counters say the same" "$(get "$kind" hidden_1)" -le $unmapped
			expect "$kind" "the counters say the same" "$(get "$kind" hidden)" -ge $unmapped
			expect "$kind" "every page of the file is hidden or has a direct-map reference" "$(get "$kind" populated)" \
				-le "$(sum "$(get "$kind" hidden)" "$(get "$kind" referenced)")"
			expect "$kind" "the referenced pages are listed" \
				"$(wc -l <"$results/$kind.referenced_pfns")" -eq "$(get "$kind" referenced)"
			if [ -n "$clock_pages" ]; then
				expect "$kind" "the clocks have references" "$(get "$kind" referenced)" -ge 1
			else
				expect "$kind" "no page is referenced" "$(get "$kind" referenced)" -eq 0
			fi
			expect "$kind" "the VMM's process does not show the secret" "$(get "$kind" vmm_found_pages)" -eq 0
			;;
		*)
			expect "$kind" "the VMM's process shows every page" "$(get "$kind" vmm_found_pages)" -ge $secret_pages
			expect "$kind" "the host finds every page" "$(get "$kind" alive_found_pages)" -ge $secret_pages
			expect "$kind" "nothing is hidden" "$(get "$kind" unmapped)" -eq 0
			;;
		esac
		case $kind in
		sealed | protected)
			expect "$kind" "the VMM has no mapping of it" "$(get "$kind" vmm_guest_pages)" -eq 0
			expect "$kind" "all of it is for the guest alone, but for what it shares" \
				"$(sum "$(get "$kind" level-none)" "$(get "$kind" level-user)")" -eq $mem_pages
			expect "$kind" "the VMM may reach what the guest shares" "$(get "$kind" level-user)" -eq "$(may_share "$kind")"
			;;
		*)
			expect "$kind" "the VMM has all of it mapped" "$(get "$kind" vmm_guest_pages)" -ge $mem_pages
			;;
		esac
		[ "$kind" != protected ] ||
			expect protected "the guest was given its pages" "$(get protected donated)" -ge $secret_pages
	done
}

judge_lending() {
	for stage in $lend_stages; do
		case $stage in
		kernel) result=ok found=$lent_pages ;;
		*) result=EFAULT found=0 ;;
		esac
		expect "lending, $stage" "O_DIRECT from there" "$(get "lend.$stage" write)" = $result
		expect "lending, $stage" "the host finds what is lent" \
			"$(get "lend.$stage" alive_found_pages)" -eq $found
		expect "lending, $stage" "all pages are intact" "$(get "lend.$stage" intact)" -eq 4096
	done
	expect lending "O_DIRECT into there" "$(get lend.kernel read)" = ok
}

send_pictures() {
	for f in "$pictures"/*; do
		say "----- file ${f##*/}"
		base64 "$f"
		say "----- end"
	done
}

kinds=$*
mkdir -p "$pictures" "$results"
mkfifo /tmp/stdin
# Open for ever: the guest's console has no end of file.
exec 9<>/tmp/stdin
say "Host: Linux $(uname -r), $(nproc) CPUs, $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB"
seed=1000
for kind in $kinds; do
	seed=$((seed + 1))
	measure "$kind" $seed
done
case " $kinds " in
*" sealed "*) lending=1 ;;
*) lending='' ;;	# perhaps a kernel without access levels
esac
[ -z "$lending" ] || lend_memory
send_pictures
table
[ -z "$lending" ] || lend_table
judge
[ -z "$lending" ] || judge_lending
say
case "$failures $kinds" in
"0 "*plain*hidden* | "0 "*hidden*plain*)
	say "PROVEN: the host's kernel reaches every page of a guest on plain memory and no page of a"
	say "guest on hidden memory, neither while it runs nor after it."
	[ -z "$lending" ] || say "Of a guest on sealed memory the VMM reaches none either."
	case " $kinds " in
	*" protected "*) say "Of a protected guest pKVM has taken the pages from the host as well." ;;
	esac
	case " $kinds " in
	*" qemu "*) say "The guest of Debian's QEMU, unmodified, is hidden by a mount and one -object." ;;
	esac
	;;
"0 "*)
	say "As expected; but it takes plain and hidden memory in one run to prove anything."
	;;
*)
	say "NOT PROVEN: $failures expectations do not hold, see above."
	exit 1
	;;
esac
