#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Inside the emulated host: run the KVM selftests of a list, print TAP.
# usage: run.sh DIR LIST plain|hidden|sealed|user|guestmem [NAME...]
# The exit status is 0 if every test ended as the list says.
dir=$1 list=$2 mode=$3
shift 3
only=" $* "
case $mode in
plain | hidden) ;;
sealed) export KVM_SELFTEST_GMEM_SEAL=1 ;;
user) export KVM_SELFTEST_GMEM_DIR=- ;;
guestmem)
	mkdir -p /dev/guestmem
	mount -t guestmem -o size=75% guestmem /dev/guestmem || exit 2
	export KVM_SELFTEST_GMEM_DIR=/dev/guestmem
	;;
*) exit 2 ;;
esac

now() {
	read -r up _ </proc/uptime
	echo "${up%.*}${up#*.}"
}

# Each test has a mark in the kernel log, so that a report can be put to it.
reports() {
	dmesg | sed -n "\,kvm-selftests: $mode $i $name\$,,\$p" |
		grep -E 'WARNING:|BUG[: ]|Oops|INFO: (task|rcu|possible)|general protection|KASAN:|list_(add|del) corr'
}

# One line of the list: sets name, want, secs, args, why; fails for a test that
# has no part in this run.
parse() {
	case $1 in '' | '#'* | 'again '* | 'bare '*) return 1 ;; esac
	why=${1#*#}
	# shellcheck disable=SC2086
	set -- ${1%%#*}
	name=$1 want=$2 memory=$3 secs=$4
	shift 4
	args=$*
	[ "$only" = "  " ] || case $only in *" $name "*) ;; *) return 1 ;; esac
	[ "$want" != out ] || return 1
	[ "$mode" = plain ] || [ "$memory" != plain ]
}

# Run the test; sets got, log.
run() {
	# shellcheck disable=SC2086
	setsid timeout -s KILL "$secs" "$dir/$name" $args >/tmp/kvm-selftest.out 2>&1 </dev/null &
	wait $!
	status=$?
	kill -9 -- -$! 2>/dev/null
	case $status in
	0) got=pass ;;
	4) got=skip ;;
	137) got="killed after $secs s" ;;
	*) got="exit $status" ;;
	esac
	log=$(reports)
	[ -z "$log" ] || got="$got, and a report of the kernel"
	# Each process that had memory to seal says how often it did.
	seals=$(awk '/^# sealed / { n += $3; raised += $8 }
		END { if (n) print "sealed", n, "times, raised by the test", raised, "times" }' \
		/tmp/kvm-selftest.out)
}

# Does the list say that it has no memory that could be sealed? Sets why.
is_bare() {
	why=$(awk -v name="$name" '$1 == "bare" && $2 == name {
		sub(/^[^#]*#/, "")
		print
	}' "$list")
	[ -n "$why" ]
}

# Did it fail by a mistake of its own that the list knows?
own_mistake() {
	case $got in "exit "*report*) return 1 ;; "exit "*) ;; *) return 1 ;; esac
	text=$(awk -v name="$name" '$1 == "again" && $2 == name {
		sub(/[ \t]*#.*/, "")
		sub(/^again[ \t]+[^ \t]+[ \t]+/, "")
		print
	}' "$list")
	[ -n "$text" ] && grep -qF "$text" /tmp/kvm-selftest.out
}

n=0
while read -r line; do
	parse "$line" && n=$((n + 1))
done <"$list"
[ $n -gt 0 ] || { echo "Bail out! no such test"; exit 2; }
echo "TAP version 13"
echo "1..$n"

i=0 failed=0 skipped=0 begin=$(now)
while read -r line <&3; do
	parse "$line" || continue
	i=$((i + 1))
	[ "$memory" != slot0 ] || [ -n "$KVM_SELFTEST_GMEM_DIR" ] || export KVM_SELFTEST_GMEM_SLOTS=slot0
	echo "kvm-selftests: $mode $i $name" >/dev/kmsg
	start=$(now)
	tries=1
	run
	while own_mistake && [ $tries -lt 3 ]; do
		echo "# $name: $got by a mistake of the test's own: again"
		tries=$((tries + 1))
		run
	done
	took=$(($(now) - start))
	unset KVM_SELFTEST_GMEM_SLOTS

	verdict=ok
	if [ "$mode:$got" = sealed:pass ]; then
		if is_bare; then
			[ -z "$seals" ] && want=skip got=skip || got="pass, and it has memory"
		elif [ -z "$seals" ]; then
			got="pass, but nothing was sealed"
		fi
	fi
	case $want:$got in
	pass:pass | skip:pass) tail='' ;;
	skip:skip) tail=" # SKIP$why" skipped=$((skipped + 1)) ;;
	*) verdict='not ok' tail=" # $got, expected $want" failed=$((failed + 1)) ;;
	esac
	echo "$verdict $i - $mode $name$tail"
	echo "# $name: $got, $((took / 100)).$((took / 10 % 10)) s"
	[ -z "$seals" ] || echo "# $name: $seals"
	if [ "$verdict" != ok ] || [ -n "$VERBOSE" ]; then
		[ -z "$log" ] || echo "$log" | sed 's/^/#! /'
		tail -n 40 /tmp/kvm-selftest.out | cut -c1-400 | sed 's/^/#> /'
	fi
done 3<"$list"
total=$(($(now) - begin))
echo "# $mode: $((n - failed - skipped)) passed, $failed failed, $skipped skipped, $((total / 100)) s"
[ $failed -eq 0 ]
