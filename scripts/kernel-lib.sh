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
	"$TOP/scripts/kernel-list" hooks
}

# The project's new files, by their path in the kernel tree.
our_files() {
	"$TOP/scripts/kernel-list" new
}

# These, and the files that hooks change.
touched_files() {
	"$TOP/scripts/kernel-list" touched
}

# make_target DIR: put each file that kernel/ adds or changes into DIR, as it must be
make_target() {
	"$TOP/scripts/kernel-list" target "$1"
}
