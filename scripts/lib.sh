# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts beside it; sourced, not run. Needs $root: the top of the repository.
# shellcheck shell=sh

say() {
    printf '%s\n' "$*"
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# A python or compiler of the user's own may come first in PATH; builds use Debian's tools.
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export PATH

jobs=${LP_JOBS:-$(nproc)}

# configure DIR MESON-ARGS...: make the build folder, or bring it up to date.
configure() {
    dir=$1
    shift
    if [ -f "$dir/build.ninja" ]; then
        meson setup --reconfigure "$dir" "$root" "$@" >"$dir/configure.log" 2>&1 && return 0
        # A folder of another version or a moved checkout: start it again.
        cat "$dir/configure.log" >&2
        rm -rf "$dir"
    fi
    mkdir -p "$dir"
    if ! meson setup "$dir" "$root" "$@" >"$dir/configure.log" 2>&1; then
        cat "$dir/configure.log" >&2
        return 1
    fi
}
