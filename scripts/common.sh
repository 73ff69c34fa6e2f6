# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Sourced by the scripts: the paths they share, and how they fail.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034
BUILD=$TOP/build
# Everything that may outlive a clone: downloads, built kernels, ccache.
CACHE=${GUESTMEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/guestmem}
mkdir -p "$CACHE"

# arch_is NAME: what differs between the architectures that the emulated host can be of:
#	arch		x86 or arm64
#	cross		prefix of the compiler's name
#	make_arch	its name in the kernel's Makefile
#	image		the kernel that boots, in arch/$arch/boot/
#	built		where what is built for it goes; programs are in $built/user
#	toolchain	the packages that compile for it, beyond those of scripts/setup
# shellcheck disable=SC2034
arch_is() {
	arch=$1
	case $arch in
	x86) toolchain=() cross='' make_arch=x86_64 image=bzImage built=$BUILD ;;
	arm64) toolchain=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross) cross=aarch64-linux-gnu- make_arch=arm64 image=Image built=$BUILD/arm64 ;;
	*) echo "${0##*/}: --arch takes x86 or arm64, not '$arch'" >&2 && return 1 ;;
	esac
}

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

# keep_newest N DIR: remove the directories in DIR but the N newest, and those of the last six
# hours, which a test run in another clone may be using
keep_newest() {
	find "$2" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | tail -n +$(($1 + 1)) |
		awk -v old=$(($(date +%s) - 6 * 3600)) '$1 < old' |
		cut -d' ' -f2- | xargs -r -d '\n' rm -rf --
}

# pack_initrd PROGRAM FILE: make FILE an initial RAM disk that holds PROGRAM, as its init
pack_initrd() {
	mkdir "$2.dir"
	cp "$1" "$2.dir/init"
	(cd "$2.dir" && echo init | cpio --quiet -o -H newc -R 0:0) >"$2"
	rm -r "$2.dir"
}

# debian_mirror: the mirror that this machine's apt uses
debian_mirror() {
	local mirror
	mirror=$(apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(REPO_URI)' |
		awk '$1 == "Packages" && $2 !~ /security|updates|backports/ && !found++ { print $3 }')
	[ -n "$mirror" ] || die "no Debian mirror found in this machine's apt configuration"
	echo "$mirror"
}
