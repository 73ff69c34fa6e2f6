# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Sourced by the scripts: the paths they share, and how they fail.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034
BUILD=$TOP/build
# Everything that may outlive a clone: downloads, built kernels, ccache.
CACHE=${GUESTMEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/guestmem}
mkdir -p "$CACHE"

# Where "set -e" ends a script, it says so.
[[ $- != *e* ]] || trap 'echo "${0##*/}: failed at line $LINENO" >&2' ERR

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

say() {
	echo "=== $*" >&2
}

# list_files DIR: name, size and time of every file below DIR, sorted by name
list_files() {
	find "$1" -type f -printf '%P\t%s\t%T@\n' | LC_ALL=C sort
}
