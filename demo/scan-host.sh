#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# In the emulated host: does the scanner find exactly the pages that a process
# of the host holds, by their numbers, however it reads, and not its own copies?
set -u

nr=0
bad=0

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

value() {
	sed -n "s/^$2=//p" "$1"
}

# same_pages TEXT OPTIONS...: the scanner's list is the holder's list.
same_pages() {
	text=$1
	shift
	guestmem scan --seed 77 --list "$@" >/tmp/scan
	grep '^pfn=' /tmp/scan | sort >/tmp/found
	cmp -s /tmp/held /tmp/found
	check $? "$text: $(value /tmp/scan found_pages) pages, $(value /tmp/scan unconfirmed_pages) of its own copies"
}

pages=3000
mkfifo /tmp/stdin
exec 9<>/tmp/stdin
guestmem scan --seed 77 >/tmp/scan
check "$(value /tmp/scan found_pages)" "nothing is found before there is anything"
check "$(value /tmp/scan unreadable_pages)" "all RAM is readable"

# Not the descriptor that keeps the pipe open: the holder ends when that is closed.
hold_secret 77 $pages </tmp/stdin >/tmp/holder 9>&- &
until grep -q '^ready' /tmp/holder; do
	kill -0 $! 2>/dev/null || exit 1
	sleep 0.2
done
grep '^pfn=' /tmp/holder | sort >/tmp/held
[ "$(wc -l </tmp/held)" -eq $pages ]
check $? "$pages pages are held"
same_pages "all CPUs"
same_pages "a second time"
same_pages "one CPU" --cpus 1
same_pages "anywhere" --anywhere
guestmem scan --seed 78 >/tmp/scan
check "$(value /tmp/scan found_pages)" "another secret is not found"
exec 9>&-
wait
echo "1..$nr"
exit $bad
