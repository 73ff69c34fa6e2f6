# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Sourced by scripts/qemu-build and scripts/bochs-build: the pinned source of an
# emulator, its cache and its place in build/. scripts/NAME/ holds BASE (what is
# pinned) and the patches.

# emulator_begin NAME PROGRAM: take the lock and exit if the cache has this build
emulator_begin() {
	emulator=$1 program=$2
	here=$TOP/scripts/$emulator
	out=$BUILD/$emulator
	key=$({
		echo "$program"
		cat "$here/BASE" "$here"/*.patch "$0" "${BASH_SOURCE[0]}"
		gcc --version | head -n 1
	} | sha256sum | cut -c1-24)
	cached=$CACHE/$emulator/$key
	mkdir -p "$CACHE/$emulator"
	exec {lock}>"$CACHE/$emulator.lock"
	flock -n "$lock" || { say "waiting for another build of $emulator"; flock "$lock"; }
	[ -x "$cached/$program" ] || return 0
	if [ "$(cat "$out/$program.key" 2>/dev/null)" != "$key" ] || [ ! -x "$out/$program" ]; then
		emulator_publish
	fi
	exit 0
}

emulator_publish() {
	mkdir -p "$out"
	cp "$cached/$program" "$out/$program.new"
	mv "$out/$program.new" "$out/$program"
	echo "$key" >"$out/$program.key"
}

# emulator_keep FILE: put FILE, the program, into the cache and into build/
emulator_keep() {
	rm -rf "$cached"
	mkdir -p "$cached.new.$$"
	cp "$1" "$cached.new.$$/$program"
	mv "$cached.new.$$" "$cached"
	emulator_publish
	# Keep the six newest.
	find "$CACHE/$emulator" -mindepth 1 -maxdepth 1 -type d -regex '.*/[0-9a-f]+' -printf '%T@ %p\n' | sort -rn |
		tail -n +7 | cut -d' ' -f2- | xargs -r rm -rf
}

base() {
	sed -n "s/^$1=//p" "$here/BASE"
}

# emulator_source DIR: unpack the upstream tarball into DIR and patch it. apt fetches
# Debian's part of the source with the tarball; that part is not used.
emulator_source() {
	local dir=$CACHE/$emulator/src version file newest patch
	version=$(base version)
	file=$dir/$(base package)_$version.orig.tar.xz
	mkdir -p "$dir"
	if [ ! -e "$file" ]; then
		say "downloading the source of $emulator $version"
		(cd "$dir" && "$TOP/scripts/apt-suite" "$(base suite)" source "$(base package)" >&2) || true
	fi
	if [ ! -e "$file" ]; then
		newest=$(find "$dir" -name "$(base package)_${version%.*}.*.orig.tar.xz" | sort -V | tail -n 1)
		[ -n "$newest" ] || die "cannot get the source of $emulator ${version%.*} from $(base suite)"
		say "NOTE: $emulator $version is no longer on the mirror; building ${newest##*/} instead. Update scripts/$emulator/BASE."
		file=$newest
	elif ! echo "$(base sha256)  $file" | sha256sum --check --status; then
		mv "$file" "$file.bad"
		die "$file does not have the SHA-256 that scripts/$emulator/BASE pins (moved to $file.bad)"
	fi
	tar -C "$1" --strip-components=1 -xf "$file"
	for patch in "$here"/*.patch; do
		patch -s -d "$1" -p1 --no-backup-if-mismatch <"$patch" || die "${patch##*/} does not apply to ${file##*/}"
	done
}

# emulator_failed LOG: show what is in the log, and end
emulator_failed() {
	grep -nE 'error:|ERROR|FAILED' "$1" | head -n 20 >&2
	tail -n 10 "$1" >&2
	die "building $emulator failed; the whole log is in $1"
}
