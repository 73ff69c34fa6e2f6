#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hidden-host.sh blocks|pages
#
# In the emulated arm64 host, whose linear map consists of blocks or of pages: does the
# linear map lack exactly the pages of a hidden file, does the scanner find the secret
# in none of them, and is the linear map entry for entry what it was after the file is
# gone? The file is that of tests/host/lend.c,
# which raises a part of it to level KERNEL for a while: the scanner has to find that
# part, and the same secret in the memory of an ordinary process.
set -u

shape=$1
nr=0
bad=0
seed=99
file_pages=4096		# of tests/host/lend.c
lent_pages=1088
lent_secrets=1024
plain_pages=500
tables=/sys/kernel/debug/kernel_page_tables
limit=60		# seconds until a worker has merged the linear map

# check RESULT TEXT
check() {
	nr=$((nr + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $nr - $2"
	else
		echo "not ok $nr - $2"
		bad=1
	fi
}

# is TEXT VALUE WANTED
is() {
	[ "$2" = "$3" ]
	check $? "$1: $2 (want $3)"
}

value() {
	sed -n "s/^$2=//p" "$1"
}

linear_map() {
	sed -n '/^---\[ Linear Mapping start/,/^---\[ Linear Mapping end/p' $tables
}

# MiB of a dump that are mapped by PMDs in contiguous groups of 32 MiB
contiguous() {
	awk '$2 ~ /M$/ && $3 == "PMD" && / CON / { n += $2 } END { print n + 0 }' "$1"
}

unmapped() {
	guestmem map --counts | sed -n 's/^gib=all .* unmapped=\([0-9]*\)$/\1/p'
}

# wait_for PATTERN FILE PID
wait_for() {
	until grep -q "$1" "$2"; do
		kill -0 "$3" 2>/dev/null || { echo "Bail out! $(tail -n 1 "$2")"; exit 1; }
		sleep 0.2
	done
}

# stage NAME FOUND MAPPED: what the host has of lend's file
stage() {
	wait_for "^lend: at=$1 " /tmp/lend $lend
	guestmem scan --seed $seed >/tmp/scan
	direct_map $lend $((file_pages * 4096)) >/tmp/frames
	is "$1: pages with the secret that the scanner finds" "$(value /tmp/scan found_pages)" "$2"
	is "$1: pages of the file" "$(value /tmp/frames pages)" $file_pages
	is "$1: of these in the linear map" "$(value /tmp/frames mapped)" "$3"
	is "$1: pages that the linear map lacks" $(($(unmapped) - before)) $((file_pages - $3))
	is "$1: pages that the scanner cannot read" "$(value /tmp/scan unreadable_pages)" \
		$((file_pages - $3))
}

# plain_alone NAME: the scanner finds the pages of the ordinary process and no others
plain_alone() {
	guestmem scan --seed $seed --list >/tmp/scan
	grep '^pfn=' /tmp/scan | sort >/tmp/found
	cmp -s /tmp/held /tmp/found
	check $? "$1: the scanner finds exactly the $plain_pages pages of an ordinary process"
}

# Hidden pages that the kernel keeps for files to come would be missing from the linear map.
echo 0 >/sys/module/guest_memfd/parameters/pool
linear_map >/tmp/map.before
before=$(unmapped)
guestmem scan --seed $seed >/tmp/scan
is "before: pages with the secret" "$(value /tmp/scan found_pages)" 0
# The linear map lacks the data of the kernel image, which is mapped elsewhere.
is "before: pages that the scanner cannot read" "$(value /tmp/scan unreadable_pages)" 0

dd if=/dev/zero of=/tmp/disk bs=1M count=1 2>/dev/null
losetup /dev/loop0 /tmp/disk || exit 1
mkfifo /tmp/lend.in /tmp/plain.in
exec 8<>/tmp/lend.in 9<>/tmp/plain.in
lend /dev/loop0 $seed </tmp/lend.in >/tmp/lend 2>&1 8>&- 9>&- &
lend=$!
stage user 0 0
linear_map >/tmp/map.hidden
cmp -s /tmp/map.before /tmp/map.hidden
is "user: the dump of the linear map differs" $? 1
diff /tmp/map.before /tmp/map.hidden | sed 's/^/# /'
text="user: MiB in contiguous groups: $(contiguous /tmp/map.hidden) of $(contiguous /tmp/map.before)"
case $shape in
blocks)
	# Otherwise the last comparison of dumps would not show that the groups return.
	[ "$(contiguous /tmp/map.hidden)" -lt "$(contiguous /tmp/map.before)" ]
	check $? "$text" ;;
pages)
	! grep -qE ' (PMD|PUD) .* BLK ' /tmp/map.before
	check $? "$text, and no block" ;;
esac

# Until the end of the test, as the pages keep the secret when the process has freed them.
hold_secret $seed $plain_pages </tmp/plain.in >/tmp/plain 8>&- 9>&- &
plain=$!
wait_for '^ready' /tmp/plain $plain
grep '^pfn=' /tmp/plain | sort >/tmp/held
plain_alone user

echo >&8
stage kernel $((plain_pages + lent_secrets)) $lent_pages
echo >&8
stage user-again $plain_pages 0
plain_alone user-again
echo >&8
wait $lend
check $? "lend ends without an error"

left=$limit
until linear_map >/tmp/map.after && cmp -s /tmp/map.before /tmp/map.after || [ $left -eq 0 ]; do
	left=$((left - 1))
	sleep 1
done
cmp -s /tmp/map.before /tmp/map.after
check $? "after: the dump of the linear map is that of before, $((limit - left)) s after the end"
[ $left -gt 0 ] || diff /tmp/map.before /tmp/map.after | sed 's/^/# /'
plain_alone after
is "after: pages that the scanner cannot read" "$(value /tmp/scan unreadable_pages)" 0
echo "1..$nr"
exit $bad
