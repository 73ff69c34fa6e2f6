# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Sourced by the kernel-* scripts: what kernel/ holds, and how a tree differs
# from the unmodified source. Three states of the kernel source matter:
#	$pristine	unmodified, in the cache, never written
#	$tree		build/host/src: what is built and edited
#	the target	$pristine with kernel/ applied, made by make_target
# A file of the tree that is not as $applied records it was edited by hand.

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

pristine=$("$TOP/scripts/kernel-fetch")
# shellcheck disable=SC2034
tree=$BUILD/host/src
# "sha256  path" of each file that kernel-tree or kernel-save knows to be in kernel/.
# shellcheck disable=SC2034
applied=$BUILD/host/applied

# Files that editors, patch and in-tree builds leave behind; never part of kernel/.
is_litter() {
	case /$1 in
	*.orig | *.rej | *~ | *.swp | *.o | *.a | *.cmd | *.d | */tags | */cscope.* | */.config* | */Module.symvers) return 0 ;;
	*/__pycache__/* | */.checkpatch-*) return 0 ;;
	esac
	return 1
}

# The hook patches, in the order of the series.
hooks() {
	[ ! -e "$TOP/kernel/hooks/series" ] || sed 's/[[:space:]]*#.*//; /^$/d' "$TOP/kernel/hooks/series"
}

# hook_files PATCH: the files it touches
hook_files() {
	sed -n 's,^+++ b/\([^[:space:]]*\).*,\1,p' "$TOP/kernel/hooks/$1"
}

# hook_description PATCH: what stands above its first file
hook_description() {
	sed '/^---$/,$d; /^diff --git /,$d; /^--- a\//,$d' "$TOP/kernel/hooks/$1"
}

# The project's new files, by their path in the kernel tree.
our_files() {
	(cd "$TOP/kernel" && find . -type f ! -path './hooks/*' ! -path './configs/*' ! -path ./BASE -printf '%P\n' |
		LC_ALL=C sort)
}

# make_target DIR: put each file that kernel/ adds or changes into DIR, as it must be
make_target() {
	local dir=$1 patch file
	local -A owner=()
	mkdir -p "$dir"
	while read -r patch; do
		[ -r "$TOP/kernel/hooks/$patch" ] || die "kernel/hooks/series names $patch, which is not there"
		while read -r file; do
			[ -z "${owner[$file]:-}" ] ||
				die "$file is changed by two hooks, ${owner[$file]} and $patch; each file belongs to one"
			owner[$file]=$patch
			[ -e "$pristine/$file" ] || die "hook $patch does not apply: the source has no $file"
			mkdir -p "$dir/$(dirname "$file")"
			cp -p "$pristine/$file" "$dir/$file"
		done < <(hook_files "$patch")
		patch -d "$dir" -p1 -F0 --no-backup-if-mismatch -s <"$TOP/kernel/hooks/$patch" >&2 ||
			die "hook $patch does not apply to $(basename "$pristine") (see above)"
	done < <(hooks)
	while read -r file; do
		[ ! -e "$pristine/$file" ] || die "kernel/$file exists in the source: change it by a hook"
		mkdir -p "$dir/$(dirname "$file")"
		cp -p "$TOP/kernel/$file" "$dir/$file"
	done < <(our_files)
}

# changed_files: every file of $tree that is not as in $pristine, with how: A added, M modified, D deleted
changed_files() {
	local file
	while read -r file; do
		if [ ! -e "$pristine/$file" ]; then
			is_litter "$file" || echo "A $file"
		elif [ ! -e "$tree/$file" ]; then
			echo "D $file"
		elif ! cmp -s "$pristine/$file" "$tree/$file"; then
			echo "M $file"
		fi
	done < <(list_files "$tree" | LC_ALL=C comm -3 - "$pristine.list" | sed 's/^\t//' | cut -f1 | LC_ALL=C sort -u)
}

# sum FILE: its SHA-256, or "none"
sum() {
	if [ -e "$1" ]; then
		sha256sum "$1" | cut -d' ' -f1
	else
		echo none
	fi
}
