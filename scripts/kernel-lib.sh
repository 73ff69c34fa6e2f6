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
	*/__pycache__/* | */.checkpatch-* | */include/generated/*) return 0 ;;
	esac
	return 1
}

# The hook patches, in the order of the series.
hooks() {
	[ ! -e "$TOP/kernel/hooks/series" ] || sed 's/[[:space:]]*#.*//; /^$/d' "$TOP/kernel/hooks/series"
}

# Those of them that are kept as they are written ("PATCH # fixed" in the series): each is one change
# that could be sent alone, and the files it touches may belong to another hook too.
fixed_hooks() {
	[ ! -e "$TOP/kernel/hooks/series" ] ||
		sed -n 's/^\([^[:space:]#]\{1,\}\)[[:space:]]*#[[:space:]]*fixed$/\1/p' "$TOP/kernel/hooks/series"
}

is_fixed() {
	grep -qxF "$1" <(fixed_hooks)
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
	(cd "$TOP/kernel" && find . -type f ! -path './hooks/*' ! -path './configs/*' ! -path './series/*' ! -path ./BASE -printf '%P\n' |
		LC_ALL=C sort)
}

# apply_hook DIR PATCH: apply it to the files in DIR, those of the source where DIR has none
apply_hook() {
	local dir=$1 patch=$2 file
	while read -r file; do
		[ -e "$pristine/$file" ] || die "hook $patch does not apply: the source has no $file"
		[ -e "$dir/$file" ] && continue
		mkdir -p "$dir/$(dirname "$file")"
		cp -p "$pristine/$file" "$dir/$file"
	done < <(hook_files "$patch")
	patch -d "$dir" -p1 -F0 --no-backup-if-mismatch -s <"$TOP/kernel/hooks/$patch" >&2 ||
		die "hook $patch does not apply to $(basename "$pristine") (see above)"
}

# make_base DIR: put each file that a fixed hook changes into DIR, with these changes alone
make_base() {
	local patch
	mkdir -p "$1"
	while read -r patch; do
		apply_hook "$1" "$patch"
	done < <(fixed_hooks)
}

# make_target DIR: put each file that kernel/ adds or changes into DIR, as it must be
make_target() {
	local dir=$1 patch file
	local -A owner=()
	mkdir -p "$dir"
	while read -r patch; do
		[ -r "$TOP/kernel/hooks/$patch" ] || die "kernel/hooks/series names $patch, which is not there"
		if is_fixed "$patch"; then
			[ ${#owner[@]} -eq 0 ] || die "$patch is fixed: it must stand before the others in kernel/hooks/series"
			apply_hook "$dir" "$patch"
			continue
		fi
		while read -r file; do
			[ -z "${owner[$file]:-}" ] ||
				die "$file is changed by two hooks, ${owner[$file]} and $patch; each file belongs to one"
			owner[$file]=$patch
		done < <(hook_files "$patch")
		apply_hook "$dir" "$patch"
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

# "file:line" of each line that is ours: all of a new file, what a hook adds to the others
our_lines() {
	local file patch
	our_files | while read -r file; do
		[[ $file != *.[chS] ]] || awk -v f="$file" '{ print f ":" NR }' "$TOP/kernel/$file"
	done
	while read -r patch; do
		awk '/^\+\+\+ b\// { f = substr($2, 3); next }
			/^@@ / { split($3, at, ","); n = substr(at[1], 2) - 1; next }
			/^---/ { next }
			/^[+ ]/ { n++ }
			/^\+/ { print f ":" n }' "$TOP/kernel/hooks/$patch"
	done < <(hooks)
}

# touched_files: our new files and those that hooks change
touched_files() {
	local patch
	our_files
	while read -r patch; do
		hook_files "$patch"
	done < <(hooks)
}

# touched_sources: those of them that are compiled for the kernel
touched_sources() {
	touched_files | grep '\.c$' | grep -vE '^(tools|scripts|samples)/' | LC_ALL=C sort -u
}

# our_names: the symbols of what our lines declare in headers, and of our tracepoints
our_names() {
	local patch
	{
		our_files | grep -E '\.h$' | grep -vE '^(tools|include/uapi|include/trace)/' | sed "s,^,$TOP/kernel/," | xargs -r cat
		while read -r patch; do
			awk '/^\+\+\+ b\// { f = $2; next } /^\+/ && f ~ /\.h$/ && f !~ /^b\/tools/ { print substr($0, 2) }' "$TOP/kernel/hooks/$patch"
		done < <(hooks)
	} | sed -nE '/^(static|typedef|return)/d; s/^[a-z_][a-zA-Z0-9_ *]*[ *]([a-zA-Z0-9_]+)\(.*/\1/p; s/^([a-z_][a-zA-Z0-9_]*)\(.*/\1/p' |
		# Our arm64 hook declares it; x86 defines it in a file that kernel-arches does not compile.
		grep -vx nmi_uaccess_okay
	our_files | grep -E '^include/trace/' | sed "s,^,$TOP/kernel/," |
		xargs -r sed -nE 's/^(DEFINE_EVENT\([a-z_]+, *|TRACE_EVENT\()([a-z_]+),.*/\2/p' |
		sed 's/.*/__tracepoint_&\n__traceiter_&\n__SCK__tp_func_&\n__SCT__tp_func_&/'
}

# config_lacks CONFIG: what the fragments on stdin ask for and CONFIG has not; of an option named twice the last counts
config_lacks() {
	awk -v config="$1" '
		/^CONFIG_[A-Z0-9_a-z]+=/ { split($0, kv, "="); want[kv[1]] = substr($0, length(kv[1]) + 2); next }
		/^# CONFIG_[A-Z0-9_a-z]+ is not set/ { want[$2] = "n" }
		END {
			while ((getline line < config) > 0)
				if (match(line, /^CONFIG_[A-Z0-9_a-z]+=/))
					have[substr(line, 1, RLENGTH - 1)] = substr(line, RLENGTH + 1)
			for (name in want) {
				got = name in have ? have[name] : "n"
				if (got != want[name])
					print name " must be " want[name] " but is " got
			}
		}'
}
