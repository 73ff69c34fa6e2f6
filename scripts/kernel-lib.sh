# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Sourced by the kernel-* scripts: what kernel/ holds, as scripts/kernel-list prints it, and
# where the kernel's source is:
#	$pristine	unmodified, in the cache, never written
#	$tree		build/host/src: what is built and edited

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# shellcheck disable=SC2034
pristine=$("$TOP/scripts/kernel-fetch") tree=$BUILD/host/src

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

# make_target DIR: put each file that kernel/ adds or changes into DIR, as it must be
make_target() {
	"$TOP/scripts/kernel-list" target "$1"
}

# changed_files: every file of $tree that is not as in $pristine, with how: A added, M modified, D deleted
changed_files() {
	"$TOP/scripts/kernel-list" changed | cut -d' ' -f1,3-
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
